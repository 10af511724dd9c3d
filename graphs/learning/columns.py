"""Data frames as distinct rows of state indices, each with its number."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphs.inference.evidence import MISSING, read_evidence
from graphs.language.notation import Node
from graphs.language.suggestions import did_you_mean
from graphs.parameters.states import is_missing, simplified
from graphs.parameters.tables import Scope, States

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
MOST_STATES = 50  # of a column of numbers, beyond which it is no category


@dataclass(frozen=True)
class Rows:
    """Distinct rows of data.

    Attributes:
        nodes: of the columns.
        codes: (rows, nodes) indices of states, -1 where missing.
        weights: how often each row occurs.
        first: the number of the first row of the data that is such a row.
    """

    nodes: tuple[Node, ...]
    codes: NDArray[np.int64]
    weights: Array
    first: NDArray[np.int64]

    @property
    def total(self) -> float:
        """The number of rows of data."""
        return float(self.weights.sum())

    def take(self, which: NDArray[Any]) -> Rows:
        """Some of the distinct rows."""
        return Rows(self.nodes, self.codes[which], self.weights[which], self.first[which])

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which rows miss nothing."""
        whole: NDArray[np.bool_] = (self.codes != MISSING).all(1)
        return whole

    def counts(self, scope: Scope, states: States) -> Array:
        """How often the states of some nodes occur together, in rows that miss none of them."""
        shape = tuple(len(states[v]) for v in scope)
        part = self.codes[:, [self.nodes.index(v) for v in scope]]
        whole = (part != MISSING).all(1)
        table = np.zeros(shape)
        np.add.at(table, tuple(part[whole].T), self.weights[whole])
        return table


def as_frame(data: Any) -> pd.DataFrame:
    """A frame, or a dict of columns as one.

    Raises:
        ValueError: another type, columns of different lengths, a repeated column, no rows.
    """
    import pandas as pd

    if isinstance(data, Mapping):
        columns = {name: _column(name, values) for name, values in data.items()}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{len(column)} ({name!r})" for name, column in columns.items())
            raise ValueError(f"expected columns of equal length, got {lengths}")
        data = pd.DataFrame({name: pd.Series(column) for name, column in columns.items()})
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"expected a pandas.DataFrame or a dict of columns, got {type(data).__name__}"
        )
    if not data.columns.is_unique:
        raise ValueError("expected one column per node, got a repeated column")
    if not len(data):
        raise ValueError("expected at least one row of data, got none")
    return data


def _column(name: Any, values: Any) -> Any:
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise ValueError(f"expected a column of values for {name!r}, got {values!r}")
    return values if hasattr(values, "dtype") and hasattr(values, "iloc") else list(values)


def require_columns(data: pd.DataFrame, nodes: tuple[Node, ...], latent: frozenset[Node]) -> None:
    """Raise ``ValueError`` for a node that is neither observed nor said to be latent."""
    for v in nodes:
        if v in latent or v in data.columns:
            continue
        near = did_you_mean(str(v), map(str, data.columns))
        raise ValueError(
            f"expected a column for {v!r}, or latent=[{v!r}] if nobody observes it, got columns "
            f"{list(data.columns)[:12]}{near}"
        )
    for v in latent:
        if v in data.columns and data[v].notna().any():
            raise ValueError(f"expected no values of the latent node {v!r}, got a column of them")


def observed_states(column: pd.Series, node: Node) -> tuple[Hashable, ...]:
    """The categories of a column, or the values that occur in it, in order.

    Raises:
        ValueError: numbers of too many values to be categories.
    """
    if hasattr(column.dtype, "categories"):
        return tuple(simplified(value) for value in column.dtype.categories)
    values: list[Any] = [simplified(v) for v in column.unique() if not is_missing(v)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        if len(numbers) > MOST_STATES:
            raise ValueError(
                f"expected categories in column {node!r}, got {len(numbers)} numbers, such as "
                f"{numbers[0]!r}: cut them into bins, or declare them as states"
            )
        if all(float(v).is_integer() for v in numbers):
            values = [int(v) for v in numbers]
    if len({type(v) for v in values}) == 1 or len(numbers) == len(values):
        values.sort()
    return tuple(dict.fromkeys(values))


def distinct_rows(data: pd.DataFrame, nodes: tuple[Node, ...], states: States) -> Rows:
    """The rows of a frame as codes, equal ones merged.

    Raises:
        ValueError: a value that is no state of its node, with the row; nothing but missing values.
    """
    seen = [v for v in nodes if v in data.columns]
    read = read_evidence(data[seen], states).codes
    numbers = {v: i for i, v in enumerate(states)}
    missing = np.full(len(data), MISSING)
    codes = np.stack([read.get(numbers[v], missing) for v in nodes], 1).astype(np.int64)
    some = (codes != MISSING).any(1)
    if not some.any():
        raise ValueError("expected a value in some row of data, got none but missing ones")
    kept = np.flatnonzero(some)
    _, first, inverse = np.unique(codes[kept], axis=0, return_index=True, return_inverse=True)
    weights = np.bincount(inverse.reshape(-1)).astype(float)
    return Rows(nodes, codes[kept][first], weights, kept[first])
