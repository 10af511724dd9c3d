"""Reading and writing networks: against other programs, and round trips."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from agrum import pyagrum
from hypothesis import given, settings
from hypothesis import strategies as st
from network_files import EXTENSIONS, HUGIN, JAVABAYES, OLD_XML, assert_same
from pgmpy.factors.discrete import DiscreteFactor
from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork
from pgmpy.readwrite import BIFReader, BIFWriter, NETReader, NETWriter, XMLBIFReader, XMLBIFWriter

import graphs
from graphs.files import read_evidence

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)


def assert_equals_pgmpys(ours, theirs):
    """The same network as one that pgmpy read, whose tables come in another order."""
    assert set(ours.nodes) == set(theirs.nodes)
    assert set(ours.edges) == set(theirs.edges)
    for cpd in theirs.get_cpds():
        mine = ours.get_cpds(cpd.variable)
        assert mine.variables == cpd.variables
        assert mine.state_names == cpd.state_names
        assert np.array_equal(mine.values, cpd.values)


def assert_equals_agrums(ours, theirs, atol=1e-7):
    """The same network as one of aGrUM, which keeps single precision from BIF and NET files."""
    assert set(ours.nodes) == theirs.names()
    name = theirs.variable
    assert set(ours.edges) == {(name(u).name(), name(v).name()) for u, v in theirs.arcs()}
    for cpd in ours.get_cpds():
        table = theirs.cpt(cpd.variable)
        own = theirs.variableFromName(cpd.variable)
        assert list(own.labels()) == list(map(str, cpd.state_names[cpd.variable]))
        axes = [table.names[::-1].index(v) for v in cpd.variables]
        assert np.allclose(table.toarray().transpose(axes), cpd.values, rtol=1e-6, atol=atol)


@pytest.fixture
def network():
    """Plain names, three parents' states in an order that is not sorted, a row of ten digits."""
    rng = np.random.default_rng(3)
    return graphs.bayesian_network(
        [
            ("wet", ("rain", "sprinkler"), rng.dirichlet([1, 1, 1], size=(2, 3))),
            ("rain", (), [0.2, 0.8]),
            ("sprinkler", "rain", [[0.125, 0.5, 0.375], [1 / 3, 1 / 3, 1 / 3]]),
        ],
        states={"wet": ("z", "a", "m"), "rain": ("yes", "no"), "sprinkler": ("off", "low", "on")},
        name="garden",
    )


# --- Reference networks -------------------------------------------------------------------------

BY_PGMPY = ["asia", "cancer", "survey", "sachs", "child", "alarm"]  # which reads larger ones slowly
# not child, whose state Asy/Patch is no word to aGrUM
BY_AGRUM = ["alarm", "asia", "cancer", "earthquake", "hailfinder", "insurance", "link", "mildew"]
BY_AGRUM += ["munin1", "pigs", "sachs", "survey", "water", "win95pts"]


@pytest.fixture
def bif(reference_data):
    return lambda name: reference_data / "bif" / f"{name}.bif.gz"


@pytest.mark.parametrize("name", BY_PGMPY)
def test_reference_networks_equal_what_pgmpy_reads(name, bif):
    model = graphs.load(bif(name))
    assert model.check_model()
    assert isinstance(model, DiscreteBayesianNetwork)
    text = gzip.decompress(bif(name).read_bytes()).decode()
    assert_equals_pgmpys(model, BIFReader(string=text).get_model())


@pytest.mark.parametrize("name", BY_AGRUM)
def test_reference_networks_equal_what_agrum_reads(name, bif, tmp_path):
    plain = tmp_path / f"{name}.bif"
    plain.write_bytes(gzip.decompress(bif(name).read_bytes()))
    model = graphs.load(plain)
    assert_equals_agrums(model, pyagrum.loadBN(str(plain)))
    structure = graphs.load(bif(name), tables=False)
    assert type(structure) is nx.DiGraph
    assert list(structure) == list(model)
    assert list(structure.edges) == list(model.edges)


def test_a_reference_network_survives_every_format(bif, tmp_path):
    model = graphs.load(bif("insurance"))
    for extension in EXTENSIONS:
        graphs.save(model, tmp_path / f"copy{extension}.gz")
        assert_same(model, graphs.load(tmp_path / f"copy{extension}.gz"))
    graphs.save(model, tmp_path / "copy.uai")
    assert_same(model, graphs.load(tmp_path / "copy.uai"), names=False)


