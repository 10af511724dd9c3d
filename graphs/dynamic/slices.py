"""What is observed of a sequence, slice by slice.

Evidence is a mapping from variables to their states over time, (T,) or (rows, T), or a DataFrame
with one row a slice; or any iterable of slices, each a mapping as :class:`graphs.JunctionTree`
takes it, which is read as it comes. Variables without time are told once: by one state, or one per
row, in a mapping, and with the first slice of an iterable. Likelihoods have a last axis of states.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.inference.evidence import Evidence, read_evidence
from graphs.language.notation import Node
from graphs.structure.nodes import contains, unknown

States = Mapping[Node, Sequence[Hashable]]


def read_slices(
    evidence: Any,
    likelihoods: Any,
    steps: int | None,
    states: States,
    static: frozenset[Node],
) -> Iterator[Evidence]:
    """The evidence of each slice, checked: of a mapping at once, of an iterable as it is read.

    Args:
        evidence, likelihoods: see the module's text; both in the same form.
        steps: how many slices there are; those after the last one told are unobserved.
        states: the states of all variables, in the order in which they are numbered.
        static: variables without time.

    Raises:
        ValueError: as :func:`read_evidence` does, with the slice; columns of different lengths;
            nothing that tells how many slices there are, or more slices than that; static
            variables in a later slice.
    """
    if steps is not None and (
        isinstance(steps, bool) or not hasattr(steps, "__index__") or steps.__index__() < 1
    ):
        raise ValueError(f"expected a number of slices of at least one, got {steps!r}")
    if evidence is None and likelihoods is None:
        if steps is None:
            raise ValueError("expected evidence or a number of slices, steps=, got neither")
        return (read_evidence({}, states) for _ in range(steps))
    whole = [
        value is None or isinstance(value, Mapping) or hasattr(value, "columns")
        for value in (evidence, likelihoods)
    ]
    if all(whole):
        pairs = _split(evidence, likelihoods, steps, states, static)
        return iter([_read(t, *pair, states, static) for t, pair in enumerate(pairs)])
    parts = [() if value is None else value for value in (evidence, likelihoods)]
    for part, told, what in zip(
        parts, (evidence, likelihoods), ("evidence", "likelihoods"), strict=True
    ):
        if isinstance(part, (str, Mapping)) or not isinstance(part, Iterable):
            raise ValueError(
                f"expected {what} as a mapping from variables to columns or as an iterable of "
                f"slices, as the other is, got {type(told).__name__}"
            )
    return _stream(parts, [evidence is not None, likelihoods is not None], steps, states, static)


def _stream(
    parts: Sequence[Iterable[Any]],
    told: list[bool],
    steps: int | None,
    states: States,
    static: frozenset[Node],
) -> Iterator[Evidence]:
    """Slices as they come, two streams side by side."""
    streams = [iter(part) for part in parts]
    ended = object()
    rows: int | None = None
    for t in count():
        pair = [next(stream, ended) for stream in streams]
        live = [value is not ended for value in pair]
        if any(live) and live != told:
            raise ValueError(f"expected as many slices of likelihoods as of evidence, got {t}")
        done = not any(live)
        if done and (steps is None or t >= steps):
            return
        if not done and steps is not None and t >= steps:
            raise ValueError(f"expected at most {steps} slices, got more")
        observed, likely = (
            value if alive else None for alive, value in zip(live, pair, strict=True)
        )
        slice_ = _read(t, observed, likely, states, static)
        if not slice_.single:
            if rows is not None and slice_.rows != rows:
                raise ValueError(f"slice {t}: expected {rows} rows as before, got {slice_.rows}")
            rows = slice_.rows
        yield slice_


def _read(
    t: int, evidence: Any, likelihoods: Any, states: States, static: frozenset[Node]
) -> Evidence:
    try:
        if t:
            for told in (evidence, likelihoods):
                for v in static.intersection(told if told is not None else ()):
                    raise ValueError(
                        f"expected what is known of {v!r}, which has no time, in the first slice, "
                        "got it here"
                    )
        return read_evidence(evidence, states, likelihoods)
    except ValueError as error:
        raise ValueError(f"slice {t}: {error}") from None


# --- Columns over time --------------------------------------------------------------------------


def _split(
    evidence: Any, likelihoods: Any, steps: int | None, states: States, static: frozenset[Node]
) -> list[tuple[dict[Node, Any], dict[Node, Any]]]:
    """The mappings of every slice from columns over time."""
    columns: list[tuple[int, Node, Any]] = []
    length: int | None = None
    rows: int | None = None
    for k, told in enumerate((evidence, likelihoods)):
        items = {} if told is None else {v: told[v] for v in told}
        for v, value in items.items():
            what = ("evidence", "likelihoods")[k]
            if not contains(states, v):
                raise ValueError(f"expected {what} on variables, got {unknown(states, v)}")
            column = _as_column(value, v, len(states[v]) if k else None)
            columns.append((k, v, column))
            axes = column.ndim - k
            if v in static:
                if axes > 1:
                    raise ValueError(
                        f"expected one state of {v!r}, which has no time, or one per row, got "
                        f"shape {tuple(column.shape)}"
                    )
                row_count = len(column) if axes else None
            else:
                if axes not in (1, 2):
                    raise ValueError(
                        f"expected {what} of {v!r} of shape (T,) or (rows, T)"
                        f"{', and a last axis of states' if k else ''}, got "
                        f"{tuple(column.shape)}"
                    )
                if length is not None and column.shape[axes - 1] != length:
                    raise ValueError(
                        f"expected {length} slices of {v!r} as of the others, got "
                        f"{column.shape[axes - 1]}"
                    )
                length = column.shape[axes - 1]
                row_count = len(column) if axes == 2 else None
            if row_count is not None:
                if rows is not None and row_count != rows:
                    raise ValueError(f"expected {rows} rows of {v!r} as before, got {row_count}")
                rows = row_count
    if length is None and steps is None:
        raise ValueError("expected evidence over time or a number of slices, steps=, got neither")
    told = length or 0
    if steps is not None and told > steps:
        raise ValueError(f"expected at most {steps} slices, got {told}")
    total = told if steps is None else steps
    result: list[tuple[dict[Node, Any], dict[Node, Any]]] = [({}, {}) for _ in range(total)]
    for k, v, column in columns:
        if v in static:
            result[0][k][v] = column if column.ndim - k else column[()]
            continue
        for t in range(told):
            result[t][k][v] = column[t] if column.ndim - k == 1 else column[:, t]
    return result


def _as_column(value: Any, node: Node, size: int | None) -> Any:
    """States as an array, or likelihoods as a tensor, of one axis or two before that of states."""
    if size is not None:
        try:
            column = value if isinstance(value, Tensor) else torch.tensor(np.asarray(value, float))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected numbers as likelihoods of {node!r}, got {error}") from None
        if not column.dim() or column.shape[-1] != size:
            raise ValueError(
                f"expected {size} likelihoods of {node!r} along the last axis, one a state, got "
                f"shape {tuple(column.shape)}"
            )
        return column
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if hasattr(value, "to_numpy"):
        return value.to_numpy()
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        value, nested = [value], None
    else:
        nested = [isinstance(row, (list, np.ndarray, Tensor)) for row in value]
    if nested is None:
        return _objects(value).reshape(())
    if not (nested and any(nested)):
        return _objects(value)
    lengths = {len(row) if is_row else -1 for row, is_row in zip(value, nested, strict=True)}
    if len(lengths) > 1:
        raise ValueError(f"expected rows of one length for {node!r}, got {sorted(lengths)}")
    return np.stack([_objects(list(row)) for row in value])


def _objects(values: Sequence[Any]) -> np.ndarray:
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value.item() if isinstance(value, Tensor) else value
    return column
