"""The page's logic answers as the library does, and no event can break it."""

import json
import math
import threading

import hypothesis.strategies as st
import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphs
from graphs.claims.classes import class_members
from graphs.files.load_save import read_content
from graphs.inference.junction_tree import JunctionTree
from graphs.interactive.edits import EDITS
from graphs.interactive.events import EVENTS
from graphs.interactive.session import Session
from graphs.interactive.state import VIEWS


def ok(session, kind, **event):
    reply = session.handle({"type": kind, **event})
    assert reply["ok"], reply
    json.dumps(reply, allow_nan=False)
    return reply


def refused(session, kind, **event):
    reply = session.handle({"type": kind, **event})
    assert not reply["ok"]
    return reply["error"]["message"]


def edges_of(reply):
    return {(e["tail"], e["sign"], e["head"]) for e in reply["scene"]["edges"]}


@pytest.fixture
def diagnosis():
    return Session(graphs.textbook.diagnosis())


# --- Asking and observing -----------------------------------------------------------------------


def test_an_active_path_comes_with_the_reason_of_every_junction(diagnosis):
    reply = ok(diagnosis, "ask", text="M _||_ F | D")
    answer = reply["answer"]
    assert answer["path"] == ["M", "I", "D", "T", "F"]
    assert [(j["node"], j["kind"], j["open"]) for j in answer["trail"]["junctions"]] == [
        ("I", "chain", True),
        ("D", "collider", True),
        ("T", "chain", True),
    ]
    expected = graphs.query(graphs.textbook.diagnosis(), "M _||_ F | D").explain()
    assert answer["explanation"] == expected
    active = {tuple(edge) for edge in reply["roles"]["active"]}
    assert {("M", "->", "I"), ("I", "->", "D"), ("T", "->", "D"), ("F", "->", "T")} <= active
    assert reply["roles"]["nodes"]["D"] == ["observed", "path"]


def test_blocked_paths_come_with_their_blockers(diagnosis):
    answer = ok(diagnosis, "ask", text="M _||_ F | T")["answer"]
    assert answer["holds"]
    assert [trail["text"] for trail in answer["trails"]] == ["M → I → D ← T ← F"]
    closed = [j["node"] for j in answer["trails"][0]["junctions"] if not j["open"]]
    assert closed == ["D", "T"] == answer["blockers"]


def test_observing_changes_the_answer_and_the_line_that_asks(diagnosis):
    ok(diagnosis, "ask", x="M", y="F")
    reply = ok(diagnosis, "observe", node="D")
    assert (reply["query"], reply["answer"]["holds"]) == ("M ⟂ F | D", False)
    reply = ok(diagnosis, "observe", node="D")
    assert (reply["query"], reply["answer"]["holds"]) == ("M ⟂ F", True)
    reply = ok(diagnosis, "observe", node="M")
    assert reply["answer"] is None
    assert reply["observed"] == {"M": None}


def test_negated_questions_hold_where_the_independence_does_not(diagnosis):
    answer = ok(diagnosis, "ask", text="not M _||_ F | D")["answer"]
    assert (answer["holds"], answer["separated"]) == (True, False)


def test_a_text_that_cannot_be_read_gets_a_caret(diagnosis):
    before = ok(diagnosis, "ask", text="M _||_ F")
    reply = diagnosis.handle({"type": "ask", "text": "M _||_ = F"})
    assert reply["error"]["text"][reply["error"]["position"] :] == "= F"
    assert ok(diagnosis, "open")["query"] == before["query"]


def test_the_shared_cases_are_answered_through_the_page(reference_data):
    cases = json.loads((reference_data / "independence_cases.json").read_text())
    assert len(cases) == 47
    for case in cases:
        graph = nx.Graph() if case["kind"] == "mrf" else nx.DiGraph()
        graph.add_nodes_from(case["nodes"])
        graph.add_edges_from(map(tuple, case["edges"]))
        session = Session(graph)
        x, y, z = (", ".join(f'"{v}"' for v in case[key]) for key in "xyz")
        text = f"{x} _||_ {y}" + (f" | {z}" if z else "")
        if case["kind"] == "dag-overlap":
            assert "disjoint sets" in refused(session, "ask", text=text)
        else:
            assert ok(session, "ask", text=text)["answer"]["holds"] == case["independent"], case


