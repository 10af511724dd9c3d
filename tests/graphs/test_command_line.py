"""The command line answers, explains, and tells scripts by its exit status."""

import io
import json
import re
import subprocess
import sys

import networkx as nx
import pytest

import graphs
from graphs.__main__ import main

DIAGNOSIS = "P(M)P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)"


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_one_query_explains_itself(run):
    status, out, err = run(DIAGNOSIS, "M _||_ F | D")
    assert (status, err) == (1, "")
    assert out.splitlines()[:2] == [
        "M ⟂ F | D does not hold: a path is active.",
        "  M → I → D ← T ← F",
    ]
    status, out, _ = run(DIAGNOSIS, r"M \perp F \mid T")
    assert status == 0
    assert "blocked by D" in out
    assert "and by T, a chain node that is observed" in out


def test_two_headed_edges(run, tmp_path):
    for text in ("A -> B <-> C", "dag { A → B ↔ C }", "digraph { A -> B; C -> B [dir=both] }"):
        assert run(text, "A _||_ C")[0] == 0
        status, out, _ = run(text, "A _||_ C | B")
        assert status == 1
        assert re.search("B and C share|C and B share", out)
    picture = tmp_path / "arc.png"
    status, out, _ = run("A -> B <-> C", "--list", "--blanket", "A", "--draw", picture)
    assert status == 0
    assert out.splitlines() == ["The Markov blanket of A is B, C.", "A ⟂ C"]
    assert picture.stat().st_size > 5_000
    assert "an unobserved common cause  <->  ↔" in run("--notations")[1]


@pytest.mark.parametrize(
    ("text", "first", "edges"),
    [
        ("A -> B <-> C", "Mixed graph of 3 nodes and 2 edges", "A -> B, B <-> C"),
        ("A -> B, A <-> B", "Mixed graph of 2 nodes and 2 edges", "A -> B, B <-> A"),
        (
            'pdag { A -- "B c"; D -> x_; F }',
            "Partially directed graph of 5 nodes and 2 edges",
            'A -- "B c", D -> "x_", F',
        ),
    ],
)
def test_graphs_that_no_factorization_states_are_printed_as_edges(run, text, first, edges):
    status, out, err = run(text)
    assert (status, out.splitlines(), err) == (0, [first, edges], "")
    again, graph = graphs.read_graph(out.splitlines()[1]), graphs.read_graph(text)
    assert set(again) == set(graph)
    assert dict(again.edges) == dict(graph.edges)
    report = json.loads(run(text, "--json")[1])
    assert report["structure"] == edges
    assert "factorization" not in report
    latex = run(text, "--latex")[1]
    assert latex.count("arrow") + latex.count(" - ") == report["edges"]


def test_decisions_and_utilities_have_no_distribution(run, tmp_path):
    path = tmp_path / "choice.net"
    path.write_text(
        'net {}\nnode A { states = ("a" "b"); }\ndecision d { states = ("x" "y"); }\nutility u {}\n'
        "potential (A | d) { data = ((0.5 0.5)(0.2 0.8)); }\n"
        "potential (u | A d) { data = (1 2 3 4); }"
    )
    status, out, _ = run(path)
    assert status == 0
    assert out == "Influence diagram of 3 nodes and 3 edges\nA -> u, d -> A, d -> u\n"
    assert run(path, "d _||_ u | A")[0] == 1


def test_undirected_factorization(run):
    status, out, _ = run("1/Z phi1(A,B) phi2(B,C)", "A ⟂ C | B")
    assert status == 0
    assert "blocked by B, a node on the path that is observed" in out


def test_several_queries_exit_zero(run):
    status, out, _ = run("diagnosis", "M ⟂ F", "M ⟂ F | D")
    assert status == 0
    assert out.index("M ⟂ F holds") < out.index("M ⟂ F | D does not hold")


