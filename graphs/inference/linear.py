"""A plan ready to run in compiled, linear arithmetic (see :mod:`graphs.inference.kernels`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from graphs.inference.contraction import Step
from graphs.inference.kernels import BLOCK, SHARED, TABLES, finish, gather, run_steps
from graphs.inference.plain import Normalised, indicator
from graphs.inference.plans import Plan, Result

CACHE_BYTES = 1 << 20  # a second-level cache: what a block of rows fills at least
USUAL_ROWS = 64  # of a block where tables are larger: enough to work through memory in long runs
BLOCK_BYTES = 1 << 28  # what it fills at most


class _Steps(NamedTuple):
    """Steps for the kernels, for any number of rows.

    Attributes:
        numbered: columns left, right, out, first and last + 1 of their axes.
        fixed, per_row: the axes are ``fixed + rows * per_row``.
    """

    numbered: np.ndarray
    fixed: np.ndarray
    per_row: np.ndarray


class LinearPlan:
    """The plan with the model's tables packed and every offset and stride worked out.

    Args:
        plan: what to run.
        tables: the model's factors.
    """

    def __init__(self, plan: Plan, tables: Sequence[Normalised]):
        self._plan, self._program = plan, plan.program
        batched = self._program.batched
        slots = len(batched)
        self._cells = np.array([self._program.cells(s) for s in range(slots)], np.int64)
        self._space = np.where(batched, BLOCK, SHARED)
        self._space[: len(plan.leaves) + 1][~np.array(batched)[: len(plan.leaves) + 1]] = TABLES
        self._start = np.zeros(slots, np.int64)
        self._low = np.ones(slots)
        self._log_scale = 0.0
        self._gathers: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []
        self._tables = self._packed(tables)
        ends = {}
        for space in (SHARED, BLOCK):
            here = self._space == space
            ends[space] = np.cumsum(self._cells[here])
            self._start[here] = ends[space] - self._cells[here]
        self._shared_cells, self.block_cells = (
            int(end[-1]) if end.size else 0 for end in (ends[SHARED], ends[BLOCK])
        )
        forward = len(self._program.forward)
        steps = list(enumerate(self._program.steps))
        self._once = [step for _, step in steps if not batched[step.out]]
        self._each = [step for _, step in steps if batched[step.out]]
        self._once_forward = sum(k < forward for k, step in steps if not batched[step.out])
        self._each_forward = forward - self._once_forward
        self._layouts: dict[tuple[bool, bool], _Steps] = {}
        scalars = [slot for slot in self._program.roots if slot not in plan.kept]
        self._roots = np.array(scalars, np.int64)
        self._reads = np.array(plan.read, np.int64)
        self._widths = self._cells[self._reads].astype(np.uint64)

    def _packed(self, tables: Sequence[Normalised]) -> np.ndarray:
        """One array of all tables, after the scalar one."""
        parts, end = [np.ones(1)], 1
        for slot, leaf in enumerate(self._plan.leaves, start=1):
            if leaf.factor is None:
                continue
            scaled, log_scale, self._low[slot] = tables[leaf.factor]
            self._log_scale += log_scale
            table = scaled.transpose(leaf.axes).ravel()
            if leaf.observed:
                sizes = [self._program.sizes[v] for v in leaf.observed]
                strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
                self._gathers.append((slot, end, tuple(zip(leaf.observed, strides, strict=True))))
            else:
                self._start[slot] = end
            parts.append(table)
            end += table.size
        return np.concatenate(parts)

    def run(
        self,
        codes: Mapping[int, np.ndarray],
        soft: Mapping[int, np.ndarray],
        rows: int,
        most_bytes: int,
        advance: Callable[[int], object] | None = None,
        threads: int = 1,
    ) -> Result:
        """Run the plan for every row of evidence.

        Args:
            codes: for each removed or indicated variable the observed states (rows,), -1 where
                missing; an indicated variable that is not mentioned is missing throughout.
            soft: likelihoods (rows, states), each with largest entry one or zeros alone.
            rows: how many rows.
            most_bytes: what all blocks at work may fill.
            advance: told how many rows are done, after each block.
            threads: how many blocks to run at a time.
        """
        size = self._rows_per_block(rows, most_bytes // threads)
        shared = np.empty(self._shared_cells)
        lows = np.repeat(self._low[:, None], size, axis=1)
        scale, marked = np.full(rows, self._log_scale), np.zeros(rows, np.bool_)
        columns = np.empty((rows, int(self._widths.sum())))
        once_scale, once_marked = np.zeros(1), np.zeros(1, np.bool_)
        steps, axes, slots = self._arrays(1, False)
        memory = self._tables, shared, shared
        work = lows, once_scale, once_marked, 1, self._once_forward
        run_steps(steps, axes, slots, *memory, *work)
        scale += once_scale
        marked |= once_marked

        def run_block(first: int) -> None:
            part = slice(first, min(first + size, rows))
            count = part.stop - first
            steps, axes, slots = self._arrays(count, True)
            block = np.empty(self.block_cells * count)
            low = lows.copy()
            self._fill(block, low, codes, soft, part, count)
            memory = self._tables, shared, block
            work = low, scale[part], marked[part], count, self._each_forward
            run_steps(steps, axes, slots, *memory, *work)
            answer = scale[part], columns[part], count, bool(self._plan.kept)
            finish(slots, *memory, self._roots, self._reads, self._widths, *answer)
            if advance is not None:
                advance(count)

        starts = range(0, rows, size)
        if threads == 1 or len(starts) == 1:
            for first in starts:
                run_block(first)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run_block, starts))
        return Result(scale, columns, marked)

    def _rows_per_block(self, rows: int, most_bytes: int) -> int:
        each = 8 * max(self.block_cells, 1)
        fitting = min(BLOCK_BYTES, most_bytes) // each
        return max(1, min(rows, fitting, max(CACHE_BYTES // each, USUAL_ROWS)))

    def _fill(
        self,
        block: np.ndarray,
        lows: np.ndarray,
        codes: Mapping[int, np.ndarray],
        soft: Mapping[int, np.ndarray],
        part: slice,
        count: int,
    ) -> None:
        """Write the slices of the tables and the indicators that a block of rows observes."""
        for slot, start, observed in self._gathers:
            index = sum(codes[v][part] * stride for v, stride in observed)
            offset, cells = int(self._start[slot]) * count, int(self._cells[slot])
            gather(block, offset, cells, self._tables, start, index, count)
        for slot, leaf in enumerate(self._plan.leaves, start=1):
            if leaf.factor is None:
                offset, cells = int(self._start[slot]) * count, int(self._cells[slot])
                table = block[offset : offset + cells * count].reshape(cells, count)
                (v,) = leaf.scope or leaf.observed
                code = codes[v][part] if v in codes else None
                likelihood = soft[v][part] if v in soft else None
                table[:] = indicator(leaf, cells, code, likelihood)
                if v in soft:
                    lows[slot, :count] = table.min(0, where=table > 0, initial=1.0)

    def _arrays(self, rows: int, each: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, axes and slots for a block of so many rows."""
        key = rows > 1, each
        if key not in self._layouts:
            self._layouts[key] = self._layout(self._each if each else self._once, rows > 1)
        numbered, fixed, per_row = self._layouts[key]
        start = np.where(self._space == BLOCK, self._start * rows, self._start)
        slots = np.stack((self._space, start, self._cells), axis=1).astype(np.uint64)
        return numbered, fixed + np.uint64(rows) * per_row, slots

    def _layout(self, steps: list[Step], many: bool) -> _Steps:
        """Axes of size and strides in result and operands; for many rows, those as the last.

        Of the operands the one that has the last axis comes second, as the kernels want it.
        """
        batched = self._program.batched
        numbered = np.empty((len(steps), 5), np.int64)
        fixed: list[list[int]] = []
        per_row: list[list[int]] = []
        for k, step in enumerate(steps):
            strides = [1, 1, 1]
            axes: list[list[int]] = []
            for size, in_left, in_right, in_out in reversed(self._program.axes(step)):
                axis = [size]
                for i, present in enumerate((in_out, in_left, in_right)):
                    axis.append(strides[i] if present else 0)
                    strides[i] *= size if present else 1
                axes.insert(0, axis)
            if many:
                axes.sort(key=lambda axis: axis[1] == 0)  # sums innermost: the result stays close
            scaled = [many and batched[slot] for slot in (step.out, step.left, step.right)]
            first = len(fixed)
            for size, *steps_of in axes:
                pairs = list(zip(steps_of, scaled, strict=True))
                fixed.append([size, *(0 if by_row else stride for stride, by_row in pairs)])
                per_row.append([0, *(stride if by_row else 0 for stride, by_row in pairs)])
            if scaled[0]:
                fixed.append([0, *map(int, scaled)])
                per_row.append([1, 0, 0, 0])
            left, right = step.left, step.right
            if len(fixed) > first and not fixed[-1][3]:
                left, right = right, left
                for rows in (fixed, per_row):
                    rows[first:] = [[size, z, y, x] for size, z, x, y in rows[first:]]
            numbered[k] = left, right, step.out, first, len(fixed)
        shaped = (np.array(rows, np.uint64).reshape(-1, 4) for rows in (fixed, per_row))
        return _Steps(numbered, *shaped)
