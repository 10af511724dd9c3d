"""Idioms of Pyro programs on which an objective must be what Pyro and the mathematics say it is.

``IDIOMS`` maps a name to a function that builds a :class:`Program`; see also ``guide_idioms``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch.distributions import constraints


@dataclass
class Program:
    """A model and guide of one idiom, and what is known of them.

    Attributes:
        exact: minus the log evidence, where the guide is the exact posterior.
        size: the number of data behind the metrics.
        local: dimensions of the data plates where every latent site lies in all of them.
        plain: the programs without scale handlers, where there are such.
        stock_guide: what stock Pyro is to be given as the guide, if not the same.
        score: whether some gradient needs the score function.
        refused: what importance weights are refused for.
        forward_only: whether the guide cannot score other values than it drew.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    args: tuple[Any, ...] = ()
    exact: float | None = None
    size: int = 4
    local: tuple[int, ...] | None = None
    plain: tuple[Callable[..., Any], Callable[..., Any]] | None = None
    stock_guide: Callable[..., Any] | None = None
    score: bool = False
    refused: str | None = None
    forward_only: bool = False


IDIOMS: dict[str, Callable[[], Program]] = {}
Y = torch.tensor([-1.0, 0.3, 0.8, 2.0])
PAIR_EVIDENCE = -dist.Normal(0.0, math.sqrt(2)).log_prob(Y).sum().item()


def idiom(build: Callable[[], Program]) -> Callable[[], Program]:
    IDIOMS[build.__name__] = build
    return build


def positive(name: str, value: Any) -> Any:
    return pyro.param(name, torch.as_tensor(value), constraint=constraints.positive)


def real(name: str, value: Any) -> Any:
    return pyro.param(name, torch.as_tensor(value))


def normal_guide(name: str, *shape: int) -> Any:
    """A latent with a Normal of its own parameters."""
    loc = real(f"{name}_loc", torch.linspace(-0.5, 0.7, math.prod(shape)).reshape(shape))
    return pyro.sample(name, dist.Normal(loc, positive(f"{name}_scale", torch.full(shape, 0.6))))


def local_model(y, latent=None, observed=None, prior=None, likelihood=None):
    """Normal means of normal data, with handlers around either site."""
    with pyro.plate("data", len(y)):
        with latent or nullcontext():
            z = pyro.sample("z", prior or dist.Normal(0.0, 1.0))
        with observed or nullcontext():
            pyro.sample("y", (likelihood or dist.Normal)(z, 1.0), obs=y)


def local_guide(y, latent=None):
    with pyro.plate("data", len(y)), latent or nullcontext():
        normal_guide("z", len(y))


@idiom
def exact_local_posterior():
    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(y / 2 * real("slope", 1.0), positive("sd", 0.5**0.5)))

    return Program(local_model, guide, (Y,), exact=PAIR_EVIDENCE, local=(-1,))


@idiom
def local_latents():
    return Program(local_model, local_guide, (Y,), local=(-1,))


@idiom
def scaled_latents():
    handler = lambda: poutine.scale(scale=0.3)  # noqa: E731
    return Program(
        lambda y: local_model(y, handler()),
        lambda y: local_guide(y, handler()),
        (Y,),
        plain=(local_model, local_guide),
        local=(-1,),
    )


@idiom
def scaled_observations():
    return Program(
        lambda y: local_model(y, observed=poutine.scale(scale=10.0)),
        local_guide,
        (Y,),
        plain=(local_model, local_guide),
        local=(-1,),
    )


@idiom
def scaled_programs():
    model, guide = (poutine.scale(p, scale=0.25) for p in (local_model, local_guide))
    return Program(model, guide, (Y,), plain=(local_model, local_guide), local=(-1,))


@idiom
def scaled_guide_only():
    return Program(
        local_model,
        lambda y: local_guide(y, poutine.scale(scale=0.5)),
        (Y,),
        plain=(local_model, local_guide),
        local=(-1,),
    )


@idiom
def scaled_by_a_tensor():
    handler = lambda: poutine.scale(scale=torch.tensor([0.1, 1.0, 2.0, 3.0]))  # noqa: E731
    return Program(
        lambda y: local_model(y, handler(), handler()),
        lambda y: local_guide(y, handler()),
        (Y,),
        plain=(local_model, local_guide),
        local=(-1,),
    )


MASK = torch.tensor([True, False, True, True])


