"""The one training loop: batches in a seeded order, a staged step per player, a record, a state.

A run is determined by its seed. Its complete state (weights, optimisers, schedules, random
generators, position in the data) goes into a checkpoint, from which it continues bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pyro
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ppl_gen import checkpoints
from ppl_gen.batches import Batch, Batches, TensorBatches, as_batches
from ppl_gen.history import History
from ppl_gen.staging import stage_function
from ppl_gen.trainables import Pair, Trainable, as_trainable
from ppl_gen.vae import VAE

Callback: TypeAlias = Callable[[Mapping[str, float]], None]


class NonFiniteLossError(ArithmeticError):
    """A loss became NaN or infinite; the message names the step, the batch and the site."""


def adam(parameters: Sequence[Tensor], lr: float) -> torch.optim.Optimizer:
    """Fused Adam (Kingma and Ba 2015), the default optimiser."""
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(parameters, lr=lr, fused=fused)


class _Run:
    """The state of a training run and its step; everything that a checkpoint holds."""

    def __init__(
        self,
        trainable: Trainable,
        optimizer: Callable[[Sequence[Tensor], float], torch.optim.Optimizer],
        lr: float,
        staged: str | bool,
        clip_norm: float | None,
    ):
        self.trainable, self.staged, self.clip_norm = trainable, staged, clip_norm
        self.players = trainable.players
        self.optimizers = {name: optimizer(ps, lr) for name, ps in self.players.items()}
        self.steps: dict[str, Callable[..., tuple[Tensor, dict[str, Tensor]]]] = {}
        self.history = History()
        self.epoch = self.batch = 0

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step of every turn; the metrics of all of them."""
        recorded: dict[str, float] = {}
        turns = self.trainable.losses(*batch)
        turn = next(turns, None)
        while turn is not None:
            player, loss_of, args = turn
            if player not in self.steps:
                parameters = self.players[player]
                self.steps[player] = stage_function(loss_of, parameters, staged=self.staged)
            before = torch.get_rng_state()
            loss, metrics = self.steps[player](*args)
            value = loss.item()
            if not math.isfinite(value):
                self._stop(value, before, args)
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.players[player], self.clip_norm)
            self.optimizers[player].step()
            prefix = f"{player}_" if len(self.players) > 1 else ""
            recorded |= {f"{prefix}{name}": float(v) for name, v in metrics.items()}
            recorded[f"{prefix}loss"] = value
            try:
                turn = turns.send(metrics)
            except StopIteration:
                turn = None
        self.history.record(recorded)
        self.batch += 1
        return recorded

    def _stop(self, value: float, rng_state: Tensor, args: tuple[Any, ...]) -> None:
        where = f"step {self.history.steps + 1} (epoch {self.epoch + 1}, batch {self.batch + 1})"
        found: list[str] = []
        if isinstance(self.trainable, Pair):
            torch.set_rng_state(rng_state)
            with torch.no_grad():
                found = self.trainable.culprits(*args)
        sites = f"; not finite: {', '.join(found)}" if found else ""
        raise NonFiniteLossError(f"the loss became {value} at {where}{sites}")

    def state(self) -> dict[str, Any]:
        return {
            "trainable": self.trainable.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "history": self.history.state(),
            "position": [self.epoch, self.batch],
            "rng": _rng_state(),
        }

    def load(self, state: Mapping[str, Any], path: checkpoints.PathLike) -> None:
        try:
            self.trainable.load_state_dict(state["trainable"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"expected a checkpoint of this model, {path} differs: {reason}"
            ) from error
        self.history = History.from_state(state["history"])
        self.epoch, self.batch = state["position"]
        torch.set_rng_state(state["rng"]["cpu"])
        if "cuda" in state["rng"]:
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])


