"""What a picture for a screen shows: boxes, lines and plates as numbers, for SVG and for pages.

Places are those of :mod:`graphs.pictures.layout`, so that a page, a notebook and matplotlib draw
the same picture. Here y grows downwards, as on a screen. A node may have rows below its name, for
the bars of its states.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import numpy.typing as npt

from graphs.language.notation import Node
from graphs.pictures.arcs import bent
from graphs.pictures.columns import arranged
from graphs.pictures.layout import Edge, Places, Point, Routes
from graphs.pictures.plates import Plate, make_room
from graphs.pictures.shapes import FONT_SIZE, HEAD, HEIGHT, RING, between, headed, label_lines
from graphs.structure.edges import edges

ROW, WIDE = 13.0, 124.0
MOST_ROWS = 4
FLAT = 0.2  # how far a line may lie from its points, in points
HEADS = {"->": 1, "<->": 2, "--": 0}

Joined = tuple[Node, str, Node]


class Layout(NamedTuple):
    """Where everything stands.

    Attributes:
        places: centres of the nodes.
        sizes: width and height of every node.
        lines: the text of every name, on one line or two.
        routes: points that edges are drawn through.
        plates: boxes around repeated nodes.
        unboxed: the plates that no box can show.
    """

    places: Places
    sizes: dict[Node, Point]
    lines: dict[Node, list[str]]
    routes: Routes
    plates: list[Plate]
    unboxed: list[str]


class Line(NamedTuple):
    """An edge as it is drawn: its kind, its line and the corners of its heads."""

    tail: Node
    sign: str
    head: Node
    line: npt.NDArray[Any]
    heads: list[npt.NDArray[Any]]


def lay_out(graph: nx.Graph, rows: Mapping[Node, int] | None = None) -> Layout:
    """Places for the nodes of any graph, with plates where nodes have an attribute ``plates``.

    Args:
        graph: directed, undirected or mixed.
        rows: how many rows a node has below its name.
    """
    rows = rows or {}
    lines = {v: label_lines(str(v) or '""') for v in graph}
    sizes = {v: _size(lines[v], rows.get(v, 0)) for v in graph}
    widths = {v: width for v, (width, _) in sizes.items()}
    tallest = max((height for _, height in sizes.values()), default=HEIGHT)
    places, routes = arranged(graph, _arrows(graph), widths, HEIGHT)
    stretch = (tallest + 1.2 * HEIGHT) / (2.2 * HEIGHT)
    places = {v: (x, -y * stretch) for v, (x, y) in places.items()}
    routes = {e: [(x, -y * stretch) for x, y in points] for e, points in routes.items()}
    plates = {v: tuple(map(str, found)) for v, found in graph.nodes(data="plates") if found}
    moved, boxes, unboxed = make_room(places, sizes, plates)
    layout = Layout(moved, sizes, lines, routes, boxes, unboxed)
    return _rerouted(layout, {v for v in places if moved[v] != places[v]}, places)


def _size(lines: Sequence[str], rows: int) -> Point:
    size = FONT_SIZE if len(lines) == 1 else 0.75 * FONT_SIZE
    width = max(HEIGHT, max(_width(line) for line in lines) * size + 0.75 * HEIGHT)
    return (max(width, WIDE), HEIGHT + ROW * min(rows, MOST_ROWS) + 4) if rows else (width, HEIGHT)


def _width(text: str) -> float:
    """About how wide a text is in a common sans-serif font, in ems."""
    return sum(_character(c) for c in text)


def _character(c: str) -> float:
    if unicodedata.combining(c):
        return 0.0
    if unicodedata.east_asian_width(c) in "WF":
        return 1.0
    if c in "iIjl.,:;'|!()[]{}ftr-· ":
        return 0.36
    return 0.92 if c in "mwMW@%…" else 0.68 if c.isupper() else 0.58


def _arrows(graph: nx.Graph) -> nx.Graph:
    """The graph without what has no place in a layout: two heads, both directions, attributes."""
    plain: nx.Graph = nx.DiGraph() if graph.is_directed() else nx.Graph()
    plain.add_nodes_from(graph)
    for u, sign, v in edges(graph):
        if sign != "<->" and not plain.has_edge(v, u):
            plain.add_edge(u, v)
    return plain


def _rerouted(layout: Layout, moved: set[Node], before: Places) -> Layout:
    """The layout with bends that followed their ends, or no bends where the ends parted."""
    routes: Routes = {}
    for (u, v), points in layout.routes.items():
        if u in moved or v in moved:
            shift, other = (np.subtract(layout.places[w], before[w]) for w in (u, v))
            if not np.allclose(shift, other):
                continue
            points = [(x + shift[0], y + shift[1]) for x, y in points]
        routes[u, v] = points
    return layout._replace(routes=routes)


def displaced(layout: Layout, moved: Mapping[Node, Point]) -> Layout:
    """The layout with some nodes elsewhere; the plates stretch with their members."""
    moved = {v: place for v, place in moved.items() if v in layout.places}
    if not moved:
        return layout
    places = layout.places | dict(moved)
    boxes = [_stretched(box, layout, places) for box in layout.plates]
    return _rerouted(layout._replace(places=places, plates=boxes), set(moved), layout.places)


def _stretched(box: Plate, layout: Layout, places: Places) -> Plate:
    """The box with the margins around its members that it had."""

    def extent(where: Places) -> npt.NDArray[Any]:
        centres = np.array([where[v] for v in box.members])
        halves = np.array([layout.sizes[v] for v in box.members]) / 2
        return np.array([(centres - halves).min(0), (centres + halves).max(0)])

    half = np.array([box.width, box.height]) / 2
    corners = np.array([(box.x, box.y) - half, (box.x, box.y) + half])
    corners += extent(places) - extent(layout.places)
    (x, y), (width, height) = corners.mean(0).tolist(), (corners[1] - corners[0]).tolist()
    return box._replace(x=x, y=y, width=width, height=height)


def drawn(layout: Layout, joined: Iterable[Joined]) -> list[Line]:
    """The edges, each around the nodes that it does not join."""
    joined = list(joined)
    lines = []
    for (u, sign, v), points in zip(joined, _routed(layout, joined), strict=True):
        line = between(points, [layout.sizes[u], layout.sizes[v]], [RING * 0.4] * 2)
        heads = []
        for _ in range(HEADS[sign]):
            line, head = headed(line, HEAD)
            line = line[::-1]
            heads.append(np.array(head))
        if HEADS[sign] == 1:
            line = line[::-1]
        lines.append(Line(u, sign, v, simplified(line), heads))
    return lines


def _routed(layout: Layout, joined: Sequence[Joined]) -> list[list[Point]]:
    routes = []
    for u, sign, v in joined:
        known = layout.routes.get((u, v)) or [*reversed(layout.routes.get((v, u), ()))]
        straight = known or [layout.places[u], layout.places[v]]
        if sign == "<->" or (not known and _passes(layout, (u, v))):
            widths = {w: width for w, (width, _) in layout.sizes.items()}
            height = max(height for _, height in layout.sizes.values())
            straight = bent([(u, v)], layout.places, widths, height)[u, v]
        routes.append(straight)
    return routes


def _passes(layout: Layout, ends: Edge) -> bool:
    """Whether a straight line between two nodes passes over another."""
    others = [w for w in layout.places if w not in ends]
    if not others:
        return False
    start, end = (np.array(layout.places[v]) for v in ends)
    points = start + np.linspace(0, 1, 41)[:, None] * (end - start)
    centres = np.array([layout.places[w] for w in others])
    reach = np.array([layout.sizes[w] for w in others]) / 2 + 2
    return bool((np.abs(points[:, None] - centres) <= reach).all(2).any())


def simplified(line: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The corners of a line that matter: all others lie within a hair of it (Douglas-Peucker)."""
    keep, spans = {0, len(line) - 1}, [(0, len(line) - 1)]
    while spans:
        i, j = spans.pop()
        along = line[j] - line[i]
        offsets = line[i + 1 : j] - line[i]
        if not len(offsets):
            continue
        across = np.abs(offsets[:, 0] * along[1] - offsets[:, 1] * along[0])
        far = across / max(float(np.hypot(*along)), 1e-9)
        if far.max() > FLAT:
            k = i + 1 + int(far.argmax())
            keep.add(k)
            spans += [(i, k), (k, j)]
    return line[sorted(keep)]


def bounds(layout: Layout, lines: Sequence[Line]) -> tuple[float, float, float, float]:
    """Left, top, width and height of all there is, with a margin."""
    boxes = [(*layout.places[v], *layout.sizes[v]) for v in layout.places]
    boxes += [(p.x, p.y, p.width, p.height) for p in layout.plates]
    corners = [np.array([(x + s * w / 2, y + s * h / 2) for x, y, w, h in boxes]) for s in (-1, 1)]
    points = (
        np.concatenate([*corners, *(found.line for found in lines)]) if boxes else np.zeros((1, 2))
    )
    low, high = points.min(0) - HEIGHT / 2, points.max(0) + HEIGHT / 2
    (left, top), (width, height) = low.tolist(), (high - low).tolist()
    return left, top, width, height
