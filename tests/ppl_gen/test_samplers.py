"""Every sampler against the chain it should be, known exactly where the data are Gaussian."""

import itertools
import math

import pytest
import torch
import torch.distributions as dist
from torch import nn

from ppl_gen import samplers
from ppl_gen.denoisers import Denoiser, Gaussian, Guided, Mixture
from ppl_gen.noise import (
    EDM,
    Cosine,
    Geometric,
    Linear,
    PowerGrid,
    Trailing,
    posterior,
    uniform,
)
from ppl_gen.samplers import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    Euler,
    Heun,
    PredictorCorrector,
)

SCHEDULES = {"linear": Linear(), "cosine": Cosine(), "geometric": Geometric(), "edm": EDM()}


def data_of(noise, variance, mean=0.0):
    mean = torch.full((1,), mean, dtype=torch.float64)
    return Gaussian(noise, mean, variance)


def affine(sampler, denoiser, t, s, draws=4):
    """A step as a x + b + Σ c_i z_i: rows of a batch are 0, 1 and one draw each."""
    x = torch.zeros(2 + draws, 1, dtype=torch.float64)
    x[1] = 1
    used = itertools.count(2)

    def draw():
        one = torch.zeros_like(x)
        one[next(used)] = 1
        return one

    def predict(x, level):
        return denoiser(x, level.u)

    found = sampler.step(predict, x, t, s, draw)
    b = found[0].item()
    return found[1].item() - b, b, ((found[2:] - b) ** 2).sum().item()


def chain(sampler, denoiser, steps, variance=None, draws=4):
    """Mean and variance of the samples, propagated exactly."""
    table = sampler.grid(denoiser.noise, steps)
    mean = 0.0
    variance = denoiser.noise.prior_scale(table[-1]).item() ** 2 if variance is None else variance
    for i in range(steps, 0, -1):
        a, b, c = affine(sampler, denoiser, table[i], table[i - 1], draws)
        mean, variance = a * mean + b, a**2 * variance + c
    return mean, variance


def scalars(noise, steps, grid=uniform):
    """(alpha, sigma) of a table as floats, noise last."""
    table = grid(noise, steps)
    return list(zip(table.alpha.tolist(), table.sigma.tolist(), strict=True))


def by_hand(kind, noise, steps, lam, grid=uniform, eta=0.0):
    """The variance of the samples from the published formulas, in scalars."""
    table = scalars(noise, steps, grid)
    variance = 1.0 if noise.preserving else table[-1][1] ** 2
    for i in range(steps, 0, -1):
        (a_s, s_s), (a_t, s_t) = table[i - 1], table[i]
        gain = a_t * lam / (a_t**2 * lam + s_t**2)
        eps = (1 - a_t * gain) / s_t
        scale = a_t / a_s
        large = s_t**2 - scale**2 * s_s**2
        small = large * s_s**2 / s_t**2
        if kind == "ddim":
            a = a_s * gain + math.sqrt(max(0.0, s_s**2 - eta**2 * small)) * eps
            variance = a**2 * variance + eta**2 * small
            continue
        a = scale * s_s**2 / s_t**2 + a_s * large / s_t**2 * gain
        error = (a_s * large / s_t**2) ** 2 * lam * s_t**2 / (a_t**2 * lam + s_t**2)
        added = {"small": small, "large": large if s_s else 0.0, "optimal": small + error}[kind]
        variance = a**2 * variance + added
    return variance


