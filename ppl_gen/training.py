"""The one training loop: batches in a seeded order, a staged step per player, a record, a state.

A run is determined by its seed. Its complete state (weights, optimisers, schedules, averages,
random generators, position in the data) goes into a checkpoint, from which it continues bit for
bit, however it ended.
"""

from __future__ import annotations

import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pyro
import torch
from torch import nn
from tqdm.auto import tqdm

from ppl_gen import checkpoints
from ppl_gen.batches import Batches, TensorBatches, as_batches
from ppl_gen.history import History
from ppl_gen.processes import World
from ppl_gen.run import MakeOptimizer, MakeScheduler, NonFiniteLossError, Run
from ppl_gen.schedules import Schedule
from ppl_gen.trainables import Trainable, as_trainable
from ppl_gen.vae import VAE

__all__ = ["NonFiniteLossError", "adam", "fit"]

Callback: TypeAlias = Callable[[Mapping[str, float]], None]


def adam(parameters: Any, lr: float) -> torch.optim.Optimizer:
    """Fused Adam (Kingma and Ba 2015), the default optimiser."""
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(parameters, lr=lr, fused=fused)


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
    optimizer: MakeOptimizer = adam,
    scheduler: MakeScheduler | None = None,
    clip_norm: float | None = None,
    ema: float | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    checkpoint_every: int | None = None,
) -> History:
    """Train a model on data.

    Where ``torch.distributed`` is initialised, every process takes its share of each batch of
    ``batch_size`` times their number.

    Args:
        model: a model of :mod:`ppl_gen.zoo`, a :class:`Pair` or any :class:`Trainable`.
        data: a tensor, a tuple of tensors, a data set with ``.images``, a torch ``Dataset`` or
            ``DataLoader``; see :func:`ppl_gen.batches.as_batches`.
        epochs: passes over the data, in total when resuming.
        batch_size: rows per step and process.
        lr: the learning rate.
        seed: of the order of the data and of every draw; the global generators are left alone.
        staged: ``"auto"`` compiles the step and falls back to eager with a warning, ``True``
            insists, ``False`` runs eagerly.
        progress: whether to show a progress bar on standard error.
        validation: held-out data like ``data``; its metrics, prefixed ``val_``, are recorded with
            the step after which they were measured, under the averaged weights where there are.
        checkpoint: a file for the complete state, written atomically after each epoch and when
            interrupted. With validation data, the best weights so far are in ``*.best`` beside it.
        resume: continue from ``checkpoint`` where it exists, and start anew where it does not; the
            result equals that of an uninterrupted run bit for bit. Settings must be the same, but
            for the number of epochs.
        callbacks: called with the metrics of every step.
        optimizer: ``optimizer(parameters, lr)``, fused Adam by default.
        scheduler: ``scheduler(optimizer)``, a learning-rate scheduler stepped after every step.
        clip_norm: the largest gradient norm of a player.
        ema: the decay of exponential moving averages of the weights, which the model holds in the
            end.
        evaluate_every: steps between validations; an epoch by default.
        patience: stop after so many validations without a better one.
        checkpoint_every: steps between checkpoints, besides those after each epoch.

    Returns:
        The history of the loss (summed over the batch) and its terms (means in nats per datum). A
        controller that could not reach its set point says so in a warning.

    Raises:
        ValueError: data or settings that do not fit; raised before any training.
        NonFiniteLossError: the loss became NaN or infinite.
        KeyboardInterrupt: after the step under way and a checkpoint of it.
    """
    _check_settings(epochs, lr, resume, checkpoint, ema, patience, validation)
    callbacks = list(callbacks)
    if not isinstance(seed, int) or not all(map(callable, callbacks)):
        raise ValueError(
            f"expected a whole seed and functions as callbacks, got {seed}, {callbacks}"
        )
    _check_intervals(evaluate_every=evaluate_every, checkpoint_every=checkpoint_every)
    trainable, world = as_trainable(model), World.current()
    labelled = bool(getattr(model, "num_classes", 0))
    dtype = next(model.parameters()).dtype if isinstance(model, VAE) else None
    batches = as_batches(data, batch_size, seed, labelled=labelled, world=world, dtype=dtype)
    held_out = None
    if validation is not None:
        held_out = as_batches(validation, batch_size, seed, labelled=labelled, dtype=dtype)
    for source in filter(None, (batches, held_out)):
        _check_values(model, source)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(trainable.running())
        torch.manual_seed(seed + 7919 * world.rank)
        trainable.prepare(*next(iter(batches.epoch(0))))
        settings = {
            "model": str(getattr(model, "recipe", None) or type(model).__name__),
            "seed": seed,
            "batch_size": batch_size,
            "batches": len(batches),
        }
        run = Run(trainable, optimizer, lr, scheduler, staged, clip_norm, ema, world, settings)
        world.agree([*run.every, *trainable.buffers()])
        if resume and checkpoint is not None and Path(checkpoint).exists():
            run.load(checkpoints.read(checkpoint, "checkpoint"), checkpoint)
        bar = tqdm(
            total=epochs * len(batches),
            initial=run.history.steps,
            unit="step",
            disable=not (progress and world.writes),
            mininterval=0.5,
        )
        stack.enter_context(bar)
        interrupted = stack.enter_context(_interruptions())
        while run.epoch < epochs:
            for batch in run.batches(batches):
                metrics = run.step(batch)
                for callback in callbacks:
                    callback(metrics)
                bar.set_postfix({k: f"{v:.4g}" for k, v in metrics.items()}, refresh=False)
                bar.update()
                ended = run.batch == len(batches)
                if ended:
                    run.epoch, run.batch = run.epoch + 1, 0
                steps = run.history.steps
                if held_out is not None and _due(steps, evaluate_every, ended):
                    _evaluate(run, held_out, seed, checkpoint)
                if checkpoint is not None and (
                    ended or interrupted.is_set() or _due(steps, checkpoint_every, False)
                ):
                    _write(run, checkpoint, "checkpoint", run.state())
                if interrupted.is_set():
                    raise KeyboardInterrupt
                if patience is not None and run.waited >= patience:
                    run.epoch = epochs
                    break
        if run.average is not None:
            run.average.exchange()
    for complaint in _complaints(getattr(trainable, "objective", None)):
        warnings.warn(complaint, stacklevel=2)
    return run.history


