"""Settings by player: one value for all, or a dictionary with one for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ppl_gen._checks import is_positive
from ppl_gen.staging import lean_optimizers
from ppl_gen.staging.averages import EMA
from ppl_gen.staging.updates import UpdateRule
from ppl_gen.training import trainable as trainables
from ppl_gen.training.rates import MakeScheduler
from ppl_gen.training.trainable import Trainable

MakeOptimizer: TypeAlias = Callable[[Sequence[Tensor], float], Optimizer]


def adam(
    parameters: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Optimizer:
    """Fused Adam (Kingma and Ba 2015), the default optimiser.

    >>> weights = torch.ones(2, requires_grad=True)
    >>> optimizer = ppl_gen.training.adam([weights], lr=0.5)
    >>> weights.sum().backward()
    >>> optimizer.step()
    >>> weights.detach()
    tensor([0.5000, 0.5000])
    """
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    return lean_optimizers.Adam(parameters, lr=lr, betas=betas, fused=fused)


FALLBACKS: dict[str, Any] = {"lr": 1e-3, "optimizer": adam}


def settings(trainable: Trainable, **given: Any) -> dict[str, Any]:
    """Settings by name: what is given, else the trainable's own, else the default.

    Args:
        trainable: with players, and perhaps ``fit_defaults``.
        given: ``lr``, ``optimizer``, ``ema`` and ``clip_norm``: a value, a dictionary by player, or
            ``None`` for the default.

    Raises:
        ValueError: a dictionary that leaves players out or names others; a value of another kind.
    """
    own = trainables.fit_defaults(trainable)
    for name, value in given.items():
        given[name] = own.get(name, FALLBACKS.get(name)) if value is None else value
        several = isinstance(given[name], Mapping)
        players = list(trainable.players) if several else ["all"]
        for each in trainables.by_player(name, given[name], players).values():
            _require(name, each)
    return given


def _require(name: str, value: Any) -> None:
    if name == "optimizer":
        if not callable(value) or isinstance(value, PyroOptim):
            raise ValueError(
                f"expected a function or class of torch.optim as {name}, got {value!r}"
            )
    elif value is None and name not in FALLBACKS:
        return
    elif not is_positive(value):
        raise ValueError(f"expected {name} > 0, got {value!r}")
    elif name == "ema" and not value < 1:
        raise ValueError(f"expected an ema decay in (0, 1), got {value}")


def update_rules(
    trainable: Trainable,
    found: Mapping[str, Any],
    schedulers: Mapping[str, MakeScheduler] | None = None,
) -> dict[str, UpdateRule]:
    """What follows the gradients of each player.

    Args:
        trainable: prepared on a first batch.
        found: what :func:`settings` gave.
        schedulers: by player, what makes a learning-rate scheduler of its optimiser.

    Raises:
        ValueError: the optimiser or scheduler is no torch one, or of a kind that cannot be used.
    """
    schedulers = schedulers or {}
    rules, held = {}, {player: list(ps) for player, ps in trainable.players.items()}
    own = {name: trainables.by_player(name, value, list(held)) for name, value in found.items()}
    for player, parameters in held.items():
        decay = own["ema"][player]
        made = _usable_optimizer(own["optimizer"][player](parameters, own["lr"][player]))
        rules[player] = UpdateRule(
            parameters,
            made,
            schedulers[player](made) if player in schedulers else None,
            own["clip_norm"][player],
            None if decay is None else EMA(parameters, decay),
        )
    return rules


def described(rules: Mapping[str, UpdateRule], found: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the players, as a checkpoint names them."""
    return {
        "optimizer": _kinds({player: rule.optimizer for player, rule in rules.items()}),
        "scheduler": _kinds({player: rule.scheduler for player, rule in rules.items()}),
        **{name: _summary(found[name]) for name in ("lr", "clip_norm", "ema")},
    }


def _summary(value: Any) -> Any:
    """One value where all players share it, else a dictionary by player."""
    each = list(value.values()) if isinstance(value, Mapping) else [value]
    return each[0] if all(v == each[0] for v in each) else dict(value)


def _kinds(parts: Mapping[str, Any]) -> str:
    """The kinds of some optimisers or schedulers by player."""
    named = {k: "none" if part is None else type(part).__name__ for k, part in parts.items()}
    if len(set(named.values())) < 2:
        return next(iter(named.values()), "none")
    return ", ".join(f"{player} {name}" for player, name in named.items())


def plateaus(rules: Iterable[UpdateRule]) -> list[ReduceLROnPlateau]:
    """The schedulers that are stepped by validations."""
    found = (rule.scheduler for rule in rules)
    return [scheduler for scheduler in found if isinstance(scheduler, ReduceLROnPlateau)]


def split_states(
    stored: Mapping[str, Mapping[str, Any]], rules: Mapping[str, UpdateRule]
) -> Mapping[str, Mapping[str, Any]]:
    """The states of optimisers by player, from those of a run that knew them as one player.

    Raises:
        ValueError: states of other players, or of several groups of parameters.
    """
    if stored.keys() == rules.keys():
        return stored
    groups = [group for state in stored.values() for group in state["param_groups"]]
    if len(stored) != 1 or len(rules) == 1 or len(groups) != 1:
        raise ValueError(f"the players were {', '.join(stored)} and are {', '.join(rules)}")
    (whole,), (group,), found, start = stored.values(), groups, {}, 0
    for player, rule in rules.items():
        own = range(len(rule.parameters))
        state = {i: whole["state"][start + i] for i in own if start + i in whole["state"]}
        found[player] = {"state": state, "param_groups": [{**group, "params": list(own)}]}
        start += len(own)
    return found


def _usable_optimizer(made: Any) -> Optimizer:
    """What a user's function made, if steps can be taken with it."""
    if not isinstance(made, Optimizer):
        raise ValueError(
            "expected optimizer(parameters, lr) to make a torch.optim.Optimizer, got "
            f"{type(made).__name__}"
        )
    if isinstance(made, torch.optim.SparseAdam):
        raise ValueError("expected an optimiser of dense gradients, SparseAdam takes sparse ones")
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"expected an optimiser that takes a step from one gradient, {type(made).__name__} "
            "evaluates the loss again by a closure, where draws and schedules would differ"
        )
    return made
