"""Latents of single data that a guide knows by position keep their data."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal, AutoNormalMessenger

import ppl_gen

pytestmark = pytest.mark.usefixtures("fresh_store")

X = torch.tensor([-4.0, -2.0, 0.0, 3.0, 6.0])


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def fit(guide, batch_size):
    pair = ppl_gen.Pair(model, guide)
    options = {"staged": False, "progress": False}
    return ppl_gen.fit(pair, X, epochs=400, batch_size=batch_size, lr=0.05, **options)


@pytest.mark.parametrize("make", [AutoNormal, AutoDiagonalNormal, AutoNormalMessenger])
def test_one_batch_of_all_data_keeps_every_latent_with_its_datum(make):
    guide = make(model)
    fit(guide, len(X))
    torch.testing.assert_close(guide.median(X)["z"].detach(), X / 2, atol=0.25, rtol=0.0)


@pytest.mark.parametrize("make", [AutoNormal, AutoDiagonalNormal, AutoNormalMessenger])
def test_parameters_by_place_are_refused_in_smaller_batches(make):
    with pytest.raises(ValueError, match=r"all data in one batch.*'z'.*plate 'data'"):
        fit(make(model), 2)


def test_global_latents_may_be_fitted_in_batches():
    def shared(x):
        mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
        with pyro.plate("data", 5, subsample=torch.arange(len(x))):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    pair = ppl_gen.Pair(shared, AutoNormal(shared))
    history = ppl_gen.fit(pair, X, epochs=2, batch_size=2, staged=False, progress=False)
    assert history.steps == 6
