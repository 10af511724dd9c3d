"""Exact inference against the whole joint table of small random models."""

import numpy as np
import pytest
import torch
from enumeration import random_bayesian, random_evidence, random_markov

import graphs

MODELS = [random_bayesian, random_markov]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("random_model", MODELS)
def test_answers_equal_those_of_the_joint_table(random_model, missing, seed):
    rng = np.random.default_rng(seed)
    dense = random_model(rng, zeros=0.3 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=5, missing=missing)
    hint = [v for v in dense.nodes if rng.random() < 0.3]
    tree = graphs.JunctionTree(dense.model, evidence_variables=hint)
    log_z, marginals, best = (
        tree.log_partition(evidence),
        tree.marginals(evidence),
        tree.map(evidence),
    )
    draws = tree.sample(3, evidence)
    assert {v for v in dense.nodes if v not in marginals} == {
        v for v, column in evidence.items() if None not in column
    }
    for row in range(5):
        table = dense.given(evidence, row)
        assert log_z[row] == pytest.approx(np.log(table.sum()), abs=1e-10)
        table /= table.sum()
        for axis, v in enumerate(dense.nodes):
            if v in marginals:
                others = tuple(i for i in range(table.ndim) if i != axis)
                np.testing.assert_allclose(marginals[v][row], table.sum(others), atol=1e-12)

        def chosen(answer, table=table, row=row):
            return tuple(answer.get(v, evidence.get(v))[row] for v in dense.nodes)

        assert table[chosen(best)] == pytest.approx(table.max())
        for draw in range(3):
            assert table[chosen({v: states[draw] for v, states in draws.items()})] > 0


@pytest.mark.parametrize("seed", range(8))
def test_query_is_the_joint_of_nodes_in_the_order_named(seed):
    rng = np.random.default_rng(seed)
    dense = random_markov(rng, most_nodes=6)
    nodes = [dense.nodes[i] for i in rng.permutation(len(dense.nodes))[:3]]
    axes = [dense.nodes.index(v) for v in nodes]
    expected = np.einsum(dense.table, range(dense.table.ndim), axes) / dense.table.sum()
    tree = graphs.JunctionTree(dense.model)
    np.testing.assert_allclose(tree.query(nodes), expected, atol=1e-12)
    assert tree.entropy(nodes) == pytest.approx(-(expected * np.log(expected)).sum(), abs=1e-12)


def test_equal_factors_are_all_kept():
    tree = graphs.JunctionTree(graphs.markov_network([(("A", "B"), [[1, 2], [3, 4]])] * 2))
    assert tree.log_partition().exp() == pytest.approx(30)
    assert tree.marginals()["A"].tolist() == pytest.approx([5 / 30, 25 / 30])


def test_impossible_evidence_names_the_row():
    tree = graphs.JunctionTree(graphs.textbook.asia())
    evidence = {"lung": ["yes", "yes"], "either": ["yes", "no"]}
    with pytest.raises(ValueError, match=r"impossible evidence in row 1.*'either': 'no'"):
        tree.marginals(evidence)
    assert tree.log_partition(evidence)[1] == -torch.inf
