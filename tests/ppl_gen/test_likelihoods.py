"""The constants of the likelihoods, and what they refuse."""

import math

import pyro
import pytest
import torch
from torch.nn.functional import binary_cross_entropy, mse_loss

from ppl_gen.likelihoods import Bernoulli, Gaussian, make

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
    with pytest.raises(ValueError, match=r"one of bernoulli, gaussian.*'poisson'"):
        make("poisson")
    with pytest.raises(ValueError, match="positive scale, got 0"):
        Gaussian(0)