# --- Numbers ------------------------------------------------------------------------------------


def test_bars_are_the_exact_marginals_with_the_prior_beside():
    session = Session(graphs.textbook.parameters("asia"))
    assert ok(session, "open")["bars"]["pending"]
    ok(session, "observe", node="smoke", state="no")
    bars = ok(session, "observe", node="dysp", state="yes")["bars"]
    tree = graphs.JunctionTree(graphs.textbook.asia())
    evidence = {"smoke": "no", "dysp": "yes"}
    assert bars["evidence"] == evidence
    prior, now = tree.marginals(), tree.marginals(evidence)
    for node, bar in bars["nodes"].items():
        assert bar["prior"] == pytest.approx(prior[node].tolist(), abs=1e-12)
        if node not in evidence:
            assert bar["p"] == pytest.approx(now[node].tolist(), abs=1e-12)
    assert bars["nodes"]["dysp"]["p"] == [1, 0]
    assert bars["probability"] == pytest.approx(math.exp(tree.log_partition(evidence)), abs=1e-12)


def test_clicks_cycle_through_the_states():
    session = Session("student")
    seen = [ok(session, "observe", node="G")["observed"].get("G") for _ in range(4)]
    assert seen == ["g1", "g2", "g3", None]


def test_a_node_observed_by_a_question_is_in_no_state_yet():
    session = Session("asia", query="tub _||_ lung | dysp")
    bars = ok(session, "bars")["bars"]
    assert bars["waiting"] == ["dysp"]
    assert bars["probability"] == pytest.approx(1)
    assert ok(session, "observe", node="dysp")["bars"]["evidence"] == {"dysp": "yes"}


def test_impossible_evidence_is_named_and_not_drawn():
    session = Session("asia", evidence="tub=yes, either=no")
    bars = ok(session, "bars")["bars"]
    assert not bars["available"]
    assert bars["reason"] == "This is impossible: P(tub = yes, either = no) = 0. No bars."


def test_undirected_models_have_bars_and_factor_tables():
    model = graphs.markov_network([(("A", "B"), [[3, 1], [1, 3]]), (("B", "C"), [[2, 1], [1, 5]])])
    reply = ok(Session(model, evidence={"A": 1}), "bars")
    joint = np.einsum("ab,bc->abc", [[3, 1], [1, 3]], [[2, 1], [1, 5]])
    given_a = joint[1].sum(0) / joint[1].sum()
    assert reply["bars"]["nodes"]["C"]["p"] == pytest.approx(given_a.tolist(), abs=1e-12)
    assert reply["bars"]["probability"] == pytest.approx(joint[1].sum() / joint.sum())
    assert [f["name"] for f in reply["model"]["factors"]] == ["φ1(A, B)", "φ2(B, C)"]
    assert reply["model"]["factors"][0]["table"] == [[3, 1], [1, 3]]


def test_a_randomised_node_loses_its_arrows():
    session = Session("asia", evidence="smoke=yes")
    reply = ok(session, "randomise", node="bronc")
    assert ("smoke", "->", "bronc") not in edges_of(reply)
    assert reply["bars"]["nodes"]["bronc"]["p"] == pytest.approx([0.5, 0.5])
    reply = ok(session, "observe", node="bronc", state="yes")
    tables = dict(graphs.textbook._NETWORKS["asia"].conditionals)
    dyspnoea = np.array(tables["dysp"][1])[0]  # (either, dysp) with bronchitis
    lung, tub = np.array(tables["lung"][1])[0, 0], 0.01 * 0.05 + 0.99 * 0.01
    either = 1 - (1 - lung) * (1 - tub)
    expected = dyspnoea[0, 0] * either + dyspnoea[1, 0] * (1 - either)
    assert reply["bars"]["nodes"]["dysp"]["p"][0] == pytest.approx(expected, abs=1e-12)
    assert ok(session, "ask", text="smoke _||_ bronc")["answer"]["holds"]
    assert ("smoke", "->", "bronc") in edges_of(ok(session, "randomise", node="bronc"))
    assert "undirected" in refused(Session("letters"), "randomise", node="A")


