"""A CSV file as the cells of a table that :class:`ppl_gen.likelihoods.Mixed` scores."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

TEST_FRACTION = 0.2


@dataclass(frozen=True)
class CSVColumn:
    """A column: numbers are standardised, categories are codes of the sorted values."""

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("gaussian", "bernoulli", "categorical"):
            raise ValueError(f"expected a kind of column that is known, got {self.kind!r}")

    @property
    def mixed(self) -> str | int:
        """The kind as :class:`ppl_gen.likelihoods.Mixed` takes it."""
        return len(self.categories) if self.kind == "categorical" else self.kind

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Cells as numbers, NaN for an empty one."""
        if self.kind == "categorical":
            codes = {name: float(code) for code, name in enumerate(self.categories)}
            codes[""] = math.nan
            if odd := next((text for text in texts if text not in codes), None):
                known = ", ".join(self.categories)
                raise ValueError(f"expected {known} in column {self.name!r}, got {odd!r}")
            return np.array([codes[text] for text in texts])
        values = np.array([_number(text, self.name) for text in texts])
        known_values = values[~np.isnan(values)]
        if self.kind == "bernoulli" and not np.isin(known_values, (0, 1)).all():
            raise ValueError(f"expected 0 or 1 in column {self.name!r}, got other numbers")
        return (values - self.mean) / self.scale

    def decode(self, value: float) -> str:
        """A cell in the units of the file; of a probability the more probable value."""
        if self.kind == "categorical":
            return self.categories[int(value)]
        return (
            f"{value * self.scale + self.mean:.6g}"
            if self.kind == "gaussian"
            else (f"{value >= 0.5:d}")
        )


@dataclass(frozen=True, eq=False)
class CSVTable:
    """Rows of a file as ``cells`` ``(N, D)``, float32 with NaN for a missing cell; no labels."""

    cells: Tensor
    columns: tuple[CSVColumn, ...]
    labels: None = None

    @property
    def kinds(self) -> tuple[str | int, ...]:
        """The kinds of the columns, for ``likelihood=``."""
        return tuple(column.mixed for column in self.columns)

    def __len__(self) -> int:
        return len(self.cells)


class TableSplit(NamedTuple):
    """Training and test rows."""

    train: CSVTable
    test: CSVTable


def read_csv(
    path: str | os.PathLike[str], columns: Sequence[CSVColumn] | None = None, *, seed: int = 0
) -> TableSplit:
    """The rows of a CSV file, shuffled, a fifth of them held out.

    The first line names the columns. A column of numbers is Gaussian, standardised by the training
    rows, or Bernoulli where all are 0 and 1; one of text is categorical; an empty cell is missing.

    Args:
        path: a file in UTF-8 with commas.
        columns: those of another file, which this one must have; by default as it shows.
        seed: of the split.

    Raises:
        ValueError: no header, rows of several lengths, too few rows, a column that mixes numbers
            and text, that is empty or has one text only, or numbers that are not finite.
    """
    names, rows = _rows(Path(path))
    order = np.random.default_rng(seed).permutation(len(rows))
    held_out = round(TEST_FRACTION * len(rows))
    if not 0 < held_out < len(rows):
        raise ValueError(f"expected at least 3 rows in {path}, got {len(rows)}")
    test, train = order[:held_out], order[held_out:]
    texts = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    if columns is None:
        columns = [_fitted(name, texts[name], train) for name in names]
    if absent := [c.name for c in columns if c.name not in texts]:
        raise ValueError(f"expected a column {absent[0]!r} in {path}, got {', '.join(names)}")
    cells = np.stack([column.encode(texts[column.name]) for column in columns], 1)
    parts = (torch.from_numpy(cells[part]).float() for part in (train, test))
    return TableSplit(*(CSVTable(part, tuple(columns)) for part in parts))


def stored(columns: Sequence[CSVColumn]) -> list[dict[str, Any]]:
    """Columns as JSON takes them."""
    return [asdict(column) for column in columns]


def restored(columns: Sequence[dict[str, Any]]) -> list[CSVColumn]:
    """What :func:`stored` gave."""
    return [CSVColumn(**{**c, "categories": tuple(c["categories"])}) for c in columns]


def write_csv(path: Path, cells: Tensor, columns: Sequence[CSVColumn]) -> None:
    """Write cells ``(N, D)`` in the units of their file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        for row in cells.tolist():
            writer.writerow([c.decode(v) for c, v in zip(columns, row, strict=True)])


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [([c.strip() for c in row], reader.line_num) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"expected a CSV file in UTF-8, got {path}: {error}") from error
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


def _fitted(name: str, texts: Sequence[str], train: np.ndarray) -> CSVColumn:
    known = [text for text in texts if text]
    numbers = [text for text in known if _is_number(text)]
    if not known:
        raise ValueError(f"expected a known cell in column {name!r}, got none")
    if not numbers:
        if len(categories := tuple(sorted(set(known)))) < 2:
            raise ValueError(f"expected two texts or more in column {name!r}, got {known[0]!r}")
        return CSVColumn(name, "categorical", categories=categories)
    if len(numbers) < len(known):
        odd = next(text for text in known if not _is_number(text))
        raise ValueError(
            f"expected numbers or text in column {name!r}, got both, {odd!r} say; leave a missing "
            "cell empty"
        )
    values = np.array([_number(text, name) for text in texts])
    if np.isin(values[~np.isnan(values)], (0, 1)).all():
        return CSVColumn(name, "bernoulli")
    seen = values[train][~np.isnan(values[train])]
    if not len(seen):
        raise ValueError(f"expected known cells in column {name!r} of the training rows, got none")
    return CSVColumn(name, "gaussian", float(seen.mean()), float(seen.std()) or 1.0)


def _is_number(text: str) -> bool:
    """Whether a text is a number; ``nan`` is none, nor are digits with underscores."""
    try:
        return "_" not in text and not math.isnan(float(text))
    except ValueError:
        return False


def _number(text: str, name: str) -> float:
    if not text:
        return math.nan
    if not _is_number(text) or math.isinf(float(text)):
        raise ValueError(f"expected finite numbers in column {name!r}, got {text!r}")
    return float(text)
