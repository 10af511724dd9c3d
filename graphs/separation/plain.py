"""Bayes-ball on lists and sets, for the first questions of a process.

The rules are those of :mod:`graphs.separation.kernels`, and so are the answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from graphs.compiling import Budget
from graphs.structure.search import reach

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

OVERLAP, DEPENDENT, INDEPENDENT = -1, 0, 1
QUERY = 10  # what a query costs beside the nodes it visits
BUDGET = Budget(1_000_000)  # nodes and edges visited: about half a second


class PlainBall:
    """A graph on the nodes 0, ..., size - 1, to be asked.

    Args:
        size: how many nodes there are.
        tails, heads: the edges; an undirected graph names each both ways.
        directed: whether they are arrows.

    Attributes:
        at_once: how many queries of a batch to answer before the work is counted.
    """

    at_once = 16

    def __init__(self, size: int, tails: Sequence[int], heads: Sequence[int], directed: bool):
        self.size, self.directed = size, directed
        self.tails, self.heads = tails, heads
        self._parents: list[list[int]] = [[] for _ in range(size)]
        self._children: list[list[int]] = [[] for _ in range(size)]
        for tail, head in zip(tails, heads, strict=True):
            self._parents[head].append(tail)
            if directed:
                self._children[tail].append(head)
        self._visited = 0

    def spent(self) -> int:
        """Nodes visited since this was asked last."""
        visited, self._visited = self._visited, 0
        return visited

    def outcome(self, x: Iterable[int], y: Iterable[int], given: Iterable[int]) -> int:
        """Whether ``given`` separates x from y: a code as in the kernels."""
        starts, targets, observed = set(x), set(y), set(given)
        if not (starts.isdisjoint(targets) and observed.isdisjoint(starts | targets)):
            return OVERLAP
        parents, children = self._parents, self._children
        relevant: set[int] = set()
        if self.directed:
            relevant = reach(parents.__getitem__, starts | targets | observed)
        rose, fell = set(starts), set[int]()
        waiting = [(v, True) for v in starts]
        self._visited += len(relevant)
        while waiting:
            v, rising = waiting.pop()
            self._visited += 1
            if rising or v in observed:
                above = [u for u in parents[v] if u not in rose and u not in observed]
                if not targets.isdisjoint(above):
                    return DEPENDENT
                rose.update(above)
                waiting += [(u, True) for u in above]
            if v not in observed:
                below = [u for u in children[v] if u in relevant and u not in fell]
                if not targets.isdisjoint(below):
                    return DEPENDENT
                fell.update(below)
                waiting += [(u, False) for u in below]
        return INDEPENDENT

    def answer_many(
        self,
        nodes: npt.NDArray[np.int32],
        ends: npt.NDArray[np.int64],
        holds: npt.NDArray[np.bool_],
    ) -> int:
        """As the kernel of this name."""
        numbers, bounds = nodes.tolist(), [0, *ends.tolist()]
        for i in range(len(holds)):
            a, b, c, d = bounds[3 * i : 3 * i + 4]
            outcome = self.outcome(numbers[a:b], numbers[b:c], numbers[c:d])
            if outcome == OVERLAP:
                return i
            holds[i] = outcome != DEPENDENT
        return -1

    def reached(self, start: Iterable[int], observed: Iterable[int]) -> list[int]:
        """The nodes that a ball from some node of ``start`` enters, and these."""
        rose = [0] * self.size
        for v in start:
            rose[v] = 1
        return [v for v, entered in enumerate(self._spread(rose, set(observed))) if entered]

    def matrix(self, observed: Iterable[int]) -> npt.NDArray[np.bool_]:
        """Which pairs of nodes depend on each other, none of them observed."""
        import numpy as np

        hidden, width = set(observed), (self.size + 7) // 8
        starts = [0 if v in hidden else 1 << v for v in range(self.size)]
        entered = self._spread(starts, hidden)
        rows = [0 if v in hidden else searches for v, searches in enumerate(entered)]
        text = b"".join(searches.to_bytes(width, "little") for searches in rows)
        packed = np.frombuffer(text, np.uint8).reshape(self.size, width)
        return np.unpackbits(packed, axis=1, count=self.size, bitorder="little").view(np.bool_)

    def _spread(self, rose: list[int], observed: set[int]) -> list[int]:
        """Let searches, a bit each, run to their ends; the searches that enter each node."""
        fell = [0] * self.size
        waiting = deque(v for v, searches in enumerate(rose) if searches)
        queued = set(waiting)
        while waiting:
            v = waiting.popleft()
            queued.discard(v)
            entered, seen = rose[v] | fell[v], v in observed
            steps = [] if seen else [(fell, u, entered) for u in self._children[v]]
            upward = entered if seen else rose[v]
            steps += [(rose, u, upward) for u in self._parents[v] if u not in observed]
            self._visited += 1 + len(steps)
            for side, u, searches in steps:
                if searches & ~side[u]:
                    side[u] |= searches
                    if u not in queued:
                        queued.add(u)
                        waiting.append(u)
        return [above | below for above, below in zip(rose, fell, strict=True)]

    def cycle(self) -> list[int]:
        """The nodes of a directed cycle, each after its child; empty when there is none."""
        waiting = list(map(len, self._parents))
        ready = [v for v, count in enumerate(waiting) if not count]
        while ready:
            for u in self._children[ready.pop()]:
                waiting[u] -= 1
                if not waiting[u]:
                    ready.append(u)
        if not any(waiting):
            return []
        # every node left has a parent left: going up, the second visit to a node closes a cycle
        v = waiting.index(max(waiting))
        places: dict[int, int] = {}
        while v not in places:
            places[v] = len(places)
            v = next(u for u in self._parents[v] if waiting[u])
        return list(places)[places[v] :]