def test_a_network_too_large_for_bars_says_so(reference_data):
    session = Session(read_content(reference_data / "bif" / "link.bif.gz"))
    reply = ok(session, "ask", text="N73_a_f _||_ N7_a_f")
    assert "cells" in reply["bars"]["reason"]
    assert reply["answer"]["statement"] == "N73_a_f ⟂ N7_a_f"
    assert len(reply["scene"]["nodes"]) <= 300
    assert "of 724 nodes are drawn" in reply["scene"]["note"]


# --- Editing ------------------------------------------------------------------------------------


def test_a_refused_edit_says_why_and_changes_nothing(diagnosis):
    before = ok(diagnosis, "open")
    for event, why in [
        ({"action": "add_edge", "tail": "D", "head": "M"}, "got the cycle"),
        ({"action": "add_edge", "tail": "I", "head": "M"}, "no edge joins, got M -> I"),
        ({"action": "add_edge", "tail": "I", "head": "I"}, "between two nodes"),
        ({"action": "add_node", "name": "M"}, "no node has"),
        ({"action": "add_node", "name": " "}, "a name of 1 to"),
        ({"action": "add_node"}, "a name of 1 to"),
        ({"action": "rename_node", "node": "M", "name": "S"}, "no node has"),
        ({"action": "remove_node", "node": "Q"}, "a node of the model"),
        ({"action": "remove_edge", "tail": "M", "head": "F"}, "an edge joins"),
        ({"action": "remove_edge", "tail": "M"}, "the nodes of remove_edge"),
        ({"action": "explode"}, "an edit"),
    ]:
        message = refused(diagnosis, "edit", **event)
        assert why in message, message
    with pytest.raises(ValueError, match="acyclic"):
        EDITS["add_edge"](diagnosis.state.subject, "D", "M")
    after = ok(diagnosis, "open")
    assert edges_of(after) == edges_of(before)
    assert not after["can"]["undo"]


def test_edits_are_undone_and_redone(diagnosis):
    start = ok(diagnosis, "ask", text="M _||_ F")
    ok(diagnosis, "edit", action="add_edge", tail="M", head="F")
    assert not ok(diagnosis, "open")["answer"]["holds"]
    ok(diagnosis, "edit", action="reverse_edge", tail="M", head="F")
    ok(diagnosis, "edit", action="rename_node", node="M", name="measles")
    reply = ok(diagnosis, "edit", action="remove_node", node="T")
    assert reply["query"] == "measles ⟂ F"
    assert ("F", "->", "measles") in edges_of(reply)
    for _ in range(4):
        reply = ok(diagnosis, "undo")
    assert edges_of(reply) == edges_of(start)
    assert reply["answer"] == start["answer"]
    for _ in range(4):
        reply = ok(diagnosis, "redo")
    assert reply["query"] == "measles ⟂ F"
    assert "none" in refused(diagnosis, "redo")


def test_tables_stay_where_they_fit():
    session = Session("asia", evidence="smoke=no")
    reply = ok(session, "edit", action="rename_node", node="smoke", name="smokes now")
    assert reply["observed"] == {"smokes now": "no"}
    assert reply["bars"]["nodes"]["smokes now"]["states"] == ["yes", "no"]
    before = reply["bars"]["nodes"]
    reply = ok(session, "edit", action="remove_node", node="dysp")
    for node, bar in reply["bars"]["nodes"].items():
        assert bar["p"] == pytest.approx(before[node]["p"], abs=1e-12)
    reply = ok(session, "edit", action="remove_edge", tail="smokes now", head="lung")
    assert "no longer fit" in reply["said"]
    assert reply["observed"] == {"smokes now": None}
    assert not reply["bars"]["available"]
    assert ok(session, "undo")["bars"]["available"]


