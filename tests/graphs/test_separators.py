"""Markov blankets, separating sets and Markov properties against their definitions."""

from itertools import chain, combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from separation_oracles import (
    node_triples,
    random_graphs,
    separated_in_moral_ancestral_graph,
)

import graphs
from graphs import textbook

examples = settings(max_examples=150, deadline=None, derandomize=True)


def subsets(nodes):
    nodes = list(nodes)
    return map(
        frozenset, chain.from_iterable(combinations(nodes, k) for k in range(len(nodes) + 1))
    )


def test_textbook_blankets():
    assert graphs.markov_blanket(textbook.campus(), "T") == {"O", "A", "M", "B"}
    assert graphs.markov_blanket(textbook.campus(), "C") == frozenset()
    assert graphs.markov_blanket(textbook.letters(), "A") == {"B", "C"}
    assert graphs.markov_blanket(textbook.campus(), ["T", "M"]) == {"O", "A", "B"}


@examples
@given(random_graphs(max_nodes=6))
def test_blanket_is_the_smallest_shield(graph):
    for v in graph:
        blanket = graphs.markov_blanket(graph, v)
        rest = frozenset(graph) - {v}
        shields = [
            s
            for s in subsets(rest)
            if s == rest or separated_in_moral_ancestral_graph(graph, {v}, rest - s, s)
        ]
        assert blanket in shields
        assert all(blanket <= s for s in shields)


@pytest.mark.parametrize("names", [(0, 1, 2), ("", "b", "c")])
def test_falsy_names(names):
    a, b, c = names
    graph = nx.DiGraph([(a, b), (c, b)])
    assert graphs.markov_blanket(graph, a) == {b, c}
    assert graphs.markov_blanket(graph, c) == {a, b}
    assert graphs.minimal_separator(nx.Graph([(b, a), (a, c)]), b, c) == {a}
    assert [r.x for r in graphs.local_markov(graph)] == [{a}, {c}]


def test_textbook_separators():
    assert graphs.minimal_separator(textbook.diagnosis(), "M", "D") == {"I"}
    assert graphs.minimal_separator(textbook.diagnosis(), "M", "F") == frozenset()
    assert graphs.minimal_separator(textbook.diagnosis(), "M", "I") is None
    assert graphs.minimal_separator(textbook.letters(), "A", ["F", "G"]) == {"B", "C"}
    assert graphs.minimal_separator(textbook.letters(), "A", "G", allowed="E") == {"E"}
    assert graphs.minimal_separator(textbook.letters(), "A", "G", allowed=["C", "F"]) is None
    assert graphs.minimal_separator(textbook.letters(), "A", "G", given="D") == {"B", "C", "D"}


@examples
@given(st.data())
def test_separator_is_minimal_and_found_whenever_there_is_one(data):
    graph = data.draw(random_graphs(max_nodes=6))
    x, y, required = data.draw(node_triples(graph))
    required = frozenset(sorted(required)[: data.draw(st.integers(0, 1))])
    others = frozenset(graph) - x - y - required
    allowed = frozenset(data.draw(st.lists(st.sampled_from(sorted(others))))) if others else others
    separating = {
        s for s in subsets(allowed) if separated_in_moral_ancestral_graph(graph, x, y, s | required)
    }
    found = graphs.minimal_separator(graph, x, y, given=required, allowed=allowed)
    if found is None:
        assert not separating
        return
    assert required <= found
    assert found - required in separating
    assert not any(s < found - required for s in separating)


def test_latent_nodes_separate_nothing():
    graph = nx.DiGraph([("U", "a"), ("U", "b"), ("a", "m"), ("m", "c")])
    assert graphs.minimal_separator(graph, "a", "b") == {"U"}
    assert graphs.minimal_separator(graph, "a", "b", latent="U") is None
    assert graphs.minimal_separator(graph, "a", "c", latent="U") == {"m"}
    assert [str(r) for r in graphs.local_markov(graph, latent="U")] == [
        "m ⟂ U, b | a",
        "c ⟂ U, a, b | m",
    ]
    graph.nodes["m"]["latent"] = True
    assert graphs.minimal_separator(graph, "a", "c") is None
    assert all("m" not in r.given for r in graphs.pairwise_markov(graph))


@pytest.mark.parametrize(
    ("sets", "options", "message"),
    [
        (("M", "M"), {}, "expected disjoint sets, got 'M' in both x and y"),
        (("M", "D"), {"given": "M"}, "expected disjoint sets, got 'M' in both x and given"),
        (("M", "D"), {"allowed": ["K"]}, "expected nodes of the graph for allowed, got 'K'"),
        (([], "D"), {}, "expected at least one node for x"),
        (("M", "D"), {"given": "T", "latent": "T"}, "the latent node 'T'"),
    ],
)
def test_refused_separators(sets, options, message):
    with pytest.raises(ValueError, match=message):
        graphs.minimal_separator(textbook.diagnosis(), *sets, **options)


def test_refused_blankets():
    with pytest.raises(ValueError, match="expected nodes of the graph for node, got 'K'"):
        graphs.markov_blanket(textbook.campus(), "K")
    with pytest.raises(ValueError, match="expected at least one node for node, got none"):
        graphs.markov_blanket(textbook.campus(), [])
    with pytest.raises(ValueError, match="expected a networkx graph"):
        graphs.local_markov("campus")


@examples
@given(random_graphs())
def test_markov_properties_hold(graph):
    for statement in chain(graphs.local_markov(graph), graphs.pairwise_markov(graph)):
        assert statement
        assert separated_in_moral_ancestral_graph(graph, statement.x, statement.y, statement.given)


def test_markov_properties_of_the_textbook():
    local = [str(r) for r in graphs.local_markov(textbook.diagnosis())]
    assert local == [
        "M ⟂ F, S, T",
        "S ⟂ F, M, T",
        "I ⟂ F, T | M, S",
        "F ⟂ I, M, S",
        "T ⟂ I, M, S | F",
        "D ⟂ F, M, S | I, T",
    ]
    pairs = [str(r) for r in graphs.pairwise_markov(textbook.letters())]
    assert len(pairs) == 21 - 10
    assert pairs[0] == "A ⟂ D | B, C, E, F, G"
    directed = [str(r) for r in graphs.pairwise_markov(nx.DiGraph([("a", "b"), ("b", "c")]))]
    assert directed == ["c ⟂ a | b"]
