"""Structures as text for other programs: DOT, dagitty, TikZ, LaTeX.

Names are quoted where they are not plain words, so that :func:`graphs.read_graph` reads DOT and
dagitty's text back. Places, where they are known, are in points with y growing downwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import networkx as nx

from graphs.language.notation import Node, latex_name
from graphs.structure.edges import edges, edges_latex, has_choices
from graphs.structure.mixed import has_marks
from graphs.structure.models import Model, as_graph, factorization
from graphs.structure.nodes import latent_nodes

Places: TypeAlias = Mapping[Node, tuple[float, float]]

_ESCAPES = {"\\": "\\\\", '"': '\\"'}
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_WORDS = {"node", "edge", "graph", "digraph", "subgraph", "strict", "dag", "pdag", "mag", "pag"}
CENTIMETRES = 1 / 28.45  # in a point


def latex(model: Model, places: Places | None = None) -> str:
    """The factorization in LaTeX, or the edges where no single factorization states the model."""
    graph = as_graph(model, acyclic=False)
    if graph.is_directed() and (has_marks(graph) or has_choices(graph)):
        return edges_latex(graph) + "\n"
    return factorization(model).latex() + "\n"


def dot(model: Model, places: Places | None = None) -> str:
    """Graphviz: edges without heads have ``dir=none``, those with two ``dir=both``."""
    graph = as_graph(model, acyclic=False)
    directed = graph.is_directed()
    heads = {"->": "", "<->": " [dir=both]", "--": " [dir=none]" if directed else ""}
    latent = latent_nodes(graph)
    lines = [f"  {quoted(v)}{' [latent=true]' if v in latent else ''};" for v in graph]
    arrow = "->" if directed else "--"
    lines += [f"  {quoted(u)} {arrow} {quoted(v)}{heads[s]};" for u, s, v in edges(graph)]
    return _braced("digraph" if directed else "graph", lines)


def dagitty(model: Model, places: Places | None = None) -> str:
    """The text of dagitty.net, with the places of the nodes."""
    graph = as_graph(model, acyclic=False)
    found = list(edges(graph))
    loose = any(sign == "--" for _, sign, _ in found)
    kind = "pdag" if loose and graph.is_directed() else "dag" if graph.is_directed() else "graph"
    latent = latent_nodes(graph)
    lines = []
    for v in graph:
        marks = ["latent"] if v in latent else []
        if places and v in places:
            x, y = (coordinate / 60 for coordinate in places[v])
            marks.append(f'pos="{x:.3f},{y:.3f}"')
        lines.append(f"  {quoted(v)}" + (f" [{','.join(marks)}]" if marks else ""))
    lines += [f"  {quoted(u)} {sign} {quoted(v)}" for u, sign, v in found]
    return _braced(kind, lines)


def tikz(model: Model, places: Places | None = None) -> str:
    """A TikZ picture; needs no library but ``arrows.meta``.

    Nodes without a place stand in a row.
    """
    graph = as_graph(model, acyclic=False)
    latent, known = latent_nodes(graph), places or {}
    numbers = {v: i for i, v in enumerate(graph)}
    lines = [
        "% \\usepackage{tikz} \\usetikzlibrary{arrows.meta}",
        "\\begin{tikzpicture}[>=Stealth, every node/.style={draw, rounded corners=8pt}]",
    ]
    for v, i in numbers.items():
        x, y = known.get(v, (60.0 * i, 0.0))
        style = "[dashed] " if v in latent else ""
        at = f"({x * CENTIMETRES:.2f}, {-y * CENTIMETRES:.2f})"
        lines.append(f"  \\node {style}(n{i}) at {at} {{${latex_name(v)}$}};")
    heads = {"->": "->", "<->": "<->, bend left", "--": "-"}
    for u, sign, v in edges(graph):
        curve = "to" if sign == "<->" else "--"
        lines.append(f"  \\draw [{heads[sign]}] (n{numbers[u]}) {curve} (n{numbers[v]});")
    return "\n".join([*lines, "\\end{tikzpicture}", ""])


def one_line(graph: nx.Graph) -> str:
    """The structure in one line that :func:`graphs.read_graph` reads back."""
    latent = latent_nodes(graph)
    kind = "pdag" if graph.is_directed() else "graph"
    parts = [f"{quoted(v)}{' [latent]' if v in latent else ''}" for v in graph]
    parts += [f"{quoted(u)} {sign} {quoted(v)}" for u, sign, v in edges(graph)]
    return f"{kind} {{ {'; '.join(parts)} }}"


WRITERS: dict[str, Callable[[Model], str]] = {
    ".dot": dot,
    ".gv": dot,
    ".dagitty": dagitty,
    ".tex": latex,
    ".tikz": tikz,
}


def _braced(kind: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{kind} {{", *lines, "}", ""])


def quoted(node: Node) -> str:
    """The name as DOT and dagitty write it."""
    text = str(node)
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'
