"""Reading and writing factorizations, and reducing any model to its graph."""

import itertools
import time

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from separation_oracles import random_graphs

import graphs
from graphs.language.notation import latex_name, text_name
from graphs.structure.factorization import Factor
from graphs.structure.nodes import find_nodes, node_set, unknown
from graphs.structure.search import ancestors, require_acyclic

examples = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    "text",
    [
        "P(M)P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)",
        "P(M) P(S) P(F) P(I | M, S) P(T | F) P(D | I, T)",
        "P(M,S,F,I,T,D) = P(M) * P(S) · P(F) × P(I∣M,S) P(T|F) P(D|I,T)",
        r"P(M)\,P(S)\cdot P(F)\times P(I \mid M, S) P(T\mid F) \Pr(D\vert I,T)",
        r"$p\left(M\right) p(S) p(F) p(I|M,S) p(T|F) p(D|I,T)$",
        r"P(M,S,F,I,T,D) \propto P(M)P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)",
        r"\mathbb{P}(\mathrm{M})P(\text{S})P(F)P(I|M,S)P(T|F)P(D|I,T)",
        'P("M")P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)',
    ],
)
def test_ways_to_write_a_bayesian_network(text):
    model = graphs.parse(text)
    assert model.directed
    assert model.nodes == ("M", "S", "F", "I", "T", "D")
    expected = {("M", "I"), ("S", "I"), ("F", "T"), ("I", "D"), ("T", "D")}
    assert set(model.edges) == set(model.graph.edges) == expected
    assert [str(f) for f in model.factors][3] == "P(I | M, S)"
    assert graphs.parse(str(model)) == graphs.parse(model.latex())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("phi1(A,B) phi2(B,C)", ["φ1", "φ2"]),
        ("φ1(A,B)φ2(B,C)", ["φ1", "φ2"]),
        ("1/Z φ_1(A,B) φ_2(B,C)", ["φ1", "φ2"]),
        (r"\frac{1}{Z} \phi_{1}(A,B)\,\phi_2(B,C)", ["φ1", "φ2"]),
        (r"P(A,B,C) = \tfrac1Z \phi(A,B) \phi(B,C)", ["φ", "φ"]),
        ("P(A,B,C) = Z^{-1} f(A,B) f(B,C)", ["f", "f"]),
        ("P(A,B,C) ∝ psi_a(A,B) ψ_b(B,C)", ["ψa", "ψb"]),
    ],
)
def test_ways_to_write_a_markov_network(text, names):
    model = graphs.parse(text)
    assert not model.directed
    assert [f.name for f in model.factors] == names
    assert model.scopes == (frozenset("AB"), frozenset("BC"))
    assert set(map(frozenset, model.edges)) == {frozenset("AB"), frozenset("BC")}
    assert graphs.parse(str(model)).scopes == model.scopes
    assert graphs.parse(model.latex()).scopes == model.scopes


def test_three_scopes_of_the_contract():
    model = graphs.parse("phi1(A,B,C) phi2(B,C,D) phi3(E)")
    assert model.nodes == ("A", "B", "C", "D", "E")
    assert model.graph.number_of_edges() == 5
    assert list(model.graph["E"]) == []


def test_names_of_every_kind():
    model = graphs.parse(
        r'P(x_{1}) P(wet_grass|x_{1}) P(x\'|"a b") P("a b") P(x_2, y-3|x_1)'.replace("\\'", "'")
    )
    assert model.nodes == ("x_1", "wet_grass", "x'", "a b", "x_2", "y-3")
    assert ("x_2", "y-3") in model.edges
    assert graphs.parse(str(model)) == graphs.parse(str(graphs.parse(model.latex())))
    assert model.latex().startswith(r"P(x_{1}, \mathrm{wet\_grass}, x', \text{a b}, x_{2}")
    assert model._repr_latex_() == f"${model.latex()}$"


@examples
@given(st.lists(st.text("ab_1 -.'", max_size=4), min_size=1, max_size=4, unique=True))
def test_any_name_is_read_back(names):
    model = graphs.Factorization(tuple(Factor("P", (name,)) for name in names), True)
    assert graphs.parse(str(model)).nodes == model.nodes
    assert all(text_name(name) in (name, f'"{name}"') for name in names)


