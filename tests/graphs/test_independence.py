"""Independence and its reasons, against the definitions, other tools and known answers."""

import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ET

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from separation_oracles import (
    conditional_mutual_information,
    is_active,
    is_path,
    node_triples,
    random_graphs,
    random_joint,
    separated_in_moral_ancestral_graph,
    shortest_active_length,
    simple_paths,
)

import graphs
from graphs import textbook
from graphs.separation.independence import reachable

examples = settings(max_examples=200, deadline=None, derandomize=True)

DIAGNOSIS = [
    ("F ⟂ D", False, "F → T → D", "T is a chain node that is not observed: open"),
    ("S ⟂ D | I", True, "S → I → D", "blocked by I, a chain node that is observed"),
    (
        "M ⟂ F",
        True,
        "M → I → D ← T ← F",
        "by D, a collider (a common effect) that is neither observed nor has an observed descend",
    ),
    (
        "M ⟂ F | D",
        False,
        "M → I → D ← T ← F",
        "D is a collider (a common effect) that is observed: open",
    ),
    ("M ⟂ T | D", False, "M → I → D ← T", "D is a collider (a common effect) that is observed"),
    ("M ⟂ S | I", False, "M → I ← S", "I is a collider (a common effect) that is observed: open"),
    ("M ⟂ F | T", True, "M → I → D ← T ← F", "and by T, a chain node that is observed"),
]
LETTERS = [
    ("A ⟂ G", False, "A — B — E — G", "B is a node on the path that is not observed: open"),
    ("A ⟂ F | C, D", False, "A — B — E — F", "E is a node on the path that is not observed"),
    ("G ⟂ A | E", True, "a cut ends all", "ends in the observed E"),
    ("A ⟂ E | B, C", True, "a cut ends all", "ends in the observed B, C"),
]


@pytest.mark.parametrize(
    ("model", "text", "holds", "picture", "reason"),
    [(textbook.diagnosis(), *row) for row in DIAGNOSIS]
    + [(textbook.letters(), *row) for row in LETTERS],
)
def test_textbook_queries_with_their_reasons(model, text, holds, picture, reason):
    answer = graphs.query(model, text)
    assert answer.holds is holds
    assert bool(answer) is holds
    explanation = answer.explain()
    assert explanation.startswith(f"{text} {'holds' if holds else 'does not hold'}")
    assert picture in explanation
    assert reason in explanation


def test_isolated_node_has_no_path():
    answer = graphs.independent(textbook.campus(), "C", ["O", "M"], given="T")
    assert answer
    assert answer.trails == ()
    assert answer.explain() == "C ⟂ M, O | T holds: no path joins C and M, O."


def test_collider_opened_by_a_descendant_is_named_without_a_detour():
    chain = graphs.parse("P(A)P(B)P(C|A,B)P(D|C)P(E|D)")
    answer = graphs.independent(chain, "A", "B", given="E")
    assert answer.path == ("A", "C", "B")
    assert "C is a collider (a common effect) whose descendant E is observed: open" in (
        answer.explain()
    )
    (junction,) = answer.trail.junctions
    assert (junction.kind, junction.observed, junction.descendant) == ("collider", False, "E")


def test_adjacent_nodes_say_so():
    assert "An edge joins the two" in graphs.query(textbook.diagnosis(), "T ⟂ D").explain()


def test_reference_cases(reference_data):
    cases = json.loads((reference_data / "independence_cases.json").read_text())
    assert len(cases) == 47
    for case in cases:
        graph = nx.Graph() if case["kind"] == "mrf" else nx.DiGraph()
        graph.add_nodes_from(case["nodes"])
        graph.add_edges_from(case["edges"])
        sets = case["x"], case["y"], case["z"]
        if case["kind"] == "dag-overlap":
            with pytest.raises(ValueError, match="expected disjoint sets, got"):
                graphs.independent(graph, *sets)
        else:
            assert graphs.independent(graph, *sets).holds is case["independent"], case


