"""Likelihoods, the best states of some nodes, and tables, against the whole joint distribution."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from enumeration import random_bayesian, random_evidence, random_markov

import graphs

TABLES = [("A", (), [0.7, 0.3]), ("B", "A", [[0.9, 0.1], [0.2, 0.8]])]


def two_nodes():
    return graphs.bayesian_network(TABLES, states={"B": ("yes", "no")})


@pytest.mark.parametrize(
    "likelihood",
    [[0.8, 0.2], {"no": 0.2, "yes": 0.8}, pd.Series({"no": 2, "yes": 8}), torch.tensor([4.0, 1.0])],
)
def test_a_likelihood_by_order_or_by_name(likelihood):
    tree = graphs.JunctionTree(two_nodes())
    weights = np.array([0.7 * 0.74, 0.3 * 0.32])
    answer = tree.marginals(likelihoods={"B": likelihood})["A"]
    assert answer.tolist() == pytest.approx(weights / weights.sum())
    alone = graphs.marginal(two_nodes(), "A", likelihoods={"B": likelihood})
    assert alone.tolist() == pytest.approx(weights / weights.sum())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [random_markov, random_bayesian])
@pytest.mark.parametrize("max_bytes", [1 << 31, 2500])
def test_likelihoods_beside_evidence_agree_with_enumeration(seed, make, max_bytes):
    rng = np.random.default_rng(seed)
    dense = make(rng, most_nodes=6)
    tree = graphs.JunctionTree(dense.model, max_bytes=max_bytes)
    evidence = random_evidence(rng, dense, 3, missing=0.4)
    soft = {
        v: rng.random((3, k) if rng.random() < 0.7 else k) + 1e-3
        for v, k in zip(dense.nodes, dense.sizes, strict=True)
        if rng.random() < 0.6
    }
    weighted = []
    for row in range(3):
        table = dense.given(evidence, row)
        for v, likelihood in soft.items():
            shape = [-1 if u == v else 1 for u in dense.nodes]
            one = likelihood if likelihood.ndim == 1 else likelihood[row]
            table = table * one.reshape(shape)
        weighted.append(table)
    log_z = tree.log_partition(evidence, likelihoods=soft)
    np.testing.assert_allclose(log_z, [np.log(t.sum()) for t in weighted], atol=1e-10)
    for v, answer in tree.marginals(evidence, likelihoods=soft).items():
        axes = tuple(i for i, u in enumerate(dense.nodes) if u != v)
        expected = [t.sum(axes) / t.sum() for t in weighted]
        np.testing.assert_allclose(answer, expected, atol=1e-10)
        alone = (
            graphs.marginal(dense.model, v, evidence, likelihoods=soft)
            if v not in evidence
            else answer
        )
        np.testing.assert_allclose(alone, expected, atol=1e-10)
    best = tree.map(evidence, likelihoods=soft)
    for row, table in enumerate(weighted):
        index = tuple(best[v][row] if v in best else evidence[v][row] for v in dense.nodes)
        assert table[index] == pytest.approx(table.max())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("make", [random_markov, random_bayesian])
def test_the_best_states_of_some_nodes_agree_with_enumeration(seed, make):
    rng = np.random.default_rng(100 + seed)
    dense = make(rng, most_nodes=7, zeros=0.1)
    if not dense.table.any():
        return
    tree = graphs.JunctionTree(dense.model)
    evidence = random_evidence(rng, dense, 2, missing=0.3)
    free = [v for v in dense.nodes if v not in evidence]
    asked = [v for v in free if rng.random() < 0.5] or free[:1]
    best = tree.map(evidence, nodes=asked)
    assert list(best) == asked
    for row in range(2):
        axes = tuple(i for i, v in enumerate(dense.nodes) if v not in asked)
        summed = dense.given(evidence, row).sum(axes)
        chosen = summed[tuple(best[v][row] for v in asked)]
        assert chosen == pytest.approx(summed.max(), rel=1e-9)


def test_the_best_state_of_one_node_is_not_its_part_of_the_best_assignment():
    tree = graphs.JunctionTree(graphs.markov_network([(("a", "b"), [[0, 3], [2, 2]])]))
    assert tree.map() == {"a": 0, "b": 1}
    assert tree.map(nodes=["a"]) == {"a": 1}


def test_sums_before_maxima_that_do_not_fit_are_refused_with_their_cost():
    pairs = [((f"x{i}", f"y{i}"), np.ones((2, 2)) + np.eye(2)) for i in range(24)]
    pairs += [((f"y{i}", "s"), np.ones((2, 2)) + np.eye(2)) for i in range(24)]
    tree = graphs.JunctionTree(graphs.markov_network(pairs), max_bytes=1 << 20)
    assert set(tree.map()) == set(tree.states)
    with pytest.raises(ValueError, match=r"max_bytes = 1,048,576, got .* bytes .*treewidth 24"):
        tree.map(nodes=[f"y{i}" for i in range(24)])


@pytest.mark.parametrize(
    "likelihood", [[[0.8, 0.2], [0.5, 0.5]], {"no": [0.2, 0.5], "yes": [0.8, 0.5]}]
)
def test_rows_and_gradients_of_likelihoods(likelihood):
    tree = graphs.JunctionTree(two_nodes())
    assert tree.marginals(likelihoods={"B": likelihood})["A"].shape == (2, 2)
    soft = torch.tensor([0.8, 0.2], requires_grad=True)
    tree.log_partition(likelihoods={"B": soft}).backward()
    prior = np.array([0.7 * 0.9 + 0.3 * 0.2, 0.7 * 0.1 + 0.3 * 0.8])
    np.testing.assert_allclose(soft.grad, prior / (prior @ [0.8, 0.2]), rtol=1e-6)


@pytest.mark.parametrize(
    ("likelihoods", "message"),
    [
        ({"B": [0.8]}, "expected 2 likelihoods for 'B'"),
        ({"B": 1}, "expected 2 likelihoods for 'B'"),
        ({"B": [0.8, -0.2]}, "of zero or more of 'B'"),
        ({"B": [0.8, np.inf]}, "finite"),
        ({"B": [[1, 1], [0, 0]]}, "positive for some state of 'B' in row 1"),
        ({"B": {"yes": 1}}, "for each state of 'B'"),
        ({"B": ["yes", "no"]}, "numbers as likelihoods"),
        ({"Z": [1, 1]}, "likelihoods on nodes of the model"),
        ([0.8, 0.2], "likelihoods as a dict"),
        ({"B": torch.tensor([1.0, 0.0], requires_grad=True)}, "to differentiate through"),
    ],
)
def test_refused_likelihoods(likelihoods, message):
    with pytest.raises(ValueError, match=message):
        graphs.JunctionTree(two_nodes()).marginals(likelihoods=likelihoods)


def test_tables_of_marginals():
    tree = graphs.JunctionTree(two_nodes())
    frame = tree.table()
    assert list(frame.columns) == ["node", "state", "probability"]
    assert frame["state"].tolist() == [0, 1, "yes", "no"]
    assert frame["probability"].tolist() == pytest.approx([0.7, 0.3, 0.69, 0.31])
    rows = tree.table({"A": [0, None]})
    assert rows.index.name == "row"
    for row, evidence in enumerate([{"A": 0}, {}]):
        b = rows.loc[row].set_index(["node", "state"])["probability"]
        assert b["B", "yes"] == pytest.approx(float(tree.marginals(evidence)["B"][0]))


def test_states_by_what_a_value_is():
    cases = itertools.product(
        [(True, False), ("true", "false"), ("Yes", "no")], [True, np.bool_(1)]
    )
    for states, value in cases:
        tables = [("R", (), [0.2, 0.8]), ("W", "R", [[0.9, 0.1], [0.3, 0.7]])]
        bn = graphs.bayesian_network(tables, states={"R": states})
        assert graphs.marginal(bn, "W", {"R": value}).tolist() == pytest.approx([0.9, 0.1])
