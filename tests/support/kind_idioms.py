"""Idioms of kinds of sites: discrete, transformed, mixed, missing; they join ``IDIOMS``."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from idioms import MASK, Program, Y, idiom, local_guide, local_model, normal_guide, positive, real
from pyro.distributions import transforms
from torch.distributions import constraints

COUNTS = torch.tensor([0.0, 2.0, 1.0, 4.0])


def unit(name, value):
    return pyro.param(name, torch.as_tensor(value), constraint=constraints.unit_interval)


@idiom
def mixture_likelihood():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            parts = dist.Normal(torch.stack([z, -z], -1), 0.5)
            weights = dist.Categorical(torch.tensor([0.3, 0.7]))
            pyro.sample("y", dist.MixtureSameFamily(weights, parts), obs=y)

    return Program(model, local_guide, (Y,), local=(-1,))


@idiom
def mixture_prior():
    parts = dist.Normal(torch.tensor([-1.0, 1.0]), 0.5)
    prior = dist.MixtureSameFamily(dist.Categorical(torch.tensor([0.3, 0.7])), parts)
    return Program(lambda y: local_model(y, prior=prior), local_guide, (Y,), local=(-1,))


def flow_program(flow, **known):
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=y)

    def guide(y):
        pyro.module("flow", flow)
        base = dist.Normal(torch.zeros(4, 2), positive("sd", 0.8)).to_event(1)
        with pyro.plate("data", 4):
            pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    return Program(model, guide, (Y,), local=(-1,), **known)


@idiom
def planar_flow_guide():
    return flow_program(transforms.Planar(2), forward_only=True)


@idiom
def autoregressive_flow_guide():
    return flow_program(transforms.affine_autoregressive(2, hidden_dims=[4]))


@idiom
def log_normal_guide_as_a_transformed_distribution():
    def model(y):
        with pyro.plate("data", 4):
            s = pyro.sample("s", dist.LogNormal(torch.zeros(4), 1.0))
            pyro.sample("y", dist.Normal(0.0, s), obs=y)

    def guide(y):
        base = dist.Normal(real("loc", torch.zeros(4)), positive("sd", 0.5))
        with pyro.plate("data", 4):
            pyro.sample("s", dist.TransformedDistribution(base, [transforms.ExpTransform()]))

    return Program(model, guide, (Y,), local=(-1,))


@idiom
def folded_guide():
    def model(y):
        with pyro.plate("data", 4):
            s = pyro.sample("s", dist.HalfNormal(torch.ones(4)))
            pyro.sample("y", dist.Normal(0.0, s + 0.5), obs=y)

    def guide(y):
        with pyro.plate("data", 4):
            base = dist.Normal(real("loc", torch.ones(4)), positive("sd", 0.5))
            pyro.sample("s", dist.FoldedDistribution(base))

    return Program(model, guide, (Y,), local=(-1,))


@idiom
def half_normal_guide():
    def model(y):
        with pyro.plate("data", 4):
            s = pyro.sample("s", dist.HalfNormal(torch.ones(4)))
            pyro.sample("y", dist.Normal(0.0, s + 0.5), obs=y)

    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("s", dist.HalfNormal(positive("sd", torch.full((4,), 0.5))))

    return Program(model, guide, (Y,), local=(-1,))


def point_guide(log_density):
    def guide(y):
        with pyro.plate("data", 4):
            loc = real("loc", torch.linspace(-1, 1.5, 4))
            pyro.sample("z", dist.Delta(loc, log_density=log_density * loc))

    return guide


@idiom
def point_posterior():
    return Program(local_model, point_guide(0.0), (Y,), local=(-1,))


@idiom
def point_posterior_with_a_log_density():
    return Program(local_model, point_guide(1.5), (Y,), local=(-1,))


@idiom
def auxiliary_site_of_the_guide():
    def guide(y):
        loc, sd = real("loc", torch.linspace(-1, 1, 4)), positive("sd", 0.6)
        with pyro.plate("data", 4):
            base = dist.Normal(loc, sd)
            raw = pyro.sample("raw", base, infer={"is_auxiliary": True})
            jacobian = torch.log(positive("slope", 1.3)).neg() * torch.ones(4)
            value = pyro.param("slope") * raw
            pyro.sample("z", dist.Delta(value, log_density=jacobian))

    return Program(local_model, guide, (Y,), local=(-1,))


@idiom
def factor_in_the_guide():
    def guide(y):
        with pyro.plate("data", 4):
            z = normal_guide("z", 4)
            pyro.factor("declared", 0.3 * z.square(), has_rsample=True)

    return Program(local_model, guide, (Y,), local=(-1,))


@idiom
def factor_in_the_guide_outside_the_plate():
    def guide(y):
        local_guide(y)
        pyro.factor("declared", real("cost", 0.4).square(), has_rsample=True)

    return Program(local_model, guide, (Y,), local=(-1,))


@idiom
def gamma_prior_and_guide():
    def model(y):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Poisson(rate), obs=y)

    def guide(y):
        pyro.sample("rate", dist.Gamma(positive("a", 9.0), positive("b", 5.0)))

    return Program(model, guide, (COUNTS,), exact=_gamma_poisson())


def _gamma_poisson():
    """Minus the log evidence of COUNTS with a Gamma(2, 1) rate; its posterior is Gamma(9, 5)."""
    a, b = torch.tensor(9.0), torch.tensor(5.0)
    log_p = torch.lgamma(a) - a * b.log() - (COUNTS + 1).lgamma().sum()
    return -log_p.item()


@idiom
def beta_and_dirichlet_latents():
    def model(y):
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        w = pyro.sample("w", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(p, w[..., 0] + 1.0), obs=y)

    def guide(y):
        pyro.sample("p", dist.Beta(positive("a", 1.5), positive("b", 2.5)))
        pyro.sample("w", dist.Dirichlet(positive("c", torch.tensor([2.0, 1.0, 3.0]))))

    return Program(model, guide, (Y,))


@idiom
def multivariate_normal_latents():
    def model(y):
        prior = dist.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 2.0]]))
        with pyro.plate("data", 4):
            z = pyro.sample("z", prior)
            pyro.sample("y", dist.Normal(z[..., 0], 1.0), obs=y)

    def guide(y):
        loc = real("loc", torch.linspace(-1, 1, 8).reshape(4, 2))
        with pyro.plate("data", 4):
            sd = positive("sd", torch.tensor([0.5, 1.5]))
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=torch.diag(sd)))

    return Program(model, guide, (Y,), local=(-1,))


@idiom
def normal_prior_and_student_guide():
    def guide(y):
        with pyro.plate("data", 4):
            loc = real("loc", torch.linspace(-1, 1, 4))
            pyro.sample("z", dist.StudentT(5.0, loc, positive("sd", 0.6)))

    return Program(local_model, guide, (Y,), local=(-1,))


@idiom
def zero_inflated_counts():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.ZeroInflatedPoisson(z.exp(), gate=torch.tensor(0.2)), obs=y)

    return Program(model, local_guide, (COUNTS,), local=(-1,))


@idiom
def partly_observed_site():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y, obs_mask=MASK)

    def guide(y):
        normal_guide("b")
        with pyro.plate("data", 4):
            normal_guide("y_unobserved", 4)

    return Program(model, guide, (Y,))


def discrete_model(prior, locs):
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", prior)
            pyro.sample("y", dist.Normal(locs[z.long()], 1.0), obs=y)

    return model


@idiom
def bernoulli_latents():
    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Bernoulli(unit("p", torch.tensor([0.3, 0.4, 0.6, 0.8]))))

    model = discrete_model(dist.Bernoulli(0.4), torch.tensor([-1.0, 1.5]))
    return Program(model, guide, (Y,), local=(-1,), score=True)


@idiom
def categorical_latents():
    def guide(y):
        logits = real("logits", torch.linspace(-1, 1, 12).reshape(4, 3))
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Categorical(logits=logits))

    model = discrete_model(dist.Categorical(torch.ones(3) / 3), torch.tensor([-1.0, 0.5, 1.5]))
    return Program(model, guide, (Y,), local=(-1,), score=True)


@idiom
def exact_discrete_posterior():
    locs, prior = torch.tensor([-1.0, 1.5]), torch.tensor([0.6, 0.4])
    joint = prior.log() + dist.Normal(locs, 1.0).log_prob(Y.unsqueeze(-1))

    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Categorical(logits=real("logits", joint)))

    model = discrete_model(dist.Categorical(prior), locs)
    exact = -joint.logsumexp(-1).sum().item()
    return Program(model, guide, (Y,), exact=exact, local=(-1,), score=True)


@idiom
def discrete_global_and_normal_local_latents():
    def model(y):
        c = pyro.sample("c", dist.Bernoulli(0.5))
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(c, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        pyro.sample("c", dist.Bernoulli(unit("p", 0.3)))
        local_guide(y)

    return Program(model, guide, (Y,), score=True)


@idiom
def angles():
    def model(y):
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.VonMises(0.0, torch.ones(4)))
            pyro.sample("y", dist.Normal(z.sin(), 1.0), obs=y)

    def guide(y):
        with pyro.plate("data", 4):
            pyro.sample("z", dist.VonMises(real("loc", torch.zeros(4)), positive("k", 2.0)))

    return Program(model, guide, (Y,), local=(-1,), score=True)
