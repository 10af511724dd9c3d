"""Files of data: rows to learn from, and evidence that comes slice by slice."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphs.app.opening import opened, separator
from graphs.language.notation import Node
from graphs.structure.nodes import unknown

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("NA", "NaN", "nan")  # besides empty cells, unless other words are named
DOUBTFUL = ("?", "-", ".", "*", "null", "NULL", "None", "none", "N/A", "n/a", "missing", "-1")
CLOCKS = ("t", "time", "slice")  # columns of evidence that only number its rows


def read_rows(path: str, missing: Sequence[str] = ()) -> pd.DataFrame:
    """A table of data with a line of names first; ``-`` is standard input.

    Args:
        path: of a .csv file, or a .tsv one, also .gz.
        missing: words for a missing value, instead of NA and NaN; an empty cell always is one.

    Raises:
        ValueError: no table, a name twice.
        OSError: a file that cannot be read.
    """
    import pandas as pd

    with opened(path) as file:
        try:
            frame = pd.read_csv(
                file,
                sep=separator(path),
                header=None,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
            )
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise ValueError(f"{path}: expected rows under a line of names, got {error}") from None
    names = [str(name).strip() for name in frame.iloc[0]]
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"{path}: expected one column per name, got {repeated[0]!r} twice")
    words = {"", *(missing or MISSING)}
    columns = {
        name: _column([None if v.strip() in words else v.strip() for v in frame.iloc[1:, i]])
        for i, name in enumerate(names)
    }
    return pd.DataFrame({name: pd.Series(column) for name, column in columns.items()})


def _column(values: list[str | None]) -> list[Any]:
    """Whole numbers where all values are such, as they are written; else the text."""
    if all(v is None or (v.lstrip("-").isdecimal() and str(int(v)) == v) for v in values):
        return [None if v is None else int(v) for v in values]
    return list(values)


def doubtful_states(states: Mapping[Node, Iterable[Any]], declared: Iterable[Node]) -> list[str]:
    """Words that often mean a missing value but were taken as states, a sentence each."""
    known = set(declared)
    return [
        f"{v} got the state {s!r}: if it marks a missing value, say --missing={s}."
        for v, names in states.items()
        if v not in known
        for s in names
        if str(s) in DOUBTFUL
    ]


def read_slices(
    path: str, variables: Sequence[Node], static: Iterable[Node], missing: Sequence[str] = ()
) -> Iterator[dict[Node, str]]:
    """The evidence of one slice a row, read as it is asked for.

    Args:
        path: of a .csv or .tsv file, also .gz, with a line of names first; ``-`` is standard input.
            A column ``t``, ``time`` or ``slice`` only numbers the rows.
        variables: what columns may be called.
        static: those without time, which have one value, in the first row or in all.
        missing: as in :func:`read_rows`.

    Raises:
        ValueError: an unknown column, a row of another length, another value of what has no time.
        OSError: a file that cannot be read.
    """
    nodes = {str(v): v for v in variables}
    fixed, words = set(static), {"", *(missing or MISSING)}
    told: dict[Node, str] = {}
    with opened(path) as file:
        lines = csv.reader(file, delimiter=separator(path))
        names = [name.strip() for name in next(lines, [])]
        for name in names:
            if name not in nodes and name not in CLOCKS:
                got = unknown(variables, name)
                raise ValueError(f"{path}: expected columns of variables, got {got}")
            if names.count(name) > 1:
                raise ValueError(f"{path}: expected one column per name, got {name!r} twice")
        if not nodes.keys() & set(names):
            listed = ", ".join(list(nodes)[:8])
            raise ValueError(f"{path}: expected a column of {listed}, got none")
        for number, line in enumerate(lines):
            if len(line) not in (0, len(names)):
                raise ValueError(
                    f"{path}: expected {len(names)} cells in row {number + 1}, got {len(line)}"
                )
            pairs = zip(names, (cell.strip() for cell in line), strict=False)
            seen = {nodes[n]: cell for n, cell in pairs if n in nodes and cell not in words}
            for v in fixed & seen.keys():
                if number and seen[v] != told.get(v):
                    raise ValueError(
                        f"{path}: expected {v!r}, which has no time, in the first row alone or "
                        f"alike in all, got {seen[v]!r} in row {number + 1}"
                    )
            if not number:
                told = {v: seen[v] for v in fixed & seen.keys()}
            yield {v: cell for v, cell in seen.items() if not number or v not in fixed}
