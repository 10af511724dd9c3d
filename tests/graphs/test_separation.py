"""The compiled index gives the answers of the definition, at any size and for any names."""

import itertools
import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from separation_oracles import node_triples, random_graphs, separated_in_moral_ancestral_graph

import graphs
from graphs import textbook
from graphs.separation import plain
from graphs.separation.independence import reachable

SMALL = 62  # the largest graph whose sets are single words, as a test below holds
examples = settings(max_examples=200, deadline=None, derandomize=True)


@pytest.fixture(params=[1e18, -1], ids=["plain", "compiled"], autouse=True, scope="module")
def way(request):
    """Every answer both ways."""
    asked, most = plain.BUDGET.asked, plain.BUDGET.most
    plain.BUDGET.asked, plain.BUDGET.most = 0, request.param
    yield
    plain.BUDGET.asked, plain.BUDGET.most = asked, most


def random_dag(size, degree, seed):
    chosen = random.Random(seed)
    order = list(range(size))
    chosen.shuffle(order)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(
        (order[chosen.randrange(i)], order[i]) for i in range(1, size) for _ in range(degree)
    )
    return graph


padding = pytest.mark.parametrize("isolated", [0, SMALL], ids=["small", "large"])


@padding
@examples
@given(data=st.data())
def test_agrees_with_the_definition(data, isolated):
    graph = data.draw(random_graphs())
    triples = [data.draw(node_triples(graph)) for _ in range(4)]
    graph.add_nodes_from(range(-isolated, 0))
    index = graphs.Separation(graph)
    expected = [separated_in_moral_ancestral_graph(graph, *triple) for triple in triples]
    assert [index.independent(*triple) for triple in triples] == expected
    many = index.independent_many(*map(list, zip(*triples, strict=True)))
    assert many.dtype == np.bool_
    assert many.tolist() == expected


@padding
@examples
@given(data=st.data())
def test_reachable_and_matrix_agree_with_single_queries(data, isolated):
    graph = data.draw(random_graphs())
    _, _, observed = data.draw(node_triples(graph))
    graph.add_nodes_from(range(-isolated, 0))
    index = graphs.Separation(graph)
    matrix = index.dependence_matrix(observed)
    assert matrix.shape == (len(graph), len(graph))
    assert np.array_equal(matrix, matrix.T)
    for i, u in enumerate(index.nodes[: len(graph) - isolated]):
        if u in observed:
            assert not matrix[i].any()
            continue
        assert matrix[i, i]
        dependent = {v for j, v in enumerate(index.nodes) if matrix[i, j]} - {u}
        assert index.reachable(u, observed) == dependent == reachable(graph, u, observed)
        for v in set(graph) - observed - {u}:
            assert index.independent(u, v, observed) == (v not in dependent)


@pytest.mark.parametrize(("size", "degree"), [(40, 1), (62, 1), (63, 1), (400, 1), (3_000, 3)])
def test_thousand_random_queries(size, degree):
    graph = random_dag(size, degree, seed=size)
    index = graphs.Separation(graph)
    chosen = random.Random(3)
    queries = []
    for _ in range(1_000):
        u, v, *z = chosen.sample(range(size), chosen.randint(2, 8))
        queries.append((u, v, z))
    xs, ys, givens = zip(*queries, strict=True)
    answers = index.independent_many(xs, ys, givens)
    assert answers.tolist() == [index.independent(*query) for query in queries]
    for query, answer in list(zip(queries, answers, strict=True))[:200]:
        assert graphs.independent(graph, *query).holds == answer


def test_against_pyagrum_on_a_larger_graph():
    gum = pytest.importorskip("pyagrum")
    chosen = np.random.default_rng(1)
    graph = nx.DiGraph(sorted(chosen.choice(500, 2, replace=False).tolist()) for _ in range(900))
    peer = gum.DAG()
    for v in range(500):
        peer.addNodeWithId(v)
    for u, v in graph.edges:
        peer.addArc(u, v)
    index = graphs.Separation.from_edges(500, list(graph.edges))
    queries = np.array([chosen.choice(500, 5, replace=False) for _ in range(300)])
    answers = index.independent_many(queries[:, 0], queries[:, 1], queries[:, 2:])
    expected = [peer.dSeparation(u, v, set(z)) for u, v, *z in queries.tolist()]
    assert answers.tolist() == expected
    assert 40 < sum(expected) < 260