# --- The definitions as oracle ------------------------------------------------------------------


@examples
@given(st.data())
def test_path_is_a_shortest_active_path(data):
    graph = data.draw(random_graphs())
    x, y, observed = data.draw(node_triples(graph))
    answer = graphs.independent(graph, x, y, observed)
    shortest = shortest_active_length(graph, x, y, observed)
    assert answer.holds == (shortest is None)
    assert answer.holds == separated_in_moral_ancestral_graph(graph, x, y, observed)
    if answer.path:
        assert answer.path[0] in x
        assert answer.path[-1] in y
        assert is_path(graph, answer.path)
        assert is_active(graph, answer.path, observed)
        assert len(answer.path) == shortest
        assert answer.trail.active
        assert answer.certificate is None


@examples
@given(st.data())
def test_every_listed_path_has_the_blockers_the_definition_gives(data):
    graph = data.draw(random_graphs(max_nodes=6))
    x, y, observed = data.draw(node_triples(graph))
    answer = graphs.independent(graph, x, y, observed)
    every = [p for p in simple_paths(graph, x, y) if len(set(p) & (x | y)) == 2]
    if answer.trails is None:
        assert len(every) > 8
        return
    assert {trail.nodes for trail in answer.trails} == set(every)
    for trail in answer.trails:
        assert trail.active == is_active(graph, trail.nodes, observed)
        for i, junction in enumerate(trail.junctions, start=1):
            assert junction.node == trail.nodes[i]
            assert junction.open == is_active(graph, trail.nodes[i - 1 : i + 2], observed)
            if junction.descendant is not None:
                assert junction.descendant in observed
                assert junction.descendant in nx.descendants(graph, junction.node)


@examples
@given(st.data())
def test_certificate_is_verified_and_cannot_be_forged(data):
    graph = data.draw(random_graphs())
    x, y, observed = data.draw(node_triples(graph))
    answer = graphs.independent(graph, x, y, observed)
    if not answer:
        return
    proof = answer.certificate
    assert proof.verify(graph, observed)
    assert proof.cut <= observed
    without = nx.Graph(proof.graph)
    without.remove_nodes_from(proof.cut)
    assert not any(nx.has_path(without, u, v) for u in x for v in y)
    if proof.cut:
        assert not proof.verify(graph, observed - proof.cut)
    joined = graph.copy()
    u, v = next(iter(x)), next(iter(y))
    if (graph.is_directed() and u in nx.ancestors(graph, v)) or not graph.is_directed():
        joined.add_edge(u, v)
    else:
        joined.add_edge(v, u)
    if not graph.is_directed() or nx.is_directed_acyclic_graph(joined):
        assert not proof.verify(joined, observed)


@pytest.mark.parametrize("directed", [True, False])
def test_answers_are_those_of_random_distributions(directed):
    rng = np.random.default_rng(5)
    shuffled = random.Random(5)
    answers = []
    for _ in range(40):
        nodes = list(range(6))
        shuffled.shuffle(nodes)
        graph = nx.DiGraph() if directed else nx.Graph()
        graph.add_nodes_from(range(6))
        pairs = [(u, v) for j, v in enumerate(nodes) for u in nodes[:j]]
        graph.add_edges_from(shuffled.sample(pairs, 6))
        joint = random_joint(graph, rng)
        for _ in range(4):
            chosen = shuffled.sample(range(6), shuffled.randint(2, 5))
            x, y, z = frozenset(chosen[:1]), frozenset(chosen[1:2]), frozenset(chosen[2:])
            answer = graphs.independent(graph, x, y, z)
            information = conditional_mutual_information(joint, x, y, z)
            assert information < 1e-13 if answer else information > 1e-11
            answers.append(answer.holds)
    assert min(answers.count(True), answers.count(False)) >= 40


