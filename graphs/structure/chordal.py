"""Moral and chordal graphs: what moralisation and triangulation add, and cliques."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain, combinations

import networkx as nx

from graphs.language.notation import Node
from graphs.structure.mixed import families, two_headed
from graphs.structure.models import Model, as_graph
from graphs.structure.search import ancestors, shortest_path


def moralize(dag: Model) -> nx.Graph:
    """The smallest undirected I-map of a model: every factor's scope becomes complete.

    For a DAG, parents with a common child are married and arrows dropped (Lauritzen and
    Spiegelhalter 1988); with two-headed edges, a district and its parents become complete
    (Richardson 2003). An undirected model is its own moral graph and is copied.

    Returns:
        A new ``Graph`` with the model's nodes in their order and their attributes;
        ``.graph["married"]`` lists the edges that marry parents.

    Raises:
        ValueError: not a model, or a directed graph with a cycle.

    >>> moral = graphs.moralize(graphs.parse("P(A) P(B) P(C|A,B)"))
    >>> moral.edges
    EdgeView([('A', 'C'), ('A', 'B'), ('B', 'C')])
    >>> moral.graph["married"]
    (('A', 'B'),)
    """
    graph = as_graph(dag, any_member=True)
    moral = nx.Graph()
    moral.add_nodes_from(graph.nodes(data=True))
    moral.add_edges_from(chain(graph.edges, two_headed(graph)))
    married = []
    if graph.is_directed():
        for family in families(graph, graph):
            for pair in combinations(family, 2):
                if not moral.has_edge(*pair):
                    moral.add_edge(*pair)
                    married.append(pair)
    moral.graph["married"] = tuple(married)
    return moral


def is_chordal(graph: Model) -> bool:
    """Whether every cycle of four or more nodes has a chord; of a DAG, in its moral graph.

    :func:`chordless_cycle` gives the evidence. Time linear in nodes and edges.

    >>> graphs.is_chordal(nx.cycle_graph(3)), graphs.is_chordal(nx.cycle_graph(4))
    (True, False)
    """
    return _late_comer(moralize(graph)) is None


def chordless_cycle(graph: Model) -> tuple[Node, ...] | None:
    """A cycle of four or more nodes without a chord, or ``None`` for a chordal graph.

    The last node is adjacent to the first. A DAG is moralised first.

    >>> square = nx.cycle_graph(["A", "B", "C", "D"])
    >>> graphs.chordless_cycle(square)
    ('C', 'B', 'A', 'D')
    >>> square.add_edge("A", "C")
    >>> graphs.chordless_cycle(square) is None
    True
    """
    graph = moralize(graph)
    found = _late_comer(graph)
    if found is None:
        return None
    node, numbered = found
    inner = graph.subgraph(numbered)
    around = [u for u in graph[node] if u in numbered]
    paths = (path for start in around if (path := _around(inner, node, start, set(around))))
    return (node, *min(paths, key=len))


def _late_comer(graph: nx.Graph) -> tuple[Node, set[Node]] | None:
    """The first node of a maximum cardinality search whose earlier neighbours are no clique.

    Also the nodes numbered before it; these induce a chordal graph, so a chordless cycle passes
    through the node (Tarjan and Yannakakis 1984).
    """
    weight = dict.fromkeys(graph, 0)
    buckets: list[dict[Node, None]] = [dict.fromkeys(graph)]
    position: dict[Node, int] = {}
    for number in range(len(graph)):
        while not buckets[-1]:
            buckets.pop()
        node = next(iter(buckets[-1]))
        del buckets[-1][node]
        earlier = {u for u in graph[node] if u in position}
        if earlier:
            last = max(earlier, key=position.__getitem__)
            if not earlier - {last} <= graph[last].keys():
                return node, set(position)
        position[node] = number
        buckets.append({})
        for u in graph[node]:
            if u not in position:
                del buckets[weight[u]][u]
                weight[u] += 1
                buckets[weight[u]][u] = None
    return None


def _around(graph: nx.Graph, node: Node, start: Node, ring: set[Node]) -> tuple[Node, ...] | None:
    """A shortest path from one neighbour of the node to a neighbour not adjacent to it.

    Its inner nodes are outside ``ring``, the neighbours of the node.
    """

    def onwards(u: Node) -> Iterator[Node]:
        return (w for w in graph[u] if w not in ring or not graph.has_edge(start, w))

    return shortest_path(onwards, [start], (ring - {start}).__contains__)


def triangulate(graph: Model, heuristic: str = "min_fill") -> nx.Graph:
    """A chordal graph that contains the model's graph, by greedy elimination.

    Nodes are eliminated one at a time, each completing its remaining neighbours. ``"min_fill"``
    takes the node that adds fewest edges, ``"min_degree"`` the one with fewest neighbours
    (Koller and Friedman 2009, section 9.4.3.2); both first take nodes that add none, so a chordal
    graph comes back without fill-in. Ties go to the earlier node.

    Args:
        graph: any model; a DAG is moralised first.
        heuristic: ``"min_fill"`` or ``"min_degree"``.

    Returns:
        A new ``Graph``; ``.graph["fill_in"]`` lists the added edges and
        ``.graph["elimination_order"]`` the nodes, a perfect elimination order of the result.

    Raises:
        ValueError: another heuristic, or not a model.

    >>> chordal = graphs.triangulate(nx.cycle_graph(["A", "B", "C", "D", "E"]))
    >>> chordal.graph["fill_in"]
    (('B', 'E'), ('C', 'E'))
    >>> chordal.graph["elimination_order"]
    ('A', 'B', 'C', 'D', 'E')
    """
    if heuristic not in ("min_fill", "min_degree"):
        raise ValueError(f"expected heuristic 'min_fill' or 'min_degree', got {heuristic!r}")
    chordal = moralize(graph)
    rank = {v: i for i, v in enumerate(chordal)}
    left = {v: set(neighbours) for v, neighbours in chordal.adjacency()}
    missing = {v: _missing(left, v) for v in left}

    def key(v: Node) -> tuple[int, int, int]:
        fill = missing[v] if heuristic == "min_fill" else int(missing[v] > 0)
        return fill, len(left[v]), rank[v]

    nodes = list(chordal)
    heap = [key(v) for v in nodes]
    heapq.heapify(heap)
    order: list[Node] = []
    fill_in: list[tuple[Node, Node]] = []
    while heap:
        entry = heapq.heappop(heap)
        node = nodes[entry[2]]
        if node not in left or entry != key(node):
            continue
        order.append(node)
        around = left.pop(node)
        changed = set(around)
        for u in around:
            left[u].remove(node)
            missing[u] -= len(left[u] - around)
        for u, w in combinations(sorted(around, key=rank.__getitem__), 2):
            if w not in left[u]:
                fill_in.append((u, w))
                common = left[u] & left[w]
                for v in common:
                    missing[v] -= 1
                missing[u] += len(left[u]) - len(common)
                missing[w] += len(left[w]) - len(common)
                left[u].add(w)
                left[w].add(u)
                changed |= common
        for u in changed:
            heapq.heappush(heap, key(u))
    chordal.add_edges_from(fill_in)
    chordal.graph["fill_in"] = tuple(fill_in)
    chordal.graph["elimination_order"] = tuple(order)
    return chordal


def _missing(neighbours: dict[Node, set[Node]], node: Node) -> int:
    """How many edges are missing between the neighbours of a node."""
    around = neighbours[node]
    present = sum(len(around & neighbours[u]) for u in around) // 2
    return len(around) * (len(around) - 1) // 2 - present


def maximal_cliques(graph: Model) -> list[frozenset[Node]]:
    """Every maximal complete set of nodes, in the order of the model's nodes.

    A DAG is moralised first. There can be exponentially many, but in a chordal graph there are at
    most as many as nodes.

    >>> cliques = graphs.maximal_cliques(graphs.textbook.letters())
    >>> ["".join(sorted(clique)) for clique in cliques]
    ['ABC', 'BCD', 'BE', 'CDF', 'EF', 'EG']
    """
    moral = moralize(graph)
    rank = {v: i for i, v in enumerate(moral)}
    cliques = [sorted(clique, key=rank.__getitem__) for clique in nx.find_cliques(moral)]
    cliques.sort(key=lambda clique: [rank[v] for v in clique])
    return [frozenset(clique) for clique in cliques]


def moral_ancestral(dag: nx.DiGraph, nodes: Iterable[Node]) -> nx.Graph:
    """The moral graph of the nodes and their ancestors: every family becomes complete."""
    moral = nx.Graph()
    closed = ancestors(dag, nodes)
    moral.add_nodes_from(closed)
    for family in families(dag, closed):
        moral.add_edges_from(combinations(family, 2))
    return moral
