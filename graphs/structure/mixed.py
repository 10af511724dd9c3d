r"""Graphs with edges that are no arrows, as one DAG that gives the same answers, or refused.

A partially directed graph, such as :func:`graphs.essential_graph` returns, stands for the DAGs with
its skeleton and its v-structures, which all assert the same independences (Verma and Pearl 1990).
An edge without arrow is one in a ``DiGraph`` with the attribute ``directed=False``, best in either
direction. Any member of the class answers for all; Dor and Tarsi (1992) find one.

A graph with an edge of two heads is an acyclic directed mixed graph (ADMG):
:math:`A \leftrightarrow B` is a latent common cause of A and B, ``bidirected=True`` on an edge in
either direction, and may stand beside an arrow :math:`A \to B`. Its *districts* are the sets that
paths of such edges join. A path is active, here called m-connecting, as in a DAG, a collider being
a node at which two heads meet (Richardson 2003).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import networkx as nx

from graphs.language.notation import Node
from graphs.structure.search import neighbours_of, parents_of


def has_marks(graph: nx.Graph, within: Iterable[Node] | None = None) -> bool:
    """Whether an edge of a directed graph, between the given nodes if any, is no arrow."""
    parents = parents_of(graph)
    return any(
        data and (data.get("directed") is False or is_two_headed(data))
        for v in (parents if within is None else within)
        for data in parents[v].values()
    )


def is_two_headed(data: Mapping[str, object]) -> bool:
    """Whether the attributes of an edge say so: ``bidirected``, or elsewhere a ``type``."""
    return bool(data.get("bidirected")) or "bidirected" in (data.get("type"), data.get("edge_type"))


def one_member(graph: nx.DiGraph | nx.Graph) -> nx.DiGraph | nx.Graph:
    """A DAG of the class that a partially directed graph stands for; other graphs as they are.

    Of a graph with two-headed edges, the DAG of its arrows, where :func:`spouses` finds the rest.

    Raises:
        ValueError: a graph that stands for no DAG, or has edges of all three kinds.
    """
    if not graph.is_directed() or not has_marks(graph):
        return graph
    if two_headed(graph):
        return _arrows(graph)
    dag = nx.DiGraph(partially_directed=True)
    dag.add_nodes_from(graph.nodes(data=True))
    loose = {frozenset(edge) for edge in undirected_edges(graph)}
    arrows = [(u, v) for u, v in graph.edges if frozenset((u, v)) not in loose]
    dag.add_edges_from(arrows)
    left = nx.Graph([*arrows, *map(tuple, loose)])
    left.add_nodes_from(graph)
    rest = nx.DiGraph(arrows)
    rest.add_nodes_from(graph)
    while left:
        sink = next((v for v in left if _may_be_last(v, left, rest, loose)), None)
        if sink is None:
            u, w = next(iter(undirected_edges(graph)))
            raise ValueError(
                "expected a partially directed graph that some DAG extends without a new "
                f"v-structure or cycle, got one that none does, with the edge {u} - {w}"
            )
        dag.add_edges_from((u, sink) for u in left[sink] if frozenset((u, sink)) in loose)
        left.remove_node(sink)
        rest.remove_node(sink)
    return dag


def _may_be_last(
    node: Node, left: nx.Graph, arrows: nx.DiGraph, loose: set[frozenset[Node]]
) -> bool:
    """Whether every edge left can point at the node and makes no new v-structure there."""
    if arrows.out_degree(node):
        return False
    around = set(left[node])
    return all(around - {u} <= left[u].keys() for u in around if frozenset((u, node)) in loose)


def undirected_edges(graph: nx.DiGraph) -> list[tuple[Node, Node]]:
    """The edges marked ``directed=False``.

    Raises:
        ValueError: an arrow in the opposite direction.
    """
    found = [(u, v) for u, v, mark in graph.edges(data="directed") if mark is False]
    for u, v in found:
        if graph.has_edge(v, u) and graph.edges[v, u].get("directed") is not False:
            raise ValueError(
                f"expected one edge between {u!r} and {v!r}, got {u} - {v} and an arrow"
            )
    return found


# --- Edges with two heads -----------------------------------------------------------------------


BIDIRECTED = "graphs: bidirected"


def _arrows(graph: nx.DiGraph) -> nx.DiGraph:
    """The arrows alone, with the graph of the two-headed edges as a graph attribute."""
    pairs = nx.Graph()
    pairs.add_nodes_from(graph)
    pairs.add_edges_from(two_headed(graph))
    u, v = next(iter(pairs.edges))
    for a, b in undirected_edges(graph):
        raise ValueError(
            "expected arrows and bidirected edges, or arrows and undirected edges, got "
            f"{u} <-> {v} and {a} - {b}"
        )
    for u in nx.nodes_with_selfloops(pairs):
        raise ValueError(f"expected a bidirected edge between two nodes, got {u} <-> {u}")
    arrows = nx.DiGraph()
    arrows.graph.update(graph.graph)
    arrows.add_nodes_from(graph.nodes(data=True))
    arrows.add_edges_from(edge for edge in graph.edges(data=True) if not is_two_headed(edge[2]))
    for v in arrows.nodes & set(vars(graph).get("latents", ())):
        arrows.nodes[v]["latent"] = True
    arrows.graph[BIDIRECTED] = pairs
    return arrows


def spouses(graph: nx.Graph) -> Mapping[Node, Mapping[Node, object]]:
    """The neighbours of every node over edges with two heads; empty where there are none."""
    pairs = graph.graph.get(BIDIRECTED)
    return {} if pairs is None else neighbours_of(pairs)


def two_headed(graph: nx.Graph) -> list[tuple[Node, Node]]:
    """The edges with two heads, of a marked graph or one that :func:`one_member` returned."""
    if (pairs := graph.graph.get(BIDIRECTED)) is not None:
        return list(pairs.edges)
    if not graph.is_directed():
        return []
    return [(u, v) for u, v, data in graph.edges(data=True) if data and is_two_headed(data)]


def families(graph: nx.DiGraph, within: Iterable[Node]) -> Iterator[tuple[Node, ...]]:
    """The districts among the nodes, each with its parents; of a DAG, nodes with their parents.

    In the graph that makes each of them complete, separation is m-separation if ``within`` are the
    ancestors of all nodes asked about (Richardson 2003).

    Args:
        graph: a DAG as :func:`one_member` returns it.
        within: nodes, with all their ancestors.
    """
    parents, beside = parents_of(graph), spouses(graph)
    if not beside:
        yield from ((v, *parents[v]) for v in within)
        return
    left = dict.fromkeys(within)
    while left:
        v, _ = left.popitem()
        district = [v]
        for u in district:
            near = [w for w in beside[u] if w in left]
            district += near
            for w in near:
                del left[w]
        yield tuple(dict.fromkeys(chain(district, *(parents[u] for u in district))))


def canonical(graph: nx.Graph) -> nx.Graph:
    """The DAG with a latent common cause for every two-headed edge; others as their one member."""
    graph = one_member(graph)
    pairs = two_headed(graph)
    if not pairs:
        return graph
    dag = nx.DiGraph(graph)
    del dag.graph[BIDIRECTED]
    for u, v in pairs:
        name = f"U_{u}_{v}"
        while name in dag:
            name += "_"
        dag.add_node(name, latent=True)
        dag.add_edges_from([(name, u), (name, v)])
    return dag


def refuse_bidirected(graph: nx.DiGraph, expected: str = "a DAG or an undirected graph") -> None:
    """Raise ``ValueError`` naming an edge with two heads, if there is one."""
    for u, v in two_headed(graph):
        raise ValueError(
            f"expected {expected}, got the bidirected edge {u} <-> {v}, whose latent common cause "
            "is no node"
        )