def test_larger_graphs_against_networkx_and_pyagrum():
    gum = pytest.importorskip("pyagrum")
    chosen = random.Random(7)
    for size, edges in [(12, 20), (60, 80), (300, 500)]:
        graph = nx.DiGraph()
        graph.add_nodes_from(range(size))
        while graph.number_of_edges() < edges:
            graph.add_edge(*sorted(chosen.sample(range(size), 2)))
        peer = gum.DAG()
        for v in graph:
            peer.addNodeWithId(v)
        for u, v in graph.edges:
            peer.addArc(u, v)
        for _ in range(100):
            x, y, *z = chosen.sample(range(size), chosen.randint(2, 6))
            answer = graphs.independent(graph, x, y, z)
            assert answer.holds == peer.dSeparation(x, y, set(z))
            assert answer.holds == nx.is_d_separator(graph, {x}, {y}, set(z))
            assert answer.holds == (y not in reachable(graph, x, z))
            if answer.path:
                assert is_path(graph, answer.path)
                assert is_active(graph, answer.path, frozenset(z))


# --- Text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "M _||_ F | D",
        "M_||_F|D",
        "M _|_ F | D",
        "M ⟂ F | D",
        "M⟂F|D",
        "M ⊥ F | D",
        "M ⊥⊥ F ∣ D",
        "M ⫫ F | D",
        "(M ⟂ F | D)",
        "( {M} ⟂ {F} | {D} )",
        "(M) ⟂ (F) | [D]",
        r"M \perp F \mid D",
        r"$M \perp\!\!\!\perp F \mid D$",
        r"\left( M \perp \! \! \! \perp F \mid \{D\} \right)",
        r"M \indep F \,\vert\, D",
        r"M \bot \mathrm{F} \mid D",
        'M ⟂ "F" given D',
        "M is independent of F given D",
        "M independent of F | D",
    ],
)
def test_ways_to_write_one_statement(text):
    answer = graphs.query(textbook.diagnosis(), text)
    assert (answer.x, answer.y, answer.given) == ({"M"}, {"F"}, {"D"})
    assert not answer


@pytest.mark.parametrize("text", ["M ⟂ F", "M ⟂ F | ∅", r"M ⟂ F \mid \emptyset", "M ⟂ F | {}"])
def test_ways_to_observe_nothing(text):
    answer = graphs.query(textbook.diagnosis(), text)
    assert answer
    assert answer.given == frozenset()


def test_lists_are_sets():
    answer = graphs.query(textbook.campus(), "A, O ⟂ S,B | M ,T")
    assert (answer.x, answer.y, answer.given) == ({"A", "O"}, {"S", "B"}, {"M", "T"})
    assert str(answer) == "A, O ⟂ B, S | M, T"
    assert graphs.query(textbook.campus(), str(answer)) == answer


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("M F", 2, "expected ',' or an independence sign"),
        ("M ⟂", 3, "expected the name of a variable, got the end of the text at character 4"),
        ("", 0, "expected the name of a variable"),
        ("M ⟂ F |", 7, "expected the name of a variable"),
        ("M ⟂ F | D,", 10, "expected the name of a variable"),
        ("M _||_ F | D T", 13, "expected ',' or the end of the text, got 'T' at character 14"),
        ("(M ⟂ F", 6, r"expected ',', '\|' or '\)'"),
        ("M ⟂ F)", 5, r"expected ',', '\|' or the end of the text, got '\)'"),
        ("{M ⟂ F", 3, "expected ',' or '}'"),
        ("M ⟂ F ⟂ D", 6, "got '⟂' at character 7"),
        ("I(M;F)", 1, "since I.X, Z, Y. is an independence in Pearl"),
        ("M* ⟂ F", 1, r"expected ',' or an independence sign such as ⟂, _\|\|_ or"),
        ("M ⟂ F & D", 6, r"expected ',', '\|' or the end of the text, got '&'"),
        ("M~ ⟂ F", 1, "got '~'"),
        ("M, F and D are independent", 11, "expected two sets"),
    ],
)
def test_unreadable_text_points_at_the_character(text, position, expected):
    with pytest.raises(graphs.ParseError, match=expected) as raised:
        graphs.query(textbook.diagnosis(), text)
    assert raised.value.position == position
    caret, line = (raised.value.args[0].splitlines()[i] for i in (-1, -2))
    assert caret.index("^") == position + 2
    assert line == f"  {text}"


