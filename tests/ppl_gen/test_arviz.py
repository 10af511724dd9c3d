"""The groups for ArviZ hold what the programs say, checked where there are closed forms."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro.distributions import Normal

import ppl_gen
from ppl_gen.arviz import groups, inference_data

X = torch.tensor([1.0, 2.0, 4.0])
DRAWS = 400


def model(x, noise=0.5):
    mean = pyro.sample("mean", Normal(1.0, 2.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", Normal(mean, noise), obs=x)


def guide(x, noise=0.5):
    pyro.sample("mean", Normal(2.0, 0.3))


@pytest.fixture(scope="module")
def found():
    return groups(ppl_gen.Pair(model, guide), X, draws=DRAWS, kwargs={"noise": 0.5})


def test_every_group_has_its_axes(found):
    assert {name: {k: v.shape for k, v in group.items()} for name, group in found.items()} == {
        "posterior": {"mean": (1, DRAWS)},
        "posterior_predictive": {"x": (1, DRAWS, 3)},
        "log_likelihood": {"x": (1, DRAWS, 3)},
        "prior": {"mean": (1, DRAWS)},
        "prior_predictive": {"x": (1, DRAWS, 3)},
        "observed_data": {"x": (3,)},
    }
    assert np.array_equal(found["observed_data"]["x"], X.numpy())


def test_what_is_computed_of_latents_is_no_datum():
    def computing(x):
        mean = pyro.sample("mean", Normal(1.0, 2.0))
        twice = pyro.deterministic("twice", 2 * mean)
        with pyro.plate("data", len(x)):
            pyro.deterministic("shifted", twice + x)
            pyro.sample("x", Normal(twice / 2, 0.5), obs=x)

    found = groups(ppl_gen.Pair(computing, guide), X, draws=5)
    for group in ("posterior", "prior"):
        assert found[group].keys() == {"mean", "twice", "shifted"}
        mean = found[group]["mean"]
        assert np.array_equal(found[group]["twice"], 2 * mean)
        assert found[group]["shifted"] == pytest.approx(2 * mean[..., None] + X.numpy())
    for group in ("posterior_predictive", "log_likelihood", "prior_predictive", "observed_data"):
        assert found[group].keys() == {"x"}
    with pytest.raises(ValueError, match="expected a model that observes data"):
        groups(ppl_gen.Pair(lambda x: pyro.deterministic("a", x), lambda x: None), X, draws=1)


def test_log_likelihoods_are_those_of_the_draws(found):
    mean = found["posterior"]["mean"][..., None]
    expected = -0.5 * ((X.numpy() - mean) / 0.5) ** 2 - math.log(0.5 * math.sqrt(2 * math.pi))
    assert found["log_likelihood"]["x"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("group", "site", "mean", "sd"),
    [
        ("posterior", "mean", 2.0, 0.3),
        ("posterior_predictive", "x", 2.0, math.hypot(0.3, 0.5)),
        ("prior", "mean", 1.0, 2.0),
        ("prior_predictive", "x", 1.0, math.hypot(2.0, 0.5)),
    ],
)
def test_draws_have_their_moments(found, group, site, mean, sd):
    values = found[group][site]
    assert abs(values.mean() - mean) < 4.5 * sd / math.sqrt(DRAWS)
    assert values.std() == pytest.approx(sd, rel=5 / math.sqrt(2 * DRAWS))
    spread = (values - found["posterior"]["mean"][..., None]).std() if "dictive" in group else 0.5
    if group == "posterior_predictive":
        assert spread == pytest.approx(0.5, rel=0.1)


def test_a_vae_is_a_pair_and_a_seed_is_a_result():
    vae, x = ppl_gen.zoo.vae((4,), 2, hidden=4).train(), torch.rand(3, 4)
    first, again = (groups(vae, x, draws=2, seed=1) for _ in range(2))
    assert first["posterior"]["z"].shape == (1, 2, 3, 2)
    assert first["log_likelihood"]["x"].shape == (1, 2, 3)
    assert np.array_equal(first["posterior_predictive"]["x"], again["posterior_predictive"]["x"])
    assert vae.training
    assert not pyro.get_param_store().keys()


@pytest.mark.parametrize(
    ("make", "options", "match"),
    [
        (lambda: torch.nn.Linear(1, 1), {}, "expected a ppl_gen.Pair or a model with a guide"),
        (lambda: ppl_gen.Pair(model, guide), {"draws": 0}, "expected draws >= 1, got 0"),
        (lambda: ppl_gen.Pair(model, lambda x: None), {"draws": 1}, "a guide that draws 'mean'"),
        (
            lambda: ppl_gen.Pair(lambda x: pyro.sample("z", Normal(0.0, 1.0)), lambda x: None),
            {"draws": 1},
            "expected a guide that draws 'z'",
        ),
    ],
)
def test_what_says_nothing_about_data_is_refused(make, options, match):
    with pytest.raises(ValueError, match=match):
        groups(make(), X, **options)


# That a few data weigh much in a model with a global mean is arviz's to say, not the groups'.
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_arviz_reads_them():
    arviz = pytest.importorskip("arviz")
    data = inference_data(ppl_gen.Pair(model, guide), X, draws=20)
    assert set(data.posterior["mean"].dims) == {"chain", "draw"}
    assert np.isfinite(arviz.loo(data).elpd_loo)


def test_the_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match="expected the package arviz, got none"):
        inference_data(ppl_gen.Pair(model, guide), X, draws=1)