def test_latex_names():
    assert [latex_name(n) for n in ("x", "x1", "x_1", "rain", "wet_grass", 3)] == [
        "x",
        "x1",
        "x_{1}",
        r"\mathrm{rain}",
        r"\mathrm{wet\_grass}",
        r"\mathrm{3}",
    ]


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, r"expected a factor such as P\(A\|B\) or phi1\(A,B\), got the end of the text"),
        ("P(A", 3, r"expected ',', '\|' or '\)', got the end of the text at character 4"),
        ("P(A|B", 5, r"expected ',' or '\)', got the end"),
        ("P(A) Q(B)", 5, r"expected a factor such as .* got 'Q' at character 6"),
        ("P(A|)", 4, r"expected the name of a variable, got '\)'"),
        ("P(,A)", 2, "expected the name of a variable, got ','"),
        ("P(A) phi(A,B)", 5, "expected another conditional distribution"),
        ("phi(A) P(B)", 7, "expected another potential"),
        ("1/Z P(A)", 4, "expected a potential such as phi1"),
        ("P(A|B) = P(A)", 0, "expected a joint distribution such as"),
        ("P(A B)", 4, r"expected ',', '\|' or '\)', got 'B'"),
        ("phi(A|B)", 5, r"expected ',' or '\)', got '\|'"),
    ],
)
def test_unreadable_text_points_at_the_character(text, position, message):
    with pytest.raises(graphs.ParseError, match=message) as raised:
        graphs.parse(text)
    assert raised.value.position == position
    assert isinstance(raised.value, ValueError)
    assert str(raised.value).splitlines()[-1].index("^") == position + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P(A)P(A|B)P(B)", r"one conditional distribution per variable, got 2 for 'A': P\(A\), P"),
        ("P(A|B)", r"expected a factor P\(B\) or P\(B \| ...\) because P\(A \| B\) conditions on"),
        ("P(A|B)P(B|A)", "expected an acyclic directed graph, got the cycle"),
        ("P(A|A)", "expected distinct variables in a factor, got P"),
        ("phi(A,A)", "expected distinct variables in a factor"),
        ("P(A,B) = P(A)", "expected the same variables on both sides .* got B on one side only"),
        ("P(A) = P(A)P(B)", "got B on one side only"),
    ],
)
def test_texts_that_are_no_factorization(text, message):
    with pytest.raises(ValueError, match=message):
        graphs.parse(text)


def test_long_unreadable_text_is_refused_at_once():
    for text in ("P(x_{1}" + "_" * 5_000 + "\\", "P(" + "a_" * 5_000 + "\\", "φ(" * 2_000):
        start = time.process_time()
        with pytest.raises(graphs.ParseError):
            graphs.parse(text)
        assert time.process_time() - start < 2


@pytest.mark.parametrize("text", [None, 3, b"P(A)", ["P(A)"]])
def test_only_text_is_parsed(text):
    with pytest.raises(ValueError, match="expected a factorization as text, got"):
        graphs.parse(text)


def test_invalid_factors():
    with pytest.raises(ValueError, match="expected at least one factor, got none"):
        graphs.Factorization((), True)
    with pytest.raises(ValueError, match="expected at least one variable in a factor"):
        graphs.Factorization((Factor("P", (), ("A",)),), True)


def test_validation_is_linear():
    many = tuple(Factor("P", (i,), (i - 1,) if i else ()) for i in range(20_000))
    start = time.process_time()
    assert len(graphs.Factorization(many, True).nodes) == 20_000
    assert time.process_time() - start < 3


# --- Models -------------------------------------------------------------------------------------


@examples
@given(random_graphs())
def test_factorization_of_a_graph_gives_the_graph_back(graph):
    stated = graphs.factorization(graph)
    assert graphs.as_graph(graph) is graph
    assert stated.nodes == tuple(graph)
    again = graphs.as_graph(stated)
    assert again.is_directed() == graph.is_directed()
    assert set(map(frozenset, again.edges)) == set(map(frozenset, graph.edges))
    if graph.is_directed():
        assert set(again.edges) == set(graph.edges)
        assert {f.variables[0]: set(f.given) for f in stated.factors} == {
            v: set(graph.predecessors(v)) for v in graph
        }
    else:
        assert set(stated.scopes) == set(map(frozenset, nx.find_cliques(graph)))
    assert graphs.factorization(stated) is stated


def test_pgmpy_models():
    models = pytest.importorskip("pgmpy.models")
    factors = pytest.importorskip("pgmpy.factors.discrete")
    network = graphs.markov_network(
        [(("A", "B"), [[1, 2], [3, 4]]), (("A", "B"), [[1, 2], [3, 4]])]
    )
    assert graphs.as_graph(network) is network
    assert graphs.factorization(network).scopes == (frozenset("AB"), frozenset("AB"))
    constant = graphs.markov_network([("A", [1, 2]), ((), 3.0)])
    assert graphs.factorization(constant).scopes == (frozenset("A"),)
    potential = factors.DiscreteFactor(["A", "B", "C"], [2, 2, 2], range(1, 9))
    graph = models.FactorGraph()
    graph.add_nodes_from(["A", "B", "C", "D", potential])
    graph.add_factors(potential)
    graph.add_edges_from([(v, potential) for v in "ABC"])
    assert set(graphs.as_graph(graph)) == set("ABCD")
    assert set(graphs.factorization(graph).scopes) == {frozenset("ABC"), frozenset("D")}
    assert graphs.independent(graph, "A", "D")
    assert not graphs.independent(graph, "A", "C", "B")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("P(A)", r"expected a networkx graph, .* got str \(use graphs.parse\)"),
        (None, "got NoneType"),
        (nx.MultiGraph([(0, 1)]), "expected a graph without parallel edges, .* got MultiGraph"),
        (nx.Graph([(0, 1), (1, 1)]), "expected a graph without self-loops, got 1 - 1"),
        (nx.DiGraph([(0, 0)]), "got the cycle 0 -> 0"),
        (nx.DiGraph([(0, 1), (1, 2), (2, 1)]), "got the cycle"),
    ],
)
def test_refused_models(model, message):
    for function in (graphs.as_graph, graphs.factorization):
        with pytest.raises(ValueError, match=message):
            function(model)