# --- Ancestral and DDIM ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", ["small", "large", "optimal"])
@pytest.mark.parametrize("lam", [4.0, 0.25])
@pytest.mark.parametrize("grid", [uniform, Trailing(100), PowerGrid()])
def test_ancestral_chains_have_the_variance_of_the_formulas(name, kind, lam, grid):
    noise = SCHEDULES[name]
    for steps in (1, 3, 10):
        _, variance = chain(Ancestral(kind, grid=grid), data_of(noise, lam), steps)
        expected = by_hand(kind, noise, steps, lam, grid)
        assert variance == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("kind", "lam", "published"),
    [
        ("small", 4.0, [1.24, 2.70, 3.61, 3.80, 3.92]),
        ("large", 4.0, [2.07, 3.32, 3.82, 3.91, 3.96]),
        ("optimal", 4.0, [4, 4, 4, 4, 4]),
        ("large", 0.25, [0.18, 0.272, 0.259]),
        ("ddim", 4.0, [1.31, 2.94, 3.70, 3.85]),
    ],
)
def test_variances_of_the_cosine_chain_by_the_number_of_steps(kind, lam, published):
    sampler = DDIM() if kind == "ddim" else Ancestral(kind)
    for steps, expected in zip([3, 10, 40, 80, 200], published, strict=False):
        _, variance = chain(sampler, data_of(Cosine(floor=0.0), lam), steps)
        assert variance == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("kind", ["small", "large", "optimal"])
def test_samples_in_three_steps_have_the_covariance_of_the_recursion(kind):
    n, noise = 20_000, Cosine(floor=0.0)
    law = Gaussian(noise, torch.zeros(2).double(), torch.tensor([4.0, 0.25]).double())
    found = Ancestral(kind).sample(law, n, steps=3, seed=0).T.cov()
    expected = torch.tensor([by_hand(kind, noise, 3, lam) for lam in (4.0, 0.25)]).double()
    error = expected * math.sqrt(2 / n)
    assert bool(((found.diagonal() - expected).abs() < 4 * error).all())
    assert found[0, 1].abs() < 4 * math.sqrt(expected.prod() / n)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_chains_have_the_variance_of_the_formulas(name, eta):
    for steps, grid in [(1, uniform), (3, uniform), (7, Trailing(40)), (5, PowerGrid())]:
        _, variance = chain(DDIM(eta, grid=grid), data_of(SCHEDULES[name], 4.0), steps)
        expected = by_hand("ddim", SCHEDULES[name], steps, 4.0, grid, eta)
        assert variance == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_the_optimal_variance_reverses_the_chain_exactly(name, steps):
    noise, lam, mean = SCHEDULES[name], 2.3, 0.7
    denoiser, table = data_of(noise, lam, mean), uniform(noise, steps)
    at, of = (
        table[-1].alpha.item() * mean,
        (table[-1].alpha ** 2 * lam + table[-1].sigma ** 2).item(),
    )
    for i in range(steps, 0, -1):
        a, b, c = affine(Ancestral("optimal"), denoiser, table[i], table[i - 1])
        at, of = a * at + b, a**2 * of + c
        s = table[i - 1]
        assert at == pytest.approx(s.alpha.item() * mean, rel=1e-9, abs=1e-9)
        assert of == pytest.approx((s.alpha**2 * lam + s.sigma**2).item(), rel=1e-9)


