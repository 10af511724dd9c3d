"""Models and training states on disk: written atomically, read without executing anything.

A file is a dictionary of tensors, numbers and strings, written by ``torch.save`` and read with
``weights_only=True``. A model file holds the name of its zoo constructor, the constructor's
arguments and the weights; nothing in it is code.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ppl_gen import zoo
from ppl_gen.vae import VAE, Recipe

VERSION = 1
PathLike = str | os.PathLike[str]


def write(path: PathLike, kind: str, payload: Mapping[str, Any]) -> None:
    """Write a payload atomically: the previous file stays whole until the new one is."""
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target}, got {target.parent}")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": f"ppl_gen.{kind}", "version": VERSION, **payload}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: PathLike, kind: str) -> dict[str, Any]:
    """Read a payload of the stated kind onto the CPU.

    Raises:
        ValueError: the file is missing, truncated, corrupted, foreign or of a newer version.
    """
    if not Path(path).is_file():
        raise ValueError(f"expected a {kind} file, got no file at {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes checksums but does not read them
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"expected a {kind} file, {path} is foreign or truncated") from error
    if damaged is not None:
        raise ValueError(f"expected a {kind} file, {path} is damaged at {damaged}")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"expected a {kind} file, {path} cannot be read: {reason}") from error
    if not isinstance(payload, dict) or not str(payload.get("format")).startswith("ppl_gen."):
        raise ValueError(f"expected a {kind} file written by ppl_gen, got a foreign file at {path}")
    if payload["format"] != f"ppl_gen.{kind}":
        found = payload["format"].removeprefix("ppl_gen.")
        raise ValueError(f"expected a {kind} file, got a {found} file at {path}")
    if payload["version"] > VERSION:
        raise ValueError(
            f"expected version {VERSION} or older, {path} is of version {payload['version']}: "
            "a newer ppl_gen wrote it"
        )
    return payload


def load_state(module: nn.Module, state: Mapping[str, Any], path: PathLike) -> None:
    """Load weights, naming what does not fit."""
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ValueError(
            f"expected the weights of this {type(module).__name__}, {path} holds others: {reason}"
        ) from error


def save(model: VAE, path: PathLike) -> None:
    """Save a model's weights and, if it came from the zoo with plain arguments, how to build it.

    Raises:
        ValueError: something that is no :class:`ppl_gen.VAE`, or a folder that does not exist.
    """
    if not isinstance(model, VAE):
        raise ValueError(f"expected a ppl_gen.VAE to save, got {type(model).__name__}")
    recipe = model.recipe or Recipe(None, {}, "")
    known = recipe.obstacle is None
    payload = {
        "name": recipe.name if known else None,
        "arguments": recipe.arguments if known else None,
        "obstacle": recipe.obstacle,
        "state": model.state_dict(),
    }
    write(path, "model", payload)


def load(path: PathLike, into: VAE | None = None) -> VAE:
    """Load a model that :func:`save` wrote.

    Args:
        path: the file.
        into: a model of the same structure to load the weights into; needed when the model was not
            built by a zoo constructor with plain arguments.

    Raises:
        ValueError: the file is no model file, names an unknown model, or holds weights that do not
            fit; the message says what was found.
    """
    payload = read(path, "model")
    if into is None:
        if payload["name"] is None:
            reason = f"its argument {payload['obstacle']!r} is" if payload["obstacle"] else "it has"
            raise ValueError(
                f"expected a model built by ppl_gen.zoo from plain arguments, but {reason} an "
                "object: build the model yourself and pass it as into="
            )
        if payload["name"] not in zoo.registry:
            names = ", ".join(zoo.registry)
            raise ValueError(f"expected a model among {names}, got {payload['name']!r} in {path}")
        try:
            into = zoo.registry[payload["name"]].build(**payload["arguments"])
        except TypeError as error:
            raise ValueError(f"{path} holds arguments that do not fit: {error}") from error
    load_state(into, payload["state"], path)
    return into
