"""Greedy elimination of a graph's vertices, in code that runs plain and compiled alike.

The arithmetic is the same to the last bit either way, and so is the order found.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from graphs.compiling import compiled_together

FILL, WEIGHTED_FILL, WEIGHT = range(3)
MOST_LOG_CELLS = 700.0  # of a join whose cells are a float


def _adjacent(bits, u, v):
    return (bits[u, v >> 6] >> np.uint64(v & 63)) & np.uint64(1) != 0


def _join(bits, u, v):
    bits[u, v >> 6] |= np.uint64(1) << np.uint64(v & 63)
    bits[v, u >> 6] |= np.uint64(1) << np.uint64(u & 63)


def _score(around, degree, bits, logs, kind, v):
    """The measure to be smallest, the logarithm of the join's cells, and the comparisons made."""
    weight = logs[v]
    for i in range(degree[v]):
        weight += logs[around[v, i]]
    if kind == WEIGHT:
        return weight, weight, degree[v]
    fill = 0.0
    for i in range(degree[v]):
        u = around[v, i]
        for j in range(i):
            w = around[v, j]
            if not _adjacent(bits, u, w):
                fill += 1.0 if kind == FILL else logs[u] * logs[w]
    return fill, weight, degree[v] * degree[v] // 2


def _widened(around, degree, more):
    """The lists of neighbours with room for more of them."""
    longest = 0
    for v in range(degree.size):
        longest = max(longest, degree[v])
    if longest + more <= around.shape[1]:
        return around
    wider = np.empty((degree.size, 2 * (longest + more)), np.int64)
    for v in range(degree.size):
        for i in range(degree[v]):
            wider[v, i] = around[v, i]
    return wider


def _joined(around, degree, sizes, v):
    """The cells of the join of a vertex and its neighbours."""
    cells = sizes[v]
    for i in range(degree[v]):
        cells *= sizes[around[v, i]]
    return cells


def greedy(neighbours, degrees, sizes, logs, going, kind, ties):
    """Eliminate the variable of the smallest score until none is left.

    Args:
        neighbours, degrees: the graph, as lists of neighbours side by side.
        sizes, logs: states of every variable, as floats, and their logarithms.
        going: the variables to eliminate.
        kind: the score.
        ties: numbers of which the smaller goes first where scores and joins are equal.

    Returns:
        The order, the cells of all joins, and how many comparisons it took.
    """
    n = degrees.size
    around, degree = neighbours.copy(), degrees.copy()
    bits = np.zeros((n, (n + 63) // 64), np.uint64)
    for v in range(n):
        for i in range(degree[v]):
            _join(bits, v, around[v, i])
    left = going.copy()
    score, weight = np.zeros(n), np.zeros(n)
    touched = np.zeros(n, np.int64)
    compared = 0
    for v in range(n):
        if left[v]:
            score[v], weight[v], count = _score(around, degree, bits, logs, kind, v)
            compared += count
    order = np.empty(n, np.int64)
    cells, position = 0.0, 0
    while True:
        v = -1
        for u in range(n):
            if left[u] and (
                v < 0
                or score[u] < score[v]
                or (
                    score[u] == score[v]
                    and (weight[u] < weight[v] or (weight[u] == weight[v] and ties[u] < ties[v]))
                )
            ):
                v = u
        if v < 0:
            return order[:position], cells, compared
        left[v] = False
        order[position] = v
        position += 1
        cells += _joined(around, degree, sizes, v) if weight[v] < MOST_LOG_CELLS else np.inf
        around = _widened(around, degree, degree[v])
        for i in range(degree[v]):
            u = around[v, i]
            for j in range(degree[u]):
                if around[u, j] == v:
                    degree[u] -= 1
                    around[u, j] = around[u, degree[u]]
                    break
            for j in range(i):
                w = around[v, j]
                if not _adjacent(bits, u, w):
                    _join(bits, u, w)
                    around[u, degree[u]] = w
                    around[w, degree[w]] = u
                    degree[u] += 1
                    degree[w] += 1
        for i in range(degree[v]):
            u = around[v, i]
            for j in range(-1, degree[u] if kind != WEIGHT else 0):
                w = u if j < 0 else around[u, j]
                if left[w] and touched[w] < position:
                    touched[w] = position
                    score[w], weight[w], count = _score(around, degree, bits, logs, kind, w)
                    compared += count


@lru_cache(1)
def compiled_greedy() -> Any:
    """:func:`greedy` in machine code; the first call may take seconds."""
    return compiled_together(
        _adjacent,
        _join,
        _score,
        _widened,
        _joined,
        greedy,
        signature="(int64[:,::1], int64[::1], float64[::1], float64[::1], boolean[::1], int64, "
        "float64[::1])",
    )
