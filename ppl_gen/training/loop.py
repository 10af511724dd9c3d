"""The one training loop: batches in a seeded order, a staged step per player, a record, a state.

A run is determined by its seed. Its complete state (weights, optimisers, schedules, averages,
random generators, position in the data) goes into a checkpoint, from which it continues bit for
bit, however it ended.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyro
from torch import nn
from torch.utils.data import DataLoader

from ppl_gen import _files
from ppl_gen._exclusive import exclusive
from ppl_gen._processes import World
from ppl_gen.data.batches import Batches, as_batches, num_data
from ppl_gen.data.reading import Batch, Reader
from ppl_gen.models.boosting import Mixture
from ppl_gen.schedules import Schedule
from ppl_gen.training import checks, generators, memory, overrides, players, rates, rounds
from ppl_gen.training import trainable as trainables
from ppl_gen.training.history import History
from ppl_gen.training.hooks import (
    Callback,
    Checkpoint,
    Hook,
    Interruption,
    Metric,
    Progress,
    Validation,
    calling,
    tell_size,
)
from ppl_gen.training.pairs import Pair, as_trainable
from ppl_gen.training.players import MakeOptimizer
from ppl_gen.training.rates import MakeScheduler
from ppl_gen.training.run import Run


def fit(
    model: Any,
    data: Any,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float | Mapping[str, float] | None = None,
    seed: int = 0,
    staged: str | bool = "auto",
    progress: bool = True,
    validation: Any = None,
    checkpoint: _files.PathLike | None = None,
    resume: bool = False,
    override: str | Iterable[str] = (),
    callbacks: Iterable[Callback] = (),
    optimizer: MakeOptimizer | Mapping[str, MakeOptimizer] | None = None,
    scheduler: MakeScheduler | str | Mapping[str, MakeScheduler | str] | None = None,
    clip_norm: float | Mapping[str, float | None] | None = None,
    ema: float | Mapping[str, float | None] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    score: str | None = None,
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

    Where there are several players, ``lr``, ``optimizer``, ``scheduler``, ``clip_norm`` and ``ema``
    may each be a dictionary with a value for every player; ``None`` is no clipping and no averages.

    Args:
        model: a model of :mod:`ppl_gen.zoo`, a :class:`Pair` or any :class:`Trainable`.
        data: a tensor, array, frame or list of numbers, a tuple or dictionary of these, a data set
            of :mod:`ppl_gen.data` or of one's own with ``.images``, a torch ``Dataset``, iterable
            or not, or a ``DataLoader``. A dictionary, or batches that are dictionaries, are given
            to the programs of a :class:`Pair` by name; a VAE knows the names ``x`` and ``y``. Text
            labels name the classes of a conditional model. Two of these without pairs are
            :class:`ppl_gen.data.Unpaired`, and with weights one is :class:`ppl_gen.data.Weighted`.
            See :func:`ppl_gen.data.batches.as_batches`.
        epochs: passes over the data, in total when resuming; for a mixture, those of each round.
        batch_size: rows per batch and process. A step takes one batch, or the cycle of batches that
            the model has a schedule for.
        lr: the learning rate; by default 1e-3, or that of the model's authors where it has one.
        seed: of the order of the data, where it takes several batches, and of every draw; the
            global generators are left alone.
        staged: ``"auto"`` compiles the step for a shape of batches where the steps of this call
            will have saved more than that costs, by their number and the operations they take, see
            :mod:`ppl_gen.staging.costs`; other steps run eagerly, and so do those that cannot be
            staged, with a warning. Clocks and caches play no part, so the same call has the same
            result to the last bit. Resuming keeps what the checkpoint says of shapes seen before,
            for more epochs too; the attribute ``staging`` of the history explains the choice.
            ``True`` compiles every shape or raises :class:`ppl_gen.staging.StagingError`, ``False``
            runs eagerly.
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
        optimizer: ``optimizer(parameters, lr)``, fused Adam or the model's own by default; any of
            ``torch.optim`` that needs no closure.
        scheduler: ``"constant"``, ``"falling"`` for a rate that falls linearly to 0 by the end of
            the last epoch, or ``scheduler(optimizer)``, a learning-rate scheduler stepped after
            every step; ``ReduceLROnPlateau`` is stepped with the score of every validation. By
            default constant or the model's own. A run that is resumed for more epochs goes on at
            the rate of a run that was to have as many.
        clip_norm: the largest gradient norm of a player.
        ema: the decay of exponential moving averages of the weights, which the model holds in the
            end; less at first, see :mod:`ppl_gen.staging.averages`. Batch normalisation has its
            statistics estimated for them from data in memory.
        metrics: functions of the model to numbers, by name, such as the FID of its samples:
            ``{"fid": lambda model: metrics.fid(test, model.sample(2000, seed=0)).value}``. They are
            called at every validation, under the averaged weights and a seed, and recorded as
            ``val_fid``.
        score: the name of what rates the weights at validations, the lowest being the best: one of
            ``metrics``, or of those of the validation data. By default the ELBO at weight 1, or
            else, where a point posterior makes that infinite, the loss per datum, or where there
            is neither the first of ``metrics``.
        evaluate_every: steps between validations; an epoch by default.
        patience: stop after this many validations without a better score.
        checkpoint_every: steps between checkpoints, besides those after each epoch.
        steps_per_call: how many steps are taken before Python looks at the first of them, which is
            what small models spend their time on. The result is the same to the last bit. A step
            whose loss is not finite is still the last. Callbacks are called for every step in
            order, but the weights are then those after the last of the call, so with callbacks
            ``"auto"`` is one step, and otherwise as many as take a few hundredths of a second.
            Steps are taken one by one where they are not staged, their turns are not known
            beforehand (see :class:`Trainable`), there are several processes, the data are no
            tensors in memory, or an optimiser is none of Adam, AdamW, SGD and RMSprop without their
            variants.
        drop_last: leave out the last batch of an epoch where it is short; validation uses all.

    Returns:
        The history of the loss (summed over the batch), its terms (means in nats per datum) and
        what changes of the objective by schedule, such as ``"weight"``. A controller that could not
        reach its set point says so in a warning, and so does a warm-up that training cut short.

    Raises:
        ValueError: data or settings that do not fit, programs for which batches of some of the data
            cannot stand for all of them (see :mod:`ppl_gen.training.minibatches`), or a checkpoint
            of another run, raised before any training.
        NonFiniteLossError: the loss became NaN or infinite.
        KeyboardInterrupt: after the step under way and a checkpoint of it; a second Ctrl-C stops
            at once, and so does one while a step is being compiled. The model keeps the last
            weights, or their averages where there are, as it does at the end.

    Whatever ends a run early has the history so far as its attribute ``history``.

    To watch a run, give ``callbacks`` a :class:`ppl_gen.CSVLog` or :class:`ppl_gen.TensorBoardLog`.

    >>> vae, x = ppl_gen.zoo.vae((4,), 2, hidden=8), torch.zeros(100, 4)
    >>> history = ppl_gen.fit(vae, x, epochs=3, batch_size=50, staged=False, progress=False)
    >>> history.steps
    6
    >>> "elbo" in history
    True
    """
    given = {name: value for name, value in locals().items() if name not in ("model", "data")}
    callbacks = checks.callables(callbacks)
    rates.require(scheduler)
    intervals = {"evaluate_every": evaluate_every, "checkpoint_every": checkpoint_every}
    checks.numbers(epochs, steps_per_call, patience=patience, **intervals)
    metrics = checks.metrics(metrics)
    checks.consistent(seed, patience, validation, checkpoint, resume, metrics, score)
    if isinstance(model, Mixture):
        return rounds.fit_in_rounds(fit, model, data, given | {"callbacks": callbacks})
    override, world = overrides.names(override), World.current()
    with ExitStack() as stack:
        stack.enter_context(exclusive("fit"))
        trainable = as_trainable(model)
        own = {"lr": lr, "optimizer": optimizer, "clip_norm": clip_norm, "ema": ema}
        chosen = players.settings(trainable, **own)
        reader = Reader(model, learn=True)
        batches, held_out = _read(
            reader, data, validation, batch_size=batch_size, seed=seed, drop_last=drop_last
        )
        stack.enter_context(generators.seeded(seed + 7919 * world.rank))
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(trainables.running(trainable))
        stack.enter_context(memory.retained())
        first = _prepare(trainable, batches, reader)
        length = batches.length
        made = rates.schedulers(scheduler, trainable, first, length, epochs)
        rules = players.update_rules(trainable, chosen, made)
        run = Run(
            trainable,
            rules,
            batches,
            epochs=epochs,
            patience=patience,
            intervals=[n for n in intervals.values() if n is not None],
            staged=staged,
            steps_per_call=1 if steps_per_call == "auto" and callbacks else steps_per_call,
            world=world,
            settings=players.described(rules, chosen)
            | _described(model, data, batches, batch_size=batch_size, seed=seed)
            | ({} if score is None else {"score": score}),
        )
        if players.plateaus(rules.values()) and held_out is None and not metrics:
            raise ValueError("expected validation data for ReduceLROnPlateau to judge by, got none")
        validating = Validation(run, held_out, seed, evaluate_every, model, metrics, score)
        stack.enter_context(_finishing(run))
        for source in (held_out, batches):
            if source is not None:
                tell_size(trainable, source)
        validating.require_score()
        world.broadcast([*run.parameters, *trainables.buffers(trainable)])
        if checkpoint is not None:
            _continue(run, checkpoint, resume, override)
        recipe = getattr(model, "recipe", None)
        best = None if checkpoint is None else f"{checkpoint}.best"
        hooks: list[Hook] = [stack.enter_context(Progress(run, progress and world.writes))]
        if held_out is not None or metrics:
            validating.keep_best(best, recipe)
            hooks.append(validating)
        hooks += [*map(calling, callbacks), stack.enter_context(Interruption(run))]
        if checkpoint is not None:
            hooks.append(Checkpoint(run, checkpoint, checkpoint_every, recipe))
        for event in run:
            for hook in hooks:
                hook(event)
    for warning in _warnings(getattr(trainable, "objective", None)):
        warnings.warn(warning, stacklevel=2)
    return run.history