def test_query_file_and_standard_input(run, tmp_path, monkeypatch):
    path = tmp_path / "queries.txt"
    path.write_text("# homework\nM ⟂ F\n\n  M ⟂ T | D \n", encoding="utf-8")
    status, out, _ = run("diagnosis", "--queries", path)
    assert status == 0
    assert "M ⟂ T | D does not hold" in out
    for arguments in (["-"], ["--queries", "-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("M ⟂ F | D\n"))
        assert run("diagnosis", *arguments)[0] == 1


def test_json(run):
    status, out, _ = run("campus", "A ⟂ O", "A ⟂ O | M", "--blanket", "T", "--json")
    assert status == 0
    report = json.loads(out)
    first, second = report["answers"]
    assert (first["independent"], first["path"], first["blockers"]) == (True, None, ["M", "T"])
    assert (second["independent"], second["path"]) == (False, ["A", "T", "O"])
    assert (second["x"], second["y"], second["given"]) == (["A"], ["O"], ["M"])
    assert report["blankets"][0]["blanket"] == ["A", "B", "M", "O"]
    listed = json.loads(run("diagnosis", "--list", "--max-given", "0", "--json")[1])
    assert {"x": ["M"], "y": ["S"], "given": []} in listed["independencies"]
    summary = json.loads(run("student", "--json")[1])
    assert (summary["nodes"], summary["edges"], summary["directed"]) == (5, 4, True)
    assert summary["factorization"] == "P(D, I, G, S, L) = P(D) P(I) P(G | I, D) P(S | I) P(L | G)"


def test_json_reports_errors(run):
    status, out, err = run("diagnosis", "M ⟂ F", "M ⟂ Q", "--json")
    assert status == 2
    assert "got 'Q'" in err
    good, bad = json.loads(out)["answers"]
    assert good["independent"]
    assert "got 'Q'" in bad["error"]


def test_summary_blanket_list_and_latex(run):
    status, out, _ = run("diagnosis")
    assert status == 0
    assert out.startswith("Bayesian network of 6 nodes and 5 edges\nP(M, S, I, F, T, D) = P(M)")
    assert run("letters", "--blanket", "A")[1] == "The Markov blanket of A is B, C.\n"
    assert run("campus", "--blanket", "C")[1] == "The Markov blanket of C is empty.\n"
    assert run("letters", "--list", "--max-given", "1")[1].splitlines()[0] == "A ⟂ G | E"
    status, out, _ = run("diagnosis", "M ⟂ F | D", "--latex")
    assert status == 1
    assert out.splitlines()[1] == r"M \not\perp F \mid D"
    assert r"P(I \mid M, S)" in out


@pytest.mark.parametrize(
    "model",
    ["dag { A -> C -> B }", "digraph { A -> C; C -> B }", "A->C, C->B", "pdag { A -- C -- B }"],
)
def test_graphs_as_text(run, model):
    assert run(model, "A _||_ B | C")[0] == 0
    assert run(model, "A _||_ B")[0] == 1
    assert run(model, "not A _||_ B")[0] == 0
    assert run("dag { U [latent]; U -> {A B} }", "A _||_ B | U")[0] == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.dot", "digraph { A -> C; C -> B }"),
        ("g.csv", "A,C\nC,B\n"),
        ("g.edges", "A -> C\nC -> B"),
        ("g.gml", "\n".join(nx.generate_gml(nx.DiGraph([("A", "C"), ("C", "B")])))),
    ],
)
def test_graphs_in_files(run, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert run(tmp_path / name, "A _||_ B | C")[0] == 0
    assert run(tmp_path / name, "A _||_ B")[0] == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_carets_and_names_of_query_files(run, tmp_path, encoding):
    path = tmp_path / "queries.txt"
    path.write_text("M ⟂ | F\n", encoding=encoding)
    status, _, err = run("diagnosis", "--queries", path)
    assert status == 2
    assert err.splitlines()[1:] == ["  M ⟂ | F", "      ^"]
    path.write_bytes(b"M\xe9 _||_ F")
    assert f"{path}: expected text in UTF-8 or UTF-16" in run("diagnosis", "--queries", path)[2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_query_files_with_a_byte_order_mark(run, tmp_path, encoding):
    path = tmp_path / "queries.txt"
    path.write_text("M ⟂ F\r\nM ⟂ F | D\r\n", encoding=encoding)
    status, out, _ = run("diagnosis", "--queries", path)
    assert (status, out.count("path")) == (0, 2)
    path.write_bytes(b"M \xe9 F")
    status, _, err = run("diagnosis", "--queries", path)
    assert status == 2
    assert "queries.txt: expected text in UTF-8" in err


def test_version_and_notations(run):
    assert re.fullmatch(r"graphs \d+\.\d+.*\n", run("--version")[1])
    status, out, _ = run("--notations")
    assert status == 0
    assert "_||_" in out


def test_claims(run):
    wrong = "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,T,M) φ(B,T,M)"
    status, out, _ = run("campus", "--check", wrong)
    assert status == 1
    assert "{A, B, M, T}" in out
    assert "A ⟂ B | M, O, T" in out
    assert run("campus", "--check", "A ⟂ O")[0] == 0


def test_adjustment_sets(run, tmp_path):
    status, out, _ = run("asia", "--adjust", "bronc", "dysp")
    assert status == 0
    assert out.startswith("Adjusting for {smoke} gives the effect of bronc on dysp")
    assert out.endswith("Or for: lung; either.\n")
    assert "nothing holds" not in run("asia", "--adjust", "smoke", "dysp")[1]
    hidden = "X -> Z -> Y, X <-> Y"
    status, out, _ = run(hidden, "--adjust", "X", "Y", "--json")
    (found,) = json.loads(out)["adjustments"]
    assert (status, found["holds"], found["sets"], found["front_door"]) == (1, False, [], ["Z"])
    assert "X ↔ Y: not causal, and open" in found["explanation"]
    assert "Z is a front door" in found["explanation"]
    picture = tmp_path / "adjusted.png"
    assert run("asia", "--adjust", "bronc", "dysp", "--draw", picture)[0] == 0
    assert picture.stat().st_size > 5_000


def test_nodes_set_from_outside(run):
    assert run("sprinkler", "sprinkler _||_ rain")[0] == 1
    assert run("sprinkler", "sprinkler _||_ rain", "--do", "sprinkler")[0] == 0
    asked = ("sprinkler", "--marginals", "rain", "--evidence", "wet_grass=yes")
    seen, done = run(*asked, "--evidence", "sprinkler=yes"), run(*asked, "--do", "sprinkler=yes")
    assert "P(rain | wet_grass = yes, sprinkler = yes)" in seen[1]
    assert "P(rain | do(sprinkler = yes), wet_grass = yes)" in done[1]
    assert "P(wet_grass = yes | do(sprinkler = yes)) = 0.945" in done[1]
    report = json.loads(run(*asked, "--do", "sprinkler=yes", "--json")[1])
    # P(rain) P(wet | on, rain) / Σ: 0.5 · 0.99 / (0.5 · 0.99 + 0.5 · 0.9)
    assert report["marginals"]["rain"]["yes"] == pytest.approx(0.495 / 0.945)
    assert report["do"] == {"sprinkler": "yes"}
    every = run("sprinkler", "--marginals", "all", "--do", "sprinkler=yes")[1]
    assert "P(sprinkler" not in every


PROGRAMS = """
import pyro
import pyro.distributions as dist
import torch

def model(total):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    c = pyro.sample("c", dist.Normal(0.0, 1.0))
    pyro.sample("s", dist.Normal(a + c, 0.1), obs=total)

def guide(total):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    pyro.sample("c", dist.Normal(total - a, 1.0))

def loop(total):
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    for i in pyro.plate("n", 2):
        z = pyro.sample(f"z_{i}", dist.Normal(m, 1.0))
        pyro.sample(f"x_{i}", dist.Normal(z, 1.0), obs=total)

def broken(total):
    raise RuntimeError("shapes\\n  that do not fit")

data, word = torch.tensor(3.0), "text"
"""


def test_guides(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_programs.py").write_text(PROGRAMS)
    names = [f"own_programs:{name}" for name in ("model", "guide", "data")]
    status, out, _ = run("--guide", *names)
    assert (status, out.split(":")[0]) == (0, "The guide's structure is sufficient")
    names[1] = "AutoNormal"
    status, out, _ = run("--guide", *names, "--draw", "gaps.png")
    assert (status, out.splitlines()[0]) == (
        1,
        "a and c are coupled by the observed s, which the guide denies.",
    )
    assert (tmp_path / "gaps.png").stat().st_size > 3_000
    report = json.loads(run("--guide", *names, "--json")[1])
    assert report["gaps"][0]["path"] == ["a", "s", "c"]
    assert report["summed"] == []
    for arguments, message in [
        (["own_programs:model"], "expected --guide module:model module:guide"),
        (["own_programs:modle", *names[1:]], "did you mean 'model'"),
        (["nowhere:model", *names[1:]], "module that can be imported, got 'nowhere'"),
        ([names[0], "AutoNorml", names[2]], "did you mean 'AutoNormal'"),
        ([names[0], "guide"], "module:name or an autoguide"),
        ([names[0], "own_programs:word"], "expected a program"),
        (["own_programs:broken", *names[1:]], "programs that run, got RuntimeError: shapes\n"),
        (["own_programs:loop", *names[1:]], "got NotImplementedError: .* sequential"),
    ]:
        status, _, err = run("--guide", *arguments)
        assert status == 2
        assert re.search(message, err)
    status, _, err = run("asia", "--guide", *names)
    assert (status, "without a MODEL of its own" in err) == (2, True)


def test_latent_nodes(run):
    assert run("diagnosis", "M ⟂ F | T", "--latent", "S")[0] == 0
    status, _, err = run("diagnosis", "M ⟂ F | T", "--latent", "T")
    assert status == 2
    assert "latent node 'T'" in err


@pytest.mark.parametrize(
    "queries", [[], ["M ⟂ F | D"], ["M ⟂ F", "M ⟂ F | D", "S ⟂ D | I", "F ⟂ D"]]
)
def test_pictures(run, tmp_path, queries):
    path = tmp_path / "out.png"
    assert run("diagnosis", *queries, "--draw", path)[0] in (0, 1)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["asai", "a ⟂ b"], "expected a file .*or a textbook example"),
        (["missing.bif", "a ⟂ b"], "expected a file"),
        (["P(A", "A ⟂ B"], r"got the end of the text at character 4"),
        (["P(A|B)P(B|A)", "A ⟂ B"], "got the cycle"),
        (["diagnosis", "M ⟂"], "expected the name of a variable"),
        (["diagnosis", "M ⟂ m"], r"did you mean 'M'\?"),
        (["diagnosis", "M ⟂ M"], "expected disjoint sets"),
        (["diagnosis", "--blanket", "K"], "expected nodes of the graph for --blanket, got 'K'"),
        (["diagnosis", "--check", "P(K)"], "K"),
        (["diagnosis", "--check", "P(M | do(K)) = P(M)"], "for the claim, got 'K'"),
        (["diagnosis", "--adjust", "M", "K"], "expected nodes of the graph for --adjust, got 'K'"),
        (["diagnosis", "--adjust", "M", "M"], "expected disjoint sets"),
        (["A -- B", "--adjust", "A", "B"], "expected a directed model"),
        (["diagnosis", "--do", "K"], "expected nodes of the graph for --do, got 'K'"),
        (["asia", "--do", "smoke=maybe", "--marginals", "dysp"], "expected a state of 'smoke'"),
        (["asia", "--do", "smoke", "--marginals", "dysp"], "expected '=' and a value"),
        (
            ["asia", "--do", "smoke=yes", "--evidence", "smoke=no"],
            "expected a node to be set or seen",
        ),
        (["asia", "--page", "--do", "smoke"], "expected a page without --adjust and --do"),
        (["diagnosis", "--list", "--max-given", "-1"], "expected max_given of zero or more"),
        (["diagnosis", "--queries", "missing.txt"], "No such file"),
        (
            ["diagnosis", "--draw", "missing/folder/x.png"],
            "folder for x.png, got missing/folder",
        ),
        (["my--net.bif", "A ⟂ B"], "expected a file"),
        (["dag { A -> B; B -> A }", "A ⟂ B"], "got the cycle"),
        (["dag { A <-> B; A -> B; B -> A }", "A ⟂ B"], "several between|cycle"),
        (["A <-> B -- C", "A ⟂ B"], "got A <-> B and B - C"),
        (["diagnosis", "--draw", "x.nope"], "nope"),
        (["diagnosis", "--nope"], "unrecognized arguments|required"),
        ([], r"required: MODEL \(QUERY is optional\)"),
        (["diagnosis", "--list", "--max-given", "many"], "invalid int value"),
    ],
)
def test_errors_exit_two_without_traceback(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*arguments)
    assert status == 2
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_is_an_error(run, tmp_path):
    path = tmp_path / "broken.bif"
    path.write_text("network x {\nvariable a { type discrete")
    status, _, err = run(path, "a ⟂ b")
    assert status == 2
    assert "broken.bif" in err


def test_alarm_in_a_process_of_its_own(reference_data):
    code = (
        "import sys, graphs.__main__ as g; status = g.main(sys.argv[1:]);"
        "print(sorted({'pgmpy', 'torch', 'numba', 'matplotlib'} & sys.modules.keys()));"
        "sys.exit(status)"
    )
    path = reference_data / "bif" / "alarm.bif.gz"
    command = [sys.executable, "-c", code, str(path), "HR _||_ PRESS | VENTLUNG"]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert result.returncode == 1
    assert "HR ← CATECHOL ← ARTCO2 ← VENTALV ← INTUBATION → PRESS" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_module_runs_and_survives_a_closed_pipe_and_a_narrow_encoding():
    command = [sys.executable, "-m", "graphs", "letters", "--list"]
    full = subprocess.run(command, capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    assert full.returncode == 0
    assert b"A \\u27c2 G | E" in full.stdout
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