def test_partially_directed_graphs_are_refused():
    base = pytest.importorskip("pgmpy.base")
    graph = base.PDAG(directed_ebunch=[("a", "b")], undirected_ebunch=[("b", "c")])
    with pytest.raises(ValueError, match="expected a DAG or an undirected graph, got a partially"):
        graphs.as_graph(graph)


@examples
@given(random_graphs(directed=True), st.integers(0, 6), st.integers(0, 6))
def test_cycles_are_found_again_after_a_change(graph, u, v):
    require_acyclic(graph)
    if u not in graph or v not in graph:
        return
    view = graph.subgraph(list(graph))
    require_acyclic(view)
    graph.add_edge(u, v)
    for changed in (graph, view, graph.copy()):
        if nx.is_directed_acyclic_graph(graph):
            require_acyclic(changed)
        else:
            with pytest.raises(ValueError, match="got the cycle") as raised:
                require_acyclic(changed)
            loop = str(raised.value).rsplit("cycle ")[1].split(" -> ")
            assert loop[0] == loop[-1]
            assert all(graph.has_edge(int(a), int(b)) for a, b in itertools.pairwise(loop))


@examples
@given(random_graphs(directed=True))
def test_ancestors(graph):
    for v in graph:
        assert ancestors(graph, [v]) == nx.ancestors(graph, v) | {v}


# --- Node sets ----------------------------------------------------------------------------------


def test_one_name_or_many():
    graph = nx.Graph([("ab", "a"), ("b", 0), (("a", "b"), "")])
    assert node_set(graph, "ab", "x") == {"ab"}
    assert node_set(graph, ["a", "b"], "x") == {"a", "b"}
    assert node_set(graph, ("a", "b"), "x") == {("a", "b")}
    assert node_set(graph, ("b", "a"), "x") == {"a", "b"}
    assert node_set(graph, 0, "x") == {0}
    assert node_set(graph, "", "x") == {""}
    assert node_set(graph, None, "x") == node_set(graph, [], "x") == frozenset()
    assert node_set(graph, (v for v in "ab"), "x") == {"a", "b"}
    assert find_nodes(graph, ["0", "ab"], "x") == {0, "ab"}
    for wrong in ("c", 1, ["a", "c"], [["a"]], ("a", ["b"]), 2.5, {"a": "b"}.keys() | {"q"}):
        with pytest.raises(ValueError, match="expected nodes of the graph for x, got"):
            node_set(graph, wrong, "x")


def test_nearest_names():
    assert unknown(["smoke", "dysp"], "smok") == "'smok' (did you mean 'smoke'?)"
    assert unknown(["Smoke", "dysp"], "SMOK") == "'SMOK' (did you mean 'Smoke'?)"
    assert unknown([1, 2], 3) == "3; the nodes are 1, 2"
    assert unknown(range(100), "q").endswith("10, 11, ...")


@pytest.mark.parametrize(
    "text",
    [
        r"phi_{A,B}(A,B) phi_{B,C}(B,C)",
        "(1/Z) φ₁(A,B) φ₂(B,C)",
        r"\[ \Phi_1(A,B)\,\psi_{2}(B,C). \]",
        r"$$P(A)\,P(B \middle| A)$$",
        r"p_\theta(x|z) p(z)",
        "q(z|x) P_1(x).",
        "P(A,B,C) = P(A) P(B|A) P(C|B)",
        r"P(x_{1,2}) P(y|x_{1,2})",
        "5 f(A,B) f2(B,C)",
    ],
)
def test_what_is_printed_reads_back_equal(text):
    model = graphs.parse(text)
    assert graphs.parse(str(model)) == model
    assert graphs.parse(model.latex()) == model
    assert hash(graphs.parse(str(model))) == hash(model)


def test_a_left_hand_side_in_the_same_order_makes_no_difference():
    assert graphs.parse("P(A)P(B|A)") == graphs.parse("P(A,B) = P(A)P(B|A)")
    assert graphs.parse("P(A)P(B|A)") != graphs.parse("P(B,A) = P(A)P(B|A)")
    assert graphs.parse("phi(A,B)") != graphs.parse("2 phi(A,B)")
    assert graphs.parse(r"\psi_{1}(A,B)").factors[0].latex() == r"\psi_{1}(A, B)"
