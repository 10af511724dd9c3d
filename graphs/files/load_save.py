"""Networks in files: BIF, XMLBIF, UAI, NET, XDSL and DSC, also compressed as .gz; graphs as text.

Each format is read by a reader of its own in this folder, which checks the file once and
names the line of what is wrong. pgmpy's readers are not used: they need pgmpy for the structure
alone, take seconds on large networks, cut names at characters they do not know, and read parents in
another order than the file's (UAI); its writers rename states (XMLBIF) and round (NET).

What a file holds is told by its first words where they are those of one format only, else by its
extension. Files are data: nothing in them is run, no entity is expanded, nothing else is fetched.
Writing goes to a temporary file that replaces the target at the end, so a reader never sees half a
network.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import secrets
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import networkx as nx

from graphs.files import bif, dsc, net, structures, uai, xdsl, xmlbif
from graphs.files.rows import Policy
from graphs.language.scanning import Malformed, decode, encoding_of, is_packed
from graphs.parameters.tables import Tables
from graphs.structure.models import Model

_XML = {xmlbif, xdsl}
_WRITERS = {
    ".bif": bif,
    ".xmlbif": xmlbif,
    ".bifxml": xmlbif,
    ".xml": xmlbif,
    ".uai": uai,
    ".net": net,
}
_READERS = {**_WRITERS, ".xdsl": xdsl, ".dsc": dsc}
_GRAPH_TEXTS = (".gml", ".dot", ".gv", ".dagitty", ".csv", ".tsv", ".edges", ".txt")
_COMMENTS = r"(?:\s|//[^\n]*\n|/\*.*?\*/|%[^\n]*\n|\#[^\n]*\n)*"
_SIGNS = [
    (re.compile(_COMMENTS + sign, re.DOTALL), reader)
    for sign, reader in [
        (r"(?:MARKOV|BAYES)\s+\d", uai),
        (r"belief\s+network\b", dsc),
        (r"net\s*\{", net),
        (r"network\b[^{;]*\{|variable\b[^{;]*\{\s*type\s+discrete\b", bif),
    ]
]

_MOST_UNPACKED = 1 << 28  # bytes of a compressed file, so that a small one cannot fill the memory


def load(
    path: str | os.PathLike[str],
    tables: bool = True,
    *,
    normalize: bool = False,
    tolerance: float | None = None,
) -> Any:
    """The network in a file: .bif, .xmlbif (.bifxml, .xml), .uai, .net, .xdsl or .dsc, also + .gz.

    Nodes, states and parents keep the names and the order of the file, and probabilities their
    values: rows that miss the sum one by rounding their numbers to the digits in the file
    (:func:`graphs.parameters.tables.rounding_slack`) are not rescaled, and a row of zeros stays
    where its parents' states have probability zero. In .uai files every declared variable is a node
    var_0, var_1, ... with states 0, 1, ..., and equal functions are all kept.

    Graphs without tables are read as structures from DOT (.dot, .gv), GML (.gml), dagitty's text
    (.dagitty, .txt) and lists of edges (.csv, .tsv, .edges).

    Args:
        path: the file; the case of the extension does not matter.
        tables: whether to read the parameters; without them pgmpy is not imported, and networks
            with decision, utility or continuous nodes can be read.
        normalize: divide rows by their sums (counts, say), and take rows of NaN or of zeros, or
            that are not listed, as uniform; a warning names the rows.
        tolerance: take entries from ``-tolerance`` to zero as zero, and rescale rows whose sums
            miss one by at most this; a warning names the rows.

    Returns:
        A pgmpy ``DiscreteBayesianNetwork`` or, from a .uai file of kind MARKOV,
        ``DiscreteMarkovNetwork``; without tables a networkx ``DiGraph``, whose nodes have an
        attribute ``kind``: "chance", "decision" or "utility", or a ``Graph``.

    Raises:
        ValueError: an unknown format, or a file that is truncated or malformed, names an unknown
            variable or state, lacks a row, or holds numbers that are no probabilities: the message
            names the file, the line and what was expected there; a compressed file of more than
            256 MiB.
        MissingFileError: no such file; a ``ValueError`` and a ``FileNotFoundError``.

    >>> graphs.save(graphs.textbook.sprinkler(), "lawn.bif")
    >>> graphs.load("lawn.bif").states["rain"]
    ['yes', 'no']
    >>> graphs.load("lawn.bif", tables=False).nodes["rain"]
    {'kind': 'chance'}
    """
    content = read_content(path, tables, _policy(normalize, tolerance))
    if not isinstance(content, Tables):
        return content
    from graphs.parameters.bridge import to_pgmpy

    return to_pgmpy(content)


def read_content(
    path: str | os.PathLike[str], tables: bool = True, policy: Policy | None = None
) -> Tables | nx.DiGraph | nx.Graph:
    """What a file holds, as :func:`load` finds it, without importing pgmpy.

    Raises:
        ValueError, MissingFileError: as :func:`load` does.
    """
    reader, data = _recognized(_path(path))
    try:
        if reader is None:
            return _graph(path, data)
        found = reader.read(data if reader in _XML else _text(path, data), tables, policy)
    except Malformed as error:
        raise ValueError(f"{path}, line {error.line}: {error}") from None
    if found.changes:
        warnings.warn(f"{path}: {found.changes}", stacklevel=3)
    return found.content


def _policy(normalize: Any, tolerance: Any) -> Policy:
    if not isinstance(normalize, bool):
        raise ValueError(f"expected normalize to be True or False, got {normalize!r}")
    if tolerance is not None:
        number = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
        if not (number and math.isfinite(tolerance) and 0 <= tolerance < 1):
            raise ValueError(f"expected a tolerance from 0 to below 1, got {tolerance!r}")
    return Policy(normalize, tolerance)


def _recognized(path: Path) -> tuple[Any, bytes]:
    """The reader for a file, ``None`` for a graph without tables, and its content."""
    if not path.is_file():
        _extension(path, _READERS, _GRAPH_TEXTS)
        raise MissingFileError(f"expected a network file, got no file at {path}")
    data = _content(path)
    reader = _sniffed(data)
    if reader is None:
        extension = _extension(path, _READERS, _GRAPH_TEXTS)
        reader = _READERS.get(extension)
    return reader, data


def _sniffed(data: bytes) -> Any:
    """The one format whose first words a file begins with."""
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        body = re.sub(rb"<[?!].*?>|<!--.*?-->", b"", start[:65536], flags=re.DOTALL)
        root = re.match(rb"\s*<(?:[\w.\-]+:)?([\w.\-]+)", body)
        return {b"BIF": xmlbif, b"SMILE": xdsl}.get(root[1].upper()) if root else None
    text = _head(data)
    return next((reader for sign, reader in _SIGNS if sign.match(text)), None)


def _head(data: bytes) -> str:
    """The beginning of a text, whatever bytes follow."""
    return data[:65536].decode(encoding_of(data), errors="replace")


def _text(path: Any, data: bytes, stacklevel: int = 4) -> str:
    text, assumed = decode(data)
    if assumed:
        warnings.warn(f"{path}: {assumed}", stacklevel=stacklevel)
    return text


def _graph(path: Any, data: bytes) -> Any:
    from graphs.language.graph_texts import read_graph

    try:
        return read_graph(_text(path, data))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_evidence(path: str | os.PathLike[str]) -> dict[str, int]:
    """The evidence of a UAI .evid file, as ``{"var_3": 1}``; also .gz.

    Raises:
        ValueError: a malformed file, with the line.
        MissingFileError: no such file; a ``ValueError`` and a ``FileNotFoundError``.

    >>> from pathlib import Path
    >>> _ = Path("observed.evid").write_text("2  0 1  3 0")
    >>> graphs.files.read_evidence("observed.evid")
    {'var_0': 1, 'var_3': 0}
    """
    file = _path(path)
    if not file.is_file():
        raise MissingFileError(f"expected a file of evidence, got no file at {file}")
    data = _content(file)
    try:
        return uai.read_evidence(_text(path, data, 3))
    except Malformed as error:
        raise ValueError(f"{path}, line {error.line}: {error}") from None


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a network with its tables, or the structure of any model as text.

    :func:`load` reads networks back with names, states and parameters. By its extension a structure
    goes to DOT (.dot, .gv), dagitty's text (.dagitty), LaTeX (.tex) or TikZ (.tikz).

    Names and states are written as text (``str``), probabilities in full precision. The .uai format
    has no names: nodes called var_0, var_1, ... keep their numbers, others are numbered in the
    order of the model, and states are numbered in their order from 0. Markov networks and factor
    graphs go to .uai only.

    Args:
        model: a pgmpy Bayesian network, Markov network or factor graph; for a structure any model.
        path: the file to write or replace, its format told by the extension as in :func:`load`.

    Raises:
        ValueError: an unknown extension, a structure without tables or with invalid ones, a Markov
            network for another format than .uai, two names that are the same text, or a name that
            the format cannot hold.

    >>> graphs.save(graphs.textbook.asia(), "clinic.xmlbif")
    >>> graphs.marginal(graphs.load("clinic.xmlbif"), "tub", {"asia": "yes"})
    tensor([0.0500, 0.9500], dtype=torch.float64)
    >>> graphs.save(graphs.parse("P(A) P(B|A)"), "pair.dot")
    >>> graphs.load("pair.dot", tables=False).edges
    OutEdgeView([('A', 'B')])
    """
    file = _path(path)
    extension = _extension(file, _WRITERS, structures.WRITERS)
    compressed = file.suffix.lower() == ".gz"
    if extension in structures.WRITERS:
        _write(file, [structures.WRITERS[extension](model)], compressed)
        return
    writer = _WRITERS[extension]
    from graphs.parameters.bridge import tables_of

    tables = tables_of(model)
    require_network_file(path, tables.directed)
    if writer is not uai:
        _check_text(tables)
    _write(file, writer.write(tables), compressed)


