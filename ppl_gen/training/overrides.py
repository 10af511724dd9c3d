"""Settings that a resumed run may change when asked to: learning rate, batch size, clipping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

# By name, the settings that differ with it.
ALLOWED = {"lr": ["lr"], "batch_size": ["batch_size", "batches"], "clip_norm": ["clip_norm"]}


def names(override: Any) -> list[str]:
    """The names of what may be changed, or ``ValueError``."""
    listed = [override] if isinstance(override, str) else override
    if not isinstance(listed, Iterable) or any(name not in ALLOWED for name in (*listed,)):
        raise ValueError(
            f"expected override to name some of {', '.join(ALLOWED)}, got {override!r}"
        )
    return list(listed)


def hint(differing: Iterable[str]) -> str:
    """How to go on with settings that differ."""
    wanted = [name for name, those in ALLOWED.items() if set(those) & set(differing)]
    allowed = {setting for name in wanted for setting in ALLOWED[name]}
    if wanted and allowed >= set(differing):
        return f"start over, resume with the same, or allow it with override={wanted}"
    return "start over, or resume with the same"


def of_player(value: Any, player: str) -> Any:
    """A setting that is one value for all players or a dictionary by player."""
    return value[player] if isinstance(value, Mapping) else value


def change_lr(optimizer: Optimizer, scheduler: LRScheduler | None, old: float, new: float) -> None:
    """Go on as if the base learning rate had always been the new one.

    Raises:
        ValueError: a scheduler whose rates do not start from the optimiser's.
    """
    every = list(_nested(scheduler))
    for each in every:
        if isinstance(each, (CyclicLR, OneCycleLR)):
            raise ValueError(
                f"expected a scheduler that starts from lr to override it, {type(each).__name__} "
                "has learning rates of its own"
            )

    def scaled(rate: Any) -> Any:
        return new if isinstance(rate, float) and rate == old else rate * (new / old)

    for group in optimizer.param_groups:
        group.update({key: scaled(group[key]) for key in ("lr", "initial_lr") if key in group})
    for each in every:
        for name in ("base_lrs", "_last_lr"):
            if hasattr(each, name):
                setattr(each, name, [scaled(rate) for rate in getattr(each, name)])


def batch(position: int, stored: Mapping[str, Any], own: Mapping[str, Any]) -> int:
    """The batch at which an epoch goes on that stopped at some batch of another size.

    Raises:
        ValueError: within an epoch, sizes that are not known or change.
    """
    sizes = stored["batch_size"], own["batch_size"]
    if position and None in sizes:
        raise ValueError("within an epoch, batch_size cannot change where a batch_sampler sets it")
    return position * sizes[0] // sizes[1] if position else 0


def _nested(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those that it is made of."""
    if scheduler is not None:
        yield scheduler
        for part in getattr(scheduler, "_schedulers", ()):
            yield from _nested(part)
