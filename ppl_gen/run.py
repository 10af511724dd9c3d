"""A training run: one step of every player, and the complete state to continue from."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ppl_gen.batches import Batch, Batches
from ppl_gen.checkpoints import PathLike
from ppl_gen.history import History
from ppl_gen.processes import World
from ppl_gen.staging import stage_function
from ppl_gen.trainables import Trainable, Turn

MakeOptimizer: TypeAlias = Callable[[Sequence[Tensor], float], Optimizer]
MakeScheduler: TypeAlias = Callable[[Optimizer], LRScheduler]


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
        scheduler: makes a learning-rate scheduler of an optimiser, stepped after every step of it.
        staged: see :func:`ppl_gen.fit`.
        clip_norm: the largest gradient norm of a player.
        ema: the decay of the averages of the weights.
        world: the processes that take the steps together.
        settings: what else determines the run, by name; a resumed run must have the same.
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
        self.settings = {"lr": lr, "clip_norm": clip_norm, "ema": ema, **settings}
        self.players = {name: list(ps) for name, ps in trainable.players.items()}
        self.optimizers = {name: optimizer(ps, lr) for name, ps in self.players.items()}
        self.schedulers = {
            name: scheduler(o) for name, o in self.optimizers.items() if scheduler is not None
        }
        self.every = [p for ps in self.players.values() for p in ps]
        self.average = None if ema is None else Average(self.every, ema)
        self.steps: dict[str, Callable[..., tuple[Tensor, dict[str, Tensor]]]] = {}
        self.history = History()
        self.epoch = self.batch = 0
        self.best, self.waited = math.inf, 0
        self._resumed: dict[str, Any] | None = None

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
                self._stop(loss.item(), before, args)
            self.world.add_gradients(self.players[player])
            metrics = self.world.average(metrics, len(batch[0]))
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.players[player], self.clip_norm)
            self.optimizers[player].step()
            if player in self.schedulers:
                self.schedulers[player].step()
            prefix = f"{player}_" if len(self.players) > 1 else ""
            recorded |= {f"{prefix}{name}": float(v) for name, v in metrics.items()}
            recorded[f"{prefix}loss"] = self.world.total(loss.item())
            turn = _next(turns, metrics)
        if self.average is not None:
            self.average.update()
        self.world.agree(self.trainable.buffers())
        self.history.record(recorded)
        self.batch += 1
        return recorded

    def _stage(self, turn: Turn) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """The step of a turn: staged once per player, or eager for a closure."""
        player, loss_of = turn[0], turn[1]
        if player not in self.players:
            names = ", ".join(self.players)
            raise ValueError(f"expected a turn of a player among {names}, got {player!r}")
        if len(turn) < 3:
            return stage_function(loss_of, self.players[player], staged=False)
        if player not in self.steps:
            parameters = self.players[player]
            self.steps[player] = stage_function(loss_of, parameters, staged=self.staged)
        return self.steps[player]

    def _stop(self, value: float, rng_state: Tensor, args: tuple[Any, ...]) -> None:
        where = f"step {self.history.steps + 1} (epoch {self.epoch + 1}, batch {self.batch + 1})"
        torch.set_rng_state(rng_state)
        with torch.no_grad():
            found = self.trainable.culprits(*args)
        sites = f"; not finite: {', '.join(found)}" if found else ""
        raise NonFiniteLossError(f"the loss became {value} at {where}{sites}")

    def state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on; call it in every process."""
        return {
            "settings": self.settings,
            "trainable": self.trainable.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "schedulers": {name: _plain(s.state_dict()) for name, s in self.schedulers.items()},
            "averages": [] if self.average is None else self.average.averages,
            "history": self.history.state(),
            "position": [self.epoch, self.batch],
            "patience": [self.best, self.waited],
            "rng": self.world.gather(_rng_state()),
        }

    def load(self, state: Mapping[str, Any], path: PathLike) -> None:
        """Continue from a state.

        Raises:
            ValueError: the state is of another model, of other settings or another number of
                processes; the message names what differs.
        """
        stored = state.get("settings", {})
        differ = [
            f"{name} was {stored.get(name)} and is {value}"
            for name, value in self.settings.items()
            if stored.get(name) != value
        ]
        if differ:
            raise ValueError(
                f"expected a checkpoint of this model and its settings, in {path} "
                f"{'; '.join(differ)}: start anew, or resume with the same"
            )
        if len(state["rng"]) != self.world.size:
            raise ValueError(
                f"expected a checkpoint of {self.world.size} processes, {path} is of "
                f"{len(state['rng'])}"
            )
        try:
            self.trainable.load_state_dict(state["trainable"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            for name, scheduler in self.schedulers.items():
                scheduler.load_state_dict(state["schedulers"][name])
            if self.average is not None:
                for average, stored in zip(self.average.averages, state["averages"], strict=True):
                    average.copy_(stored)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"expected a checkpoint of this model and its settings, {path} differs: {reason}"
            ) from error
        self.history = History.from_state(state["history"])
        self.epoch, self.batch = state["position"]
        self.best, self.waited = state["patience"]
        self._resumed = state["rng"][self.world.rank]

    def batches(self, source: Batches) -> Iterator[Batch]:
        """The batches of the current epoch that are still to come."""
        rest = source.epoch(self.epoch)
        for _ in range(self.batch):
            next(rest)
        if self._resumed is not None:
            torch.set_rng_state(self._resumed["cpu"])
            if "cuda" in self._resumed:
                torch.cuda.set_rng_state_all(self._resumed["cuda"])
            self._resumed = None
        return rest


def _next(turns: Iterator[Turn], metrics: Mapping[str, Tensor]) -> Turn | None:
    """Resume a sequence of turns, a generator with the metrics of the turn it ended."""
    try:
        return turns.send(metrics) if isinstance(turns, Generator) else next(turns)
    except StopIteration:
        return None


def _rng_state() -> dict[str, Any]:
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without the functions that torch leaves in it."""
    return {k: v for k, v in state.items() if not callable(v) and not k.startswith("_get_lr")}
