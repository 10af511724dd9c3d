"""Batches of some of the data stand for all of them, or are refused."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoNormal, init_to_value
from torch import nn
from torch.distributions import constraints

import ppl_gen
from ppl_gen.objectives import ELBO

pytestmark = pytest.mark.usefixtures("fresh_store")

Y = torch.randn(40, generator=torch.Generator().manual_seed(0)) + 1
X = torch.randn(40, 10, generator=torch.Generator().manual_seed(1))
PRIOR = dist.Normal(0.0, 1.0)


def fit(model, guide, data=Y, *, objective=None, batch_size=10, **options):
    pair = ppl_gen.Pair(model, guide, objective)
    settings = {"epochs": 1, "staged": False, "progress": False} | options
    return ppl_gen.fit(pair, data, batch_size=batch_size, **settings)


def shared(size=None, scale=1.0, prior=PRIOR):
    """A mean of all data, observed in a plate that subsamples them."""

    def model(y):
        b = pyro.sample("b", prior)
        with pyro.plate("data", size or len(y), subsample_size=len(y)), poutine.scale(scale=scale):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y)

    return model


def in_a_loop(y):
    b = pyro.sample("b", PRIOR)
    for i in range(len(y)):
        pyro.sample(f"y_{i}", dist.Normal(b, 1.0), obs=y[i])


def without_a_plate(y):
    b = pyro.sample("b", PRIOR)
    pyro.sample("y", dist.Normal(b, 1.0).expand(y.shape).to_event(1), obs=y)


def features(size):
    """As many coefficients as there are rows in a batch, in a plate of their own."""

    def model(x, y):
        with pyro.plate("features", 10):
            w = pyro.sample("w", PRIOR)
        with pyro.plate("data", size or len(y), subsample_size=len(y)):
            pyro.sample("y", dist.Normal(x @ w, 1.0), obs=y)

    return model


def features_guide(x, y):
    loc = pyro.param("loc", torch.zeros(10))
    scale = pyro.param("scale", torch.ones(10), constraint=constraints.positive)
    with pyro.plate("features", 10):
        pyro.sample("w", dist.Normal(loc, scale))


UNSCALED = {
    "in a plate": (shared(), Y),
    "in a loop": (in_a_loop, Y),
    "without a plate": (without_a_plate, Y),
    "as features": (features(None), (X, Y)),
    "by name": (features(None), {"y": Y, "x": X}),
}


@pytest.mark.parametrize("objective", [None, Trace_ELBO()], ids=["ours", "stock"])
@pytest.mark.parametrize("name", UNSCALED)
@pytest.mark.parametrize("auto", [AutoNormal, AutoDelta])
def test_a_latent_of_all_data_is_not_weighed_against_a_batch(name, auto, objective):
    model, data = UNSCALED[name]
    with pytest.raises(ValueError, match=r"share the latent '[bw]'.*10 data only"):
        fit(model, auto(model), data, objective=objective)
    assert fit(model, auto(model), data, batch_size=40, objective=objective).steps == 1


def test_a_guide_in_a_plate_of_features_is_told_from_one_of_the_data():
    with pytest.raises(ValueError, match=r"share the latent 'w'"):
        fit(features(None), features_guide, (X, Y))
    assert fit(features(40), features_guide, (X, Y)).steps == 4
    assert fit(features(40), AutoNormal(features(40)), (X, Y)).steps == 4


def test_a_plate_of_all_data_has_the_posterior_of_all_data():
    guide = AutoNormal(shared(40))
    for lr in (0.1, 0.01, 0.002):
        fit(shared(40), guide, epochs=60, lr=lr)
    with torch.no_grad():
        sample = torch.stack([guide(Y)["b"] for _ in range(2000)])
    assert abs(sample.mean() - Y.sum() / 41) < 0.03
    assert abs(sample.std() / 41**-0.5 - 1) < 0.15


def test_a_user_may_weigh_in_other_ways():
    assert fit(shared(scale=4.0), AutoNormal(shared(scale=4.0))).steps == 4
    assert fit(shared(), AutoNormal(shared()), objective=ELBO(weight=0.25)).steps == 4
    flat = shared(prior=dist.ImproperUniform(constraints.real, (), ()))
    start = init_to_value(values={"b": torch.tensor(0.0)})
    assert fit(flat, AutoDelta(flat, init_loc_fn=start)).steps == 4


def local(y):
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", PRIOR)
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def local_in_a_loop(y):
    for i in range(len(y)):
        z = pyro.sample(f"z_{i}", PRIOR)
        pyro.sample(f"y_{i}", dist.Normal(z, 1.0), obs=y[i])


def local_without_a_plate(y):
    z = pyro.sample("z", dist.Normal(torch.zeros(len(y)), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=y)


def amortised(network):
    def posterior(y):
        pyro.module("network", network)
        loc, log_scale = network(y[:, None]).unbind(-1)
        return dist.Normal(loc, log_scale.exp())

    def guide(y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", posterior(y))

    def loop(y):
        pyro.module("network", network)
        for i in range(len(y)):
            pyro.sample(f"z_{i}", dist.Normal(*network(y[i : i + 1]).exp().unbind(-1)))

    return guide, loop, lambda y: pyro.sample("z", posterior(y).to_event(1))


def test_amortised_guides_are_fitted_in_batches_however_they_are_written():
    ten_units = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 2))
    for network in nn.Linear(1, 2), ten_units:
        guide, loop, event = amortised(network)
        assert fit(local, guide).steps == 4
        assert fit(local_without_a_plate, event).steps == 4
        assert fit(local_in_a_loop, loop).steps == 4
        pyro.clear_param_store()


def normals_by_place(y):
    with pyro.plate("data", len(y)):
        loc = pyro.param("loc", torch.zeros(len(y)))
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(loc, scale))


def points_by_place(y):
    with pyro.plate("data", len(y)):
        pyro.sample("z", dist.Delta(pyro.param("loc", torch.zeros(len(y)))))


def coins_by_place(y):
    with pyro.plate("data", len(y)):
        pyro.sample("z", dist.Bernoulli(logits=pyro.param("loc", torch.zeros(len(y)))))


def discrete(y):
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def likelihood_by_place(y):
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(pyro.param("loc", torch.zeros(len(y))), 1.0), obs=y)


@pytest.mark.parametrize(
    ("model", "guide"),
    [
        (local, normals_by_place),
        (local, points_by_place),
        (discrete, coins_by_place),
        (likelihood_by_place, lambda y: None),
    ],
)
def test_parameters_of_hand_written_programs_by_place_are_refused(model, guide):
    with pytest.raises(ValueError, match=r"parameter 'loc' has a value for every place.*'data'"):
        fit(model, guide)
    pyro.clear_param_store()
    assert fit(model, guide, batch_size=40).steps == 1


def test_the_check_draws_and_leaves_nothing():
    guide = amortised(nn.Linear(1, 2))[0]
    before = torch.get_rng_state()
    fit(local, guide)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(pyro.get_param_store()) == {"network$$$weight", "network$$$bias"}