@pytest.mark.parametrize("noise", [Cosine(), Linear(), Geometric(0.1, 8.0)])
def test_with_optimal_variance_every_path_weighs_the_evidence(noise):
    # log p(x_0 … x_T) - log q(x_1 … x_T | x_0) is log p(x_0) for each single draw
    mean, lam = torch.tensor([0.7, -0.3]).double(), torch.tensor([0.25, 2.0]).double()
    denoiser, table, sampler = Gaussian(noise, mean, lam), uniform(noise, 4), Ancestral("optimal")
    torch.manual_seed(0)
    data = mean + lam.sqrt() * torch.randn(6, 2, dtype=torch.float64)
    x = table[4].alpha * data + table[4].sigma * torch.randn(6, 2, dtype=torch.float64)
    weight = denoiser.marginal(table[4].u).log_prob(x)
    weight = weight - dist.Normal(table[4].alpha * data, table[4].sigma).log_prob(x).sum(1)
    for i in range(4, 0, -1):
        s, t = table[i - 1], table[i]
        found, q = denoiser(x, t.u), posterior(s, t)
        law = dist.Normal(q.mean(x, found.data), sampler.reverse_variance(found, t, s).sqrt())
        below = data
        if i > 1:
            exact = dist.Normal(q.mean(x, data), q.variance.sqrt())
            below = exact.sample()
            weight = weight - exact.log_prob(below).sum(1)
        weight, x = weight + law.log_prob(below).sum(1), below
    evidence = dist.Normal(mean, lam.sqrt()).log_prob(data).sum(1)
    torch.testing.assert_close(weight, evidence, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_ddim_one_is_ancestral_small_draw_by_draw(name, steps):
    denoiser = data_of(SCHEDULES[name], 4.0, 0.5)
    for grid in (uniform, Trailing(21), PowerGrid()):
        one, small = (
            sampler.sample(denoiser, 20, steps=steps, seed=1)
            for sampler in (DDIM(1.0, grid=grid), Ancestral(grid=grid))
        )
        torch.testing.assert_close(one, small, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ddim_zero_is_euler(name):
    denoiser = two_modes(SCHEDULES[name])
    plain = DDIM(grid=PowerGrid()).sample(denoiser, 20, steps=9, seed=1)
    torch.testing.assert_close(plain, Euler().sample(denoiser, 20, steps=9, seed=1))


def test_learned_variances_lie_between_in_logarithm():
    class Halfway(nn.Module):
        def __init__(self, raw):
            super().__init__()
            self.raw = raw

        def forward(self, x, u):
            return torch.cat([0.1 * x, torch.full_like(x, self.raw)], 1)

    table, x = uniform(Cosine(), 5), torch.ones(2, 3, dtype=torch.float64)
    for raw, share in [(-1.0, 0.0), (1.0, 1.0), (-0.5, 0.25)]:
        denoiser = Denoiser(Halfway(raw), Cosine(), learned_variance=True, data_shape=(3,))
        found = denoiser(x, table[4].u)
        of = [Ancestral(k).reverse_variance(found, table[4], table[3]) for k in ("small", "large")]
        learned = Ancestral("learned").reverse_variance(found, table[4], table[3])
        expected = (share * of[1].log() + (1 - share) * of[0].log()).exp()
        torch.testing.assert_close(learned, expected.expand(2, 3))
        assert Ancestral("learned").sample(denoiser, 4, steps=5, seed=0).isfinite().all()
        with pytest.raises(ValueError, match="expected noise at s for a learned variance"):
            Ancestral("learned").reverse_variance(found, table[1], table[0])


def test_the_error_for_optimal_variances_may_be_given():
    denoiser = data_of(Cosine(), 4.0)
    told = Ancestral("optimal", error=lambda u: denoiser(torch.zeros(1, 1), u).error)
    own = Ancestral("optimal").sample(denoiser, 9, steps=4, seed=0)
    assert torch.equal(told.sample(denoiser, 9, steps=4, seed=0), own)
    with pytest.raises(ValueError, match="expected error="):
        Ancestral("optimal").sample(two_modes(Cosine()), 2, steps=2, seed=0)
    with pytest.raises(ValueError, match="expected a denoiser with learned_variance=True"):
        Ancestral("learned").sample(denoiser, 2, steps=2, seed=0)


# --- Probability flow -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("lam", [4.0, 0.25])
def test_euler_is_first_order_and_heun_second(name, lam):
    # from the marginal law at the top, so that nothing but the steps is wrong
    grid = PowerGrid(7.0, 0.02, 40.0)
    denoiser = data_of(SCHEDULES[name], lam)
    top = grid(denoiser.noise, 2)[-1]
    start = (top.alpha**2 * lam + top.sigma**2).item()

    def error(sampler, steps):
        # up to the least noise; the last step to clean data is of first order in it
        table, variance = grid(denoiser.noise, steps), start
        for i in range(steps, 1, -1):
            variance *= affine(sampler, denoiser, table[i], table[i - 1])[0] ** 2
        end = (table[1].alpha ** 2 * lam + table[1].sigma ** 2).item()
        return math.sqrt(variance) - math.sqrt(end)

    for sampler, order in [(Euler(), 1), (Heun(), 2)]:
        errors = [error(sampler, steps) for steps in (80, 160, 320)]
        ratios = [a / b for a, b in itertools.pairwise(errors)]
        assert ratios == pytest.approx([2**order] * 2, rel=0.1)


def test_errors_on_the_published_grid():
    for sampler, published in [
        (Euler(), [-0.23, -0.12, -0.058, -0.029, -0.015]),
        (Heun(), [0.14, 0.029, 0.0065, 0.0016, 0.0004]),
    ]:
        for steps, expected in zip([10, 20, 40, 80, 160], published, strict=True):
            _, variance = chain(sampler, data_of(EDM(), 4.0), steps, variance=80.0**2 + 4)
            assert math.sqrt(variance) / 2 - 1 == pytest.approx(expected, rel=0.05, abs=1e-4)


@pytest.mark.parametrize("sampler", [Euler(), Heun()])
def test_flows_are_the_same_for_every_schedule(sampler):
    y = torch.linspace(-60, 60, 12, dtype=torch.float64)[:, None].expand(12, 2)
    ends = []
    for noise in SCHEDULES.values():
        sampler.grid = PowerGrid(7.0, 0.02, 40.0)
        top = sampler.grid(noise, 2)[-1]
        ends.append(sampler.sample(two_modes(noise), 12, steps=15, start=top.alpha * y))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-6, atol=1e-7)


def test_calls_are_counted_right():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x, u):
            self.calls += 1
            return 0 * x

    for sampler, steps, calls in [
        (Ancestral(), 7, 7),
        (DDIM(), 7, 7),
        (DDIM(grid=Trailing(1000)), 53, 53),
        (Euler(), 7, 7),
        (Heun(), 7, 13),
        (AnnealedLangevin(5), 7, 36),
        (AnnealedLangevin(5, denoise=False), 7, 35),
        (PredictorCorrector(), 7, 13),
        (PredictorCorrector(DDIM(), 2), 7, 19),
    ]:
        for frames in (False, True):
            network = Counting()
            denoiser = Denoiser(network, Linear(), "velocity", data_shape=(2,))
            sampler.sample(denoiser, 3, steps=steps, seed=0, frames=frames)
            assert network.calls == calls


