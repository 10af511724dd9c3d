"""Four dresses of a prediction, exact denoisers against quadrature, guidance, weights of losses."""

import math

import hypothesis.strategies as st
import numpy
import pytest
import torch
import torch.distributions as dist
from hypothesis import given, settings
from torch import nn

from ppl_gen import denoisers
from ppl_gen.denoisers import (
    Clipped,
    Denoiser,
    Gaussian,
    Guided,
    Mixture,
    Preconditioned,
    Prediction,
    convert,
)
from ppl_gen.noise import EDM, Cosine, Geometric, Level, Linear, posterior, uniform

KINDS = ["data", "noise", "velocity", "score"]
SCHEDULES = {"linear": Linear(), "cosine": Cosine(), "geometric": Geometric(), "edm": EDM()}
SHAPES = [(), (3,)]


ODD = (math.nan, math.inf, 0.0, -1.0, "a", None)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def two_modes(noise):
    return Mixture(
        noise,
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor([[-1.0, 0.5], [2.0, 0.0]], dtype=torch.float64),
        torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[1.0, -0.4], [-0.4, 0.8]]], dtype=torch.float64),
    )


class Linearly(nn.Module):
    """Counts its calls and mixes data, time and label."""

    def __init__(self, channels=2, classes=4, out=None):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(channels, out or channels, dtype=torch.float64)
        self.table = nn.Embedding(classes, channels, dtype=torch.float64)
        self.calls, self.sizes = 0, []

    def forward(self, x, u, y=None):
        self.calls += 1
        self.sizes.append(len(x))
        return self.layer(x + u[:, None] + (0 if y is None else self.table(y)))


# --- Predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_dress_of_the_truth_is_its_definition(name, shape):
    data, noise = normal(3, 2, seed=1), normal(3, 2, seed=2)
    level = SCHEDULES[name].level(torch.full(shape, 0.4))
    at = level.like(data)
    x = at.alpha * data + at.sigma * noise
    c = (at.alpha**2 + at.sigma**2).sqrt()
    truth = {
        "data": data,
        "noise": noise,
        "velocity": (at.alpha * noise - at.sigma * data) / c,
        "score": -(x - at.alpha * data) / at.sigma**2,
    }
    for source in KINDS:
        for target in KINDS:
            found = convert(truth[source], x, level, source, target)
            torch.testing.assert_close(found, truth[target], rtol=1e-9, atol=1e-10)
    as_tabled = (at.alpha * x - c**2 * data) / (at.sigma * c)
    torch.testing.assert_close(truth["velocity"], as_tabled, rtol=1e-9, atol=1e-10)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(SCHEDULES)),
    u=st.floats(0.01, 1.0),
    path=st.lists(st.sampled_from(KINDS), min_size=2, max_size=6),
    seed=st.integers(0, 10_000),
)
def test_conversions_round_trip(name, u, path, seed):
    level, x = SCHEDULES[name].level(u), normal(2, 3, seed=seed)
    # a prediction as good as a bad network's: of the size of the noisy data's own noise
    value = convert(normal(2, 3, seed=seed + 1), x, level, "noise", path[0])
    found = value
    for source, target in zip(path, [*path[1:], path[0]], strict=True):
        found = convert(found, x, level, source, target)
    assert (found - value).abs().max() <= 1e-10 * (1 + value.abs().max()) * max(
        1.0, level.rho.item(), 1 / level.rho.item()
    )


def test_conversions_that_divide_by_nothing_are_refused_and_the_others_are_not():
    x = normal(2, 3)
    lost, clean = Cosine(floor=0.0).level(1.0), Linear().level(0.0)
    for kind in ("noise", "score"):
        with pytest.raises(ValueError, match="there is no signal"):
            convert(x, x, lost, kind, "data")
    for kind in ("data", "velocity"):
        assert convert(x, x, lost, kind, "noise").isfinite().all()
    torch.testing.assert_close(convert(x, x, lost, "velocity", "data"), -x)
    for source, target in [("data", "noise"), ("noise", "score"), ("data", "velocity")]:
        with pytest.raises(ValueError, match="no noise"):
            convert(x, x, clean, source, target)
    torch.testing.assert_close(convert(x + 1, x, clean, "noise", "data"), x)
    with pytest.raises(ValueError, match="expected a prediction among"):
        convert(x, x, clean, "epsilon", "data")
    with pytest.raises(ValueError, match="expected a prediction among"):
        convert(x, x, clean, "data", "eps")


