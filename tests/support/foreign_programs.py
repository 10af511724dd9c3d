"""Pyro programs as their users write them, none of them built from this package.

Each builder returns a model, a guide, an objective and a function from a step number to the
arguments of that step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import (
    ELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoNormal,
)
from pyro.nn import PyroModule, PyroSample
from torch import Tensor, nn
from torch.distributions import constraints


class Program(NamedTuple):
    model: Callable[..., Any]
    guide: Callable[..., Any]
    objective: ELBO
    arguments: Callable[[int], tuple[Any, ...]]


PROGRAMS: dict[str, Callable[[], Program]] = {}


def foreign(build: Callable[[], Program]) -> Callable[[], Program]:
    PROGRAMS[build.__name__] = build
    return build


def _noise(step: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + step))


def _coins(step: int, *shape: int) -> Tensor:
    return (_noise(step, *shape) > 0).float()


@foreign
def coin() -> Program:
    """The Pyro tutorial's coin: Beta posterior with constrained parameters."""

    def model(flips: Tensor) -> None:
        fairness = pyro.sample("fairness", dist.Beta(10.0, 10.0))
        with pyro.plate("flips", len(flips)):
            pyro.sample("flip", dist.Bernoulli(fairness), obs=flips)

    def guide(flips: Tensor) -> None:
        alpha = pyro.param("alpha", torch.tensor(15.0), constraint=constraints.positive)
        beta = pyro.param("beta", lambda: torch.tensor(15.0), constraint=constraints.positive)
        pyro.sample("fairness", dist.Beta(alpha, beta))

    return Program(model, guide, Trace_ELBO(), lambda step: (_coins(step, 10),))


def _eight_schools(y: Tensor, sigma: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
    tau = pyro.sample("tau", dist.HalfCauchy(scale=25.0))
    with pyro.plate("schools", len(y)):
        eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * eta, sigma), obs=y)


def _schools(step: int) -> tuple[Tensor, Tensor]:
    return 10 * _noise(step, 8), 10 + _noise(step + 1, 8).abs()


@foreign
def hierarchical_auto_normal() -> Program:
    """Eight schools with a mean-field guide made from the model."""
    return Program(_eight_schools, AutoNormal(_eight_schools), TraceMeanField_ELBO(), _schools)


@foreign
def hierarchical_auto_low_rank() -> Program:
    """Eight schools with a low-rank guide and vectorised particles."""
    guide = AutoLowRankMultivariateNormal(_eight_schools, rank=2)
    objective = Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    return Program(_eight_schools, guide, objective, _schools)


