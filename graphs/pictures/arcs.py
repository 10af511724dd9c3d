"""Arcs for the edges with two heads, beside the arrows of a picture and around its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from graphs.language.notation import Node
from graphs.pictures.layout import Edge, Places, Point, Routes

BENDS = (0.35, -0.35, 0.6, -0.6, 1.0, -1.0)  # of the distance between the ends
LEAST_BEND = 1.2  # in heights of a node
CLEAR, SAMPLES = 2.0, 40


def bent(
    pairs: Sequence[Edge], places: Places, widths: Mapping[Node, float], height: float
) -> Routes:
    """For every pair of nodes points along an arc that passes over as few nodes as can be."""
    return {(u, v): _arc(u, v, places, widths, height) for u, v in pairs}


def _arc(
    u: Node, v: Node, places: Places, widths: Mapping[Node, float], height: float
) -> list[Point]:
    start, end = np.array(places[u]), np.array(places[v])
    length = np.hypot(*(end - start))
    normal = np.array([start[1] - end[1], end[0] - start[0]]) / length
    others = [w for w in places if w not in (u, v)]
    centres = np.array([places[w] for w in others]).reshape(-1, 2)
    reach = np.array([(widths[w] / 2, height / 2) for w in others]).reshape(-1, 2)
    arcs: list[tuple[int, npt.NDArray[np.float64]]] = []
    for bend in BENDS:
        rise = np.sign(bend) * max(abs(bend) * length, LEAST_BEND * height)
        curve = _curve(start, (start + end) / 2 + rise * normal, end)
        over = np.abs(curve[:, None] - centres) <= reach + CLEAR
        arcs.append((int(over.all(axis=2).any(axis=0).sum()), curve))
    _, curve = min(arcs, key=lambda found: found[0])
    return [(float(x), float(y)) for x, y in curve]


def _curve(
    start: npt.NDArray[np.float64], corner: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Points of the parabola that leaves the start towards the corner; shape (samples, 2)."""
    t = np.linspace(0, 1, SAMPLES)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end
