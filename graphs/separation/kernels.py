r"""Compiled Bayes-ball on integer arrays, the inside of :class:`graphs.Separation`.

A state is a node with the side it was entered from. From an unobserved node entered from a child
the ball goes on to parents and children, from one entered from a parent to children; an observed
node sends a ball from a parent back to its parents and stops all others (Shachter 1998). It need
not leave the ancestors of the query. An open collider with an observed descendant takes no rule of
its own: the ball falls to the descendant, bounces and rises again.

Everything a query touches lies in one int32 array, ``memory``, so that a call from Python unpacks
one argument:

===================  ===========================================================================
``[0:4]``            epoch of the last query, number of nodes n, whether directed, ``base``
``[4 : base]``       in a graph of up to 62 nodes the parents, children and ancestors of every
                     node as sets, 3n int64 with a bit for each member
``base + [0 : n]``   flags of each node, valid if at least ``epoch << BITS``
``base + [n : 3n]``  queue of states, ``2 node`` if entered from a child, else ``2 node + 1``
``base + [3n : 4n]`` scratch for the node numbers of a single query
``base + [4n : ]``   the net: parents of node v from ``net[2v]``, children from ``net[2v+1]``, up to
                     ``net[2v+2]``, as positions in the net itself
===================  ===========================================================================

A new epoch makes all old flags stale at once, so a query costs what it visits, not O(n). In a small
graph all states of one distance are stepped from together. In an undirected graph all neighbours
are stored as parents and nobody has children.
"""

from __future__ import annotations

import numpy as np

from graphs.compiling import compiled
from graphs.separation.plain import DEPENDENT, INDEPENDENT, OVERLAP

HEADER = 4
SMALL = 62
BITS = 6
OBSERVED, RELEVANT, ROSE, FELL, TARGET, QUEUED = 1, 2, 4, 8, 16, 32
LAST_EPOCH = 1 << 24

# a power of two times this number has its exponent's own pattern in the top six bits
DE_BRUIJN = 0x03F79D71B4CB0A89
EXPONENTS = np.zeros(64, np.int64)
for _exponent in range(64):
    EXPONENTS[(DE_BRUIJN << _exponent) % 2**64 >> 58] = _exponent


@compiled("int64(int64[::1], int64, int64)")
def _union(sets, first, members):
    """The union of the sets, counted from ``first``, of all members."""
    union = 0
    while members:
        lowest = members & -members
        union |= sets[first + EXPONENTS[(lowest * DE_BRUIJN >> 58) & 63]]
        members ^= lowest
    return union


@compiled("int64(int64[::1], int64, int32[::1], int64, int64, int64, int64)")
def _search_small(sets, n, nodes, a, b, c, d):
    """:func:`search` with sets of nodes as integers."""
    starts, targets, observed, relevant = 0, 0, 0, 0
    for i in range(a, d):
        v = nodes[i]
        relevant |= sets[2 * n + v]
        if i < b:
            starts |= 1 << v
        elif i < c:
            targets |= 1 << v
        else:
            observed |= 1 << v
    if starts & targets or observed & (starts | targets):
        return OVERLAP
    rising, falling, rose, fell = starts, 0, starts, 0
    while rising | falling:
        upward = _union(sets, 0, rising | (falling & observed)) & ~(observed | rose)
        downward = _union(sets, n, rising | (falling & ~observed)) & relevant & ~fell
        if (upward | downward) & targets:
            return DEPENDENT
        rising, falling = upward, downward
        rose |= upward
        fell |= downward
    return INDEPENDENT


@compiled("void(int64[::1], int64, int32[::1], int32[::1], boolean)")
def _fill_sets(sets, n, tails, heads, directed):
    """Parents, children and ancestors; every node is its own ancestor."""
    for v in range(n):
        sets[2 * n + v] = 1 << v
    for i in range(tails.size):
        sets[heads[i]] |= 1 << tails[i]
        if directed:
            sets[n + tails[i]] |= 1 << heads[i]
    changed = directed
    while changed:
        changed = False
        for v in range(n):
            above = sets[2 * n + v] | _union(sets, 2 * n, sets[v])
            changed |= above != sets[2 * n + v]
            sets[2 * n + v] = above


