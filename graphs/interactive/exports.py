"""The model on the page as text for other programs; pictures are drawn where the page is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import networkx as nx

from graphs.interactive.subject import Subject
from graphs.language.notation import Node, latex_name
from graphs.pictures.layout import Point
from graphs.structure.edges import edges, edges_latex, edges_text, has_choices
from graphs.structure.mixed import has_marks
from graphs.structure.models import factorization
from graphs.structure.nodes import latent_nodes

_ESCAPES = {"\\": "\\\\", '"': '\\"'}
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_WORDS = {"node", "edge", "graph", "digraph", "subgraph", "strict", "dag", "pdag", "mag", "pag"}
SCALE = 1 / 28.45  # centimetres in a point


class Export(NamedTuple):
    """A text, and what a file of it may be called."""

    text: str
    name: str


def as_latex(subject: Subject, places: dict[Node, Point]) -> Export:
    """The factorization in LaTeX, or the edges where no single factorization states the model."""
    graph = subject.graph
    if graph.is_directed() and (has_marks(graph) or has_choices(graph)):
        return Export(edges_latex(graph) + "\n", "model.tex")
    return Export(factorization(subject.model).latex() + "\n", "model.tex")


def as_dot(subject: Subject, places: dict[Node, Point]) -> Export:
    """Graphviz: edges without heads have ``dir=none``, those with two ``dir=both``."""
    graph = subject.graph
    directed = graph.is_directed()
    heads = {"->": "", "<->": " [dir=both]", "--": " [dir=none]" if directed else ""}
    latent = latent_nodes(graph)
    lines = [f"  {_quoted(v)}{' [latent=true]' if v in latent else ''};" for v in graph]
    arrow = "->" if directed else "--"
    lines += [f"  {_quoted(u)} {arrow} {_quoted(v)}{heads[s]};" for u, s, v in edges(graph)]
    return Export(_braced("digraph" if directed else "graph", lines), "model.dot")


def as_dagitty(subject: Subject, places: dict[Node, Point]) -> Export:
    """The text of dagitty.net, with the places of the nodes."""
    graph = subject.graph
    found = list(edges(graph))
    loose = any(sign == "--" for _, sign, _ in found)
    kind = "pdag" if loose and graph.is_directed() else "dag" if graph.is_directed() else "graph"
    latent = latent_nodes(graph)
    lines = []
    for v in graph:
        marks = ["latent"] if v in latent else []
        if v in places:
            x, y = (coordinate / 60 for coordinate in places[v])
            marks.append(f'pos="{x:.3f},{y:.3f}"')
        lines.append(f"  {_quoted(v)}" + (f" [{','.join(marks)}]" if marks else ""))
    lines += [f"  {_quoted(u)} {sign} {_quoted(v)}" for u, sign, v in found]
    return Export(_braced(kind, lines), "model.dagitty")


def as_tikz(subject: Subject, places: dict[Node, Point]) -> Export:
    """A TikZ picture with the places of the page; needs no library but ``arrows.meta``."""
    graph = subject.graph
    latent = latent_nodes(graph)
    numbers = {v: i for i, v in enumerate(graph)}
    lines = [
        "% \\usepackage{tikz} \\usetikzlibrary{arrows.meta}",
        "\\begin{tikzpicture}[>=Stealth, every node/.style={draw, rounded corners=8pt}]",
    ]
    for v, i in numbers.items():
        x, y = places.get(v, (60.0 * i, 0.0))
        style = "[dashed] " if v in latent else ""
        at = f"({x * SCALE:.2f}, {-y * SCALE:.2f})"
        lines.append(f"  \\node {style}(n{i}) at {at} {{${latex_name(v)}$}};")
    heads = {"->": "->", "<->": "<->, bend left", "--": "-"}
    for u, sign, v in edges(graph):
        curve = "to" if sign == "<->" else "--"
        lines.append(f"  \\draw [{heads[sign]}] (n{numbers[u]}) {curve} (n{numbers[v]});")
    return Export("\n".join([*lines, "\\end{tikzpicture}", ""]), "model.tikz")


def as_edges(subject: Subject, places: dict[Node, Point]) -> Export:
    """The edges in a line, as :func:`graphs.read_graph` reads them."""
    return Export(edges_text(subject.graph) + "\n", "model.txt")


def as_bif(subject: Subject, places: dict[Node, Point]) -> Export:
    """The network with its tables, without the arrows that were cut.

    Raises:
        ValueError: a model without tables, an undirected one.
    """
    from graphs.files import bif

    if subject.tables is None:
        raise ValueError(f"expected a model with tables for BIF, got none: {subject.without}")
    if not subject.tables.directed:
        raise ValueError("expected a Bayesian network for BIF, got an undirected model")
    return Export("".join(bif.write(subject.cut_tables)), "model.bif")


EXPORTS: dict[str, Callable[[Subject, dict[Node, Point]], Export]] = {
    "LaTeX": as_latex,
    "TikZ": as_tikz,
    "DOT": as_dot,
    "dagitty": as_dagitty,
    "edges": as_edges,
    "BIF": as_bif,
}


def export(subject: Subject, name: str, places: dict[Node, Point]) -> Export:
    """The model in one of the languages of :data:`EXPORTS`.

    Raises:
        ValueError: another language, or a model that it cannot hold.
    """
    if name not in EXPORTS:
        raise ValueError(f"expected one of {', '.join(EXPORTS)}, got {name!r}")
    return EXPORTS[name](subject, places)


def _braced(kind: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{kind} {{", *lines, "}", ""])


def _quoted(node: Node) -> str:
    text = str(node)
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'


def model_text(graph: nx.Graph) -> str:
    """The structure in one line that :func:`graphs.read_graph` reads back, for a link."""
    latent = latent_nodes(graph)
    kind = "pdag" if graph.is_directed() else "graph"
    parts = [f"{_quoted(v)}{' [latent]' if v in latent else ''}" for v in graph]
    parts += [f"{_quoted(u)} {sign} {_quoted(v)}" for u, sign, v in edges(graph)]
    return f"{kind} {{ {'; '.join(parts)} }}"
