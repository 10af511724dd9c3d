"""Graphs with two-headed edges, against m-separation by its definition and other packages."""

import random
from itertools import combinations, pairwise, permutations

import networkx as nx
import numpy as np
import pytest
from mixed_graph_oracles import Mixed, all_mixed, random_mixed, random_sets, subsets

import graphs
from graphs.separation.independence import reachable
from graphs.structure.mixed import canonical

VERMA = "A -> B -> C -> D; B <-> D"


def statements(mixed):
    for u, v in combinations(mixed.nodes, 2):
        for given in subsets(set(mixed.nodes) - {u, v}):
            yield frozenset((u,)), frozenset((v,)), given


def require_right(mixed, x, y, given, index):
    expected = mixed.separated(x, y, given)
    answer = graphs.independent(mixed.marked(), x, y, given)
    assert answer.holds == expected, (mixed, x, y, given)
    assert bool(index.independent(x, y, given)) == expected, (mixed, x, y, given)
    require_honest(mixed, answer)


def require_honest(mixed, answer):
    """The trails are those of the graph, with the right junctions, and none is shorter."""
    every = [p for u in answer.x for v in answer.y for p in mixed.paths(u, v)]
    active = [p for p in every if mixed.connects(p, answer.given)]
    if answer.path:
        assert len(answer.path) == 1 + min(map(len, active))
        assert as_path(answer.trail) in active
        assert answer.trail.active
        return
    assert answer.certificate.verify(mixed.marked(), answer.given)
    if answer.trails is not None:
        ends = answer.x | answer.y
        inner = [p for p in every if ends.isdisjoint(node for *_, node in p[:-1])]
        assert sorted(map(as_path, answer.trails)) == sorted(inner)
        assert all(trail.blockers for trail in answer.trails)
        bent = any("↔" in trail.arrows for trail in answer.trails)
        assert ("share an unobserved common cause." in answer.explain()) == bent


def as_path(trail):
    heads = {"→": (False, True), "←": (True, False), "↔": (True, True)}
    return tuple((*heads[a], v) for a, v in zip(trail.arrows, trail.nodes[1:], strict=True))


def test_every_statement_about_every_graph_of_three_nodes():
    found = 0
    for mixed in all_mixed(3):
        index = graphs.Separation(mixed.marked())
        for x, y, given in statements(mixed):
            require_right(mixed, x, y, given, index)
        found += 1
    assert found == 25 * 8


@pytest.mark.parametrize("seed", range(600))
def test_random_graphs_answer_as_the_definition_says(seed):
    rng = random.Random(seed)
    mixed = random_mixed(rng, 4, 6)
    index = graphs.Separation(mixed.marked())
    for _ in range(6):
        require_right(mixed, *random_sets(rng, mixed.nodes), index)


@pytest.mark.parametrize("seed", range(100))
def test_lists_and_matrices_name_the_nodes_alone(seed):
    rng = random.Random(1_000 + seed)
    mixed = random_mixed(rng, 3, 5)
    graph = mixed.marked()
    listed = {(r.x, r.y, r.given) for r in graphs.independencies(graph, max_given=5)}
    assert listed == {s for s in statements(mixed) if mixed.separated(*s)}
    index = graphs.Separation(graph)
    assert tuple(index.nodes) == tuple(mixed.nodes)
    assert index.num_edges == len(mixed.arrows) + len(mixed.pairs)
    given = frozenset(v for v in mixed.nodes if rng.random() < 0.3)
    matrix = index.dependence_matrix(given)
    for u in set(mixed.nodes) - given:
        row = {
            v
            for v in set(mixed.nodes) - given - {u}
            if not mixed.separated(frozenset((u,)), frozenset((v,)), given)
        }
        assert set(np.flatnonzero(matrix[u])) == row | {u}
        assert index.reachable(u, given) == reachable(graph, u, given) == row
    assert not matrix[sorted(given)].any()
    queries = [random_sets(rng, mixed.nodes) for _ in range(5)]
    many = index.independent_many(*zip(*queries, strict=True))
    assert many.tolist() == [mixed.separated(*q) for q in queries]


