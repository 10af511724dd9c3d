"""The one training loop: batches in a seeded order, a staged step per player, a record, a state.

A run is determined by its seed. Its complete state (weights, optimisers, schedules, averages,
random generators, position in the data) goes into a checkpoint, from which it continues bit for
bit, however it ended.
"""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pyro
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ppl_gen import checkpoints, checks, generators, memory, overrides
from ppl_gen.batches import Batches, as_batches
from ppl_gen.calls import Calls
from ppl_gen.exclusive import exclusive
from ppl_gen.history import History
from ppl_gen.objectives import Objective
from ppl_gen.processes import World
from ppl_gen.reading import Reader
from ppl_gen.run import MakeOptimizer, MakeScheduler, NonFiniteLossError, Run
from ppl_gen.schedules import Schedule
from ppl_gen.trainables import Pair, Trainable, as_trainable

__all__ = ["NonFiniteLossError", "adam", "fit"]

Callback: TypeAlias = Callable[[Mapping[str, float]], None]

# Seconds after which a second Ctrl-C is one: launchers pass the first on once more.
REPEATED = 1.0


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
    override: str | Iterable[str] = (),
    callbacks: Iterable[Callback] = (),
    optimizer: MakeOptimizer = adam,
    scheduler: MakeScheduler | None = None,
    clip_norm: float | None = None,
    ema: float | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    checkpoint_every: int | None = None,
    steps_per_call: int | str = "auto",
    drop_last: bool = False,
) -> History:
    """Train a model on data.

    Where ``torch.distributed`` is initialised, every process takes its share of each batch of
    ``batch_size`` times their number. Threads cannot train at once: Pyro's handlers and parameter
    store and the random generators belong to the process, so nothing that draws from torch or runs
    Pyro programs should go on in other threads meanwhile. A callback may train something else.

    Args:
        model: a model of :mod:`ppl_gen.zoo`, a :class:`Pair` or any :class:`Trainable`.
        data: a tensor, array, frame or list of numbers, a tuple or dictionary of these, a data set
            of :mod:`ppl_gen.data` or of one's own with ``.images``, a torch ``Dataset``, iterable
            or not, or a ``DataLoader``. A dictionary, or batches that are dictionaries, are given
            to the programs of a :class:`Pair` by name; a VAE knows the names ``x`` and ``y``. Text
            labels name the classes of a conditional model. See :func:`ppl_gen.batches.as_batches`.
        epochs: passes over the data, in total when resuming.
        batch_size: rows per step and process.
        lr: the learning rate.
        seed: of the order of the data, where it takes several batches, and of every draw; the
            global generators are left alone.
        staged: ``"auto"`` compiles the step and falls back to eager with a warning, ``True``
            insists, ``False`` runs eagerly.
        progress: whether to show a progress bar on standard error.
        validation: held-out data like ``data``; its metrics, prefixed ``val_``, are recorded with
            the step after which they were measured, under the averaged weights where there are.
        checkpoint: a file for the complete state, written atomically after each epoch and when
            interrupted. With validation data, the best weights so far are in ``*.best`` beside it,
            a file for :func:`ppl_gen.load`.
        resume: continue from ``checkpoint`` where it exists, and start anew where it does not; the
            result equals that of an uninterrupted run bit for bit. Settings must be the same, but
            for the number of epochs and what ``override`` names.
        override: what may differ on resuming, among ``"lr"``, ``"batch_size"`` and ``"clip_norm"``;
            the run goes on with the new value. What a scheduler has made of the old learning rate
            it has then made of the new one. Within an epoch, other batches leave no datum out, and
            less than one of them is seen twice.
        callbacks: called after every step with its metrics, those of a validation after it
            included, and its number ``"step"``, which counts from 1 and goes on when resuming.
        optimizer: ``optimizer(parameters, lr)``, fused Adam by default; any of ``torch.optim``
            that needs no closure.
        scheduler: ``scheduler(optimizer)``, a learning-rate scheduler stepped after every step;
            ``ReduceLROnPlateau`` is stepped with the score of every validation.
        clip_norm: the largest gradient norm of a player.
        ema: the decay of exponential moving averages of the weights, which the model holds in the
            end.
        evaluate_every: steps between validations; an epoch by default.
        patience: stop after so many validations without a better one. The score is the ELBO at
            weight 1, or else, where a point posterior makes that infinite, the loss per datum.
        checkpoint_every: steps between checkpoints, besides those after each epoch.
        steps_per_call: how many steps are taken before Python looks at the first of them, which is
            what small models spend their time on. The result is the same to the last bit. A step
            whose loss is not finite is still the last. Callbacks are called for every step in
            order, but the weights are then those after the last of the call, so with callbacks
            ``"auto"`` is one step, and otherwise as many as take a few hundredths of a second.
            Steps are taken one by one where they are not staged, there are several players or
            processes, the data are no tensors in memory, or the optimiser is not Adam or AdamW
            without its variants.
        drop_last: leave out the last batch of an epoch where it is short; validation uses all.

    Returns:
        The history of the loss (summed over the batch), its terms (means in nats per datum) and
        what changes of the objective by schedule, such as ``"weight"``. A controller that could not
        reach its set point says so in a warning, and so does a warm-up that training cut short.

    Raises:
        ValueError: data or settings that do not fit, programs for which batches of some of the
            data cannot stand for all of them (see :mod:`ppl_gen.minibatches`), or a checkpoint of
            another run, raised before any training.
        NonFiniteLossError: the loss became NaN or infinite.
        KeyboardInterrupt: after the step under way and a checkpoint of it; a second Ctrl-C stops
            at once. The model keeps the last weights, or their averages where there are, as it
            does at the end.

    Whatever ends a run early has the history so far as its attribute ``history``.

    To watch a run in TensorBoard, give ``callbacks=[log]`` for

    >>> from torch.utils.tensorboard import SummaryWriter
    >>> writer = SummaryWriter("runs/vae")
    >>> def log(metrics):
    ...     for name, value in metrics.items():
    ...         writer.add_scalar(name, value, metrics["step"])
    """
    callbacks = checks.callables(callbacks, optimizer=optimizer, scheduler=scheduler)
    checks.whole(0, epochs=epochs)
    intervals = {"evaluate_every": evaluate_every, "checkpoint_every": checkpoint_every}
    checks.whole(1, optional=True, patience=patience, **intervals)
    if steps_per_call != "auto":
        checks.whole(1, steps_per_call=steps_per_call)
    checks.positive(lr=lr)
    checks.positive(optional=True, clip_norm=clip_norm, ema=ema)
    checks.consistent(seed, ema, patience, validation, checkpoint, resume)
    override = overrides.names(override)
    with ExitStack() as stack:
        stack.enter_context(exclusive("fit"))
        trainable, world = as_trainable(model), World.current()
        reader = Reader(model, learn=True)
        batches = as_batches(
            data, batch_size, seed, reader=reader, world=world, drop_last=drop_last
        )
        held_out = None
        if validation is not None:
            held_out = as_batches(validation, batch_size, seed, reader=reader)
        for source in (batches, held_out):
            if source is not None:
                checks.values(model, source)
        if held_out is not None:
            with generators.seeded(seed):
                checks.batch(model, next(iter(held_out.epoch(0))))
        stack.enter_context(generators.seeded(seed + 7919 * world.rank))
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(trainable.running())
        stack.enter_context(memory.kept())
        first = next(iter(batches.epoch(0)))
        trainable.name_arguments(reader.names)
        trainable.prepare(*first)
        if isinstance(trainable, Pair) and batches.length != 1:
            trainable.require_divisible(*first)
        settings: dict[str, Any] = {
            "model": str(getattr(model, "recipe", None) or type(model).__name__),
            "seed": seed,
            "batch_size": data.batch_size if isinstance(data, DataLoader) else batch_size,
            "batches": batches.length,
            "num_data": _num_data(batches),
            "binarization": getattr(data, "binarization", None),
        }
        if steps_per_call == "auto" and callbacks:
            steps_per_call = 1
        run = Run(trainable, optimizer, lr, scheduler, staged, clip_norm, ema, world, settings)
        calls = Calls(run, steps_per_call)
        if run.awaits_plateaus and held_out is None:
            raise ValueError("expected validation data for ReduceLROnPlateau to judge by, got none")
        stack.enter_context(_keeping(run))
        _tell_size(trainable, settings["num_data"])
        world.agree([*run.every, *trainable.buffers()])
        if resume and checkpoint is not None and Path(checkpoint).exists():
            run.load(checkpoints.read(checkpoint, "checkpoint"), checkpoint, override)
        if checkpoint is not None and world.writes:
            checkpoints.tidy(checkpoint)
        bar = tqdm(
            total=None if batches.length is None else epochs * batches.length,
            initial=run.history.steps,
            unit="step",
            disable=not (progress and world.writes),
            mininterval=0.5,
        )
        stack.enter_context(bar)
        interrupted = stack.enter_context(_interruptions())
        origin = checkpoints.origin(getattr(model, "recipe", None))

        def horizon() -> int | None:
            """Steps until the next one after which the state is looked at."""
            every = [n for n in (evaluate_every, checkpoint_every) if n is not None]
            return min((n - run.history.steps % n for n in every), default=None)

        def satisfied() -> bool:
            return patience is not None and run.waited >= patience

        while run.epoch < epochs and not satisfied():
            for metrics in calls.epoch(batches, horizon):
                if calls.settled and not bar.disable:
                    bar.set_postfix({k: f"{v:.4g}" for k, v in metrics.items()}, refresh=False)
                bar.update()
                ended = batches.is_last(run.batch)
                if ended:
                    run.epoch, run.batch = run.epoch + 1, 0
                steps = run.history.steps
                if held_out is not None and _due(steps, evaluate_every, ended):
                    metrics |= _evaluate(run, held_out, seed, patience, model, checkpoint)
                for callback in callbacks:
                    callback({"step": steps, **metrics})
                if not calls.settled:
                    continue
                stop = world.anywhere(interrupted.is_set())
                if checkpoint is not None and (ended or stop or _due(steps, checkpoint_every)):
                    _write(run, checkpoint, "checkpoint", run.state() | origin)
                if stop:
                    raise KeyboardInterrupt
                if satisfied():
                    break
    for complaint in _complaints(getattr(trainable, "objective", None)):
        warnings.warn(complaint, stacklevel=2)
    return run.history


