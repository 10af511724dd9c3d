"""One marginal from the part of a model that it depends on."""

import numpy as np
import pytest
import torch
from agrum_networks import Peer, forward_sample
from enumeration import random_bayesian, random_evidence, random_markov

import graphs
from graphs.parameters.bridge import tables_of


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("random_model", [random_bayesian, random_markov])
def test_it_equals_the_marginal_of_the_joint_table(random_model, seed):
    rng = np.random.default_rng(seed)
    dense = random_model(rng, most_nodes=9, zeros=0.2 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=3, missing=0.3 * (seed % 3))
    for axis, v in enumerate(dense.nodes):
        if v in evidence:
            continue
        found = graphs.marginal(dense.model, v, evidence)
        assert found.shape == (3, dense.sizes[axis])
        for row in range(3):
            table = dense.given(evidence, row)
            others = tuple(i for i in range(table.ndim) if i != axis)
            np.testing.assert_allclose(found[row], table.sum(others) / table.sum(), atol=1e-12)


def test_one_row_and_no_evidence():
    model = graphs.textbook.asia()
    assert graphs.marginal(model, "dysp").tolist() == pytest.approx([0.4359706, 0.5640294])
    found = graphs.marginal(model, "lung", {"xray": "yes"}, dtype=torch.float32)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([0.4887114, 0.5112886], abs=1e-6)


@pytest.mark.parametrize("name", ["link", "munin1"])
def test_large_networks_agree_with_pyagrum_on_the_ancestors(reference_data, name):
    """pyAgrum gets the ancestral network alone, which has the same posterior."""
    model = graphs.load(reference_data / "bif" / f"{name}.bif.gz")
    tables = tables_of(model)
    rng = np.random.default_rng(1)
    drawn = forward_sample(tables, 1, rng)
    nodes = list(tables.states)
    compared = 0
    for _ in range(8):
        target, *observed = (nodes[i] for i in rng.choice(len(nodes), 4, replace=False))
        known = {target, *observed}
        waiting = list(known)
        while waiting:
            for parent in model.predecessors(waiting.pop()):
                if parent not in known:
                    known.add(parent)
                    waiting.append(parent)
        if len(known) > 60:
            continue
        part = type(tables)(
            {v: s for v, s in tables.states.items() if v in known},
            tuple((s, t) for s, t in tables.factors if s[-1] in known),
            True,
        )
        evidence = {v: int(drawn[v][0]) for v in observed}
        expected = Peer(part).marginals(evidence)[target]
        np.testing.assert_allclose(graphs.marginal(model, target, evidence), expected, atol=1e-10)
        compared += 1
    assert compared >= 3


def test_parts_behind_the_evidence_are_left_out():
    """A strip of a field whose whole is far too large, and a network that is all below a target."""
    side = range(36)
    table = [[2.0, 1.0], [1.0, 2.0]]
    edges = [((i, j), (i + di, j + dj)) for i in side for j in side for di, dj in ((0, 1), (1, 0))]
    field = graphs.markov_network([(edge, table) for edge in edges])
    column = {(i, 3): i % 2 for i in range(37)}
    strip = [(a, b) for a, b in edges if a[1] < 3]
    alone = graphs.JunctionTree(graphs.markov_network([(edge, table) for edge in strip]))
    torch.testing.assert_close(
        graphs.marginal(field, (0, 0), column),
        alone.marginals({v: k for v, k in column.items() if v in alone.states})[0, 0],
    )
    below = [
        ((i, j), parents, np.full((2,) * len(parents) + (2,), 0.5))
        for i in side
        for j in side
        if (parents := tuple(v for v in ((i - 1, j), (i, j - 1)) if min(v) >= 0)) or not i + j
    ]
    below[0] = ((0, 0), (), [0.2, 0.8])
    below[1] = ((0, 1), ((0, 0),), [[0.1, 0.9], [0.6, 0.4]])
    found = graphs.marginal(graphs.bayesian_network(below), (0, 1))
    assert found.tolist() == pytest.approx([0.5, 0.5])


def test_evidence_it_does_not_depend_on_is_still_checked():
    copies = [(i, (i - 1,), [[1.0, 0.0], [0.0, 1.0]]) for i in range(1, 200)]
    apart = graphs.bayesian_network([(0, (), [0.5, 0.5]), *copies, ("T", (), [0.3, 0.7])])
    assert graphs.marginal(apart, "T", {0: 0, 199: 0}).tolist() == pytest.approx([0.3, 0.7])
    with pytest.raises(ValueError, match=r"impossible evidence: \{0: 0, 199: 1\}"):
        graphs.marginal(apart, "T", {0: 0, 199: 1})
    model = graphs.textbook.asia()
    impossible = {"lung": ["yes", "yes"], "either": ["yes", "no"]}
    with pytest.raises(ValueError, match="impossible evidence in row 1"):
        graphs.marginal(model, "smoke", impossible)
    with pytest.raises(ValueError, match="impossible evidence in row 1"):
        graphs.marginal(model, "dysp", impossible)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: graphs.marginal(m, "smok"), r"node of the model, got 'smok' \(did you mean"),
        (lambda m: graphs.marginal(m, None), "node of the model, got None"),
        (lambda m: graphs.marginal(m, ["smoke"]), "node of the model"),
        (lambda m: graphs.marginal(m, "smoke", {"smoke": 0}), "target without evidence"),
        (lambda m: graphs.marginal(m, "smoke", {"lun": 0}), "nodes of the model, got 'lun'"),
        (lambda m: graphs.marginal(m, "smoke", {"lung": 2}), "state of 'lung'.*got 2"),
        (lambda m: graphs.marginal(graphs.textbook.campus(), "O"), "hold tables"),
        (lambda m: graphs.marginal(m, "smoke", device="gpu"), "torch device, got 'gpu'"),
        (lambda m: graphs.marginal(m, "smoke", dtype=torch.int64), "float64, got torch.int64"),
        (lambda m: graphs.marginal(m, "smoke", max_bytes=0), "positive number of bytes, got 0"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(graphs.textbook.asia())