def test_text_must_be_text():
    with pytest.raises(ValueError, match="expected an independence as text, got int"):
        graphs.query(textbook.diagnosis(), 3)


def test_names_that_are_not_words():
    graph = nx.DiGraph([("wet grass", "a|b"), ("a|b", ""), ("", "x_1"), ("x_1", "rain's")])
    answer = graphs.query(graph, '"wet grass" ⟂ x_{1} | "", "a|b"')
    assert answer
    assert answer.given == {"", "a|b"}
    assert graphs.query(graph, str(answer)) == answer


@pytest.mark.parametrize("names", [(0, 1, 2), ("", "b", "c"), ((0, 1), (1, 0), frozenset({3}))])
def test_any_hashable_name(names):
    a, b, c = names
    graph = nx.DiGraph([(a, b), (b, c)])
    assert not graphs.independent(graph, a, c)
    answer = graphs.independent(graph, a, c, b)
    assert answer
    assert answer.given == {b}
    assert graphs.independent(graph, [a], {c}, (v for v in [b])) == answer
    assert graphs.query(graph, str(answer)) == answer
    assert graphs.independent(graph, a, c).path == (a, b, c)


# --- Results ------------------------------------------------------------------------------------


def test_presentation():
    answer = graphs.query(textbook.diagnosis(), "M ⟂ F, T | D")
    assert repr(answer) == "<Independence M ⟂ F, T | D: False>"
    assert answer.latex() == r"M \not\perp F, T \mid D"
    assert graphs.query(textbook.diagnosis(), answer.latex().replace(r"\not", "")) == answer
    shown = answer._repr_html_()
    assert "<pre>M ⟂ F, T | D does not hold" in shown
    assert "active path" in "".join(ET.fromstring(shown).itertext())
    with pytest.raises(AttributeError):
        answer.holds = True


def test_blockers():
    model = textbook.diagnosis()
    assert graphs.query(model, "M ⟂ F | T").blockers == {"D", "T"}
    assert graphs.query(model, "M ⟂ F | D").blockers == frozenset()
    assert graphs.query(textbook.letters(), "A ⟂ E | B, C").blockers == {"B", "C"}


def test_long_lists_are_cut_short():
    ladder = nx.DiGraph()
    for i in range(20):
        for lane in "ab":
            ladder.add_edges_from([(f"{lane}{i}", f"a{i + 1}"), (f"{lane}{i}", f"b{i + 1}")])
    answer = graphs.independent(ladder, "a0", "a20", given=["a9", "b9"])
    assert answer
    assert answer.trails is None
    assert answer.blockers == {"a9", "b9"}
    text = answer.explain()
    assert "too many to list" in text
    assert "ends in the observed a9, b9" in text
    assert " more" in text
    apart = nx.compose(nx.complete_graph(14), nx.complete_graph(range(20, 34)))
    assert "no path joins 0 and 20" in graphs.independent(apart, 0, 20).explain()