@pytest.mark.parametrize("name", ["CSP_12", "Grids_12", "Promedus_24", "Segmentation_11"])
def test_reference_uai_problems_equal_their_tokens(name, reference_data, tmp_path):
    path = reference_data / "uai" / "MAR" / f"{name}.uai"
    model = graphs.load(path)
    assert model.check_model()
    words = iter(path.read_text().split())
    assert next(words) == "MARKOV"
    sizes = [int(next(words)) for _ in range(int(next(words)))]
    assert [len(model.states[f"var_{i}"]) for i in range(len(sizes))] == sizes
    scopes = [[int(next(words)) for _ in range(int(next(words)))] for _ in range(int(next(words)))]
    factors = model.get_factors()
    for scope, factor in zip(scopes, factors, strict=False):
        assert factor.scope() == [f"var_{i}" for i in scope]
        values = [float(next(words)) for _ in range(int(next(words)))]
        assert factor.values.ravel().tolist() == values
    free = set(range(len(sizes))).difference(*scopes)
    assert [f.scope() for f in factors[len(scopes) :]] == [[f"var_{i}"] for i in sorted(free)]
    edges = {frozenset((f"var_{i}", f"var_{j}")) for s in scopes for i in s for j in s if i < j}
    structure = graphs.load(path, tables=False)
    assert type(structure) is nx.Graph
    assert set(map(frozenset, structure.edges)) == set(map(frozenset, model.edges)) == edges
    evidence = read_evidence(path.with_suffix(".uai.evid"))
    assert all(0 <= state < len(model.states[v]) for v, state in evidence.items())
    graphs.save(model, tmp_path / "copy.uai.gz")
    assert_same(model, graphs.load(tmp_path / "copy.uai.gz"))


def test_structure_is_read_without_importing_pgmpy_or_torch(bif, tmp_path, network):
    for extension in [*EXTENSIONS, ".uai"]:
        graphs.save(network, tmp_path / f"n{extension}")
    code = (
        "import sys, json, graphs\n"
        "sizes = [len(graphs.load(p, tables=False)) for p in sys.argv[1:]]\n"
        "heavy = [m for m in ('pgmpy', 'torch', 'pandas', 'numba') if m in sys.modules]\n"
        "print(json.dumps([sizes, heavy]))"
    )
    paths = [bif("alarm"), *(tmp_path / f"n{e}" for e in [*EXTENSIONS, ".uai"])]
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, check=True)
    assert json.loads(run.stdout) == [[37, 3, 3, 3, 3], []]


# --- Round trips --------------------------------------------------------------------------------

AWKWARD = st.text(
    st.sampled_from(list("ab09._-+<>=/ \\\"'`,;:{}()[]|%#*&~!?\n\t\ré漢🙂"))
    | st.characters(codec="utf-8", exclude_categories=["C"]),
    max_size=8,
)


