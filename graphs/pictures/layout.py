r"""Where to draw the nodes of a graph: layers for arrows, springs for lines.

A DAG is drawn in four steps (Sugiyama, Tagawa and Toda 1981). *Layers*: every arrow points down,
and the arrows are as short as that allows. *Bends*: an arrow over several layers gets an invisible
node in each. *Order*: of the orders that sweeps sorting each layer by the mean place of its
neighbours go through, the one with the fewest crossings. *Places*: with the order fixed,

.. math:: \min_x \sum_{(u,v)} w_{uv} (x_u - x_v)^2
          \quad\text{such that}\quad x_{i+1} - x_i \ge \text{room for both},

layer by layer, each of which is an isotonic regression; large weights between bends make long
arrows straight. An undirected graph is placed by its shortest-path distances (Kamada and Kawai
1989), of several local optima the least cluttered, and spread until no two nodes overlap; a large
one as :mod:`graphs.pictures.springs` says.
Components stand side by side and, where that makes a ribbon, on shelves one below the other.
Lengths are in points.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, combinations, pairwise
from typing import Any, NamedTuple, TypeAlias

import networkx as nx

from graphs.language.notation import Node

Point: TypeAlias = tuple[float, float]
Edge: TypeAlias = tuple[Node, Node]
Places: TypeAlias = dict[Node, Point]
Routes: TypeAlias = dict[Edge, list[Point]]

NODE_GAP, LAYER_GAP, BEND_WIDTH, SPRING = 0.8, 1.2, 0.3, 2.6  # in heights of a node
STEEPEST = 2.0
SWEEPS, RELAXATIONS = 16, 60
COUNTED, RESTARTS, MOST_TRIED = 400, 6, 60
ASPECT, RIBBON, MOST_SHELVES = 2.0, 6.0, 60  # of width to height; beyond a ribbon there are shelves


class Box(NamedTuple):
    """What a component fills; y grows upwards."""

    left: float
    top: float
    right: float
    bottom: float


class Shelves(NamedTuple):
    """The upper left corners of boxes, and the size of all together."""

    corners: list[Point]
    width: float
    height: float


def arrange(graph: nx.Graph, widths: Mapping[Node, float], height: float) -> tuple[Places, Routes]:
    """Centres of the nodes, and for every edge the points it is drawn through.

    Args:
        graph: a directed graph, in which cycles are broken for the layout only, or an undirected
            one.
        widths: the width of every node.
        height: the height of all nodes.
    """
    places: Places = {}
    routes: Routes = {}
    directed = graph.is_directed()
    components = nx.weakly_connected_components if directed else nx.connected_components
    rank = {v: i for i, v in enumerate(graph)}
    parts: list[tuple[Places, Routes]] = []
    for members in sorted(components(graph), key=lambda c: (-len(c), min(rank[v] for v in c))):
        part = nx.DiGraph() if directed else nx.Graph()
        part.add_nodes_from(sorted(members, key=rank.__getitem__))
        part.add_edges_from(graph.edges(part))
        where, through = (_layered if directed else _sprung)(part, widths, height)
        parts.append((where, through))
    boxes = [_box(where, widths, height) for where, _ in parts]
    for (where, through), (dx, dy) in zip(parts, _shelved(boxes, height), strict=True):
        places |= {v: (x + dx, y + dy) for v, (x, y) in where.items()}
        routes |= {e: [(x + dx, y + dy) for x, y in points] for e, points in through.items()}
    return places, routes


def _box(where: Places, widths: Mapping[Node, float], height: float) -> Box:
    return Box(
        min(x - widths[v] / 2 for v, (x, _) in where.items()),
        max(y for _, y in where.values()) + height / 2,
        max(x + widths[v] / 2 for v, (x, _) in where.items()),
        min(y for _, y in where.values()) - height / 2,
    )


def _shelved(boxes: Sequence[Box], height: float) -> list[Point]:
    """How far every component moves, for all to stand side by side or on shelves."""
    gap, below = 2 * NODE_GAP * height, LAYER_GAP * height
    sizes = [(box.right - box.left + gap, box.top - box.bottom + below) for box in boxes]
    ribbon = sum(width for width, _ in sizes)
    if ribbon <= RIBBON * max((tall for _, tall in sizes), default=0.0):
        starts = accumulate((width for width, _ in sizes), initial=0.0)
        return [(start - box.left, 0.0) for start, box in zip(starts, boxes, strict=False)]
    widest = max(width for width, _ in sizes)
    tries = [max(widest, ribbon / k) for k in range(1, MOST_SHELVES)]
    shelves = (_filled(sizes, most) for most in dict.fromkeys(tries))
    best = min(shelves, key=lambda found: abs(math.log(found.width / found.height / ASPECT)))
    return [(x - box.left, y - box.top) for (x, y), box in zip(best.corners, boxes, strict=True)]


def _filled(sizes: Sequence[Point], most: float) -> Shelves:
    """Boxes in their order on shelves of a width."""
    x = y = tallest = width = 0.0
    corners: list[Point] = []
    for wide, tall in sizes:
        if x and x + wide > most * (1 + 1e-9):
            x, y, tallest = 0.0, y - tallest, 0.0
        corners.append((x, y))
        x, tallest = x + wide, max(tallest, tall)
        width = max(width, x)
    return Shelves(corners, width, tallest - y)


# --- Lines --------------------------------------------------------------------------------------


def _sprung(graph: nx.Graph, widths: Mapping[Node, float], height: float) -> tuple[Places, Routes]:
    if len(graph) == 1:
        return dict.fromkeys(graph, (0.0, 0.0)), {}
    if len(graph) > MOST_TRIED:
        from graphs.pictures.springs import springs

        found = springs(graph, widths, height, NODE_GAP * height, SPRING * height)
        return found, {(u, v): [found[u], found[v]] for u, v in graph.edges}
    places = min(
        (
            _spread(graph, nx.kamada_kawai_layout(graph, pos=pos), widths, height)
            for pos in _starts(graph)
        ),
        key=lambda found: _clutter(graph, found, height) if graph.size() <= COUNTED else 0,
    )
    return places, {(u, v): [places[u], places[v]] for u, v in graph.edges}


def _starts(graph: nx.Graph) -> Iterator[Places]:
    """Where the springs may start from; the search for their rest finds the nearest one."""
    yield nx.circular_layout(graph)
    if graph.size() <= COUNTED:
        if nx.is_planar(graph):
            yield nx.planar_layout(graph)
        order = list(graph)
        shuffle = random.Random(0).shuffle
        for _ in range(RESTARTS):
            shuffle(order)
            yield nx.circular_layout(order)


def _spread(
    graph: nx.Graph,
    where: Mapping[Node, Sequence[float]],
    widths: Mapping[Node, float],
    height: float,
) -> Places:
    """The places on a scale that suits the edges and lets no two nodes overlap."""
    lengths = [math.dist(where[u], where[v]) for u, v in graph.edges]
    scale = SPRING * height * len(lengths) / sum(lengths)
    for u, v in combinations(graph, 2):
        dx, dy = (abs(a - b) for a, b in zip(where[u], where[v], strict=True))
        room = (widths[u] + widths[v]) / 2 + NODE_GAP * height
        needed = min(room / max(dx, 1e-9), (1 + NODE_GAP) * height / max(dy, 1e-9))
        scale = max(scale, min(needed, 50 * height))
    return {v: (float(x) * scale, float(y) * scale) for v, (x, y) in where.items()}


def _clutter(graph: nx.Graph, places: Places, height: float) -> int:
    """How many pairs of edges cross, and thrice how many edges touch a node on their way."""

    def turn(a: Node, b: Node, c: Node) -> float:
        (ax, ay), (bx, by), (cx, cy) = places[a], places[b], places[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    crossings = sum(
        (turn(a, b, c) > 0) != (turn(a, b, d) > 0) and (turn(c, d, a) > 0) != (turn(c, d, b) > 0)
        for (a, b), (c, d) in combinations(graph.edges, 2)
        if len({a, b, c, d}) == 4
    )
    touches = 0
    for a, b in graph.edges:
        length = math.dist(places[a], places[b])
        for v in graph:
            near = abs(turn(a, b, v)) < 0.7 * height * length
            if (
                near
                and math.dist(places[a], places[v]) + math.dist(places[v], places[b]) < 1.1 * length
            ):
                touches += v not in (a, b)
    return crossings + 3 * touches


# --- Arrows -------------------------------------------------------------------------------------


def _layered(
    graph: nx.DiGraph, widths: Mapping[Node, float], height: float
) -> tuple[Places, Routes]:
    depth = _depths(_without_cycles(graph))
    chains: dict[Edge, list[Node]] = {}
    room = dict(widths)
    for u, v in graph.edges:
        step = 1 if depth[v] > depth[u] else -1
        between: list[Node] = [object() for _ in range(abs(depth[v] - depth[u]) - 1)]
        chains[u, v] = [u, *between, v]
        for i, bend in enumerate(between, start=1):
            depth[bend] = depth[u] + step * i
            room[bend] = BEND_WIDTH * height
    near: dict[Node, list[Node]] = {v: [] for v in depth}
    for chain in chains.values():
        for u, v in pairwise(chain):
            near[u].append(v)
            near[v].append(u)
    layers = _ordered(depth, near)
    gap = NODE_GAP * height
    across = _placed(layers, near, {v: room[v] + gap for v in depth}, set(graph))
    down = [0.0]
    for upper in layers[:-1]:
        least = (1 + LAYER_GAP) * height
        # a flat arrow would pass behind its neighbours in the layer
        flat = [
            1.5 * abs(across[u] - across[v]) * height / (min(room[u], room[v]) + 2 * gap)
            for u in upper
            for v in near[u]
            if depth[v] > depth[u] and u in widths and v in widths
        ]
        down.append(down[-1] - min(max([least, *flat]), STEEPEST * least))
    where = {v: (across[v], down[depth[v]]) for v in depth}
    routes = {edge: [where[v] for v in chain] for edge, chain in chains.items()}
    return {v: where[v] for v in graph}, routes


def _without_cycles(graph: nx.DiGraph) -> nx.DiGraph:
    """The graph with arrows turned so that none closes a cycle."""
    rank = {v: i for i, v in enumerate(graph)}
    acyclic = nx.DiGraph()
    acyclic.add_nodes_from(graph)
    if nx.is_directed_acyclic_graph(graph):
        acyclic.add_edges_from(graph.edges)
    else:
        acyclic.add_edges_from(sorted(edge, key=rank.__getitem__) for edge in graph.edges)
    return acyclic


def _depths(dag: nx.DiGraph) -> dict[Node, int]:
    """Whole numbers that grow along every arrow and make the arrows shortest in total.

    The constraints are totally unimodular, so the linear program has a whole solution (Gansner,
    Koutsofios, North and Vo 1993).
    """
    if not dag.size():
        return dict.fromkeys(dag, 0)
    from scipy.optimize import linprog

    incidence = nx.incidence_matrix(dag, oriented=True)
    solution: Any = linprog(incidence.sum(axis=1), A_ub=-incidence.T, b_ub=[-1.0] * dag.size())
    return {v: round(step) for v, step in zip(dag, solution.x - solution.x.min(), strict=True)}


def _ordered(depth: Mapping[Node, int], near: Mapping[Node, Sequence[Node]]) -> list[list[Node]]:
    layers: list[list[Node]] = [[] for _ in range(max(depth.values()) + 1)]
    seen: set[Node] = set()
    for start in sorted(depth, key=depth.__getitem__):
        stack = [start]
        while stack:
            v = stack.pop()
            if v not in seen:
                seen.add(v)
                layers[depth[v]].append(v)
                stack += reversed(near[v])
    best, fewest = layers, _crossings(layers, near)
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        numbers = range(1, len(layers)) if downward else range(len(layers) - 2, -1, -1)
        for i in numbers:
            fixed = {v: j for j, v in enumerate(layers[i - 1 if downward else i + 1])}
            own = {v: j for j, v in enumerate(layers[i])}
            mean = {}
            for v in layers[i]:
                found = [fixed[u] for u in near[v] if u in fixed]
                mean[v] = sum(found) / len(found) if found else float(own[v])
            layers[i].sort(key=mean.__getitem__)
        _swap(layers, near)
        crossings = _crossings(layers, near)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _swap(layers: list[list[Node]], near: Mapping[Node, Sequence[Node]]) -> None:
    """Exchange neighbours in a layer while that removes crossings."""
    for i, layer in enumerate(layers):
        beside = [k for k in (i - 1, i + 1) if 0 <= k < len(layers)]
        place = {v: j for k in beside for j, v in enumerate(layers[k])}
        level = {v: k for k in beside for v in layers[k]}
        for j in range(len(layer) - 1):
            u, v = layer[j], layer[j + 1]
            pairs = [(a, b) for a in near[u] for b in near[v] if level[a] == level[b]]
            gain = sum((place[a] > place[b]) - (place[a] < place[b]) for a, b in pairs)
            if gain > 0:
                layer[j], layer[j + 1] = v, u


def _crossings(layers: Sequence[Sequence[Node]], near: Mapping[Node, Sequence[Node]]) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        place = {v: j for j, v in enumerate(lower)}
        ends: list[int] = []
        for u in upper:
            mine = [place[v] for v in near[u] if v in place]
            total += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return total


def _placed(
    layers: Sequence[Sequence[Node]],
    near: Mapping[Node, Sequence[Node]],
    room: Mapping[Node, float],
    real: set[Node],
) -> dict[Node, float]:
    """Places within the layers, in their order, with room for every node and arrows upright."""
    across: dict[Node, float] = {}
    for layer in layers:
        edge = 0.0
        for v in layer:
            across[v] = edge + room[v] / 2
            edge += room[v]
        for v in layer:
            across[v] -= edge / 2
    weight = {(u, v): (1, 2, 8)[(u not in real) + (v not in real)] for u in near for v in near[u]}
    for sweep in range(RELAXATIONS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            pulls = [sum(weight[v, u] for u in near[v]) for v in layer]
            wanted = [
                sum(weight[v, u] * across[u] for u in near[v]) / pull if pull else across[v]
                for v, pull in zip(layer, pulls, strict=True)
            ]
            offsets = [0.0]
            for u, v in pairwise(layer):
                offsets.append(offsets[-1] + (room[u] + room[v]) / 2)
            free = [w - o for w, o in zip(wanted, offsets, strict=True)]
            for v, x, o in zip(layer, _isotonic(free, pulls), offsets, strict=True):
                across[v] = x + o
    return across


def _isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nearest non-decreasing sequence in weighted squares, by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        block = (value, max(weight, 1e-3), 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, mass, size = blocks.pop()
            total = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / total, total, size + block[2])
        blocks.append(block)
    return [mean for mean, _, size in blocks for _ in range(size)]
