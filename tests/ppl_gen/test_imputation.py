"""Missing cells drawn given the known ones, against the exact conditionals of normal models."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import impute, zoo
from ppl_gen.data import table
from ppl_gen.likelihoods import Gaussian, Masked

pytestmark = pytest.mark.usefixtures("fresh_store")


def linear(seed, show_mask=True, noise=0.6, dims=5):
    """x = W z + b + noise e, with an encoder that is only about as wide as the prior."""
    generator = torch.Generator().manual_seed(seed)
    vae = zoo.vae(
        (dims,),
        2,
        encoder=nn.Linear(dims * (1 + show_mask), 4),
        decoder=nn.Linear(2, dims),
        likelihood=Masked(Gaussian(noise), show_mask),
    ).double()
    encoder = vae.latents[0].encoder.network
    with torch.no_grad():
        encoder.weight.mul_(0.1)
        encoder.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))
        vae.decoder.weight.copy_(torch.randn(dims, 2, generator=generator))
        vae.decoder.bias.copy_(torch.randn(dims, generator=generator))
    return vae


def rows_of(vae, n, seed):
    torch.manual_seed(seed)
    x = vae.sample(n, seed=seed) + 0.6 * torch.randn(n, 5, dtype=torch.float64)
    x[torch.rand_like(x) < 0.5] = math.nan
    x[0] = math.nan  # nothing known: the marginal
    return x


def exact(vae, row):
    """Mean and covariance of the missing cells of a row given the known ones."""
    weight, bias = vae.decoder.weight.detach(), vae.decoder.bias.detach()
    noise = vae.likelihood.complete.scale.detach() ** 2
    covariance = weight @ weight.T + noise * torch.eye(len(row), dtype=torch.float64)
    gone = row.isnan()
    gain = covariance[gone][:, ~gone] @ torch.linalg.inv(covariance[~gone][:, ~gone])
    mean = bias[gone] + gain @ (row[~gone] - bias[~gone])
    return mean, covariance[gone][:, gone] - gain @ covariance[~gone][:, gone]


@pytest.mark.parametrize("seed", range(4))
def test_draws_have_the_exact_conditional_mean_and_covariance(seed):
    vae = linear(seed, show_mask=seed % 2 == 0)
    x = rows_of(vae, 8, seed)
    drawn = impute(vae, x, draws=20_000, importance=20_000, seed=seed)
    assert drawn.shape == (20_000, 8, 5)
    for row, found in zip(x, drawn.unbind(1), strict=True):
        gone = row.isnan()
        assert (found[:, ~gone] == row[~gone]).all()
        if not gone.any():
            continue
        mean, covariance = exact(vae, row)
        deviation = covariance.diagonal().sqrt()
        assert ((found[:, gone].mean(0) - mean).abs() / deviation).max() < 0.1
        scaled = found[:, gone].T.cov().reshape(covariance.shape) / torch.outer(*[deviation] * 2)
        torch.testing.assert_close(
            scaled, covariance / torch.outer(*[deviation] * 2), atol=0.12, rtol=0
        )


def test_it_is_the_weights_that_make_the_draws_right():
    vae = linear(0)
    x = torch.tensor([[3.0, math.nan, -2.0, 4.0, 1.0]], dtype=torch.float64)
    (mean,), (variance,) = exact(vae, x[0])
    errors = [
        abs(impute(vae, x.repeat(500, 1), draws=1, importance=k)[0, :, 1].mean() - mean)
        for k in (1, 1000)
    ]
    assert errors[0] > 0.3 * variance.sqrt()[0]
    assert errors[1] < 0.2 * variance.sqrt()[0]


def test_draws_are_of_the_seed_and_leave_all_else_alone():
    vae = linear(1)
    x = rows_of(vae, 6, 0)
    before = torch.random.get_rng_state()
    first, again = (impute(vae, x, 3, seed=4) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(first, impute(vae, x, 3, seed=5))
    assert vae.training


def test_memory_is_bounded_and_changes_no_law(monkeypatch):
    vae = linear(2)
    x = rows_of(vae, 4, 1)
    monkeypatch.setattr("ppl_gen.evaluation.imputation._CELLS", 400)
    drawn = impute(vae, x, 3000, importance=3000)
    mean, covariance = exact(vae, x[1])
    error = drawn[:, 1, x[1].isnan()].mean(0) - mean
    assert (error.abs() / covariance.diagonal().sqrt()).max() < 0.25


@pytest.mark.parametrize("name", ["vae", "hierarchical_vae", "vamp_vae", "bernoulli_vae"])
def test_models_complete_tables_in_their_categories(name):
    frame = pd.DataFrame(
        {"a": [0.5, None, 2.5, 3.0], "b": ["x", "y", None, "x"], "c": [True, None, False, True]}
    )
    cells = table(frame)
    vae = getattr(zoo, name)((3,), likelihood=cells.kinds, hidden=8)
    drawn = impute(vae, cells, draws=5, importance=10)
    assert not drawn.isnan().any()
    for one in drawn:
        back = cells.to_frame(one)
        assert not back.isna().any().any()
        assert back["b"].tolist()[:2] == ["x", "y"]
        assert back["b"][2] in ("x", "y")


def test_conditions_reach_the_draws():
    torch.manual_seed(0)
    vae = zoo.vae((2,), 1, hidden=4, likelihood="gaussian", num_classes=2)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.mul_(2)  # so that labels matter
    x = torch.full((400, 2), math.nan)
    y = torch.arange(400) % 2
    drawn = impute(vae, x, 20, labels=y, importance=20)
    means = [vae.sample(4000, torch.full((4000,), k), seed=1).mean(0) for k in (0, 1)]
    assert (means[0] - means[1]).abs().max() > 0.5
    for label, expected in enumerate(means):
        found = drawn[:, y == label].flatten(0, 1).mean(0)
        torch.testing.assert_close(found, expected, atol=0.1, rtol=0)
    with pytest.raises(ValueError, match="labels"):
        impute(vae, x)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"draws": 0}, "at least one draw"),
        ({"importance": 0}, "at least one proposal"),
        ({"data": torch.zeros(2, 3).double()}, "shape"),
    ],
)
def test_what_cannot_be_imputed_is_refused(arguments, match):
    vae = linear(0)
    with pytest.raises(ValueError, match=match):
        impute(vae, **{"data": torch.zeros(2, 5).double(), **arguments})


def test_models_without_missing_values_or_densities_are_refused():
    vae = zoo.vae((2,), 1, hidden=4, likelihood=Gaussian(1.0))
    with pytest.raises(ValueError, match="likelihood that takes missing values"):
        ppl_gen.impute(vae, torch.zeros(1, 2))
    point = zoo.autoencoder((2,), 1, hidden=4, likelihood="gaussian")
    with pytest.raises(ValueError, match="point posterior"):
        ppl_gen.impute(point, torch.tensor([[0.0, math.nan]]))