@foreign
def bayesian_network() -> Program:
    """A Bayesian neural network of PyroModules whose weights are samples."""

    class Regression(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = PyroModule[nn.Linear](3, 5)
            self.output = PyroModule[nn.Linear](5, 1)
            for layer in (self.hidden, self.output):
                for name, parameter in list(layer.named_parameters()):
                    prior = dist.Normal(0.0, 1.0).expand(parameter.shape).to_event(parameter.dim())
                    setattr(layer, name, PyroSample(prior))

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            mean = self.output(self.hidden(x).tanh()).squeeze(-1)
            sigma = pyro.sample("sigma", dist.LogNormal(0.0, 1.0))
            with pyro.plate("data", x.shape[0]):
                pyro.sample("obs", dist.Normal(mean, sigma), obs=y)
            return mean

    model = Regression()
    return Program(
        model,
        AutoDiagonalNormal(model),
        Trace_ELBO(num_particles=2),
        lambda step: (_noise(step, 12, 3), _noise(step + 1, 12)),
    )


def _join(*parts: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)


class _SemiSupervised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(8, 3)
        self.encode = nn.Linear(8 + 3, 4)
        self.decode = nn.Linear(2 + 3, 8)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("ss_vae", self)
        with pyro.plate("data", x.shape[0]):
            uniform = dist.OneHotCategorical(x.new_full((x.shape[0], 3), 1 / 3))
            y = pyro.sample("y", uniform, obs=y)
            z = pyro.sample("z", dist.Normal(x.new_zeros(x.shape[0], 2), 1.0).to_event(1))
            logits = self.decode(_join(z, y))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", x.shape[0]):
            if y is None:
                y = pyro.sample("y", dist.OneHotCategorical(logits=self.classify(x)))
            loc, log_scale = self.encode(_join(x, y)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@foreign
def semi_supervised_vae() -> Program:
    """The labels enumerated in the guide; every other batch has labels."""
    vae = _SemiSupervised()

    def batch(step: int) -> tuple[Tensor, ...]:
        x = _coins(step, 6, 8)
        labels = torch.arange(6) % 3
        return (x, nn.functional.one_hot(labels).float()) if step % 2 else (x,)

    guide = config_enumerate(vae.guide, "parallel", expand=True)
    objective = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)
    return Program(vae.model, guide, objective, batch)


@foreign
def mixture() -> Program:
    """A Gaussian mixture: assignments enumerated in the model, a point estimate of the rest."""

    @config_enumerate
    def model(data: Tensor) -> None:
        weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(3)))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
        with pyro.plate("components", 3):
            locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
        with pyro.plate("data", len(data)):
            assignment = pyro.sample("assignment", dist.Categorical(weights))
            pyro.sample("obs", dist.Normal(locs[assignment], scale), obs=data)

    guide = AutoDelta(poutine.block(model, expose=["weights", "locs", "scale"]))
    objective = TraceEnum_ELBO(max_plate_nesting=1)
    return Program(model, guide, objective, lambda step: (3 * _noise(step, 9),))


@foreign
def hidden_markov_model() -> Program:
    """Hidden states enumerated in a Markov loop, with learned transition probabilities."""

    @config_enumerate
    def model(sequence: Tensor) -> None:
        transition = pyro.param(
            "transition", lambda: torch.full((3, 3), 1 / 3), constraint=constraints.simplex
        )
        locs = pyro.param("locs", lambda: torch.tensor([-1.0, 0.0, 1.0]))
        state: Any = 0
        for t in pyro.markov(range(len(sequence))):
            state = pyro.sample(f"state_{t}", dist.Categorical(transition[state]))
            pyro.sample(f"obs_{t}", dist.Normal(locs[state], 0.5), obs=sequence[t])

    def guide(sequence: Tensor) -> None:
        pass

    objective = TraceEnum_ELBO(max_plate_nesting=0)
    return Program(model, guide, objective, lambda step: (_noise(step, 5),))


@foreign
def gaussian_process() -> Program:
    """A sparse variational Gaussian process of pyro.contrib."""
    inputs = torch.linspace(0.0, 1.0, 12)
    targets = (6 * inputs).sin() + 0.1 * _noise(0, 12)
    process = gp.models.VariationalSparseGP(
        inputs,
        targets,
        gp.kernels.RBF(input_dim=1),
        inputs[::3].clone(),
        gp.likelihoods.Gaussian(),
        jitter=1e-4,
    )
    return Program(process.model, process.guide, TraceMeanField_ELBO(), lambda step: ())


@foreign
def subsampled_regression() -> Program:
    """A plate that draws its own subsample of data the program closes over."""
    x, y = _noise(0, 40, 2), _noise(1, 40)

    def model() -> None:
        weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", 40, subsample_size=8) as batch:
            pyro.sample("y", dist.Normal(x[batch] @ weights, 0.5), obs=y[batch])

    def guide() -> None:
        loc = pyro.param("loc", torch.zeros(2))
        scale = pyro.param("scale", torch.ones(2), constraint=constraints.positive)
        pyro.sample("weights", dist.Normal(loc, scale).to_event(1))

    return Program(model, guide, Trace_ELBO(), lambda step: ())