def _read(
    reader: Reader,
    data: Any,
    validation: Any,
    *,
    batch_size: int,
    seed: int,
    drop_last: bool,
) -> tuple[Batches, Batches | None]:
    """The batches of the data and of held-out data, checked as far as they can be beforehand."""
    world = World.current()
    batches = as_batches(data, batch_size, seed, reader=reader, world=world, drop_last=drop_last)
    held_out = None
    if validation is not None:
        held_out = as_batches(validation, batch_size, seed, reader=reader)
    for source in (batches, held_out):
        if source is not None:
            checks.values(reader.model, source, validating=source is held_out)
    if held_out is not None:
        with generators.seeded(seed):
            checks.batch(reader.model, next(iter(held_out.epoch(0))))
    return batches, held_out


def _prepare(trainable: trainables.Trainable, batches: Batches, reader: Reader) -> Batch:
    """Run what is trained once, so that its parameters are known; the batch it was run on."""
    first = next(iter(batches.epoch(0)))
    trainables.name_arguments(trainable, reader.names)
    trainables.prepare(trainable, *first)
    if isinstance(trainable, Pair) and batches.length != 1:
        trainable.require_divisible(*first)
    return first


def _described(
    model: Any, data: Any, batches: Batches, *, batch_size: int, seed: int
) -> dict[str, Any]:
    """What determines a run besides the settings of the players, as a checkpoint names it."""
    return {
        "model": str(getattr(model, "recipe", None) or type(model).__name__),
        "seed": seed,
        "batch_size": data.batch_size if isinstance(data, DataLoader) else batch_size,
        "batches": batches.length,
        "num_data": num_data(batches),
        "binarization": getattr(data, "binarization", None),
    }


def _continue(run: Run, checkpoint: _files.PathLike, resume: bool, override: Sequence[str]) -> None:
    """Continue from a checkpoint, if there is one to resume from."""
    if resume and Path(checkpoint).exists():
        run.load(_files.read(checkpoint, "checkpoint"), checkpoint, override)
    if run.world.writes:
        _files.tidy(checkpoint)


@contextmanager
def _finishing(run: Run) -> Iterator[None]:
    """Leave the averaged weights in the model, and the history in what ends the run early."""
    try:
        yield
    except BaseException as error:
        run.history.staging = str(run.choices)
        with suppress(AttributeError):
            error.history = run.history  # type: ignore[attr-defined]
        if isinstance(error, KeyboardInterrupt):
            run.finish()
        raise
    run.history.staging = str(run.choices)
    run.finish()


def _warnings(objective: Any) -> Iterator[str]:
    """What the schedules of an objective have to say after training."""
    for schedule in objective.modules() if isinstance(objective, nn.Module) else ():
        if isinstance(schedule, Schedule) and (warning := schedule.warning()):
            yield warning