@compiled("int64(int32[::1], int32[::1], int64, int64, int64, int64)")
def search(memory, nodes, a, b, c, d):
    """``INDEPENDENT`` if ``nodes[c:d]`` separate ``nodes[a:b]`` from ``nodes[b:c]``.

    Otherwise ``DEPENDENT``, or ``OVERLAP`` for sets that meet.
    """
    n, directed, base = memory[1], memory[2] != 0, memory[3]
    if base > HEADER:
        return _search_small(memory[HEADER:base].view(np.int64), n, nodes, a, b, c, d)
    flags, queue = memory[base : base + n], memory[base + n : base + 3 * n]
    net = memory[base + 4 * n :]
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
            flags[v] = fresh | OBSERVED | RELEVANT
            queue[top] = v
            top += 1
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
    head = 0
    while directed and head < top:
        v = queue[head]
        head += 1
        for k in range(net[2 * v], net[2 * v + 1]):
            u = net[k]
            if flags[u] < fresh:
                flags[u] = fresh | RELEVANT
                queue[top] = u
                top += 1

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
        if not state & 1 or flag & OBSERVED:
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
                if other & RELEVANT and not other & FELL:
                    if other & TARGET:
                        return DEPENDENT
                    flags[u] = other | FELL
                    queue[top] = 2 * u + 1
                    top += 1
    return INDEPENDENT


@compiled("int64(int32[::1], int64, int64, int64)")
def answer_one(memory, b, c, d):
    """The outcome for x, y and given in the scratch, ending at b, c and d."""
    scratch = memory[memory[3] + 3 * memory[1] :]
    return search(memory, scratch, 0, b, c, d)


@compiled("int64(int32[::1], int32[::1], int64[::1], boolean[::1])")
def answer_many(memory, nodes, ends, holds):
    """Fill ``holds`` for sets that end at ``ends``, three per query; the first overlap, or -1."""
    start = 0
    for i in range(holds.size):
        b, c, d = ends[3 * i], ends[3 * i + 1], ends[3 * i + 2]
        outcome = search(memory, nodes, start, b, c, d)
        if outcome == OVERLAP:
            return i
        holds[i] = outcome != DEPENDENT
        start = d
    return -1


@compiled("void(int32[::1], int32[::1], int64[::1], int64[::1])")
def spread(memory, observed, rose, fell):
    """Let up to 64 searches, a bit each, run to their ends from the nodes where ``rose`` is set.

    Bits are added to ``rose[v]`` of searches that enter node v against an arrow, to ``fell[v]`` of
    those that enter it along one.
    """
    n, base = memory[1], memory[3]
    net = memory[base + 4 * n :]
    flags, queue = np.zeros(n, np.int32), np.empty(n, np.int32)
    for v in observed:
        flags[v] = OBSERVED
    head, waiting = 0, 0
    for v in range(n):
        if rose[v]:
            flags[v] |= QUEUED
            queue[waiting] = v
            waiting += 1
    while waiting:
        v = queue[head]
        head = (head + 1) % n
        waiting -= 1
        flags[v] &= ~QUEUED
        upward = rose[v] | (fell[v] if flags[v] & OBSERVED else 0)
        downward = 0 if flags[v] & OBSERVED else rose[v] | fell[v]
        for k in range(net[2 * v], net[2 * v + 2]):
            u = net[k]
            if k < net[2 * v + 1]:
                added = 0 if flags[u] & OBSERVED else upward & ~rose[u]
                rose[u] |= added
            else:
                added = downward & ~fell[u]
                fell[u] |= added
            if added and not flags[u] & QUEUED:
                flags[u] |= QUEUED
                queue[(head + waiting) % n] = u
                waiting += 1


@compiled("void(int32[::1], int32[::1], boolean[:, ::1])")
def fill_matrix(memory, observed, matrix):
    """Mark for every node that is not observed what depends on it."""
    n = memory[1]
    free = np.ones(n, np.bool_)
    for v in observed:
        free[v] = False
    rose, fell = np.empty(n, np.int64), np.empty(n, np.int64)
    for first in range(0, n, 64):
        rose[:], fell[:] = 0, 0
        last = min(first + 64, n)
        for v in range(first, last):
            if free[v]:
                rose[v] = 1 << (v - first)
        spread(memory, observed, rose, fell)
        for v in range(first, last):
            for u in range(n):
                matrix[v, u] = free[u] and ((rose[u] | fell[u]) >> (v - first)) & 1


@compiled("int32[::1](int64, int32[::1], int32[::1], boolean)")
def build(n, tails, heads, directed):
    """The memory of a graph with these edges; an undirected one names each edge both ways."""
    base = HEADER + (6 * n if n <= SMALL else 0)
    memory = np.zeros(base + 6 * n + 1 + tails.size * (2 if directed else 1), np.int32)
    memory[1], memory[2], memory[3] = n, directed, base
    cursor, net = memory[base + n : base + 3 * n], memory[base + 4 * n :]
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
    if base > HEADER:
        _fill_sets(memory[HEADER:base].view(np.int64), n, tails, heads, directed)
    return memory


@compiled("int32[::1](int32[::1])")
def find_cycle(memory):
    """The nodes of a directed cycle, each after its child; empty when there is none."""
    n, base = memory[1], memory[3]
    waiting, queue = np.zeros(n, np.int32), memory[base + n : base + 3 * n]
    net = memory[base + 4 * n :]
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
