"""What pictures are made of: colours, sizes in points, names on lines, edges around nodes.

The colours are those of Okabe and Ito (2008), which colour-blind readers tell apart too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.pictures.layout import Point

FONT_SIZE = 11.0
HEIGHT = 2.2 * FONT_SIZE
HEAD = 0.38 * HEIGHT
RING = 0.16 * HEIGHT
MARGIN = 0.5 * HEIGHT
LINE_LENGTH = 14

PLAIN, ASKED, OBSERVED = "#FFFFFF", "#9FD3F2", "#C2C2C2"
INK, PATH, BLOCKER = "#333333", "#D55E00", "#009E73"


def label_lines(name: str) -> list[str]:
    """The name, split near its middle where it is long, and shortened where it is very long."""
    if len(name) <= LINE_LENGTH:
        return [name]
    middle = len(name) / 2
    breaks = [m.end() for m in re.finditer(r"[\s_\-.:/]+|(?<=[a-z])(?=[A-Z])", name)]
    inner = [at for at in breaks if 0.2 < at / len(name) < 0.8]
    at = min(inner, key=lambda end: abs(end - middle)) if inner else round(middle)
    return [
        part if len(part) <= 2 * LINE_LENGTH else part[: 2 * LINE_LENGTH - 1] + "…"
        for part in (name[:at].strip(), name[at:].strip())
    ]


def between(
    points: Sequence[Point], sizes: Sequence[Point], rims: Sequence[float]
) -> npt.NDArray[Any]:
    """A smooth line through the points, shape (samples, 2), outside the nodes at its ends.

    Args:
        points: from the centre of one node to that of the other.
        sizes: width and height of both nodes.
        rims: how far from each of them the line keeps.
    """
    corners = np.asarray(points, dtype=float)
    middles = (corners[:-1] + corners[1:]) / 2
    t = np.linspace(0, 1, 40)[:, None]
    pieces = [corners[0] + t * (middles[0] - corners[0])]
    for before, corner, after in zip(middles, corners[1:-1], middles[1:], strict=False):
        pieces.append((1 - t) ** 2 * before + 2 * t * (1 - t) * corner + t**2 * after)
    pieces.append(middles[-1] + t * (corners[-1] - middles[-1]))
    line = np.concatenate(pieces)
    keep = np.ones(len(line), dtype=bool)
    for centre, size, rim in zip(corners[[0, -1]], sizes, rims, strict=True):
        beyond = np.abs(line - centre) - (np.asarray(size) - HEIGHT) / 2
        keep &= np.hypot(*np.maximum(beyond, 0).T) > HEIGHT / 2 + rim
    return line[keep] if keep.sum() > 1 else line


def outline(place: Point, width: float, rim: float = 0.0) -> npt.NDArray[Any]:
    """The edge of a node, shape (corners, 2): a rectangle with a half disc at either end."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 30)
    right = (HEIGHT / 2 + rim) * np.column_stack([np.cos(angles), np.sin(angles)])
    right[:, 0] += (width - HEIGHT) / 2
    return np.concatenate([right, -right]) + place


def headed(
    line: npt.NDArray[Any], length: float
) -> tuple[npt.NDArray[Any], list[npt.NDArray[Any]]]:
    """The line up to the head at its end, and the corners of the head."""
    tip, line = line[-1], line[np.hypot(*(line - line[-1]).T) >= length]
    back = (line[-1] if len(line) else tip + (0, 1)) - tip
    back = back / np.hypot(*back) * length
    line = np.concatenate([line, [tip + 0.7 * back]])
    side = 0.38 * np.array([-back[1], back[0]])
    return line, [tip, tip + back + side, tip + 0.75 * back, tip + back - side]
