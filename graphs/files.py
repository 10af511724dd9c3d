"""Networks in files: BIF, XMLBIF, UAI and NET, also compressed as .gz.

Each format is read by a reader of its own (:mod:`graphs.formats`), which checks the file once and
names the line of what is wrong. pgmpy's readers are not used: they need pgmpy for the structure
alone, take seconds on large networks, cut names at characters they do not know, and read parents in
another order than the file's (UAI); its writers rename states (XMLBIF) and round (NET).

Files are data: nothing in them is run, no entity is expanded, nothing else is fetched. Writing goes
to a temporary file that replaces the target at the end, so a reader never sees half a network.
"""

from __future__ import annotations

import gzip
import os
import secrets
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .formats import bif, net, uai, xmlbif
from .formats.scanning import Malformed
from .structure import Model
from .tables import Tables

_FORMATS = {".bif": bif, ".xmlbif": xmlbif, ".uai": uai, ".net": net}


def load(path: str | os.PathLike[str], tables: bool = True) -> Any:
    """The network in a file, its format told by the extension (.bif, .xmlbif, .uai, .net, + .gz).

    Nodes, states and parents keep the names and the order of the file, and probabilities their
    values: rows that miss the sum one by rounding (:mod:`graphs.tables`) are not rescaled. In .uai
    files every declared variable is a node var_0, var_1, ... with states 0, 1, ..., and equal
    functions are all kept.

    Args:
        path: the file; the case of the extension does not matter.
        tables: whether to read the parameters; without them pgmpy is not imported.

    Returns:
        A pgmpy ``DiscreteBayesianNetwork`` or, from a .uai file of kind MARKOV,
        ``DiscreteMarkovNetwork``; without tables a networkx ``DiGraph`` or ``Graph``.

    Raises:
        ValueError: an unknown extension, or a file that is truncated or malformed, names an unknown
            variable or state, lacks a row, or holds numbers that are no probabilities: the message
            names the file, the line and what was expected there.
        MissingFileError: no such file; a ``ValueError`` and a ``FileNotFoundError``.
    """
    reader, compressed = _format(path)
    content = _read(path, compressed, lambda data: reader.read(data, tables))
    return content.to_pgmpy() if isinstance(content, Tables) else content


def read_evidence(path: str | os.PathLike[str]) -> dict[str, int]:
    """The evidence of a UAI .evid file, as ``{"var_3": 1}``; also .gz.

    Raises:
        ValueError: a malformed file, with the line.
        MissingFileError: no such file; a ``ValueError`` and a ``FileNotFoundError``.
    """
    compressed = _path(path).suffix.lower() == ".gz"
    return _read(path, compressed, uai.read_evidence)


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a network with its tables; :func:`load` reads back names, states and parameters.

    Names and states are written as text (``str``), probabilities in full precision. The .uai format
    has no names: nodes called var_0, var_1, ... keep their numbers, others are numbered in the
    order of the model. Markov networks and factor graphs go to .uai only.

    Args:
        model: a pgmpy Bayesian network, Markov network or factor graph.
        path: the file to write or replace, its format told by the extension as in :func:`load`.

    Raises:
        ValueError: an unknown extension, a structure without tables or with invalid ones, a Markov
            network for another format than .uai, two names that are the same text, or a name that
            the format cannot hold.
    """
    writer, compressed = _format(path)
    from .pgmpy_bridge import tables_of

    tables = tables_of(model)
    if writer is not uai:
        if not tables.directed:
            raise ValueError(
                f"expected a Bayesian network for {os.fspath(path)}, got a Markov network; "
                "a .uai file holds it"
            )
        _check_text(tables)
    _write(_path(path), writer.write(tables), compressed)


class MissingFileError(ValueError, FileNotFoundError):
    """A file or folder that is not there: a refused value, and what ``open`` raises."""


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"expected the path of a file, got {type(path).__name__}")
    return Path(path)


def _format(path: Any) -> tuple[Any, bool]:
    """The module for a path's extension, and whether the file is compressed."""
    suffixes = [suffix.lower() for suffix in _path(path).suffixes]
    compressed = suffixes[-1:] == [".gz"]
    extension = "".join(suffixes[:-1][-1:] if compressed else suffixes[-1:])
    if extension not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise ValueError(
            f"expected a file name that ends in {known}, each also with .gz, got {str(path)!r}"
        )
    return _FORMATS[extension], compressed


def _read(path: Any, compressed: bool, read: Callable[[bytes], Any]) -> Any:
    file = _path(path)
    if not file.is_file():
        raise MissingFileError(f"expected a network file, got no file at {file}")
    data = file.read_bytes()
    if compressed:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected gzip data, got {error}") from None
    try:
        return read(data)
    except Malformed as error:
        raise ValueError(f"{path}, line {error.line}: {error}") from None


def _check_text(tables: Tables) -> None:
    for what, names in (("nodes", tables.states), *tables.states.items()):
        texts: dict[str, Any] = {}
        for name in names:
            text = str(name)
            if text in texts:
                where = what if what == "nodes" else f"states of {what!r}"
                raise ValueError(
                    f"expected {where} that differ as text, got {texts[text]!r} and {name!r}"
                )
            texts[text] = name


def _write(path: Path, pieces: Iterable[str], compressed: bool) -> None:
    if not path.parent.is_dir():
        raise MissingFileError(f"expected an existing folder for {path.name}, got {path.parent}")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as raw:
            if compressed:
                # neither name nor time inside, so that equal networks are equal files
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packer:
                    packer.writelines(map(str.encode, pieces))
            else:
                raw.writelines(map(str.encode, pieces))
        os.replace(temporary, path)
    except UnicodeEncodeError as error:
        bad = error.object[error.start]
        raise ValueError(f"expected names that UTF-8 can encode, got {bad!r} in one") from None
    finally:
        temporary.unlink(missing_ok=True)