@pytest.mark.parametrize("seed", range(100))
def test_blankets_and_separators_are_the_smallest(seed):
    rng = random.Random(2_000 + seed)
    mixed = random_mixed(rng, 3, 5)
    graph, nodes = mixed.marked(), frozenset(mixed.nodes)
    for v in nodes:
        rest = nodes - {v}
        shields = [s for s in subsets(rest) if mixed.separated({v}, rest - s, s)]
        blanket = graphs.markov_blanket(graph, v)
        assert blanket in shields
        assert all(blanket <= s for s in shields)
    x, y, required = random_sets(rng, nodes)
    required = frozenset(sorted(required)[:1])
    hidden = frozenset(v for v in nodes - x - y - required if rng.random() < 0.2)
    free = nodes - x - y - required - hidden
    separating = {s for s in subsets(free) if mixed.separated(x, y, s | required)}
    found = graphs.minimal_separator(graph, x, y, given=required, latent=hidden)
    assert (found is None) == (not separating)
    if found is not None:
        assert found - required in separating
        assert not any(s < found - required for s in separating)


@pytest.mark.parametrize("seed", range(150))
def test_maps_of_mixed_graphs(seed):
    rng = random.Random(3_000 + seed)
    mixed = random_mixed(rng, 3, 4)
    graph, nodes = mixed.marked(), frozenset(mixed.nodes)
    moral = graphs.moralize(graph)
    for u, v in combinations(nodes, 2):
        apart = mixed.separated({u}, {v}, nodes - {u, v})
        assert moral.has_edge(u, v) != apart
    candidate = random_mixed(rng, len(nodes), len(nodes), 0.7)
    skeleton = nx.Graph([*mixed.arrows, *map(tuple, mixed.pairs)])
    less = nx.Graph([*skeleton.edges, *(edge for edge in moral.edges if rng.random() < 0.5)])
    candidates = [nx.DiGraph(candidate.arrows), nx.Graph(candidate.arrows), moral, skeleton, less]
    for proposed in candidates:
        proposed.add_nodes_from(nodes)
        asserted = graphs.independencies(proposed, max_given=4)
        expected = all(mixed.separated(r.x, r.y, r.given) for r in asserted)
        result = graphs.is_imap(proposed, of=graph)
        assert bool(result) == expected, (mixed, proposed.edges)
        if not result:
            assert graphs.independent(proposed, *sets_of(result.counterexample))
            assert not mixed.separated(*sets_of(result.counterexample))


def test_a_missing_edge_between_a_node_and_the_parent_of_its_district():
    mixed = Mixed(4, [(0, 1)], [(1, 2), (2, 3)])
    for order in permutations(mixed.nodes):
        graph = nx.DiGraph()
        graph.add_nodes_from(order)
        graph.update(mixed.marked())
        result = graphs.is_imap(nx.Graph([(0, 1), (1, 2), (2, 3), (1, 3)]), of=graph)
        assert not result
        assert not mixed.separated(*sets_of(result.counterexample))


def sets_of(answer):
    return answer.x, answer.y, answer.given