def test_mixed_graphs_keep_their_edges():
    session = Session("A -> B <-> C")
    assert edges_of(ok(session, "open")) == {("A", "->", "B"), ("B", "<->", "C")}
    ok(session, "edit", action="add_edge", tail="B", head="C")
    reply = ok(session, "ask", text="A _||_ C | B")
    assert not reply["answer"]["holds"]
    assert ["B", "<->", "C"] in reply["roles"]["active"]
    reply = ok(session, "edit", action="remove_edge", tail="B", head="C", sign="<->")
    assert edges_of(reply) == {("A", "->", "B"), ("B", "->", "C")}
    assert reply["answer"]["holds"]


# --- Claims, views, neighbourhoods --------------------------------------------------------------


def test_a_claim_is_refuted_with_clique_independence_and_counterexample():
    session = Session(graphs.textbook.campus())
    text = "1/Z phi(C) phi(O,S) phi(B,S) phi(O,T,A) phi(A,T,M) phi(B,T,M)"
    claim = ok(session, "claim", text=text)["claim"]
    assert not claim["holds"]
    assert claim["missing"] == [["A", "B", "M", "T"]]
    assert claim["false"][0]["statement"] == "A ⟂ B | M, O, T"
    assert claim["information"] > 0.01
    assert "No claimed factor covers {A, B, M, T}" in claim["explanation"]
    assert not ok(session, "ask", text=claim["false"][0]["statement"])["answer"]["holds"]
    error = session.handle({"type": "claim", "text": "1/Z phi(A,"})["error"]
    assert error["position"] == 10
    assert ok(session, "claim", text="")["claim"] is None


def test_views_are_the_graphs_of_the_library():
    campus = graphs.textbook.campus()
    session = Session(campus)
    moral = graphs.moralize(campus)
    drawn = ok(session, "view", name="moral")["scene"]["edges"]
    assert {frozenset((e["tail"], e["head"])) for e in drawn} == set(map(frozenset, moral.edges))
    added = {frozenset((e["tail"], e["head"])) for e in drawn if e["mark"] == "added"}
    assert added == set(map(frozenset, moral.graph["married"]))
    chordal = graphs.triangulate(campus)
    drawn = ok(session, "view", name="chordal")["scene"]["edges"]
    assert {frozenset((e["tail"], e["head"])) for e in drawn} == set(map(frozenset, chordal.edges))
    essential = graphs.essential_graph(campus)
    drawn = ok(session, "view", name="essential")["scene"]["edges"]
    compelled = {(e["tail"], e["head"]) for e in drawn if e["mark"] == "compelled"}
    assert compelled == {(u, v) for u, v, fixed in essential.edges(data="directed") if fixed}
    assert "a question" in refused(session, "view", name="ancestral")
    ok(session, "ask", text="A _||_ O")
    reply = ok(session, "view", name="ancestral")
    faded = {node["id"] for node in reply["scene"]["nodes"] if node["faded"]}
    assert faded == set("CSTBM")
    assert reply["scene"]["edges"] == []
    assert "undirected" in refused(Session("letters"), "view", name="essential")


def test_every_member_of_the_class_can_be_taken(diagnosis):
    chain = Session(graphs.parse("P(A) P(B|A) P(C|B) P(D|C)"))
    reply = ok(chain, "view", name="essential")
    assert reply["members"] == {"count": 4, "more": False}
    shown = {frozenset(edges_of(ok(chain, "view", name="member", member=i))) for i in range(4)}
    assert len(shown) == 4
    assert "a member" in refused(chain, "view", name="member", member=4)
    reply = ok(chain, "take")
    assert frozenset(edges_of(reply)) in shown
    assert graphs.equivalent(chain.state.subject.whole, graphs.parse("P(A) P(B|A) P(C|B) P(D|C)"))


