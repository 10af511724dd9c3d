r"""Graphs with edges that are no arrows, as one DAG that gives the same answers, or refused.

A partially directed graph, such as :func:`graphs.essential_graph` returns, stands for the DAGs with
its skeleton and its v-structures, which all assert the same independences (Verma and Pearl 1990).
An edge without arrow is one in a ``DiGraph`` with the attribute ``directed=False``, best in either
direction. Any member of the class answers for all; Dor and Tarsi (1992) find one.
"""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx

from graphs.language.notation import Node


def has_marks(graph: nx.Graph, within: Iterable[Node] | None = None) -> bool:
    """Whether an edge of a directed graph, between the given nodes if any, is no arrow."""
    parents = graph._pred
    return any(
        data and (data.get("directed") is False or data.get("bidirected"))
        for v in (parents if within is None else within)
        for data in parents[v].values()
    )


def one_member(graph: nx.DiGraph | nx.Graph) -> nx.DiGraph | nx.Graph:
    """A DAG of the class that a partially directed graph stands for; other graphs as they are.

    Raises:
        ValueError: edges with two heads, or a graph that stands for no DAG.
    """
    if not graph.is_directed() or not has_marks(graph):
        return graph
    refuse_bidirected(graph)
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


def refuse_bidirected(graph: nx.DiGraph) -> None:
    """Raise ``ValueError`` naming an edge with two heads, if there is one."""
    for u, v, mark in graph.edges(data="bidirected"):
        if mark:
            raise ValueError(
                "expected a DAG or a partially directed graph, got the bidirected edge "
                f"{u} <-> {v} (add the latent common cause as a node with the attribute latent)"
            )
