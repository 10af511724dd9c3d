"""Examples of Pyro's repository and tutorials, each with an objective, data and a known answer.

The structures are theirs, the programs are written anew at a size that trains in seconds.
``EXAMPLES`` maps a name to a function that builds an :class:`Example`; other modules named
``pyro_examples_*`` add theirs. ``train`` and ``train_stock`` are the two ways to fit one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyro
import pyro.infer
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor
from torch.optim.lr_scheduler import ExponentialLR

import ppl_gen
from ppl_gen.data.batches import as_batches
from ppl_gen.training import generators

Moments = dict[str, tuple[float, float]]


@dataclass
class Example:
    """A program of one structure and what is known of it.

    Attributes:
        model: the model.
        guide: the guide.
        data: what ``fit`` is given.
        objective: makes the stock objective that the program needs; ``Trace_ELBO`` where None.
        report: scalar latents to compare, each from the values of one draw of the guide.
        exact: mean and standard deviation of some reports under the true posterior.
        contains: whether the guide's family contains the posterior, or nearly does.
        batch_size: rows per step; all where None.
        epochs: passes over the data after which the fit has settled.
        lr: the learning rate.
        scored: whether gradients need the score function.
        evidence: minus the log evidence per datum, where known.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    data: tuple[Tensor, ...]
    objective: Callable[[], Any] | None = None
    report: Mapping[str, Callable[[dict[str, Tensor]], Tensor]] = field(default_factory=dict)
    exact: Callable[[], Moments] | None = None
    contains: bool = False
    batch_size: int | None = None
    epochs: int = 800
    lr: float = 0.05
    scored: bool = False
    evidence: Callable[[], float] | None = None

    def stock(self) -> Any:
        """A new stock objective."""
        return Trace_ELBO() if self.objective is None else self.objective()

    def rows(self) -> int:
        return self.batch_size or len(self.data[0])


EXAMPLES: dict[str, Callable[[], Example]] = {}


def example(build: Callable[[], Example]) -> Callable[[], Example]:
    EXAMPLES[build.__name__] = build
    return build


def prepared(name: str, seed: int = 0) -> Example:
    """An example with fresh parameters, the same for the same seed."""
    pyro.clear_param_store()
    torch.manual_seed(seed)
    found = EXAMPLES[name]()
    first = tuple(tensor[: found.rows()] for tensor in found.data)
    torch.manual_seed(seed)
    with poutine.block():
        found.guide(*first)  # automatic guides draw their starts when first called
    return found


def train(
    found: Example, objective: Any = None, decay: bool = False, **options: Any
) -> list[float]:
    """The losses of every step of ``ppl_gen.fit``, with ``decay`` at a learning rate that falls."""
    settings = {"epochs": found.epochs, "lr": found.lr, "batch_size": found.rows()} | options
    if decay:
        settings["scheduler"] = lambda o: ExponentialLR(o, _falling(found, settings["epochs"]))
    pair = ppl_gen.Pair(found.model, found.guide, objective)
    return ppl_gen.fit(pair, found.data, progress=False, **settings)["loss"]


def train_stock(
    found: Example, objective: Any, epochs: int, seed: int = 0, decay: bool = False
) -> list[float]:
    """The losses of every step of stock ``SVI``, at the batches and draws that ``fit`` has."""
    gamma = _falling(found, epochs) if decay else 1.0
    adam = {"optimizer": torch.optim.Adam, "optim_args": {"lr": found.lr}, "gamma": gamma}
    optimizer = pyro.optim.ExponentialLR(adam)
    svi = SVI(found.model, found.guide, optimizer, objective)
    batches, losses = as_batches(found.data, found.rows(), seed), []
    with generators.seeded(seed), pyro.validation_enabled(False):
        for epoch in range(epochs):
            for batch in batches.epoch(epoch):
                losses.append(svi.step(*batch))
                optimizer.step()
    return losses


def _falling(found: Example, epochs: int) -> float:
    """The factor by which the learning rate falls in every step."""
    return 0.02 ** (1 / (epochs * math.ceil(len(found.data[0]) / found.rows())))


def fitted(found: Example, draws: int = 400) -> tuple[float, Moments]:
    """The stock loss per datum, and mean and standard deviation of what is reported."""
    losses, values = [], []
    objective = found.stock()
    with torch.random.fork_rng(), torch.no_grad(), poutine.block():
        torch.manual_seed(1)
        for _ in range(draws):
            losses.append(objective.loss(found.model, found.guide, *found.data))
            trace = poutine.trace(found.guide).get_trace(*found.data)
            values.append({n: s["value"] for n, s in trace.nodes.items() if s["type"] == "sample"})
    moments = {}
    for name, read in found.report.items():
        drawn = torch.stack([torch.as_tensor(read(v)).double() for v in values])
        moments[name] = drawn.mean().item(), drawn.std(correction=0).item()
    return sum(losses) / draws / len(found.data[0]), moments


def site(name: str, *index: int) -> Callable[[dict[str, Tensor]], Tensor]:
    """Reads a latent, or one element of it."""
    return lambda values: values[name][index] if index else values[name]


def param(name: str, *index: int) -> Callable[[dict[str, Tensor]], Tensor]:
    """Reads a parameter, or one element of it."""
    return lambda _: pyro.param(name).detach()[index]


def on_grid(log_joint: Tensor, **values: Tensor) -> Moments:
    """Posterior moments of functions given on a grid of equal cells, by quadrature."""
    weight = (log_joint - log_joint.logsumexp(tuple(range(log_joint.dim())))).exp()
    found = {}
    for name, value in values.items():
        mean = (weight * value).sum()
        found[name] = mean.item(), math.sqrt((weight * (value - mean).square()).sum().item())
    return found


def noise(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers by seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
