"""The total correlation by a discriminator against exact values, and FactorVAE around it."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

import ppl_gen
from ppl_gen import posteriors, zoo
from ppl_gen.networks import MLP
from ppl_gen.objectives import ELBO
from ppl_gen.objectives.density_ratio import Discriminator, shuffled


def correlated(correlation, n, seed):
    torch.manual_seed(seed)
    return MultivariateNormal(torch.zeros(len(correlation)), correlation).sample((n,))


def test_shuffling_keeps_every_dimension_and_nothing_else():
    z = correlated(torch.tensor([[1.0, 0.9], [0.9, 1.0]]), 4000, 0)
    several = torch.stack([z, 2 * z])
    found = shuffled(several)
    assert torch.equal(found.sort(1).values, several.sort(1).values)
    for row in found:
        assert torch.corrcoef(row.T)[0, 1].abs() < 4 / 4000**0.5
    assert not torch.equal(found[0] * 2, found[1])


@pytest.mark.parametrize(
    "correlation", [[[1.0, 0.8], [0.8, 1.0]], [[1.0, 0.5, 0.2], [0.5, 1.0, -0.4], [0.2, -0.4, 1.0]]]
)
def test_the_estimate_is_the_total_correlation_of_a_gaussian(correlation):
    """TC = −½ log det of the correlation matrix, and ℓ(z) is the log-ratio of the densities."""
    correlation = torch.tensor(correlation)
    z, dim = correlated(correlation, 20_000, 0), len(correlation)
    discriminator = Discriminator(MLP([(dim,)], [64, 64], (1,)), dim)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    for _ in range(12):
        for batch in z[torch.randperm(len(z))].split(500):
            optimizer.zero_grad()
            discriminator.discrimination(batch).mean().backward()
            optimizer.step()
    exact = -0.5 * torch.logdet(correlation).item()
    fresh = correlated(correlation, 20_000, 1)
    with torch.no_grad():
        found = discriminator.total_correlation(fresh)
    assert found.mean().item() == pytest.approx(exact, abs=0.06)
    joint = MultivariateNormal(torch.zeros(dim), correlation).log_prob(fresh)
    ratio = joint - torch.distributions.Normal(0.0, 1.0).log_prob(fresh).sum(-1)
    near = fresh.norm(dim=-1) < 2
    assert (found - ratio)[near].abs().mean() < 0.15


def test_each_player_is_deaf_to_the_other():
    discriminator = Discriminator(nn.Linear(3, 1), 3)
    z = torch.randn(5, 3, requires_grad=True)
    weights = list(discriminator.parameters())
    estimate = discriminator.total_correlation(z).sum()
    assert torch.equal(
        torch.autograd.grad(estimate, z, retain_graph=True)[0],
        discriminator.network.weight.expand(5, 3),
    )
    assert torch.autograd.grad(estimate, weights, allow_unused=True) == (None, None)
    loss = discriminator.discrimination(z).sum()
    slopes = torch.autograd.grad(loss, [z, *weights], allow_unused=True)
    assert slopes[0] is None
    assert slopes[1].abs().sum() > 0


def test_the_loss_is_the_elbo_and_the_losses_of_the_players():
    torch.manual_seed(0)
    model, x = zoo.factor_vae((1, 4, 4), 2, hidden=8, gamma=7.0), torch.rand(6, 1, 4, 4)
    torch.manual_seed(1)
    loss, metrics = model.objective.loss_and_metrics(model.model, model.guide, x)
    torch.manual_seed(1)
    z = model.latents[0].posterior(x).rsample()
    correlation = model.discriminator.total_correlation(z)
    discrimination = model.discriminator.discrimination(z)
    torch.manual_seed(1)
    plain = zoo.vae((1, 4, 4), 2, hidden=8)
    plain.latents, plain.decoder = model.latents, model.decoder
    torch.manual_seed(1)
    elbo = ELBO().differentiable_loss(plain.model, plain.guide, x)
    expected = elbo + 7.0 * correlation.sum() + discrimination.sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert metrics["total_correlation"].item() == pytest.approx(correlation.mean().item(), abs=1e-6)
    assert metrics["discrimination"].item() == pytest.approx(discrimination.mean().item())
    assert metrics["elbo"].item() == pytest.approx(-elbo.item() / 6, rel=1e-5)
    slopes = [
        torch.autograd.grad(value, list(model.latents.parameters()), retain_graph=True)
        for value in (loss, elbo + 7.0 * correlation.sum())
    ]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("staged", [False, True])
def test_a_large_weight_makes_the_codes_less_dependent(staged, uncompiled, monkeypatch):
    """Images of two correlated factors; the total correlation of codes by that of a Gaussian.

    The KL, which asks for independent codes too, has no weight.
    """
    monkeypatch.setattr("ppl_gen.staging.costs.pays", lambda work, steps: True)
    factors = correlated(torch.tensor([[1.0, 0.9], [0.9, 1.0]]), 1000, 0)
    shown = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    x = (factors @ shown).reshape(-1, 1, 4, 4) / 4
    found = {}
    for gamma in (1e-3, 30.0):
        torch.manual_seed(0)
        parts = {"likelihood": ppl_gen.likelihoods.Gaussian(0.3), "objective": ELBO(weight=0.0)}
        model = zoo.factor_vae((1, 4, 4), 2, hidden=(), gamma=gamma, **parts)
        encoder, decoder = model.latents[0].encoder.layers[0], model.decoder.layers[0]
        with torch.no_grad():  # codes that start as the factors
            encoder.weight[:2] = torch.linalg.pinv(shown).T * 4
            encoder.bias[2:] = -2.0
            decoder.weight.copy_(shown.T / 4)
            decoder.bias.zero_()
        if staged:
            with pytest.warns(UserWarning, match="none is wanted"):
                fitted(model, x, staged)
        else:
            fitted(model, x, staged)
        z = model.encode(x).sample()
        found[gamma] = -0.5 * math.log(1 - torch.corrcoef(z.T)[0, 1].item() ** 2)
    assert found[30.0] < 0.3 * found[1e-3]


def fitted(model, x, staged):
    options = {"batch_size": 100, "lr": 3e-3, "progress": False}
    ppl_gen.fit(model, x, epochs=15, staged=staged and "auto", **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"gamma": 0.0}, "gamma above zero, got 0"),
        ({"posterior": posteriors.Point()}, "posterior with a density, got Delta"),
        ({"posterior": posteriors.Bernoulli()}, "reparameterised posterior .*, got Bernoulli"),
        ({"discriminator": 3}, "Module or None for discriminator, got 3"),
        ({"discriminator": nn.Linear(3, 1)}, r"a discriminator from \(2, 10\) to \(2, 1\)"),
        ({"discriminator": nn.Linear(10, 2)}, r"from \(2, 10\) to \(2, 1\), got \(2, 2\)"),
    ],
)
def test_parts_of_another_kind_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        zoo.factor_vae((1, 4, 4), hidden=8, **options)