def test_velocity_is_the_slope_along_the_circle():
    # x(φ) = cos φ x_0 + sin φ ε, of which v is the derivative
    data, noise = normal(4, 2), normal(4, 2, seed=1)
    angle = torch.full((4, 2), 0.7, dtype=torch.float64, requires_grad=True)
    x = angle.cos() * data + angle.sin() * noise
    (slope,) = torch.autograd.grad(x.sum(), angle)
    fixed = torch.tensor(0.7, dtype=torch.float64)
    level = Level(torch.tensor(0.5), fixed.cos(), fixed.sin())
    torch.testing.assert_close(convert(data, x, level, "data", "velocity"), slope)


# --- Exact denoisers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("u", [0.02, 0.3, 0.9])
def test_the_score_is_the_gradient_of_the_log_density(name, u):
    noise, x = SCHEDULES[name], (3 * normal(5, 2)).requires_grad_()
    mean, variance = normal(2, seed=1), normal(2, seed=2).exp()
    for denoiser in (Gaussian(noise, mean, variance), two_modes(noise)):
        law = denoiser.marginal(u)
        (slope,) = torch.autograd.grad(law.log_prob(x).sum(), x)
        found = denoiser(x, torch.tensor(u, dtype=torch.float64)).score
        torch.testing.assert_close(found, slope, rtol=1e-8, atol=1e-9 * float(slope.abs().max()))


def test_the_marginal_of_a_mixture_is_the_mixture_of_marginals():
    noise, x, denoiser = Cosine(), normal(6, 2), two_modes(Cosine())
    alpha, sigma = (v.item() for v in noise(0.6))
    total = 0
    for k, weight in enumerate([0.3, 0.7]):
        axes = denoiser.axes[k]
        covariance = alpha**2 * (axes * denoiser.spectra[k]) @ axes.T + sigma**2 * torch.eye(2)
        law = dist.MultivariateNormal(alpha * denoiser.means[k], covariance)
        total = total + weight * law.log_prob(x).exp()
    torch.testing.assert_close(denoiser.marginal(0.6).log_prob(x), total.log())


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("u", [0.05, 0.4, 0.8])
def test_the_posterior_mean_of_a_mixture_by_quadrature(name, u):
    weights, means, variances = [0.2, 0.5, 0.3], [-2.0, 0.5, 3.0], [0.3, 1.0, 0.1]
    denoiser = Mixture(
        SCHEDULES[name],
        torch.tensor(weights, dtype=torch.float64),
        torch.tensor(means, dtype=torch.float64)[:, None],
        torch.tensor(variances, dtype=torch.float64)[:, None],
    )
    alpha, sigma = (v.item() for v in SCHEDULES[name](u))
    grid = numpy.linspace(-12, 12, 400_001)
    prior = sum(
        w * numpy.exp(-((grid - m) ** 2) / (2 * v)) / math.sqrt(v)
        for w, m, v in zip(weights, means, variances, strict=True)
    )
    for start in (-2.2, 0.1, 1.7):
        x = alpha * start + 0.5 * sigma
        density = prior * numpy.exp(-((x - alpha * grid) ** 2) / (2 * sigma**2))
        expected = (density * grid).sum() / density.sum()
        found = denoiser(torch.tensor([[x]], dtype=torch.float64), torch.tensor(u)).data
        assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_a_gaussian_is_a_mixture_of_one_and_knows_its_error():
    noise, mean, variance = Linear(), normal(3), normal(3, seed=1).exp()
    x, u = normal(4, 3, seed=2), torch.tensor([0.1, 0.3, 0.7, 1.0])
    one, many = Gaussian(noise, mean, variance), Mixture(noise, [1.0], mean[None], variance[None])
    torch.testing.assert_close(one(x, u).data, many(x, u).data, rtol=1e-10, atol=1e-12)
    level = noise.level(u).like(x)
    precision = 1 / variance + level.alpha**2 / level.sigma**2
    torch.testing.assert_close(one(x, u).error, 1 / precision)


