r"""Compiled Bayes-ball on integer arrays, the inside of :class:`graphs.Separation`.

A state is a node with the side it was entered from (Shachter 1998). Everything a query touches lies
in one int32 array, ``memory``, so that a call from Python unpacks one argument:

==========================  ====================================================================
``[0:3]``                   epoch of the last query, number of nodes n, whether directed
``[3 : 3+n]``               flags of each node, valid if at least ``epoch << BITS``
``[3+n : 3+3n]``            queue of states, ``2 node`` if entered from a child, else ``2 node + 1``
``[3+3n : 3+4n]``           scratch for the node numbers of a single query
``[3+4n : 4+6n]``           ``starts``: the links of node v are its parents from ``starts[2v]`` and
                            its children from ``starts[2v+1]``, up to ``starts[2v+2]``
``[4+6n : ]``               links, counted from ``starts``
==========================  ====================================================================

A new epoch makes all old flags stale at once, so a query costs what it visits, not O(n). In an
undirected graph all neighbours are stored as parents and nobody has children.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

HEADER = 3
BITS = 6
OBSERVED, OPENED, RELEVANT, ROSE, FELL, TARGET = 1, 2, 4, 8, 16, 32
LAST_EPOCH = 1 << 24
OVERLAP, DEPENDENT = -1, 0


def compiled(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile on import, or read what an earlier process compiled where a cache can be written."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, cache=True)(function)
        except RuntimeError:  # no folder to cache in
            return njit(signature)(function)

    return decorate


@compiled("int64(int32[::1], int32[::1], int32[::1], int64, int64, int64)")
def _mark_ancestors(net, flags, queue, top, mark, fresh):
    """Mark every ancestor of the first ``top`` nodes in the queue that has no flag yet."""
    head = 0
    while head < top:
        v = queue[head]
        head += 1
        for k in range(net[2 * v], net[2 * v + 1]):
            u = net[k]
            if flags[u] < fresh:
                flags[u] = mark
                queue[top] = u
                top += 1
    return top


@compiled("int64(int32[::1], int32[::1], int64, int64, int64, int64, boolean)")
def search(memory, nodes, a, b, c, d, everywhere):
    """Whether ``nodes[a:b]`` and ``nodes[b:c]`` are separated by ``nodes[c:d]``.

    Returns ``OVERLAP`` for sets that meet, ``DEPENDENT``, or, when they are independent, the
    positive number of states in the queue: all that can be reached, with ``everywhere``.
    """
    n, directed = memory[1], memory[2] != 0
    flags, queue = memory[HEADER : HEADER + n], memory[HEADER + n : HEADER + 3 * n]
    net = memory[HEADER + 4 * n :]
    epoch = memory[0] + 1
    if epoch > LAST_EPOCH:
        flags[:] = 0
        epoch = 1
    memory[0] = epoch
    fresh = np.int32(epoch << BITS)

    top = 0
    for i in range(c, d):
        v = nodes[i]
        if flags[v] < fresh:
            flags[v] = fresh | OBSERVED | OPENED | RELEVANT
            queue[top] = v
            top += 1
    if directed:
        top = _mark_ancestors(net, flags, queue, top, fresh | OPENED | RELEVANT, fresh)
    top = 0
    for i in range(b, c):
        v = nodes[i]
        flag = max(flags[v], fresh)
        if flag & OBSERVED:
            return OVERLAP
        if not flag & RELEVANT:
            queue[top] = v
            top += 1
        flags[v] = flag | RELEVANT | TARGET
    for i in range(a, b):
        v = nodes[i]
        flag = max(flags[v], fresh)
        if flag & (OBSERVED | TARGET):
            return OVERLAP
        if not flag & RELEVANT:
            queue[top] = v
            top += 1
        flags[v] = flag | RELEVANT
    if directed and not everywhere:
        _mark_ancestors(net, flags, queue, top, fresh | RELEVANT, fresh)

    top = 0
    for i in range(a, b):
        v = nodes[i]
        if not flags[v] & ROSE:
            flags[v] |= ROSE
            queue[top] = 2 * v
            top += 1
    head = 0
    while head < top:
        state = queue[head]
        head += 1
        v = state >> 1
        flag = flags[v]
        if not state & 1 or flag & OPENED:
            for k in range(net[2 * v], net[2 * v + 1]):
                u = net[k]
                other = max(flags[u], fresh)
                if not other & (ROSE | OBSERVED):
                    if other & TARGET:
                        return DEPENDENT
                    flags[u] = other | ROSE
                    queue[top] = 2 * u
                    top += 1
        if not flag & OBSERVED:
            for k in range(net[2 * v + 1], net[2 * v + 2]):
                u = net[k]
                other = max(flags[u], fresh)
                if (everywhere or other & RELEVANT) and not other & FELL:
                    if other & TARGET:
                        return DEPENDENT
                    flags[u] = other | FELL
                    queue[top] = 2 * u + 1
                    top += 1
    return top


@compiled("int64(int32[::1], int64, int64, int64)")
def answer_one(memory, b, c, d):
    """The outcome for x, y and given in the scratch, ending at b, c and d."""
    scratch = memory[HEADER + 3 * memory[1] :]
    return search(memory, scratch, 0, b, c, d, False)


@compiled("int64(int32[::1], int32[::1], int64[::1], boolean[::1])")
def answer_many(memory, nodes, ends, holds):
    """Fill ``holds`` for sets that end at ``ends``, three per query; the first overlap, or -1."""
    start = 0
    for i in range(holds.size):
        b, c, d = ends[3 * i], ends[3 * i + 1], ends[3 * i + 2]
        outcome = search(memory, nodes, start, b, c, d, False)
        if outcome == OVERLAP:
            return i
        holds[i] = outcome != DEPENDENT
        start = d
    return -1


@compiled("void(int32[::1], int32[::1], boolean[:, ::1])")
def fill_matrix(memory, nodes, matrix):
    """Mark for each node what depends on it given ``nodes[1:]``; ``nodes[0]`` is overwritten."""
    n = memory[1]
    flags, queue = memory[HEADER : HEADER + n], memory[HEADER + n : HEADER + 3 * n]
    for v in range(n):
        nodes[0] = v
        for i in range(search(memory, nodes, 0, 1, 1, nodes.size, True)):
            u = queue[i] >> 1
            if not flags[u] & OBSERVED:
                matrix[v, u] = True


@compiled("int32[::1](int64, int32[::1], int32[::1], boolean)")
def build(n, tails, heads, directed):
    """The memory of a graph with these edges; an undirected one names each edge both ways."""
    memory = np.zeros(HEADER + 6 * n + 1 + tails.size * (2 if directed else 1), np.int32)
    memory[1], memory[2] = n, directed
    cursor, net = memory[HEADER + n : HEADER + 3 * n], memory[HEADER + 4 * n :]
    net[0] = 2 * n + 1
    for i in range(tails.size):
        net[2 * heads[i] + 1] += 1
        if directed:
            net[2 * tails[i] + 2] += 1
    for i in range(2 * n):
        net[i + 1] += net[i]
        cursor[i] = net[i]
    for i in range(tails.size):
        t, h = tails[i], heads[i]
        net[cursor[2 * h]] = t
        cursor[2 * h] += 1
        if directed:
            net[cursor[2 * t + 1]] = h
            cursor[2 * t + 1] += 1
    return memory


@compiled("int32[::1](int32[::1])")
def find_cycle(memory):
    """The nodes of a directed cycle, each after its child; empty when there is none."""
    n = memory[1]
    waiting, queue = np.zeros(n, np.int32), memory[HEADER + n : HEADER + 3 * n]
    net = memory[HEADER + 4 * n :]
    top = 0
    for v in range(n):
        waiting[v] = net[2 * v + 1] - net[2 * v]
        if waiting[v] == 0:
            queue[top] = v
            top += 1
    head = 0
    while head < top:
        v = queue[head]
        head += 1
        for k in range(net[2 * v + 1], net[2 * v + 2]):
            u = net[k]
            waiting[u] -= 1
            if waiting[u] == 0:
                queue[top] = u
                top += 1
    if top == n:
        return queue[:0].copy()
    # every node left has a parent left: going up, the second visit to a node closes a cycle
    v = int(np.argmax(waiting))
    top = 0
    while waiting[v] > 0:
        waiting[v] = -top - 1
        queue[top] = v
        top += 1
        for k in range(net[2 * v], net[2 * v + 1]):
            if waiting[net[k]] != 0:
                v = net[k]
                break
    return queue[-waiting[v] - 1 : top].copy()
