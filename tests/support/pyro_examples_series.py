"""Examples of time series: local levels, epidemics, tracking, seasons by group."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from idioms import positive, real
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide
from pyro.infer.autoguide import AutoDelta, AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import LocScaleReparam
from pyro_examples import Example, example, noise, on_grid, site
from torch.distributions import constraints

LEVELS = 1 + (0.5 * noise(0, 10)).cumsum(0)
SERIES = LEVELS + 0.8 * noise(1, 10)


def level_posterior():
    """The normal posterior of the levels, from their covariance."""
    time = torch.arange(1.0, 11.0)
    covariance = 1.0 + 0.25 * torch.minimum(time[:, None], time)
    noisy = covariance + 0.64 * torch.eye(10)
    mean = covariance @ torch.linalg.solve(noisy, SERIES)
    rest = covariance - covariance @ torch.linalg.solve(noisy, covariance)
    found = {f"level {t}": (mean[t].item(), rest[t, t].sqrt().item()) for t in (0, 9)}
    return found, -dist.MultivariateNormal(torch.zeros(10), noisy).log_prob(SERIES).item() / 10


@example
def local_level_markov():
    """One latent for every time in a Markov loop; a full covariance is the posterior."""

    def model(y):
        level = pyro.sample("start", dist.Normal(0.0, 1.0))
        for t in pyro.markov(range(len(y))):
            level = pyro.sample(f"level_{t}", dist.Normal(level, 0.5))
            pyro.sample(f"y_{t}", dist.Normal(level, 0.8), obs=y[t])

    return Example(
        model,
        AutoMultivariateNormal(model),
        (SERIES,),
        report={f"level {t}": site(f"level_{t}") for t in (0, 9)},
        exact=lambda: level_posterior()[0],
        contains=True,
        epochs=1000,
        lr=0.01,
        evidence=lambda: level_posterior()[1],
    )


@example
def local_level_forecaster():
    """Steps in a plate of time, made non-centred, and levels as their sum."""

    @poutine.reparam(config={"steps": LocScaleReparam(0.0)})
    def model(y):
        start = pyro.sample("start", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.LogNormal(-1.0, 0.5))
        with pyro.plate("time", len(y)):
            steps = pyro.sample("steps", dist.Normal(0.0, scale))
        levels = pyro.deterministic("levels", start + steps.cumsum(-1))
        with pyro.plate("observed", len(y)):
            pyro.sample("y", dist.Normal(levels, 0.8), obs=y)

    def exact():
        scale = torch.linspace(0.03, 2.5, 800).double()
        time = torch.arange(1.0, 11.0).double()
        walk = torch.minimum(time[:, None], time)
        covariance = 1 + scale.square()[:, None, None] * walk + 0.64 * torch.eye(10)
        log_p = dist.MultivariateNormal(torch.zeros(10).double(), covariance).log_prob(
            SERIES.double()
        )
        return on_grid(log_p + dist.LogNormal(-1.0, 0.5).log_prob(scale), scale=scale)

    report = {"scale": site("scale"), "start": site("start")}
    return Example(model, AutoNormal(model), (SERIES,), report=report, exact=exact, epochs=1000)


@example
def epidemic():
    """Susceptible, infected, recovered: a deterministic course below Poisson reports."""
    weeks, population = 12, 1000.0

    def course(rate, recovery):
        susceptible, infected, new = population - 10.0, torch.as_tensor(10.0), []
        for _ in range(weeks):
            cases = susceptible * (1 - (-rate * infected / population).exp())
            susceptible, infected = susceptible - cases, infected * (1 - recovery) + cases
            new.append(cases)
        return torch.stack(new, -1)

    expected = 0.3 * course(torch.tensor(0.9), 0.4)
    reports = (expected + expected.sqrt() * noise(0, weeks)).clamp(min=0).round()

    def model(reports):
        rate = pyro.sample("rate", dist.LogNormal(0.0, 0.5))
        share = pyro.sample("share", dist.Beta(3.0, 7.0))
        with pyro.plate("weeks", len(reports)):
            pyro.sample("reports", dist.Poisson(share * course(rate, 0.4)), obs=reports)

    def exact():
        axes = torch.linspace(0.7, 1.1, 300).double(), torch.linspace(0.2, 0.4, 300).double()
        rate, share = torch.meshgrid(*axes, indexing="ij")
        log_p = dist.LogNormal(0.0, 0.5).log_prob(rate) + dist.Beta(3.0, 7.0).log_prob(share)
        mean = share[..., None] * course(rate, 0.4)
        log_p = log_p + dist.Poisson(mean).log_prob(reports.double()).sum(-1)
        return on_grid(log_p, rate=rate, share=share)

    return Example(
        model,
        AutoMultivariateNormal(model, init_scale=0.05),
        (reports,),
        report={"rate": site("rate"), "share": site("share")},
        exact=exact,
        contains=True,
        lr=0.01,
        epochs=1000,
    )


@example
def tracking_by_a_state_space():
    """A track as one observed site of a Gaussian hidden Markov model, scales as latents."""
    track = (0.3 * noise(0, 15, 1)).cumsum(0) + 0.2 * noise(1, 15, 1)

    def model(track):
        drift = pyro.sample("drift", dist.LogNormal(-1.0, 0.5))
        error = pyro.sample("error", dist.LogNormal(-1.0, 0.5))
        one = torch.eye(1)
        filtered = dist.GaussianHMM(
            dist.Normal(torch.zeros(1), 1.0).to_event(1),
            one,
            dist.Normal(torch.zeros(1), drift).to_event(1),
            one,
            dist.Normal(torch.zeros(1), error).to_event(1),
            duration=len(track),
        )
        pyro.sample("track", filtered, obs=track)

    def exact():
        axes = torch.linspace(0.05, 1.0, 60).double(), torch.linspace(0.03, 0.8, 60).double()
        drift, error = torch.meshgrid(*axes, indexing="ij")
        time = torch.arange(1.0, 16.0).double()
        walk = 1 + drift.square()[..., None, None] * torch.minimum(time[:, None], time)
        noisy = walk + error.square()[..., None, None] * torch.eye(15)
        y = track.squeeze(-1).double()
        log_p = dist.MultivariateNormal(torch.zeros(15).double(), noisy).log_prob(y)
        prior = dist.LogNormal(-1.0, 0.5)
        return on_grid(
            log_p + prior.log_prob(drift) + prior.log_prob(error), drift=drift, error=error
        )

    return Example(
        model,
        AutoMultivariateNormal(model),
        (track,),
        report={"drift": site("drift"), "error": site("error")},
        exact=exact,
        contains=True,
    )


@example
def tracking_by_point_estimates():
    """The same kind of track with maximum a posteriori scales."""
    found = tracking_by_a_state_space()
    return Example(found.model, AutoDelta(found.model), found.data, report=found.report, epochs=400)


@example
def seasons_by_easyguide():
    """Groups of latents drawn together by an EasyGuide, one of them as a point estimate."""
    season = torch.tensor([0.0, 1.0, -1.0, 0.5])
    y = season.repeat(6)[:, None] + 0.4 * noise(0, 24, 1)

    def model(y):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("seasons", 4):
            effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        drift = pyro.sample("drift", dist.Normal(0.0, 0.1))
        with pyro.plate("time", len(y)):
            mean = effect[torch.arange(len(y)) % 4] + drift * torch.arange(len(y)) / 24
            pyro.sample("y", dist.Normal(mean, scale), obs=y.squeeze(-1))

    class Guide(EasyGuide):
        def guide(self, y):
            self.map_estimate("scale")
            group = self.group(match="effect|drift")
            loc = pyro.param("loc", torch.zeros(group.event_shape))
            width = pyro.param(
                "width", torch.full(group.event_shape, 0.2), constraint=constraints.positive
            )
            group.sample("group", dist.Normal(loc, width).to_event(1))

    report = {"effect 1": site("effect", 1), "scale": site("scale")}
    return Example(model, Guide(model), (y,), report=report, epochs=1000)


@example
def random_walk_by_a_conditioned_guide():
    """A chain whose guide follows it backwards through time, one amortised step at a time."""
    y = (0.5 * noise(0, 12, 6)).cumsum(1) + 0.5 * noise(1, 12, 6)

    def model(y):
        z = torch.zeros(len(y))
        with pyro.plate("series", len(y)):
            for t in pyro.markov(range(y.shape[1])):
                z = pyro.sample(f"z_{t}", dist.Normal(z, 0.5))
                pyro.sample(f"y_{t}", dist.Normal(z, 0.5), obs=y[:, t])

    def guide(y):
        z = torch.zeros(len(y))
        weight, bias = real("weight", torch.full((6, 2), 0.4)), real("bias", torch.zeros(6))
        width = positive("width", torch.full((6,), 0.4))
        with pyro.plate("series", len(y)):
            for t in range(y.shape[1]):
                mean = weight[t, 0] * z + weight[t, 1] * y[:, t] + bias[t]
                z = pyro.sample(f"z_{t}", dist.Normal(mean, width[t]))

    return Example(model, guide, (y,), batch_size=6, epochs=200, lr=0.01)
