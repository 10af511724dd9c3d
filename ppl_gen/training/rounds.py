"""A mixture trained in rounds: a fit of each component, on data that are drawn by weights.

Between rounds the whole mixture and the history so far are in the checkpoint; within one, the
complete state of its component is in a file beside it, ``*.round2`` of the second. Resuming goes on
from both, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ppl_gen import _files
from ppl_gen._processes import World
from ppl_gen.data.batches import gathered
from ppl_gen.data.reading import Reader
from ppl_gen.data.streams import Weighted
from ppl_gen.models.boosting import Mixture
from ppl_gen.training.history import History


def fit_in_rounds(
    fit: Callable[..., History], mixture: Mixture, data: Any, options: Mapping[str, Any]
) -> History:
    """Train the components of a mixture in turn, each for as many epochs as are asked for.

    Args:
        fit: :func:`ppl_gen.fit`.
        mixture: what is trained.
        data: all in memory, or as can be read into it.
        options: of ``fit``.

    Returns:
        The steps of all rounds, with their ``round``, counted from 1, and its ``multiplier`` λ.

    Raises:
        ValueError: what ``fit`` refuses, several processes, overridden settings, a checkpoint of
            another run, or a classifier that fails, so that data have no weights.
    """
    if World.current().size > 1:
        raise ValueError("expected one process for a mixture, whose rounds follow each other")
    if options["override"]:
        raise ValueError(f"expected no override for a mixture, got {options['override']}")
    x = gathered(data, Reader(mixture, learn=True))[0]
    mixture.check(x)
    path, seed = options["checkpoint"], options["seed"]
    settings = {name: options[name] for name in ("epochs", "batch_size", "seed", "drop_last")}
    settings |= {"model": str(mixture.recipe), "num_data": len(x)}
    history = History()
    mixture.shares.zero_()
    if options["resume"] and path is not None and Path(path).exists():
        history = _load(mixture, settings, path)
    elif path is not None:
        _write(mixture, settings, history, path)
    while mixture.rounds < len(mixture.components):
        index = mixture.rounds
        own = {**options, "seed": seed + index}
        if path is not None:
            own["checkpoint"] = f"{path}.round{index + 1}"
        quiet = partial(fit, staged=options["staged"], progress=False)
        weights, multiplier = mixture.weights(quiet, x, own["seed"])
        source = Weighted(data, weights) if index else data
        taken = fit(mixture.components[index], source, **own)
        _append(history, taken, {"round": index + 1, "multiplier": multiplier})
        mixture.add()
        if path is not None:
            _write(mixture, settings, history, path)
            for left in (own["checkpoint"], f"{own['checkpoint']}.best"):
                Path(left).unlink(missing_ok=True)
    return history


def _append(history: History, taken: History, found: Mapping[str, float]) -> None:
    for step in range(taken.steps):
        row = {name: values[step] for name, values in taken.items()}
        history.record({**{k: v for k, v in row.items() if not math.isnan(v)}, **found})
    history.staging = taken.staging


def _write(
    mixture: Mixture, settings: Mapping[str, Any], history: History, path: _files.PathLike
) -> None:
    state = {"settings": settings, "history": history.state(), "trainable": mixture.state_dict()}
    _files.write(path, "checkpoint", state | _files.origin(mixture.recipe))


def _load(mixture: Mixture, settings: Mapping[str, Any], path: _files.PathLike) -> History:
    stored = _files.read(path, "checkpoint")
    found = stored.get("settings", {})
    if differ := [
        f"{k} was {found.get(k)} and is {v}" for k, v in settings.items() if found.get(k) != v
    ]:
        raise ValueError(
            f"expected a checkpoint of this mixture and its settings, {path} differs: "
            f"{'; '.join(differ)}"
        )
    mixture.load_state_dict(stored["trainable"])
    return History.from_state(stored["history"])
