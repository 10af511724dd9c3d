"""Models and training states on disk: written atomically, read without executing anything.

A file is a dictionary of tensors, numbers and strings, written by ``torch.save`` and read with
``weights_only=True``. It ends with a digest of all that comes before. A model file holds the name
of its zoo constructor, the constructor's arguments and the weights; nothing in it is code.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ppl_gen import zoo
from ppl_gen.data.tables import Schema
from ppl_gen.trainables import as_trainable
from ppl_gen.vae import VAE, Recipe

VERSION = 1
SUFFIXES = (".pt", ".best")
DIGEST_SIZE = hashlib.sha256().digest_size
PathLike = str | os.PathLike[str]


def write(path: PathLike, kind: str, payload: Mapping[str, Any]) -> None:
    """Write a payload atomically: the previous file stays whole until the new one is."""
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target}, got {target.parent}")
    buffer = io.BytesIO()
    torch.save({"format": f"ppl_gen.{kind}", "version": VERSION, **payload}, buffer)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(sealed(buffer.getvalue()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def tidy(path: PathLike) -> None:
    """Remove what a killed process left half written beside a file that only this one writes."""
    target = Path(path)
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}"):
        left.unlink(missing_ok=True)


def sealed(archive: bytes) -> bytes:
    """A zip archive whose comment is the SHA-256 of everything before it."""
    body = archive[:-2] + DIGEST_SIZE.to_bytes(2, "little")
    return body + hashlib.sha256(body).digest()


def read(path: PathLike, *kinds: str) -> dict[str, Any]:
    """Read a payload of one of the stated kinds onto the CPU.

    Raises:
        ValueError: the file is missing, truncated, corrupted, foreign or of a newer version. No
            change of a file, of a single bit even, goes unnoticed.
    """
    wanted = f"a {' or '.join(kinds)} file"
    if not Path(path).is_file():
        raise ValueError(f"expected {wanted}, got no file at {path}{_others(Path(path))}")
    content = Path(path).read_bytes()
    if hashlib.sha256(content[:-DIGEST_SIZE]).digest() != content[-DIGEST_SIZE:]:
        raise ValueError(
            f"expected {wanted} written by ppl_gen, {path} is foreign, truncated or damaged"
        )
    try:
        payload = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"expected {wanted}, {path} cannot be read: {reason}") from error
    stated = payload.get("format") if isinstance(payload, dict) else None
    if not isinstance(stated, str) or not stated.startswith("ppl_gen."):
        raise ValueError(f"expected {wanted} written by ppl_gen, got a foreign file at {path}")
    if not isinstance(version := payload.get("version"), int) or version > VERSION:
        raise ValueError(
            f"expected version {VERSION} or older, {path} is of version {version}: a newer "
            "ppl_gen wrote it"
        )
    if stated.removeprefix("ppl_gen.") not in kinds:
        found = stated.removeprefix("ppl_gen.")
        raise ValueError(f"expected {wanted}, got a {found} file at {path}")
    return payload


def _others(path: Path) -> str:
    """The files that were perhaps meant instead of one that is missing."""
    folder = path if path.is_dir() else path.parent
    found = sorted(str(p) for p in folder.glob("*.pt*") if p.is_file() and p.suffix in SUFFIXES)
    return f"; there are {', '.join(found[:6])}" if found else ""


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


def save(model: Any, path: PathLike) -> None:
    """Save a model's weights and, if it came from the zoo with plain arguments, how to build it.

    Of a :class:`ppl_gen.Pair` the parameters of Pyro's store and of modules are saved, not the
    programs: it is loaded by ``into=``.

    Raises:
        ValueError: something that :func:`ppl_gen.fit` does not train, a pair that has not been
            trained, or a folder that does not exist.
    """
    try:
        trainable = as_trainable(model)
    except ValueError as error:
        kind = type(model).__name__
        raise ValueError(
            f"expected a ppl_gen.Pair, a Trainable or a ppl_gen.VAE to save, got {kind}"
        ) from error
    write(path, "model", contents(getattr(model, "recipe", None), trainable.state_dict()))


def contents(recipe: Recipe | None, state: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a model file."""
    return {**origin(recipe), "state": state}


def origin(recipe: Recipe | None) -> dict[str, Any]:
    """How to build a model again, as far as that can be written."""
    recipe = recipe or Recipe(None, {}, "")
    known = recipe.obstacle is None
    schema = {} if recipe.schema is None else {"schema": recipe.schema.stored()}
    return {
        **schema,
        "name": recipe.name if known else None,
        "arguments": recipe.arguments if known else None,
        "obstacle": recipe.obstacle,
    }


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

    >>> vae = ppl_gen.load("run.pt")
    >>> pair = ppl_gen.load("pair.pt", into=ppl_gen.Pair(model, guide))
    """
    payload = read(path, "checkpoint", "model")
    state = _weights(payload, path)
    if into is None:
        into = _built(payload, path)
    if isinstance(into, VAE):
        load_state(into, state, path)
        if "schema" in payload:
            into.schema = Schema.restored(payload["schema"])
        return into
    try:
        as_trainable(into).load_state_dict(state)
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


def _built(payload: Mapping[str, Any], path: PathLike) -> VAE:
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