def _sigmoid_belief(baseline: dict[str, Any]) -> Program:
    decoder, encoder = nn.Linear(4, 8), nn.Linear(8, 4)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Bernoulli(0.5 * torch.ones(x.shape[0], 4)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        options = dict(baseline)
        if "nn_baseline" in options:
            pyro.module("baseline", options["nn_baseline"])
            options["nn_baseline_input"] = x
        with pyro.plate("data", x.shape[0]):
            proposal = dist.Bernoulli(logits=encoder(x)).to_event(1)
            pyro.sample("z", proposal, infer={"baseline": options} if options else {})

    return Program(model, guide, TraceGraph_ELBO(), lambda step: (_coins(step, 6, 8),))


@foreign
def score_function() -> Program:
    """Bernoulli latents: every gradient of the guide comes from the score function."""
    return _sigmoid_belief({})._replace(objective=Trace_ELBO())


@foreign
def network_baseline() -> Program:
    """The same with a baseline that is a network."""

    class Baseline(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).squeeze(-1)

    return _sigmoid_belief({"nn_baseline": Baseline(8, 1)})


@foreign
def decaying_average_baseline() -> Program:
    """The same with a running average that lives in the parameter store."""
    return _sigmoid_belief({"use_decaying_avg_baseline": True})


@foreign
def normalising_flow() -> Program:
    """A guide whose density is a flow, with a transform that caches what it computes."""
    transform = dist.transforms.affine_autoregressive(3, hidden_dims=[8])

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", x.shape[0]):
            pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("flow", transform)
        base = dist.Normal(torch.zeros(3), torch.ones(3)).to_event(1)
        pyro.sample("z", dist.TransformedDistribution(base, [transform]))

    return Program(model, guide, Trace_ELBO(), lambda step: (_noise(step, 7),))


@foreign
def deep_markov_model() -> Program:
    """A recurrent guide over time, with a KL weight among the arguments that changes."""
    recurrent, transition, emission = nn.GRUCell(2, 6), nn.Linear(3, 6), nn.Linear(3, 2)
    combine = nn.Linear(6, 6)

    def model(x: Tensor, weight: float) -> None:
        pyro.module("transition", transition)
        pyro.module("emission", emission)
        z = x.new_zeros(x.shape[0], 3)
        with pyro.plate("sequences", x.shape[0]):
            for t in range(x.shape[1]):
                loc, scale = transition(z).chunk(2, -1)
                with poutine.scale(scale=weight):
                    z = pyro.sample(f"z_{t}", dist.Normal(loc, scale.exp()).to_event(1))
                pyro.sample(f"x_{t}", dist.Normal(emission(z), 1.0).to_event(1), obs=x[:, t])

    def guide(x: Tensor, weight: float) -> None:
        pyro.module("recurrent", recurrent)
        pyro.module("combine", combine)
        hidden = x.new_zeros(x.shape[0], 6)
        with pyro.plate("sequences", x.shape[0]):
            for t in range(x.shape[1]):
                hidden = recurrent(x[:, t], hidden)
                loc, scale = combine(hidden).chunk(2, -1)
                with poutine.scale(scale=weight):
                    pyro.sample(f"z_{t}", dist.Normal(loc, scale.exp()).to_event(1))

    def batch(step: int) -> tuple[Tensor, float]:
        return _noise(step, 4, 3, 2), 0.25 * (step + 1)

    return Program(model, guide, Trace_ELBO(), batch)


@foreign
def batch_norm_and_dropout() -> Program:
    """Running statistics that the step updates, and random masks."""
    encoder = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    decoder = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 8))

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(x.new_zeros(x.shape[0], 2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", x.shape[0]):
            loc, scale = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))

    return Program(model, guide, Trace_ELBO(), lambda step: (_coins(step, 6, 8),))


@foreign
def parameter_shared_by_both() -> Program:
    """One constrained parameter in model and guide, and a subsample passed as an argument."""

    def model(x: Tensor, batch: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        mean = pyro.sample("mean", dist.Normal(0.0, scale))
        with pyro.plate("data", len(x), subsample=batch):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x[batch])

    def guide(x: Tensor, batch: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.0))
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        pyro.sample("mean", dist.Normal(loc, scale))

    def arguments(step: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randperm(10, generator=torch.Generator().manual_seed(step))[:4]
        return _noise(7, 10), chosen

    return Program(model, guide, Trace_ELBO(num_particles=3), arguments)
