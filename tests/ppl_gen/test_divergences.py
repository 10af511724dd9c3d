"""Costs of critic and generator at optimal critics: divergences in closed form, by quadrature."""

import math

import pytest
import scipy.stats
import torch
from torch.nn.functional import logsigmoid

from ppl_gen import divergences

GRID = torch.linspace(-40.0, 50.0, 90_001, dtype=torch.float64)
NORMAL = -math.log(2 * math.pi) / 2
F_DIVERGENCES = ["forward_kl", "reverse_kl", "pearson", "squared_hellinger", "jensen_shannon"]


def log_normal(loc, scale=1.0):
    return NORMAL - math.log(scale) - ((GRID - loc) / scale).square() / 2


def integral(values):
    return torch.trapezoid(values, GRID)


def optimum(name, ratio):
    """The output of the optimal critic where log p_d / p_g is ``ratio``."""
    return {
        "least_squares": lambda r: r.sigmoid(),
        "hinge": torch.sign,
        "forward_kl": lambda r: 1 + r,
        "pearson": lambda r: 2 * r.expm1(),
        "squared_hellinger": lambda r: r / 2,
    }.get(name, lambda r: r)(ratio)


def critic_cost(name, data, fakes):
    each = divergences.by_name(name)
    logits = optimum(name, data - fakes)
    return integral(data.exp() * each.real(logits) + fakes.exp() * each.fake(logits))


def jensen_shannon(data, fakes):
    middle = torch.logaddexp(data, fakes) - math.log(2)
    return sum(integral(law.exp() * (law - middle)) for law in (data, fakes)) / 2


@pytest.mark.parametrize(("scale", "known"), [(1.0, 0.3368), (0.3, 0.6919), (0.1, 0.693147)])
def test_the_cost_of_the_best_discriminator_is_that_of_goodfellow(scale, known):
    data, fakes = log_normal(0.0, scale), log_normal(2.0, scale)
    divergence = jensen_shannon(data, fakes)
    assert divergence.item() == pytest.approx(known, abs=6e-5)
    for name in ("minimax", "non_saturating", "kl"):
        expected = math.log(4) - 2 * divergence
        assert critic_cost(name, data, fakes).item() == pytest.approx(expected.item(), abs=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_the_cost_of_the_best_critic_is_a_known_divergence(shift):
    data, fakes = log_normal(0.0), log_normal(shift)
    variation = 2 * scipy.stats.norm.cdf(shift / 2) - 1
    harmonic = integral((data + logsigmoid(fakes - data)).exp()).item()
    known = {
        "least_squares": harmonic,
        "hinge": 2 - 2 * variation,
        "forward_kl": -(shift**2) / 2,
        "reverse_kl": -(shift**2) / 2,
        "pearson": -math.expm1(shift**2),
        "squared_hellinger": 2 * math.expm1(-(shift**2) / 8),
        "jensen_shannon": -2 * jensen_shannon(data, fakes).item(),
    }
    for name, value in known.items():
        found = critic_cost(name, data, fakes).item()
        assert found == pytest.approx(value, abs=1e-6 if name == "hinge" else 1e-9), name
    assert harmonic == pytest.approx(0.5) if shift == 0 else harmonic < 0.5


@pytest.mark.parametrize("name", sorted(set(divergences.ALL) - {"wasserstein"}))
def test_no_other_critic_of_cells_has_a_lower_cost(name):
    generator = torch.Generator().manual_seed(0)
    each = divergences.by_name(name)
    p, q = (torch.rand(16, generator=generator, dtype=torch.float64) + 0.05 for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    best = optimum(name, (p / q).log())

    def cost(logits):
        return (p * each.real(logits) + q * each.fake(logits)).sum(-1)

    noise = torch.randn(2000, 16, generator=generator, dtype=torch.float64)
    for size in (1e-3, 0.1, 1.0):
        assert (cost(best + size * noise) >= cost(best) - 1e-12).all()
    assert (cost(best + noise) > cost(best)).all()


def generator_gradient(name, shift):
    """The derivative in θ of E g(l(θ + z)) for data N(0, 1) at θ = shift, l held fixed."""
    ratio = (GRID - shift).square() / 2 - GRID.square() / 2  # log p_d / p_g
    logits = optimum(name, ratio).requires_grad_()
    (slope,) = torch.autograd.grad(divergences.by_name(name).generator(logits).sum(), logits)
    (derivative,) = torch.gradient(logits.detach(), spacing=(GRID,), edge_order=2)
    return integral(log_normal(shift).exp() * slope * derivative).item()


def derivative(divergence, shift):
    theta = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(divergence(log_normal(0.0), log_normal(theta)), theta)
    return slope.item()


def backward_kl(data, fakes):
    return integral(fakes.exp() * (fakes - data))


@pytest.mark.parametrize(
    ("shift", "known"),
    [(1.0, (0.40, 0.60, 1.0)), (4.0, (0.14, 3.9, 4.0)), (8.0, (3.9e-4, 8.0, 8.0))],
)
def test_the_generator_losses_descend_what_they_are_said_to(shift, known):
    names = ("minimax", "non_saturating", "kl")
    found = [generator_gradient(name, shift) for name in names]
    js, kl = derivative(jensen_shannon, shift), derivative(backward_kl, shift)
    assert found == pytest.approx([2 * js, kl - 2 * js, kl], abs=1e-5)
    assert found == pytest.approx(known, rel=0.1)
    assert kl == pytest.approx(shift)


def test_the_third_generator_loss_has_the_divergence_as_its_value_too():
    data, fakes = log_normal(0.0), log_normal(1.5)
    cost = divergences.kl.generator(optimum("kl", data - fakes))
    assert integral(fakes.exp() * cost).item() == pytest.approx(1.5**2 / 2)
    logits = torch.randn(100, dtype=torch.float64)
    both = divergences.minimax.generator(logits) + divergences.non_saturating.generator(logits)
    torch.testing.assert_close(divergences.kl.generator(logits), both)


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_generator_descends_the_f_divergence(name):
    def divergence(data, fakes):
        return -critic_cost(name, data, fakes)

    shift = 0.8
    assert generator_gradient(name, shift) == pytest.approx(derivative(divergence, shift), abs=1e-5)


def test_a_trained_discriminator_finds_the_log_ratio_of_the_densities():
    data, fakes = log_normal(0.0), log_normal(1.0, 1.5)
    basis = torch.stack([torch.ones_like(GRID), GRID, GRID.square()], 1)
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    gan = divergences.non_saturating

    def cost():
        logits = basis @ weights
        return integral(data.exp() * gan.real(logits) + fakes.exp() * gan.fake(logits))

    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = cost()
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = [math.log(1.5) + 1 / 4.5, -2 / 4.5, 1 / 4.5 - 1 / 2]
    assert weights.tolist() == pytest.approx(expected, abs=1e-4)
    assert cost() >= critic_cost("non_saturating", data, fakes) - 1e-12


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "kl", "jensen_shannon", "hinge"])
def test_logits_of_a_certain_critic_are_finite(name):
    each = divergences.by_name(name)
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for cost in (each.real(logits), each.fake(logits), each.generator(logits)):
        assert cost.isfinite().all()
        (slope,) = torch.autograd.grad(cost.sum(), logits)
        assert slope.isfinite().all()


@pytest.mark.parametrize("name", ["jsd", None, 3])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ValueError, match=r"one of minimax, non_saturating, .*, got"):
        divergences.by_name(name)
