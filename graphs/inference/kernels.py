r"""Programs of contractions, compiled: one call runs every step for a block of evidence rows.

Numbers are linear. After each step every row of the result is rescaled when it leaves
:math:`[10^{-60}, 10^{60}]`, and the logarithm of the factor is added to the row's scale; so the
size of the partition function does not matter. What could be lost is one entry of a table beside
another more than :math:`10^{290}` times larger. A product in which that may have happened marks its
row, and marked rows are computed again in logarithms (:mod:`graphs.inference.log_space`).

Memory is three flat arrays: ``tables`` (the model's, made once), ``shared`` (results that do not
depend on the evidence) and ``block`` (results that do, with the rows of the block varying fastest).
"""

from __future__ import annotations

import math

import numpy as np
from numba import uint64

from graphs.compiling import compiled
from graphs.inference.plain import HUGE, LOST, TINY

TABLES, SHARED, BLOCK = 0, 1, 2
FAST = {"nsz", "arcp", "contract", "reassoc", "nnan"}


@compiled(nogil=True, fastmath=FAST)
def _line(z, zo, x, xo, y, yo, size, in_z, in_x):
    """z += x y along the last axis, which y has; the sum of it where z has not."""
    if in_z and in_x:
        for i in range(size):
            z[zo + i] += x[xo + i] * y[yo + i]
    elif in_z:
        factor = x[xo]
        for i in range(size):
            z[zo + i] += factor * y[yo + i]
    elif in_x:
        total = 0.0
        for i in range(size):
            total += x[xo + i] * y[yo + i]
        z[zo] += total
    else:
        total = 0.0
        for i in range(size):
            total += y[yo + i]
        z[zo] += total * x[xo]