@st.composite
def awkward_networks(draw):
    nodes = draw(st.lists(AWKWARD, min_size=1, max_size=4, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    states = {v: draw(st.lists(AWKWARD, min_size=1, max_size=3, unique=True)) for v in nodes}
    conditionals = []
    for i, v in enumerate(nodes):
        parents = [u for u in nodes[:i] if rng.random() < 0.6]
        shape = [len(states[u]) for u in parents]
        table = rng.dirichlet(np.full(len(states[v]), 0.05), size=shape)
        conditionals.append((v, parents, table))
    return graphs.bayesian_network(draw(st.permutations(conditionals)), states, name=draw(AWKWARD))


@pytest.mark.parametrize("extension", EXTENSIONS)
@SETTINGS
@given(model=awkward_networks())
def test_any_names_states_and_numbers_survive(extension, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("awkward") / f"n{extension}"
    graphs.save(model, path)
    assert_same(model, graphs.load(path))
    assert list(graphs.load(path, tables=False).edges) == list(model.edges)


@pytest.mark.parametrize("extension", [*EXTENSIONS, ".uai"])
def test_saved_files_are_compressed_reproducible_and_case_does_not_matter(
    extension, network, tmp_path
):
    first, second = tmp_path / f"one{extension.upper()}.GZ", tmp_path / f"two{extension}.gz"
    graphs.save(network, str(first))
    graphs.save(network, second)
    assert first.read_bytes() == second.read_bytes()
    graphs.save(network, tmp_path / f"n{extension}")
    assert gzip.decompress(first.read_bytes()) == (tmp_path / f"n{extension}").read_bytes()
    assert_same(network, graphs.load(str(first)), names=extension != ".uai")


def test_names_that_are_no_text_are_written_as_text(tmp_path):
    model = graphs.bayesian_network([(0, (), [0.5, 0.5]), (("x", 1), 0, np.eye(2))])
    graphs.save(model, tmp_path / "n.bif")
    copy = graphs.load(tmp_path / "n.bif")
    assert copy.states == {"0": ["0", "1"], "('x', 1)": ["0", "1"]}
    assert list(copy.edges) == [("0", "('x', 1)")]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_networks_name_survives(extension, network, tmp_path):
    graphs.save(network, tmp_path / f"n{extension}")
    assert graphs.load(tmp_path / f"n{extension}").name == "garden"


def test_uai_keeps_the_numbers_of_its_own_names_and_numbers_others(tmp_path):
    half = [0.5, 0.5]
    table = np.array([[0.1, 0.9], [0.25, 0.75]])
    model = graphs.bayesian_network([("var_1", "var_0", table), ("var_0", (), half)])
    graphs.save(model, tmp_path / "n.uai")
    copy = graphs.load(tmp_path / "n.uai")
    assert list(copy) == ["var_0", "var_1"]
    assert copy.get_cpds("var_1").variables == ["var_1", "var_0"]
    assert np.array_equal(copy.get_cpds("var_1").values.T, table)
    graphs.save(graphs.bayesian_network([("b", "a", table), ("a", (), half)]), tmp_path / "n.uai")
    assert list(graphs.load(tmp_path / "n.uai").edges) == [("var_1", "var_0")]


def test_uai_keeps_equal_functions_constants_and_free_variables(tmp_path):
    path = tmp_path / "n.uai"
    path.write_text(
        "MARKOV\n4\n2 2 3 2\n4\n2 0 1\n2 0 1\n0\n1 3\n" + "4 1 2 3 4\n" * 2 + "1 5\n2 1 0"
    )
    model = graphs.load(path)
    assert model.check_model()
    assert list(model) == ["var_0", "var_1", "var_2", "var_3"]
    scopes = [["var_0", "var_1"], ["var_0", "var_1"], [], ["var_3"], ["var_2"]]
    assert [factor.scope() for factor in model.factors] == scopes
    assert model.factors[0] == model.factors[1]
    assert model.factors[4].values.tolist() == [1, 1, 1]
    graphs.save(model, path)
    assert_same(model, graphs.load(path))


def test_evidence_files_in_both_forms(tmp_path):
    path = tmp_path / "n.uai.evid"
    for text, evidence in [
        ("2 0 1 3 0\n", {"var_0": 1, "var_3": 0}),
        ("1\n2 0 1 3 0\n", {"var_0": 1, "var_3": 0}),
        ("0", {}),
        ("1\n0\n", {}),
        ("1 5 1", {"var_5": 1}),
    ]:
        path.write_text(text)
        assert read_evidence(path) == evidence
    (tmp_path / "n.evid.gz").write_bytes(gzip.compress(b"1 5 1"))
    assert read_evidence(tmp_path / "n.evid.gz") == {"var_5": 1}
    assert read_evidence((tmp_path / "n.evid.gz").rename(tmp_path / "n.evid")) == {"var_5": 1}
    for text, line, message in [
        ("", 1, "the number of observed variables"),
        ("2 0 1\n3\n", 2, "4 integers"),
        ("2 0 1\n0 1\n", 2, "every variable once"),
        ("1 0\n-1", 2, "a state"),
        ("2\n1 0 1\n1 0 1", 3, "4 integers"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"n\.uai\.evid, line {line}: .*{message}"):
            read_evidence(path)


# --- Other programs -----------------------------------------------------------------------------


def test_pgmpy_reads_what_is_saved_and_writes_what_is_read(network, tmp_path):
    readers = {".bif": BIFReader, ".xmlbif": XMLBIFReader, ".net": NETReader}
    writers = {".bif": BIFWriter, ".xmlbif": XMLBIFWriter}
    for extension, reader in readers.items():
        path = tmp_path / f"n{extension}"
        graphs.save(network, path)
        assert_equals_pgmpys(network, reader(str(path)).get_model())
    for extension, writer in writers.items():
        path = tmp_path / f"n{extension}"
        writer(network).write(str(path))
        assert_equals_pgmpys(graphs.load(path), network)
    NETWriter(network).write(str(tmp_path / "n.net"))
    rounded = graphs.load(tmp_path / "n.net")
    for cpd in network.get_cpds():
        assert rounded.get_cpds(cpd.variable).state_names == cpd.state_names
        assert np.allclose(rounded.get_cpds(cpd.variable).values, cpd.values, rtol=0, atol=1e-8)


@pytest.mark.parametrize("extension", [*EXTENSIONS, ".uai"])
def test_agrum_reads_what_is_saved_and_writes_what_is_read(extension, network, tmp_path):
    theirs_name = {".xmlbif": ".bifxml"}.get(extension, extension)
    ours, theirs = tmp_path / f"n{extension}", tmp_path / f"n{theirs_name}"
    graphs.save(network, ours)
    ours.replace(theirs)
    read = pyagrum.loadBN(str(theirs))
    if extension != ".uai":
        assert_equals_agrums(network, read)
    pyagrum.saveBN(read, str(theirs))
    theirs.replace(ours)
    model = graphs.load(ours)
    if extension != ".uai":
        assert_equals_agrums(model, read, atol=1e-6)
    else:
        for cpd in network.get_cpds():
            again = model.get_cpds(f"var_{list(network).index(cpd.variable)}")
            assert np.allclose(again.values, cpd.values, atol=1e-6)


def test_bif_in_every_dialect(tmp_path):
    path = tmp_path / "dog.bif"
    path.write_text(JAVABAYES)
    model = graphs.load(path)
    assert model.name == "Dog-Problem"
    states = {
        "light-on": ["true", "false"],
        "dog out": ["true", "false"],
        "family-out": ["a", "b/c", "d e, f"],
    }
    assert model.states == states
    assert list(model) == list(states)
    light = model.get_cpds("light-on")
    assert light.variables == ["light-on", "family-out", "dog out"]
    # the child's first state for every state of the parents, the last parent fastest
    assert light.values[0].tolist() == [[0.6, 0.05], [0.4, 0.95], [0.25, 0.25]]
    assert model.get_cpds("dog out").values.T.tolist() == [[0.5, 0.5], [0.3, 0.7], [0.5, 0.5]]
    assert model.get_cpds("family-out").values.tolist() == [0.15, 0.8, 0.05]
    path.write_bytes(b"\xef\xbb\xbf" + JAVABAYES.replace("\n", "\r\n").encode())
    assert_same(model, graphs.load(path))


def test_bif_default_alone_stands_for_every_row(tmp_path):
    path = tmp_path / "n.bif"
    path.write_text(
        "variable a { type discrete [ 2 ] { x, y }; } probability ( a ) { default 0.25 0.75; }\n"
        "variable b { type discrete { u, v }; } probability ( b a ) { default .5 .5; }\n"
    )
    model = graphs.load(path)
    assert model.get_cpds("a").values.tolist() == [0.25, 0.75]
    assert model.get_cpds("b").values.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_bif_table_order_is_that_of_pgmpy_and_agrum(tmp_path):
    path = tmp_path / "n.bif"
    numbers = ", ".join(
        str(p) for p in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    )
    variables = "".join(
        f"variable {v} {{ type discrete [ {n} ] {{ {', '.join('xyz'[:n])} }}; }}\n"
        f"probability ( {v} ) {{ table {row}; }}\n"
        for v, n, row in [("a", 2, "0.25, 0.75"), ("b", 3, "0.25, 0.25, 0.5")]
    )
    path.write_text(
        f"network n {{ }}\n{variables}variable c {{ type discrete [ 2 ] {{ x, y }}; }}\n"
        f"probability ( c | a, b ) {{ table {numbers}; }}\n"
    )
    assert_equals_pgmpys(graphs.load(path), BIFReader(str(path)).get_model())
    assert_equals_agrums(graphs.load(path), pyagrum.loadBN(str(path)))


def test_net_in_every_dialect(tmp_path):
    path = tmp_path / "chest.net"
    path.write_text(HUGIN)
    model = graphs.load(path)
    assert model.name == "chest; clinic"
    assert model.states == {"A": ["yes", "no way"], "B": ["on", "off"]}
    assert model.get_cpds("B").values.T.tolist() == [[0.05, 0.95], [0.01, 0.99]]


def test_xmlbif_in_every_dialect(tmp_path):
    path = tmp_path / "n.xmlbif"
    path.write_bytes(OLD_XML.encode("latin-1"))
    model = graphs.load(path)
    assert model.states == {"café & tea": ["yes", "no"]}
    assert model.get_cpds("café & tea").values.tolist() == [0.25, 0.75]


# --- Writing ------------------------------------------------------------------------------------


def test_what_cannot_be_written_is_refused_and_leaves_the_old_file(network, tmp_path):
    path = tmp_path / "n.bif"
    graphs.save(network, path)
    old = path.read_bytes()
    markov = graphs.markov_network([(("a", "b"), np.ones((2, 2)))])
    incomplete = DiscreteBayesianNetwork([("a", "b")])
    negative = DiscreteMarkovNetwork()
    negative.add_node("a")
    negative.add_factors(DiscreteFactor(["a"], [2], [1, -1]))
    same_text = graphs.bayesian_network([(1, (), [1.0]), ("1", (), [1.0])])
    same_states = graphs.bayesian_network([("a", (), [0.5, 0.5])], {"a": (1, "1")})
    surrogate = graphs.bayesian_network([("a\ud800", (), [1.0])])
    for model, message in [
        (markov, r"a Bayesian network for .*n\.bif, got a Markov network; a \.uai file"),
        (graphs.parse("P(a)"), "which hold tables, got Factorization without any"),
        (nx.DiGraph([("a", "b")]), "which hold tables, got DiGraph without any"),
        (incomplete, "every node, got none for 'a', 'b'"),
        (negative, r"got -1\.0"),
        (same_text, "nodes that differ as text, got 1 and '1'"),
        (same_states, "states of 'a' that differ as text, got 1 and '1'"),
        (surrogate, "names that UTF-8 can encode"),
    ]:
        with pytest.raises(ValueError, match=message):
            graphs.save(model, path)
        assert path.read_bytes() == old
    control = graphs.bayesian_network([("a\0", (), [1.0])])
    with pytest.raises(ValueError, match="characters that XML can hold"):
        graphs.save(control, tmp_path / "n.xmlbif.gz")
    assert os.listdir(tmp_path) == ["n.bif"]


def test_saved_files_have_the_usual_permissions(network, tmp_path):
    graphs.save(network, tmp_path / "n.bif")
    (tmp_path / "usual").touch()
    assert (tmp_path / "n.bif").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("path", ["n.xyz", "n", "n.gz", "n.bif.zip", ".bif", "", Path("n.zip.gz")])
def test_unknown_extensions_are_refused_with_the_known_ones(path, network):
    known = r"ends in \.bif, \.xmlbif, \.bifxml, \.xml, \.uai, \.net, {}each also with \.gz, got "
    with pytest.raises(ValueError, match=known.format(r"\.xdsl, \.dsc, ")):
        graphs.load(path)
    with pytest.raises(ValueError, match=known.format("")):
        graphs.save(network, path)


@pytest.mark.parametrize("path", [None, 3, b"n.bif", ["n.bif"]])
def test_what_is_no_path_is_refused(path, network):
    with pytest.raises(ValueError, match="the path of a file, got"):
        graphs.load(path)
    with pytest.raises(ValueError, match="the path of a file, got"):
        graphs.save(network, path)


def test_a_missing_file_is_not_found(tmp_path, network):
    for kind in (FileNotFoundError, ValueError):
        with pytest.raises(kind, match=r"no file at .*no\.bif"):
            graphs.load(tmp_path / "no.bif")
        with pytest.raises(kind, match=r"existing folder for n\.bif"):
            graphs.save(network, tmp_path / "no" / "n.bif")


@pytest.mark.parametrize("extension", [".dot", ".gv", ".dagitty", ".dot.gz"])
@pytest.mark.parametrize(
    "text",
    ["dag { A -> B; A -> C; D }", "A -> B <-> C", "graph { A -- B; C }", "pdag { A -- B; B -> C }",
     'dag { "a b" -> node; "a b" <-> node; "q\\"" [latent] }'],
)  # fmt: skip
def test_structures_are_written_as_text_and_read_back(tmp_path, text, extension):
    graph = graphs.read_graph(text)
    graphs.save(graph, tmp_path / f"model{extension}")
    again = graphs.load(tmp_path / f"model{extension}", tables=False)
    assert again.is_directed() == graph.is_directed()
    assert set(again) == set(graph)
    assert {frozenset(e) if not graph.is_directed() else e for e in again.edges} == {
        frozenset(e) if not graph.is_directed() else e for e in graph.edges
    }
    marks = ("directed", "bidirected")
    for u, v, data in graph.edges(data=True):
        assert {m: again.edges[u, v].get(m) for m in marks} == {m: data.get(m) for m in marks}
    assert {v for v in again if again.nodes[v].get("latent")} == {
        v for v in graph if graph.nodes[v].get("latent")
    }


def test_formulas_are_written(tmp_path):
    model = graphs.textbook.letters()
    graphs.save(model, tmp_path / "model.tex")
    assert graphs.parse((tmp_path / "model.tex").read_text()) == model
    graphs.save(model, tmp_path / "model.tikz")
    assert (tmp_path / "model.tikz").read_text().count(r"\draw [-]") == 10
