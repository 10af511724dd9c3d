"""The constants of the likelihoods, and what they refuse."""

import math

import pyro
import pytest
import torch
from torch.nn.functional import binary_cross_entropy, mse_loss

import ppl_gen
from ppl_gen import zoo
from ppl_gen.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    Gaussian,
    GaussianPerPixel,
    make,
)

LOGITS = torch.randn(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))


def test_bernoulli_is_minus_the_cross_entropy_summed_over_pixels():
    for x in (torch.rand(3, 1, 4, 5), torch.rand(3, 1, 4, 5).round()):
        found = Bernoulli()(LOGITS).log_prob(x)
        expected = -binary_cross_entropy(LOGITS.sigmoid(), x, reduction="none").sum((1, 2, 3))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [0.05, 1.0, 7.0])
def test_gaussian_is_the_scaled_squared_error_plus_its_constant(scale):
    x = torch.rand(3, 1, 4, 5)
    found = Gaussian(scale)(LOGITS).log_prob(x)
    squares = 20 * torch.stack([mse_loss(a, b) for a, b in zip(LOGITS, x, strict=True)])
    constant = 20 / 2 * math.log(2 * math.pi * scale**2)
    torch.testing.assert_close(found, -squares / (2 * scale**2) - constant, rtol=1e-4, atol=1e-3)


def test_a_learned_scale_starts_where_it_is_told_and_is_a_parameter():
    likelihood = Gaussian(0.25, learn=True)
    assert likelihood.scale.item() == pytest.approx(0.25)
    assert len(list(likelihood.parameters())) == 1
    assert not list(Gaussian(0.25).parameters())


def test_grey_pixels_pass_validation_where_stock_pyro_refuses_them():
    x = torch.rand(3, 1, 4, 5)
    with pyro.validation_enabled(True):
        Bernoulli()(LOGITS).log_prob(x)
        with pytest.raises(ValueError, match="support"):
            pyro.distributions.Bernoulli(logits=LOGITS).log_prob(x)
        with pytest.raises(ValueError, match="support"):
            Bernoulli()(LOGITS).log_prob(x + 1)


def test_names_and_objects():
    assert isinstance(make("bernoulli"), Bernoulli)
    likelihood = Gaussian(0.3)
    assert make(likelihood) is likelihood
    assert isinstance(make("gaussian_per_pixel"), GaussianPerPixel)
    assert make("categorical").levels == 16
    assert make("discretized_logistic").levels == 256
    with pytest.raises(ValueError, match=r"one of bernoulli, gaussian.*'poisson'"):
        make("poisson")
    for build, match in [
        (lambda: Gaussian(0), "positive scale, got 0"),
        (lambda: GaussianPerPixel(0), "positive floor, got 0"),
        (lambda: DiscretizedLogistic(floor=-1), "positive floor, got -1"),
        (lambda: DiscretizedLogistic(levels=1), "two grey levels, got 1"),
        (lambda: Categorical(levels=1), "two grey levels, got 1"),
    ]:
        with pytest.raises(ValueError, match=match):
            build()


GREY = [Categorical(5), Categorical(2), DiscretizedLogistic(5), DiscretizedLogistic(256, 1e-4)]


def outputs(likelihood, *batch, channels=2, spread=2.0):
    generator = torch.Generator().manual_seed(1)
    shape = (*batch, likelihood.parameters_per_value * channels, 3, 4)
    return spread * torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("likelihood", GREY, ids=str)
def test_grey_levels_sum_to_one_and_have_the_stated_mean(likelihood):
    law = likelihood(outputs(likelihood, 6))
    pixels, levels = law.base_dist, torch.linspace(0, 1, likelihood.levels).double()
    found = torch.stack([pixels.log_prob(level.expand(6, 2, 3, 4)) for level in levels], -1).exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(6, 2, 3, 4).double())
    torch.testing.assert_close(likelihood.mean_image(law), found @ levels)


