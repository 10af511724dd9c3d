"""Text files that a command line names, opened in one way."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_WIDE = (b"\xff\xfe", b"\xfe\xff")  # byte order marks of UTF-16


@contextmanager
def opened(path: str) -> Iterator[IO[str]]:
    """A text in UTF-8 or, with a byte order mark, UTF-16, unpacked where it is compressed (.gz).

    ``-`` is standard input. Lines keep their ends, as :mod:`csv` needs.

    Raises:
        ValueError: while it is read, another encoding, broken compressed data, no table.
        OSError: a file that cannot be read.
    """
    if path == "-":
        yield sys.stdin
        return
    with open(path, "rb") as raw:
        packed = is_packed(path, raw.peek(2))
        try:
            file = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
            encoding = "utf-16" if file.peek(2)[:2] in _WIDE else "utf-8-sig"
            yield io.TextIOWrapper(file, encoding, newline="")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected text in UTF-8 or UTF-16, got {error}") from None
        except csv.Error as error:
            raise ValueError(f"{path}: expected a table, got {error}") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected gzip data, got {error}") from None


def is_packed(path: str, start: bytes) -> bool:
    """Whether a file is compressed, by its name or its first bytes."""
    return path.lower().endswith(".gz") or start.startswith(b"\x1f\x8b")


def separator(path: str) -> str:
    """What stands between the cells of a table: a tab in .tsv and .tab, else a comma."""
    name = path.lower().removesuffix(".gz")
    return "\t" if name.endswith((".tsv", ".tab")) else ","