def test_images_with_one_time_each_are_those_with_one_time_alone():
    denoiser = Gaussian(Cosine(), normal(1, 2, 2), 0.5)
    x, u = normal(3, 1, 2, 2, seed=1), torch.tensor([0.2, 0.5, 0.8])
    alone = [denoiser(x[i : i + 1], u[i]).noise for i in range(3)]
    torch.testing.assert_close(denoiser(x, u).noise, torch.cat(alone))


def test_a_label_names_a_component_and_the_last_label_none():
    denoiser, x, u = two_modes(Cosine()), normal(4, 2), torch.tensor(0.5)
    for k in range(2):
        axes, spectrum = denoiser.axes[k], denoiser.spectra[k]
        alone = Mixture(
            Cosine(), [1.0], denoiser.means[k : k + 1], (axes * spectrum @ axes.T)[None]
        )
        torch.testing.assert_close(denoiser(x, u, torch.full((4,), k)).data, alone(x, u).data)
    torch.testing.assert_close(denoiser(x, u, torch.full((4,), 2)).data, denoiser(x, u).data)


# --- Networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", KINDS)
def test_a_network_predicts_what_it_is_said_to(predicts):
    network, x, u = Linearly(), normal(3, 2), torch.tensor([0.2, 0.5, 0.9]).double()
    found = Denoiser(network, Linear(), predicts)(x, u, torch.tensor([0, 1, 2]))
    assert torch.equal(getattr(found, predicts), network(x, u, torch.tensor([0, 1, 2])))
    single = Denoiser(network, Linear(), predicts)(x, torch.tensor(0.5))
    torch.testing.assert_close(single.value, network(x, torch.full((3,), 0.5).double()))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_network_sees_numbers_of_the_size_of_the_data(name):
    seen, noise = [], SCHEDULES[name]

    class Seeing(nn.Module):
        def forward(self, x, u):
            seen.append(x)
            return 0 * x

    torch.manual_seed(0)
    data, eps, u = torch.randn(2000, 2), torch.randn(2000, 2), torch.rand(2000)
    at = noise.level(u).like(data)
    Denoiser(Seeing(), noise, "velocity")(at.alpha * data + at.sigma * eps, u)
    assert seen[0].std().item() == pytest.approx(1.0, abs=0.06)
    if noise.preserving:
        assert torch.equal(seen[0], at.alpha * data + at.sigma * eps)


def test_a_learned_variance_is_the_other_half_of_the_output():
    network, x = Linearly(out=4), normal(3, 2)
    found = Denoiser(network, Linear(), learned_variance=True)(x, torch.tensor(0.5))
    output = network(x, torch.full((3,), 0.5).double())
    assert torch.equal(found.noise, output[:, :2])
    torch.testing.assert_close(found.fraction, (output[:, 2:] + 1) / 2)


def test_preconditioning_with_unit_data_is_velocity():
    for noise in (Cosine(), Geometric(0.01, 20.0)):
        x, u = normal(3, 2), torch.tensor([0.1, 0.5, 0.9])
        network = Linearly()
        level = noise.level(u).like(x)
        found = Preconditioned(network, noise, data_scale=1.0)(x, u)
        inside = x / level.scale
        output = network(inside, (level.rho.log() / 4).squeeze(-1))
        torch.testing.assert_close(found.velocity, -output, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_preconditioning_follows_the_table(scale):
    noise, network, y = EDM(), Linearly(), normal(3, 2)
    rho = torch.tensor([0.1, 1.0, 10.0]).double()
    found = Preconditioned(network, noise, scale)(y, noise.time(-2 * rho.log())).data
    rho = rho[:, None]
    root = (rho**2 + scale**2).sqrt()
    output = network(y / root, rho.squeeze(-1).log() / 4)
    expected = scale**2 / root**2 * y + rho * scale / root * output
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_float32_networks_get_and_give_float32():
    network = Linearly().float()
    for denoiser in (Denoiser(network, Cosine(), "velocity"), Preconditioned(network, Cosine())):
        for u in (torch.tensor(0.5), torch.tensor([0.5, 0.6])):
            found = denoiser(torch.zeros(2, 2), u)
            assert all(getattr(found, kind).dtype == torch.float32 for kind in KINDS)


# --- Guidance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", KINDS)
def test_guidance_is_a_line_through_without_and_with(predicts):
    network = Linearly()
    denoiser = Denoiser(network, Linear(), predicts)
    x, u, y = normal(3, 2), torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0, 1, 2])
    without, given = denoiser(x, u, torch.full((3,), 3)), denoiser(x, u, y)
    assert torch.equal(Guided(denoiser, 0.0, 3)(x, u).value, without.value)
    assert torch.equal(Guided(denoiser, 1.0, 3)(x, u, y).value, given.value)
    for weight in (-1.0, 0.4, 3.0):
        network.calls, network.sizes = 0, []
        found = Guided(denoiser, weight, 3)(x, u, y)
        assert network.sizes == [6]
        for kind in KINDS:
            a, b = getattr(without, kind), getattr(given, kind)
            torch.testing.assert_close(
                getattr(found, kind), a + weight * (b - a), rtol=1e-8, atol=1e-9
            )


