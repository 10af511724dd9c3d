"""Examples with one layer of latents: coins, regressions, survival times, motion on a plane."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from idioms import positive, real
from pyro import poutine
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.nn import PyroModule, PyroSample
from pyro_examples import Example, example, noise, on_grid, site, uniform
from torch import nn
from torch.distributions import constraints


def beta_moments(a, b):
    return a / (a + b), math.sqrt(a * b / (a + b) ** 2 / (a + b + 1))


@example
def coin_flips():
    """One observed site for every flip, in a Python loop (SVI, part I)."""
    flips = torch.tensor([1.0] * 6 + [0.0] * 4)

    def model(flips):
        fairness = pyro.sample("fairness", dist.Beta(10.0, 10.0))
        for i in range(len(flips)):
            pyro.sample(f"flip_{i}", dist.Bernoulli(fairness), obs=flips[i])

    def guide(flips):
        pyro.sample("fairness", dist.Beta(positive("heads", 15.0), positive("tails", 15.0)))

    def evidence():
        a, b = torch.tensor([10.0, 10.0, 20.0]), torch.tensor([16.0, 14.0, 30.0])
        prior, posterior = a.lgamma(), b.lgamma()
        log_p = posterior[0] + posterior[1] - posterior[2] - prior[0] - prior[1] + prior[2]
        return -log_p.item() / 10

    return Example(
        model,
        guide,
        (flips,),
        report={"fairness": site("fairness")},
        exact=lambda: {"fairness": beta_moments(16, 14)},
        contains=True,
        evidence=evidence,
    )


class LinearRegression(PyroModule):
    """y = w'x + b + sigma e with normal coefficients and a log-normal noise."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 3.0).expand([1]).to_event(1))

    def forward(self, x, y=None):
        sigma = pyro.sample("sigma", dist.LogNormal(-1.0, 0.7))
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, sigma), obs=y)
        return mean


def linear_data():
    x = noise(0, 40, 2)
    x[:, 1] += 0.8 * x[:, 0]
    return x, x @ torch.tensor([0.7, -0.4]) + 1.5 + 0.5 * noise(1, 40)


def linear_posterior():
    """Quadrature over sigma; the coefficients are normal given sigma."""
    x, y = (t.double() for t in linear_data())
    design = torch.cat([x, torch.ones(len(x), 1)], 1)
    prior = torch.tensor([1.0, 1.0, 1 / 9]).diag().double()
    sigma = torch.linspace(0.25, 1.2, 800).double()
    precision = prior + design.T @ design / sigma.square()[:, None, None]
    mean = torch.linalg.solve(precision, (design.T @ y) / sigma.square()[:, None])
    covariance = torch.linalg.inv(precision)
    marginal = sigma.square()[:, None, None] * torch.eye(len(y)) + design @ prior.inverse() @ (
        design.T
    )
    log_p = dist.MultivariateNormal(torch.zeros(len(y)).double(), marginal).log_prob(y)
    log_p = log_p + dist.LogNormal(-1.0, 0.7).log_prob(sigma)
    weight = (log_p - log_p.logsumexp(0)).exp()
    centre = weight @ mean
    second = weight @ (covariance.diagonal(dim1=-2, dim2=-1) + mean.square())
    spread = (second - centre.square()).sqrt()
    names = ("w0", "w1", "bias")
    found = {n: (centre[i].item(), spread[i].item()) for i, n in enumerate(names)}
    return found | on_grid(log_p, sigma=sigma)


def linear_regression(auto, contains, **options):
    model = LinearRegression()
    return Example(
        model,
        auto(model, **options),
        linear_data(),
        report={
            "w0": site("linear.weight", 0, 0),
            "w1": site("linear.weight", 0, 1),
            "bias": site("linear.bias", 0),
            "sigma": site("sigma"),
        },
        exact=linear_posterior,
        contains=contains,
        epochs=1000,
    )


@example
def regression_diagonal():
    """A PyroModule with PyroSample priors and a mean-field guide."""
    return linear_regression(AutoDiagonalNormal, False)


@example
def regression_multivariate():
    """The same with a full covariance, which nearly contains the posterior."""
    return linear_regression(AutoMultivariateNormal, True)


@example
def regression_low_rank():
    """The same with a covariance of low rank."""
    return linear_regression(AutoLowRankMultivariateNormal, False, rank=2)


