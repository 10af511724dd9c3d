"""Many queries and many edges as arrays, for :class:`graphs.Separation`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

NodeSets: TypeAlias = Sequence[Any] | npt.NDArray[np.integer]
Numbers: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]


def edge_ends(
    num_nodes: int, edge_array: npt.ArrayLike, directed: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Tails and heads of checked edges, each edge both ways where they are no arrows.

    Raises:
        ValueError: as :meth:`graphs.Separation.from_edges` does, but for cycles.
    """
    edges = np.asarray(edge_array)
    if edges.size == 0:
        edges = edges.reshape(0, 2).astype(np.int32)
    if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise ValueError(
            "expected an integer array of shape (edges, 2), got shape "
            f"{edges.shape} and type {edges.dtype}"
        )
    if len(edges) and not 0 <= edges.min() <= edges.max() < num_nodes:
        raise ValueError(
            f"expected edges between nodes 0 to {num_nodes - 1}, got "
            f"{edges.min() if edges.min() < 0 else edges.max()}"
        )
    tails, heads = (np.ascontiguousarray(edges[:, i], dtype=np.int32) for i in (0, 1))
    if not directed:
        if (loops := tails[tails == heads]).size:
            raise ValueError(f"expected a graph without self-loops, got {loops[0]} - {loops[0]}")
        tails, heads = np.concatenate((tails, heads)), np.concatenate((heads, tails))
    return tails, heads


def flattened(parts: Sequence[Numbers]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Queries one after the other: all nodes, and the sizes (queries, 3) of x, y and given."""
    sizes = np.stack([counts for _, counts in parts], axis=1)
    ends = sizes.cumsum()
    starts = (ends - sizes.ravel()).reshape(sizes.shape)
    flat = np.empty(int(sizes.sum()), np.int32)
    for role, (nodes, counts) in enumerate(parts):
        shift = starts[:, role] - (counts.cumsum() - counts)
        flat[np.repeat(shift, counts) + np.arange(len(nodes))] = nodes
    return flat, sizes


def numbered_range(sets: npt.NDArray[np.integer], count: int, role: str) -> Numbers:
    """Node sets given as numbers below ``count``, (queries,) or (queries, nodes per set).

    Raises:
        ValueError: another shape, a number that is no node.
    """
    if sets.size and not 0 <= sets.min() <= sets.max() < count:
        wrong = sets.min() if sets.min() < 0 else sets.max()
        raise ValueError(f"expected nodes 0 to {count - 1} for {role}, got {wrong}")
    if sets.ndim not in (1, 2):
        raise ValueError(
            "expected integers of shape (queries,) or (queries, nodes per set) for "
            f"{role}, got shape {sets.shape}"
        )
    width = 1 if sets.ndim == 1 else sets.shape[1]
    return sets.ravel().astype(np.int32), np.full(len(sets), width)


def numbered(sets: NodeSets, index: Mapping[Any, int], lists: Collection[type]) -> Numbers | None:
    """The numbers of all nodes named, and how many each set has; None for sets to be read singly.

    Args:
        sets: single nodes, or lists of them.
        index: the numbers of nodes.
        lists: the types that are lists of nodes, not nodes.
    """
    kinds = set(map(type, sets))
    try:
        if kinds <= set(lists):
            counts = np.fromiter(map(len, sets), np.int64, len(sets))
            named = map(index.__getitem__, chain.from_iterable(sets))
            return np.fromiter(named, np.int32, int(counts.sum())), counts
        if kinds.isdisjoint(lists):
            named = map(index.__getitem__, sets)
            return np.fromiter(named, np.int32, len(sets)), np.ones(len(sets), np.int64)
    except (KeyError, TypeError):
        pass
    return None


def gathered(sets: Sequence[Sequence[int]]) -> Numbers:
    """Numbers of nodes, set by set, as :func:`numbered` returns them."""
    counts = np.fromiter(map(len, sets), np.int64, len(sets))
    return np.fromiter(chain.from_iterable(sets), np.int32, int(counts.sum())), counts