@contextmanager
def _keeping(run: Run) -> Iterator[None]:
    """Leave the averaged weights in the model, and the history in what ends the run early."""
    try:
        yield
    except BaseException as error:
        with suppress(AttributeError):
            error.history = run.history  # type: ignore[attr-defined]
        if isinstance(error, KeyboardInterrupt) and run.average is not None:
            run.average.exchange()
        raise
    if run.average is not None:
        run.average.exchange()


def _complaints(objective: Any) -> Iterator[str]:
    """What the schedules of an objective have to say after training."""
    for schedule in objective.modules() if isinstance(objective, nn.Module) else ():
        if isinstance(schedule, Schedule) and (complaint := schedule.complaint()):
            yield complaint


def _due(step: int, interval: int | None, otherwise: bool = False) -> bool:
    return otherwise if interval is None else step % interval == 0


def _write(run: Run, path: checkpoints.PathLike, kind: str, state: Mapping[str, Any]) -> None:
    if run.world.writes:
        checkpoints.write(path, kind, state)


def _num_data(batches: Batches) -> int | None:
    """How many data an epoch is drawn from, where that is known."""
    tensors, loader = getattr(batches, "tensors", None), getattr(batches, "loader", None)
    if tensors is not None:
        return len(tensors[0])
    chosen = getattr(getattr(loader, "sampler", None), "indices", None)  # of some of the data
    source: Any = getattr(loader, "dataset", None) if chosen is None else chosen
    return len(source) if hasattr(source, "__len__") else None


