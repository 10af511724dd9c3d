"""Examples of hierarchies: batting rates, schools, counts of deep exponential families."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from idioms import positive, real
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import LocScaleReparam
from pyro_examples import Example, example, noise, on_grid, site, uniform

HITS = torch.tensor([18.0, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7])
AT_BATS = torch.full((18,), 45.0)
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def _beta_moments(a, b):
    return a / (a + b), math.sqrt(a * b / (a + b) ** 2 / (a + b + 1))


@example
def baseball_pooled():
    """One rate of hits for all players, whose beta is nearly a logit-normal."""

    def model(at_bats, hits):
        phi = pyro.sample("phi", dist.Uniform(0.0, 1.0))
        with pyro.plate("players", len(hits)):
            pyro.sample("hits", dist.Binomial(at_bats, phi), obs=hits)

    total, tries = HITS.sum().item(), AT_BATS.sum().item()
    return Example(
        model,
        AutoNormal(model),
        (AT_BATS, HITS),
        report={"phi": site("phi")},
        exact=lambda: {"phi": _beta_moments(1 + total, 1 + tries - total)},
        contains=True,
    )


@example
def baseball_not_pooled():
    """A rate for every player, all in one batch, with an automatic guide."""

    def model(at_bats, hits):
        with pyro.plate("players", len(hits)):
            phi = pyro.sample("phi", dist.Uniform(0.0, 1.0))
            pyro.sample("hits", dist.Binomial(at_bats, phi), obs=hits)

    def exact():
        return {f"phi{i}": _beta_moments(1 + HITS[i].item(), 46 - HITS[i].item()) for i in (0, 17)}

    return Example(
        model,
        AutoNormal(model),
        (AT_BATS, HITS),
        report={"phi0": site("phi", 0), "phi17": site("phi", 17)},
        exact=exact,
        contains=True,
    )


@example
def baseball_partially_pooled():
    """Rates with a beta prior whose mean and concentration are latents."""

    def model(at_bats, hits):
        m = pyro.sample("m", dist.Uniform(0.0, 1.0))
        kappa = pyro.sample("kappa", dist.Pareto(1.0, 1.5))
        with pyro.plate("players", len(hits)):
            phi = pyro.sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
            pyro.sample("hits", dist.Binomial(at_bats, phi), obs=hits)

    def exact():
        m = torch.linspace(0.16, 0.4, 250).double()
        kappa = torch.linspace(0.02, 9.0, 400).double().exp()
        m, k = torch.meshgrid(m, kappa, indexing="ij")
        log_p = dist.Pareto(1.0, 1.5).log_prob(k) + k.log()
        for h, n in zip(HITS.double(), AT_BATS.double(), strict=True):
            log_p = log_p + dist.BetaBinomial(m * k, (1 - m) * k, n).log_prob(h)
        phi0 = (m * k + HITS[0]) / (k + 45)
        return {"m": on_grid(log_p, m=m)["m"], "mean of phi0": on_grid(log_p, phi=phi0)["phi"]}

    return Example(
        model,
        AutoNormal(model),
        (AT_BATS, HITS),
        report={"m": site("m"), "phi0": site("phi", 0), "phi17": site("phi", 17)},
        exact=exact,
        epochs=1000,
    )


@example
def baseball_partially_pooled_logits():
    """Rates as logits with a normal prior, made non-centred by a reparametrisation."""

    @poutine.reparam(config={"logit": LocScaleReparam(0.0)})
    def model(at_bats, hits):
        loc = pyro.sample("loc", dist.Normal(-1.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("players", len(hits)):
            logit = pyro.sample("logit", dist.Normal(loc, scale))
            pyro.sample("hits", dist.Binomial(at_bats, logits=logit), obs=hits)

    def exact():
        axes = torch.linspace(-1.6, -0.4, 160), torch.linspace(0.001, 1.0, 160)
        loc, scale = torch.meshgrid(*axes, indexing="ij")
        e = torch.linspace(-6, 6, 241)
        base = dist.Normal(0.0, 1.0).log_prob(e) + math.log(12 / 240)
        log_p = dist.Normal(-1.0, 1.0).log_prob(loc) + dist.HalfNormal(1.0).log_prob(scale)
        logits = loc[..., None] + scale[..., None] * e
        for h in HITS:
            one = dist.Binomial(45, logits=logits).log_prob(h)
            log_p = log_p + (base + one).logsumexp(-1)
        return on_grid(log_p.double(), loc=loc.double(), scale=scale.double())

    return Example(
        model,
        AutoNormal(model),
        (AT_BATS, HITS),
        report={"loc": site("loc"), "scale": site("scale")},
        exact=exact,
        epochs=1000,
    )


def schools_posterior():
    """Quadrature over tau; mu is normal given tau."""
    tau = torch.linspace(0.01, 150.0, 15000).double()
    variance = tau.square()[:, None] + ERRORS.double().square()
    precision = variance.reciprocal().sum(1) + 1 / 100
    centre = (EFFECTS.double() / variance).sum(1) / precision
    log_p = -(variance.log().sum(1) + precision.log()) / 2
    log_p = log_p - ((EFFECTS.double().square() / variance).sum(1) - centre**2 * precision) / 2
    log_p = log_p + dist.HalfCauchy(25.0).log_prob(tau)
    weight = (log_p - log_p.logsumexp(0)).exp()
    mean = (weight * centre).sum()
    spread = (weight * (1 / precision + centre.square())).sum() - mean.square()
    found = on_grid(log_p, **{"log tau": tau.log()})
    return found | {"mu": (mean.item(), spread.sqrt().item())}


def schools(model, auto=AutoNormal, **options):
    return Example(
        model,
        auto(model),
        (EFFECTS, ERRORS),
        report={"mu": site("mu"), "log tau": lambda v: v["tau"].log()},
        exact=schools_posterior,
        **{"epochs": 1000} | options,
    )


def centred(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
    tau = pyro.sample("tau", dist.HalfCauchy(25.0))
    with pyro.plate("schools", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


@example
def eight_schools_centred():
    """Effects drawn around their mean, with a mean-field guide."""
    return schools(centred)


@example
def eight_schools_not_centred():
    """Standardised effects, each a latent of its own, and a full covariance."""

    def model(y, sigma):
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        tau = pyro.sample("tau", dist.HalfCauchy(25.0))
        with pyro.plate("schools", len(y)):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu + tau * eta, sigma), obs=y)

    return schools(model, AutoMultivariateNormal)


@example
def eight_schools_reparametrised():
    """The centred program with a learned degree of centring."""
    return schools(poutine.reparam(centred, config={"theta": LocScaleReparam()}))


@example
def eight_schools_by_hand():
    """The tutorial's guide: normals of its own in a plate, a transformed one for tau."""

    def guide(y, sigma):
        pyro.sample("mu", dist.Normal(real("m", 0.0), positive("s", 5.0)))
        base = dist.Normal(real("log_tau", 1.0), positive("width", 0.7))
        pyro.sample("tau", dist.TransformedDistribution(base, [dist.transforms.ExpTransform()]))
        with pyro.plate("schools", len(y)):
            loc, scale = real("loc", torch.zeros(8)), positive("scale", torch.full((8,), 5.0))
            pyro.sample("theta", dist.Normal(loc, scale))

    return schools(centred, lambda model: guide, epochs=2000, lr=0.3)