def test_long_paths_show_both_ends():
    chain = nx.path_graph(2000, create_using=nx.DiGraph)
    active = graphs.independent(chain, 0, 1999)
    text = active.explain()
    assert len(text) < 1000
    assert "\n  0 → 1 → 2 → 3 → 4 → 5 → … 1,988 more nodes … → 1994 → 1995 → 1996 → 1997 → " in text
    assert "  … 1,986 more nodes, each a chain node that is not observed: open.\n" in text
    assert text.count(" is a chain node") == 12
    assert active.path == tuple(range(2000))
    assert len(active.trail.junctions) == 1998
    blocked = graphs.independent(chain, 0, 1999, given=range(1, 1999))
    text = blocked.explain()
    assert len(text) < 1500
    assert "1006, 1007, 1008 and 1,986 more holds" in text
    assert "and by 1,986 more, each a chain node that is observed; and by 1993, " in text
    assert len(blocked.blockers) == 1998
    assert max(map(len, graphs.check(chain, "0 ⟂ 1999").explain().splitlines())) < 1000
    assert "0 → 1 → 2 → 3 → 4 → … " not in graphs.independent(chain, 0, 11).explain()
    for length in range(2, 30):
        drawn = graphs.independent(chain, 0, length).explain().splitlines()[1]
        shown = [int(v) for v in drawn.replace("… ", "").split(" → ") if v.strip().isdigit()]
        assert shown == sorted(shown)
        assert len(shown) == (length + 1 if length < 12 else 12)


def test_a_long_zigzag_counts_what_it_leaves_out():
    zigzag = nx.DiGraph()
    for i in range(0, 60, 2):
        zigzag.add_edges_from([(i, i + 1), (i + 2, i + 1), (i + 1, f"d{i}")])
    text = graphs.independent(zigzag, 0, 60, given=[f"d{i}" for i in range(0, 60, 2)]).explain()
    assert "24 times a collider (a common effect) whose descendant is observed; 23 times" in text
    assert "55 ← 56 → 57 ← 58 → 59 ← 60" in text


