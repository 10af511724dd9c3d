"""Maps against the definitions: every independence of every small graph, and other libraries."""

import random
from itertools import combinations, permutations

import networkx as nx
import numpy as np
import pytest
from map_oracles import (
    every_dag,
    information,
    random_graph,
    random_network,
    separated,
    statements,
)

import graphs
from graphs.claims.counterexamples import dependence

CAMPUS = graphs.textbook.campus()
HEURISTICS = ("min_fill", "min_degree")
KINDS = [(True, True), (True, False), (False, True), (False, False)]


def pairs(edges):
    return set(map(frozenset, edges))


def random_undirected(seed, most=9):
    rng = random.Random(seed)
    return nx.gnp_random_graph(rng.randint(1, most), rng.random(), seed=seed)


# --- Moral and chordal graphs -------------------------------------------------------------------


def test_moral_graph_of_campus():
    moral = graphs.moralize(CAMPUS)
    expected = ["OS", "OT", "AT", "OA", "SB", "BM", "TM", "AM", "BT", "AB"]
    assert pairs(moral.edges) == pairs(expected)
    assert pairs(moral.graph["married"]) == pairs(["OA", "BT", "AB"])
    assert list(moral) == list(CAMPUS.nodes)
    cliques = graphs.maximal_cliques(moral)
    assert set(cliques) == set(map(frozenset, ["C", "OS", "SB", "OAT", "ABMT"]))
    assert graphs.maximal_cliques(CAMPUS) == cliques


def test_campus_is_not_chordal_and_one_edge_triangulates_it():
    assert graphs.is_chordal(CAMPUS) is False
    cycle = graphs.chordless_cycle(CAMPUS)
    assert frozenset(cycle) in {frozenset("SOTB"), frozenset("SOAB")}
    for heuristic in HEURISTICS:
        chordal = graphs.triangulate(CAMPUS, heuristic)
        assert pairs(chordal.graph["fill_in"]) == pairs(["OB"])
        assert graphs.is_chordal(chordal) is True
    through = graphs.moralize(CAMPUS)
    through.add_edge("S", "T")
    assert not graphs.is_chordal(through)


@pytest.mark.parametrize("seed", range(40))
def test_moral_graph_is_that_of_networkx_with_the_order_and_attributes_kept(seed):
    rng = np.random.default_rng(seed)
    dag = random_graph(rng, list(range(7)), True)
    dag.nodes[3]["observed"] = True
    moral = graphs.moralize(dag)
    assert pairs(moral.edges) == pairs(nx.moral_graph(dag).edges)
    assert pairs(moral.graph["married"]) == pairs(moral.edges) - pairs(dag.edges)
    assert list(moral) == list(dag)
    assert moral.nodes[3] == {"observed": True}
    assert type(moral) is nx.Graph


def test_an_undirected_model_is_its_own_moral_graph():
    square = nx.cycle_graph(4)
    moral = graphs.moralize(square)
    assert nx.utils.edges_equal(moral.edges, square.edges)
    moral.add_edge(0, 2)
    assert not square.has_edge(0, 2)
    assert "married" not in square.graph


@pytest.mark.parametrize("seed", range(150))
def test_chordality_agrees_with_networkx_and_shows_an_induced_cycle(seed):
    graph = random_undirected(seed)
    assert graphs.is_chordal(graph) == nx.is_chordal(graph)
    cycle = graphs.chordless_cycle(graph)
    assert (cycle is None) == nx.is_chordal(graph)
    if cycle:
        assert len(cycle) >= 4
        assert all(graph.has_edge(u, w) for u, w in zip(cycle, cycle[1:] + cycle[:1], strict=True))
        assert graph.subgraph(cycle).number_of_edges() == len(cycle)


@pytest.mark.parametrize("heuristic", HEURISTICS)
@pytest.mark.parametrize("seed", range(80))
def test_triangulation_is_a_chordal_supergraph_with_a_perfect_elimination_order(seed, heuristic):
    graph = random_undirected(seed, most=12)
    chordal = graphs.triangulate(graph, heuristic)
    assert nx.is_chordal(chordal)
    assert list(chordal) == list(graph)
    assert pairs(chordal.graph["fill_in"]) == pairs(chordal.edges) - pairs(graph.edges)
    assert pairs(graph.edges) <= pairs(chordal.edges)
    if nx.is_chordal(graph):
        assert chordal.graph["fill_in"] == ()
    order = chordal.graph["elimination_order"]
    assert sorted(order) == sorted(graph)
    for i, v in enumerate(order):
        later = set(order[i:]) & set(chordal[v])
        assert all(chordal.has_edge(u, w) for u, w in combinations(later, 2))


