"""Priors are the densities they say."""

import pytest
import torch
from torch.distributions import Normal

from ppl_gen import zoo
from ppl_gen.priors import StandardNormal, VampPrior


def images(n, seed=0):
    return torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


def vamp(pseudo_inputs):
    torch.manual_seed(0)
    return zoo.vamp_vae((1, 2, 2), 2, hidden=8, pseudo_inputs=pseudo_inputs)


def test_the_standard_normal():
    z = torch.randn(5, 3)
    expected = Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(StandardNormal(3)().log_prob(z), expected)
    with pytest.raises(ValueError, match="at least one dimension, got 0"):
        StandardNormal(0)


def test_one_pseudo_input_is_one_posterior():
    u, z = images(1), torch.randn(7, 2)
    model = vamp(u)
    prior = model.latents[0].prior()
    torch.testing.assert_close(prior.log_prob(z), model.encode(u).log_prob(z))


def test_all_training_images_give_the_aggregate_posterior_in_any_order():
    x, z = images(6), torch.randn(7, 2)
    for order in (torch.arange(6), torch.randperm(6, generator=torch.Generator().manual_seed(1))):
        model = vamp(x[order])
        q = model.encode(x)
        aggregate = q.log_prob(z.unsqueeze(1)).exp().mean(1).log()
        torch.testing.assert_close(model.latents[0].prior().log_prob(z), aggregate)


def test_sampling_picks_components_uniformly():
    x = images(4)
    model = vamp(x)
    with torch.no_grad():
        last = model.latents[0].encoder.layers[-1]
        last.weight[2:], last.bias[2:] = 0.0, -20.0
        last.weight[:2] *= 50
        draws = model.latents[0].prior().expand((4000,)).sample()
        nearest = torch.cdist(draws, model.encode(x).mean).argmin(1)
    counts = torch.bincount(nearest, minlength=4).double()
    chi2 = ((counts - 1000) ** 2 / 1000).sum().item()
    assert chi2 < 16.3  # the 99.9 % quantile with 3 degrees of freedom


def test_the_encoder_learns_through_the_prior():
    model = vamp(images(3))
    loss = -model.latents[0].prior().log_prob(torch.randn(5, 2)).sum()
    loss.backward()
    assert all(p.grad.abs().max() > 0 for p in model.latents[0].encoder.parameters())
    assert model.latents[0].prior.raw_inputs.grad.abs().max() > 0


def test_bad_pseudo_inputs():
    model = zoo.vae((1, 2, 2), 2, hidden=8)
    parts = model.latents[0].encoder, model.latents[0].family
    with pytest.raises(
        ValueError, match=r"\(K, C, H, W\) with K of at least one, got \(0, 1, 2, 2"
    ):
        VampPrior(*parts, torch.zeros(0, 1, 2, 2))
    with pytest.raises(ValueError, match=r"in \[0, 1\], got some outside"):
        VampPrior(*parts, torch.full((3, 1, 2, 2), torch.nan))
    edge = VampPrior(*parts, torch.zeros(3, 1, 2, 2))
    torch.testing.assert_close(edge.pseudo_inputs, torch.full((3, 1, 2, 2), 0.01))
    free = VampPrior(*parts, torch.zeros(3, 1, 2, 2), (-float("inf"), float("inf")))
    assert torch.equal(free.pseudo_inputs, torch.zeros(3, 1, 2, 2))


def test_a_pixel_crosses_its_interval_in_as_many_steps_as_a_training_has():
    prior = vamp(torch.full((3, 1, 2, 2), 0.5)).latents[0].prior
    optimiser = torch.optim.Adam([prior.raw_inputs], lr=1e-3)
    for _ in range(500):
        optimiser.zero_grad()
        prior.pseudo_inputs.sum().backward()
        optimiser.step()
    assert prior.pseudo_inputs.max() < 0.1
