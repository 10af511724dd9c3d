"""Learning rates over a run: constant, falling to 0, or by a scheduler of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from pyro.optim import PyroOptim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ppl_gen.training import trainable as trainables
from ppl_gen.training.trainable import Trainable

MakeScheduler: TypeAlias = Callable[[Optimizer], LRScheduler]
WORDS = ("constant", "falling")


class Falling(LRScheduler):
    """Rates that fall linearly to 0; a run that is resumed for longer has them fall for longer.

    Args:
        optimizer: whose rates fall.
        steps: how many it takes in the whole run.

    >>> from ppl_gen.training.rates import Falling
    >>> optimizer = ppl_gen.training.adam([torch.ones(2, requires_grad=True)], lr=1.0)
    >>> rates = Falling(optimizer, steps=4)
    >>> found = []
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     rates.step()
    ...     found += rates.get_last_lr()
    >>> found
    [0.75, 0.5, 0.25, 0.0]
    """

    def __init__(self, optimizer: Optimizer, steps: int):
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """The rates of the next step, by group of parameters."""
        left = max(0.0, 1 - self.last_epoch / self.steps)
        return [rate * left for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Where it is, without the length of the run."""
        return {key: value for key, value in super().state_dict().items() if key != "steps"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, at the rates that this run has there."""
        super().load_state_dict(state_dict)
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


def require(scheduler: Any) -> None:
    """Raise ``ValueError`` unless it is ``None``, a word for a rate or makes schedulers.

    Of a dictionary by player, each is looked at.
    """
    for each in scheduler.values() if isinstance(scheduler, Mapping) else [scheduler]:
        known = each in WORDS or (each is None and scheduler is None)
        if not known and (not callable(each) or isinstance(each, PyroOptim)):
            raise ValueError(
                "expected 'constant', 'falling' or a function or class of torch.optim as "
                f"scheduler, got {each!r}"
            )


def schedulers(
    given: Any, trainable: Trainable, batch: Sequence[Any], batches: int | None, epochs: int
) -> dict[str, MakeScheduler]:
    """What makes the scheduler of each player that has one.

    Args:
        given: a function of an optimiser, a word, either by player, or ``None`` for the trainable's
            own.
        trainable: prepared on the batch.
        batch: one of the data.
        batches: how many there are in an epoch, where that is known.
        epochs: of the run.

    Raises:
        ValueError: a rate that is to fall over steps whose number is not known. It is constant
            there if it falls by default. A dictionary that leaves players out or names others.
    """
    own = trainables.fit_defaults(trainable).get("scheduler", "constant")
    wanted = own if given is None else given
    each = trainables.by_player("scheduler", wanted, list(trainable.players))
    falling = [player for player, rate in each.items() if rate == "falling"]
    steps = _steps(trainable, batch, batches, given is not None) if falling else {}
    found = {player: _checked(rate) for player, rate in each.items() if callable(rate)}
    return found | {
        player: partial(Falling, steps=max(1, epochs * steps[player]))
        for player in falling
        if player in steps
    }


def _steps(
    trainable: Trainable, batch: Sequence[Any], batches: int | None, asked: bool
) -> Mapping[str, int]:
    """How many steps the players take in an epoch; nothing, unless asked, if it is not known."""
    cycle = trainables.cycle_of(trainable)
    if batches is None or cycle is None:
        if asked:
            unknown = "the length of the data" if batches is None else "the turns of a batch"
            raise ValueError(f"expected {unknown} to be known for a rate that falls, got 'falling'")
        return {}
    whole, rest = divmod(batches, cycle.batches)
    taken: Counter[str] = Counter()
    for size, times in ((cycle.batches, whole), (rest, 1)):
        for turn in map(trainables.as_turn, cycle.schedule(*[batch] * size) if size else ()):
            taken.update(dict.fromkeys(turn.players, times))
    return taken


def _checked(make: Callable[[Optimizer], Any]) -> MakeScheduler:
    def made(optimizer: Optimizer) -> LRScheduler:
        found = make(optimizer)
        if not isinstance(found, LRScheduler):
            raise ValueError(
                f"expected scheduler(optimizer) to make an LRScheduler, got {type(found).__name__}"
            )
        if isinstance(found, ReduceLROnPlateau) and found.mode != "min":
            raise ValueError(f"expected mode='min', lower scores being better, got {found.mode!r}")
        return found

    return made