@pytest.mark.parametrize("heuristic", HEURISTICS)
def test_greedy_choices_have_the_least_score_of_every_step(heuristic):
    for seed in range(40):
        graph = random_undirected(seed, most=12)
        order = graphs.triangulate(graph, heuristic).graph["elimination_order"]
        left = graph.copy()
        for chosen in order:
            missing = {v: list(nx.non_edges(left.subgraph(left[v]))) for v in left}
            score = {v: (bool(missing[v]), left.degree(v)) for v in left}
            if heuristic == "min_fill":
                score = {v: len(missing[v]) for v in left}
            assert score[chosen] == min(score.values())
            left.add_edges_from(missing[chosen])
            left.remove_node(chosen)


def test_a_chordal_graph_needs_no_fill_in_whatever_its_degrees():
    barbell = nx.barbell_graph(4, 1)  # the node in the middle has least degree, and would add one
    for heuristic in HEURISTICS:
        assert graphs.triangulate(barbell, heuristic).graph["fill_in"] == ()


@pytest.mark.parametrize("seed", range(40))
def test_maximal_cliques_are_the_maximal_complete_sets_in_a_fixed_order(seed):
    graph = random_undirected(seed, most=7)
    complete = [
        set(nodes)
        for size in range(1, len(graph) + 1)
        for nodes in combinations(graph, size)
        if all(graph.has_edge(u, w) for u, w in combinations(nodes, 2))
    ]
    maximal = [nodes for nodes in complete if not any(nodes < other for other in complete)]
    assert graphs.maximal_cliques(graph) == [frozenset(c) for c in sorted(maximal, key=sorted)]


# --- I-maps and perfect maps --------------------------------------------------------------------


def check_counterexample(result, one, other, names):
    """The statement holds in the graph named, by networkx, and fails in the other one."""
    r = result.counterexample
    where = dict(zip(names, (one, other), strict=True))
    assert {result.holds_in, result.fails_in} == set(names)
    assert separated(where[result.holds_in], r.x, r.y, r.given)
    assert not separated(where[result.fails_in], r.x, r.y, r.given)
    assert not r.holds
    assert r.path
    assert str(r) in result.explain()
    assert result.reason in result.explain()


def related(rng, directed):
    """A candidate and a model; often the one is made from the other, or the answer is mostly no."""
    nodes = list("abcdef"[: rng.integers(1, 6)])
    model = random_graph(rng, nodes, directed[1])
    candidate = random_graph(rng, nodes, directed[0])
    if rng.random() < 0.5:
        skeleton = graphs.moralize(model)
        if directed[0]:
            order = rng.permutation(nodes).tolist()
            candidate = nx.DiGraph(
                (u, w) if order.index(u) < order.index(w) else (w, u) for u, w in skeleton.edges
            )
            candidate.add_nodes_from(nodes)
        else:
            candidate = skeleton
    return candidate, model


@pytest.mark.parametrize("directed", KINDS)
def test_maps_agree_with_every_independence_of_small_graphs(directed):
    answers = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        candidate, model = related(rng, directed)
        asserted, true = statements(candidate), statements(model)
        result = graphs.is_imap(candidate, of=model)
        assert bool(result) == result.holds == (asserted <= true)
        perfect = graphs.is_perfect_map(candidate, of=model)
        assert bool(perfect) == (asserted == true)
        for found in (result, perfect):
            if not found:
                check_counterexample(found, candidate, model, ("candidate", "model"))
            else:
                assert found.counterexample is None
                assert found.explain() == found.reason
        answers |= {("imap", bool(result)), ("perfect", bool(perfect))}
    assert len(answers) == 4


def test_maps_of_six_nodes_agree_with_every_independence():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        model = random_graph(rng, list("abcdef"), True)
        candidates = [graphs.moralize(model), random_graph(rng, list("abcdef"), True)]
        for candidate in candidates:
            expected = statements(candidate) <= statements(model)
            assert bool(graphs.is_imap(candidate, of=model)) == expected


