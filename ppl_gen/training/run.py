"""A training run: one step of every player, and the complete state to continue from."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ppl_gen._files import PathLike
from ppl_gen.staging import StagingError, stage_function
from ppl_gen.staging.staged import warn
from ppl_gen.training import generators, overrides
from ppl_gen.training.batches import Batch, Batches
from ppl_gen.training.history import History
from ppl_gen.training.processes import World
from ppl_gen.training.trainable import Trainable, Turn, fill

MakeOptimizer: TypeAlias = Callable[[Sequence[Tensor], float], Optimizer]
MakeScheduler: TypeAlias = Callable[[Optimizer], LRScheduler]

# A player whose losses are more than this is given a new function in every step.
LOSSES = 16


class NonFiniteLossError(ArithmeticError):
    """A loss became NaN or infinite; the message names the step, the batch and the site."""


class Average:
    """Exponential moving averages of parameters, which can stand in for them for a while.

    Args:
        parameters: whose averages to keep.
        decay: of the averages, in (0, 1).
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float):
        self.parameters, self.decay = list(parameters), decay
        self.averages = [p.detach().clone() for p in self.parameters]

    def by_parameter(self) -> dict[Tensor, Tensor]:
        return dict(zip(self.parameters, self.averages, strict=True))

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self.averages, [p.data for p in self.parameters], 1 - self.decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Swap parameters and averages."""
        for p, average in zip(self.parameters, self.averages, strict=True):
            current = p.detach().clone()
            p.copy_(average)
            average.copy_(current)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        self.exchange()
        try:
            yield
        finally:
            self.exchange()


class Run:
    """Players, optimisers, averages, history and position of a training run.

    Args:
        trainable: prepared on a first batch.
        optimizer: makes an optimiser of a player's parameters and a learning rate.
        lr: the learning rate.
        scheduler: makes a learning-rate scheduler of an optimiser, stepped after every step of it,
            or after every validation if it waits for a plateau.
        staged: see :func:`ppl_gen.fit`.
        clip_norm: the largest gradient norm of a player.
        ema: the decay of the averages of the weights.
        world: the processes that take the steps together.
        settings: what else determines the run, by name; a resumed run must have the same.

    Raises:
        ValueError: the optimiser or scheduler is no torch one, or of a kind that cannot be used.
    """

    def __init__(
        self,
        trainable: Trainable,
        optimizer: MakeOptimizer,
        lr: float,
        scheduler: MakeScheduler | None,
        staged: str | bool,
        clip_norm: float | None,
        ema: float | None,
        world: World,
        settings: Mapping[str, Any],
    ):
        self.trainable, self.staged, self.clip_norm = trainable, staged, clip_norm
        self.world = world
        self.players = {name: list(ps) for name, ps in trainable.players.items()}
        self.optimizers = {
            name: _usable_optimizer(optimizer(ps, lr)) for name, ps in self.players.items()
        }
        self.schedulers = {
            name: _usable_scheduler(scheduler(o))
            for name, o in self.optimizers.items()
            if scheduler is not None
        }
        self.settings = {
            "optimizer": _kinds(self.optimizers),
            "scheduler": _kinds(self.schedulers),
            "lr": lr,
            "clip_norm": clip_norm,
            "ema": ema,
            **settings,
        }
        self.every = [p for ps in self.players.values() for p in ps]
        self.average = None if ema is None else Average(self.every, ema)
        self.steps: dict[Any, Callable[..., tuple[Tensor, dict[str, Tensor]]]] = {}
        self.history = History()
        self.epoch = self.batch = 0
        self.best, self.waited = math.inf, 0
        self._epoch_generators = generators.state()
        self._resumed: dict[str, Any] | None = None
        self._warned = False

    @property
    def awaits_plateaus(self) -> bool:
        """Whether a scheduler is stepped by validations."""
        return any(isinstance(s, ReduceLROnPlateau) for s in self.schedulers.values())

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step of every turn; the metrics of all of them."""
        recorded: dict[str, float] = {}
        turns = iter(self.trainable.losses(*batch))
        turn = next(turns, None)
        while turn is not None:
            player, args = turn[0], turn[2] if len(turn) > 2 else ()
            before = torch.get_rng_state()
            loss, metrics = self._stage(turn)(*args)
            if not math.isfinite(loss.item()):
                self.stop(player, loss.item(), before, args)
            self.world.add_gradients(self.players[player])
            metrics, total = self.world.combine(metrics, loss.item(), len(batch[0]))
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.players[player], self.clip_norm)
            self.optimizers[player].step()
            scheduler = self.schedulers.get(player)
            if scheduler is not None and not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            prefix = f"{player}_" if len(self.players) > 1 else ""
            recorded |= {f"{prefix}{name}": float(v) for name, v in metrics.items()}
            recorded[f"{prefix}loss"] = total
            turn = _next(turns, metrics)
        if self.average is not None:
            self.average.update()
        self.world.agree(self.trainable.buffers())
        self.record(recorded)
        return recorded

    def record(self, metrics: Mapping[str, float]) -> None:
        """Take note of a step on the current batch."""
        self.history.record(metrics)
        self.batch += 1

    def judge(self, score: float) -> bool:
        """Take note of a validation, the lower its score the better; whether it is the best."""
        for scheduler in self.schedulers.values():
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(score)
        better = score < self.best
        self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        return better

    def _stage(self, turn: Turn) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """The step of a turn: staged once per loss, or eager for a closure."""
        player, loss_of = turn[0], turn[1]
        if player not in self.players:
            names = ", ".join(self.players)
            raise ValueError(f"expected a turn of a player among {names}, got {player!r}")
        parameters, key = self.players[player], (player, _identity(loss_of))
        fixed = len(turn) > 2
        if fixed and key not in self.steps and len(self.steps) >= LOSSES:
            reason = (
                f"{player} has a new loss in every step: make it a method, or pass what changes"
            )
            if self.staged is True:
                raise StagingError(f"this step cannot be staged: {reason}")
            if self.staged and not self._warned:
                self._warned = True
                warn(f"this step runs eagerly: {reason}")
            fixed = False
        if not fixed:
            return stage_function(loss_of, parameters, staged=False)
        if key not in self.steps:
            self.steps[key] = stage_function(loss_of, parameters, staged=self.staged)
        return self.steps[key]

    def stop(self, player: str, value: float, rng_state: Tensor, args: tuple[Any, ...]) -> None:
        """Raise an error that says where and why a loss is not finite."""
        where = f"step {self.history.steps + 1} (epoch {self.epoch + 1}, batch {self.batch + 1})"
        torch.set_rng_state(rng_state)
        try:
            with torch.no_grad():
                found = self.trainable.culprits(*args)
        except Exception:  # whatever the programs do with such numbers must not hide where they are
            found = []
        if not all(p.isfinite().all() for p in self.every):
            found.append("the parameters, since an earlier step")
        whose = f"loss of {player}" if len(self.players) > 1 else "loss"
        sites = f"; not finite: {', '.join(found)}" if found else ""
        raise NonFiniteLossError(f"the {whose} became {value} at {where}{sites}")

    def state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on; call it in every process."""
        return {
            "settings": self.settings,
            "trainable": self.trainable.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "schedulers": {name: _plain(s.state_dict()) for name, s in self.schedulers.items()},
            "weights": self._averaged(),
            "history": self.history.state(),
            "position": [self.epoch, self.batch],
            "patience": [self.best, self.waited],
            "generators": self.world.gather([self._epoch_generators, generators.state()]),
        }

    def _averaged(self) -> dict[str, Any] | None:
        """What the trainable would be with the averaged weights, if there are any."""
        if self.average is None:
            return None
        with self.average.standing_in():
            return copy.deepcopy(self.trainable.state_dict())

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
        before = copy.deepcopy(self.trainable.state_dict())
        try:
            self._require_same(state["settings"], len(state["generators"]), override)
            if self.average is not None:
                self.trainable.load_state_dict(state["weights"])
                fill(self.average.averages, [p.detach() for p in self.average.parameters])
            self.trainable.load_state_dict(state["trainable"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            for name, scheduler in self.schedulers.items():
                scheduler.load_state_dict(state["schedulers"][name])
            if "lr" in override:
                self._change_lr(state["settings"]["lr"])
            self.history = History.from_state(state["history"])
            self.epoch, self.batch = state["position"]
            if "batch_size" in override:
                self.batch = overrides.batch(self.batch, state["settings"], self.settings)
            self.best, self.waited = state["patience"]
            for found in state["generators"][self.world.rank]:
                generators.restore(found)
            self._epoch_generators, self._resumed = state["generators"][self.world.rank]
        except (LookupError, AttributeError, TypeError, RuntimeError, ValueError) as error:
            self.trainable.load_state_dict(before)
            reason = " ".join(str(error).split())[:600]
            raise ValueError(
                f"expected a checkpoint of this model and its settings, {path} differs: {reason}"
            ) from error

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

    def _change_lr(self, old: float) -> None:
        for name, optimizer in self.optimizers.items():
            overrides.change_lr(optimizer, self.schedulers.get(name), old, self.settings["lr"])

    def batches(self, source: Batches) -> Iterator[Batch]:
        """The batches of the current epoch that are still to come."""
        if self._resumed is not None and self.batch == 0:
            generators.restore(self._resumed)
            self._resumed = None
        if self._resumed is None:
            self._epoch_generators = generators.state()
        else:
            generators.restore(self._epoch_generators)
        rest = source.epoch(self.epoch)
        for _ in range(self.batch):
            next(rest)
        if self._resumed is not None:
            generators.restore(self._resumed)
            self._resumed = None
        return rest


def _next(turns: Iterator[Turn], metrics: Mapping[str, Tensor]) -> Turn | None:
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


def _usable_scheduler(made: Any) -> LRScheduler:
    if not isinstance(made, LRScheduler):
        raise ValueError(
            f"expected scheduler(optimizer) to make an LRScheduler, got {type(made).__name__}"
        )
    if isinstance(made, ReduceLROnPlateau) and made.mode != "min":
        raise ValueError(f"expected mode='min', lower scores being better, got {made.mode!r}")
    return made


def _kinds(parts: Mapping[str, Any]) -> str:
    return ", ".join(sorted({type(part).__name__ for part in parts.values()})) or "none"


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without the functions that torch leaves in it."""
    return {k: v for k, v in state.items() if not callable(v) and not k.startswith("_get_lr")}