@idiom
def masked_programs():
    handler = lambda: poutine.mask(mask=MASK)  # noqa: E731
    return Program(
        lambda y: local_model(y, handler(), handler()),
        lambda y: local_guide(y, handler()),
        (Y,),
        local=(-1,),
    )


@idiom
def masked_model_only():
    return Program(
        lambda y: local_model(y, poutine.mask(mask=MASK)), local_guide, (Y,), local=(-1,)
    )


@idiom
def masks_that_differ():
    return Program(
        lambda y: local_model(y, poutine.mask(mask=MASK)),
        lambda y: local_guide(y, poutine.mask(mask=~MASK)),
        (Y,),
        local=(-1,),
    )


@idiom
def masked_distribution_of_the_prior():
    prior = dist.Normal(torch.zeros(4), 1.0).mask(MASK)
    return Program(lambda y: local_model(y, prior=prior), local_guide, (Y,), local=(-1,))


@idiom
def masked_distribution_of_the_likelihood():
    likelihood = lambda z, sd: dist.Normal(z, sd).mask(MASK)  # noqa: E731
    return Program(lambda y: local_model(y, likelihood=likelihood), local_guide, (Y,), local=(-1,))


@idiom
def missing_values():
    def likelihood(z, sd):
        return dist.Normal(z, sd).mask(~torch.isnan(data))

    data = torch.where(MASK, Y, torch.nan)
    return Program(
        lambda: local_model(torch.nan_to_num(data), likelihood=likelihood),
        lambda: local_guide(data),
        local=(-1,),
    )


class Tilted(dist.Normal):
    """A Normal whose density is another one, as users write it."""

    def log_prob(self, value):
        return super().log_prob(value) - 0.5 * value.abs()


@idiom
def overridden_density_of_the_prior():
    prior = Tilted(torch.zeros(4), 1.0)
    return Program(lambda y: local_model(y, prior=prior), local_guide, (Y,), local=(-1,))


@idiom
def overridden_density_of_the_guide():
    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", Tilted(real("loc", Y / 2), positive("sd", 0.5)))

    return Program(local_model, guide, (Y,), local=(-1,))


@idiom
def subsample_given():
    def programs(size):
        def model(y):
            with pyro.plate("data", 12, subsample=torch.arange(4)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

        def guide(y):
            with pyro.plate("data", 12, subsample=torch.arange(4)):
                normal_guide("z", 4)

        return model, guide

    return Program(*programs(4), (Y,), size=12, local=(-1,))


@idiom
def subsample_drawn():
    x = torch.linspace(-2, 2, 12)

    def model(x):
        with pyro.plate("data", 12, subsample_size=3) as index:
            z = pyro.sample("z", dist.Normal(x[index], 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=x[index])

    def guide(x):
        with pyro.plate("data", 12, subsample_size=3) as index:
            sd = positive("sd", 0.7)
            pyro.sample("z", dist.Normal(x[index] * real("slope", 0.8), sd))

    return Program(model, guide, (x,), size=12, local=(-1,))


@idiom
def subsample_drawn_around_the_exact_posterior():
    x = torch.linspace(-2, 2, 12)

    def model(x):
        with pyro.plate("data", 12, subsample_size=3) as index:
            z = pyro.sample("z", dist.Normal(x[index], 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=x[index])

    def guide(x):
        with pyro.plate("data", 12, subsample_size=3) as index:
            pyro.sample("z", dist.Normal(x[index], positive("sd", 0.5**0.5)))

    return Program(model, guide, (x,), exact=6 * math.log(4 * math.pi), size=12, local=(-1,))


@idiom
def subsample_of_the_model_with_a_global_latent():
    x = torch.linspace(-2, 2, 12)

    def model(x):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 12, subsample_size=3) as index:
            pyro.sample("y", dist.Normal(b, 1.0), obs=x[index])

    return Program(model, lambda x: normal_guide("b"), (x,), size=12, refused="subsample")


@idiom
def subsample_with_global_and_local_latents():
    x = torch.linspace(-2, 2, 12)

    def model(x):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 12, subsample_size=3, dim=-1) as index:
            z = pyro.sample("z", dist.Normal(b, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=x[index])

    def guide(x):
        normal_guide("b")
        with pyro.plate("data", 12, subsample_size=3, dim=-1) as index:
            pyro.sample("z", dist.Normal(x[index], positive("sd", 0.7)))

    return Program(model, guide, (x,), size=12, refused="subsample")
