r"""Places for the nodes of a large undirected graph.

The distances on paper are to be those along the edges,

.. math:: \min_x \sum_{i<j} d_{ij}^{-2} (\lVert x_i - x_j \rVert - d_{ij})^2,

which majorization decreases step by step (Gansner, Koren and North 2004), from the places of
classical scaling. Then nodes that overlap are pushed apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from graphs.language.notation import Node

Array = npt.NDArray[Any]

STEPS, PUSHES, ENOUGH, ROOM = 120, 150, 1e-4, 2.5


def springs(
    graph: nx.Graph, widths: Mapping[Node, float], height: float, gap: float, length: float
) -> dict[Node, tuple[float, float]]:
    """Centres of the nodes of a connected undirected graph.

    Args:
        graph: connected and undirected.
        widths, height: of the nodes.
        gap: between two nodes.
        length: of an edge, where there is room.
    """
    from scipy.sparse.csgraph import shortest_path

    distances = shortest_path(nx.to_scipy_sparse_array(graph), directed=False, unweighted=True)
    places = majorized(distances, _scaled(distances)) * length
    boxes = np.array([(widths[v] + gap, height + gap) for v in graph])
    area = np.prod(np.ptp(places, 0) + boxes.max(0))
    places *= max(1.0, float(np.sqrt(ROOM * boxes.prod(1).sum() / area)))
    found = apart(places, boxes).tolist()
    return {v: (x, y) for v, (x, y) in zip(graph, found, strict=True)}


def _scaled(distances: Array) -> Array:
    """Classical scaling (Torgerson 1952); a little noise parts nodes of the same distances."""
    squares = distances**2
    centred = squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(0), range(len(vectors))])
    places = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    return places + np.random.default_rng(0).normal(0, 0.1, places.shape)


def majorized(distances: Array, places: Array) -> Array:
    """The places at which the stress hardly falls any more."""
    weights = distances + np.eye(len(distances))
    weights = weights**-2.0 - np.eye(len(distances))
    inverse = np.linalg.pinv(_laplacian(weights), hermitian=True)
    before = np.inf
    for _ in range(STEPS):
        now = _between(places)
        stress = float((weights * (now - distances) ** 2).sum())
        if before - stress < ENOUGH * stress:
            break
        before = stress
        ratio = weights * distances / np.maximum(now, 1e-9)
        places = inverse @ (_laplacian(ratio) @ places)
    return places


def _laplacian(weights: Array) -> Array:
    return np.diag(weights.sum(1)) - weights


def _between(places: Array) -> Array:
    x, y = (axis[:, None] - axis for axis in places.T)
    return np.hypot(x, y)


def apart(places: Array, boxes: Array) -> Array:
    """The places with boxes pushed apart until none overlap, or for long enough.

    Two that overlap part along the axis on which they have less far to go, half the way each.
    """
    places = places.copy()
    reach = (boxes[:, None] + boxes) / 2
    itself = np.eye(len(boxes), dtype=bool)
    order = np.sign(np.arange(len(boxes))[:, None] - np.arange(len(boxes)))
    for _ in range(PUSHES):
        offsets = places[:, None] - places
        missing = reach - np.abs(offsets)
        over = (missing > 1e-6).all(2) & ~itself
        if not over.any():
            break
        across = missing[..., 0] < missing[..., 1]
        for axis, chosen in enumerate((across, ~across)):
            way = np.where(offsets[..., axis] == 0, order, np.sign(offsets[..., axis]))
            pushed = np.where(over & chosen, way * missing[..., axis], 0) / 2
            crowd = np.maximum((over & chosen).sum(1), 1)
            places[:, axis] += 1.05 * pushed.sum(1) / np.sqrt(crowd)
    return places
