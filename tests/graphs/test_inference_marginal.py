"""One marginal from the part of a model that it depends on."""

import numpy as np
import pytest
import torch
from agrum_networks import Peer, forward_sample
from enumeration import random_bayesian, random_evidence, random_markov

import graphs
from graphs.pgmpy_bridge import tables_of


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


def test_evidence_it_does_not_depend_on_is_still_checked():
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
    ],
)
def test_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(graphs.textbook.asia())
