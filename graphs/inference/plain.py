"""A plan in linear numbers on numpy arrays: for small questions, without compiled code.

The arithmetic is that of :mod:`graphs.inference.kernels`, which see for scales and marks, but for
the order of the terms of a sum. A table in a slot has shape (cells, rows), with one row where it
does not depend on the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphs.inference.plans import Leaf, Plan, Result

TINY, HUGE = 1e-60, 1e60  # a row of a result is rescaled when its largest entry leaves these
LOST = 1e-290  # a product of lowest entries below it may have been rounded to zero
VANISHED = 5e-324  # the lowest entry of a table whose lowest is zero beside its largest


class Normalised(NamedTuple):
    """A table with largest entry one.

    Attributes:
        table: the entries.
        log_scale: the logarithm of what they were divided by.
        low: the smallest positive one.
    """

    table: np.ndarray
    log_scale: float
    low: float


def normalised(table: np.ndarray) -> Normalised:
    """A table over its largest entry."""
    largest = float(table.max(initial=0.0)) or 1.0
    scaled = table / largest
    low = float(scaled.min(where=table > 0, initial=1.0)) or VANISHED
    return Normalised(scaled, math.log(largest), low)


def indicator(
    leaf: Leaf, states: int, code: np.ndarray | None, likelihood: np.ndarray | None
) -> np.ndarray:
    """What is observed of one variable (states, rows), or (1, rows) where every row observes it.

    Args:
        leaf: the leaf of the variable.
        states: how many it has.
        code: observed states (rows,), -1 where missing.
        likelihood: of each state (rows, states).
    """
    if leaf.observed:
        assert code is not None
        assert likelihood is not None
        return np.take_along_axis(likelihood, code[:, None], 1).T
    table = np.ones((states, 1)) if likelihood is None else likelihood.T
    if code is None:
        return table
    return table * ((code == np.arange(states)[:, None]) | (code < 0))


class _Slot(NamedTuple):
    """A table (cells, rows) and its smallest positive entries (rows,)."""

    table: np.ndarray
    low: np.ndarray


def run(
    plan: Plan,
    tables: Sequence[Normalised],
    codes: Mapping[int, np.ndarray],
    soft: Mapping[int, np.ndarray],
    rows: int,
) -> Result:
    """Run the plan for all rows of evidence at once.

    Args:
        plan: what to run.
        tables: the model's factors.
        codes, soft: as for :meth:`graphs.inference.linear.LinearPlan.run`.
        rows: how many.
    """
    program = plan.program
    slots = [_Slot(np.ones((1, 1)), np.ones(1))]
    slots += [_given(plan, leaf, tables, codes, soft) for leaf in plan.leaves]
    log_z = np.full(rows, sum(tables[k].log_scale for k in _factors(plan)))
    marked = np.zeros(rows, np.bool_)
    for k, step in enumerate(program.steps):
        left, right = slots[step.left], slots[step.right]
        marked |= left.low * right.low < LOST
        result, log_scale = _rescaled(_contracted(plan, k, left.table, right.table))
        slots.append(result)
        if k < len(program.forward):
            log_z += log_scale
    with np.errstate(divide="ignore"):
        for slot in program.roots:
            log_z += np.log(slots[slot].table.sum(0))
    columns = [_shares(slots[slot].table).T for slot in plan.read]
    wide = [np.broadcast_to(column, (rows, column.shape[1])) for column in columns]
    return Result(log_z, np.concatenate([np.empty((rows, 0)), *wide], 1), marked)


def _factors(plan: Plan) -> list[int]:
    return [leaf.factor for leaf in plan.leaves if leaf.factor is not None]


def _given(
    plan: Plan,
    leaf: Leaf,
    tables: Sequence[Normalised],
    codes: Mapping[int, np.ndarray],
    soft: Mapping[int, np.ndarray],
) -> _Slot:
    """The table of a leaf: a slice of a factor for each row, or an indicator."""
    sizes = plan.program.sizes
    if leaf.factor is None:
        (v,) = leaf.scope or leaf.observed
        table = indicator(leaf, sizes[v], codes.get(v), soft.get(v))
        likely = v in soft
        return _Slot(table, _lowest(table, 1.0) if likely else np.ones(1))
    factor = tables[leaf.factor]
    table = factor.table.transpose(leaf.axes)
    if leaf.observed:
        table = table[tuple(codes[v] for v in leaf.observed)]
    cells = math.prod(sizes[v] for v in leaf.scope)
    return _Slot(table.reshape(-1, cells).T, np.full(1, factor.low))


def _contracted(plan: Plan, k: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The result (cells, rows) of a step."""
    step = plan.program.steps[k]
    axes = plan.program.axes(step)
    left = left.reshape([size if has else 1 for size, has, _, _ in axes] + [-1])
    right = right.reshape([size if has else 1 for size, _, has, _ in axes] + [-1])
    summed = tuple(i for i, axis in enumerate(axes) if not axis[3])
    joined = (left * right).sum(summed) if summed else left * right
    return joined.reshape(plan.program.cells(step.out), -1)


def _rescaled(table: np.ndarray) -> tuple[_Slot, np.ndarray | float]:
    """A result within the range of the next step, and the logarithm taken out of every row."""
    high = table.max(0)
    outside = (high > 0) & ((high < TINY) | (high > HUGE))
    if not outside.any():
        return _Slot(table, _lowest(table, math.inf)), 0.0
    factor = np.where(outside, high, 1.0)
    table = table / factor
    return _Slot(table, _lowest(table, math.inf)), np.log(factor)


def _lowest(table: np.ndarray, otherwise: float) -> np.ndarray:
    return table.min(0, where=table > 0, initial=otherwise)


def _shares(table: np.ndarray) -> np.ndarray:
    total = table.sum(0)
    return table / np.where(total > 0, total, 1.0)