# --- Langevin -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0])
def test_a_langevin_chain_settles_at_its_own_variance(delta):
    # by its linear recursion to rest, and by draws
    variance, gain = 1.0, samplers.langevin(torch.ones(1), -torch.ones(1), delta, torch.zeros(1))
    kick = samplers.langevin(torch.zeros(1), torch.zeros(1), delta, torch.ones(1)).item()
    for _ in range(2000):
        variance = gain.item() ** 2 * variance + kick**2
    assert variance == pytest.approx(1 / (1 - delta / 4), rel=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_annealed_langevin_at_one_level_settles_at_the_law_of_that_level(name):
    noise, lam, ratio = SCHEDULES[name], 4.0, 0.3
    grid = PowerGrid(7.0, 0.9, 1.0)
    sampler = AnnealedLangevin(390, ratio, denoise=False, grid=grid)
    level = grid(noise, 1)[-1]
    of = (level.alpha**2 * lam + level.sigma**2).item()
    settled = of / (1 - ratio * level.sigma.item() ** 2 / (4 * of))
    mean, variance = chain(sampler, data_of(noise, lam, 0.5), 1, draws=390)
    assert mean * level.alpha.item() == pytest.approx(level.alpha.item() * 0.5, rel=1e-3)
    assert variance * level.alpha.item() ** 2 == pytest.approx(settled, rel=1e-3)


def test_annealing_finds_the_weights_of_modes_that_plain_langevin_does_not():
    weights = torch.tensor([0.2, 0.8])
    means = torch.tensor([[-5.0, -5.0], [5.0, 5.0]])
    denoiser = Mixture(Geometric(0.1, 20.0), weights, means, torch.ones(2, 2))

    uniformly = 16 * torch.rand(1000, 2, generator=torch.Generator().manual_seed(0)) - 8

    def share(sampler, steps):
        x = sampler.sample(denoiser, 1000, steps=steps, seed=0, start=uniformly)
        return (x.sum(1) > 0).float().mean().item()

    annealed = share(AnnealedLangevin(100, 0.1), 10)
    plain = AnnealedLangevin(500, 1.0, grid=PowerGrid(math.inf, 0.1, 0.2))
    assert annealed == pytest.approx(0.754, abs=0.05)
    assert share(plain, 1) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_corrector_steps_by_the_published_size(name):
    noise, lam, ratio = SCHEDULES[name], 4.0, 0.3
    table = uniform(noise, 6)
    s, t = table[3], table[4]
    a, _, c = affine(Ancestral(), data_of(noise, lam), t, s)
    scale = (t.alpha / s.alpha).item() ** 2 if noise.preserving else 1.0
    delta = 4 * scale * ratio**2 * s.sigma.item() ** 2
    keep = 1 - delta / 2 / (s.alpha**2 * lam + s.sigma**2).item()
    found = affine(PredictorCorrector(Ancestral(), 2, ratio), data_of(noise, lam), t, s)
    assert found[0] == pytest.approx(keep**2 * a, rel=1e-9)
    expected = keep**4 * c + (keep**2 + 1) * delta
    assert found[2] == pytest.approx(expected, rel=1e-9)


# --- Mixtures and guidance ------------------------------------------------------------------------


def two_modes(noise, kind=torch.float64):
    return Mixture(
        noise,
        torch.tensor([0.3, 0.7], dtype=kind),
        torch.tensor([[-1.0, 0.5], [2.0, 0.0]], dtype=kind),
        torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.4, -0.1], [-0.1, 0.3]]], dtype=kind),
    )


