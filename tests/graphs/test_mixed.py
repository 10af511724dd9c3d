"""Partially directed graphs answer as the DAGs they stand for; what is ambiguous is refused."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_graph_oracles import members, subsets
from separation_oracles import node_triples, random_graphs, separated_in_moral_ancestral_graph

import graphs
from graphs.separation.independence import reachable
from graphs.structure.mixed import one_member

examples = settings(max_examples=150, deadline=None, derandomize=True)
CHAIN = nx.DiGraph([("A", "B"), ("B", "C")])
ESSENTIAL = graphs.essential_graph(CHAIN)


@examples
@given(random_graphs(directed=True), st.data())
def test_an_essential_graph_answers_as_its_dag(dag, data):
    essential = graphs.essential_graph(dag)
    x, y, z = data.draw(node_triples(dag))
    if y:
        expected = separated_in_moral_ancestral_graph(dag, x, y, z)
        answer = graphs.independent(essential, x, y, z)
        assert answer.holds == expected
        assert bool(graphs.Separation(essential).independent(x, y, z)) == expected
        assert answer.explain()
        assert (graphs.check(essential, answer).counterexample is None) == expected
    member = one_member(essential)
    assert nx.is_directed_acyclic_graph(member)
    assert nx.utils.graphs_equal(graphs.essential_graph(member), essential)
    assert graphs.equivalent(essential, dag)
    assert graphs.is_perfect_map(essential, of=dag)
    assert nx.utils.graphs_equal(graphs.essential_graph(essential), essential)
    assert nx.utils.edges_equal(graphs.moralize(essential).edges, graphs.moralize(dag).edges)
    for v in dag:
        assert graphs.markov_blanket(essential, v) == graphs.markov_blanket(dag, v)
    listed = set(map(str, graphs.independencies(essential)))
    assert listed == set(map(str, graphs.independencies(dag)))


def test_explanations_say_that_arrows_are_those_of_a_member():
    text = graphs.independent(ESSENTIAL, "A", "C", "B").explain()
    assert text.splitlines()[-1].startswith("The arrows are those of one DAG")
    assert "one DAG" not in graphs.independent(CHAIN, "A", "C", "B").explain()


def test_what_depends_on_the_member_is_refused():
    for ask in (graphs.as_graph, graphs.factorization, graphs.local_markov, graphs.pairwise_markov):
        with pytest.raises(ValueError, match="partially directed one with the edge A - B"):
            ask(ESSENTIAL)


@pytest.mark.parametrize(
    "text", ["pdag { A -- B -- C -- D -- A }", "pdag { A -> B; B -- C; D -> C }"]
)
def test_graphs_that_stand_for_no_dag_are_refused(text):
    with pytest.raises(ValueError, match="got one that none does"):
        graphs.query(graphs.read_graph(text), "A ⟂ C")


def test_pgmpy_graphs_of_more_kinds():
    base = pytest.importorskip("pgmpy.base")
    pdag = base.PDAG(directed_ebunch=[("a", "c"), ("b", "c")], undirected_ebunch=[("c", "d")])
    with pytest.raises(ValueError, match="partially directed"):
        graphs.as_graph(pdag)
    chain = base.PDAG(undirected_ebunch=[("a", "b"), ("b", "c")])
    assert graphs.independent(chain, "a", "c", "b")


@examples
@given(random_graphs(directed=True, max_nodes=5), st.data())
def test_sets_and_matrices_are_those_of_every_member(dag, data):
    essential = graphs.essential_graph(dag)
    dags = list(members(essential))
    assert any(nx.utils.graphs_equal(member, dag) for member in dags)
    x, y, z = data.draw(node_triples(dag))
    index = graphs.Separation(essential)
    found = graphs.minimal_separator(essential, x, y) if y else None
    for member in dags:
        matrix = graphs.Separation(member).dependence_matrix(z)
        assert np.array_equal(index.dependence_matrix(z), matrix)
        assert index.reachable(x, z) == reachable(essential, x, z) == reachable(member, x, z)
        for v in dag:
            assert graphs.markov_blanket(essential, v) == graphs.markov_blanket(member, v)
        if y:
            separates = {
                s
                for s in subsets(set(dag) - x - y)
                if separated_in_moral_ancestral_graph(member, x, y, s)
            }
            assert (found is None) == (not separates)
            assert found is None or found in separates
            assert found is None or not any(s < found for s in separates)
