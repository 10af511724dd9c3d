"""Transport against scipy and linear programming; modes of mixtures against exact samples."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from ppl_gen import metrics


def ring(radius=2.0, k=8):
    angles = torch.arange(k, dtype=torch.float64) * 2 * math.pi / k
    return radius * torch.stack([angles.cos(), angles.sin()], 1)


def draws(means, n, sd, seed=0):
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(means), (n,), generator=generator)
    noise = torch.randn(n, means.shape[1], generator=generator, dtype=torch.float64)
    return means[which] + sd * noise


def transport(u, v):
    """The cheapest plan of moving one sample to the other, by linear programming."""
    n, m = len(u), len(v)
    cost = np.abs(u[:, None] - v).ravel()
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    sums = np.r_[np.full(n, 1 / n), np.full(m, 1 / m)]
    return scipy.optimize.linprog(cost, A_eq=np.r_[rows, columns], b_eq=sums).fun


@pytest.mark.parametrize("seed", range(12))
def test_transport_on_a_line_is_that_of_scipy_and_of_linear_programming(seed):
    random = np.random.default_rng(seed)
    n, m = random.integers(1, 12, 2)
    u, v = random.normal(0, 2, n), random.standard_cauchy(m)
    if seed % 3 == 0:
        u, v = u.round(), v.round()  # ties within and between samples
    expected = scipy.stats.wasserstein_distance(u, v)
    assert metrics.wasserstein_1d(u, v) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert metrics.wasserstein_1d(v, u) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert transport(u, v) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(
    ("u", "v", "distance"),
    [
        ([1, 2, 3], [1, 2, 3], 0.0),
        ([4, 6], [3, 7], 1.0),
        ([0.0], [0.0, 1.0, 2.0], 1.0),
        (range(3), (5, 6, 7), 5.0),
        (torch.tensor([True, False]), np.array([1.0, 1.0]), 0.5),
        (torch.ones(3, requires_grad=True), torch.zeros(2, dtype=torch.float16), 1.0),
    ],
)
def test_samples_may_be_any_numbers(u, v, distance):
    u = list(u) if isinstance(u, range) else u
    assert metrics.wasserstein_1d(u, v) == distance


@pytest.mark.parametrize(
    "bad", [[], 3.0, [[1.0]], [math.nan], [math.inf, 0.0], ["a"], None, torch.ones(2) * 1j]
)
def test_samples_that_are_none_are_refused(bad):
    for pair in ((bad, [1.0]), ([1.0], bad)):
        with pytest.raises(ValueError, match="expected a sample"):
            metrics.wasserstein_1d(*pair)


def test_in_one_dimension_every_slice_is_the_distance():
    x, y = draws(ring()[:, :1], 50, 0.1), draws(ring()[:, :1], 70, 0.4, 1)
    expected = metrics.wasserstein_1d(x[:, 0], y[:, 0])
    assert metrics.sliced_wasserstein(x, y, 5) == pytest.approx(expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_shift_is_as_far_as_the_mean_slice_of_it(dim):
    x = torch.randn(200, dim, dtype=torch.float64)
    shift = torch.arange(1.0, dim + 1)
    found = metrics.sliced_wasserstein(x, x + shift, 40_000)
    mean = {2: 2 / math.pi, 3: 1 / 2}[dim] * shift.norm().item()
    assert found == pytest.approx(mean, rel=0.01)


def test_slices_of_images_and_of_unequal_samples():
    images = torch.rand(30, 1, 4, 4)
    flat = images.flatten(1)
    found = metrics.sliced_wasserstein(images, images[:20] + 1, 16, seed=2)
    assert found == metrics.sliced_wasserstein(flat, flat[:20] + 1, 16, seed=2)
    assert found != metrics.sliced_wasserstein(flat, flat[:20] + 1, 16, seed=3)
    directions = np.random.default_rng(0).normal(size=(4000, 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    slices = [
        scipy.stats.wasserstein_distance(flat.numpy() @ d, (flat[:20] + 1).numpy() @ d)
        for d in directions
    ]
    many = metrics.sliced_wasserstein(images, images[:20] + 1, 4000)
    assert many == pytest.approx(np.mean(slices), rel=0.05)


@pytest.mark.parametrize(
    ("x", "y", "directions", "match"),
    [
        (torch.ones(3, 2), torch.ones(3, 3), 8, r"data of one shape, got \(3, 2\) and \(3, 3\)"),
        (torch.ones(3, 2), torch.ones(0, 2), 8, "expected a sample"),
        (torch.ones(3, 2), torch.ones(3, 2), 0, "one direction or more, got 0"),
    ],
)
def test_slices_refuse_what_they_cannot_compare(x, y, directions, match):
    with pytest.raises(ValueError, match=match):
        metrics.sliced_wasserstein(x, y, directions)


# --- Modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_exact_samples_of_a_mixture_score_as_the_mixture(dim):
    means = torch.eye(5, dtype=torch.float64)[:, :dim] * 10 + torch.arange(5.0)[:, None] * 3
    found = metrics.modes(draws(means, 40_000, 0.1), means, 0.1)
    assert (found.modes, found.balanced) == (5, 5)
    ceiling = scipy.stats.chi2.cdf(9, dim)
    assert found.high_quality == pytest.approx(ceiling, abs=4 * math.sqrt(0.01 / 40_000))
    assert found.sd_ratio == pytest.approx(1.0, abs=0.01)
    assert 0 <= found.kl < 1e-3
    assert found.num_samples == 40_000


def test_a_collapsed_model_has_one_mode():
    means = ring()
    found = metrics.modes(draws(means[:1], 2500, 0.02), means, 0.02)
    assert (found.modes, found.balanced) == (1, 1)
    assert found.kl == pytest.approx(math.log(8))


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_shrunken_modes_have_their_ratio(factor):
    found = metrics.modes(draws(ring(), 40_000, 0.02 * factor), ring(), 0.02)
    shares = [scipy.stats.chi2.cdf((3 / factor) ** 2, k) for k in (2, 4)]
    within = factor * math.sqrt(shares[1] / shares[0])
    truth = math.sqrt(scipy.stats.chi2.cdf(9, 4) / scipy.stats.chi2.cdf(9, 2))
    assert found.sd_ratio == pytest.approx(within / truth, rel=0.01)
    assert found.high_quality > 0.9889


def test_displaced_modes_keep_their_spread_and_lose_quality():
    found = metrics.modes(draws(ring() + 0.01, 20_000, 0.005), ring(), 0.02)
    assert found.sd_ratio < 0.3
    far = metrics.modes(draws(ring(1.5), 500, 0.02), ring(), 0.02)
    assert (far.modes, far.balanced, far.high_quality) == (0, 0, 0.0)
    assert far.kl < 0.02
    assert math.isnan(far.sd_ratio)


def test_a_mode_counts_as_balanced_from_a_fifth_of_a_fair_share():
    means = torch.tensor([[0.0], [10.0]])
    for few, balanced in ((9, 1), (10, 2)):
        samples = means[[0] * (100 - few) + [1] * few]
        found = metrics.modes(samples, means, 1.0)
        assert (found.modes, found.balanced) == (2, balanced)
        expected = scipy.stats.entropy([1 - few / 100, few / 100], [0.5, 0.5])
        assert found.kl == pytest.approx(expected)


@pytest.mark.parametrize(
    ("samples", "means", "sd", "match"),
    [
        (torch.ones(3, 2), torch.ones(3, 3), 1.0, r"one width, got \(3, 2\) and \(3, 3\)"),
        (torch.ones(3), torch.ones(3, 3), 1.0, r"samples as rows of numbers, got shape \(3,\)"),
        (torch.ones(3, 2), torch.ones(0, 2), 1.0, "means as rows of numbers"),
        (torch.ones(3, 2), torch.ones(1, 2), 0.0, "above zero, got 0.0"),
        (torch.ones(3, 2) * math.nan, torch.ones(1, 2), 1.0, "finite samples"),
    ],
)
def test_modes_refuses_what_it_cannot_count(samples, means, sd, match):
    with pytest.raises(ValueError, match=match):
        metrics.modes(samples, means, sd)
