"""Derivatives of log Z through torch: the first are marginals, the second covariances."""

import itertools

import numpy as np
import pytest
import torch
from enumeration import random_evidence, random_markov

import graphs


def log_potentials(tree, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tree.log_tables()]


@pytest.mark.parametrize("seed", range(8))
def test_the_derivative_of_log_z_is_the_marginal_of_each_factor(seed):
    rng = np.random.default_rng(seed)
    dense = random_markov(rng, zeros=0.2 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=3, missing=0.3)
    tree = graphs.JunctionTree(dense.model)
    parameters = [t.requires_grad_() for t in tree.log_tables()]
    log_z = tree.log_partition(evidence, parameters)
    expected = [np.log(dense.given(evidence, row).sum()) for row in range(3)]
    assert log_z.detach().tolist() == pytest.approx(expected, abs=1e-10)
    log_z.sum().backward()
    tables = [dense.given(evidence, row) for row in range(3)]
    mixture = sum(table / table.sum() for table in tables)
    for scope, parameter in zip(tree.factors, parameters, strict=True):
        axes = [dense.nodes.index(v) for v in scope]
        marginal = np.einsum(mixture, range(mixture.ndim), axes)
        np.testing.assert_allclose(parameter.grad, marginal, atol=1e-12)


def test_zeros_and_impossible_rows_have_no_derivative_and_no_nan():
    tree = graphs.JunctionTree(graphs.textbook.asia())
    parameters = [t.clone().requires_grad_() for t in tree.log_tables()]
    rows = {"lung": ["yes", "yes"], "either": ["yes", "no"]}
    log_z = tree.log_partition(rows, parameters)
    assert log_z[1] == -torch.inf
    log_z.sum().backward()
    for parameter in parameters:
        assert torch.isfinite(parameter.grad).all()
        assert (parameter.grad[parameter == -torch.inf] == 0).all()
        assert parameter.grad.sum() == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, once
def test_functional_transforms_agree_with_enumeration():
    """grad, jacrev of it (the covariance of indicators), vmap over parameters."""
    model = graphs.markov_network([(("A", "B"), np.ones((2, 3))), (("B", "C"), np.ones((3, 2)))])
    tree = graphs.JunctionTree(model)
    start = tuple(log_potentials(tree))

    def log_z(*potentials):
        return tree.log_partition({"C": 1}, potentials)

    def by_definition(*potentials):
        terms = [potentials[0][a, b] + potentials[1][b, 1] for a in range(2) for b in range(3)]
        return torch.stack(terms).logsumexp(0)

    transforms = [
        lambda f: f(*start),
        lambda f: torch.func.grad(f, argnums=(0, 1))(*start),
        lambda f: torch.func.jacrev(torch.func.grad(f))(*start),
        lambda f: torch.func.hessian(f, argnums=(0, 1))(*start),
        lambda f: torch.func.jacfwd(f)(*start),
    ]
    for transform in transforms:
        torch.testing.assert_close(transform(log_z), transform(by_definition))
    batch = tuple(torch.stack([t, t + 1, -t]) for t in start)
    torch.testing.assert_close(
        torch.func.vmap(log_z)(*batch),
        torch.stack([log_z(*(t[i] for t in batch)) for i in range(3)]),
    )
    per_item = torch.func.vmap(torch.func.grad(log_z))(*batch)
    torch.testing.assert_close(per_item[2], torch.func.grad(log_z)(*(t[2] for t in batch)))


def test_gradcheck_of_rows_with_removed_and_missing_evidence():
    tree = graphs.JunctionTree(graphs.textbook.sprinkler(), evidence_variables=["rain"])
    rows = {"rain": ["yes", "no", None], "cloudy": [None, "yes", "no"]}
    parameters = [t.requires_grad_() for t in log_potentials(tree)]
    assert torch.autograd.gradcheck(lambda *p: tree.log_partition(rows, p), parameters)
    assert torch.autograd.gradgradcheck(lambda *p: tree.log_partition(rows, p), parameters)


def test_some_factors_may_be_replaced_by_position():
    tree = graphs.JunctionTree(graphs.markov_network([("A", [1, 2]), ("A", [3, 4]), ("B", [1, 1])]))
    assert tree.factors == (("A",), ("A",), ("B",))
    z = tree.log_partition(log_potentials={1: torch.tensor([0.0, 0.0])}).exp()
    assert z == pytest.approx(3 * 2)


def test_conditioning_is_differentiable_too():
    side = range(4)
    edges = [
        ((i, j), (i + di, j + dj))
        for i, j in itertools.product(side, side)
        for di, dj in ((0, 1), (1, 0))
        if i + di < 4 and j + dj < 4
    ]
    rng = np.random.default_rng(0)
    model = graphs.markov_network([(edge, rng.random((2, 2))) for edge in edges])
    whole, small = graphs.JunctionTree(model), graphs.JunctionTree(model, max_bytes=1500)
    answers = []
    for tree in (whole, small):
        parameters = [t.requires_grad_() for t in tree.log_tables()]
        log_z = tree.log_partition({(0, 0): [0, 1, None]}, parameters).sum()
        answers.append([log_z, *torch.autograd.grad(log_z, parameters)])
    torch.testing.assert_close(*answers, rtol=1e-10, atol=1e-12)


def test_maximum_likelihood_recovers_the_marginals_of_the_data():
    """At the maximum of the likelihood expected counts equal observed counts."""
    rng = np.random.default_rng(0)
    dense = random_markov(rng, most_nodes=5)
    data = rng.integers(0, dense.sizes, (200, len(dense.nodes)))
    tree = graphs.JunctionTree(dense.model)
    rows = {v: data[:, i] for i, v in enumerate(dense.nodes)}
    parameters = [torch.zeros_like(t, requires_grad=True) for t in tree.log_tables()]
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = tree.log_partition(None, parameters)
        value = value - tree.log_partition(rows, parameters).mean()
        value.backward()
        return value

    optimiser.step(loss)
    loss()
    assert max(float(p.grad.abs().max()) for p in parameters) < 1e-4
