"""A scene as plain numbers and text, for pages and SVG, and an answer as a picture with its reason.

Of a large graph the part is shown that matters to what is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx

from graphs.language.notation import Node
from graphs.pictures.scene import Joined, Layout, bounds, drawn, lay_out
from graphs.pictures.svg import svg
from graphs.structure.edges import edges
from graphs.structure.mixed import one_member
from graphs.structure.nodes import latent_nodes
from graphs.structure.search import ancestors

if TYPE_CHECKING:
    from graphs.separation.independence import Independence

Json = dict[str, Any]

MOST_SHOWN = 60


def nearest(graph: nx.Graph, seeds: Collection[Node], most: int) -> tuple[list[Node], str]:
    """The nodes to draw of a graph and, where these are not all, which they are, in words.

    Of a large directed graph the ancestors of the seeds, which are what is asked and observed; of a
    larger part than that, and of an undirected graph, the nodes nearest to the seeds.
    """
    if len(graph) <= most:
        return list(graph), ""
    if not seeds:
        return [], f"{len(graph)} nodes: too many to draw. Ask, observe or find some of them."
    kind = "nearest nodes"
    within = set(graph)
    if graph.is_directed():
        within, kind = ancestors(graph, seeds), "ancestors of what is asked and observed"
    around = graph.to_undirected(as_view=True) if graph.is_directed() else graph
    chosen = dict.fromkeys(seeds)
    queue = list(chosen)
    for v in queue:
        for u in around[v]:
            if u in within and u not in chosen and len(chosen) < most:
                chosen[u] = None
                queue.append(u)
    if len(chosen) < len(within):
        kind = f"nearest of {len(within)} {kind}" if kind != "nearest nodes" else kind
    return [v for v in graph if v in chosen], (
        f"{len(chosen)} of {len(graph)} nodes are drawn: the {kind}."
    )


def induced(graph: nx.Graph, nodes: Collection[Node]) -> nx.Graph:
    """Some of the nodes and the edges between them, in the order of the graph."""
    part = graph.__class__()
    part.graph.update(graph.graph)
    part.add_nodes_from((v, data) for v, data in graph.nodes(data=True) if v in nodes)
    part.add_edges_from(
        (u, v, data) for u, v, data in graph.edges(data=True) if u in part and v in part
    )
    return part


def described(
    layout: Layout,
    joined: Iterable[Joined],
    graph: nx.Graph,
    marks: Mapping[Joined, str] | None = None,
    faded: Collection[Node] = (),
    randomised: Collection[Node] = (),
    latent: Collection[Node] = (),
) -> Json:
    """Boxes and lines as numbers; names are text, to be shown as such.

    Args:
        layout: of the nodes that are shown.
        joined: edges, of which those between two of them are shown.
        graph: what is known of nodes and plates.
        marks: a word for some of the edges.
        faded, randomised: some of the nodes.
        latent: some of the nodes, besides those the graph marks.
    """
    hidden, marks = latent_nodes(graph, latent), marks or {}
    lines = drawn(layout, [e for e in joined if e[0] in layout.places and e[2] in layout.places])
    left, top, width, height = bounds(layout, lines)
    return {
        "box": [round(n, 1) for n in (left, top, width, height)],
        "nodes": [
            {
                "id": str(v),
                "lines": layout.lines[v],
                "x": round(layout.places[v][0], 1),
                "y": round(layout.places[v][1], 1),
                "w": round(layout.sizes[v][0], 1),
                "h": round(layout.sizes[v][1], 1),
                "latent": v in hidden,
                "faded": v in faded,
                "randomised": v in randomised,
                "kind": graph.nodes[v].get("kind", "chance"),
            }
            for v in graph
            if v in layout.places
        ],
        "edges": [
            {
                "tail": str(line.tail),
                "sign": line.sign,
                "head": str(line.head),
                "mark": marks.get((line.tail, line.sign, line.head), ""),
                "line": _polyline(line.line),
                "heads": [_polyline(head) + "Z" for head in line.heads],
            }
            for line in lines
        ],
        "plates": _plates(layout, graph),
        "unboxed": layout.unboxed,
    }


def _polyline(points: Any) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _plates(layout: Layout, graph: nx.Graph) -> list[Json]:
    sizes = graph.graph.get("plates", {})
    return [
        {
            "label": f"{p.name} ({sizes[p.name]})" if p.name in sizes else p.name,
            "x": round(p.x - p.width / 2, 1),
            "y": round(p.y - p.height / 2, 1),
            "w": round(p.width, 1),
            "h": round(p.height, 1),
        }
        for p in layout.plates
    ]


def active_edges(answer: Independence) -> set[tuple[str, str, str]]:
    """The edges of the active path, as ends in either order and the sign between them."""
    if answer.trail is None:
        return set()
    signs = {"→": "->", "←": "->", "↔": "<->", "—": "--"}
    steps = zip(pairwise(map(str, answer.trail.nodes)), answer.trail.arrows, strict=True)
    found = set()
    for (u, v), arrow in steps:
        found |= {(u, signs[arrow], v), (v, signs[arrow], u)}
    return found


def parts(answer: Independence) -> dict[str, Collection[Node]]:
    """What nodes are to an answer, for their colours."""
    return {"path": answer.path or (), "blocker": answer.blockers}


def explained(picture: str, lines: Sequence[str]) -> str:
    """A picture and what is said of it, for places without scripts."""
    said = "\n".join(lines)
    return f'<figure class="graphs-figure">{picture}<pre>{escape(said)}</pre></figure>'


def answer_html(answer: Independence | None, text: str) -> str:
    """A text about an answer, under the picture of it; of a large graph what is near."""
    lines = text.split("\n")
    if answer is None:
        return explained("", lines)
    graph, roles = answer.graph, parts(answer)
    asked = answer.x | answer.y
    nodes, note = nearest(graph, asked | answer.given | frozenset(roles["path"]), MOST_SHOWN)
    if len(nodes) > 2 * MOST_SHOWN:
        return explained("", lines)
    layout = lay_out(induced(graph, frozenset(nodes)))
    named: dict[str, list[str]] = {str(v): [] for v in nodes}
    for role, found in {"asked": asked, "observed": answer.given, **roles}.items():
        for v in found:
            if str(v) in named:
                named[str(v)].append(role)
    painted = {"nodes": named, "active": [list(edge) for edge in active_edges(answer)]}
    scene = described(layout, edges(one_member(graph)), graph, latent=answer.latent)
    return explained(svg(scene, painted, title=lines[0]), [*lines, *([note] if note else [])])