@pytest.mark.parametrize("predicts", KINDS)
def test_guidance_at_0_and_1_is_the_network_to_the_last_bit_in_one_call(predicts):
    network = Linearly()
    denoiser, size = Denoiser(network, Linear(), predicts), 2000
    x, u, y = normal(size, 2), torch.linspace(0.01, 1, size), torch.arange(size) % 3
    without, given = (denoiser(x, u, label).value for label in (torch.full_like(y, 3), y))
    assert not torch.equal(without + (given - without), given)
    for weight, expected in ((0.0, without), (1.0, given)):
        network.sizes = []
        assert torch.equal(Guided(denoiser, weight, 3)(x, u, y).value, expected)
        assert network.sizes == [size]


def test_guided_variances_are_those_of_the_condition():
    class Told(nn.Module):
        def forward(self, x, u, y):
            return torch.cat([x, 0.1 * y[:, None] + 0 * x], 1)

    denoiser = Denoiser(Told(), Linear(), learned_variance=True)
    x, y = normal(3, 2), torch.tensor([0, 1, 2])
    for weight, labels in ((0.0, torch.full((3,), 3)), (1.0, y), (2.5, y)):
        found = Guided(denoiser, weight, 3)(x, UNIT[:1].expand(3) * 0.5, y)
        expected = ((0.1 * labels + 1) / 2)[:, None].expand(3, 2).double()
        torch.testing.assert_close(found.fraction, expected)


def test_conditions_that_are_no_labels_have_a_null_of_their_shape():
    class Shift(nn.Module):
        def forward(self, x, u, y):
            return x + y.mean(1)

    denoiser = Denoiser(Shift(), Cosine(), "data")
    x, tokens = normal(2, 3), normal(2, 5, 3, seed=1)
    found = Guided(denoiser, 2.0, torch.zeros(5, 3).double())(x, torch.tensor(0.5), tokens)
    torch.testing.assert_close(found.data, x + 2 * tokens.mean(1))


def test_clipping_keeps_data_in_range_and_noise_consistent():
    denoiser, x = Gaussian(Cosine(), torch.zeros(2).double(), 4.0), 3 * normal(50, 2)
    found, plain = Clipped(denoiser, -1, 1)(x, torch.tensor(0.4)), denoiser(x, torch.tensor(0.4))
    assert torch.equal(found.data, plain.data.clamp(-1, 1))
    assert found.data.abs().max() == 1
    alpha, sigma = Cosine()(0.4)
    torch.testing.assert_close(alpha * found.data + sigma * found.noise, x)
    guided = Clipped(Guided(two_modes(Cosine()), 5.0), -1, 1)
    labels = torch.ones(50, dtype=torch.long)
    assert guided(x, torch.tensor(0.4), labels).data.abs().max() == 1


# --- Weights of losses ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predicts", KINDS)
def test_the_squared_error_of_any_dress_is_a_weight_on_that_of_the_data(name, predicts):
    level = SCHEDULES[name].level(0.6)
    data, guess, noise = normal(5, 2), normal(5, 2, seed=1), normal(5, 2, seed=2)
    x = level.alpha * data + level.sigma * noise
    truth, found = (Prediction("data", d, x, level).to(predicts) for d in (data, guess))
    weight = denoisers.prediction_weight(level, predicts)
    torch.testing.assert_close(
        ((truth - found) ** 2).sum(1), weight * ((data - guess) ** 2).sum(1), rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_squared_error_inside_preconditioning_is_its_weight(scale):
    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x, time):
            return self.value

    noise, x, u = Cosine(), normal(5, 2), torch.tensor(0.3)
    outputs = normal(5, 2, seed=1), normal(5, 2, seed=2)
    a, b = (Preconditioned(Constant(o), noise, scale)(x, u).data for o in outputs)
    weight = denoisers.preconditioned_weight(noise.level(u), scale)
    inside = ((outputs[0] - outputs[1]) ** 2).sum(1)
    torch.testing.assert_close(inside, weight * ((a - b) ** 2).sum(1))
    if scale == 1.0:
        of_velocity = denoisers.prediction_weight(noise.level(u), "velocity")
        torch.testing.assert_close(weight, of_velocity)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("pair", [(1, 2), (2, 3), (1, 4), (4, 9)])