@pytest.mark.parametrize("seed", range(8))
def test_class_members_are_all_orientations_that_are_equivalent(seed):
    graph = nx.gnp_random_graph(5, 0.5, seed=seed)
    dag = nx.DiGraph(sorted(edge) for edge in graph.edges)
    dag.add_nodes_from(graph)
    skeleton = list(dag.edges)
    expected = set()
    for turns in range(2 ** len(skeleton)):
        turned = [(v, u) if turns >> i & 1 else (u, v) for i, (u, v) in enumerate(skeleton)]
        other = nx.DiGraph(turned)
        other.add_nodes_from(dag)
        if nx.is_directed_acyclic_graph(other) and graphs.equivalent(dag, other):
            expected.add(frozenset(turned))
    assert {frozenset(member.edges) for member in class_members(dag)} == expected


def test_a_selected_node_shows_its_blanket():
    reply = ok(Session(graphs.textbook.campus()), "select", node="T")
    assert reply["selected"]["blanket"] == ["A", "B", "M", "O"]
    assert reply["selected"]["local"] == "T ⟂ B, C, S | A, O"
    assert reply["roles"]["nodes"]["B"] == ["blanket"]


def test_the_implied_local_independences_are_listed():
    campus = graphs.textbook.campus()
    session = Session(campus)
    listed = ok(session, "open")["model"]["local"]
    assert listed == list(map(str, graphs.local_markov(campus)))
    assert all(ok(session, "ask", text=text)["answer"]["holds"] for text in listed)
    assert ok(Session("A <-> B"), "open")["model"]["local"] == []


def test_a_program_with_plates_is_drawn_with_them():
    import pyro
    import pyro.distributions as dist
    import torch

    def program(rows):
        rate = pyro.sample("rate", dist.Gamma(1.0, 1.0))
        with pyro.plate("groups", 3):
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
            with pyro.plate("rows", 4):
                pyro.sample("x", dist.Normal(mean, rate), obs=rows)

    reply = ok(Session(program, args=(torch.zeros(4, 3),)), "open")
    assert reply["observed"] == {"x": None}
    plates = {p["label"]: p for p in reply["scene"]["plates"]}
    assert set(plates) == {"groups (3)", "rows (4)"}
    nodes = {n["id"]: n for n in reply["scene"]["nodes"]}
    for label, members in {"groups (3)": {"mean", "x"}, "rows (4)": {"x"}}.items():
        p = plates[label]
        inside = {
            v
            for v, n in nodes.items()
            if p["x"] < n["x"] < p["x"] + p["w"] and p["y"] < n["y"] < p["y"] + p["h"]
        }
        assert inside == members
    session = Session(program, args=(torch.zeros(4, 3),))
    assert ok(session, "select", node="mean")["selected"]["facts"][0] == "Normal"


# --- Out and in again ---------------------------------------------------------------------------


def test_exports_are_read_back():
    session = Session("asia")
    whole = session.state.subject.whole
    for name in ("DOT", "dagitty", "edges"):
        again = graphs.read_graph(ok(session, "export", format=name)["text"])
        assert set(again.edges) == set(whole.edges), name
    assert set(graphs.parse(ok(session, "export", format="LaTeX")["text"]).edges) == set(
        whole.edges
    )
    drawn = ok(session, "export", format="TikZ")["text"]
    assert drawn.count(r"\node") == 8
    assert drawn.count(r"\draw [->]") == 8
    assert "one of LaTeX" in refused(session, "export", format="PDF")
    assert "tables for BIF" in refused(Session("diagnosis"), "export", format="BIF")


def test_an_exported_network_has_the_tables_it_had(tmp_path):
    (tmp_path / "again.bif").write_text(ok(Session("student"), "export", format="BIF")["text"])
    again, student = read_content(tmp_path / "again.bif"), graphs.textbook.parameters("student")
    assert again.states == student.states
    for (one, table), (other, same) in zip(again.factors, student.factors, strict=True):
        assert one == other
        assert np.array_equal(table, same)


