"""Observations as integer codes.

Evidence is a mapping from nodes to what was observed, or a pandas ``DataFrame`` with one column per
node. A single value per node is one row; sequences, arrays and tensors are one value per row. A
value is the name of a state if some state has that name; otherwise an integer (a boolean, or a
float without a fraction) is the index of a state. ``None``, NaN and pandas' NA are missing values.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..structure import Node, contains, unknown

MISSING = -1


@dataclass(frozen=True)
class Evidence:
    """Observed states.

    Attributes:
        codes: for each observed node, by its number, the index of the state in every row, or -1
            where the value is missing.
        rows: the number of rows.
        single: whether the evidence was given without rows.
    """

    codes: dict[int, np.ndarray]
    rows: int
    single: bool

    def take(self, rows: np.ndarray) -> Evidence:
        """Some of the rows."""
        return Evidence({v: code[rows] for v, code in self.codes.items()}, len(rows), False)

    def missing_somewhere(self, variables: int) -> list[int]:
        """Those of the variables 0, 1, ... that are not observed in every row."""
        full = {v for v, code in self.codes.items() if (code != MISSING).all()}
        return [v for v in range(variables) if v not in full]


def read_evidence(evidence: Any, states: Mapping[Node, Sequence[Hashable]]) -> Evidence:
    """Read observations (see the module's text).

    Args:
        evidence: a mapping, a DataFrame or None.
        states: the names of the states of every node; nodes are numbered in this order.

    Raises:
        ValueError: another type, an unknown node or state, or columns of different lengths.
    """
    if evidence is None:
        return Evidence({}, 1, True)
    if hasattr(evidence, "columns") and hasattr(evidence, "iloc"):
        if not evidence.columns.is_unique:
            raise ValueError("expected one column per node, got a repeated column")
        items = {node: evidence[node].tolist() for node in evidence.columns}
        rows: int | None = len(evidence)
    elif isinstance(evidence, Mapping):
        items, rows = dict(evidence), None
    else:
        raise ValueError(
            "expected evidence as a dict from nodes to states or as a pandas DataFrame, got "
            f"{type(evidence).__name__}"
        )
    numbers = {node: i for i, node in enumerate(states)}
    codes: dict[int, np.ndarray] = {}
    scalars: dict[int, int] = {}
    first: Node = None
    for node, value in items.items():
        if not contains(numbers, node):
            raise ValueError(
                f"expected evidence on nodes of the model, got {unknown(states, node)}"
            )
        lookup = {name: i for i, name in enumerate(states[node])}
        column = _column(value, lookup, node)
        if column is None:
            scalars[numbers[node]] = _code(value, lookup, node, "")
            continue
        code = _codes(column, lookup, node)
        if rows is None:
            rows, first = len(code), node
        if len(code) != rows:
            raise ValueError(
                f"expected as many rows for {node!r} as for {first!r}, {rows}, got {len(code)}"
            )
        codes[numbers[node]] = code
    codes = {v: code for v, code in codes.items() if not len(code) or (code != MISSING).any()}
    count = 1 if rows is None else rows
    for v, number in scalars.items():
        if number != MISSING:
            codes[v] = np.full(count, number)
    return Evidence(codes, count, rows is None)


def _column(value: Any, lookup: Mapping[Hashable, int], node: Node) -> Any:
    """The values of one node row by row, or None if there is one value."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        return None
    if not hasattr(value, "shape") and contains(lookup, value):
        return None  # a state may be named by a tuple
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    shape = getattr(value, "shape", None)
    if shape == ():
        return None
    if shape is not None and len(shape) != 1:
        raise ValueError(f"expected one state per row for {node!r}, got an array of shape {shape}")
    if isinstance(value, (Mapping, set, frozenset)):
        raise ValueError(f"expected a state or a sequence of states for {node!r}, got {value!r}")
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _codes(column: Any, lookup: Mapping[Hashable, int], node: Node) -> np.ndarray:
    if isinstance(column, np.ndarray):
        values, first, inverse = np.unique(column, return_index=True, return_inverse=True)
        found = [
            _code(value, lookup, node, f" in row {row}")
            for value, row in zip(values.tolist(), first.tolist(), strict=True)
        ]
        return np.array(found, np.int64)[inverse]
    known: dict[Any, int] = {}
    codes = np.empty(len(column), np.int64)
    for row, value in enumerate(column):
        try:
            codes[row] = known[value]
        except (KeyError, TypeError):
            codes[row] = _code(value, lookup, node, f" in row {row}")
            known[value] = int(codes[row])
    return codes


def _code(value: Any, lookup: Mapping[Hashable, int], node: Node, where: str) -> int:
    """The index of one observed state."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return MISSING
    if isinstance(value, float) and math.isnan(value):
        return MISSING
    if contains(lookup, value):
        return lookup[value]
    if isinstance(value, (bool, int, float)) and 0 <= value < len(lookup) and value == int(value):
        return int(value)
    names = list(lookup)
    listing = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
    raise ValueError(
        f"expected a state of {node!r}{where}, one of ({listing}) or an index below {len(names)}, "
        f"got {value!r}"
    )
