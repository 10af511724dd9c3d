"""Models on disk: saved with how to build them, and loaded without executing anything.

A model file holds the name of its zoo constructor, the constructor's arguments and the weights;
nothing in it is code. See :mod:`ppl_gen._files` for the file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ppl_gen import zoo
from ppl_gen._files import PathLike, model_payload, read, write
from ppl_gen.data.tables import Schema
from ppl_gen.models.base import GenerativeModel
from ppl_gen.training.pairs import as_trainable
from ppl_gen.training.trainable import load_state_dict, state_dict


def newest(folder: Path) -> Path:
    """Where the weights of a run on the command line are, however it ended."""
    names = ("model.pt", "checkpoint.pt", "checkpoint.pt.best")
    found = (folder / name for name in names)
    return next((path for path in found if path.is_file()), folder / names[0])


def step(path: Path) -> int | None:
    """After which step a checkpoint or the best weights were written; ``None`` for other files."""
    if not path.is_file():
        return None
    payload = read(path, "checkpoint", "model")
    return payload["history"]["steps"] if "history" in payload else payload.get("step")


def load_state(module: nn.Module, state: Mapping[str, Any], path: PathLike) -> None:
    """Load weights, naming what does not fit."""
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ValueError(
            f"expected the weights of this {type(module).__name__}, {path} holds others: {reason}"
        ) from error


def save(model: Any, path: PathLike, *, card: str | None = None) -> None:
    """Save a model's weights and, if it came from the zoo with plain arguments, how to build it.

    Of a :class:`ppl_gen.Pair` the parameters of Pyro's store and of modules are saved, not the
    programs: it is loaded by ``into=``.

    Args:
        model: what was trained.
        path: the file.
        card: what to write beside it, into ``vae.md`` for ``vae.pt``; see :func:`ppl_gen.card`.

    Raises:
        ValueError: something that :func:`ppl_gen.fit` does not train, a pair that has not been
            trained, or a folder that does not exist.

    >>> first, second = (ppl_gen.zoo.vae((4,), 2, encoder=torch.nn.Linear(4, 4)) for _ in range(2))
    >>> ppl_gen.save(first, "vae.pt")
    >>> second = ppl_gen.load("vae.pt", into=second)
    >>> second.sample(3, seed=0).equal(first.sample(3, seed=0))
    True
    """
    try:
        trainable = as_trainable(model)
    except ValueError as error:
        kind = type(model).__name__
        raise ValueError(
            f"expected a ppl_gen.Pair, a Trainable or a ppl_gen.VAE to save, got {kind}"
        ) from error
    write(path, "model", model_payload(getattr(model, "recipe", None), state_dict(trainable)))
    if card is not None:
        Path(path).with_suffix(".md").write_text(card, encoding="utf-8")


def load(path: PathLike, into: Any = None) -> Any:
    """Load a model that :func:`save` wrote, or the weights of one that :func:`ppl_gen.fit` trained.

    Args:
        path: a model file; the best weights that ``fit`` kept, in ``*.best``; or a checkpoint, for
            its weights at the last step, averaged ones where there are.
        into: a model, pair or trainable of the same structure to load the weights into; needed when
            the model was not built by a zoo constructor with plain arguments. A pair that has not
            run yet finds its parameters when it does.

    Raises:
        ValueError: the file is no model file or checkpoint, names an unknown model, or holds
            weights that do not fit; the message says what was found.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> ppl_gen.save(vae, "vae.pt")
    >>> again = ppl_gen.load("vae.pt")
    >>> again.sample(3, seed=0).equal(vae.sample(3, seed=0))
    True
    """
    payload = read(path, "checkpoint", "model")
    state = _weights(payload, path)
    if into is None:
        into = _built(payload, path)
    if isinstance(into, GenerativeModel):
        load_state(into, state, path)
        if "schema" in payload:
            into.schema = Schema.restored(payload["schema"])
        return into
    try:
        load_state_dict(as_trainable(into), state)
    except (LookupError, AttributeError, TypeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:600]
        raise ValueError(
            f"expected the weights of this {type(into).__name__}, {path} holds others: {reason}"
        ) from error
    return into


def _weights(payload: Mapping[str, Any], path: PathLike) -> dict[str, Any]:
    """The state of what was trained, with averaged weights where there are."""
    kind = payload["format"].removeprefix("ppl_gen.")
    state = payload.get("state" if kind == "model" else "weights") or payload.get("trainable", {})
    if not isinstance(state, dict) or (kind != "model" and not state):
        raise ValueError(f"expected a model file, got a {kind} file without weights at {path}")
    return state


def _built(payload: Mapping[str, Any], path: PathLike) -> GenerativeModel:
    """The model of the zoo that a file names."""
    if payload.get("name") is None:
        obstacle = payload.get("obstacle")
        reason = f"its argument {obstacle!r} is" if obstacle else "it has"
        raise ValueError(
            f"expected a model built by ppl_gen.zoo from plain arguments, but {reason} an "
            "object: build the model yourself and pass it as into="
        )
    if payload["name"] not in zoo.registry:
        names = ", ".join(zoo.registry)
        raise ValueError(f"expected a model among {names}, got {payload['name']!r} in {path}")
    try:
        return zoo.registry[payload["name"]].build(**payload["arguments"])
    except TypeError as error:
        raise ValueError(f"{path} holds arguments that do not fit: {error}") from error
