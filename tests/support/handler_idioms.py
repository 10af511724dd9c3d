"""Idioms of handlers, reparametrisations and kinds of likelihoods; they join ``IDIOMS``."""

from __future__ import annotations

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from guide_idioms import trained
from idioms import IDIOMS, Program, Y, idiom, local_guide, local_model, normal_guide, positive, real
from kind_idioms import unit
from pyro import poutine
from pyro.infer import autoguide as auto
from pyro.infer import reparam
from structure_idioms import TABLE, mean_model

X = torch.linspace(-2, 2, 12)
WORDS = torch.tensor([[2.0, 1, 0, 3], [0, 4, 1, 1], [5, 0, 0, 1]])


def noise(y):
    scale = positive("noise", 1.2)
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 4):
        pyro.sample("y", dist.Normal(b, scale), obs=y)


@idiom
def lifted_parameter():
    def guide(y):
        normal_guide("b")
        pyro.sample("noise", dist.LogNormal(real("loc", 0.1), positive("sd", 0.3)))

    return Program(poutine.lift(noise, prior=dist.LogNormal(0.0, 0.5)), guide, (Y,))


@idiom
def unconditioned_observations():
    def guide(y):
        normal_guide("b")
        with pyro.plate("data", 4):
            normal_guide("y", 4)

    def model(y):
        poutine.uncondition(mean_model)(y)
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=y[0])

    return Program(model, guide, (Y,), size=1)


@idiom
def conditioned_latent():
    model = poutine.condition(noise, data={"b": torch.tensor(0.4)})
    return Program(model, lambda y: None, (Y,), size=1)


@idiom
def stacked_plates():
    def model(x):
        with pyro.plate_stack("plates", (3, 4)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate_stack("plates", (3, 4)):
            normal_guide("z", 3, 4)

    return Program(model, guide, (TABLE,), size=12, local=(-2, -1))


@idiom
def plates_entered_in_another_order():
    def model(x):
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("columns", 4, dim=-1), pyro.plate("rows", 3, dim=-2):
            normal_guide("z", 3, 4)

    return Program(model, guide, (TABLE,), size=12, local=(-2, -1))


@idiom
def subsampled_parameters_of_an_event_dimension():
    def model(x):
        with pyro.plate("data", 12, subsample_size=4):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=pyro.subsample(x, event_dim=0))

    def guide(x):
        with pyro.plate("data", 12, subsample_size=4):
            start = torch.linspace(-1, 1, 24).reshape(12, 2)
            loc = pyro.param("loc", start, event_dim=1)
            pyro.sample("z", dist.Normal(loc, positive("sd", 0.7)).to_event(1))

    return Program(model, guide, (X,), size=12, local=(-1,))


@idiom
def partly_observed_site_with_an_automatic_guide():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y, obs_mask=y > 0)

    return trained(auto.AutoNormal, model)


@idiom
def points_and_factors_observed():
    def model(y):
        local_model(y)
        pyro.sample("point", dist.Delta(torch.tensor(1.0)), obs=torch.tensor(1.0))
        pyro.sample("unit", dist.Unit(torch.tensor(2.0)), obs=torch.empty(0))

    return Program(model, local_guide, (Y,), size=1)


@idiom
def topics():
    def model(words):
        with pyro.plate("kinds", 2):
            topics = pyro.sample("topics", dist.Dirichlet(torch.ones(4)))
        with pyro.plate("documents", 3):
            shares = pyro.sample("shares", dist.Dirichlet(torch.ones(2)))
            probs = shares @ topics
            pyro.sample("words", dist.Multinomial(probs=probs, validate_args=False), obs=words)

    def guide(words):
        with pyro.plate("kinds", 2):
            pyro.sample("topics", dist.Dirichlet(positive("a", torch.full((2, 4), 2.0))))
        with pyro.plate("documents", 3):
            pyro.sample("shares", dist.Dirichlet(positive("c", torch.full((3, 2), 3.0))))

    return Program(model, guide, (WORDS,), size=3)


@idiom
def hidden_markov_chain_summed_out():
    def model(y):
        with pyro.plate("series", 2):
            loc = pyro.sample("loc", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            start, moves = torch.zeros(3), torch.eye(3)
            chain = dist.DiscreteHMM(start, moves, dist.Normal(loc.unsqueeze(-2), 1.0))
            pyro.sample("y", chain, obs=y.expand(2, 4))

    def guide(y):
        with pyro.plate("series", 2):
            start = real("start", torch.linspace(-1, 1, 6).reshape(2, 3))
            pyro.sample("loc", dist.Normal(start, 0.5).to_event(1))

    return Program(model, guide, (Y,), size=2, local=(-1,))


@idiom
def stick_breaking_mixture():
    def model(y):
        with pyro.plate("sticks", 2):
            stick = pyro.sample("stick", dist.Beta(1.0, 2.0))
        last = torch.ones(*stick.shape[:-1], 1)
        with pyro.plate("data", 4):
            k = pyro.sample("k", dist.Categorical(torch.cat([stick, last], -1)))
            pyro.sample("y", dist.Normal(k.float(), 1.0), obs=y)

    def guide(y):
        with pyro.plate("sticks", 2):
            pyro.sample("stick", dist.Beta(positive("a", torch.ones(2)), 2.0))
        with pyro.plate("data", 4):
            logits = real("logits", torch.linspace(-1, 1, 12).reshape(4, 3))
            pyro.sample("k", dist.Categorical(logits=logits))

    return Program(model, guide, (Y,), score=True)


@idiom
def baseline_asked_for():
    def model(y):
        with pyro.plate("data", 4):
            k = pyro.sample("k", dist.Bernoulli(0.4))
            pyro.sample("y", dist.Normal(k, 1.0), obs=y)

    def guide(y):
        infer = {"baseline": {"baseline_value": torch.full((4,), -1.0)}}
        with pyro.plate("data", 4):
            pyro.sample("k", dist.Bernoulli(unit("p", torch.full((4,), 0.3))), infer=infer)

    return Program(model, guide, (Y,), local=(-1,), score=True)


REPARAMETRISED = {
    "student": (lambda: dist.StudentT(torch.tensor(5.0), 0.5, 2.0), reparam.StudentTReparam()),
    "stable": (lambda: dist.Stable(1.5, 0.0, 1.0, 0.0), reparam.SymmetricStableReparam()),
    "haar": (
        lambda: dist.Normal(torch.zeros(4), 1.0).to_event(1),
        reparam.HaarReparam(dim=-1),
    ),
    "direction": (
        lambda: dist.ProjectedNormal(torch.tensor([1.0, 0.5])),
        reparam.ProjectedNormalReparam(),
    ),
    "learned_centre": (lambda: dist.Normal(0.5, 2.0), reparam.LocScaleReparam()),
}


def reparametrised(prior, kind):
    def model(y):
        with pyro.plate("data", 4):
            with poutine.reparam(config={"z": kind}):
                z = pyro.sample("z", prior())
            pyro.sample("y", dist.Normal(z.sum(-1) if prior().event_shape else z, 1.0), obs=y)

    return model


for name, (prior, kind) in REPARAMETRISED.items():
    for title, guide in {"normal": auto.AutoNormal, "messenger": auto.AutoNormalMessenger}.items():
        IDIOMS[f"{title}_guide_of_a_reparametrised_{name}"] = partial(
            trained, guide, reparametrised(prior, kind), local=(-1,)
        )
