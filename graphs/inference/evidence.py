"""Observations as integer codes, and what is only likely as tables.

Evidence is a mapping from nodes to what was observed, a pandas ``Series`` of the same, or a
``DataFrame`` with one column per node. A single value per node is one row; sequences, arrays and
tensors are one value per row. :mod:`graphs.parameters.states` tells which state a value means.

Soft evidence on a node (Pearl 1988, section 2.2.2) is the likelihood :math:`L(x) = P(o | x)` of
something seen, for every state; a factor over that node. Its scale does not change what is
conditional on it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.language.notation import Node
from graphs.parameters.labels import Axis, labelled, positions
from graphs.parameters.states import MISSING, StateNames
from graphs.structure.nodes import contains, unknown

SMALLEST = 5e-324  # keeps what is positive so; sums that meet it are done in logarithms

__all__ = ["MISSING", "Evidence", "all_or", "read_evidence"]


@dataclass(frozen=True)
class Evidence:
    """Observed states.

    Attributes:
        codes: for each observed node, by its number, the index of the state in every row, or -1
            where the value is missing.
        rows: the number of rows.
        single: whether the evidence was given without rows.
        soft: for each node with a likelihood, the likelihood (rows, states), float64.
    """

    codes: dict[int, np.ndarray]
    rows: int
    single: bool
    soft: dict[int, Tensor] = field(default_factory=dict)

    def take(self, rows: np.ndarray) -> Evidence:
        """Some of the rows."""
        codes = {v: code[rows] for v, code in self.codes.items()}
        soft = {v: table[torch.from_numpy(rows)] for v, table in self.soft.items()}
        return Evidence(codes, len(rows), False, soft)

    def missing_somewhere(self, variables: int) -> list[int]:
        """Those of the variables 0, 1, ... that are not observed in every row."""
        full = {v for v, code in self.codes.items() if (code != MISSING).all()}
        return [v for v in range(variables) if v not in full]

    def scaled(self) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """The likelihoods with largest entry one, and the logarithm of what was taken out."""
        scaled, log_scale = {}, np.zeros(self.rows)
        for v, tensor in self.soft.items():
            table = tensor.detach().cpu().numpy()
            largest = table.max(1, keepdims=True)
            log_scale = log_scale + np.log(largest[:, 0])
            scaled[v] = np.where(table > 0, np.maximum(table / largest, SMALLEST), 0.0)
        return scaled, log_scale

    @property
    def differentiable(self) -> bool:
        """Whether a gradient in some likelihood is wanted."""
        return any(table.requires_grad for table in self.soft.values())


def read_evidence(
    evidence: Any, states: Mapping[Node, Sequence[Hashable]], likelihoods: Any = None
) -> Evidence:
    """Read observations (see the module's text).

    Args:
        evidence: a mapping, a Series, a DataFrame or None.
        states: the names of the states of every node; nodes are numbered in this order.
        likelihoods: a mapping from nodes to likelihoods: numbers (states,) or (rows, states) in the
            order of the states, or by their names.

    Raises:
        ValueError: another type, an unknown node or state, a value that may mean several states,
            columns of different lengths; likelihoods that are not finite, negative, zero for every
            state, or not one per state.
    """
    items, rows = _items(evidence)
    numbers = {node: i for i, node in enumerate(states)}
    codes: dict[int, np.ndarray] = {}
    scalars: dict[int, int] = {}
    first: Node = None
    for node, value in items.items():
        names = _names_of(node, states, "evidence")
        column = _column(value, names.names, node)
        if column is None:
            scalars[numbers[node]] = names.index(value)
            continue
        code = _codes(column, names)
        if rows is None:
            rows, first = len(code), node
        _require_rows(rows, len(code), node, first)
        codes[numbers[node]] = code
    soft: dict[int, Tensor] = {}
    for node, table in _likelihoods(likelihoods).items():
        read = _likelihood(table, _names_of(node, states, "likelihoods"))
        if read.dim() == 2:
            if rows is None:
                rows, first = len(read), node
            _require_rows(rows, len(read), node, first)
        soft[numbers[node]] = read
    codes = {v: code for v, code in codes.items() if not len(code) or (code != MISSING).any()}
    count = 1 if rows is None else rows
    for v, number in scalars.items():
        if number != MISSING:
            codes[v] = np.full(count, number)
    soft = {v: table.expand(count, -1) for v, table in soft.items()}
    return Evidence(codes, count, rows is None, soft)


def _items(evidence: Any) -> tuple[dict[Any, Any], int | None]:
    """What is said of each node, and the number of rows where a frame tells it."""
    if evidence is None:
        return {}, None
    if hasattr(evidence, "columns") and hasattr(evidence, "iloc"):
        if not evidence.columns.is_unique:
            raise ValueError("expected one column per node, got a repeated column")
        return {node: evidence[node] for node in evidence.columns}, len(evidence)
    if hasattr(evidence, "index") and hasattr(evidence, "iloc"):
        if not evidence.index.is_unique:
            raise ValueError("expected one value per node, got a repeated node")
        return dict(zip(evidence.index, evidence.tolist(), strict=True)), None
    if isinstance(evidence, Mapping):
        return dict(evidence), None
    raise ValueError(
        "expected evidence as a dict from nodes to states or as a pandas DataFrame, got "
        f"{type(evidence).__name__}"
    )


def _names_of(node: Any, states: Mapping[Node, Sequence[Hashable]], what: str) -> StateNames:
    if not contains(states, node):
        raise ValueError(f"expected {what} on nodes of the model, got {unknown(states, node)}")
    return StateNames(node, states[node])


def _require_rows(rows: int, count: int, node: Node, first: Node) -> None:
    if count != rows:
        raise ValueError(
            f"expected as many rows for {node!r} as for {first!r}, {rows}, got {count}"
        )


# --- States -------------------------------------------------------------------------------------


def _column(value: Any, names: Sequence[Hashable], node: Node) -> Any:
    """The values of one node row by row, or None if there is one value."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        return None
    if isinstance(value, tuple) and contains(set(names), value):
        return None  # a state may be named by a tuple
    if hasattr(value, "dims") and hasattr(value, "coords"):
        value = np.asarray(value.values)
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    shape = getattr(value, "shape", None)
    if shape == ():
        return None
    if shape is not None and len(shape) != 1:
        raise ValueError(f"expected one state per row for {node!r}, got an array of shape {shape}")
    if isinstance(value, (Mapping, set, frozenset)):
        raise ValueError(f"expected a state or a sequence of states for {node!r}, got {value!r}")
    if isinstance(getattr(value, "dtype", None), np.dtype) and value.dtype.kind in "biuf":
        return np.asarray(value)
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _codes(column: Any, names: StateNames) -> np.ndarray:
    if isinstance(column, np.ndarray):
        values, first, inverse = np.unique(column, return_index=True, return_inverse=True)
        found = [
            names.index(value, f" in row {row}")
            for value, row in zip(values, first.tolist(), strict=True)
        ]
        return np.array(found, np.int64)[inverse]
    known: dict[Any, int] = {}
    codes = np.empty(len(column), np.int64)
    for row, value in enumerate(column):
        try:
            codes[row] = known[type(value), value]  # True equals 1
        except (KeyError, TypeError):
            codes[row] = names.index(value, f" in row {row}")
            if isinstance(value, Hashable):
                known[type(value), value] = int(codes[row])
    return codes


# --- Likelihoods --------------------------------------------------------------------------------


def _likelihoods(likelihoods: Any) -> dict[Any, Any]:
    if likelihoods is None:
        return {}
    if not isinstance(likelihoods, Mapping):
        raise ValueError(
            "expected likelihoods as a dict from nodes to numbers per state, got "
            f"{type(likelihoods).__name__}"
        )
    return dict(likelihoods)


def _likelihood(value: Any, names: StateNames) -> Tensor:
    """A checked likelihood (states,) or (rows, states)."""
    table = _by_name(value, names)
    node, count = names.node, len(names.names)
    if table.dim() not in (1, 2) or table.shape[-1] != count:
        raise ValueError(
            f"expected {count} likelihoods for {node!r}, one for each state of {names.names!r}, or "
            f"rows of them, got shape {tuple(table.shape)}"
        )
    rows = table.detach().reshape(-1, count)
    for what, fine in (
        ("finite likelihoods of zero or more", ((rows >= 0) & (rows < torch.inf)).all(-1)),
        ("a likelihood that is positive for some state", (rows > 0).any(-1)),
    ):
        if not all_or(fine, otherwise=True):
            row = int((~fine).nonzero()[0])
            where = f" in row {row}" if table.dim() == 2 else ""
            raise ValueError(f"expected {what} of {node!r}{where}, got {rows[row].tolist()}")
    if table.requires_grad and not all_or(rows > 0, otherwise=True):
        raise ValueError(f"expected positive likelihoods of {node!r} to differentiate through")
    return table


def _by_name(value: Any, names: StateNames) -> Tensor:
    """The likelihoods of the states in order; those given by name are put into it."""
    if isinstance(value, Mapping) or hasattr(value, "iloc"):
        if hasattr(value, "columns"):  # one column per state
            parts, axis = [value[c].to_numpy() for c in value.columns], _only_axis(value.T)
        elif isinstance(value, Mapping):
            parts, axis = list(value.values()), _only_axis(dict.fromkeys(value, 0))
        else:
            parts, axis = value.tolist(), _only_axis(value)
        found = positions(axis, names)
        if found is None:
            raise ValueError(
                f"expected a likelihood for each state of {names.node!r}, {names.names!r}, got "
                f"{axis.labels!r}"
            )
        tensors = [_numbers(part, names.node) for part in parts]
        if len({tensor.shape for tensor in tensors}) > 1 or tensors[0].dim() > 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ValueError(
                f"expected a number, or one per row, for every state of {names.node!r}, got shapes "
                f"{shapes}"
            )
        return torch.stack([tensors[i] for i in np.argsort(found)], -1)
    table = labelled(value)
    if table is None:
        return _numbers(value, names.node)
    return _by_dimension(*table, names)


def _by_dimension(entries: Any, axes: list[Axis], names: StateNames) -> Tensor:
    """The likelihoods in an array of one labelled dimension."""
    found = positions(axes[0], names) if len(axes) == 1 else None
    if found is None:
        got = " and ".join(repr(axis.labels) for axis in axes)
        raise ValueError(
            f"expected one dimension labelled by the states of {names.node!r}, {names.names!r}, "
            f"got {got}; rows go into a DataFrame"
        )
    return _numbers(entries, names.node)[np.argsort(found)]


def _only_axis(table: Any) -> Axis:
    found = labelled(table)
    assert found is not None
    return found[1][0]


def _numbers(value: Any, node: Node) -> Tensor:
    if isinstance(value, Tensor):
        if value.is_complex():
            raise ValueError(f"expected real likelihoods of {node!r}, got {value.dtype}")
        return value.double()
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"entries of type {array.dtype}")
        return torch.tensor(array.astype(float))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected numbers as likelihoods of {node!r}, got {error}") from None


def all_or(condition: Tensor, otherwise: bool) -> bool:
    """Whether a condition holds for all entries; under torch.func.vmap one cannot look at them."""
    try:
        return bool(condition.all())
    except RuntimeError:
        return otherwise
