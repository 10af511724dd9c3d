"""The edges of a graph as text: a structure that no single factorization states."""

from __future__ import annotations

import re
from collections.abc import Iterator

import networkx as nx

from graphs.language.notation import Node, latex_name
from graphs.language.scanning import quote
from graphs.structure.mixed import is_two_headed, two_headed

_LATEX = {"->": r"\rightarrow", "<->": r"\leftrightarrow", "--": "-"}


def edges(graph: nx.Graph) -> Iterator[tuple[Node, str, Node]]:
    """Every edge once, as its ends and one of ``->``, ``<->`` and ``--`` between them."""
    listed: set[frozenset[Node]] = set()
    for u, v, data in graph.edges(data=True):
        if is_two_headed(data):
            yield u, "<->", v
        elif graph.is_directed() and data.get("directed") is not False:
            yield u, "->", v
        elif (ends := frozenset((u, v))) not in listed:
            listed.add(ends)
            yield u, "--", v


def edges_text(graph: nx.Graph) -> str:
    """The edges, then the nodes without any, as :func:`graphs.read_graph` reads them back."""
    parts = [f"{_name(u)} {sign} {_name(v)}" for u, sign, v in edges(graph)]
    return ", ".join(parts + [_name(v) for v in graph if not graph.degree(v)])


def edges_latex(graph: nx.Graph) -> str:
    """The same as LaTeX, without dollar signs."""
    parts = [f"{latex_name(u)} {_LATEX[sign]} {latex_name(v)}" for u, sign, v in edges(graph)]
    return r",\; ".join(parts + [latex_name(v) for v in graph if not graph.degree(v)])


def has_choices(graph: nx.Graph) -> bool:
    """Whether a node is a decision or a utility, which no distribution belongs to."""
    return any(kind in ("decision", "utility") for _, kind in graph.nodes(data="kind"))


def kind_of(graph: nx.Graph) -> str:
    """What a graph with edges that are no arrows, or with decisions or utilities, is called."""
    if has_choices(graph):
        return "Influence diagram"
    return "Mixed graph" if two_headed(graph) else "Partially directed graph"


def _name(node: Node) -> str:
    text = str(node)
    return text if re.fullmatch(r"\w*[^\W_]", text) else quote(text)