def require_network_file(path: str | os.PathLike[str], directed: bool) -> None:
    """Raise ``ValueError`` unless :func:`save` could write tables to a file of this name."""
    file = _path(path)
    if _WRITERS[_extension(file, _WRITERS)] is not uai and not directed:
        raise ValueError(
            f"expected a Bayesian network for {os.fspath(path)}, got a Markov network; "
            "a .uai file holds it"
        )
    if not file.parent.is_dir():
        raise MissingFileError(f"expected an existing folder for {file.name}, got {file.parent}")


class MissingFileError(ValueError, FileNotFoundError):
    """A file or folder that is not there: a refused value, and what ``open`` raises.

    >>> try:
    ...     graphs.load("nowhere.bif")
    ... except graphs.files.MissingFileError as error:
    ...     print(error)
    expected a network file, got no file at nowhere.bif
    """


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"expected the path of a file, got {type(path).__name__}")
    return Path(path)


def _extension(path: Path, formats: Iterable[str], others: Iterable[str] = ()) -> str:
    """The extension of a path, before any .gz, where it is one of those known."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    extension = "".join(suffixes[:-1][-1:] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    if extension not in (*formats, *others):
        known = ", ".join(formats)
        raise ValueError(
            f"expected a file name that ends in {known}, each also with .gz, got {str(path)!r}"
        )
    return extension


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked where they are compressed, whatever its name."""
    data = path.read_bytes()
    return _decompressed(path, data) if is_packed(path.name, data) else data


def _decompressed(path: Path, data: bytes) -> bytes:
    content = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            while piece := packed.read(1 << 20):
                content += piece
                if len(content) > _MOST_UNPACKED:
                    break
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: expected gzip data, got {error}") from None
    if len(content) > _MOST_UNPACKED:
        raise ValueError(
            f"{path}: expected at most {_MOST_UNPACKED} bytes in a compressed file, got more; "
            "unpack it to read it all the same"
        )
    return bytes(content)


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
