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
Metric: TypeAlias = Callable[[Any], Any]

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
    """Records metrics of held-out data and of the model, under averaged weights if there are any.

    Args:
        run: what is validated.
        batches: of the held-out data, if there are any.
        seed: of the draws.
        every: steps between validations; an epoch by default.
        model: what the metrics are given.
        metrics: functions of the model, by name.
        score: the name of what rates the weights.
    """

    def __init__(
        self,
        run: Run,
        batches: Batches | None,
        seed: int,
        every: int | None = None,
        model: Any = None,
        metrics: Mapping[str, Metric] | None = None,
        score: str | None = None,
    ):
        self.run, self.batches, self.seed, self.every = run, batches, seed, every
        self.model, self.metrics, self.score = model, dict(metrics or {}), score
        self._best: str | None = None
        self._recipe: Any = None

    def keep_best(self, path: str | None, recipe: Any = None) -> None:
        """Keep the best weights so far in a file, with how to build the model."""
        self._best, self._recipe = path, recipe

    def require_score(self) -> None:
        """Raise ``ValueError`` unless validations tell what is asked of them; changes nothing."""
        if not self.run.needs_score and self.score is None:
            return
        if self.score in self.metrics or (self.score is None and self.metrics):
            return
        names = []
        if self.batches is not None:
            with generators.seeded(self.seed):
                first = next(iter(self.batches.epoch(0)))
                names = list(trainables.evaluate(self.run.trainable, *first))
        wanted = {"loss", "elbo"} if self.score is None else {self.score}
        if not wanted & set(names):
            what = "a loss or an ELBO of validation data" if self.score is None else self.score
            raise ValueError(
                f"expected {what} to judge by, got metrics {', '.join(names) or 'none'}: others "
                "are given to fit as metrics={'fid': function of the model}"
            )

    def __call__(self, event: Event) -> None:
        if event.is_due(self.every):
            event.metrics |= self.validate()

    def validate(self) -> dict[str, float]:
        """Measure, record and rate; keep the best weights."""
        run = self.run
        with run.averaged():
            found = self._of_data() | self._of_model()
            run.history.amend(found)
            score = self._rate(found)
            if math.isnan(score) and run.needs_score:
                names = ", ".join(found) or "none"
                raise ValueError(
                    f"expected a loss or an ELBO of validation data, got metrics {names}"
                )
            if run.track_best(score) and self._best is not None:
                self._write_best(found)
        return found

    def _of_data(self) -> dict[str, float]:
        """Means per datum over held-out data, prefixed ``val_``, with draws of their own."""
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}  # a batch may be too small for some metrics
        if self.batches is None:
            return {}
        with ExitStack() as stack:
            tell_size(self.run.trainable, self.batches)
            stack.callback(tell_size, self.run.trainable, self.run.source)
            stack.enter_context(generators.seeded(self.seed))
            for batch in self.batches.epoch(0):
                for name, value in trainables.evaluate(self.run.trainable, *batch).items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(batch[0])
                    counts[name] = counts.get(name, 0) + len(batch[0])
        return {f"val_{name}": total / counts[name] for name, total in totals.items()}

    def _of_model(self) -> dict[str, float]:
        found = {}
        for name, metric in self.metrics.items():
            with generators.seeded(self.seed):
                value = metric(self.model)
            try:
                found[f"val_{name}"] = float(value.value if hasattr(value, "value") else value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"expected a number of metric {name}, got {value!r}") from error
        return found

    def _rate(self, found: Mapping[str, float]) -> float:
        """How good a validation is, the lower the better; NaN where nothing tells."""
        if self.score is not None:
            return found.get(f"val_{self.score}", math.nan)
        score = _score(found)
        if math.isnan(score) and self.metrics:
            return found[f"val_{next(iter(self.metrics))}"]
        return score

    def _write_best(self, found: Mapping[str, float]) -> None:
        assert self._best is not None
        state = trainables.state_dict(self.run.trainable)
        payload = _files.model_payload(self._recipe, state)
        payload |= {"metrics": found, "step": self.run.history.steps}
        if self.run.world.writes:
            _files.write(self._best, "model", payload)


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