def test_explanations_do_not_depend_on_the_hash_seed():
    code = (
        "import graphs; m = graphs.textbook.campus();"
        "print(graphs.query(m, 'O, A, S ⟂ M, B').explain());"
        "print(graphs.query(m, 'O, A ⟂ S, B | T, M').path)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(outputs) == 1


def test_importing_is_cheap():
    code = (
        "import networkx, sys, graphs;"
        "graphs.query(graphs.parse('P(A)P(B|A)P(C|B)'), 'A ⟂ C | B').explain();"
        "heavy = {'pgmpy', 'torch', 'matplotlib', 'numba', 'pandas'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.split() == ["[]"]


# --- Lists of independences ---------------------------------------------------------------------


@examples
@given(random_graphs(max_nodes=5))
def test_independencies_are_all_and_only_those_that_hold(graph):
    listed = list(graphs.independencies(graph, max_given=2))
    assert all(listed)
    sizes = [len(r.given) for r in listed]
    assert sizes == sorted(sizes)
    found = {(frozenset(r.x | r.y), r.given) for r in listed}
    assert len(found) == len(listed)
    for u in graph:
        for v in graph:
            for z in [(), *((w,) for w in graph), *((w, t) for w in graph for t in graph if w < t)]:
                if u < v and not {u, v} & set(z):
                    holds = shortest_active_length(graph, {u}, {v}, frozenset(z)) is None
                    assert holds == ((frozenset((u, v)), frozenset(z)) in found)


def test_independencies_of_the_textbook():
    listed = [str(r) for r in graphs.independencies(textbook.diagnosis(), max_given=0)]
    assert listed == ["M ⟂ S", "M ⟂ F", "M ⟂ T", "S ⟂ F", "S ⟂ T", "I ⟂ F", "I ⟂ T"]
    with pytest.raises(ValueError, match="expected max_given of zero or more, got -1"):
        graphs.independencies(textbook.diagnosis(), -1)


# --- Latent nodes -------------------------------------------------------------------------------


def test_latent_nodes_are_never_observed():
    graph = nx.DiGraph([("U", "a"), ("U", "b")])
    with pytest.raises(ValueError, match="expected observable nodes for given, got the latent"):
        graphs.independent(graph, "a", "b", "U", latent="U")
    with pytest.raises(ValueError, match="latent node 'U'"):
        graphs.query(graph, "a ⟂ b | U", latent=["U"])
    assert list(graphs.independencies(graph, latent=["U"])) == []
    assert len(list(graphs.independencies(graph))) == 1
    graph.nodes["U"]["latent"] = True
    with pytest.raises(ValueError, match="latent node 'U'"):
        graphs.independent(graph, "a", "b", "U")
    with pytest.raises(ValueError, match="latent node 'U'"):
        reachable(graph, "a", "U")
    assert not graphs.independent(graph, "a", "b")
    with pytest.raises(ValueError, match="expected nodes of the graph for latent, got 'W'"):
        graphs.independent(graph, "a", "b", "U", latent="W")


def test_pgmpy_latents_are_latent():
    base = pytest.importorskip("pgmpy.base")
    graph = base.DAG([("U", "a"), ("U", "b")], latents={"U"})
    with pytest.raises(ValueError, match="latent node 'U'"):
        graphs.independent(graph, "a", "b", "U")


# --- Refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("M", "Q"), "expected nodes of the graph for y, got 'Q'; the nodes are M, S, I, F, T, D"),
        (("m", "F"), r"got 'm' \(did you mean 'M'\?\)"),
        (("M", "F", ["D", "d"]), "expected nodes of the graph for given, got 'd'"),
        (("M", "M"), "expected disjoint sets, got 'M' in both x and y"),
        ((["M", "S"], "F", ["S", "D"]), "expected disjoint sets, got 'S' in both x and given"),
        (("M", "F", "F"), "expected disjoint sets, got 'F' in both y and given"),
        (([], "F"), "expected at least one node for x, got none"),
        (("M", set()), "expected at least one node for y, got none"),
        (("M", None), "expected at least one node for y, got none"),
        (("M", 3), "expected nodes of the graph for y, got 3"),
        (("M", 3.5), "expected nodes of the graph for y, got 3.5"),
        (("M", [["F"]]), "expected nodes of the graph for y"),
        (
            ("M", [("F", "T")]),
            r"\('F', 'T'\), whose parts are nodes: .* one flat list, \['F', 'T'\]",
        ),
        (("M", "F, T"), r"'F, T', whose parts are nodes: .* one flat list, \['F', 'T'\]"),
        (("M", [("F", "Q")]), r"for y, got \('F', 'Q'\); the nodes are"),
    ],
)
def test_refused_sets(sets, message):
    with pytest.raises(ValueError, match=message):
        graphs.independent(textbook.diagnosis(), *sets)


@pytest.mark.parametrize("model", ["P(A)P(B|A)", None, 3, {"A": ["B"]}, nx.MultiDiGraph()])
def test_refused_models(model):
    with pytest.raises(ValueError, match="expected a"):
        graphs.independent(model, "A", "B")


def test_cycles_are_refused():
    graph = nx.DiGraph([("a", "b"), ("c", "d"), ("d", "e"), ("e", "c")])
    with pytest.raises(ValueError, match="expected an acyclic directed graph, got the cycle"):
        graphs.independent(graph, "a", "b")
    graph.remove_edge("e", "c")
    assert not graphs.independent(graph, "a", "b")
    graph.add_edge("e", "c")
    with pytest.raises(ValueError, match="got the cycle"):
        graphs.query(graph, "a ⟂ b")
    with pytest.raises(ValueError, match="got the cycle"):
        graphs.independencies(graph)


def test_cycles_above_the_query_are_refused_in_large_graphs():
    graph = nx.path_graph(5_000, create_using=nx.DiGraph)
    assert not graphs.independent(graph, 10, 4_000)
    assert graphs.independent(graph, 10, 4_000, 2_000)
    graph.add_edge(300, 200)
    with pytest.raises(ValueError, match="got the cycle"):
        graphs.independent(graph, 10, 4_000)
    assert not graphs.independent(graph, 10, 20)
