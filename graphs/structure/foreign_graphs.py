r"""Mixed graphs of other packages as networkx graphs with marks on their edges.

=====================================  =============================================================
pgmpy ``ADMG``                         a ``MultiDiGraph`` whose edges have ``type="directed"`` or
                                       ``type="bidirected"``
pgmpy ``MAG``, ``AncestralBase``       a ``Graph`` whose edges have ``marks={u: "-", v: ">"}``
pgmpy ``PDAG``                         a ``DiGraph`` with a set ``undirected_edges``
y0 ``NxMixedGraph``                    a ``DiGraph`` as ``directed``, and a ``Graph`` of two-headed
                                       edges as ``undirected``
pywhy-graphs ``ADMG``                  ``get_graphs()``, a graph for ``directed`` and ``bidirected``
Ananke ``ADMG``                        pairs as ``di_edges`` and ``bi_edges``, names as ``vertices``
=====================================  =============================================================

Here and everywhere else in the package an edge without head is one in a ``DiGraph`` with
``directed=False``, an edge with two heads one with ``bidirected=True``. Classes are known by name
or by their attributes, so that none of the packages is imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx

from graphs.language.notation import Node
from graphs.structure.mixed import is_two_headed


def marked(model: Any) -> Any:
    """The marked graph of a mixed graph of another package; anything else as it is.

    Raises:
        ValueError: marks that stand for several graphs or for a selected sample, arrows in both
            directions.
    """
    if not isinstance(model, nx.Graph):
        kinds = _by_kind(model)
        return model if kinds is None else _of_kinds(kinds)
    if model.is_multigraph():
        return _of_types(model)
    if any(kind.__name__ == "AncestralBase" for kind in type(model).__mro__):
        return _of_end_marks(model)
    if getattr(model, "undirected_edges", None) and model.is_directed():
        return _of_sets(model)
    return model


def admg(
    nodes: nx.Graph, arrows: Iterable[tuple[Node, Node]], pairs: Iterable[tuple[Node, Node]]
) -> nx.DiGraph:
    """A marked graph with the nodes of another, these arrows and these two-headed edges.

    Raises:
        ValueError: a cycle of two arrows, or a two-headed edge from a node to itself.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes.nodes(data=True))
    graph.add_edges_from(arrows)
    both = next(((u, v) for u, v in graph.edges if u == v or graph.has_edge(v, u)), None)
    if both:
        loop = " -> ".join(map(str, dict.fromkeys(both))) + f" -> {both[0]}"
        raise ValueError(f"expected an acyclic directed graph, got the cycle {loop}")
    for u, v in pairs:
        if u == v:
            raise ValueError(f"expected a bidirected edge between two nodes, got {u} <-> {v}")
        taken = graph.has_edge(u, v) and not is_two_headed(graph.edges[u, v])
        graph.add_edge(*((v, u) if taken else (u, v)), bidirected=True)
    for v in graph.nodes & set(getattr(nodes, "latents", ())):
        graph.nodes[v]["latent"] = True
    return graph


def _by_kind(model: Any) -> dict[str, nx.Graph] | None:
    """A graph for every kind of edge of another library's mixed graph, else ``None``."""
    if any(kind.__name__ == "MixedEdgeGraph" for kind in type(model).__mro__):
        found: dict[str, nx.Graph] = model.get_graphs()
        return found
    one, two = (getattr(model, name, None) for name in ("directed", "undirected"))
    if isinstance(one, nx.DiGraph) and isinstance(two, nx.Graph):
        return {"directed": one, "bidirected": two}
    if not all(hasattr(model, name) for name in ("vertices", "di_edges", "bi_edges")):
        return None
    nodes = nx.DiGraph()
    nodes.add_nodes_from(model.vertices)
    nodes.add_edges_from(model.di_edges)
    others = {"bidirected": model.bi_edges, "undirected": getattr(model, "ud_edges", ())}
    return {"directed": nodes} | {kind: nx.Graph(list(edges)) for kind, edges in others.items()}


def _of_kinds(kinds: dict[str, nx.Graph]) -> nx.DiGraph:
    for kind in kinds.keys() - {"directed", "bidirected"}:
        for u, v in kinds[kind].edges:
            raise ValueError(f"expected edges with one head or two, got the {kind} edge {u} - {v}")
    arrows, pairs = kinds.get("directed", nx.DiGraph()), kinds.get("bidirected", nx.Graph())
    nodes = nx.Graph()
    for graph in kinds.values():
        nodes.add_nodes_from(graph.nodes(data=True))
    return admg(nodes, arrows.edges, pairs.edges)


def _of_types(model: nx.MultiGraph) -> nx.Graph:
    """A multigraph whose edges say what they are; any other as it is."""
    edges = list(model.edges(data=True))
    pairs = [(u, v) for u, v, data in edges if is_two_headed(data)]
    arrows = [(u, v) for u, v, data in edges if data.get("type") == "directed"]
    said = len(arrows) + len(pairs) == len(edges) and (edges or type(model).__name__ == "ADMG")
    return admg(model, arrows, pairs) if said and model.is_directed() else model


def _of_end_marks(model: nx.Graph) -> nx.DiGraph:
    arrows, pairs = [], []
    for u, v, marks in model.edges(data="marks"):
        ends = marks[u], marks[v]
        if ends == (">", ">"):
            pairs.append((u, v))
        elif ends in (("-", ">"), (">", "-")):
            arrows.append((u, v) if ends[1] == ">" else (v, u))
        else:
            raise ValueError(
                f"expected edges with one head or two, got {u} {_edge(*ends)} {v} in "
                f"{type(model).__name__}: a circle stands for several graphs, no head for selection"
            )
    return admg(model, arrows, pairs)


def _edge(left: str, right: str) -> str:
    tail = {"-": ""}
    return f"{'<' if left == '>' else tail.get(left, left)}-{tail.get(right, right)}"


def _of_sets(model: nx.DiGraph) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(model.nodes(data=True))
    graph.add_edges_from(model.directed_edges)
    for u, v in model.undirected_edges:
        graph.add_edges_from([(u, v), (v, u)], directed=False)
    return graph
