"""Rows and columns of a CSV file as a frame, read strictly: nothing is guessed about a cell."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_frame(path: str | os.PathLike[str]) -> Any:
    """A CSV file as a ``pandas.DataFrame``.

    The first line names the columns. A column holds numbers or text; an empty cell is missing.

    Args:
        path: a file in UTF-8 with commas.

    Raises:
        ValueError: no header, rows of several lengths, or a column that mixes numbers and text.
    """
    import pandas as pd

    names, rows = _rows(Path(path))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return pd.DataFrame({name: _values(texts, name) for name, texts in columns.items()})


def write_frame(frame: Any, path: Path) -> None:
    """Write a frame, numbers with six digits."""
    frame.to_csv(path, index=False, float_format="%.6g", encoding="utf-8")


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [([c.strip() for c in row], reader.line_num) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"expected a CSV file in UTF-8, got {path}: {error}") from error
    except OSError as error:
        raise ValueError(f"expected a CSV file at {path}, got {error.strerror}") from error
    if len(lines) < 2:
        raise ValueError(f"expected names of columns and rows in {path}, got {len(lines)} lines")
    (names, _), *rest = lines
    if not all(names) or len(set(names)) < len(names) or all(map(_is_number, names)):
        raise ValueError(
            f"expected different names of columns in the first line of {path}, got "
            f"{', '.join(map(repr, names))}"
        )
    for row, line in rest:
        if len(row) != len(names):
            raise ValueError(
                f"expected {len(names)} cells in every line of {path}, got {len(row)} in line "
                f"{line}"
            )
    return names, [row for row, _ in rest]


def _values(texts: Sequence[str], name: str) -> Any:
    """The cells of a column: numbers, or else text, and missing ones."""
    import pandas as pd

    known = [text for text in texts if text]
    numbers = sum(map(_is_number, known))
    if not numbers:
        return pd.Series([text or None for text in texts], dtype=object)
    if numbers < len(known):
        odd = next(text for text in known if not _is_number(text))
        raise ValueError(
            f"expected numbers or text in column {name!r}, got both, {odd!r} say; leave a missing "
            "cell empty"
        )
    return pd.Series([float(text) if text else math.nan for text in texts], dtype=float)


def _is_number(text: str) -> bool:
    """Whether a text is a number; ``nan`` is none, nor are digits with underscores."""
    try:
        return "_" not in text and not math.isnan(float(text))
    except ValueError:
        return False
