"""What is done after the steps of a run: validations, callbacks, checkpoints, progress, Ctrl-C."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol, TypeAlias

from tqdm.auto import tqdm

from ppl_gen import _files
from ppl_gen.data.batches import Batches, num_data
from ppl_gen.objectives.elbo import Objective
from ppl_gen.training import generators
from ppl_gen.training import trainable as trainables
from ppl_gen.training.run import Event, Run
from ppl_gen.training.trainable import Trainable

Callback: TypeAlias = Callable[[Mapping[str, float]], None]

# Seconds after which a second Ctrl-C is one: launchers pass the first on once more.
REPEATED = 1.0


class Hook(Protocol):
    """Called after every step, in the order of the hooks."""

    def __call__(self, event: Event) -> None: ...


class Progress:
    """A progress bar on standard error.

    It says what is being compiled. The time that remains is estimated without steps that waited for
    that: the first, and those that take more than a second and ten times as long as any before.
    """

    def __init__(self, run: Run, shown: bool):
        length = run.steps_an_epoch
        self.bar = tqdm(
            total=None if length is None else run.epochs * length,
            initial=run.history.steps,
            unit="step",
            disable=not shown,
            mininterval=0.5,
        )
        self._last, self._longest = time.monotonic(), math.inf
        run.choices.announce = self.bar.set_description_str

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, event: Event) -> None:
        if self.bar.disable:
            return
        self._leave_out_compilation()
        if event.synchronized:
            finite = {k: f"{v:.4g}" for k, v in event.metrics.items() if math.isfinite(v)}
            self.bar.set_postfix(finite, refresh=False)
        self.bar.update()

    def _leave_out_compilation(self) -> None:
        self._last, before = time.monotonic(), self._last
        seconds, waited = self._last - before, bool(self.bar.desc)
        self.bar.set_description_str(None, refresh=False)
        if math.isinf(self._longest):
            self._longest = 0.0
        elif not waited and (not self._longest or seconds < max(1.0, 10 * self._longest)):
            self._longest = max(self._longest, seconds)
            return
        self.bar.unpause()


class Validation:
    """Records the metrics of held-out data, under the averaged weights where there are any.

    Args:
        run: what is validated.
        batches: of the held-out data.
        seed: of the draws.
        every: steps between validations; an epoch by default.
        best: a file for the best weights so far.
        recipe: how to build the model, for that file.
    """

    def __init__(
        self,
        run: Run,
        batches: Batches,
        seed: int,
        every: int | None = None,
        best: str | None = None,
        recipe: Any = None,
    ):
        self.run, self.batches, self.seed, self.every = run, batches, seed, every
        self.best, self.recipe = best, recipe

    def __call__(self, event: Event) -> None:
        if event.is_due(self.every):
            event.metrics |= self.validate()

    def validate(self) -> dict[str, float]:
        """Measure, record and rate; keep the best weights."""
        run = self.run
        with ExitStack() as stack:
            stack.enter_context(run.averaged())
            tell_size(run.trainable, self.batches)
            stack.callback(tell_size, run.trainable, run.source)
            found = self._metrics()
            run.history.amend(found)
            score = _score(found)
            if math.isnan(score) and run.needs_score:
                names = ", ".join(found) or "none"
                raise ValueError(
                    f"expected a loss or an ELBO of validation data, got metrics {names}"
                )
            if run.track_best(score) and self.best is not None:
                self._write_best(found)
        return found

    def _metrics(self) -> dict[str, float]:
        """Means per datum over held-out data, prefixed ``val_``, with draws of their own."""
        totals: dict[str, float] = {}
        count = 0
        with generators.seeded(self.seed):
            for batch in self.batches.epoch(0):
                count += len(batch[0])
                for name, value in trainables.evaluate(self.run.trainable, *batch).items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(batch[0])
        return {f"val_{name}": total / count for name, total in totals.items()}

    def _write_best(self, found: Mapping[str, float]) -> None:
        assert self.best is not None
        state = trainables.state_dict(self.run.trainable)
        payload = _files.model_payload(self.recipe, state)
        payload |= {"metrics": found, "step": self.run.history.steps}
        if self.run.world.writes:
            _files.write(self.best, "model", payload)


def _score(found: Mapping[str, float]) -> float:
    """How good held-out data look, the lower the better; NaN where nothing tells."""
    scores = -found.get("val_elbo", math.nan), found.get("val_loss", math.nan)
    known = [score for score in scores if not math.isnan(score)]
    return next(filter(math.isfinite, known), known[0] if known else math.nan)


def tell_size(trainable: Trainable, batches: Batches) -> None:
    """Let an objective know how many data there are."""
    objective, size = getattr(trainable, "objective", None), num_data(batches)
    if isinstance(objective, Objective):
        objective.observe_size(size)


def calling(callback: Callback) -> Hook:
    """A hook that gives a callback the metrics of every step and its number."""

    def call(event: Event) -> None:
        callback({"step": event.step, **event.metrics})

    return call


class Interruption:
    """Lets Ctrl-C end the run after the step under way and the hooks that follow this one.

    In its context Ctrl-C is heard; a second one, a moment later, ends the run at once. So does the
    first while a step is being compiled, of which nothing has happened yet.
    """

    def __init__(self, run: Run):
        self.run, self._asked, self._since = run, False, math.inf
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    def __call__(self, event: Event) -> None:
        if event.synchronized:
            event.interrupted = self.run.world.any(self._asked)

    def _ask(self, *_: object) -> None:
        if self.run.choices.compiling or time.monotonic() - self._since > REPEATED:
            raise KeyboardInterrupt
        self._since, self._asked = min(self._since, time.monotonic()), True


class Checkpoint:
    """Writes the complete state after each epoch, when interrupted, and at regular steps.

    Args:
        run: whose state.
        path: the file.
        every: steps between checkpoints, besides those after each epoch.
        recipe: how to build the model.
    """

    def __init__(
        self, run: Run, path: _files.PathLike, every: int | None = None, recipe: Any = None
    ):
        self.run, self.path, self.every = run, path, every
        self.origin = _files.origin(recipe)

    def __call__(self, event: Event) -> None:
        wanted = event.epoch_ended or event.interrupted or event.is_due(self.every)
        if event.synchronized and wanted:
            state = self.run.state() | self.origin
            if self.run.world.writes:
                _files.write(self.path, "checkpoint", state)