def test_from_edges():
    edges = np.array([[0, 2], [1, 2], [2, 3], [0, 2]], dtype=np.uint8)
    index = graphs.Separation.from_edges(5, edges)
    assert list(index.nodes) == [0, 1, 2, 3, 4]
    assert repr(index) == "<Separation of 5 nodes, 4 edges>"
    assert index.independent(0, 1)
    assert not index.independent(0, 1, 3)
    assert index.independent(np.int64(0), np.int32(4), np.array([3]))
    given_rows = np.array([[3, 4], [2, 4]])
    assert index.independent_many(np.array([0, 0]), np.array([1, 3]), given_rows).tolist() == [
        False,
        True,
    ]
    loose = graphs.Separation.from_edges(3, [])
    assert loose.dependence_matrix().tolist() == np.eye(3, dtype=bool).tolist()
    line = graphs.Separation.from_edges(3, [(0, 1), (1, 2)], directed=False)
    assert not line.independent(0, 2)
    assert line.independent(0, 2, [1])
    assert repr(line) == "<Separation of 3 nodes, 2 edges>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, [(0, 1, 2)]), r"expected an integer array of shape \(edges, 2\), got shape \(1, 3\)"),
        ((3, [0, 1]), r"got shape \(2,\)"),
        ((3, [(0.0, 1.0)]), "and type float64"),
        ((3, [("a", "b")]), "and type <U1"),
        ((3, [(0, 3)]), "expected edges between nodes 0 to 2, got 3"),
        ((3, [(0, -1)]), "expected edges between nodes 0 to 2, got -1"),
        ((-1, []), "expected a number of nodes of zero or more, got -1"),
        (
            (4, [(0, 1), (1, 2), (2, 3), (3, 1)]),
            "expected an acyclic directed graph, got the cycle",
        ),
        ((2, [(1, 1)]), "got the cycle 1 -> 1"),
    ],
)
def test_refused_edges(arguments, message):
    with pytest.raises(ValueError, match=message):
        graphs.Separation.from_edges(*arguments)


def test_refused_undirected_self_loop():
    with pytest.raises(ValueError, match="expected a graph without self-loops, got 1 - 1"):
        graphs.Separation.from_edges(2, [(0, 1), (1, 1)], directed=False)


def test_the_cycle_named_is_one():
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("d", "e"), ("z", "c")])
    with pytest.raises(ValueError, match="got the cycle") as raised:
        graphs.Separation(graph)
    loop = str(raised.value).rsplit("cycle ")[1].split(" -> ")
    assert loop[0] == loop[-1]
    assert len(loop) == 4
    assert all(graph.has_edge(u, v) for u, v in itertools.pairwise(loop))


def test_sets_lists_and_falsy_names():
    graph = nx.DiGraph([(0, ""), ("", (1, 2)), ((1, 2), "z"), ((), "")])
    index = graphs.Separation(graph)
    assert not index.independent(0, "z")
    assert index.independent(0, "z", "")
    assert index.independent(0, "z", (1, 2))
    assert index.independent(0, "z", [(1, 2)])
    assert index.independent(0, "z", ((1, 2), ""))
    assert index.independent([0, ()], {"z"}, ("",))
    assert index.independent(0, ())
    assert not index.independent(0, (), "z")
    assert not index.independent(0, (), ["z"] * 50)
    assert index.independent(0, (), None)
    assert index.reachable([0, ""]) == {(), (1, 2), "z"}
    many = index.independent_many([0, [0, ()], 0], ["z", "z", ()], ["", [(1, 2)], None])
    assert many.tolist() == [True, True, True]
    assert index.independent_many([0], ["z"]).tolist() == [False]
    assert index.independent_many([], [], []).shape == (0,)


def test_textbook_models():
    index = graphs.Separation(textbook.letters())
    assert not index.independent("A", "G")
    assert index.independent("A", "E", ["B", "C"])
    assert index.nodes == ("A", "B", "C", "D", "E", "F", "G")
    assert index.dependence_matrix("E")[0].tolist() == [True] * 4 + [False, True, False]


