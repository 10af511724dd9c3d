"""Pyro's automatic guides on latents of every constraint; they join ``IDIOMS``."""

from __future__ import annotations

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from idioms import IDIOMS, Program, Y
from pyro import poutine
from pyro.distributions import constraints, transforms
from pyro.infer import autoguide as auto


def constrained_model(y):
    """Latents on the line, positive, in the unit interval and on the simplex, and local ones."""
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.HalfCauchy(1.0))
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Normal(loc, 0.5 + share))
        pyro.sample("y", dist.Normal(z, scale + weights[..., 0]), obs=y)


def normal_model(y):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Normal(loc, 1.0))
        pyro.sample("y", dist.Normal(z, scale), obs=y)


def one_of(prior, use):
    def model(y):
        z = pyro.sample("z", prior())
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(use(z), 1.0), obs=y)

    return model


def guide_list(model):
    guide = auto.AutoGuideList(model)
    guide.append(auto.AutoDiagonalNormal(poutine.block(model, hide=["scale"]), init_scale=0.3))
    guide.append(auto.AutoDelta(poutine.block(model, expose=["scale"])))
    return guide


def structured(model):
    return auto.AutoStructured(
        model,
        conditionals={"loc": "normal", "scale": "delta", "z": "mvn"},
        dependencies={"z": {"loc": "linear"}},
        init_scale=0.3,
    )


GUIDES = {
    "normal": partial(auto.AutoNormal, init_scale=0.3),
    "diagonal_normal": partial(auto.AutoDiagonalNormal, init_scale=0.3),
    "multivariate_normal": partial(auto.AutoMultivariateNormal, init_scale=0.3),
    "low_rank_normal": partial(auto.AutoLowRankMultivariateNormal, rank=2, init_scale=0.3),
    "inverse_autoregressive": partial(auto.AutoIAFNormal, hidden_dim=[8]),
    "normalizing_flow": partial(
        auto.AutoNormalizingFlow,
        init_transform_fn=partial(transforms.iterated, 2, transforms.affine_autoregressive),
    ),
    "delta": auto.AutoDelta,
    "laplace": auto.AutoLaplaceApproximation,
    "guide_list": guide_list,
    "gaussian": partial(auto.AutoGaussian, init_scale=0.3),
    "normal_messenger": partial(auto.AutoNormalMessenger, init_scale=0.3),
    "autoregressive_messenger": partial(auto.AutoRegressiveMessenger, init_scale=0.3),
}
CONSTRAINED = ("normal", "delta", "multivariate_normal", "normal_messenger")
SUPPORTS = {
    "correlations": one_of(lambda: dist.LKJCholesky(3), lambda z: z[..., 1, 0]),
    "ordered": one_of(
        lambda: dist.TransformedDistribution(
            dist.Normal(torch.zeros(3), 1.0).to_event(1), [transforms.OrderedTransform()]
        ),
        lambda z: z[..., 1],
    ),
    "interval": one_of(lambda: dist.Uniform(-2.0, 3.0), lambda z: z),
    "improper": one_of(lambda: dist.ImproperUniform(constraints.real, (), ()), lambda z: z),
    "improper_positive": one_of(
        lambda: dist.ImproperUniform(constraints.positive, (), (2,)), lambda z: z[..., 0]
    ),
}


def trained(make, model, args=(Y,), **known):
    """The guide with its parameters made and moved a little."""
    guide = make(model)
    guide(*args)
    for parameter in guide.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Program(model, guide, args, **known)


for name, make in GUIDES.items():
    IDIOMS[f"auto_{name}"] = partial(trained, make, normal_model)
IDIOMS["auto_structured"] = partial(trained, structured, normal_model, forward_only=True)
IDIOMS["auto_hierarchical_messenger"] = partial(
    trained,
    partial(auto.AutoHierarchicalNormalMessenger, init_scale=0.3, hierarchical_sites=["loc", "z"]),
    normal_model,
)
for name in CONSTRAINED:
    IDIOMS[f"auto_{name}_of_constrained_latents"] = partial(
        trained, partial(GUIDES[name], init_loc_fn=auto.init_to_feasible), constrained_model
    )
STARTS = {"improper": torch.tensor(0.5), "improper_positive": torch.tensor([0.5, 2.0])}
for name, model in SUPPORTS.items():
    values = {"z": STARTS[name]} if name in STARTS else {}
    start = auto.init_to_value(values=values)
    IDIOMS[f"auto_normal_of_{name}_latents"] = partial(
        trained, partial(GUIDES["normal"], init_loc_fn=start), model
    )