def _rng_state() -> dict[str, Any]:
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def fit(
    model: Any,
    data: Any,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    staged: str | bool = "auto",
    progress: bool = True,
    validation: Any = None,
    checkpoint: checkpoints.PathLike | None = None,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    optimizer: Callable[[Sequence[Tensor], float], torch.optim.Optimizer] = adam,
    clip_norm: float | None = None,
) -> History:
    """Train a model on data.

    Args:
        model: a model of :mod:`ppl_gen.zoo`, a :class:`Pair` or any :class:`Trainable`.
        data: a tensor, a tuple of tensors, a data set with ``.images``, a torch ``Dataset`` or
            ``DataLoader``; see :func:`ppl_gen.batches.as_batches`.
        epochs: passes over the data, in total when resuming.
        batch_size: rows per step.
        lr: the learning rate.
        seed: of the order of the data and of every draw; the global generators are left alone.
        staged: ``"auto"`` compiles the step and falls back to eager with a warning, ``True``
            insists, ``False`` runs eagerly.
        progress: whether to show a progress bar on standard error.
        validation: held-out data like ``data``; its metrics, prefixed ``val_``, are recorded after
            each epoch.
        checkpoint: a file to write the complete state to after each epoch, atomically.
        resume: continue from ``checkpoint`` where it exists; the result equals that of an
            uninterrupted run bit for bit.
        callbacks: called with the metrics of every step.
        optimizer: ``optimizer(parameters, lr)``, fused Adam by default.
        clip_norm: the largest gradient norm of a player.

    Returns:
        The history of the loss (summed over the batch) and its terms (means in nats per datum).

    Raises:
        ValueError: data or settings that do not fit; raised before any training.
        NonFiniteLossError: the loss became NaN or infinite.
    """
    if epochs < 0 or not lr > 0:
        raise ValueError(f"expected epochs >= 0 and lr > 0, got {epochs} and {lr}")
    if resume and checkpoint is None:
        raise ValueError("expected a checkpoint path to resume from, got none")
    trainable = as_trainable(model)
    labelled = bool(getattr(model, "num_classes", 0))
    batches = as_batches(data, batch_size, seed, labelled=labelled)
    held_out = None
    if validation is not None:
        held_out = as_batches(validation, batch_size, seed, labelled=labelled)
    for source in filter(None, (batches, held_out)):
        _check_values(model, source)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(trainable.running())
        torch.manual_seed(seed)
        trainable.prepare(*next(iter(batches.epoch(0))))
        run = _Run(trainable, optimizer, lr, staged, clip_norm)
        if resume and checkpoint is not None and Path(checkpoint).exists():
            run.load(checkpoints.read(checkpoint, "checkpoint"), checkpoint)
        bar = tqdm(
            total=epochs * len(batches),
            initial=run.history.steps,
            unit="step",
            disable=not progress,
            mininterval=0.5,
        )
        stack.enter_context(bar)
        while run.epoch < epochs:
            for batch in batches.epoch(run.epoch):
                metrics = run.step(batch)
                for callback in callbacks:
                    callback(metrics)
                bar.set_postfix({k: f"{v:.4g}" for k, v in metrics.items()}, refresh=False)
                bar.update()
            run.epoch, run.batch = run.epoch + 1, 0
            if held_out is not None:
                run.history.amend(_validate(trainable, held_out, seed))
            if checkpoint is not None:
                checkpoints.write(checkpoint, "checkpoint", run.state())
    return run.history


def _check_values(model: Any, batches: Batches) -> None:
    """Refuse data in memory that the model cannot be given, before any work is done."""
    if not isinstance(batches, TensorBatches):
        return
    if isinstance(model, VAE):
        model.check(batches.tensors[0])
    for position, tensor in enumerate(batches.tensors):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"expected finite data, got NaN or infinity in tensor {position}")


def _validate(trainable: Trainable, batches: Batches, seed: int) -> dict[str, float]:
    """Means per datum over held-out data, prefixed ``val_``, with draws of their own."""
    totals: dict[str, float] = {}
    count = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in batches.epoch(0):
            count += len(batch[0])
            for name, value in trainable.evaluate(*batch).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(batch[0])
    return {f"val_{name}": total / count for name, total in totals.items()}
