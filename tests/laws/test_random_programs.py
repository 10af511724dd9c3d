"""Objectives on programs put together at random: what stock Pyro says of the same draws."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch.distributions import constraints
from torch.testing import assert_close

from ppl_gen.objectives import ELBO
from ppl_gen.objectives.terms import SetLatents

pytestmark = pytest.mark.filterwarnings("ignore:particles are drawn one after the other")
PIECES = st.fixed_dictionaries(
    {
        "data": st.integers(1, 4),
        "words": st.integers(1, 3),
        "features": st.integers(1, 4),
        "ratio": st.integers(1, 2),
        "global": st.booleans(),
        "in_features": st.booleans(),
        "local": st.booleans(),
        "in_words": st.booleans(),
        "reversed": st.booleans(),
        "heavy": st.booleans(),
        "model_mask": st.booleans(),
        "guide_mask": st.booleans(),
        "model_scale": st.sampled_from([None, 0.3]),
        "guide_scale": st.sampled_from([None, 0.3, 2.0]),
        "observed_scale": st.sampled_from([None, 5.0]),
        "factor": st.booleans(),
    }
)


def around(p, part):
    """The handlers around the local latents of a part of the programs."""
    mask = torch.arange(p["data"]) % 2 == 0
    return (
        poutine.mask(mask=mask) if p[f"{part}_mask"] else nullcontext(),
        poutine.scale(scale=p[f"{part}_scale"]) if p[f"{part}_scale"] else nullcontext(),
    )


def plates(p):
    size = p["data"] * p["ratio"]
    data = pyro.plate("data", size, subsample=torch.arange(p["data"]), dim=-1)
    return data, pyro.plate("words", p["words"], dim=-2)


def random_model(p, y):
    mean = torch.tensor(0.0)
    if p["global"]:
        mean = pyro.sample("b", dist.Normal(0.0, 1.0))
    if p["in_features"]:
        with pyro.plate("features", p["features"], dim=-1):
            mean = mean + pyro.sample("w", dist.Normal(0.0, 1.0)).sum(-1, keepdim=True)
    data, words = plates(p)
    with data:
        mask, scale = around(p, "model")
        if p["local"]:
            with mask, scale:
                mean = mean + pyro.sample("z", dist.Normal(mean, 1.0))
        if p["factor"]:
            pyro.factor("penalty", -mean.abs() * torch.ones(p["data"]))
        with words:
            if p["in_words"]:
                mean = mean + pyro.sample("u", dist.Laplace(mean, 1.0))
            with poutine.scale(scale=p["observed_scale"] or 1.0):
                pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def random_guide(p, y):
    def draw(name, *shape):
        loc = pyro.param(f"{name}_loc", torch.full(shape, 0.3))
        sd = pyro.param(f"{name}_sd", torch.full(shape, 0.7), constraint=constraints.positive)
        pyro.sample(name, dist.StudentT(5.0, loc, sd) if p["heavy"] else dist.Normal(loc, sd))

    def outside():
        if p["global"]:
            draw("b")
        if p["in_features"]:
            with pyro.plate("features", p["features"], dim=-1):
                draw("w", p["features"])

    def inside():
        data, words = plates(p)
        with data:
            mask, scale = around(p, "guide")
            if p["local"]:
                with mask, scale:
                    draw("z", p["data"])
            with words:
                if p["in_words"]:
                    draw("u", p["words"], p["data"])

    for part in (inside, outside) if p["reversed"] else (outside, inside):
        part()


def loss_and_gradient(loss):
    leaves = [value for _, value in pyro.get_param_store().named_parameters()]
    if not loss.requires_grad:
        return [loss, *map(torch.zeros_like, leaves)]
    options = {"allow_unused": True, "materialize_grads": True}
    return [loss.detach(), *torch.autograd.grad(loss, leaves, **options)]


def stock_loss(p, y):
    return torch.as_tensor(Trace_ELBO().differentiable_loss(random_model, random_guide, p, y))


def mean_at(values, p, y):
    """The mean of stock Pyro's loss at each of two particles."""
    shape = {"b": (), "w": (-1,), "z": (-1,), "u": (p["words"], p["data"])}
    losses = []
    for k in range(2):
        with SetLatents({s: v[k].reshape(shape[s]) for s, v in values.items()}):
            losses.append(stock_loss(p, y))
    return sum(losses) / 2


@given(PIECES, st.integers(0, 100))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_random_programs_have_the_losses_and_gradients_of_stock_pyro(p, seed):
    pyro.clear_param_store()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        y = torch.randn(p["words"], p["data"])
        torch.manual_seed(seed)
        expected = loss_and_gradient(stock_loss(p, y))
        torch.manual_seed(seed)
        loss, _ = ELBO(kl="sampled").loss_and_metrics(random_model, random_guide, p, y)
        assert_close(loss_and_gradient(loss), expected, rtol=1e-3, atol=1e-4)
        objective = ELBO(kl="sampled", num_particles=2, max_plate_nesting=2)
        run = objective.runner(random_model, random_guide, (p, y), {})
        t = run()
        assert_close(objective.reduce(t, run), mean_at(t.values, p, y), rtol=1e-4, atol=1e-3)
        plain = p | {"model_scale": None, "guide_scale": None, "observed_scale": None}
        found = []
        for programs in (p, plain):
            torch.manual_seed(seed)
            found.append(ELBO().loss_and_metrics(random_model, random_guide, programs, y))
        assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-4)
        # without latents of the documents, a word is a datum
        size = p["data"] * p["ratio"] * (1 if p["local"] else p["words"])
        bound = -found[1][0].detach() / size
        assert_close(found[0][1]["elbo"], bound, rtol=1e-3, atol=1e-4)
    pyro.clear_param_store()
