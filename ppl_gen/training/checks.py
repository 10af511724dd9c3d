"""What :func:`ppl_gen.fit` refuses before any work is done; each raises ``ValueError``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ppl_gen._checks import is_whole
from ppl_gen.data.batches import Batches, TensorBatches, batch_sizes
from ppl_gen.models.base import GenerativeModel


def callables(callbacks: Iterable[Callable[..., Any]]) -> list[Callable[..., Any]]:
    listed = list(callbacks) if isinstance(callbacks, Iterable) else []
    if not isinstance(callbacks, Iterable) or not all(map(callable, listed)):
        raise ValueError(f"expected functions as callbacks, got {callbacks}")
    return listed


def metrics(given: Any) -> dict[str, Callable[[Any], Any]]:
    if given is None:
        return {}
    named = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
    if not named or not all(map(callable, given.values())):
        raise ValueError(f"expected metrics as functions of the model by name, got {given!r}")
    return dict(given)


def numbers(epochs: Any, steps_per_call: Any, **intervals: Any) -> None:
    _require_whole(0, epochs=epochs)
    _require_whole(1, **{name: n for name, n in intervals.items() if n is not None})
    if steps_per_call != "auto":
        _require_whole(1, steps_per_call=steps_per_call)


def _require_whole(least: int, **numbers: Any) -> None:
    for name, value in numbers.items():
        if not is_whole(value, least):
            raise ValueError(f"expected a whole number from {least} for {name}, got {value!r}")


def consistent(
    seed: Any,
    patience: int | None,
    validation: Any,
    checkpoint: Any,
    resume: Any,
    metrics: Mapping[str, Any],
    score: Any,
) -> None:
    if not isinstance(seed, int):
        raise ValueError(f"expected a whole seed, got {seed!r}")
    unrated = validation is None and not metrics
    if patience is not None and unrated:
        raise ValueError(
            "expected validation data or metrics to judge by with a patience, got none"
        )
    if score is not None and (not isinstance(score, str) or unrated):
        raise ValueError(
            f"expected score to name a metric of validation data or of metrics=, got {score!r}"
            f"{' and neither' if unrated else ''}"
        )
    if resume and checkpoint is None:
        raise ValueError("expected a checkpoint path to resume from, got none")
    if checkpoint is not None:
        if not isinstance(checkpoint, (str, os.PathLike)) or Path(checkpoint).is_dir():
            raise ValueError(f"expected a file for the checkpoint, got {checkpoint!r}")
        if not Path(checkpoint).parent.is_dir():
            raise ValueError(f"expected an existing folder for the checkpoint, got {checkpoint}")


def batch(model: Any, tensors: Sequence[Any]) -> None:
    """Refuse images and labels that the model cannot be given."""
    if isinstance(model, GenerativeModel):
        if len(tensors) < model.streams:
            raise ValueError(
                "expected two sets of data, such as ppl_gen.data.Unpaired(x, y), got one"
            )
        for x in tensors[: model.streams]:
            model.check(x)
        model.check_labels(tensors[1] if len(tensors) > 1 else None, len(tensors[0]))


def arguments(args: Sequence[Any], kwargs: Mapping[str, Any], **programs: Any) -> None:
    """Refuse programs that cannot be given a batch, such as those that hold the data themselves."""
    for role, program in programs.items():
        signature = inspect.signature(program)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            given = f"{len(args)} by position" if args else f"{', '.join(kwargs)} by name"
            raise ValueError(
                f"expected a {role} that takes the tensors of a batch, {given}, got one with "
                f"arguments {signature}: model and guide are called as model(*batch) and "
                "guide(*batch), so data that a program holds itself must become its arguments"
            ) from error


def _require_fewest(model: GenerativeModel, batches: Batches, validating: bool) -> None:
    """Refuse batches smaller than the model can learn from; validations leave these out."""
    sizes = batch_sizes(batches)
    if not sizes or (max if validating else min)(sizes) >= model.fewest:
        return
    name = (model.recipe and model.recipe.name) or type(model).__name__
    expected = f"expected batches of at least {model.fewest} data for this {name}"
    if max(sizes) < model.fewest:
        raise ValueError(f"{expected}, got {max(sizes)}{' of validation' if validating else ''}")
    raise ValueError(
        f"{expected}, got a last one of {min(sizes)}: another batch_size or drop_last=True leaves "
        "none so small"
    )


def values(model: Any, batches: Batches, validating: bool = False) -> None:
    """Refuse data in memory that the model cannot be given, or too few to make a batch of."""
    if batches.length == 0:
        raise ValueError(
            "expected data for a batch of every process, got fewer rows than those; with drop_last "
            "the batch must be full"
        )
    if isinstance(model, GenerativeModel):
        _require_fewest(model, batches, validating)
    if not isinstance(batches, TensorBatches):
        return
    batch(model, batches.tensors)
    missing = getattr(getattr(model, "likelihood", None), "missing", False)
    for position, tensor in enumerate(batches.tensors):
        if position == 0 and missing:
            continue  # NaN stands for a missing value, and the model looked for infinity
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"expected finite data, got NaN or infinity in tensor {position}")