def test_the_divergence_of_a_step_is_the_weight_of_the_bound(name, pair):
    table = uniform(SCHEDULES[name], 10)
    s, t = (table[i] for i in pair)
    data, guess, noise = normal(6, 2), normal(6, 2, seed=1), normal(6, 2, seed=2)
    x, q = t.alpha * data + t.sigma * noise, posterior(s, t)
    laws = [dist.Normal(q.mean(x, d), q.variance.sqrt()) for d in (data, guess)]
    divergence = dist.kl_divergence(*laws).sum(1)
    of_data = denoisers.bound_weight(s, t) * ((data - guess) ** 2).sum(1)
    torch.testing.assert_close(divergence, of_data, rtol=1e-7, atol=0)
    told = Prediction("data", guess, x, t).noise
    of_noise = (s.snr / t.snr - 1) / 2 * ((noise - told) ** 2).sum(1)
    torch.testing.assert_close(divergence, of_noise, rtol=1e-6, atol=0)
    if SCHEDULES[name].preserving:
        scale = t.alpha / s.alpha
        beta = 1 - scale**2
        ho = beta**2 / (2 * q.variance * scale**2 * t.sigma**2)
        torch.testing.assert_close(divergence, ho * ((noise - told) ** 2).sum(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_weight_of_many_small_steps_is_the_continuous_one(name):
    noise = SCHEDULES[name]
    u = torch.tensor([0.05, 0.3, 0.9]).double()
    width = 1e-5
    small = denoisers.bound_weight(noise.level(u - width / 2), noise.level(u + width / 2)) / width
    exact = denoisers.continuous_bound_weight(noise, u)
    torch.testing.assert_close(small, exact, rtol=1e-6, atol=0)


def test_weights_without_noise_are_finite_or_refused():
    table = uniform(Linear(), 4)
    assert denoisers.min_snr_weight(table, 5.0)[0] == 5
    torch.testing.assert_close(denoisers.min_snr_weight(table, 5.0)[3:], table.snr[3:])
    for call in (
        lambda: denoisers.prediction_weight(table),
        lambda: denoisers.bound_weight(table[0], table[1]),
        lambda: denoisers.continuous_bound_weight(Linear(), torch.tensor(0.0)),
        lambda: denoisers.preconditioned_weight(table),
    ):
        with pytest.raises(ValueError, match="expected noise at every time"):
            call()
    assert torch.equal(denoisers.prediction_weight(table, "data"), torch.ones(5).double())


# --- Refusals -------------------------------------------------------------------------------------

ZERO, UNIT = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Denoiser(Linearly(), Linear(), "eps"), "expected a prediction among"),
        (lambda: Denoiser(None, Linear()), "expected a torch.nn.Module"),
        (lambda: Denoiser(lambda x, u: x, Linear()), "expected a torch.nn.Module"),
        (lambda: Denoiser(Linearly(), 0.1), "expected a noise schedule"),
        (lambda: Denoiser(Linearly(), Linear(), data_shape=(0,)), "expected a tuple of sizes"),
        (
            lambda: Denoiser(Linearly(out=3), Linear())(normal(2, 2), UNIT),
            "expected a prediction of",
        ),
        (
            lambda: Denoiser(Linearly(), Linear(), learned_variance=True)(normal(2, 2), UNIT),
            "expected predictions beside variances",
        ),
        (lambda: Preconditioned(Linearly(), Linear(), 0.0), "expected a scale of the data"),
        (
            lambda: Preconditioned(Linearly(), Linear())(normal(2, 2), ZERO),
            "expected times with signal and noise",
        ),
        (
            lambda: Denoiser(Linearly(), Linear())(normal(2, 2), torch.full((3,), 0.5)),
            r"one a datum, got times \(3,\) for data of shape \(2, 2\)",
        ),
        (
            lambda: Preconditioned(Linearly(), Linear())(normal(2, 2), torch.full((3,), 0.5)),
            r"one a datum, got times \(3,\) for data of shape \(2, 2\)",
        ),
        *(
            (
                lambda value=value, kinds=kinds: convert(
                    value, normal(4, 2), Linear().level(0.5), *kinds
                ),
                "shape",
            )
            for value in (normal(4, 1), normal(1, 2), normal(2), normal(4, 3))
            for kinds in (("noise", "data"), ("data", "data"))
        ),
        *((lambda v=v: Gaussian(Linear(), ZERO, v), "expected variances") for v in ODD),
        *(
            (lambda v=v: Gaussian(Linear(), torch.tensor([v, 0.0]), 1.0), "expected finite means")
            for v in (math.nan, math.inf)
        ),
        (lambda: Gaussian(Linear(), torch.zeros(0), 1.0), "means of at least one value"),
        (lambda: Gaussian(Linear(), ZERO, 1.0)(normal(2, 1), UNIT), r"\(B, 2\), got \(2, 1\)"),
        (lambda: Gaussian(Linear(), ZERO, 1.0)(normal(2, 5), UNIT), r"\(B, 2\), got \(2, 5\)"),
        (lambda: two_modes(Linear())(normal(2, 1), UNIT), r"data of shape \(B, 2\), got \(2, 1\)"),
        (lambda: two_modes(Linear())(normal(2), UNIT), r"data of shape \(B, 2\), got \(2,\)"),
        (
            lambda: Mixture(Linear(), UNIT, torch.full((2, 2), math.nan), normal(2, 2).abs()),
            "expected finite means",
        ),
        (lambda: Mixture(Linear(), UNIT, torch.zeros(0, 2), UNIT), "at least one value"),
        (lambda: Mixture(Linear(), "ab", normal(2, 2), UNIT), "expected weights as numbers"),
        (lambda: Mixture(Linear(), UNIT, normal(2, 2), "ab"), "expected covariances as numbers"),
        (lambda: Gaussian(Linear(), ZERO, ZERO), "expected variances above 0"),
        (lambda: Gaussian(Linear(), ZERO, torch.ones(3)), "expected variances"),
        (lambda: Gaussian(Linear(), torch.zeros(2).long(), 1.0), "expected a tensor of floating"),
        (lambda: Gaussian(Linear(), ZERO, 1.0)(normal(2, 2), UNIT, ZERO), "expected no condition"),
        (lambda: Mixture(Linear(), UNIT, ZERO, UNIT), r"expected means of shape \(K, D\)"),
        (lambda: Mixture(Linear(), ZERO, normal(2, 2), UNIT), "expected 2 weights above 0"),
        (lambda: Mixture(Linear(), UNIT, normal(2, 2), UNIT), "expected symmetric covariances"),
        (lambda: Mixture(Linear(), UNIT, normal(2, 2), -torch.ones(2, 2)), "positive definite"),
        (lambda: two_modes(Linear())(normal(1, 2), UNIT[:1], [3]), "expected 1 labels from 0 to 2"),
        (lambda: two_modes(Linear())(normal(2, 2), UNIT, [1]), "expected 2 labels"),
        (lambda: Guided(Denoiser(Linearly(), Linear()), 2.0), "expected null"),
        (lambda: Guided(two_modes(Linear()), math.nan), "expected a finite guidance weight"),
        (lambda: Guided(Clipped(two_modes(Linear())), 2.0), "expected guidance before clipping"),
        (lambda: Guided(Linearly(), 2.0), "expected a denoiser"),
        (lambda: Guided(two_modes(Linear()), 2.0)(normal(2, 2), UNIT), "expected conditions y"),
        (lambda: Clipped(two_modes(Linear()), 1.0, 0.0), "expected a range low < high"),
        (lambda: denoisers.min_snr_weight(Linear().level(0.5), 0.0), "expected a limit above 0"),
        (lambda: denoisers.preconditioned_weight(Linear().level(0.5), 0.0), "expected a scale"),
        (lambda: denoisers.prediction_weight(Linear().level(0.5), "x"), "expected a prediction"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