def test_old_marks_are_forgotten_when_epochs_run_out(monkeypatch):
    from graphs.separation import kernels  # which compiles, so not while tests are collected

    monkeypatch.setattr(plain.BUDGET, "most", -1)
    collider = [(0, 1), (2, 1), (1, 3)]
    assert kernels.SMALL == SMALL
    index = graphs.Separation.from_edges(SMALL + 1, collider)
    index._memory[0] = kernels.LAST_EPOCH - 3
    for _ in range(8):
        assert index.independent(0, 2)
        assert not index.independent(0, 2, 3)
    assert 0 < index._memory[0] < 20


def test_latent_nodes():
    graph = nx.DiGraph([("U", "a"), ("U", "b")])
    graph.nodes["U"]["latent"] = True
    for index in (
        graphs.Separation(graph),
        graphs.Separation(nx.DiGraph(graph.edges), latent="U"),
    ):
        assert not index.independent("a", "b")
        for ask in (
            lambda i: i.independent("a", "b", "U"),
            lambda i: i.independent("a", "b", ["U"]),
            lambda i: i.independent_many(["a"], ["b"], [["U"]]),
            lambda i: i.reachable("a", "U"),
            lambda i: i.dependence_matrix("U"),
        ):
            with pytest.raises(ValueError, match="expected observable nodes for given"):
                ask(index)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("M", "Q", []), "expected nodes of the graph for y, got 'Q'"),
        (("m", "F", []), r"got 'm' \(did you mean 'M'\?\)"),
        (("M", "F", ["d"]), "expected nodes of the graph for given, got 'd'"),
        (("M", "M", []), "expected disjoint sets, got 'M' in both x and y"),
        ((["M", "S"], "F", ["S"]), "expected disjoint sets, got 'S' in both x and given"),
        (("M", "F", ["F"]), "expected disjoint sets, got 'F' in both y and given"),
        (([], "F", []), "expected at least one node for x, got none"),
        (("M", set(), []), "expected at least one node for y, got none"),
        (("M", 3.5, []), "expected nodes of the graph for y, got 3.5"),
        (("M", "F", [["D"]]), "expected nodes of the graph for given"),
    ],
)
def test_refused_sets(sets, message):
    index = graphs.Separation(textbook.diagnosis())
    with pytest.raises(ValueError, match=message):
        index.independent(*sets)
    with pytest.raises(ValueError, match=message):
        index.independent_many(["M", sets[0]], ["F", sets[1]], ["D", sets[2]])


def test_refused_batches():
    index = graphs.Separation(textbook.diagnosis())
    with pytest.raises(ValueError, match="expected as many xs as ys and givens, got 1, 2 and 1"):
        index.independent_many(["M"], ["F", "D"], [[]])
    with pytest.raises(ValueError, match=r"got 'F' in both x and y \(query 1\)"):
        index.independent_many(["M", "F"], ["F", "F"])
    with pytest.raises(ValueError, match=r"at least one node for y, got none \(query 1\)"):
        index.independent_many(["M", "S"], [["F"], []])
    numbered = graphs.Separation.from_edges(3, [(0, 1)])
    with pytest.raises(ValueError, match="expected nodes 0 to 2 for y, got 3"):
        numbered.independent_many(np.array([0]), np.array([3]))
    with pytest.raises(ValueError, match="expected nodes 0 to 2 for x, got -1"):
        numbered.independent_many(np.array([-1]), np.array([1]))
    with pytest.raises(ValueError, match="expected nodes of the graph for x, got -1"):
        numbered.independent(-1, 1)
    with pytest.raises(ValueError, match=r"expected integers of shape \(queries,\) or"):
        numbered.independent_many(np.zeros((1, 1, 1), int), np.array([1]))
    with pytest.raises(ValueError, match="expected a networkx graph"):
        graphs.Separation("M")
    with pytest.raises(ValueError, match="expected disjoint sets"):
        index.reachable("M", ["M"])
    with pytest.raises(ValueError, match="at least one node for x"):
        index.reachable([])