def _complaints(objective: Any) -> Iterator[str]:
    """What the schedules of an objective have to say after training."""
    for schedule in objective.modules() if isinstance(objective, nn.Module) else ():
        if isinstance(schedule, Schedule) and (complaint := schedule.complaint()):
            yield complaint


def _due(step: int, interval: int | None, otherwise: bool) -> bool:
    return otherwise if interval is None else step % interval == 0


def _write(run: Run, path: checkpoints.PathLike, kind: str, state: Mapping[str, Any]) -> None:
    if run.world.writes:
        checkpoints.write(path, kind, state)


def _evaluate(
    run: Run, held_out: Batches, seed: int, checkpoint: checkpoints.PathLike | None
) -> None:
    """Record the metrics of held-out data, keep the best weights, count the steps since them."""
    with ExitStack() as stack:
        if run.average is not None:
            stack.enter_context(run.average.standing_in())
        found = _validate(run.trainable, held_out, seed)
        run.history.amend(found)
        elbo = found.get("val_elbo", math.nan)
        score = -elbo if math.isfinite(elbo) else -found.get("val_reconstruction", math.nan)
        score = found.get("val_loss", math.inf) if math.isnan(score) else score
        run.waited = 0 if score < run.best else run.waited + 1
        if score < run.best:
            run.best = score
            if checkpoint is not None:
                best = {"trainable": run.trainable.state_dict(), "metrics": found}
                _write(run, f"{checkpoint}.best", "best", best)


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


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a step is finished before the run stops."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(*_: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


# --- Checks -------------------------------------------------------------------------------------


def _check_settings(
    epochs: int,
    lr: float,
    resume: bool,
    checkpoint: Any,
    ema: float | None,
    patience: int | None,
    validation: Any,
) -> None:
    if not isinstance(epochs, int) or epochs < 0 or not lr > 0:
        raise ValueError(f"expected whole epochs >= 0 and lr > 0, got {epochs} and {lr}")
    if resume and checkpoint is None:
        raise ValueError("expected a checkpoint path to resume from, got none")
    if checkpoint is not None and not Path(checkpoint).parent.is_dir():
        raise ValueError(f"expected an existing folder for the checkpoint, got {checkpoint}")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"expected an ema decay in (0, 1), got {ema}")
    if patience is not None and (patience < 1 or validation is None):
        raise ValueError("expected a patience of at least one and validation data to judge by")


def _check_intervals(**intervals: int | None) -> None:
    for name, interval in intervals.items():
        if interval is not None and interval < 1:
            raise ValueError(f"expected {name} of at least one step, got {interval}")


def _check_values(model: Any, batches: Batches) -> None:
    """Refuse data in memory that the model cannot be given, before any work is done."""
    if not isinstance(batches, TensorBatches):
        return
    if isinstance(model, VAE):
        model.check(batches.tensors[0])
        if model.num_classes:
            model.check_labels(batches.tensors[1] if len(batches.tensors) > 1 else None)
    for position, tensor in enumerate(batches.tensors):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"expected finite data, got NaN or infinity in tensor {position}")