@example
def censored_survival():
    """Exponential times, censored ones by a mask and a factor; the posterior is a gamma."""
    times = -(uniform(0, 30).log()) / 0.4
    limit = 3.0
    events, times = (times < limit).float(), times.clamp(max=limit)

    def model(times, events):
        rate = pyro.sample("rate", dist.Gamma(2.0, 4.0))
        with pyro.plate("patients", len(times)):
            with poutine.mask(mask=events.bool()):
                pyro.sample("time", dist.Exponential(rate), obs=times)
            pyro.factor("survived", -(1 - events) * rate * times)

    def guide(times, events):
        pyro.sample("rate", dist.Gamma(positive("a", 20.0), positive("b", 60.0)))

    a, b = 2 + events.sum().item(), 4 + times.sum().item()

    def evidence():
        log_p = 2 * math.log(4) - math.lgamma(2) + math.lgamma(a) - a * math.log(b)
        return -log_p / 30

    return Example(
        model,
        guide,
        (times, events),
        report={"rate": site("rate")},
        exact=lambda: {"rate": (a / b, math.sqrt(a) / b)},
        contains=True,
        lr=0.1,
        epochs=1000,
        evidence=evidence,
    )


@example
def inclined_plane():
    """Friction from the time that a box takes down a plane; a simulator inside the model."""
    angle, length, gravity = math.pi / 6, 2.0, 9.8

    def seconds(friction):
        pull = gravity * (math.sin(angle) - friction * math.cos(angle))
        return (2 * length / pull.clamp(min=0.05)).sqrt()

    times = seconds(torch.tensor(0.12)) + 0.1 * noise(0, 20)

    def model(times):
        friction = pyro.sample("friction", dist.Uniform(0.0, 0.5))
        mean = pyro.deterministic("mean", seconds(friction))
        with pyro.plate("runs", len(times)):
            pyro.sample("time", dist.Normal(mean, 0.1), obs=times)

    def exact():
        friction = torch.linspace(0.0005, 0.4995, 4000).double()
        mean = seconds(friction)[:, None]
        return on_grid(dist.Normal(mean, 0.1).log_prob(times.double()).sum(1), friction=friction)

    return Example(
        model,
        AutoNormal(model),
        (times,),
        report={"friction": site("friction")},
        exact=exact,
        contains=True,
    )


def logistic_data():
    x = noise(0, 200, 2)
    logits = x @ torch.tensor([1.0, -0.5])
    return x, (uniform(1, 200) < logits.sigmoid()).float()


def logistic_posterior():
    x, y = (t.double() for t in logistic_data())
    axis = torch.linspace(-2, 2.5, 400).double()
    w = torch.cartesian_prod(axis, axis)
    log_p = dist.Normal(0.0, 2.0).log_prob(w).sum(-1)
    log_p = log_p + dist.Bernoulli(logits=w @ x.T).log_prob(y).sum(-1)
    return on_grid(
        log_p.reshape(400, 400), **{f"w{i}": w[:, i].reshape(400, 400) for i in range(2)}
    )


@example
def logistic_regression_subsampled():
    """Minibatches in a plate as large as all data, which scales them (SVI, part II)."""
    x, y = logistic_data()

    def model(x, y):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 2.0).to_event(1))
        with pyro.plate("data", 200, subsample_size=len(x)):
            pyro.sample("y", dist.Bernoulli(logits=x @ w), obs=y)

    return Example(
        model,
        AutoMultivariateNormal(model),
        (x, y),
        report={"w0": site("w", 0), "w1": site("w", 1)},
        exact=logistic_posterior,
        contains=True,
        batch_size=50,
        epochs=400,
        lr=0.01,
    )


@example
def horseshoe_regression():
    """Half-Cauchy scales, global and local, around the coefficients."""
    x = noise(0, 60, 6)
    y = x @ torch.tensor([1.5, 0.0, 0.0, -1.0, 0.0, 0.0]) + 0.5 * noise(1, 60)

    def model(x, y):
        overall = pyro.sample("overall", dist.HalfCauchy(0.3))
        with pyro.plate("features", x.shape[-1]):
            local = pyro.sample("local", dist.HalfCauchy(1.0))
            raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
        w = pyro.deterministic("w", raw * local * overall, event_dim=1)
        sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(x @ w, sigma), obs=y)

    def coefficient(i):
        return lambda v: v["raw"][i] * v["local"][i] * v["overall"]

    return Example(
        model,
        AutoNormal(model),
        (x, y),
        report={"w0": coefficient(0), "w1": coefficient(1), "sigma": site("sigma")},
        epochs=1000,
    )