@pytest.mark.parametrize("likelihood", GREY, ids=str)
def test_draws_are_levels_in_the_stated_proportions(likelihood):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        law = likelihood(outputs(likelihood))
        drawn = law.sample((4000,))
    assert drawn.shape == (4000, 2, 3, 4)
    steps = drawn * (likelihood.levels - 1)
    torch.testing.assert_close(steps, steps.round())
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert law.log_prob(drawn).isfinite().all()
    error = (drawn.mean(0) - law.mean).abs()
    assert (error <= 5 * drawn.std(0) / 4000**0.5 + 2e-4).all()


def test_the_categorical_is_the_cross_entropy_of_the_level():
    likelihood = Categorical(5)
    parameters = outputs(likelihood, 3)
    levels = torch.randint(5, (3, 2, 3, 4), generator=torch.Generator().manual_seed(2))
    found = likelihood(parameters).log_prob(levels / 4)
    logits = parameters.reshape(3, 5, 2, 3, 4)
    expected = -torch.nn.functional.cross_entropy(logits, levels, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        likelihood(parameters).log_prob((levels / 4 + 0.1).clamp(0, 1)), found
    )


def test_the_discretized_logistic_is_the_difference_of_distribution_functions():
    likelihood = DiscretizedLogistic(5, floor=0.02)
    parameters = outputs(likelihood, 1, spread=0.7)
    loc, raw = parameters.chunk(2, 1)
    scale = 0.02 + torch.nn.functional.softplus(raw)
    pixels = likelihood(parameters).base_dist
    for level in (0.25, 0.5, 0.75):
        upper, lower = ((level + half - loc) / scale for half in (0.125, -0.125))
        expected = upper.sigmoid() - lower.sigmoid()
        torch.testing.assert_close(pixels.log_prob(torch.full_like(loc, level)).exp(), expected)
    first = ((0.125 - loc) / scale).sigmoid()
    torch.testing.assert_close(pixels.log_prob(torch.zeros_like(loc)).exp(), first)


@pytest.mark.parametrize("x", [0.0, 0.5, 1.0])
def test_the_discretized_logistic_and_its_gradient_are_finite_far_from_the_data(x):
    likelihood = DiscretizedLogistic(256, floor=1e-3)
    for loc in (-50.0, 0.3, 50.0):
        for raw in (-40.0, 0.0, 40.0):
            parameters = torch.tensor([loc, raw]).reshape(2, 1, 1).requires_grad_()
            found = likelihood(parameters).log_prob(torch.full((1, 1, 1), x))
            found.backward()
            assert found.isfinite()
            assert parameters.grad.isfinite().all()


def test_a_scale_per_pixel_is_the_decoders_with_a_floor():
    likelihood = GaussianPerPixel(floor=0.1)
    parameters = torch.cat([LOGITS, torch.full_like(LOGITS, -100.0)], 1)
    x = torch.rand(3, 1, 4, 5)
    torch.testing.assert_close(
        likelihood(parameters).log_prob(x), Gaussian(0.1)(LOGITS).log_prob(x)
    )
    free = torch.cat([LOGITS, LOGITS], 1)
    scale = 0.1 + torch.nn.functional.softplus(LOGITS)
    expected = torch.distributions.Normal(LOGITS, scale).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood(free).log_prob(x), expected)


FAMILIES = ["gaussian_per_pixel", "categorical", "discretized_logistic"]
X = torch.rand(12, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(name, network, staged):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = zoo.vae((2, 8, 8), 2, hidden=8, likelihood=name, network=network)
    return model, ppl_gen.fit(model, X, epochs=15, lr=5e-3, staged=staged, progress=False)["loss"]


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("name", FAMILIES)
def test_they_train_on_several_channels(name, network):
    model, losses = trained(name, network, staged=False)
    assert losses[-1] < losses[0]
    assert model.sample(3).shape == model.reconstruct(X[:3]).shape == (3, 2, 8, 8)


@pytest.mark.filterwarnings("ignore:.*uncompiled")
@pytest.mark.parametrize("name", FAMILIES)
def test_they_can_be_staged(name, request):
    if name != "discretized_logistic":  # one is compiled, the others are only recorded
        request.getfixturevalue("uncompiled")
    losses = [trained(name, "mlp", staged)[1] for staged in (True, False)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
