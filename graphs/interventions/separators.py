"""Every minimal separator of an undirected graph that keeps to allowed nodes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import combinations, count

import networkx as nx

from graphs.language.notation import Node
from graphs.structure.search import reach


def minimal_separators(
    graph: nx.Graph, x: frozenset[Node], y: frozenset[Node], allowed: frozenset[Node]
) -> Iterator[frozenset[Node]]:
    """All sets of allowed nodes that separate x from y and of which no node can be spared.

    A node that is not allowed is taken out and its neighbours are joined, which leaves the paths
    between the others as they are. What separates then is found from the separator closest to x by
    pushing one node at a time towards y (Berry, Bordat and Cogis 2000); there may be exponentially
    many, one costs O(nodes · edges). Of those found but not yet given the smallest comes next.
    """
    graph = nx.Graph(graph)
    for node in set(graph) - allowed - x - y:
        graph.add_edges_from(combinations(list(graph[node]), 2))
        graph.remove_node(node)
    if any(v in y for u in x for v in graph[u]):
        return
    beyond_x = frozenset(v for u in x for v in graph[u]) - x
    order = count()
    first = _shore(graph, y, beyond_x)
    queue, known = [(len(first), next(order), first)], {first}
    while queue:
        _, _, separator = heapq.heappop(queue)
        yield separator
        side = reach(graph.__getitem__, x, separator)
        for node in sorted(separator, key=str):
            pushed = (separator | frozenset(graph[node])) - side - {node}
            if pushed.isdisjoint(y):
                found = _shore(graph, y, pushed)
                if found not in known:
                    known.add(found)
                    heapq.heappush(queue, (len(found), next(order), found))


def _shore(graph: nx.Graph, y: frozenset[Node], wall: frozenset[Node]) -> frozenset[Node]:
    """The part of the wall that borders on what y reaches."""
    reached = reach(graph.__getitem__, y, wall)
    return frozenset(v for v in wall if not reached.isdisjoint(graph[v]))