def _tell_size(trainable: Trainable, num_data: int | None) -> None:
    """Let an objective know how many data there are."""
    objective = getattr(trainable, "objective", None)
    if isinstance(objective, Objective) and num_data is not None:
        objective.observe_size(num_data)


def _evaluate(
    run: Run,
    held_out: Batches,
    seed: int,
    patience: int | None,
    model: Any,
    checkpoint: checkpoints.PathLike | None,
) -> dict[str, float]:
    """Record the metrics of held-out data, and keep the best weights."""
    with ExitStack() as stack:
        if run.average is not None:
            stack.enter_context(run.average.standing_in())
        _tell_size(run.trainable, _num_data(held_out))
        stack.callback(_tell_size, run.trainable, run.settings["num_data"])
        found = _validate(run.trainable, held_out, seed)
        run.history.amend(found)
        score = _score(found)
        if math.isnan(score) and (patience is not None or run.awaits_plateaus):
            names = ", ".join(found) or "none"
            raise ValueError(f"expected a loss or an ELBO of validation data, got metrics {names}")
        if run.judge(score) and checkpoint is not None:
            recipe, state = getattr(model, "recipe", None), run.trainable.state_dict()
            best = checkpoints.contents(recipe, state)
            best |= {"metrics": found, "step": run.history.steps}
            _write(run, f"{checkpoint}.best", "model", best)
    return found


def _score(found: Mapping[str, float]) -> float:
    """How good held-out data look, the lower the better; NaN where nothing tells."""
    scores = -found.get("val_elbo", math.nan), found.get("val_loss", math.nan)
    known = [score for score in scores if not math.isnan(score)]
    return next(filter(math.isfinite, known), known[0] if known else math.nan)


def _validate(trainable: Trainable, batches: Batches, seed: int) -> dict[str, float]:
    """Means per datum over held-out data, prefixed ``val_``, with draws of their own."""
    totals: dict[str, float] = {}
    count = 0
    with generators.seeded(seed):
        for batch in batches.epoch(0):
            count += len(batch[0])
            for name, value in trainable.evaluate(*batch).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(batch[0])
    return {f"val_{name}": total / count for name, total in totals.items()}


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a step is finished before the run stops."""
    asked, since = threading.Event(), [math.inf]
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(*_: Any) -> None:
        if time.monotonic() - since[0] > REPEATED:
            raise KeyboardInterrupt
        since[0] = min(since[0], time.monotonic())
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
