r"""Programs of contractions, compiled: one call runs every step for a block of evidence rows.

Numbers are linear. After each step every row of the result is rescaled when it leaves
:math:`[10^{-60}, 10^{60}]`, and the logarithm of the factor is added to the row's scale; so the
size of the partition function does not matter. What could be lost is one entry of a table beside
another more than :math:`10^{290}` times larger. A product in which that may have happened marks its
row, and marked rows are computed again in logarithms (:mod:`graphs.log_space`).

Memory is three flat arrays: ``tables`` (the model's, made once), ``shared`` (results that do not
depend on the evidence) and ``block`` (results that do, with the rows of the block varying fastest).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TINY, HUGE, LOST = 1e-60, 1e60, 1e-290
TABLES, SHARED, BLOCK = 0, 1, 2


@njit(cache=True, nogil=True, fastmath={"nsz", "arcp", "contract", "reassoc", "nnan"})
def _line(z, zo, x, xo, y, yo, size, sz, sx, sy):
    """z += x y along one axis."""
    if sz == 0:
        total = z[zo]
        if sx == 1 and sy == 1:
            for i in range(size):
                total += x[xo + i] * y[yo + i]
        elif sx == 0:
            part = 0.0 * total
            for i in range(size):
                part += y[yo + i * sy]
            total += part * x[xo]
        elif sy == 0:
            part = 0.0 * total
            for i in range(size):
                part += x[xo + i * sx]
            total += part * y[yo]
        else:
            for i in range(size):
                total += x[xo + i * sx] * y[yo + i * sy]
        z[zo] = total
    elif sx == 1 and sy == 1 and sz == 1:
        for i in range(size):
            z[zo + i] += x[xo + i] * y[yo + i]
    elif sx == 0 and sy == 1 and sz == 1:
        a = x[xo]
        for i in range(size):
            z[zo + i] += a * y[yo + i]
    elif sx == 1 and sy == 0 and sz == 1:
        a = y[yo]
        for i in range(size):
            z[zo + i] += x[xo + i] * a
    else:
        for i in range(size):
            z[zo + i * sz] += x[xo + i * sx] * y[yo + i * sy]


@njit(cache=True, nogil=True)
def _contract(z, zo, x, xo, y, yo, axes, counter):
    """z += x y over all axes; rows of ``axes`` are size and strides in z, x and y."""
    n = axes.shape[0]
    if n == 0:
        z[zo] += x[xo] * y[yo]
        return
    inner = n - 1
    size, sz, sx, sy = axes[inner, 0], axes[inner, 1], axes[inner, 2], axes[inner, 3]
    if n == 1:
        _line(z, zo, x, xo, y, yo, size, sz, sx, sy)
        return
    middle = n - 2
    size2, sz2, sx2, sy2 = axes[middle, 0], axes[middle, 1], axes[middle, 2], axes[middle, 3]
    counter[:middle] = 0
    while True:
        for j in range(size2):
            _line(z, zo + j * sz2, x, xo + j * sx2, y, yo + j * sy2, size, sz, sx, sy)
        axis = middle - 1
        while axis >= 0:
            zo += axes[axis, 1]
            xo += axes[axis, 2]
            yo += axes[axis, 3]
            counter[axis] += 1
            if counter[axis] < axes[axis, 0]:
                break
            zo -= axes[axis, 1] * axes[axis, 0]
            xo -= axes[axis, 2] * axes[axis, 0]
            yo -= axes[axis, 3] * axes[axis, 0]
            counter[axis] = 0
            axis -= 1
        if axis < 0:
            return


@njit(cache=True, nogil=True, fastmath={"nsz", "nnan"})
def _extremes(z, zo, cells, rows, high, low):
    """The largest entry and the smallest positive one, per row."""
    if rows == 1:
        most, least = high[0], low[0]
        for i in range(zo, zo + cells):
            value = z[i]
            most = max(most, value)
            least = min(least, value if value > 0 else least)
        high[0], low[0] = most, least
        return
    for c in range(cells):
        start = zo + c * rows
        for r in range(rows):
            value = z[start + r]
            high[r] = max(high[r], value)
            low[r] = min(low[r], value if value > 0 else low[r])


@njit(cache=True, nogil=True)
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
    counter = np.zeros(64, np.int64)
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
        width = rows if batched else 1
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
        if batched:
            lows[out, :rows] = low[:rows]
        else:
            lows[out, :] = low[0]


@njit(cache=True, nogil=True)
def gather(block, offset, cells, table, start, index, rows):
    """Copy for each row the slice of a table that its evidence selects."""
    for c in range(cells):
        for r in range(rows):
            block[offset + c * rows + r] = table[start + index[r] * cells + c]


@njit(cache=True, nogil=True)
def finish(block, shared, tables, slots, roots, reads, sizes, scale, columns, rows, kept):
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
    column = 0
    for k in range(reads.size):
        space, offset = slots[reads[k], 0], slots[reads[k], 1]
        x = tables if space == TABLES else shared if space == SHARED else block
        stride = rows if space == BLOCK else 1
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
