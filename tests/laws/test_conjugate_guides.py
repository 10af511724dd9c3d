"""Automatic guides set to the exact posterior: every draw of theirs is the evidence."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import autoguide as auto

from ppl_gen.objectives import ELBO, IWAE

pytestmark = pytest.mark.usefixtures("fresh_store")
Y = torch.tensor([2.0])
EXACT = -dist.Normal(0.0, math.sqrt(2)).log_prob(Y).item()
GUIDES = (
    auto.AutoNormal,
    auto.AutoDiagonalNormal,
    auto.AutoMultivariateNormal,
    auto.AutoLowRankMultivariateNormal,
    auto.AutoNormalMessenger,
    partial(auto.AutoHierarchicalNormalMessenger, init_weight=1e-8),
    auto.AutoRegressiveMessenger,
    *(lambda m, c=c: auto.AutoStructured(m, conditionals=c) for c in ("normal", "mvn")),
)


def model(y):
    """The logarithm of s is normal about 1, with variance 1/2, once y is seen."""
    s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", 1):
        pyro.sample("y", dist.Normal(s.log(), 1.0), obs=y)


def set_to_the_posterior(guide):
    guide(Y)
    for name, parameter in guide.named_parameters():
        if "loc" in name:
            parameter.data.fill_(1.0)
        elif "cov_factor" in name:
            parameter.data.zero_()
    for module in guide.modules():
        for name in getattr(module, "_pyro_params", ()):
            path = f"{getattr(module, '_pyro_name', '')}.{name}"
            if "scale" in path and "tril" not in path:
                setattr(module, name, torch.full_like(getattr(module, name), math.sqrt(0.5)))
    return guide


def require_exact(guide):
    for objective in (ELBO(kl="sampled"), ELBO(kl="sampled", num_particles=3), IWAE(3)):
        for seed in range(3):
            torch.manual_seed(seed)
            assert abs(objective.loss(model, guide, Y) - EXACT) < 1e-4
    assert abs(ELBO().loss(model, guide, Y) - EXACT) < 1e-4


@pytest.mark.parametrize("kind", GUIDES)
def test_every_draw_of_the_exact_posterior_is_the_evidence(kind):
    require_exact(set_to_the_posterior(kind(model)))


def test_the_laplace_approximation_at_the_mode_is_the_exact_posterior():
    guide = auto.AutoLaplaceApproximation(model)
    guide(Y)
    guide.loc.data.fill_(1.0)
    require_exact(guide.laplace_approximation(Y))
