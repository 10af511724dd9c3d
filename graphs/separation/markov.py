r"""What shields what: Markov blankets, separating sets and the Markov properties.

The Markov blanket of X is the smallest set B with :math:`X \perp V \setminus (X \cup B) \mid B`: in
a DAG the parents, the children and the children's other parents, in an undirected graph the
neighbours (Pearl 1988). With two-headed edges the districts of X and of its children take the place
of X and its children: B is the rest of them and all their parents (Richardson 2003).

If any subset of the allowed nodes separates X from Y, the allowed ancestors of X and Y do. Of these
those that X sees first in the moral graph of the ancestors separate too, and of those the ones that
Y sees first form a set none of whose nodes can be spared (van der Zander, Liśkiewicz and Textor
2019; Tian, Paz and Pearl 1998).
"""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from graphs.language.notation import Node
from graphs.separation.independence import Independence, independence_of
from graphs.structure.chordal import moral_ancestral
from graphs.structure.mixed import families, spouses
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import (
    NodeSet,
    latent_nodes,
    node_set,
    observable,
    require_disjoint,
    require_some,
)
from graphs.structure.search import reach


def markov_blanket(model: Model, node: NodeSet) -> frozenset[Node]:
    """The smallest set of nodes that makes a node independent of all others.

    Args:
        model: any model.
        node: one node, or a set of nodes to shield together.

    Raises:
        ValueError: an unknown node, no node, a directed cycle.

    >>> sorted(graphs.markov_blanket(graphs.parse("P(A) P(B|A) P(C) P(D|B,C) P(E|D)"), "B"))
    ['A', 'C', 'D']
    """
    graph = as_graph(model, any_member=True)
    inside = node_set(graph, node, "node")
    require_some(inside, "node")
    return blanket_of(graph, inside)


def blanket_of(graph: nx.Graph, inside: frozenset[Node]) -> frozenset[Node]:
    """The Markov blanket of nodes of the graph itself."""
    if not graph.is_directed():
        return frozenset(v for u in inside for v in graph[u]) - inside
    if spouses(graph):
        around = [f for f in families(graph, graph) if not inside.isdisjoint(f)]
        return frozenset(v for family in around for v in family) - inside
    below = {child for u in inside for child in graph.successors(u)} | inside
    parents = {parent for v in below for parent in graph.predecessors(v)}
    return frozenset(below | parents) - inside


def minimal_separator(
    model: Model,
    x: NodeSet,
    y: NodeSet,
    *,
    given: NodeSet | None = None,
    allowed: NodeSet | None = None,
    latent: NodeSet | None = None,
) -> frozenset[Node] | None:
    """A set Z that makes x and y independent and none of whose nodes can be left out.

    Minimal by inclusion; another separator may have fewer nodes.

    Args:
        model: any model.
        x, y: disjoint node sets.
        given: nodes that Z has to contain; these are not minimised over.
        allowed: the only other nodes that Z may contain; all by default.
        latent: nodes that Z may not contain, besides those the model marks as latent.

    Returns:
        The set, empty if x and y are independent as they are, or ``None`` if no set will do.

    Raises:
        ValueError: an unknown node, empty x or y, sets that overlap, a latent node in ``given``, a
            directed cycle.

    >>> clinic = graphs.textbook.structure("asia")
    >>> sorted(graphs.minimal_separator(clinic, "smoke", "dysp"))
    ['bronc', 'lung']
    >>> sorted(graphs.minimal_separator(clinic, "smoke", "dysp", allowed=["bronc", "either"]))
    ['bronc', 'either']
    >>> graphs.minimal_separator(clinic, "smoke", "dysp", latent="bronc") is None
    True
    """
    graph = as_graph(model, any_member=True)
    ends = node_set(graph, x, "x"), node_set(graph, y, "y")
    required = observable(graph, node_set(graph, given, "given"), latent)
    for nodes, role in zip(ends, "xy", strict=True):
        require_some(nodes, role)
        require_disjoint(nodes, role, required, "given")
    require_disjoint(ends[0], "x", ends[1], "y")
    asked = ends[0] | ends[1] | required
    moral = moral_ancestral(graph, asked) if graph.is_directed() else graph
    usable = frozenset(moral) if allowed is None else node_set(graph, allowed, "allowed")
    cut = usable.intersection(moral) - asked - latent_nodes(graph, latent)
    reached, cut = frontier(moral, ends[0], cut, required)
    if not reached.isdisjoint(ends[1]):
        return None
    return frontier(moral, ends[1], cut, required)[1] | required


def frontier(
    graph: nx.Graph,
    start: frozenset[Node],
    cut: frozenset[Node],
    removed: frozenset[Node] = frozenset(),
) -> tuple[set[Node], frozenset[Node]]:
    """What a search from the start reaches without entering the cut, and what it meets of it."""
    reached = reach(graph.__getitem__, start, cut | removed)
    return reached, frozenset(v for v in cut if not reached.isdisjoint(graph[v]))


# --- Markov properties --------------------------------------------------------------------------


def local_markov(model: Model, *, latent: NodeSet | None = None) -> Iterator[Independence]:
    r"""The local Markov property, one statement per node that has one.

    In a DAG v ⟂ non-descendants | parents, in an undirected graph v ⟂ all others | neighbours
    (Lauritzen 1996, section 3.2). In a DAG these imply every other independence. Statements that
    would observe a latent node are left out.

    Raises:
        ValueError: an unknown latent node, a directed cycle.

    >>> for statement in graphs.local_markov(graphs.parse("P(A) P(B|A) P(C|A) P(D|B,C)")):
    ...     print(statement)
    B ⟂ C | A
    C ⟂ B | A
    D ⟂ A | B, C
    """
    graph = as_graph(model)
    return _local(graph, latent_nodes(graph, latent))


def _local(graph: nx.Graph, latent: frozenset[Node]) -> Iterator[Independence]:
    nodes = frozenset(graph)
    for v in graph:
        near = frozenset(graph.predecessors(v) if graph.is_directed() else graph[v])
        below = nx.descendants(graph, v) if graph.is_directed() else frozenset()
        others = nodes - near - below - {v}
        if others and near.isdisjoint(latent):
            yield independence_of(graph, frozenset((v,)), others, near)


def pairwise_markov(model: Model, *, latent: NodeSet | None = None) -> Iterator[Independence]:
    r"""The pairwise Markov property, one statement per pair that is not adjacent.

    In an undirected graph u ⟂ v | all others; in a DAG u ⟂ v | the other non-descendants of u, for
    every v that is no descendant of u (Lauritzen 1996, section 3.2). Statements that would observe
    a latent node are left out.

    Raises:
        ValueError: an unknown latent node, a directed cycle.

    >>> for statement in graphs.pairwise_markov(nx.cycle_graph(["A", "B", "C", "D"])):
    ...     print(statement)
    A ⟂ C | B, D
    B ⟂ D | A, C
    """
    graph = as_graph(model)
    return _pairwise(graph, latent_nodes(graph, latent))


def _pairwise(graph: nx.Graph, latent: frozenset[Node]) -> Iterator[Independence]:
    directed = graph.is_directed()
    done: set[Node] = set()
    for u in graph:
        done.add(u)
        below = nx.descendants(graph, u) | {u} if directed else done
        rest = frozenset(graph) - (below if directed else {u})
        for v in graph:
            if v in below or graph.has_edge(u, v) or graph.has_edge(v, u):
                continue
            if (given := rest - {v}).isdisjoint(latent):
                yield independence_of(graph, frozenset((u,)), frozenset((v,)), given)