def test_equivalence_agrees_with_every_independence_of_every_dag_of_three_nodes():
    dags = list(every_dag("abc"))
    asserted = [statements(dag) for dag in dags]
    assert len(dags) == 25
    for one, of_one in zip(dags, asserted, strict=True):
        for other, of_other in zip(dags, asserted, strict=True):
            result = graphs.equivalent(one, other)
            assert bool(result) == (of_one == of_other)
            if not result:
                check_counterexample(result, one, other, ("first DAG", "second DAG"))


def test_a_perfect_map_of_the_other_kind_exists_where_theory_says():
    """Undirected graphs have a directed one iff chordal, DAGs an undirected one iff v-free."""
    dags = list(every_dag("abcd"))
    for edges in range(2**6):
        graph = nx.Graph()
        graph.add_nodes_from("abcd")
        every = list(combinations("abcd", 2))
        graph.add_edges_from(pair for i, pair in enumerate(every) if edges >> i & 1)
        possible = [dag for dag in dags if pairs(dag.edges) == pairs(graph.edges)]
        found = any(graphs.is_perfect_map(dag, of=graph) for dag in possible)
        assert found == graphs.is_chordal(graph)
        assert found == any(graphs.is_perfect_map(graph, of=dag) for dag in possible)


def test_campus_and_its_moral_graph():
    moral = graphs.moralize(CAMPUS)
    assert graphs.is_imap(moral, of=CAMPUS)
    result = graphs.is_perfect_map(moral, of=CAMPUS)
    assert not result
    r = result.counterexample
    assert (r.x | r.y, r.given) == (frozenset("AO"), frozenset())
    assert "No undirected graph is one" in result.explain()
    assert "O → T ← A" in result.explain()
    for x, y in ("AO", "AB"):
        assert graphs.independent(CAMPUS, x, y)
        assert not graphs.independent(moral, x, y)
    converse = graphs.is_perfect_map(CAMPUS, of=moral)
    assert not converse
    assert "No DAG is one, since the model has the chordless cycle" in converse.explain()


def test_any_model_can_be_compared():
    chain = graphs.parse("P(A)P(B|A)P(C|B)")
    potentials = graphs.parse("phi(A,B)phi(B,C)")
    assert graphs.is_perfect_map(potentials, of=chain)
    assert graphs.is_perfect_map(chain, potentials)
    asia = graphs.textbook.asia()
    assert graphs.equivalent(asia, nx.DiGraph(asia))
    assert graphs.is_imap(graphs.moralize(asia), of=asia)
    turned = asia.copy()
    turned.remove_edge("asia", "tub")
    turned.add_edge("tub", "asia")
    assert graphs.equivalent(turned, asia)
    assert graphs.is_imap(turned, of=asia)
    assert graphs.is_imap(asia, of=nx.DiGraph(turned))


@pytest.mark.parametrize("seed", range(25))
def test_refuted_maps_fail_numerically_and_true_ones_hold(seed):
    rng = np.random.default_rng(seed)
    candidate, model = related(rng, (True, True))
    result = graphs.is_imap(candidate, of=model)
    if result:
        network = random_network(rng, model, states=3)
        for v in candidate:
            parents = set(candidate.predecessors(v))
            others = set(candidate) - nx.descendants(candidate, v) - parents - {v}
            if others:
                assert abs(information(network, {v}, others, parents)) < 1e-12
    else:
        r = result.counterexample
        witness = dependence(model, r.x, r.y, r.given)
        measured = information(witness.network(), r.x, r.y, r.given)
        assert measured > 0.1
        assert measured == pytest.approx(witness.information, abs=1e-12)


# --- Essential graphs ---------------------------------------------------------------------------


def test_essential_graphs_are_the_union_of_their_classes():
    classes = {}
    for dag in every_dag("abcd"):
        arrows = {(u, c, w) for c in dag for u, w in permutations(dag.pred[c], 2)}
        open_ones = {(u, c, w) for u, c, w in arrows if frozenset((u, w)) not in pairs(dag.edges)}
        classes.setdefault((frozenset(pairs(dag.edges)), frozenset(open_ones)), []).append(dag)
    assert len(classes) == 185  # Andersson, Madigan and Perlman (1997), table 1: 543 DAGs
    for members in classes.values():
        union = {edge for dag in members for edge in dag.edges}
        for dag in members:
            essential = graphs.essential_graph(dag)
            assert set(essential.edges) == union
            for u, v, directed in essential.edges(data="directed"):
                assert directed == ((v, u) not in union)


