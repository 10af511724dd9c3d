"""What the training loop trains: named players and their losses.

A :class:`Trainable` has players, each a set of parameters with its own optimiser, and for each
batch a sequence of turns, each a player and a loss. After a turn's optimiser step the sequence
resumes, so that a second player sees the first one's new parameters. A model/guide pair is one
player.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from ppl_gen.objectives import ELBO, Objective, loss_function
from ppl_gen.terms import Program, terms
from ppl_gen.vae import VAE, evaluating, unregistered

Loss: TypeAlias = Callable[..., tuple[Tensor, dict[str, Tensor]]]
Turn: TypeAlias = tuple[str, Loss, tuple[Any, ...]] | tuple[str, Loss]


class Trainable:
    """What :func:`ppl_gen.fit` trains; a subclass defines ``players`` and ``losses``.

    Any object with these two is accepted; what else it defines replaces the defaults here.
    """

    @property
    def players(self) -> Mapping[str, Iterable[Tensor]]:
        """Parameters by player."""
        raise NotImplementedError

    def losses(self, *batch: Tensor) -> Iterator[Turn]:
        """The turns of one batch: a player, a function to its loss and metrics, its arguments.

        A turn without arguments is a closure, which is evaluated eagerly. A generator receives the
        metrics of the turn it ended from each ``yield``.
        """
        raise NotImplementedError

    def prepare(self, *batch: Tensor) -> None:
        """Check a first batch and create whatever is created lazily."""

    def evaluate(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """Metrics of held-out data, means per datum; changes nothing."""
        return {}

    def running(self) -> AbstractContextManager[None]:
        """The context in which everything runs."""
        return nullcontext()

    def buffers(self) -> Iterable[Tensor]:
        """Tensors that steps change besides the parameters."""
        return ()

    def culprits(self, *args: Any) -> list[str]:
        """The sites whose log-probability is not finite for these arguments of a loss."""
        return []

    def state_dict(self) -> dict[str, Any]:
        return {name: [p.detach() for p in ps] for name, ps in self.players.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, parameters in self.players.items():
            for parameter, stored in zip(parameters, state[name], strict=True):
                parameter.copy_(stored)


class _Adapted(Trainable):
    """An object with players and losses, with defaults for the rest."""

    def __init__(self, trainable: Any):
        for name in vars(Trainable):
            if not name.startswith("_") and name != "players" and hasattr(trainable, name):
                setattr(self, name, getattr(trainable, name))
        self._trainable = trainable

    @property
    def players(self) -> Mapping[str, Iterable[Tensor]]:
        return self._trainable.players


class Pair(Trainable):
    """Any Pyro model and guide with an objective, as something to train.

    Args:
        model: a Pyro program.
        guide: a Pyro program with the same arguments.
        objective: a ``pyro.infer.ELBO``; ours by default.

    Parameters are found by running the objective once on the first batch: those of ``pyro.param``,
    of ``pyro.module`` and of PyroModules alike.
    """

    def __init__(self, model: Program, guide: Program, objective: pyro.infer.ELBO | None = None):
        self.model, self.guide = model, guide
        self.objective = ELBO() if objective is None else objective
        self._loss = loss_function(model, guide, self.objective)
        self._parameters: dict[str, Tensor] = {}

    def prepare(self, *batch: Tensor) -> None:
        state = torch.get_rng_state()
        with poutine.trace(param_only=True) as captured:
            self._loss(*batch)
        torch.set_rng_state(state)
        sites = captured.trace.nodes.items()
        self._parameters = {
            name: leaf
            for name, site in sites
            if (leaf := cast(Any, site["value"]).unconstrained()).requires_grad
        }
        if not self._parameters:
            raise ValueError("expected a model or guide with parameters to train, got none")

    @property
    def players(self) -> dict[str, list[Tensor]]:
        unique = {id(leaf): leaf for leaf in self._parameters.values()}
        return {"pair": list(unique.values())}

    def losses(self, *batch: Tensor) -> Generator[Turn, Mapping[str, Tensor], None]:
        metrics = yield "pair", self._loss, batch
        if isinstance(self.objective, Objective):
            self.objective.update(metrics)

    @torch.no_grad()
    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        loss, metrics = self._loss(*batch)
        return metrics or {"loss": loss / len(batch[0])}

    def buffers(self) -> Iterable[Tensor]:
        return (buffer for module in self._modules().values() for buffer in module.buffers())

    def culprits(self, *batch: Tensor) -> list[str]:
        """The sites whose log-probability is not finite on this batch, ``x`` or ``z (guide)``."""
        t = terms(self.model, self.guide, batch)
        found = [f"{site} (model)" for site, v in t.log_p.items() if not v.isfinite().all()]
        found += [f"{site} (guide)" for site, v in t.log_q.items() if not v.isfinite().all()]
        return found + ([] if t.log_lik.isfinite().all() else ["the observed sites"])

    def _modules(self) -> dict[str, nn.Module]:
        parts = {"model": self.model, "guide": self.guide, "objective": self.objective}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def state_dict(self) -> dict[str, Any]:
        modules = {name: module.state_dict() for name, module in self._modules().items()}
        return {"parameters": {n: p.detach() for n, p in self._parameters.items()}, **modules}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        stored = state["parameters"]
        if set(stored) != set(self._parameters):
            odd = sorted(set(stored) ^ set(self._parameters))
            raise ValueError(f"expected the parameters of this pair, {', '.join(odd)} differ")
        for name, leaf in self._parameters.items():
            leaf.copy_(stored[name])
        for name, module in self._modules().items():
            module.load_state_dict(state[name])


class _ModulePair(Pair):
    """A model of this package: its parameters are known and need no parameter store."""

    def __init__(self, module: VAE):
        super().__init__(module.model, module.guide, module.objective)
        self.module = module

    def prepare(self, *batch: Tensor) -> None:
        self.module.check(batch[0])
        named = self.module.named_parameters()
        self._parameters = {name: p for name, p in named if p.requires_grad}

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        with evaluating(self.module):
            return super().evaluate(*batch)

    def running(self) -> AbstractContextManager[None]:
        return unregistered()

    def buffers(self) -> Iterable[Tensor]:
        return self.module.buffers()

    def state_dict(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state)


def as_trainable(model: Any) -> Trainable:
    """A :class:`Trainable` as it is, or one for a VAE or for an object with players and losses.

    Raises:
        ValueError: anything else.
    """
    if isinstance(model, VAE):
        return _ModulePair(model)
    if isinstance(model, Trainable):
        return model
    if hasattr(model, "players") and hasattr(model, "losses"):
        return _Adapted(model)
    raise ValueError(
        "expected a model of ppl_gen.zoo, a ppl_gen.Pair(model, guide, objective) or a Trainable, "
        f"got {type(model).__name__}"
    )
