"""Pictures of graphs, with the reason for an independence coloured.

Labels are outlines in the coordinates of the picture, so they stay inside their nodes at any size.
What a colour says, line width or a ring says again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx as nx
import numpy as np
import numpy.typing as npt

from graphs.language.notation import Node
from graphs.pictures.arcs import bent
from graphs.pictures.columns import arranged
from graphs.pictures.layout import Edge, Places, Point
from graphs.pictures.shapes import (
    ASKED,
    BLOCKER,
    FONT_SIZE,
    HEAD,
    HEIGHT,
    INK,
    MARGIN,
    OBSERVED,
    PATH,
    PLAIN,
    RING,
    between,
    headed,
    label_lines,
    outline,
)
from graphs.structure.mixed import one_member, two_headed
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import NodeSet, latent_nodes, node_set

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

    from graphs.separation.independence import Independence


@dataclass(frozen=True)
class Picture:
    """A model to be drawn as it is."""

    model: Model

    def draw(self, ax: Axes | None = None) -> Axes:
        return draw(self.model, ax)


def draw(
    model: Model,
    ax: Axes | None = None,
    *,
    answer: Independence | None = None,
    observed: NodeSet | None = None,
    dashed: Iterable[Edge] | None = None,
    dashed_label: str | None = None,
    closed: Iterable[Edge] = (),
    missing: Iterable[Edge] = (),
    title: str | None = None,
    legend: bool = True,
) -> Axes:
    """Draw the graph of a model.

    Args:
        model: any model; a directed graph may also have edges in both directions, which are drawn
            without heads, as :func:`graphs.essential_graph` needs. An edge with two heads is drawn
            as an arc. A network in time, as :func:`graphs.unroll` gives it, has a column for each
            slice.
        ax: where to draw; a new figure of fitting size if omitted.
        answer: an answer about this graph, whose sets, active path or blockers are coloured.
        observed: nodes to shade; those with a true attribute ``observed`` are shaded anyway.
        dashed: edges to dash; by default those that marry parents in a moral graph and those that
            fill a triangulated one.
        dashed_label: what the legend says of them.
        closed: edges of paths that are closed, in the colour of what closes them.
        missing: pairs of nodes that should be joined and are not, joined in red.
        title: a title; if there is an answer, its statement and verdict by default.
        legend: whether to explain the colours in use.

    Returns:
        The axes.

    Raises:
        ValueError: not a model, an unknown node, a directed cycle.

    >>> model = graphs.textbook.diagnosis()
    >>> ax = graphs.draw(model, answer=graphs.query(model, "M _||_ F | D"))
    >>> ax.get_title()
    'M ⊥ F | D  does not hold'
    >>> ax.figure.savefig("answer.png")
    """
    graph = as_graph(model, acyclic=False)
    if two_headed(graph):
        graph = one_member(graph)
    gaps = frozenset(map(frozenset, missing))
    if gaps:
        graph = _joined(graph, gaps)
    arrows = _one_way(graph)
    labels = {v: _label(str(v)) for v in graph}
    widths = {v: max(HEIGHT, width + 0.75 * HEIGHT) for v, (_, width) in labels.items()}
    places, routes = arranged(graph, arrows, widths, HEIGHT)
    arcs = bent(two_headed(graph), places, widths, HEIGHT)
    marked = {v for v, data in graph.nodes(data=True) if data.get("observed") is True}
    roles = _roles(graph, answer, node_set(graph, observed, "observed") | marked)
    added = chain(graph.graph.get("married", ()), graph.graph.get("fill_in", ()))
    broken = {frozenset(edge) for edge in (added if dashed is None else dashed)}
    shut = frozenset(map(frozenset, closed))
    ax = _canvas(places, [*routes.values(), *arcs.values()], widths, ax)
    stroke = _stroke(ax)
    for (u, v), points in chain(routes.items(), arcs.items()):
        edge, two = frozenset((u, v)), points is arcs.get((u, v))
        rims = [RING if end in roles.blockers else 0.0 for end in (u, v)]
        line = between(points, [(widths[u], HEIGHT), (widths[v], HEIGHT)], rims)
        heads = 2 if two else int(arrows.is_directed() and not graph.has_edge(v, u))
        on_path = edge in (roles.arcs if two else roles.path | gaps)
        colour = PATH if on_path else BLOCKER if edge in shut else INK
        _draw_edge(ax, line, heads, colour, edge in broken, stroke)
    for v, place in places.items():
        _draw_node(ax, place, widths[v], labels[v][0], v, roles, stroke)
    if title is None and answer is not None:
        verdict = "holds" if answer else "does not hold"
        # matplotlib's own font lacks ⟂ and has the older ⊥
        title = f"{answer}  {verdict}".replace("⟂", "⊥")
    if title:
        ax.set_title(title.replace("$", r"\$"), fontsize=FONT_SIZE, color=INK)
    if legend:
        _draw_legend(ax, roles, gaps, shut, dashed_label if broken else None)
    return ax


def _joined(graph: nx.Graph, gaps: Iterable[frozenset[Node]]) -> nx.Graph:
    """The graph with an edge of no head for every pair, its nodes in an order along the arrows."""
    nodes = list(nx.topological_sort(graph)) if graph.is_directed() else list(graph)
    joined = type(graph)()
    joined.add_nodes_from((v, graph.nodes[v]) for v in nodes)
    joined.add_edges_from(graph.edges(data=True))
    for u, v in map(tuple, gaps):
        joined.add_edges_from([(u, v), (v, u)])
    return joined


def _one_way(graph: nx.Graph) -> nx.Graph:
    """The graph, with one edge where a directed graph has both directions."""
    if two_headed(graph):
        return as_graph(graph, any_member=True)
    if not graph.is_directed() or not any(graph.has_edge(v, u) for u, v in graph.edges):
        return as_graph(graph)
    arrows = nx.DiGraph()
    arrows.add_nodes_from(graph)
    arrows.add_edges_from((u, v) for u, v in graph.edges if not arrows.has_edge(v, u))
    return arrows


class _Roles(NamedTuple):
    """The nodes and the edges that are singled out."""

    asked: frozenset[Node]
    observed: frozenset[Node]
    latent: frozenset[Node]
    blockers: frozenset[Node]
    on_path: frozenset[Node]
    path: frozenset[frozenset[Node]]
    arcs: frozenset[frozenset[Node]]


def _roles(graph: nx.Graph, answer: Independence | None, observed: frozenset[Node]) -> _Roles:
    latent = latent_nodes(graph, None if answer is None else answer.latent)
    none: frozenset[Any] = frozenset()
    if answer is None:
        return _Roles(none, observed, latent, none, none, none, none)
    path = answer.path or ()
    arcs = frozenset(map(frozenset, answer.trail.two_headed if answer.trail else ()))
    edges = frozenset(map(frozenset, pairwise(path))) - arcs
    observed |= answer.given
    asked = answer.x | answer.y
    return _Roles(asked, observed, latent, answer.blockers, frozenset(path), edges, arcs)


# --- Geometry -----------------------------------------------------------------------------------


def _label(name: str) -> tuple[Path, float]:
    """The outline of a name around the origin, on two lines where it is long, and its width."""
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    lines = label_lines(name or '""')
    size = FONT_SIZE if len(lines) == 1 else 0.75 * FONT_SIZE
    cap = TextPath((0, 0), "H", size=size).get_extents().height
    outlines = []
    for i, line in enumerate(lines):
        outline = TextPath((0, 0), line.replace("$", r"\$"), size=size)
        box = outline.get_extents()
        y = -cap / 2 + ((len(lines) - 1) / 2 - i) * 1.2 * size
        outlines.append(outline.transformed(Affine2D().translate(-(box.x0 + box.x1) / 2, y)))
    return Path.make_compound_path(*outlines), max(o.get_extents().width for o in outlines)


# --- Ink ----------------------------------------------------------------------------------------


def _canvas(
    places: Places, lines: Sequence[Sequence[Point]], widths: Mapping[Node, float], ax: Axes | None
) -> Axes:
    rims = [outline(place, widths[v]) for v, place in places.items()]
    xs, ys = np.concatenate([*rims, *lines, [(0.0, 0.0)]]).T
    left, right = xs.min() - MARGIN, xs.max() + MARGIN
    bottom, top = ys.min() - MARGIN, ys.max() + MARGIN
    if ax is None:
        import matplotlib.pyplot as plt

        width, height = (right - left) / 60, (top - bottom) / 60 + 0.7
        shrink = min(1.0, 16 / width, 12 / height)
        size = max(3.5, width * shrink), max(2.0, height * shrink)
        ax = plt.figure(figsize=size, layout="constrained").add_subplot()
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _stroke(ax: Axes) -> float:
    """The width of a plain line in points, thinner in a crowded picture."""
    ax.apply_aspect()
    box = ax.get_window_extent()
    left, right = ax.get_xlim()
    return float(np.clip(1.2 * box.width / ax.figure.dpi * 72 / (right - left), 0.4, 1.8))


def _draw_edge(
    ax: Axes, line: npt.NDArray[Any], heads: int, colour: str, dashed: bool, stroke: float
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

    marked = colour != INK
    width, order = (2.4 * stroke, 1.5) if marked else (stroke, 1.0)
    for _ in range(heads):
        line, head = headed(line, HEAD * (1.25 if marked else 1.0))
        line = line[::-1]
        ax.add_patch(Polygon(head, closed=True, facecolor=colour, edgecolor="none", zorder=order))
    drawn = Line2D(*line.T, color=colour, linewidth=width, zorder=order)
    if dashed:
        drawn.set_linestyle((0, (3, 2)))
    ax.add_line(drawn)


def _draw_node(
    ax: Axes, place: Point, width: float, label: Path, node: Node, roles: _Roles, stroke: float
) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.transforms import Affine2D

    fill = OBSERVED if node in roles.observed else ASKED if node in roles.asked else PLAIN
    edge, line = (PATH, 2.2 * stroke) if node in roles.on_path else (INK, stroke)
    style = "--" if node in roles.latent else "-"
    body = outline(place, width)
    ax.add_patch(Polygon(body, facecolor=fill, edgecolor=edge, lw=line, ls=style, zorder=2))
    if node in roles.blockers:
        ring = outline(place, width, RING)
        ax.add_patch(Polygon(ring, fill=False, edgecolor=BLOCKER, lw=2.4 * stroke, zorder=2))
    name = label.transformed(Affine2D().translate(*place))
    ax.add_patch(PathPatch(name, facecolor="#111111", edgecolor="none", zorder=3))


def _draw_legend(
    ax: Axes,
    roles: _Roles,
    gaps: frozenset[Any],
    shut: frozenset[Any],
    dashed_label: str | None,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ring = Line2D([], [], marker="o", markersize=0.8 * FONT_SIZE, linestyle="none", label="blocks")
    ring.set(markerfacecolor="none", markeredgecolor=BLOCKER, markeredgewidth=2.2)
    handles = [
        (roles.asked, Patch(facecolor=ASKED, edgecolor=INK, label="asked about")),
        (roles.observed, Patch(facecolor=OBSERVED, edgecolor=INK, label="observed")),
        (roles.latent, Patch(facecolor=PLAIN, edgecolor=INK, linestyle="--", label="latent")),
        (roles.path | roles.arcs, Line2D([], [], color=PATH, linewidth=3, label="active path")),
        (gaps, Line2D([], [], color=PATH, linewidth=3, label="coupling denied")),
        (shut, Line2D([], [], color=BLOCKER, linewidth=3, label="closed path")),
        (roles.blockers, ring),
        (dashed_label, Line2D([], [], color=INK, linestyle=(0, (3, 2)), label=dashed_label)),
    ]
    used = [handle for present, handle in handles if present]
    if used:
        wanted = sum(len(str(handle.get_label())) + 5 for handle in used) * 0.5 * FONT_SIZE
        room = ax.get_window_extent().width / ax.figure.dpi * 72
        ax.legend(
            handles=used,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=len(used) if room > wanted else 2,
            frameon=False,
            fontsize=0.8 * FONT_SIZE,
            handlelength=1.5,
            columnspacing=1.4,
        )