@pytest.mark.parametrize("seed", range(25))
def test_counterexamples_have_the_dependence_and_the_structure(seed):
    rng = random.Random(4_000 + seed)
    mixed = random_mixed(rng, 3, 5)
    graph = mixed.marked()
    dag = canonical(graph)
    assert nx.is_directed_acyclic_graph(dag)
    for x, y, given in list(statements(mixed))[:6]:
        claim = graphs.independent(graph, x, y, given)
        verdict = graphs.check(graph, claim)
        assert bool(verdict) == mixed.separated(x, y, given)
        assert verdict.explain()
        if not verdict:
            network = verdict.counterexample
            assert set(network.edges) == set(dag.edges)
            tree = graphs.JunctionTree(network)
            information = (
                tree.entropy([*x, *given]) + tree.entropy([*y, *given])
                - tree.entropy([*x, *y, *given]) - (tree.entropy(list(given)) if given else 0.0)
            )  # fmt: skip
            assert float(information) == pytest.approx(verdict.information, abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_other_packages_agree(seed):
    gum, base = pytest.importorskip("pyagrum"), pytest.importorskip("pgmpy.base")
    rng = random.Random(5_000 + seed)
    mixed = random_mixed(rng, 8, 12, 0.2)
    pairs = sorted(map(sorted, mixed.pairs))
    dag = gum.DAG()
    for v in range(len(mixed.nodes) + len(pairs)):
        dag.addNodeWithId(v)
    for u, v in mixed.arrows:
        dag.addArc(u, v)
    for cause, pair in enumerate(pairs, start=len(mixed.nodes)):
        for v in pair:
            dag.addArc(cause, v)
    admg = base.ADMG([(f"n{u}", f"n{v}") for u, v in mixed.arrows])
    admg.add_nodes_from(f"n{v}" for v in mixed.nodes)
    admg.add_bidirected_edges([(f"n{u}", f"n{v}") for u, v in pairs])
    index = graphs.Separation(mixed.marked())
    for _ in range(10):
        x, y, z = random_sets(rng, mixed.nodes)
        z = frozenset(sorted(z)[: rng.randint(0, 4)])
        expected = dag.dSeparation(set(x), set(y), set(z))
        named = [{f"n{v}" for v in part} for part in (x, y, z)]
        assert graphs.independent(mixed.marked(), x, y, z).holds == expected
        assert bool(index.independent(x, y, z)) == expected
        assert graphs.independent(admg, *named).holds == expected
        assert graphs.independent(graphs.read_graph(mixed.text()), *named).holds == expected
        assert bool(admg.is_mseparated(*named)) == expected


def test_a_path_shows_its_two_headed_edges():
    graph = graphs.read_graph("X -> A <-> B")
    assert graphs.query(graph, "X ⟂ B")
    answer = graphs.query(graph, "X ⟂ B | A")
    assert answer.path == ("X", "A", "B")
    assert answer.explain().splitlines() == [
        "X ⟂ B | A does not hold: a path is active.",
        "  X → A ↔ B",
        "  - A is a collider (a common effect) that is observed: open.",
        "  - A and B share an unobserved common cause.",
    ]
    assert graphs.query(graph, "X ⟂ B").blockers == {"A"}


def test_of_an_arrow_and_an_arc_the_open_one_is_shown():
    bow = graphs.read_graph("X -> A -> B; A <-> B")
    assert str(graphs.query(bow, "X ⟂ B").trail) == "X → A → B"
    assert str(graphs.query(bow, "X ⟂ B | A").trail) == "X → A ↔ B"
    line = graphs.read_graph("dag { A -> B -> C; B <-> C; Y -> C }")
    assert [str(t) for t in graphs.query(line, "A ⟂ Y | B").trails] == [
        "A → B → C ← Y",
        "A → B ↔ C ← Y",
    ]


def test_a_path_has_as_few_edges_as_can_be():
    graph = graphs.read_graph("X <-> A <-> Y; X -> P -> Q -> Y")
    assert graphs.query(graph, "X ⟂ Y | A").path == ("X", "A", "Y")


def test_the_graph_of_verma_and_pearl():
    graph = graphs.read_graph(VERMA)
    assert [str(r) for r in graphs.independencies(graph, 3)] == ["A ⟂ C | B"]
    assert graphs.minimal_separator(graph, "A", "D") is None
    assert graphs.markov_blanket(graph, "D") == {"A", "B", "C"}
    assert graphs.check(graph, "P(C|A,B) = P(C|B)")
    assert not graphs.check(graph, "P(D|A,B,C) = P(D|B,C)")


def test_cuts_of_large_graphs():
    rng = random.Random(7)
    mixed = random_mixed(rng, 40, 40, 0.12)
    graph = mixed.marked()
    separated = [
        answer
        for u, v in combinations(mixed.nodes, 2)
        if (z := graphs.minimal_separator(graph, u, v)) is not None
        if (answer := graphs.independent(graph, u, v, z))
    ]
    many = [answer for answer in separated if answer.trails is None]
    assert len(many) > 20
    for answer in many:
        assert answer.certificate.verify(graph, answer.given)
        assert frozenset(answer.certificate.graph) <= frozenset(graph)
        assert answer.explain()
        joined = graph.copy()
        joined.add_edge(min(answer.y), min(answer.x), bidirected=True)
        assert not answer.certificate.verify(joined, answer.given)


def test_edges_of_a_large_graph_count_only_near_the_query():
    graph = nx.DiGraph(pairwise(range(2_000)))
    graph.latents = {7, "gone"}
    graph.add_edge(500, 1_500, bidirected=True)
    assert graphs.independent(graph, 0, 400, 200)
    assert graphs.independent(graph, 0, 1_999, 1_600)
    assert "3 = 2" in graphs.check(graph, "2 ⟂ 3").explain()
    graph.add_edges_from([(1_999, 2_000), (2_000, 1_999)], directed=False)
    with pytest.raises(ValueError, match="got 500 <-> 1500 and 1999 - 2000"):
        graphs.independent(graph, 0, 1_999, 1_000)
    graph.remove_node(2_000)
    assert graphs.independent(graph, 0, 1_999, [1_000, 1_500])
    assert graphs.independent(graph, 0, 1_999, [500, 1_000]).path[500:502] == (500, 1_500)


@pytest.mark.parametrize(
    "text",
    [
        "A -> B <-> C",
        "A→B↔C",
        "A --> B <--> C",
        "C ⟷ B ⟵ A",
        "dag { A -> B <-> C }",
        "mag { C <-> B <- A }",
        "digraph { A -> B; B -> C [dir=both] }",
        "from,to,type\nA,B,directed\nB,C,bidirected",
        'graph [ directed 1 node [ id 0 label "A" ] node [ id 1 label "B" ] node [ id 2 label "C" ]'
        " edge [ source 0 target 1 ] edge [ source 1 target 2 bidirected 1 ] ]",
    ],
)
def test_texts(text):
    graph = graphs.read_graph(text)
    assert graphs.query(graph, "A ⟂ C")
    assert not graphs.query(graph, "A ⟂ C | B")
    assert graphs.markov_blanket(graph, "A") == {"B", "C"}
    assert len(graphs.independencies(graph, 1).__next__().x) == 1


class NxMixedGraph:
    """The attributes of y0's class."""

    def __init__(self, directed, undirected):
        self.directed, self.undirected = directed, undirected


class MixedEdgeGraph:
    """The method of pywhy-graphs' class, and of its ``ADMG``."""

    def __init__(self, **kinds):
        self.kinds = kinds

    def get_graphs(self, edge_type="all"):
        return self.kinds if edge_type == "all" else self.kinds[edge_type]


class Ananke:
    """The attributes of Ananke's ``ADMG``."""

    def __init__(self, vertices, di_edges, bi_edges, ud_edges=()):
        self.vertices = dict.fromkeys(vertices)
        self.di_edges, self.bi_edges = set(di_edges), set(bi_edges)
        self.ud_edges = set(ud_edges)


def foreign_graphs():
    base = pytest.importorskip("pgmpy.base")
    yield base.ADMG([("A", "B")], [("B", "C")])
    marks = [("B", "A", ">", "-"), ("B", "C", ">", ">")]
    yield base.MAG(marks)
    yield base.AncestralBase(marks)
    yield NxMixedGraph(nx.DiGraph([("A", "B")]), nx.Graph([("C", "B")]))
    yield MixedEdgeGraph(
        directed=nx.DiGraph([("A", "B")]), bidirected=nx.Graph([("B", "C")]), undirected=nx.Graph()
    )
    yield Ananke("ABC", [("A", "B")], [("B", "C")])
    for kind in (nx.MultiDiGraph, nx.DiGraph):
        for mark in ({"type": "bidirected"}, {"bidirected": True}):
            for ends in (["BC"], ["CB"], ["BC", "CB"]):
                model = kind()
                model.add_edge("A", "B", type="directed")
                model.add_edges_from(ends, **mark)
                yield model


def test_graphs_of_other_packages():
    for model in foreign_graphs():
        assert graphs.independent(model, "A", "C")
        assert graphs.query(model, "A ⟂ C | B").path == ("A", "B", "C")
        assert not graphs.Separation(model).independent("A", "C", "B")
        assert graphs.minimal_separator(model, "A", "C") == frozenset()
        with pytest.raises(ValueError, match="a DAG to factorize"):
            graphs.factorization(model)


def test_latent_nodes_beside_two_headed_edges():
    base = pytest.importorskip("pgmpy.base")
    edges, pairs = [("A", "B"), ("B", "C"), ("L", "C")], [("B", "C")]
    for model in (
        base.ADMG(edges, pairs, latents={"B"}),
        graphs.read_graph("dag { A -> B -> C; B <-> C; L -> C; B [latent] }"),
    ):
        assert graphs.minimal_separator(model, "A", "C") is None
        assert all("B" not in r.given for r in graphs.independencies(model))
        with pytest.raises(ValueError, match="the latent node 'B'"):
            graphs.independent(model, "A", "C", "B")
        with pytest.raises(ValueError, match="the latent node 'B'"):
            graphs.Separation(model).independent("A", "C", "B")


def test_what_needs_a_dag_is_refused_by_name():
    graph, dag = graphs.read_graph("X -> A <-> B"), nx.DiGraph([("X", "A"), ("A", "B")])
    asked = [
        lambda: graphs.as_graph(graph),
        lambda: graphs.as_graph(graphs.query(graph, "X ⟂ B").graph),
        lambda: graphs.factorization(graph),
        lambda: graphs.parse("dag { X -> A <-> B }"),
        lambda: graphs.check(graph, "P(X)P(A|X)P(B)"),
        lambda: graphs.equivalent(graph, dag),
        lambda: graphs.equivalent(dag, graph),
        lambda: graphs.essential_graph(graph),
        lambda: graphs.is_imap(graph, of=dag),
        lambda: graphs.is_perfect_map(graph, of=dag),
        lambda: graphs.is_perfect_map(dag, of=graph),
        lambda: graphs.local_markov(graph),
        lambda: graphs.pairwise_markov(graph),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match=r"expected a DAG.*bidirected edge A <-> B"):
            ask()


def test_graphs_that_are_no_mixed_graphs_are_refused():
    base = pytest.importorskip("pgmpy.base")
    loop = nx.DiGraph([("A", "B")])
    loop.add_edge("A", "A", bidirected=True)
    round_trip = nx.DiGraph([("A", "B"), ("B", "C"), ("C", "A")])
    round_trip.add_edge("A", "D", bidirected=True)
    mixed = nx.DiGraph()
    mixed.add_edge("A", "B", directed=False)
    mixed.add_edge("B", "C", bidirected=True)
    two_way = nx.MultiDiGraph()
    for edge in (("A", "B"), ("B", "A")):
        two_way.add_edge(*edge, type="directed")
    unmarked = nx.MultiDiGraph([("A", "B"), ("A", "B")])
    cases = [
        (loop, "between two nodes, got A <-> A"),
        (round_trip, "got the cycle [ABC] -> [ABC] -> [ABC] -> [ABC]"),
        (mixed, "got B <-> C and A - B"),
        (two_way, "got the cycle A -> B -> A"),
        (unmarked, "without parallel edges, .* got MultiDiGraph"),
        (Ananke("AB", [], [], [("A", "B")]), "undirected edge A - B"),
        (MixedEdgeGraph(circle=nx.DiGraph([("A", "B")])), "circle edge A - B"),
        (base.MAG([("A", "B", "-", "-")]), "got A - B in MAG"),
        (base.AncestralBase([("A", "B", "o", ">")]), "got A o-> B in AncestralBase"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            graphs.independent(model, "A", "B")
        with pytest.raises(ValueError, match=message):
            graphs.Separation(model)


def test_arcs_are_drawn_with_two_heads():
    graph = graphs.read_graph("X -> A -> B; A <-> B; X <-> B")
    ax = graphs.query(graph, "X ⟂ B | A").draw()
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    heads = [p for p in ax.patches if p.get_zorder() in (1, 1.5)]
    assert len(lines) == 4
    assert len(heads) == 2 + 2 * 2
    bodies = [p.get_path() for p in ax.patches if p.get_zorder() == 2 and p.get_fill()]
    for line in lines:
        assert not any(body.contains_points(line.get_xydata()).any() for body in bodies)
    coloured = [line for line in ax.lines if line.get_zorder() == 1.5]
    assert len(coloured) == 1
    assert np.ptp(np.diff(coloured[0].get_xydata(), axis=0), axis=0).max() > 0.1
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "active path"


def test_the_answer_to_a_graph_that_has_its_own_stand_in():
    graph = graphs.read_graph("A <-> B; U_A_B -> A")
    network = graphs.check(graph, "A ⟂ B").counterexample
    assert set(network) == {"A", "B", "U_A_B", "U_A_B_"}


def test_oracle_by_hand():
    mixed = Mixed(4, [(0, 1), (3, 2)], [(1, 2)])
    assert mixed.separated({0}, {2}, frozenset())
    assert not mixed.separated({0}, {2}, frozenset((1,)))
    assert not mixed.separated({0}, {3}, frozenset((1, 2)))
    assert mixed.separated({0}, {3}, frozenset((1,)))
