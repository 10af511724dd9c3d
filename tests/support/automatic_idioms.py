"""Further options of Pyro's automatic guides, and mixtures of them; they join ``IDIOMS``."""

from __future__ import annotations

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from guide_idioms import constrained_model, normal_model, one_of, trained
from idioms import IDIOMS, Y, idiom, positive, real
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide
from pyro.distributions import transforms
from pyro.infer import autoguide as auto
from torch import nn

X = torch.linspace(-2, 2, 12)


def subsampled_model(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 12, subsample_size=4) as index:
        z = pyro.sample("z", dist.Normal(loc, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=x[index])


def structured(conditional, dependency):
    conditionals = dict.fromkeys(("loc", "scale", "z"), conditional)
    dependencies = {"z": {"loc": dependency()}, "scale": {"loc": dependency()}}
    if dependency is nn.Identity:
        dependencies["z"] = {"loc": nn.Linear(1, 4)}
    return partial(auto.AutoStructured, conditionals=conditionals, dependencies=dependencies)


def function_of(site):
    def guide(*args):
        return {site: pyro.sample(site, dist.Normal(real("own", 0.2), positive("sd", 0.5)))}

    return guide


def mixed(*parts):
    """A list of guides, each of some sites."""

    def make(model):
        guides = auto.AutoGuideList(model)
        for kind, sites in parts:
            guides.append(kind(poutine.block(model, expose=sites)))
        return guides

    return make


def laplace(model):
    guide = auto.AutoLaplaceApproximation(model)
    guide(Y)
    for _ in range(50):  # towards the mode, where the curvature is positive
        loss = pyro.infer.Trace_ELBO().differentiable_loss(model, guide, Y)
        (slope,) = torch.autograd.grad(loss, [guide.loc])
        guide.loc.data -= 0.05 * slope
    return guide.laplace_approximation(Y)


class Easy(EasyGuide):
    """Two latents drawn together and one at a point."""

    def guide(self, y):
        self.map_estimate("scale")
        group = self.group(match="loc|z")
        loc = real("easy_loc", torch.linspace(-0.5, 0.5, 5))
        sd = positive("easy_sd", torch.full((5,), 0.7))
        group.sample("together", dist.Normal(loc, sd).to_event(1))


DEPENDENCIES = {"linear": lambda: "linear", "identity": nn.Identity}
OPTIONS = {
    "guide_list_of_three": mixed(
        (auto.AutoNormal, ["loc"]), (auto.AutoDelta, ["scale"]), (auto.AutoDiagonalNormal, ["z"])
    ),
    "guide_list_points_first": mixed(
        (auto.AutoDelta, ["loc", "scale"]), (auto.AutoMultivariateNormal, ["z"])
    ),
    "guide_list_with_a_function": mixed(
        (lambda model: auto.AutoCallable(model, function_of("loc")), ["loc"]),
        (auto.AutoNormal, ["scale", "z"]),
    ),
    "starts_at_samples": partial(auto.AutoDiagonalNormal, init_loc_fn=auto.init_to_sample),
    "starts_at_values": partial(
        auto.AutoMultivariateNormal,
        init_loc_fn=auto.init_to_value(values={"loc": torch.tensor(0.3)}),
    ),
    "two_inverse_autoregressive": partial(auto.AutoIAFNormal, hidden_dim=[8], num_transforms=2),
    "spline_flow": partial(auto.AutoNormalizingFlow, init_transform_fn=transforms.spline_coupling),
    "laplace_approximation": laplace,
    "easy_guide": Easy,
}
for conditional in ("delta", "normal", "mvn"):
    for dependency, made in DEPENDENCIES.items():
        IDIOMS[f"auto_structured_{conditional}_{dependency}"] = partial(
            trained, structured(conditional, made), normal_model, forward_only=True
        )
for name, make in OPTIONS.items():
    IDIOMS[f"auto_{name}"] = partial(trained, make, normal_model)
MESSENGERS = {
    "hierarchical_messenger": partial(auto.AutoHierarchicalNormalMessenger, init_scale=0.3),
    "autoregressive_messenger": auto.AutoRegressiveMessenger,
}
PRIORS = {
    "log_normal": one_of(lambda: dist.LogNormal(0.0, 0.5), lambda z: z),
    "beta": one_of(lambda: dist.Beta(2.0, 3.0), lambda z: z),
    "dirichlet": one_of(lambda: dist.Dirichlet(torch.tensor([1.0, 2.0, 3.0])), lambda z: z[..., 0]),
}
for kind, make in MESSENGERS.items():
    for prior, model in PRIORS.items():
        IDIOMS[f"auto_{kind}_of_{prior}_latents"] = partial(trained, make, model)
MESSENGERS["normal_messenger"] = auto.AutoNormalMessenger
for kind, make in MESSENGERS.items():
    for plates in ((), ("data",)):
        title = f"auto_{kind}_{'amortized' if plates else 'by_datum'}_of_a_subsample"
        IDIOMS[title] = partial(
            trained,
            partial(make, amortized_plates=plates),
            subsampled_model,
            args=(X,),
            size=12,
            refused="subsample",
        )
for name, kind in {"normal": auto.AutoNormal, "structured": auto.AutoStructured}.items():
    IDIOMS[f"auto_{name}_of_a_subsample"] = partial(
        trained,
        partial(kind, create_plates=lambda x: pyro.plate("data", 12, subsample_size=4)),
        subsampled_model,
        args=(X,),
        size=12,
        refused="subsample",
        forward_only=name == "structured",
    )
IDIOMS["auto_structured_of_constrained_latents"] = partial(
    trained,
    partial(auto.AutoStructured, init_loc_fn=auto.init_to_feasible),
    constrained_model,
    forward_only=True,
)


@idiom
def auto_delta_of_angles():
    model = one_of(lambda: dist.VonMises(0.3, 2.0), lambda z: z.sin())
    return trained(auto.AutoDelta, model)


@idiom
def auto_delta_of_directions():
    model = one_of(lambda: dist.ProjectedNormal(torch.tensor([1.0, 0.5])), lambda z: z[..., 0])
    return trained(auto.AutoDelta, model)