def test_a_link_brings_everything_back():
    session = Session("asia")
    ok(session, "ask", text="tub _||_ lung | dysp")
    ok(session, "observe", node="xray", state="no")
    ok(session, "claim", text="tub _||_ smoke")
    ok(session, "randomise", node="bronc")
    ok(session, "move", node="asia", x=-100, y=12)
    before = ok(session, "view", name="moral")
    other = Session("asia")
    after = ok(other, "restore", link=before["link"])
    for key in ("query", "answer", "claim", "observed", "bars", "view", "link"):
        assert after[key] == before[key], key
    assert edges_of(after) == edges_of(before)
    elsewhere = ok(Session("letters"), "restore", link=before["link"])
    assert elsewhere["answer"] == before["answer"]
    assert elsewhere["observed"] == {"dysp": None, "xray": None}
    for broken in ("", "x", before["link"][:-9], "eJwDAAAAAAE"):
        assert "link" in refused(other, "restore", link=broken)


@pytest.mark.parametrize(
    "text",
    [
        f"phi({', '.join(f'v{i}' for i in range(1000))})",
        f"digraph {{ {{{' '.join(f'a{i}' for i in range(400))}}} -> "
        f"{{{' '.join(f'b{i}' for i in range(400))}}} }}",
        f"dag {{ {'; '.join(f'v{i}' for i in range(5_200))} }}",
        f"dag {{ {{{' '.join(f'{i}' for i in range(6_000))}}} -> "
        f"{{{' '.join(f'b{i}' for i in range(3_000))}}} }}",
    ],
)
def test_a_text_that_states_too_much_is_refused(diagnosis, text):
    assert "expected at most" in refused(diagnosis, "model", text=text)
    assert ok(diagnosis, "open")["model"]["size"] == "6 nodes, 5 edges"


def test_questions_are_answered_while_numbers_are_prepared(monkeypatch):
    session, started, go_on = Session("asia"), threading.Event(), threading.Event()
    build = JunctionTree.cost.func

    def slow(tree):
        started.set()
        assert go_on.wait(20)
        return build(tree)

    monkeypatch.setattr(JunctionTree, "cost", property(slow))
    found = []
    asking = threading.Thread(target=lambda: found.append(session.handle({"type": "bars"})))
    asking.start()
    assert started.wait(20)
    reply = ok(session, "ask", text="tub _||_ smoke | dysp")
    assert (reply["answer"]["holds"], reply["bars"]["pending"]) == (False, True)
    go_on.set()
    asking.join()
    assert found[0]["bars"]["available"]
    assert found[0]["query"] == reply["query"]
    assert found[0]["turn"] > reply["turn"]


def test_what_the_page_knows_is_not_sent_again(diagnosis):
    first = ok(diagnosis, "open")
    known = {"seen": first["key"], "known": first["subject"]}
    reply = ok(diagnosis, "observe", node="D", **known)
    assert (reply["scene"], reply["model"]) == (None, None)
    reply = ok(diagnosis, "edit", action="remove_node", node="D", **known)
    assert len(reply["scene"]["nodes"]) == 5
    assert reply["model"]["nodes"] == ["F", "I", "M", "S", "T"]


# --- Practice -----------------------------------------------------------------------------------


def test_practice_hides_the_answer_until_somebody_commits():
    session = Session(graphs.textbook.diagnosis(), query="M _||_ F | T", quiz=True)
    reply = ok(session, "open")
    assert reply["hidden"]
    assert reply["answer"] is None
    assert "blocker" not in json.dumps(reply["roles"])
    judged = ok(session, "commit", holds=False, nodes=[])["quiz"]["judged"]
    assert (judged["right"], judged["reason"]) == (False, False)
    judged = ok(session, "commit", holds=True, nodes=["I"])["quiz"]["judged"]
    assert (judged["right"], judged["reason"]) == (True, False)
    judged = ok(session, "commit", holds=True, nodes=["D", "I"])["quiz"]["judged"]
    assert (judged["right"], judged["reason"]) == (True, False)
    assert "I blocks no path" in judged["text"]
    reply = ok(session, "commit", holds=True, nodes=["D"])
    assert (reply["quiz"]["judged"]["right"], reply["quiz"]["judged"]["reason"]) == (True, True)
    assert reply["answer"]["holds"]
    ok(session, "ask", text="M _||_ F | D")
    assert ok(session, "commit", holds=False, nodes=["I", "D", "T"])["quiz"]["judged"]["reason"]
    ok(session, "ask", text="M _||_ F | D")
    assert not ok(session, "commit", holds=False, nodes=["I"])["quiz"]["judged"]["reason"]


