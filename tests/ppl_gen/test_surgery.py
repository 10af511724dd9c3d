"""Rate, distortion and the parts of the rate, where the aggregate posterior is known."""

import math

import linear_gaussian
import pytest
import torch

from ppl_gen import metrics, zoo


def test_it_agrees_with_the_elbo_and_active_units():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(200)
    found = metrics.rate_distortion(model, x, batch_size=70)
    elbo = metrics.elbo_terms(model, x, num_samples=300)
    assert found.rate == pytest.approx(elbo.kl)
    assert found.distortion == pytest.approx(-elbo.reconstruction, rel=0.02)
    assert found.mutual_information + found.marginal_kl == pytest.approx(found.rate)
    assert found.active_units == metrics.active_units(model, x)
    assert found == metrics.rate_distortion(model, x, batch_size=70)
    assert "nats per image" in str(found)


def test_the_aggregate_of_the_exact_posterior_over_the_models_own_data_is_the_prior():
    model = linear_gaussian.build(exact=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        z = torch.randn(4000, 2, dtype=torch.float64)
        x = model.decode(z).sample()
    found = metrics.rate_distortion(model, x)
    scale = model.encode(x).base_dist.scale[0]
    # each of log q(z|x) and log q(z) varies by half a nat squared per dimension
    error = 4 * (2 / 4000) ** 0.5
    assert found.mutual_information == pytest.approx(-scale.log().sum().item(), abs=error)
    assert found.marginal_kl == pytest.approx(0, abs=error)


def test_distinct_points_carry_log_n_and_a_collapsed_code_nothing():
    model = zoo.vae((1, 2, 2), 2, hidden=())
    x = torch.arange(8).float().reshape(8, 1, 1, 1).expand(8, 1, 2, 2) / 8
    linear = model.latents[0].encoder.layers[0]
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([0.0, 0.0, -9.0, 0.5414]))
    collapsed = metrics.rate_distortion(model, x)
    assert collapsed.mutual_information == pytest.approx(0, abs=1e-5)
    assert collapsed.active_units == 0
    with torch.no_grad():
        linear.weight[0] = 5
    spread = metrics.rate_distortion(model, x)
    assert spread.mutual_information == pytest.approx(math.log(8), abs=1e-3)
    assert spread.active_units == 1


def test_conditional_and_discrete_models():
    x = torch.rand(10, 1, 4, 4)
    conditional = zoo.conditional_vae((1, 4, 4), 2, hidden=8, num_classes=3)
    assert metrics.rate_distortion(conditional, x, torch.arange(10) % 3).rate > 0
    for build in (zoo.gumbel_vae, zoo.bernoulli_vae):
        found = metrics.rate_distortion(build((1, 4, 4), 3, hidden=8), x)
        assert found.mutual_information <= math.log(10)
        assert 0 < found.rate < 3 * math.log(10)


def test_bad_input():
    x = torch.rand(4, 1, 4, 4)
    with pytest.raises(ValueError, match=r"posterior with a density.*Delta"):
        metrics.rate_distortion(zoo.autoencoder((1, 4, 4), 2, hidden=8), x)
    with pytest.raises(ValueError, match="one latent, got z2, z1"):
        metrics.rate_distortion(zoo.hierarchical_vae((1, 4, 4), 2, hidden=8), x)
    with pytest.raises(ValueError, match="expected 4 labels"):
        metrics.rate_distortion(zoo.conditional_vae((1, 4, 4), 2, hidden=8), x)