@example
def sparse_gamma_family():
    """Two layers of gamma latents above Poisson counts; softplus parameters in the guide."""
    rows, top, low, width = 16, 2, 3, 5
    x = dist.Poisson(4 * uniform(0, rows, 1) * uniform(1, 1, width) * 3 + 0.5)
    counts = (x.mean + x.mean.sqrt() * noise(2, rows, width)).clamp(min=0).round()

    def model(x):
        with pyro.plate("top weights", top * low):
            w_top = pyro.sample("w_top", dist.Gamma(0.3, 0.3)).reshape(top, low)
        with pyro.plate("bottom weights", low * width):
            w_low = pyro.sample("w_low", dist.Gamma(0.3, 0.3)).reshape(low, width)
        with pyro.plate("data", len(x)):
            z_top = pyro.sample("z_top", dist.Gamma(0.5, 0.5).expand([top]).to_event(1))
            rate = 0.5 / (z_top @ w_top)
            z_low = pyro.sample("z_low", dist.Gamma(0.5, rate).to_event(1))
            pyro.sample("x", dist.Poisson(z_low @ w_low).to_event(1), obs=x)

    def gamma(name, *shape):
        mean = positive(f"{name}_mean", 0.8 + 0.4 * uniform(len(name), *shape))
        shape = positive(f"{name}_shape", torch.full(mean.shape, 1.5))
        return dist.Gamma(shape, shape / mean)

    def guide(x):
        with pyro.plate("top weights", top * low):
            pyro.sample("w_top", gamma("w_top", top * low))
        with pyro.plate("bottom weights", low * width):
            pyro.sample("w_low", gamma("w_low", low * width))
        with pyro.plate("data", len(x)):
            pyro.sample("z_top", gamma("z_top", rows, top).to_event(1))
            pyro.sample("z_low", gamma("z_low", rows, low).to_event(1))

    report = {
        "rate 0": lambda v: v["z_low"][0] @ v["w_low"].reshape(low, width)[:, 0],
        "rate 9": lambda v: v["z_low"][9] @ v["w_low"].reshape(low, width)[:, 2],
    }
    return Example(model, guide, (counts,), report=report, epochs=1000)