@compiled(nogil=True, fastmath=FAST)
def _sum_of_lines(z, zo, x, xo, y, yo, size, in_x, terms, tx, ty):
    """z += sum of x y over the last axis but one; four terms a time, to spare z."""
    four = uint64(4)
    x1, x2, x3 = tx, tx + tx, tx + tx + tx
    y1, y2, y3 = ty, ty + ty, ty + ty + ty
    for _ in range(terms // four):
        if in_x:
            for i in range(size):
                a, b = xo + i, yo + i
                z[zo + i] += (x[a] * y[b] + x[a + x1] * y[b + y1]) + (
                    x[a + x2] * y[b + y2] + x[a + x3] * y[b + y3]
                )
        else:
            f0, f1, f2, f3 = x[xo], x[xo + x1], x[xo + x2], x[xo + x3]
            for i in range(size):
                b = yo + i
                z[zo + i] += (f0 * y[b] + f1 * y[b + y1]) + (f2 * y[b + y2] + f3 * y[b + y3])
        xo += four * tx
        yo += four * ty
    for _ in range(terms % four):
        _line(z, zo, x, xo, y, yo, size, True, in_x)
        xo += tx
        yo += ty


@compiled(nogil=True)
def _contract(z, zo, x, xo, y, yo, axes, counter):
    """z += x y over all axes; rows of ``axes`` are size and strides in z, x and y.

    The strides of the last axis are 0 or 1, and that of y is 1. Indices are unsigned: numba then
    does not look for negative ones, and the loops become vector instructions.
    """
    axis = axes.shape[0] - 1
    if axis < 0:
        z[zo] += x[xo] * y[yo]
        return
    size, in_z, in_x = axes[axis, 0], axes[axis, 1] == 1, axes[axis, 2] == 1
    if axis == 0:
        _line(z, zo, x, xo, y, yo, size, in_z, in_x)
        return
    terms, tz, tx, ty = axes[axis - 1]
    counter[: axis - 1] = 0
    while True:
        if in_z and tz == 0:
            _sum_of_lines(z, zo, x, xo, y, yo, size, in_x, terms, tx, ty)
        else:
            a, b, c = zo, xo, yo
            for _ in range(terms):
                _line(z, a, x, b, y, c, size, in_z, in_x)
                a += tz
                b += tx
                c += ty
        axis = axes.shape[0] - 3
        while axis >= 0:
            steps, dz, dx, dy = axes[axis]
            zo += dz
            xo += dx
            yo += dy
            counter[axis] += uint64(1)
            if counter[axis] < steps:
                break
            zo -= dz * steps
            xo -= dx * steps
            yo -= dy * steps
            counter[axis] = 0
            axis -= 1
        if axis < 0:
            return


@compiled(nogil=True, fastmath={"nsz", "nnan"})
def _extremes(z, zo, cells, rows, high, low):
    """The largest entry and the smallest positive one, per row."""
    if rows == 1:
        most, least = high[0], low[0]
        for i in range(cells):
            value = z[zo + i]
            most = max(most, value)
            least = min(least, value if value > 0 else least)
        high[0], low[0] = most, least
        return
    for _ in range(cells):
        for r in range(rows):
            value = z[zo + r]
            high[r] = max(high[r], value)
            low[r] = min(low[r], value if value > 0 else low[r])
        zo += rows


@compiled(nogil=True)
def run_steps(steps, axes, slots, tables, shared, block, lows, scale, marked, rows, forward):
    """Execute steps.

    Args:
        steps: columns left, right, out, first and last+1 of their rows in ``axes``.
        axes: size and strides in out, left and right, the row axis included.
        slots: columns space, offset, cells of every slot (offsets for this number of rows).
        tables, shared, block: the memory.
        lows: (slots, rows) smallest positive entry of every slot.
        scale: (rows,) logarithms taken out of forward results, added to.
        marked: (rows,) set where an entry may have been lost.
        rows: rows of this block.
        forward: how many of the steps count towards the scale.
    """
    rows, one = uint64(rows), uint64(1)
    counter = np.zeros(64, np.uint64)
    high = np.empty(rows)
    low = np.empty(rows)
    for k in range(steps.shape[0]):
        left, right, out = steps[k, 0], steps[k, 1], steps[k, 2]
        space = slots[left, 0]
        x = tables if space == TABLES else shared if space == SHARED else block
        space = slots[right, 0]
        y = tables if space == TABLES else shared if space == SHARED else block
        batched = slots[out, 0] == BLOCK
        z = block if batched else shared
        zo, cells = slots[out, 1], slots[out, 2]
        width = rows if batched else one
        z[zo : zo + cells * width] = 0.0
        _contract(
            z,
            zo,
            x,
            slots[left, 1],
            y,
            slots[right, 1],
            axes[steps[k, 3] : steps[k, 4]],
            counter,
        )
        high[:width] = 0.0
        low[:width] = math.inf
        _extremes(z, zo, cells, width, high, low)
        rescaled = False
        for r in range(width):
            if lows[left, r] * lows[right, r] < LOST:
                marked[r] = True
            if high[r] > 0.0 and (high[r] < TINY or high[r] > HUGE):
                rescaled = True
        if rescaled:
            for r in range(width):
                if high[r] > 0.0:
                    factor = 1.0 / high[r]
                    for i in range(zo + r, zo + r + cells * width, width):
                        z[i] *= factor
                    low[r] *= factor
                    if k < forward:
                        scale[r] += math.log(high[r])
        for r in range(lows.shape[1]):
            lows[out, r] = low[r if r < width else 0]


@compiled(nogil=True)
def gather(block, offset, cells, table, start, index, rows):
    """Copy for each row the slice of a table that its evidence selects."""
    offset, cells, start, rows = uint64(offset), uint64(cells), uint64(start), uint64(rows)
    for c in range(cells):
        for r in range(rows):
            block[offset + c * rows + r] = table[start + uint64(index[r]) * cells + c]


@compiled(nogil=True)
def finish(slots, tables, shared, block, roots, reads, sizes, scale, columns, rows, kept):
    """Add the logarithms of the roots to the scale, and write what was read, normalised.

    ``columns`` has shape (rows, sum of the cells read). If ``kept``, what is read is a root itself,
    and its sum goes into the scale too.
    """
    for slot in roots:
        space, offset = slots[slot, 0], slots[slot, 1]
        x = tables if space == TABLES else shared if space == SHARED else block
        for r in range(rows):
            value = x[offset + r] if space == BLOCK else x[offset]
            scale[r] += math.log(value) if value > 0.0 else -math.inf
    rows, one = uint64(rows), uint64(1)
    column = uint64(0)
    for k in range(reads.size):
        space, offset = slots[reads[k], 0], slots[reads[k], 1]
        x = tables if space == TABLES else shared if space == SHARED else block
        stride = rows if space == BLOCK else one
        for r in range(rows):
            start = offset + r if space == BLOCK else offset
            total = 0.0
            for i in range(sizes[k]):
                total += x[start + i * stride]
            if kept:
                scale[r] += math.log(total) if total > 0.0 else -math.inf
            total = 1.0 / total if total > 0.0 else 0.0
            for i in range(sizes[k]):
                columns[r, column + i] = x[start + i * stride] * total
        column += sizes[k]