@pytest.mark.parametrize(
    ("sampler", "noise", "steps"),
    [
        (Ancestral(), Cosine(), 300),
        (Ancestral("large"), Cosine(), 150),
        (DDIM(), Linear(), 150),
        (DDIM(0.5), Cosine(), 150),
        (Heun(), EDM(), 40),
        (Heun(), Cosine(), 40),
        (PredictorCorrector(), Cosine(), 150),
        (AnnealedLangevin(30, 0.3), Geometric(0.02, 20.0), 30),
    ],
)
def test_samples_of_a_mixture_have_its_moments_and_modes(sampler, noise, steps):
    denoiser, n = two_modes(noise), 3000
    x = sampler.sample(denoiser, n, steps=steps, seed=0)
    weights, means = torch.tensor([0.3, 0.7]).double(), denoiser.means
    mean = weights @ means
    within = torch.einsum(
        "k,kde,ke,kfe->df", weights, denoiser.axes, denoiser.spectra, denoiser.axes
    )
    covariance = within + (weights * (means - mean).T) @ (means - mean)
    spread = covariance.diagonal().sqrt()
    assert bool(((x.mean(0) - mean).abs() < 4.5 * spread / math.sqrt(n)).all())
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0.12, atol=0.08)
    joint = denoiser.log_weights + dist.MultivariateNormal(
        means, torch.einsum("kde,ke,kfe->kdf", denoiser.axes, denoiser.spectra, denoiser.axes)
    ).log_prob(x[:, None])
    assert joint.softmax(1).mean(0)[1].item() == pytest.approx(0.7, abs=0.04)


def test_guidance_by_one_is_the_component_and_more_is_not_its_power():
    # two components far apart, where p(x | y) p(y | x)^(w - 1) is the component itself
    means, variances = torch.tensor([[-1.5], [1.5]]), torch.full((2, 1), 0.6)
    denoiser = Mixture(Cosine(), torch.ones(2), means, variances)
    found = {}
    for weight in (0.0, 1.0, 4.0):
        x = DDIM().sample(Guided(denoiser, weight), 3000, 1, steps=150, seed=0)
        found[weight] = x.mean().item(), x.var().item()
    assert found[0.0] == pytest.approx((0.0, 0.6 + 1.5**2), abs=0.13)
    assert found[1.0] == pytest.approx((1.5, 0.6), abs=0.05)
    assert found[4.0][0] > 1.9
    assert found[4.0][1] < 0.4


def test_without_any_signal_at_the_start_data_and_velocity_still_work():
    noise = Cosine(floor=0.0)
    for sampler in (DDIM(), Ancestral(), Ancestral("large"), PredictorCorrector()):
        found = sampler.sample(data_of(noise, 1.0), 50, steps=20, seed=0)
        assert found.isfinite().all()
    _, variance = chain(Ancestral("optimal"), data_of(noise, 4.0), 5)
    assert variance == pytest.approx(4.0)
