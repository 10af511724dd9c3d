"""First answers come from plain code; compiled code takes over by counted work, and agrees."""

import json
import os
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from separation_oracles import node_triples, random_graphs

import graphs
from graphs.separation import plain
from graphs.separation.compiled import CompiledBall
from graphs.separation.plain import PlainBall

examples = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def budget(monkeypatch):
    """A process that has asked for nothing yet."""
    monkeypatch.setattr(plain.BUDGET, "asked", 0)
    return plain.BUDGET


def edges(graph):
    both = list(graph.edges) if graph.is_directed() else [*graph.edges, *map(reversed, graph.edges)]
    tails, heads = zip(*map(tuple, both), strict=True) if both else ((), ())
    return len(graph), tails, heads, graph.is_directed()


@examples
@given(data=st.data())
def test_both_balls_roll_alike(data):
    graph = data.draw(random_graphs(max_nodes=9))
    balls = PlainBall(*edges(graph)), CompiledBall(*edges(graph))
    x, y, observed = map(list, data.draw(node_triples(graph)))
    for question in (
        lambda ball: ball.outcome(x, y, observed),
        lambda ball: ball.outcome(x, y + x, observed),
        lambda ball: ball.outcome(x, y, observed + y),
        lambda ball: ball.reached(x, observed),
        lambda ball: ball.matrix(observed).tolist(),
        lambda ball: ball.cycle(),
    ):
        first, second = map(question, balls)
        assert first == second


@examples
@given(pairs=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_both_name_the_same_cycle(pairs):
    tails, heads = zip(*pairs, strict=True) if pairs else ((), ())
    first, second = (kind(8, tails, heads, True).cycle() for kind in (PlainBall, CompiledBall))
    assert first == second
    for child, parent in zip(first, [*first[1:], *first[:1]], strict=True):
        assert (parent, child) in pairs
    assert bool(first) != nx.is_directed_acyclic_graph(nx.DiGraph(pairs))


def tree(size):
    return nx.DiGraph(((i - 1) // 2, i) for i in range(1, size))


def test_an_index_changes_over_with_the_query_that_exceeds_the_budget(budget, monkeypatch):
    index = graphs.Separation(tree(50))
    built = budget.asked
    assert built == 99
    index.independent(20, 30, [1])
    each = plain.QUERY + index._ball._visited
    monkeypatch.setattr(budget, "most", built + 4 * each)
    answers = []
    for _ in range(8):
        answers.append((index.independent(20, 30, [1]), isinstance(index._ball, PlainBall)))
    assert answers == [(True, True)] * 3 + [(True, False)] * 5
    assert isinstance(graphs.Separation(tree(5))._ball, CompiledBall)


def test_a_batch_changes_over_between_two_of_its_queries(budget, monkeypatch):
    graph = tree(200)
    chosen = np.random.default_rng(0)
    queries = [chosen.choice(200, 4, replace=False).tolist() for _ in range(100)]
    columns = [v for v, *_ in queries], [v for _, v, *_ in queries], [z for _, _, *z in queries]
    expected = [graphs.independent(graph, u, v, z).holds for u, v, *z in queries]
    assert 5 < sum(expected) < 90
    index = graphs.Separation(graph)
    monkeypatch.setattr(budget, "most", budget.asked + 100 * plain.QUERY + 500)
    asked = []
    answer = PlainBall.answer_many
    monkeypatch.setattr(
        PlainBall, "answer_many", lambda ball, *rest: asked.append(1) or answer(ball, *rest)
    )
    assert index.independent_many(*columns).tolist() == expected
    assert 0 < len(asked) < 100 // PlainBall.at_once
    assert isinstance(index._ball, CompiledBall)


@pytest.mark.parametrize("most", [1e18, -1])
def test_a_batch_names_the_query_it_refuses(budget, monkeypatch, most):
    monkeypatch.setattr(budget, "most", most)
    index = graphs.Separation(tree(70))
    pairs = [(3, 4)] * 40 + [(5, 5)] + [(3, 4)] * 40
    with pytest.raises(ValueError, match=r"got 5 in both x and y \(query 40\)"):
        index.independent_many([u for u, _ in pairs], [v for _, v in pairs])


def test_many_queries_and_large_graphs_are_compiled_at_once(budget, monkeypatch):
    index = graphs.Separation(tree(10))
    monkeypatch.setattr(budget, "most", budget.asked + 50 * plain.QUERY - 1)
    index.independent_many([3] * 50, [4] * 50)
    assert isinstance(index._ball, CompiledBall)
    monkeypatch.setattr(budget, "asked", 0)
    monkeypatch.setattr(budget, "most", 998)
    assert isinstance(graphs.Separation(tree(500))._ball, CompiledBall)
    monkeypatch.setattr(budget, "asked", 0)
    monkeypatch.setattr(budget, "most", 999)
    assert isinstance(graphs.Separation(tree(500))._ball, PlainBall)


FIRST = """
import json, sys
import networkx, graphs
graph = networkx.DiGraph(((i - 1) // 2, i) for i in range(1, 1000))
index = graphs.Separation(graph)
answers = [index.independent(998, 501, [3]), index.independent(998, 501)]
answers.append(len(index.reachable(998, [3])))
print(json.dumps([answers, sorted({"numba", "numpy"} & {*sys.modules})]))
"""


def test_a_first_answer_neither_imports_numba_nor_compiles(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, env=environment
    )
    answers, heavy = json.loads(done.stdout)
    graph = tree(1000)
    assert answers[:2] == [graphs.independent(graph, 998, 501, [3]).holds, False]
    assert answers[2] == len(graphs.separation.independence.reachable(graph, 998, [3]))
    assert heavy == []
    assert not list(tmp_path.iterdir())
