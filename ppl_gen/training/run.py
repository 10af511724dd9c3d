"""A training run: the steps of every player, and the complete state to continue from.

A step is a batch, or the cycle of batches that a :class:`~ppl_gen.training.trainable.Trainable` has
a schedule for. Where :class:`~ppl_gen.staging.cycles.WholeCycles` takes it, Python has nothing to
do between two steps, and for small models that is most of the time, so that several are taken in
one call. The steps are the same however many those are.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ppl_gen._files import PathLike
from ppl_gen._processes import World
from ppl_gen.data.batches import Batch, Batches, TensorBatches
from ppl_gen.staging import StagingError, stage_function
from ppl_gen.staging.costs import Counter, Work
from ppl_gen.staging.cycles import WholeCycles
from ppl_gen.staging.recording import NotStageable
from ppl_gen.staging.staged import warn
from ppl_gen.staging.updates import UpdateRule
from ppl_gen.training import generators, overrides, statistics
from ppl_gen.training import trainable as trainables
from ppl_gen.training.choices import Choice, Choices, OfCycle
from ppl_gen.training.history import History
from ppl_gen.training.players import plateaus, split_states
from ppl_gen.training.statistics import Normalization
from ppl_gen.training.trainable import AnyTurn, Cycle, Trainable, Turn, as_turn, fill

# A player whose losses are more than this is given a new function in every step.
LOSSES = 16
# How long the steps of one call may take, and how many they may be.
SECONDS, MOST = 0.1, 256
# From how many batches statistics of the averaged weights are estimated.
PASSES = 16


class NonFiniteLossError(ArithmeticError):
    """A loss became NaN or infinite; the message names the step, the batch and the site.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8, likelihood="gaussian")
    >>> ppl_gen.fit(vae, torch.full((6, 4), 1e30), staged=False, progress=False)
    Traceback (most recent call last):
        ...
    ppl_gen.training.run.NonFiniteLossError: the loss became ... at step 1 (epoch 1, batch 1)...
    """


@dataclass
class Event:
    """A step that was taken, as the hooks of the loop see it.

    Attributes:
        step: its number, from 1.
        metrics: of the step; hooks add theirs.
        epoch_ended: whether it was the last of its epoch.
        synchronized: whether the state of the run is that after this step, not after a later one.
        interrupted: set by a hook, makes the run end with ``KeyboardInterrupt``.
    """

    step: int
    metrics: dict[str, float]
    epoch_ended: bool
    synchronized: bool
    interrupted: bool = False

    def is_due(self, every: int | None) -> bool:
        """Whether the step is a multiple of ``every``, or without it the last of an epoch."""
        return self.epoch_ended if every is None else self.step % every == 0


class Run:
    """Takes the steps of a training run and owns all of its state; iterating gives the steps.

    Args:
        trainable: prepared on a first batch.
        rules: what follows the gradients of each player.
        source: of the batches.
        epochs: how many to take in all.
        patience: stop after this many validations without improvement.
        intervals: in steps, of the hooks that need the state as it is after a step.
        staged: see :func:`ppl_gen.fit`.
        steps_per_call: how many steps to take in one call, or ``"auto"`` for as many as take
            :data:`SECONDS`.
        world: the processes that take the steps together.
        settings: what else determines the run, by name; a resumed run must have the same.

    Attributes:
        history: of the metrics of all steps.
        epoch: the number of epochs that have ended.
        batch: the number of batches since then.
        batches_a_step: how many a step takes, but for the last of an epoch.
        steps_per_call: how many are taken in one call at present, at most.
    """

    def __init__(
        self,
        trainable: Trainable,
        rules: Mapping[str, UpdateRule],
        source: Batches,
        *,
        epochs: int = 1,
        patience: int | None = None,
        intervals: Iterable[int] = (),
        staged: str | bool = "auto",
        steps_per_call: int | str = "auto",
        world: World | None = None,
        settings: Mapping[str, Any] | None = None,
    ):
        self.trainable, self.rules, self.source = trainable, dict(rules), source
        self.epochs, self.patience, self.intervals = epochs, patience, list(intervals)
        self.staged, self.world = staged, World() if world is None else world
        self.settings = dict(settings or {})
        self.parameters = [p for rule in self.rules.values() for p in rule.parameters]
        self.averages = [rule.ema for rule in self.rules.values() if rule.ema is not None]
        self.history = History()
        self.epoch = self.batch = 0
        self.best, self.waited = math.inf, 0
        self._automatic = steps_per_call == "auto"
        self.steps_per_call = 1 if isinstance(steps_per_call, str) else steps_per_call
        self._steps: dict[Any, Callable[..., tuple[Tensor, dict[str, Tensor]]]] = {}
        self._cycle = trainables.cycle_of(trainable)
        self.batches_a_step = 1 if self._cycle is None else self._cycle.batches
        self.choices = Choices(staged, self)
        self._of_cycle = OfCycle()
        self._whole = None if self._cycle is None else self._whole_cycles(self._cycle)
        self._buffers = list(trainables.buffers(trainable))
        self._epoch_generators = generators.state()
        self._resumed: dict[str, Any] | None = None
        self._warned = False
        self._synchronized = True
        self._counters: list[Counter] | None = None

    # --- Steps ------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        """Take the remaining steps."""
        while self.epoch < self.epochs and not self.is_exhausted():
            cycles = _cycles(self._rest_of_epoch(), self.batches_a_step)
            for several in _together(cycles, self._steps_of_next_call):
                for metrics in self.take(several):
                    event = self._event(metrics)
                    yield event
                    if event.interrupted:
                        raise KeyboardInterrupt
                    if self.is_exhausted():
                        return

    def _event(self, metrics: dict[str, float]) -> Event:
        ended = self.source.is_last(self.batch)
        if ended:
            self.epoch, self.batch = self.epoch + 1, 0
        return Event(self.history.steps, metrics, ended, self._synchronized)

    @property
    def steps_an_epoch(self) -> int | None:
        """The number of steps in an epoch, where it is known before."""
        length = self.source.length
        return None if length is None else math.ceil(length / self.batches_a_step)

    def _steps_of_next_call(self) -> int:
        if self._whole is None or not isinstance(self.source, TensorBatches):
            return 1
        return min(self.steps_per_call, self.steps_until_due() or self.steps_per_call)

    def steps_until_due(self) -> int | None:
        """Steps before the next scheduled validation or checkpoint within an epoch."""
        return min((n - self.history.steps % n for n in self.intervals), default=None)

    def take(self, steps: Sequence[Sequence[Batch]]) -> Iterator[dict[str, float]]:
        """Some steps, each on batches of the same shapes; the metrics of each."""
        cycle, whole, started = self._cycle, self._whole, time.perf_counter()
        if cycle is None or whole is None:
            yield from map(self.step, steps)
            return
        cycles = [_schedule(cycle, batches) for batches in steps]
        counted: list[dict[str, float]] = []
        chosen = self._chooses(steps[0], cycles[0], counted)
        yield from counted
        steps, cycles = steps[len(counted) :], cycles[len(counted) :]
        before = torch.get_rng_state(), [buffer.clone() for buffer in self._buffers]
        taken = whole.take(cycles) if chosen and steps else None
        if taken is None:
            yield from map(self.step, steps)
            return
        self._adapt(time.perf_counter() - started, len(steps))
        if cycle.check is not None:
            cycle.check()

        def rewind(turns: int) -> None:
            torch.set_rng_state(before[0])
            fill(self._buffers, before[1])
            whole.replay(turns)

        for i, (batches, turns) in enumerate(zip(steps, cycles, strict=True)):
            seen = []
            for j, (turn, found) in enumerate(zip(turns, taken[i], strict=True)):
                number = i * len(turns) + j
                self._require_finite(found["loss"], turn, partial(rewind, number), len(batches))
                seen.append(self._named(turn, found))
            recorded = _means(seen)
            self._record(recorded, len(batches))
            self._synchronized = i + 1 == len(steps)
            yield recorded

    def _chooses(
        self, batches: Sequence[Batch], turns: Sequence[Turn], counted: list[dict[str, float]]
    ) -> bool:
        """Whether to take steps on such batches whole.

        What one does may have to be counted first: it is taken eagerly then, and its metrics are
        in ``counted``.
        """
        assert self._whole is not None
        whole = self._whole

        def measure() -> Work:
            self._counters = []
            try:
                counted.append(self.step(batches))
                return whole.work(turns, [counter.work() for counter in self._counters])
            finally:
                self._counters = None

        titles = dict.fromkeys(_title(turn.players, turn.loss) for turn in turns)
        self._of_cycle.cycle = choice = self.choices.of(" and ".join(titles), every=True)
        self._of_cycle.leaves = leaves = [tensor for batch in batches for tensor in batch]
        try:
            chosen = choice(leaves, measure)
        except NotStageable:
            choice.insist(leaves)  # the single turns say why
            return False
        if not chosen:
            choice.count(leaves)
        return chosen

    def _adapt(self, seconds: float, steps: int) -> None:
        """Adapt the number of steps per call to the duration of a call."""
        if self._automatic and seconds < SECONDS / 2 and steps == self.steps_per_call < MOST:
            self.steps_per_call *= 2
        elif self._automatic and seconds > SECONDS:
            self.steps_per_call = max(1, self.steps_per_call // 2)

    def _whole_cycles(self, cycle: Cycle) -> WholeCycles | None:
        """What takes whole steps, if these can be taken without looking at gradients in between."""
        if not self.staged or self.world.size > 1:
            return None
        if not all(rule.expressible() for rule in self.rules.values()):
            return None
        return WholeCycles(self.rules, _identity, cycle.advance, self._of_cycle)

    def step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """One optimiser step of every turn; the metrics of each player, means over its turns."""
        seen = []
        rows, turns = sum(len(batch[0]) for batch in batches), self._turns(batches)
        turn = next(turns, None)
        while turn is not None:
            metrics, recorded = self._take_turn(as_turn(turn), rows, len(batches))
            seen.append(recorded)
            turn = _next(turns, metrics)
        for average in self.averages:
            average.update()
        self.world.broadcast(trainables.buffers(self.trainable))
        means = _means(seen)
        self._record(means, len(batches))
        return means

    def _turns(self, batches: Sequence[Batch]) -> Iterator[AnyTurn]:
        if self._cycle is None:
            return iter(self.trainable.losses(*batches[0]))
        return self._cycle.turns(*batches)

    def _take_turn(
        self, turn: Turn, weight: int, batches: int
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """An optimiser step; its metrics as they are and as they are recorded."""
        self._require_players(turn)
        rules = [self.rules[player] for player in turn.players]
        before = torch.get_rng_state()
        with self._counting():
            loss, metrics = self._stage(turn)(*turn.args)
        self._require_finite(loss.item(), turn, partial(torch.set_rng_state, before), batches)
        for rule in rules:
            self.world.reduce_gradients(rule.parameters)
        metrics, total = self.world.reduce_metrics(metrics, loss.item(), weight)
        recorded = self._named(turn, {**metrics, "loss": total})
        for rule in rules:
            rule.step()
        if turn.after is not None:
            turn.after()
        return metrics, recorded

    def _counting(self) -> AbstractContextManager[object]:
        """A context that counts what a turn does, where that is asked for."""
        if self._counters is None:
            return nullcontext()
        self._counters.append(Counter())
        return self._counters[-1]

    def _named(self, turn: Turn, metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Metrics as they are recorded: those of some of the players have their names."""
        prefix = "" if self._is_of_all(turn) else f"{'_'.join(turn.players)}_"
        return {f"{prefix}{name}": float(value) for name, value in metrics.items()}

    def _is_of_all(self, turn: Turn) -> bool:
        return len(set(turn.players)) == len(self.rules)

    def _require_players(self, turn: Turn) -> None:
        if not set(turn.players) <= self.rules.keys():
            names = ", ".join(self.rules)
            raise ValueError(f"expected a turn of a player among {names}, got {turn.player!r}")

    def _stage(self, turn: Turn) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """The step of a turn: staged once per loss, or eager for a closure."""
        parameters = [p for player in turn.players for p in self.rules[player].parameters]
        key, fixed = (turn.players, _identity(turn.loss)), bool(turn.args)
        if fixed and key not in self._steps and len(self._steps) >= LOSSES:
            reason = (
                f"{turn.player} has a new loss in every step: make it a method, or pass what "
                "changes"
            )
            if self.staged is True:
                raise StagingError(f"this step cannot be staged: {reason}")
            if self.staged and not self._warned:
                self._warned = True
                warn(f"this step runs eagerly: {reason}")
            fixed = False
        if not fixed:
            return stage_function(turn.loss, parameters, staged=False)
        if key not in self._steps:
            step = stage_function(turn.loss, parameters, staged=self.staged)
            step.choice = self._of_cycle if self._whole else self._choice_of(turn)
            self._steps[key] = step
        return self._steps[key]

    def _choice_of(self, turn: Turn) -> Choice:
        """The choice for a turn that is no part of a whole step."""
        one = self._cycle is not None and self._cycle.one
        return self.choices.of(_title(turn.players, turn.loss), every=one)

    def _record(self, metrics: Mapping[str, float], batches: int) -> None:
        """Take note of a step on so many batches."""
        self.history.record(metrics)
        self.batch += batches

    def _require_finite(
        self, loss: float, turn: Turn, rewind: Callable[[], object], batches: int
    ) -> None:
        """Refuse a loss that is not finite; ``rewind`` puts back what its step drew from."""
        if not math.isfinite(loss):
            rewind()
            self._raise_nonfinite(loss, turn, batches)

    def _raise_nonfinite(self, loss: float, turn: Turn, batches: int) -> None:
        """Raise an error that says where and why a loss is not finite."""
        first, last = self.batch + 1, self.batch + batches
        which = f"batch {first}" if batches == 1 else f"batches {first} to {last}"
        where = f"step {self.history.steps + 1} (epoch {self.epoch + 1}, {which})"
        try:
            with torch.no_grad():
                found = trainables.nonfinite_sites(self.trainable, *turn.args)
        except Exception:  # whatever the programs do with such numbers must not hide where they are
            found = []
        broken = [
            player
            for player, rule in self.rules.items()
            if not all(p.isfinite().all() for p in rule.parameters)
        ]
        if broken:
            of = f" of {' and '.join(broken)}" if len(self.rules) > 1 else ""
            found.append(f"the parameters{of}, since an earlier step")
        whose = "loss" if self._is_of_all(turn) else f"loss of {' and '.join(turn.players)}"
        sites = f"; not finite: {', '.join(found)}" if found else ""
        raise NonFiniteLossError(f"the {whose} became {loss} at {where}{sites}")

    # --- Validations ------------------------------------------------------------------------------

    def is_exhausted(self) -> bool:
        """Whether validations have not improved for too long."""
        return self.patience is not None and self.waited >= self.patience

    @property
    def needs_score(self) -> bool:
        """Whether anything depends on the scores of validations."""
        return self.patience is not None or bool(plateaus(self.rules.values()))

    def track_best(self, score: float) -> bool:
        """Take note of a validation, the lower its score the better; whether it is the best."""
        for scheduler in plateaus(self.rules.values()):
            scheduler.step(score)
        better = score < self.best
        self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        return better

    def finish(self) -> None:
        """Leave the averaged weights behind, where there are any."""
        for average in self.averages:
            average.swap()
        self._estimate(self._normalizations())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Temporarily swap in the averaged weights, where there are any."""
        layers = self._normalizations()
        buffers = [buffer for layer in layers for buffer in layer.buffers()]
        before = [buffer.clone() for buffer in buffers]
        with ExitStack() as stack:
            for average in self.averages:
                stack.enter_context(average.swapped())
            stack.callback(fill, buffers, before)
            self._estimate(layers)
            yield

    def _normalizations(self) -> list[Normalization]:
        averaged = [p for average in self.averages for p in average.parameters]
        return statistics.normalizations(trainables.modules_of(self.trainable), averaged)

    def _estimate(self, layers: Sequence[Normalization]) -> None:
        """Estimate running statistics for the weights there are, from data in memory."""
        if not layers or not isinstance(self.source, TensorBatches):
            return
        batches = islice(self.source.epoch(0), PASSES)
        passes = (partial(trainables.visit, self.trainable, *batch) for batch in batches)
        with generators.seeded(0):
            statistics.estimate(layers, passes, trainables.buffers(self.trainable))
        self.world.broadcast(trainables.buffers(self.trainable))

    # --- State ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on; call it in every process."""
        rules = self.rules.items()
        schedulers = {name: rule.scheduler for name, rule in rules if rule.scheduler is not None}
        return {
            "settings": self.settings,
            "trainable": trainables.state_dict(self.trainable),
            "optimizers": {name: rule.optimizer.state_dict() for name, rule in rules},
            "schedulers": {name: _plain(s.state_dict()) for name, s in schedulers.items()},
            "weights": self._averaged_state(),
            "history": self.history.state(),
            "position": [self.epoch, self.batch],
            "patience": [self.best, self.waited],
            "generators": self.world.gather([self._epoch_generators, generators.state()]),
            "staging": self.choices.state(),
        }

    def _averaged_state(self) -> dict[str, Any] | None:
        """What the trainable would be with the averaged weights, if there are any."""
        if not self.averages:
            return None
        with self.averaged():
            return copy.deepcopy(trainables.state_dict(self.trainable))

    def load(self, state: Mapping[str, Any], path: PathLike, override: Sequence[str] = ()) -> None:
        """Continue from a state.

        Args:
            state: what :meth:`state` gave.
            path: the file it was read from.
            override: the settings that may differ, see :mod:`ppl_gen.training.overrides`.

        Raises:
            ValueError: the state is of another model, of other settings or another number of
                processes; the message names what differs.
        """
        before = copy.deepcopy(trainables.state_dict(self.trainable))
        try:
            self._require_same(state["settings"], len(state["generators"]), override)
            self._enter(state, override)
        except (LookupError, AttributeError, TypeError, RuntimeError, ValueError) as error:
            trainables.load_state_dict(self.trainable, before)
            reason = " ".join(str(error).split())[:600]
            raise ValueError(
                f"expected a checkpoint of this model and its settings, {path} differs: {reason}"
            ) from error

    def _enter(self, state: Mapping[str, Any], override: Sequence[str]) -> None:
        history = History.from_state(state["history"])
        if self.averages:
            trainables.load_state_dict(self.trainable, state["weights"])
            for average in self.averages:
                average.restart(history.steps)
        trainables.load_state_dict(self.trainable, state["trainable"])
        optimizers, schedulers = split_states(state["optimizers"], self.rules), state["schedulers"]
        for name, rule in self.rules.items():
            rule.optimizer.load_state_dict(dict(optimizers[name]))
            if rule.scheduler is not None:
                own = name if name in schedulers else min(schedulers)  # one for all players
                rule.scheduler.load_state_dict(schedulers[own])
            if "lr" in override:
                held = state["settings"]["lr"], self.settings["lr"]
                old, new = (overrides.of_player(lr, name) for lr in held)
                overrides.change_lr(rule.optimizer, rule.scheduler, old, new)
        self.history, (self.epoch, self.batch) = history, state["position"]
        if "batch_size" in override:
            self.batch = overrides.batch(self.batch, state["settings"], self.settings)
        self.best, self.waited = state["patience"]
        self.choices.load(state.get("staging", {}))
        for found in state["generators"][self.world.rank]:
            generators.restore(found)
        self._epoch_generators, self._resumed = state["generators"][self.world.rank]

    def _require_same(
        self, stored: Mapping[str, Any], processes: int, override: Sequence[str]
    ) -> None:
        found = {**stored, "number of processes": processes}
        own = {**self.settings, "number of processes": self.world.size}
        free = {setting for name in override for setting in overrides.ALLOWED[name]}
        differ = [k for k, v in own.items() if found.get(k) != v and k not in free]
        if differ:
            each = (f"{k} was {found.get(k)} and is {own[k]}" for k in differ)
            raise ValueError(f"{'; '.join(each)} ({overrides.hint(differ)})")

    def _rest_of_epoch(self) -> Iterator[Batch]:
        """The batches of the current epoch that are still to come."""
        if self._resumed is not None and self.batch == 0:
            generators.restore(self._resumed)
            self._resumed = None
        if self._resumed is None:
            self._epoch_generators = generators.state()
        else:
            generators.restore(self._epoch_generators)
        rest = self.source.epoch(self.epoch)
        for _ in range(self.batch):
            next(rest)
        if self._resumed is not None:
            generators.restore(self._resumed)
            self._resumed = None
        return rest


