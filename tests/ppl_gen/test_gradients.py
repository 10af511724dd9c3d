"""Comparisons of gradient estimators: what they report, on which problems, and what they refuse."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO

from ppl_gen import gradients, zoo
from ppl_gen.vae import unregistered


@pytest.fixture
def gaussian():
    torch.manual_seed(0)
    vae = zoo.vae((1, 6, 6), latent_dim=3, hidden=[8, 7])
    return vae, torch.rand(9, 1, 6, 6)


def eager_totals(vae, x, draws):
    """Total variance of the encoder gradient over eager steps of stock Pyro."""
    parameters = list(vae.latents[0].encoder.parameters())
    rows = []
    with unregistered():
        for _ in range(draws):
            loss = Trace_ELBO().differentiable_loss(vae.model, vae.guide, x)
            found = torch.autograd.grad(loss, parameters)
            rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows).double()


def test_vectorised_draws_have_the_variance_of_eager_pyro_steps(gaussian):
    vae, x = gaussian
    torch.manual_seed(1)
    eager = eager_totals(vae, x, 1500)
    row = gradients.compare(gradients.gaussian_vae(vae, x), "reparameterized", 4000)[
        "reparameterized"
    ]
    expected = eager.var(0).sum().item()
    assert row.variance == pytest.approx(expected, rel=0.05)
    mean = torch.cat([g.flatten() for g in row.gradient.values()]).double()
    error = (mean - eager.mean(0)).norm().item()
    assert error < 4 * math.hypot(row.stderr, math.sqrt(expected / 1500))
    assert sum(row.by_parameter.values()) == pytest.approx(row.variance)


def test_frame_and_table(gaussian):
    comparison = gradients.compare(gradients.gaussian_vae(*gaussian), draws=50)
    frame = comparison.to_frame()
    assert list(frame.columns) == [
        "estimator",
        "bias",
        "stderr",
        "variance",
        "snr",
        "cost",
        "seconds",
    ]
    assert {"score", "reparameterized"} <= set(frame["estimator"])
    assert "reparameterized" in repr(comparison)
    assert "<table>" in comparison._repr_html_()
