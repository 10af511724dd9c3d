"""A plan ready to run in compiled, linear arithmetic (see :mod:`graphs.kernels`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .contraction import Step
from .kernels import BLOCK, SHARED, TABLES, finish, gather, run_steps
from .plans import Plan

CACHE_BYTES = 1 << 19  # what one block of rows may fill: half of a usual second-level cache
LEAST_ROWS = 8  # of a block: one vector register


class Result(NamedTuple):
    """What a plan computes for each row.

    Attributes:
        log_z: (rows,) natural logarithm of the sum of products.
        columns: (rows, width) the marginals side by side, in the order of ``Plan.reads``, or the
            joint distribution of the kept variables.
        marked: (rows,) where linear numbers may have lost an entry.
    """

    log_z: np.ndarray
    columns: np.ndarray
    marked: np.ndarray


class LinearPlan:
    """The plan with the model's tables packed and every offset and stride worked out.

    Args:
        plan: what to run.
        tables: the model's factors, float64.
    """

    def __init__(self, plan: Plan, tables: Sequence[np.ndarray]):
        program = plan.program
        self.plan, self.program = plan, program
        slots = len(program.scopes)
        self._cells = np.array([program.cells(s) for s in range(slots)], np.int64)
        self._space = np.where(program.batched, BLOCK, SHARED)
        self._space[0] = TABLES
        self._low = np.ones(slots)
        self._constant = 0.0
        packed = [np.ones(1)]
        start = np.zeros(slots, np.int64)
        self._gathers: list[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = []
        self._indicators: list[tuple[int, int]] = []
        end = 1
        for slot, leaf in enumerate(plan.leaves, start=1):
            if leaf.factor is None:
                self._indicators.append((slot, leaf.scope[0]))
                continue
            table = tables[leaf.factor]
            largest = float(table.max(initial=0.0)) or 1.0
            table = (table / largest).transpose(leaf.axes).ravel()
            self._constant += math.log(largest)
            self._low[slot] = table.min(where=table > 0, initial=1.0)
            start[slot] = end
            if leaf.observed:
                shape = tuple(program.sizes[v] for v in leaf.observed)
                strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
                self._gathers.append((slot, end, leaf.observed, strides))
            else:
                self._space[slot] = TABLES
            packed.append(table)
            end += table.size
        self._tables = np.concatenate(packed)
        shared = self._space == SHARED
        start[shared] = np.cumsum(self._cells[shared]) - self._cells[shared]
        block = self._space == BLOCK
        start[block] = np.cumsum(self._cells[block]) - self._cells[block]
        self._start = start
        self._shared_cells = int(self._cells[shared].sum())
        self.block_cells = int(self._cells[block].sum())
        forward = len(program.forward)
        numbered = list(enumerate(program.steps))
        once = [(i, s) for i, s in numbered if not program.batched[s.out]]
        each = [(i, s) for i, s in numbered if program.batched[s.out]]
        self._once = [s for _, s in once], sum(i < forward for i, _ in once)
        self._each = [s for _, s in each], sum(i < forward for i, _ in each)
        self._compiled: dict[tuple[bool, bool], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        scalars = [slot for slot in program.roots if not program.scopes[slot]]
        kept = [slot for slot in program.roots if program.scopes[slot]]
        reads = kept or [step.out for step in program.reads.values()]
        self._kept = bool(kept)
        self._roots = np.array(scalars, np.int64)
        self._reads = np.array(reads, np.int64)
        self._widths = np.array([program.cells(slot) for slot in reads], np.int64)

    def _rows_per_block(self, rows: int, most_bytes: int) -> int:
        """Rows to run together, so that a block stays in the cache and within the budget."""
        each = 8 * max(self.block_cells, 1)
        fitting = max(CACHE_BYTES // each, min(LEAST_ROWS, most_bytes // each), 1)
        return min(rows, fitting)

    def run(
        self,
        codes: Mapping[int, np.ndarray],
        rows: int,
        most_bytes: int,
        advance: Callable[[int], object] | None = None,
    ) -> Result:
        """Run the plan for every row of evidence.

        Args:
            codes: for each removed or indicated variable the observed states (rows,), -1 where
                missing; an indicated variable that is not mentioned is missing throughout.
            rows: how many rows.
            most_bytes: what a block may fill.
            advance: told how many rows are done, after each block.
        """
        rows_per_block = self._rows_per_block(rows, most_bytes)
        shared = np.empty(self._shared_cells)
        lows = np.empty((self._low.size, rows_per_block))
        lows[:] = self._low[:, None]
        base = np.full(1, self._constant)
        lost = np.zeros(1, np.bool_)
        steps, axes, slots = self._arrays(1, False)
        run_steps(
            steps, axes, slots, self._tables, shared, shared, lows, base, lost, 1, self._once[1]
        )
        lows[:] = lows[:, :1]
        scale = np.full(rows, base[0])
        marked = np.full(rows, lost[0])
        columns = np.empty((rows, int(self._widths.sum())))
        for first in range(0, rows, rows_per_block):
            part = slice(first, min(first + rows_per_block, rows))
            count = part.stop - first
            steps, axes, slots = self._arrays(count, True)
            block = np.empty(self.block_cells * count)
            self._fill(block, codes, part, count)
            run_steps(
                steps,
                axes,
                slots,
                self._tables,
                shared,
                block,
                lows,
                scale[part],
                marked[part],
                count,
                self._each[1],
            )
            finish(
                block,
                shared,
                self._tables,
                slots,
                self._roots,
                self._reads,
                self._widths,
                scale[part],
                columns[part],
                count,
                self._kept,
            )
            if advance is not None:
                advance(count)
        return Result(scale, columns, marked)

    def _fill(
        self, block: np.ndarray, codes: Mapping[int, np.ndarray], part: slice, count: int
    ) -> None:
        for slot, start, observed, strides in self._gathers:
            index = codes[observed[0]][part] * strides[0]
            for v, stride in zip(observed[1:], strides[1:], strict=True):
                index = index + codes[v][part] * stride
            offset, cells = int(self._start[slot]) * count, int(self._cells[slot])
            gather(block, offset, cells, self._tables, start, index, count)
        for slot, v in self._indicators:
            offset, cells = int(self._start[slot]) * count, int(self._cells[slot])
            table = block[offset : offset + cells * count].reshape(cells, count)
            if v in codes:
                code = codes[v][part]
                table[:] = (code == np.arange(cells)[:, None]) | (code < 0)
            else:
                table[:] = 1.0

    def _arrays(self, rows: int, each: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, axes and slots for a block of so many rows."""
        many = rows > 1
        if (many, each) not in self._compiled:
            self._compiled[many, each] = self._layout(
                self._each[0] if each else self._once[0], many
            )
        steps, axes, scaled = self._compiled[many, each]
        slots = np.stack((self._space, self._start, self._cells), axis=1)
        slots[self._space == BLOCK, 1] *= rows
        if many:
            axes = np.where(scaled, axes * rows, axes)
            axes[axes[:, 0] == -1, 0] = rows
        return steps, axes, slots

    def _layout(self, steps: list[Step], many: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batched = self.program.batched
        table = np.empty((len(steps), 5), np.int64)
        rows: list[tuple[int, ...]] = []
        scaled: list[tuple[bool, ...]] = []
        for k, step in enumerate(steps):
            first = len(rows)
            of = (batched[step.out], batched[step.left], batched[step.right])
            loops = []
            strides = [1, 1, 1]
            for size, in_left, in_right, in_out in reversed(self.program.axes(step)):
                loop = [size]
                for i, present in enumerate((in_out, in_left, in_right)):
                    loop.append(strides[i] if present else 0)
                    strides[i] *= size if present else 1
                loops.append(tuple(loop))
            loops.reverse()
            if many:
                loops.sort(key=lambda loop: loop[1] == 0)  # sums innermost: the result stays close
            rows += loops
            scaled += [(False, *of)] * len(loops)
            if many and of[0]:
                rows.append((-1, *map(int, of)))
                scaled.append((False, False, False, False))
            table[k] = step.left, step.right, step.out, first, len(rows)
        return (
            table,
            np.array(rows, np.int64).reshape(-1, 4),
            np.array(scaled, np.bool_).reshape(-1, 4),
        )
