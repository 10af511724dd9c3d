"""Sealed files: written atomically, read without executing anything.

A file is a dictionary of tensors, numbers and strings, written by ``torch.save`` and read with
``weights_only=True``. It ends with a digest of all that comes before.
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


def model_payload(recipe: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a model file: weights, and how to build what they are of."""
    return {**origin(recipe), "state": state}


def origin(recipe: Any) -> dict[str, Any]:
    """How to build a model again, as far as its recipe can be written."""
    obstacle = "" if recipe is None else recipe.obstacle
    known = recipe is not None and obstacle is None
    schema = getattr(recipe, "schema", None)
    columns = {} if schema is None else {"schema": schema.stored()}
    return {
        **columns,
        "name": recipe.name if known else None,
        "arguments": recipe.arguments if known else None,
        "obstacle": obstacle,
    }