@example
def covariance_by_lkj():
    """A correlation matrix with an LKJ prior, beside half-Cauchy scales."""
    y = noise(0, 80, 2)
    y[:, 1] = 0.6 * y[:, 0] + 0.8 * y[:, 1]
    y[:, 0] *= 2

    def model(y):
        scales = pyro.sample("scales", dist.HalfCauchy(torch.ones(2)).to_event(1))
        factor = pyro.sample("factor", dist.LKJCholesky(2, 1.0))
        with pyro.plate("data", len(y)):
            tril = scales.diag_embed() @ factor
            pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), scale_tril=tril), obs=y)

    def exact():
        r = torch.linspace(-0.9, 0.95, 90).double()
        s = torch.linspace(1.3, 2.9, 70).double(), torch.linspace(0.7, 1.5, 70).double()
        rho, a, b = torch.meshgrid(r, *s, indexing="ij")
        yy = y.double().T @ y.double()
        rest = 1 - rho.square()
        square = yy[0, 0] / a**2 - 2 * rho * yy[0, 1] / a / b + yy[1, 1] / b**2
        log_p = -80 * (a.log() + b.log() + rest.log() / 2) - square / rest / 2
        log_p = log_p + sum(dist.HalfCauchy(1.0).log_prob(v) for v in (a, b))
        return on_grid(log_p, correlation=rho, s0=a, s1=b)

    return Example(
        model,
        AutoMultivariateNormal(model),
        (y,),
        report={
            "correlation": site("factor", 1, 0),
            "s0": site("scales", 0),
            "s1": site("scales", 1),
        },
        exact=exact,
        contains=True,
    )


@example
def bayesian_network_of_neurons():
    """A network whose weights have PyroSample priors, in minibatches of a scaled plate."""

    class Network(PyroModule):
        def __init__(self):
            super().__init__()
            self.hidden, self.output = PyroModule[nn.Linear](1, 4), PyroModule[nn.Linear](4, 1)
            for layer in (self.hidden, self.output):
                for name, value in list(layer.named_parameters()):
                    prior = dist.Normal(0.0, 1.0).expand(value.shape).to_event(value.dim())
                    setattr(layer, name, PyroSample(prior))

        def forward(self, x, y=None):
            mean = self.output(self.hidden(x).tanh()).squeeze(-1)
            with pyro.plate("data", 96, subsample_size=len(x)):
                pyro.sample("y", dist.Normal(mean, 0.2), obs=y)
            return mean

    x = 4 * uniform(0, 96, 1) - 2
    y = x.squeeze(-1).sin() + 0.2 * noise(1, 96)
    model = Network()

    def mean_at(value):
        def read(v):
            hidden = (v["hidden.weight"] * value).squeeze(-1) + v["hidden.bias"]
            return hidden.tanh() @ v["output.weight"][0] + v["output.bias"][0]

        return read

    guide = AutoDiagonalNormal(model, init_scale=0.05)
    report = {"f(-1)": mean_at(-1.0), "f(1)": mean_at(1.0)}
    return Example(model, guide, (x, y), report=report, batch_size=32, epochs=500)


@example
def robust_location_with_a_positive_scale():
    """Student errors with unknown scale and two parameters that the guide makes by hand."""
    y = torch.tensor([1.1, 0.8, 1.3, 0.9, 1.0, 1.2, 6.0])

    def model(y):
        centre = pyro.sample("centre", dist.Normal(0.0, 5.0))
        scale = pyro.sample("scale", dist.HalfNormal(2.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.StudentT(2.0, centre, scale), obs=y)

    def guide(y):
        spread = pyro.param("spread", torch.tensor(0.3), constraint=constraints.positive)
        pyro.sample("centre", dist.Normal(real("loc", 0.5), spread))
        pyro.sample("scale", dist.LogNormal(real("log_scale", -1.0), positive("width", 0.4)))

    def exact():
        axes = torch.linspace(-0.5, 3.0, 500).double(), torch.linspace(0.02, 2.5, 500).double()
        centre, scale = torch.meshgrid(*axes, indexing="ij")
        log_p = dist.Normal(0.0, 5.0).log_prob(centre) + dist.HalfNormal(2.0).log_prob(scale)
        log_p = log_p + sum(dist.StudentT(2.0, centre, scale).log_prob(v) for v in y.double())
        return on_grid(log_p, centre=centre, scale=scale)

    return Example(
        model,
        guide,
        (y,),
        report={"centre": site("centre"), "scale": site("scale")},
        exact=exact,
    )
