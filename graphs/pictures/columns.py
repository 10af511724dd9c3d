"""Where to draw a network in time: a column for each slice, a row for each variable."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import numpy as np

from graphs.language.notation import Node
from graphs.pictures.arcs import bent
from graphs.pictures.layout import LAYER_GAP, NODE_GAP, Places, Routes, arrange

SAMPLES, CLEAR = 40, 2.0


def arranged(
    graph: nx.Graph, arrows: nx.Graph, widths: Mapping[Node, float], height: float
) -> tuple[Places, Routes]:
    """In columns if the graph is a network in time, else as any graph.

    Args:
        graph: with its attributes.
        arrows: the same with one edge between two nodes.
        widths: the width of every node.
        height: the height of all nodes.
    """
    slices = slices_of(graph)
    if slices is None:
        return arrange(arrows, widths, height)
    variable = dict(graph.nodes(data="variable"))
    return in_columns(arrows, variable, slices, widths, height)


def slices_of(graph: nx.Graph) -> dict[Node, int | None] | None:
    """The slice of every node of an unrolled network; ``None`` for other graphs."""
    found = {v: data.get("slice", -1) for v, data in graph.nodes(data=True) if "variable" in data}
    if not graph.is_directed() or len(found) < len(graph) or -1 in found.values():
        return None
    return found if any(at is not None for at in found.values()) else None


def in_columns(
    arrows: nx.DiGraph,
    variable: Mapping[Node, Node],
    slices: Mapping[Node, int | None],
    widths: Mapping[Node, float],
    height: float,
) -> tuple[Places, Routes]:
    """Places and lines, as :func:`graphs.pictures.layout.arrange` gives them.

    Variables without time stand in a column of their own, on the left. Arrows within a slice point
    down where a slice has no other; a line that would cross a node is an arc around it.
    """
    order = nx.DiGraph()
    order.add_nodes_from(dict.fromkeys(variable.values()))
    order.add_edges_from(
        (variable[u], variable[v]) for u, v in arrows.edges if slices[u] == slices[v]
    )
    alike = nx.is_directed_acyclic_graph(order)
    rows = list(nx.lexicographical_topological_sort(order, list(order).index) if alike else order)
    moving = [v for v in rows if any(variable[n] == v and slices[n] is not None for n in arrows)]
    static = [v for v in rows if v not in moving]
    row = {v: i for part in (moving, static) for i, v in enumerate(part)}
    step = max(widths.values(), default=0.0) + 2 * NODE_GAP * height
    first = min(at for at in slices.values() if at is not None)
    places: Places = {}
    for node in arrows:
        at = slices[node]
        column = -1 if at is None else at - first
        places[node] = (column * step, -row[variable[node]] * (1 + LAYER_GAP) * height)
    routes: Routes = {}
    for u, v in arrows.edges:
        if _is_clear(places[u], places[v], {w: p for w, p in places.items() if w not in (u, v)},
                     widths, height):  # fmt: skip
            routes[u, v] = [places[u], places[v]]
        else:
            routes |= bent([(u, v)], places, widths, height)
    return places, routes


def _is_clear(
    start: tuple[float, float],
    end: tuple[float, float],
    others: Places,
    widths: Mapping[Node, float],
    height: float,
) -> bool:
    """Whether a straight line passes over no other node."""
    if not others:
        return True
    line = np.linspace(start, end, SAMPLES)
    centres = np.array(list(others.values()))
    reach = np.array([(widths[w] / 2 + CLEAR, height / 2 + CLEAR) for w in others])
    return not bool((np.abs(line[:, None] - centres) <= reach).all(axis=2).any())
