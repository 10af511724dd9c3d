"""Models and guides of other latents are refused, and the rest is as Pyro has it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import Trace_ELBO

import ppl_gen
from ppl_gen.objectives import ELBO, IWAE

pytestmark = pytest.mark.usefixtures("fresh_store")
Y = torch.tensor([-1.0, 0.3, 0.8, 2.0])
X = torch.linspace(-2, 2, 12)
SIZES = st.sampled_from([1, 2, 4])


def table_model(sizes, dims):
    def model():
        with pyro.plate("a", sizes[0], dim=dims[0]), pyro.plate("b", sizes[1], dim=dims[1]):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(()))

    return model


def table_guide(sizes, dims):
    def guide():
        with pyro.plate("d", sizes[1], dim=dims[1]), pyro.plate("c", sizes[0], dim=dims[0]):
            pyro.sample("z", dist.Normal(0.3, 0.5))

    return guide


@given(st.tuples(SIZES, SIZES), st.tuples(SIZES, SIZES), st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_shapes_of_a_latent_agree_or_are_refused(sizes, others, swapped):
    """Pyro says so while it validates; nobody else does."""
    model = table_model(sizes, (-2, -1))
    guide = table_guide(others, (-1, -2) if swapped else (-2, -1))
    own = others[::-1] if swapped else others
    objective = ELBO(kl="sampled", max_plate_nesting=2)
    with pyro.validation_enabled(False):
        if own != sizes:
            with pytest.raises(ValueError, match=r"(Shape mismatch|'z' to have the same shape)"):
                objective.loss(model, guide)
            return
        torch.manual_seed(0)
        loss = objective.loss(model, guide)
        torch.manual_seed(0)
        stock = Trace_ELBO(max_plate_nesting=2).loss(model, guide)
    assert abs(loss - stock) < 1e-3


def test_one_draw_does_not_stand_for_several_latents():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.3)), 1.0))

    with pytest.raises(ValueError, match=r"same shape in guide and model, got \(\) and \(4,\)"):
        ppl_gen.fit(ppl_gen.Pair(model, guide), (Y,), epochs=1, batch_size=4, progress=False)


def subsampled(size, count, seen=None):
    """A model and a guide of some of ``size`` latents, each with its own location."""

    def plate():
        given = {"subsample_size": count} if seen is None else {"subsample": seen}
        return pyro.plate("data", size, **(given if count else {}))

    def model(x):
        with plate() as index:
            z = pyro.sample("z", dist.Normal(x[index], 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=x[index])

    def guide(x):
        locs = pyro.param("locs", torch.linspace(1, -1, size))
        with plate() as index:
            pyro.sample("z", dist.Normal(locs[index], 0.5))

    return model, guide


SUBSAMPLES = ((12, 4), (12, 4, torch.arange(4)), (12, 4, torch.arange(4, 8)), (12, None))


@pytest.mark.parametrize("model", SUBSAMPLES, ids=str)
@pytest.mark.parametrize("guide", SUBSAMPLES, ids=str)
def test_model_and_guide_see_the_same_subsample_or_none(model, guide):
    """The guide's, in Pyro; one that cannot be the model's is an error there."""
    model, guide = subsampled(*model)[0], subsampled(*guide)[1]
    for objective in (ELBO(kl="sampled"), ELBO(), IWAE(num_particles=2)):
        torch.manual_seed(0)
        try:
            stock = Trace_ELBO().loss(model, guide, X)
        except ValueError:
            with pytest.raises(ValueError, match="subsample"):
                objective.loss(model, guide, X)
            continue
        torch.manual_seed(0)
        loss = objective.loss(model, guide, X)
        if objective.num_particles == 1 and objective.kl == "sampled":
            assert abs(loss - stock) < 1e-3


def test_plates_of_one_name_and_two_sizes_are_refused():
    model, guide = subsampled(12, 4)[0], subsampled(4, None)[1]
    seen = torch.arange(4)
    with pytest.raises(ValueError, match=r"'data' around 'z' .* got 4 and 12"):
        ELBO().loss(subsampled(12, 4, seen)[0], guide, X)
    scaled = poutine.scale(guide, scale=3.0)
    torch.manual_seed(0)
    loss = ELBO(kl="sampled").loss(model, scaled, X)
    torch.manual_seed(0)
    assert abs(loss - Trace_ELBO().loss(model, scaled, X)) < 1e-3
