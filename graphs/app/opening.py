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

from graphs.language.scanning import encoding_of, is_packed


@contextmanager
def opened(path: str) -> Iterator[IO[str]]:
    """A text in UTF-8 or what its byte order mark says, unpacked where it is compressed (.gz).

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
            yield io.TextIOWrapper(file, encoding_of(file.peek(4)), newline="")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected text in UTF-8 or UTF-16, got {error}") from None
        except csv.Error as error:
            raise ValueError(f"{path}: expected a table, got {error}") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected gzip data, got {error}") from None


def separator(path: str) -> str:
    """What stands between the cells of a table: a tab in .tsv and .tab, else a comma."""
    name = path.lower().removesuffix(".gz")
    return "\t" if name.endswith((".tsv", ".tab")) else ","