def test_essential_graphs_agree_with_pyagrum():
    pyagrum = pytest.importorskip("pyagrum")
    compared = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        dag = random_graph(rng, list(range(9)), True)
        peer = pyagrum.BayesNet()
        for v in dag:
            peer.add(str(v), 2)
        for u, v in dag.edges:
            peer.addArc(u, v)
        try:
            expected = pyagrum.EssentialGraph(peer)
        except pyagrum.InvalidPartiallyDirectedCycle:  # pyAgrum 3.3.1 gives up on dense DAGs
            continue
        essential = graphs.essential_graph(dag)
        directed = {(u, v) for u, v, kind in essential.edges(data="directed") if kind}
        assert directed == set(expected.arcs())
        undirected = pairs(essential.edges) - pairs(directed)
        assert undirected == pairs(expected.edges())
        compared += 1
    assert compared >= 30


# --- Size and bad input -------------------------------------------------------------------------


def test_maps_of_a_pedigree(reference_data):
    link = graphs.load(reference_data / "bif" / "link.bif.gz", tables=False)
    moral = graphs.moralize(link)
    assert graphs.is_imap(link, of=link)
    assert graphs.equivalent(link, link)
    assert graphs.is_imap(moral, of=link)
    assert not graphs.is_imap(link, of=moral)
    assert not graphs.is_perfect_map(moral, of=link)
    chordal = graphs.triangulate(link)
    assert nx.is_chordal(chordal)
    width = max(map(len, graphs.maximal_cliques(chordal))) - 1
    assert width <= nx.approximation.treewidth_min_fill_in(moral)[0] + 1


def test_different_nodes_are_refused():
    one, other = nx.DiGraph([("A", "B")]), nx.DiGraph([("A", "C")])
    for compare in (graphs.is_imap, graphs.is_perfect_map):
        with pytest.raises(ValueError, match="expected the same nodes in the candidate and the"):
            compare(one, other)
    with pytest.raises(ValueError, match="got 'B' only in the first DAG"):
        graphs.equivalent(one, other)
    with pytest.raises(ValueError, match="got 'C' only in the second DAG"):
        graphs.equivalent(nx.DiGraph([("A", "B")]), nx.DiGraph([("A", "B"), ("B", "C")]))


def test_undirected_graphs_have_no_equivalence_class_of_dags():
    square = nx.cycle_graph(4)
    with pytest.raises(ValueError, match="expected a DAG for dag, got an undirected graph"):
        graphs.essential_graph(square)
    with pytest.raises(ValueError, match="expected a DAG for dag2, got an undirected graph"):
        graphs.equivalent(nx.DiGraph(square.edges), square)


def test_bad_input_is_refused():
    loop = nx.DiGraph([(0, 1), (1, 0)])
    for ask in (graphs.moralize, graphs.is_chordal, graphs.triangulate, graphs.essential_graph):
        with pytest.raises(ValueError, match="expected an acyclic directed graph, got the cycle"):
            ask(loop)
        with pytest.raises(ValueError, match="expected a networkx graph"):
            ask("P(A)")
    with pytest.raises(ValueError, match="expected heuristic 'min_fill' or 'min_degree', got 'x'"):
        graphs.triangulate(nx.path_graph(3), "x")


def test_marks_of_latent_nodes_change_no_map():
    chain = nx.DiGraph([("A", "L"), ("L", "B")])
    chain.nodes["L"]["latent"] = True
    apart = nx.DiGraph([("A", "L")])
    apart.add_node("B")
    assert graphs.is_perfect_map(nx.path_graph(["A", "L", "B"]), of=chain)
    assert graphs.is_imap(chain, of=apart)
    result = graphs.is_imap(apart, of=chain)
    check_counterexample(result, apart, chain, ("candidate", "model"))
    result = graphs.equivalent(chain, nx.DiGraph([("A", "L"), ("B", "L")]))
    check_counterexample(
        result, chain, nx.DiGraph([("A", "L"), ("B", "L")]), ("first DAG", "second DAG")
    )


def test_empty_graphs_have_answers():
    nothing = nx.DiGraph()
    assert graphs.is_chordal(nothing) is True
    assert graphs.maximal_cliques(nothing) == []
    assert graphs.triangulate(nothing).graph["elimination_order"] == ()
    assert graphs.is_perfect_map(nx.Graph(), of=nothing)
    assert len(graphs.essential_graph(nothing)) == 0