def test_new_questions_hold_and_fail_in_turn(diagnosis):
    seen = []
    for _ in range(8):
        assert ok(diagnosis, "next")["hidden"]
        answer = graphs.query(graphs.textbook.diagnosis(), ok(diagnosis, "open")["query"])
        seen.append(answer.holds)
    assert seen == [False, True] * 4


# --- Anything at all ----------------------------------------------------------------------------

NAMES = st.sampled_from(["A", "B", "C", "D", "a b", "", "Q"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
TEXTS = st.sampled_from(
    ["A _||_ B", "A _||_ C | B", "not A _||_ C", "A ⟂", "P(A)P(B|A)", "1/Z phi(A,B)", "A=1", "("]
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from([*EVENTS, *["edit"] * 8, *["observe"] * 4, "explode"])},
    optional={
        "node": NAMES | JUNK,
        "tail": NAMES,
        "head": NAMES,
        "name": NAMES | st.sampled_from(VIEWS) | JUNK,
        "action": st.sampled_from(list(EDITS)),
        "sign": st.sampled_from(["->", "--", "<->", "=>"]),
        "text": TEXTS | JUNK,
        "x": NAMES | st.lists(NAMES, max_size=2) | JUNK,
        "y": NAMES | JUNK,
        "state": st.sampled_from(["0", "1", None]) | JUNK,
        "member": st.integers(-1, 3),
        "link": JUNK,
        "holds": st.booleans() | JUNK,
        "nodes": st.lists(NAMES, max_size=2) | JUNK,
        "format": st.sampled_from(["DOT", "BIF"]) | JUNK,
        "on": st.booleans(),
    },
)
STARTS = [
    lambda: graphs.parse("P(A) P(B|A) P(C|B) P(D|A,C)"),
    lambda: graphs.parse("phi1(A,B) phi2(B,C) phi3(C,D) phi4(A,D)"),
    lambda: graphs.read_graph("A -> B <-> C, C -> D"),
    lambda: graphs.read_graph("pdag { A -- B; B -- C; D }"),
    lambda: graphs.markov_network([(("A", "B"), [[3, 1], [1, 3]]), (("C", "D"), np.ones((2, 2)))]),
    lambda: graphs.bayesian_network(
        [("A", (), [0.4, 0.6]), ("B", "A", [[0.5, 0.5], [1, 0]]), ("C", (), [1, 0]), ("D", (), [1])]
    ),
]


@pytest.mark.parametrize("start", range(len(STARTS)))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENT | JUNK, max_size=12))
def test_no_sequence_of_events_breaks_a_page(start, events):
    session = Session(STARTS[start]())
    for event in events:
        before, done = session.state, len(session.done)
        reply = session.handle(event)
        json.dumps(reply, allow_nan=False)
        if not reply["ok"]:
            assert session.state is before
            assert "expected" in reply["error"]["message"], reply
            continue
        if reply.get("answer"):
            graph = session.state.subject.graph
            assert bool(graphs.query(graph, reply["query"])) == reply["answer"]["holds"]
        if len(session.done) > done and event["type"] not in ("redo",):
            after = session.state
            session.handle({"type": "undo"})
            assert session.state == before
            session.handle({"type": "redo"})
            assert session.state == after


def test_nodes_that_are_written_alike_are_refused():
    with pytest.raises(ValueError, match="differ as text, got 0 and '0'"):
        Session(nx.DiGraph([(0, "0")]))
    session = Session(nx.path_graph(3))
    assert not ok(session, "ask", x="0", y="2")["answer"]["holds"]
    assert session.answer.x == {0}
