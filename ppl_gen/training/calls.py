"""Taking the steps of a run, several in one call where nothing has to look at each of them.

Where a step is a :class:`~ppl_gen.staging.full_step.WholeStep`, Python has nothing to do between
two steps, and for small models that is most of the time. The steps are the same however many are
taken in one call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ppl_gen.staging.full_step import WholeStep
from ppl_gen.staging.updates import Update, expressible
from ppl_gen.training.batches import Batch, Batches, TensorBatches
from ppl_gen.training.run import Run
from ppl_gen.training.trainable import Solo, fill

# How long the steps of one call may take, and how many they may be.
SECONDS, MOST = 0.1, 256


class Calls:
    """Takes the steps of a run.

    Args:
        run: what is trained.
        steps: how many steps to take in one call, or ``"auto"`` for as many as take
            :data:`SECONDS`.

    Attributes:
        steps: how many are taken in one call at present, at most.
        settled: whether every step taken has been given out, so that the state is that after it.
    """

    def __init__(self, run: Run, steps: int | str):
        self.run, self.settled = run, True
        self._automatic = steps == "auto"
        self.steps = 1 if isinstance(steps, str) else steps
        self._solo = run.trainable.solo()
        self._whole = None if self._solo is None else _whole_step(run, self._solo)
        self._buffers = list(run.trainable.buffers())

    def epoch(
        self, source: Batches, horizon: Callable[[], int | None]
    ) -> Iterator[dict[str, float]]:
        """Take the steps on the rest of the current epoch; the metrics of each.

        Args:
            source: of the batches.
            horizon: how many steps may be taken before somebody wants to look at the state.
        """
        ahead = self._whole is not None and isinstance(source, TensorBatches)

        def most() -> int:
            return min(self.steps, horizon() or self.steps) if ahead else 1

        for several in _together(self.run.batches(source), most):
            yield from self.take(several)

    def take(self, batches: Sequence[Batch]) -> Iterator[dict[str, float]]:
        """One step on each of some batches of one shape; the metrics of each."""
        run, solo, whole, started = self.run, self._solo, self._whole, time.perf_counter()
        if solo is None or whole is None:
            yield from map(run.step, batches)
            return
        before = torch.get_rng_state(), [buffer.clone() for buffer in self._buffers]
        taken = whole.take(batches)
        if taken is None:
            yield from map(run.step, batches)
            return
        self._learn(time.perf_counter() - started, len(batches))
        solo.check()
        for i, recorded in enumerate(taken):
            loss = recorded["loss"]
            if not math.isfinite(loss):
                torch.set_rng_state(before[0])
                fill(self._buffers, before[1])
                whole.replay(batches[:i])
                run.stop(solo.player, loss, torch.get_rng_state(), batches[i])
            run.record(recorded)
            self.settled = i + 1 == len(batches)
            yield recorded

    def _learn(self, seconds: float, steps: int) -> None:
        """Adapt the number of steps to a call that took so long for so many."""
        if self._automatic and seconds < SECONDS / 2 and steps == self.steps < MOST:
            self.steps *= 2
        elif self._automatic and seconds > SECONDS:
            self.steps = max(1, self.steps // 2)


def _whole_step(run: Run, solo: Solo) -> WholeStep | None:
    """What takes whole steps, if these can be taken without looking at gradients in between."""
    several_players = list(run.players) != [solo.player]
    if not run.staged or several_players or run.world.size > 1:
        return None
    optimizer, scheduler = run.optimizers[solo.player], run.schedulers.get(solo.player)
    if not expressible(optimizer):
        return None
    average = run.average
    update = Update(
        optimizer,
        None if isinstance(scheduler, ReduceLROnPlateau) else scheduler,
        clip_norm=run.clip_norm,
        averages={} if average is None else average.by_parameter(),
        decay=0.0 if average is None else average.decay,
        advance=solo.advance,
    )
    return WholeStep(solo.loss, run.every, update)


def _together(batches: Iterable[Batch], most: Callable[[], int]) -> Iterator[list[Batch]]:
    """Consecutive batches of one shape, at most so many; none is drawn before it is wanted."""
    held: list[Batch] = []
    for batch in batches:
        if held and [t.shape for t in batch] != [t.shape for t in held[0]]:
            yield held
            held = []
        held.append(batch)
        if len(held) >= most():
            yield held
            held = []
    if held:
        yield held