def _cycles(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """So many batches at a time, and those that are left; none is drawn before it is needed."""
    while cycle := list(islice(batches, size)):
        yield cycle


def _together(steps: Iterable[list[Batch]], most: Callable[[], int]) -> Iterator[list[list[Batch]]]:
    """Consecutive steps of one shape, at most ``most()``; none is drawn before it is needed."""
    held: list[list[Batch]] = []
    for step in steps:
        if held and _shapes(step) != _shapes(held[0]):
            yield held
            held = []
        held.append(step)
        if len(held) >= most():
            yield held
            held = []
    if held:
        yield held


def _shapes(step: Sequence[Batch]) -> list[list[torch.Size]]:
    return [[tensor.shape for tensor in batch] for batch in step]


def _schedule(cycle: Cycle, batches: Sequence[Batch]) -> list[Turn]:
    return list(map(as_turn, cycle.schedule(*batches)))


def _means(seen: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The means of metrics over the turns that have them."""
    found: dict[str, list[float]] = {}
    for metrics in seen:
        for name, value in metrics.items():
            found.setdefault(name, []).append(value)
    return {n: vs[0] if len(vs) == 1 else sum(vs) / len(vs) for n, vs in found.items()}


def _next(turns: Iterator[AnyTurn], metrics: Mapping[str, Tensor]) -> AnyTurn | None:
    """Resume a sequence of turns, a generator with the metrics of the turn it ended."""
    try:
        return turns.send(metrics) if isinstance(turns, Generator) else next(turns)
    except StopIteration:
        return None


def _identity(function: Callable[..., Any]) -> Any:
    """What tells a loss from others: the same function of the same objects, made anew or not."""
    if inspect.ismethod(function):
        return function.__func__, id(function.__self__)
    if not inspect.isfunction(function):
        return id(function)
    cells = (cell.cell_contents for cell in function.__closure__ or ())
    return function.__code__, *map(id, (*cells, *(function.__defaults__ or ())))


def _title(players: Iterable[str], loss: Callable[..., Any]) -> str:
    """What tells a loss from the others of a run, in every process."""
    return f"{'_'.join(players)} {getattr(loss, '__qualname__', type(loss).__name__)}"


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without the functions that torch leaves in it."""
    return {k: v for k, v in state.items() if not callable(v) and not k.startswith("_get_lr")}
