"""Idioms of factors, reparametrisations and random modules; they join ``IDIOMS``."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from idioms import (
    PAIR_EVIDENCE,
    Program,
    Y,
    idiom,
    local_guide,
    local_model,
    normal_guide,
    positive,
    real,
)
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam, TransformReparam
from pyro.nn import PyroModule, PyroSample
from structure_idioms import X, mean_guide
from torch import nn


@idiom
def factor_inside_the_plate():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)
            pyro.factor("penalty", -z.abs())

    return Program(model, local_guide, (Y,), local=(-1,))


@idiom
def factor_outside_the_plate():
    def model(y):
        local_model(y)
        pyro.factor("penalty", torch.tensor(-1.5))

    return Program(model, local_guide, (Y,))


@idiom
def factor_of_a_global_latent():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        pyro.factor("penalty", -b.abs())
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y)

    return Program(model, mean_guide, (Y,))


@idiom
def deterministic_values():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        mean = pyro.deterministic("mean", 2 * b)
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(pyro.deterministic("m", mean * torch.ones(4)), 1.0), obs=y)

    return Program(model, mean_guide, (Y,))


@idiom
def location_and_scale_reparametrised():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            with poutine.reparam(config={"z": LocScaleReparam(0.0)}):
                z = pyro.sample("z", dist.Normal(b, 2.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        normal_guide("b")
        with pyro.plate("data", 4):
            normal_guide("z_decentered", 4)

    return Program(model, guide, (Y,))


@idiom
def transform_reparametrised():
    def model(y):
        with poutine.reparam(config={"s": TransformReparam()}):
            s = pyro.sample("s", dist.LogNormal(0.2, 0.5))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(0.0, s), obs=y)

    return Program(model, lambda y: normal_guide("s_base"), (Y,))


class Regression(PyroModule):
    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](3, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 3]).to_event(2))

    def forward(self, x, y):
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


@idiom
def modules_with_random_weights():
    def guide(x, y):
        loc = real("loc", torch.tensor([[0.3, -0.2, 0.1]]))
        pyro.sample("linear.weight", dist.Normal(loc, positive("sd", 0.5)).to_event(2))

    return Program(Regression(), guide, (X, Y))


@idiom
def conditioned_model():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0))

    def conditioned(y):
        return poutine.condition(model, data={"y": y})(y)

    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(y / 2, positive("sd", 0.5**0.5)))

    return Program(conditioned, guide, (Y,), exact=PAIR_EVIDENCE, local=(-1,))


@idiom
def guide_in_another_order():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(b, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        with pyro.plate("data", 4):
            z = normal_guide("z", 4)
        pyro.sample("b", dist.Normal(z.mean(-1) / 2, positive("sd", 0.5)))

    return Program(model, guide, (Y,))
