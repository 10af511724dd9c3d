"""A diffusion as a Pyro model and guide: what every objective makes of it, and its graph."""

import itertools
import math
import warnings

import pyro
import pytest
import torch
import torch.distributions as dist
from diffusion_oracles import Ladder, closed_form, data_of, gaussian
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn

import graphs
import ppl_gen
from ppl_gen import metrics
from ppl_gen.denoisers import Denoiser, Gaussian
from ppl_gen.networks import ResidualMLP
from ppl_gen.noise import Cosine, Linear

pytestmark = pytest.mark.usefixtures("fresh_store")
BOUNDS = {"small": 4.9393, "large": 2.6774, "optimal": 2.5568}


class Marginal(nn.Module):
    """The law that Gaussian data with the most noise really have."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def forward(self, *parents):
        return pyro.distributions.Normal(*self.moments()).to_event(1)

    def moments(self):
        last = self.data.noise.level(1.0)
        sd = (last.alpha**2 * self.data.variance + last.sigma**2).sqrt()
        return last.alpha * self.data.mean, sd


def exact(variance, noise=None, steps=4):
    data = gaussian(Ladder() if noise is None else noise)
    return data, ppl_gen.Diffusion(data, (2,), steps=steps, variance=variance)


@pytest.mark.parametrize("variance", BOUNDS)
def test_every_objective_finds_the_closed_form(variance):
    data, model = exact(variance)
    chain, x = model.chain(), data_of(data, 6_000)
    value = closed_form(data, Ladder(), 4, variance)
    assert value == pytest.approx(BOUNDS[variance], abs=5e-5)
    per_datum = -model.bound(x)
    error = per_datum.std().item() / math.sqrt(len(x))
    assert per_datum.mean().item() == pytest.approx(value, abs=4.5 * error)
    few = -model.bound(x, draws=2)
    assert few.mean().item() == pytest.approx(value, abs=4.5 * few.std().item() / math.sqrt(len(x)))
    torch.manual_seed(1)
    for objective, guide, factor in (
        (ppl_gen.ELBO(), chain.guide, 1),
        (TraceMeanField_ELBO(), chain.guide, 1),
        (Trace_ELBO(), chain.guide, 2),
        (Trace_ELBO(), chain.forward_guide, 2),
        (ppl_gen.ELBO(), chain.forward_guide, 2),
    ):
        found = objective.loss(chain.model, guide, x) / len(x)
        assert found == pytest.approx(value, abs=4.5 * factor * error), objective


def test_with_optimal_variances_and_the_true_start_every_draw_is_the_evidence():
    for noise, steps in ((Ladder(), 4), (Linear(), 3), (Cosine(), 1)):
        data, model = exact("optimal", noise, steps)
        chain, x = model.chain(prior=Marginal(data)), data_of(data, 50)
        evidence = data.marginal(0.0).log_prob(x)
        for seed in range(3):
            torch.manual_seed(seed)
            found = metrics.log_likelihood(chain, x, 1)
            torch.testing.assert_close(found, evidence, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variance", ["large", "optimal"])
def test_importance_samples_of_the_chain_are_its_likelihood(variance):
    data, model = exact(variance)
    chain, x = model.chain(), data_of(data, 40)
    mean, var = torch.zeros(2, 2, dtype=torch.float64)
    var = var + 1
    for step in (*(latent.prior for latent in chain.latents[1:]), chain.decoder):
        ends = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
        law = step(ends)
        at, sd = law if isinstance(law, tuple) else (law.base_dist.loc, law.base_dist.scale)
        slope = at[1] - at[0]
        mean, var = at[0] + slope * mean, slope**2 * var + sd[0] ** 2
    expected = dist.Normal(mean, var.sqrt()).log_prob(x).sum(1)
    found = metrics.log_likelihood(chain, x, 4000)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.15)
    assert metrics.log_likelihood(chain, x, 1).mean() < expected.mean()


def test_the_graph_shows_the_chain_and_answers_questions():
    _, model = exact("small")
    chain, x = model.chain(), torch.zeros(3, 2, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = graphs.from_pyro(chain.model, x)
        forward = graphs.from_pyro(chain.forward_guide, x)
    names = ["x4", "x3", "x2", "x1", "x0"]
    assert list(graph.edges) == list(itertools.pairwise(names))
    assert list(forward.edges) == [("x1", "x2"), ("x2", "x3"), ("x3", "x4")]
    assert not graph.graph["warnings"]
    assert graphs.independent(graph, "x0", "x4", given="x2")
    assert not graphs.independent(graph, "x0", "x4")


def test_stock_mean_field_is_wrong_with_the_forward_guide_and_says_so():
    data, model = exact("small")
    chain, x = model.chain(), data_of(data, 2000)
    with pytest.warns(UserWarning, match="order"):
        found = TraceMeanField_ELBO().loss(chain.model, chain.forward_guide, x) / len(x)
    assert found > 7


@pytest.mark.parametrize("levels", [None, 256])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_network_is_a_chain_of_images_with_labels(levels, num_classes):
    shape, y = (1, 2, 2), torch.arange(6) % 3 if num_classes else None
    torch.manual_seed(0)
    network = ResidualMLP(shape, 16, 1, num_classes, outputs=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    denoiser = Denoiser(network, Cosine(), "velocity", learned_variance=True)
    model = ppl_gen.Diffusion(
        denoiser, shape, steps=60, levels=levels, variance="learned", num_classes=num_classes
    )
    chain, x = model.chain(3), torch.rand(6, *shape)
    many, labels = x.repeat(200, 1, 1, 1), None if y is None else y.repeat(200)
    bounds = model.bound(many, labels, steps=3).reshape(200, 6).mean(1)
    terms = metrics.elbo_terms(chain, x, y, num_samples=200)
    error = bounds.std().item() / math.sqrt(200)
    assert terms.elbo == pytest.approx(bounds.mean().item(), abs=6.5 * error)
    drawn = chain.sample(4, None if y is None else y[:4], seed=0)
    assert drawn.shape == (4, *shape)
    assert {id(p) for p in chain.parameters()} == {id(p) for p in network.parameters()}
    history = ppl_gen.fit(chain, x if y is None else (x, y), epochs=2, staged=False, progress=False)
    assert history.steps == 2


def test_the_bound_of_a_datum_does_not_depend_on_the_others():
    data, model = exact("large")
    x = data_of(data, 6)
    whole = model.bound(x)
    assert torch.equal(whole, model.bound(x))
    torch.testing.assert_close(whole[:2], model.bound(x[:2]))
    torch.testing.assert_close(model.bound(x, draws=3)[:2], model.bound(x[:2], draws=3))
    assert not torch.equal(whole, model.bound(x, seed=1))


@pytest.mark.parametrize(
    ("variance", "lam", "gaps"),
    [
        ("large", 4.0, {10: 0.0646, 40: 0.0155, 200: 0.0031}),
        ("small", 4.0, {10: 1.37, 40: 1.05, 200: 0.65}),
    ],
)
def test_the_gap_of_a_bound_by_the_number_of_steps(variance, lam, gaps):
    noise = Cosine()
    data = Gaussian(noise, torch.zeros(2, dtype=torch.float64), lam)
    entropy = dist.Normal(0.0, math.sqrt(lam)).entropy().item()
    for steps, gap in gaps.items():
        found = closed_form(data, noise, steps, variance) / 2 - entropy
        assert found == pytest.approx(gap, rel=0.02)


def test_the_bound_with_small_variances_stays_half_of_eulers_constant_away():
    # betas of one size, where the noise grows in proportion to time at first
    noise = Linear(first=10.0, last=10.0)
    data = Gaussian(noise, torch.zeros(2, dtype=torch.float64), 4.0)
    entropy = dist.Normal(0.0, 2.0).entropy().item()
    gaps = {
        variance: closed_form(data, noise, 20_000, variance) / 2 - entropy
        for variance in ("small", "large", "optimal")
    }
    assert gaps["small"] == pytest.approx(0.5772156649 / 2, abs=5e-4)
    assert abs(gaps["large"]) < 5e-4
    assert abs(gaps["optimal"]) < 1e-4


def test_noise_that_grows_like_the_square_of_time_stays_further_away():
    """γ + π²/12, where the cosine starts without an offset."""
    noise = Cosine(offset=1e-9)
    data = Gaussian(noise, torch.zeros(1, dtype=torch.float64), 1.0)
    entropy = dist.Normal(0.0, 1.0).entropy().item()
    gap = closed_form(data, noise, 10_000, "small") - entropy
    assert gap == pytest.approx(0.5772156649 + math.pi**2 / 12, abs=2e-3)


def test_probability_flow_likelihoods_of_gaussians_and_grey_levels():
    data, model = exact("large", Cosine(), 100)
    x = data_of(data, 30)
    exact_value = data.marginal(0.0).log_prob(x)
    assert (model.log_likelihood(x, steps=200) - exact_value).abs().mean() < 0.02
    levels = torch.arange(0, 256, 5, dtype=torch.float64)[:, None] / 255
    pixels = Gaussian(Cosine(), torch.zeros(1, dtype=torch.float64), 0.09)
    grey = ppl_gen.Diffusion(pixels, (1,), steps=100, levels=256)
    found = torch.stack([grey.log_likelihood(levels, steps=150, seed=s) for s in range(4)]).mean(0)
    law = dist.Normal(0.0, 0.3)
    masses = law.cdf(2 * levels - 1 + 1 / 255) - law.cdf(2 * levels - 1 - 1 / 255)
    assert (found - masses.log().flatten()).abs().mean() < 0.03
    bits = grey.bits_per_dim(found)
    torch.testing.assert_close(bits, -found / math.log(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m.chain(5), "expected at most 4 steps, got 5"),
        (
            lambda m, x: ppl_gen.Diffusion(gaussian(Cosine()), (2,)).chain(),
            "1 to 50 steps as latents",
        ),
        (lambda m, x: m.chain(prior="normal"), "expected a module of ppl_gen.priors as the prior"),
        (lambda m, x: m.bound(x, steps=0), "expected at least one step"),
        (lambda m, x: m.bound(x, draws=0), "expected at least one draw of a time"),
        (lambda m, x: m.bound(x.float()), r"expected torch\.float64"),
        (lambda m, x: m.bound(x * torch.nan), "without NaN"),
        (lambda m, x: m.log_likelihood(x, steps=1), "expected steps >= 2"),
    ],
)
def test_what_is_refused(call, message):
    _, model = exact("small")
    with pytest.raises(ValueError, match=message):
        call(model, torch.zeros(2, 2, dtype=torch.float64))
