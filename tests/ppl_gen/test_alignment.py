"""What model and guide must share is checked, with Pyro's validation on or off."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import AutoDelta, AutoNormal

import ppl_gen
from ppl_gen.objectives import ELBO, IWAE

pytestmark = pytest.mark.usefixtures("fresh_store")
Y = torch.tensor([-1.0, 0.5, 1.0, 2.0])
X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
OBJECTIVES = pytest.mark.parametrize(
    "objective",
    [None, ELBO(kl="sampled"), IWAE(2, vectorize_particles=False), Trace_ELBO(), TraceGraph_ELBO()],
)


def fit(model, guide, data, objective=None):
    pair = ppl_gen.Pair(model, guide, objective)
    return ppl_gen.fit(pair, data, epochs=1, staged=False, progress=False)["loss"]


def local(y):
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def guide_of(*shape, plate=None):
    def guide(y):
        q = dist.Normal(pyro.param("loc", torch.zeros(shape)), 1.0)
        if plate is None:
            pyro.sample("z", q)
        else:
            with pyro.plate("data", *plate[:1], dim=plate[1]):
                pyro.sample("z", q)

    return guide


@OBJECTIVES
@pytest.mark.parametrize("guide", [guide_of(), guide_of(4, 1, plate=(4, -2))])
def test_one_draw_does_not_stand_for_many_latents(guide, objective):
    with pytest.raises(ValueError, match=r"'z' to have the same shape in guide and model"):
        fit(local, guide, Y, objective)


@OBJECTIVES
def test_a_plate_has_as_many_values_as_places(objective):
    with pytest.raises(ValueError, match=r"plate 'data'.* got (1 and )?4"):
        fit(local, guide_of(1, plate=(1, -1)), Y, objective)


@pytest.mark.parametrize("objective", [None, ELBO(kl="sampled"), Trace_ELBO()])
def test_a_guide_may_leave_out_the_plate_where_the_shapes_agree(objective):
    loss = fit(local, guide_of(4), Y, objective)
    pyro.clear_param_store()
    assert loss == fit(local, guide_of(4, plate=(4, -1)), Y, objective)


def regression(kind):
    def model(x, y):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        means = dist.Normal(x @ w, 1.0)
        if kind == "plate":
            with pyro.plate("data", len(x)):
                pyro.sample("y", means, obs=y)
        else:
            pyro.sample("y", means.to_event(1) if kind == "event" else means, obs=y)

    return model


@OBJECTIVES
@pytest.mark.parametrize("kind", ["plate", "event", "neither"])
def test_observations_in_a_column_are_not_compared_with_every_mean(kind, objective):
    model = regression(kind)
    with pytest.raises(ValueError, match=r"value of 'y' of shape \(4,\).*got \(4, 1\)"):
        fit(model, AutoNormal(model), (X, Y[:, None]), objective)
    assert len(fit(model, AutoNormal(model), (X, Y), objective)) == 1


def test_particles_of_a_global_latent_are_no_column():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(b, 1.0), obs=y)

    found = fit(model, AutoNormal(model), Y, ELBO(num_particles=3, vectorize_particles=True))
    assert len(found) == 1


def mixture(y):
    locs = pyro.sample("locs", dist.Normal(torch.zeros(2), 5.0).to_event(1))
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Categorical(torch.ones(2)))
        pyro.sample("y", dist.Normal(locs[z], 1.0), obs=y)


def point_guide(model):
    return AutoDelta(poutine.block(model, expose=["locs"]))


@pytest.mark.parametrize("objective", [None, Trace_ELBO(), TraceMeanField_ELBO()])
@pytest.mark.parametrize("model", [mixture, config_enumerate(mixture)])
def test_latents_that_nothing_sums_out_are_refused(model, objective):
    with pytest.raises(ValueError, match=r"'z'"):
        fit(model, point_guide(model), Y, objective)


def test_an_enumerating_objective_wants_the_sites_marked():
    with pytest.raises(ValueError, match=r"lacks 'z': config_enumerate\(model\)"):
        fit(mixture, point_guide(mixture), Y, TraceEnum_ELBO(max_plate_nesting=1))
    marked = config_enumerate(mixture)
    assert len(fit(marked, point_guide(marked), Y, TraceEnum_ELBO(max_plate_nesting=1))) == 1


def test_an_objective_without_scores_is_given_no_discrete_guide():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Bernoulli(0.5))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Bernoulli(logits=pyro.param("logits", torch.zeros(4))))

    with pytest.raises(ValueError, match=r"reparameterised sampler of 'z' for TraceMeanField"):
        fit(model, guide, Y, TraceMeanField_ELBO())
    assert len(fit(model, guide, Y, Trace_ELBO())) == 1


def test_a_site_of_the_guide_alone_is_refused_under_any_objective():
    def guide(y):
        guide_of(4, plate=(4, -1))(y)
        pyro.sample("other", dist.Normal(0.0, 1.0))

    for objective in (None, Trace_ELBO()):
        with pytest.raises(ValueError, match=r"guide's site 'other' in the model"):
            fit(local, guide, Y, objective)
