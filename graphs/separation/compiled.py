"""Bayes-ball in compiled code; :class:`graphs.separation.plain.PlainBall` does the same plain."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.separation import kernels

# called without numba's dispatcher, which would take longer to see that the types fit than a query
# of a small graph takes
ANSWER_ONE: Any = next(iter(kernels.answer_one.overloads.values())).entry_point


class CompiledBall:
    """A graph on the nodes 0, ..., size - 1, to be asked; arguments as of a ``PlainBall``.

    Attributes:
        memory: the graph and all working memory, for the kernels.
        scratch: the part of it that holds the nodes of a single query.
    """

    at_once = sys.maxsize

    def __init__(self, size: int, tails: Any, heads: Any, directed: bool):
        self.size = size
        edges = (np.ascontiguousarray(ends, np.int32) for ends in (tails, heads))
        self.memory = kernels.build(size, *edges, directed)
        end = int(self.memory[3]) + 4 * size
        self.scratch = memoryview(self.memory)[end - size : end]

    def outcome(self, x: list[int], y: list[int], given: list[int]) -> int:
        """As of a ``PlainBall``."""
        nodes = _array([*x, *y, *given])
        ends = len(x), len(x) + len(y), len(nodes)
        return int(kernels.search(self.memory, nodes, 0, *ends))

    def answer_many(
        self,
        nodes: npt.NDArray[np.int32],
        ends: npt.NDArray[np.int64],
        holds: npt.NDArray[np.bool_],
    ) -> int:
        """As the kernel of this name."""
        return int(kernels.answer_many(self.memory, nodes, ends, holds))

    def reached(self, start: Iterable[int], observed: Iterable[int]) -> list[int]:
        """As of a ``PlainBall``."""
        rose, fell = np.zeros((2, self.size), np.int64)
        rose[_array(start)] = 1
        kernels.spread(self.memory, _array(observed), rose, fell)
        return [int(v) for v in np.flatnonzero(rose | fell)]

    def matrix(self, observed: Iterable[int]) -> npt.NDArray[np.bool_]:
        """As of a ``PlainBall``."""
        matrix = np.empty((self.size,) * 2, np.bool_)
        kernels.fill_matrix(self.memory, _array(observed), matrix)
        return matrix

    def cycle(self) -> list[int]:
        """As of a ``PlainBall``."""
        return [int(v) for v in kernels.find_cycle(self.memory)]


def _array(nodes: Iterable[int]) -> npt.NDArray[np.int32]:
    return np.array(list(nodes), dtype=np.int32)
