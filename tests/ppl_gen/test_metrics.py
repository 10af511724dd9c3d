"""Metrics against models whose evidence and posterior are known."""

import math

import linear_gaussian
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ppl_gen import metrics, zoo


def test_the_likelihood_is_exact_where_the_posterior_is():
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(130)
    found = metrics.log_likelihood(model, x, 3)
    torch.testing.assert_close(found, linear_gaussian.log_evidence(model, x))


def test_the_likelihood_approaches_the_evidence_from_below():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(100)
    truth = linear_gaussian.log_evidence(model, x).mean().item()
    elbo = metrics.elbo_terms(model, x, num_samples=100).elbo
    few, many = (metrics.log_likelihood(model, x, k).mean().item() for k in (5, 2000))
    assert elbo < few < many
    assert many == pytest.approx(truth, abs=0.01)


def test_chunks_do_not_change_the_estimate(monkeypatch):
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(50)
    whole = metrics.log_likelihood(model, x, 4000)
    monkeypatch.setattr(metrics.bounds, "_CELLS", 50 * 6 * 7)
    parts = metrics.log_likelihood(model, x, 4000)
    assert not torch.equal(whole, parts)
    torch.testing.assert_close(whole, parts, atol=0.1, rtol=0)


def test_elbo_terms_are_the_closed_forms():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(40)
    found = metrics.elbo_terms(model, x, num_samples=4000)
    q = model.encode(x).base_dist
    kl = kl_divergence(q, Normal(torch.zeros(2).double(), torch.ones(2).double())).sum(1)
    assert found.kl == pytest.approx(kl.mean().item())
    loadings, scale = model.decoder[0].weight, model.likelihood.scale
    at_mean = model.decode(q.loc).log_prob(x)
    spread = (q.scale.square() @ loadings.square().sum(0)) / (2 * scale**2)
    assert found.reconstruction == pytest.approx((at_mean - spread).mean().item(), rel=1e-3)
    assert found.elbo == pytest.approx(found.reconstruction - found.kl)


def test_the_weight_never_touches_the_reported_elbo():
    torch.manual_seed(0)
    heavy = zoo.beta_vae((1, 4, 4), 3, hidden=8, beta=50.0)
    light = zoo.vae((1, 4, 4), 3, hidden=8)
    light.latents.load_state_dict(heavy.latents.state_dict())
    light.decoder.load_state_dict(heavy.decoder.state_dict())
    x = torch.rand(10, 1, 4, 4)
    assert metrics.elbo_terms(heavy, x) == metrics.elbo_terms(light, x)


def test_batches_do_not_change_the_mean():
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(37)
    one = metrics.elbo_terms(model, x, num_samples=2000)
    many = metrics.elbo_terms(model, x, num_samples=2000, batch_size=10)
    assert many.kl == pytest.approx(one.kl)
    assert many.reconstruction == pytest.approx(one.reconstruction, rel=0.01)


def test_active_units_count_the_dimensions_that_vary():
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(200)
    assert metrics.active_units(model, x) == 2
    with torch.no_grad():
        model.latents[0].encoder[1].weight[0] = 0
    assert metrics.active_units(model, x) == 1


def test_the_binarisation_is_named():
    class Digits:
        images = torch.zeros(2, 1, 2, 2)
        binarization = "dynamic"

    assert metrics.binarization(Digits()) == "dynamic binarization"
    assert metrics.binarization(torch.tensor([0.0, 1.0])) == "binary pixels"
    assert metrics.binarization(torch.tensor([0.0, 0.5])) == "grey pixels"


def test_measuring_leaves_mode_and_generators_alone():
    model, x = zoo.vae((1, 4, 4), 2, hidden=8), torch.rand(4, 1, 4, 4)
    state = torch.get_rng_state()
    assert metrics.elbo_terms(model, x) == metrics.elbo_terms(model, x)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())


def test_bad_input():
    model, x = zoo.vae((1, 4, 4), 2, hidden=8), torch.rand(4, 1, 4, 4)
    with pytest.raises(ValueError, match="at least one sample, got 0"):
        metrics.log_likelihood(model, x, 0)
    for count in (2.0, True, "3", None, math.nan):
        with pytest.raises(ValueError, match=f"at least one sample, got {count!r}"):
            metrics.log_likelihood(model, x, count)
        with pytest.raises(ValueError, match=f"at least one sample, got {count!r}"):
            metrics.elbo_terms(model, x, num_samples=count)
        for measure in (metrics.elbo_terms, metrics.rate_distortion):
            with pytest.raises(ValueError, match=f"batch_size >= 1, got {count!r}"):
                measure(model, x, batch_size=count)
    with pytest.raises(ValueError, match=r"shape \(B, 1, 4, 4\)"):
        metrics.elbo_terms(model, x[:, :, :2])
    with pytest.raises(ValueError, match="point posterior at z"):
        metrics.log_likelihood(zoo.autoencoder((1, 4, 4), 2, hidden=8), x, 5)
