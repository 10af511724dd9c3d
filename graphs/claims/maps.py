r"""Which graph represents which: I-maps, perfect maps, equivalence and essential graphs.

Write :math:`I(G)` for the independences a graph asserts, by d-separation when it is a DAG and by
separation when it is undirected. A graph :math:`K` is an *I-map* of :math:`G` when
:math:`I(K) \subseteq I(G)`, and a *perfect map* when :math:`I(K) = I(G)` (Pearl 1988, chapter 3).
None of this needs all triples of node sets:

- A DAG :math:`K` is an I-map of a graphoid iff every node is independent of its non-descendants
  given its parents (Verma and Pearl 1988), so one reachability search per node decides.
- An undirected :math:`K` is an I-map of a DAG iff it contains the moral graph, and of an undirected
  graph iff it contains its edges (Lauritzen et al. 1990).
- Two DAGs are equivalent iff they have the same skeleton and the same v-structures (Verma and Pearl
  1990). The essential graph directs the edges all equivalent DAGs agree on (Andersson et al. 1997).
- A DAG has an undirected perfect map iff it has no v-structure, an undirected graph a directed one
  iff it is chordal, that is, every cycle of four or more nodes has a chord (Pearl 1988).

When the answer is no, the statement that shows it is kept and was checked in both graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TypeAlias

import networkx as nx

from graphs.language.answers import Explained
from graphs.language.notation import Node
from graphs.separation.independence import Independence, independence_of
from graphs.structure.chordal import chordless_cycle, moralize
from graphs.structure.mixed import refuse_bidirected, two_headed
from graphs.structure.models import Model, as_graph
from graphs.structure.search import reach

Pair: TypeAlias = tuple[nx.Graph, nx.Graph]
Triple: TypeAlias = tuple[Node, Node, frozenset[Node]]


def essential_graph(dag: Model) -> nx.DiGraph:
    """The equivalence class of a DAG as one graph, also called its CPDAG.

    Edges that every equivalent DAG directs alike appear once, with ``directed=True``; the others
    appear in both directions with ``directed=False``. Labelled by the algorithm of Chickering
    (1995).

    Raises:
        ValueError: an undirected model, two-headed edges, or a directed graph with a cycle.

    >>> dag = graphs.parse("P(A) P(B|A) P(C) P(D|B,C)")
    >>> graphs.essential_graph(dag).edges(data="directed")
    OutEdgeDataView([('A', 'B', False), ('B', 'A', False), ('B', 'D', True), ('C', 'D', True)])
    """
    graph = _dag(dag, "dag")
    order = list(nx.topological_sort(graph))
    rank = {v: i for i, v in enumerate(order)}
    compelled: dict[Node, set[Node]] = {}
    for child in order:
        parents = set(graph.pred[child])
        last = max(parents, key=rank.__getitem__, default=None)
        inherited = compelled[last] if parents else set()
        married = parents - {last} <= graph.pred[last].keys() if parents else True
        compelled[child] = inherited if married and inherited <= parents else parents
    essential = nx.DiGraph()
    essential.add_nodes_from(graph.nodes(data=True))
    for u, v in graph.edges:
        directed = u in compelled[v]
        essential.add_edge(u, v, directed=directed)
        if not directed:
            essential.add_edge(v, u, directed=False)
    return essential


def _dag(model: Model, role: str) -> nx.DiGraph:
    graph = as_graph(model, any_member=True)
    if not graph.is_directed():
        raise ValueError(f"expected a DAG for {role}, got an undirected graph")
    refuse_bidirected(graph, f"a DAG for {role}")
    return graph


# --- I-maps and perfect maps --------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class MapResult(Explained):
    """Whether one graph represents another; true or false as a condition.

    Attributes:
        holds: the answer.
        reason: the theorem, or the difference between the graphs, in one or two sentences.
        counterexample: when the answer is no, a statement on which the graphs disagree, asked of
            the graph where it fails, so that its ``path`` is active there.
        holds_in: which graph asserts the statement: ``"candidate"`` or ``"model"``, or
            ``"first DAG"`` or ``"second DAG"`` for :func:`equivalent`.
        fails_in: the other graph.

    >>> collider, chain = graphs.parse("P(A) P(C) P(B|A,C)"), graphs.parse("P(A) P(B|A) P(C|B)")
    >>> result = graphs.equivalent(collider, chain)
    >>> bool(result), result.holds_in, result.fails_in
    (False, 'second DAG', 'first DAG')
    >>> result.counterexample, result.counterexample.path
    (<Independence A ⟂ C | B: False>, ('A', 'B', 'C'))
    """

    holds: bool
    reason: str
    counterexample: Independence | None = None
    holds_in: str | None = None
    fails_in: str | None = None

    def __bool__(self) -> bool:
        return self.holds

    def explain(self) -> str:
        """The reason and, when the answer is no, the statement that shows it, in English."""
        if self.counterexample is None:
            return self.reason
        return (
            f"{self.reason}\n{self.counterexample} holds in the {self.holds_in}. "
            f"In the {self.fails_in} {self.counterexample.explain()}"
        )

    def __repr__(self) -> str:
        return f"<MapResult {self.holds}: {self.reason}>"

    def _repr_html_(self) -> str:
        from graphs.pictures.shown import answer_html

        return answer_html(self.counterexample, self.explain())


def is_imap(candidate: Model, of: Model) -> MapResult:
    """Whether every independence the candidate asserts holds in the model.

    Both may be directed or undirected, and the model may have two-headed edges. Costs one pass over
    the edges, or one search per node where no order of the nodes suits both DAGs or the model alone
    is undirected or has two-headed edges.

    Raises:
        ValueError: not models, models over different nodes, or a candidate with two-headed edges.

    >>> collider = graphs.parse("P(A) P(C) P(B|A,C)")
    >>> bool(graphs.is_imap(graphs.moralize(collider), of=collider))
    True
    >>> print(graphs.is_imap(nx.Graph([("A", "B"), ("B", "C")]), of=collider).explain())
    The candidate is not an I-map of the model: it asserts too much.
    A ⟂ C | B holds in the candidate. In the model A ⟂ C | B does not hold: a path is active.
      A → B ← C
      - B is a collider (a common effect) that is observed: open.
    """
    graphs = _same_nodes(candidate, of, ("candidate", "model"))
    refuse_bidirected(graphs[0], "a DAG or an undirected graph for candidate")
    asserted = next(violations(*graphs), None)
    if asserted:
        reason = "The candidate is not an I-map of the model: it asserts too much."
        return _no(reason, asserted, graphs, ("candidate", "model"))
    if graphs[0].is_directed():
        why = (
            "in the model every node is independent of the nodes before it given its parents in "
            "the candidate, and all else d-separation reads from the candidate follows (Verma and "
            "Pearl 1988)"
        )
    elif graphs[1].is_directed():
        why = "it contains every edge of the model's moral graph (Lauritzen et al. 1990)"
    else:
        why = "it contains every edge of the model"
    return MapResult(True, f"The candidate is an I-map of the model: {why}.")


def is_perfect_map(candidate: Model, of: Model) -> MapResult:
    """Whether the candidate asserts exactly the independences of the model.

    So it is iff both have the same skeleton and the same v-structures, of which an undirected
    graph has none. Time linear in the moral graph.

    Raises:
        ValueError: not models, models over different nodes, or one with two-headed edges.

    >>> chain, collider = graphs.parse("P(A) P(B|A) P(C|B)"), graphs.parse("P(A) P(C) P(B|A,C)")
    >>> bool(graphs.is_perfect_map(graphs.moralize(chain), of=chain))
    True
    >>> bool(graphs.is_perfect_map(graphs.moralize(collider), of=collider))
    False
    """
    graphs = _same_nodes(candidate, of, ("candidate", "model"))
    for graph, role in zip(graphs, ("candidate", "of"), strict=True):
        refuse_bidirected(graph, f"a DAG or an undirected graph for {role}")
    return _same_independences(graphs, ("candidate", "model"), "a perfect map of the model")


def equivalent(dag1: Model, dag2: Model) -> MapResult:
    """Whether two DAGs assert the same independences (I-equivalence).

    Raises:
        ValueError: a model that is undirected or has two-headed edges, or DAGs over different
            nodes.

    >>> chain, fork = graphs.parse("P(A) P(B|A) P(C|B)"), graphs.parse("P(B) P(A|B) P(C|B)")
    >>> bool(graphs.equivalent(chain, fork))
    True
    >>> bool(graphs.equivalent(chain, graphs.parse("P(A) P(C) P(B|A,C)")))
    False
    """
    graphs = _same_nodes(_dag(dag1, "dag1"), _dag(dag2, "dag2"), ("first DAG", "second DAG"))
    return _same_independences(graphs, ("first DAG", "second DAG"), "equivalent to the second DAG")


def _same_independences(graphs: Pair, names: tuple[str, str], what: str) -> MapResult:
    """Verma and Pearl's criterion, with the statement that shows a difference."""
    subject = f"The {names[0]}"
    difference = _difference(graphs, names)
    if difference is None:
        why = "same skeleton and the same v-structures (Verma and Pearl 1990)"
        if not any(g.is_directed() for g in graphs):
            why = "same edges"
        elif not all(g.is_directed() for g in graphs):
            why = "same skeleton and the DAG has no v-structure (Pearl 1988)"
        return MapResult(True, f"{subject} is {what}: both have the {why}.")
    (u, w), only_in, description = difference
    holder = 1 - only_in
    order = (graphs[holder], graphs[only_in])
    asserted = (u, w, _separator(graphs[holder], u, w))
    reason = f"{subject} is not {what}: {description}."
    if obstruction := _obstruction(*graphs):
        reason += f" {obstruction}"
    return _no(reason, asserted, order, (names[holder], names[only_in]))


def _difference(graphs: Pair, names: tuple[str, str]) -> tuple[tuple[Node, Node], int, str] | None:
    """A pair of nodes, the graph that joins them or makes them meet, and the fact in words."""
    for i, graph in enumerate(graphs):
        other = graphs[1 - i]
        for u, w in graph.edges:
            if not (other.has_edge(u, w) or other.has_edge(w, u)):
                return (u, w), i, f"{u} and {w} are adjacent only in the {names[i]}"
    for i, graph in enumerate(graphs):
        other = set(_v_structures(graphs[1 - i]))
        for u, child, w in _v_structures(graph):
            if (u, child, w) not in other and (w, child, u) not in other:
                return (u, w), i, f"{u} → {child} ← {w} is a v-structure only in the {names[i]}"
    return None


def _v_structures(graph: nx.Graph) -> Iterator[tuple[Node, Node, Node]]:
    """Every u → c ← w with u and w not adjacent; none in an undirected graph."""
    if graph.is_directed():
        for child in graph:
            for u, w in combinations(graph.pred[child], 2):
                if not (graph.has_edge(u, w) or graph.has_edge(w, u)):
                    yield u, child, w


def _obstruction(candidate: nx.Graph, model: nx.Graph) -> str | None:
    """Why no graph of the candidate's kind is a perfect map of the model, if that is so."""
    if model.is_directed() and not candidate.is_directed():
        for u, child, w in _v_structures(model):
            return (
                f"No undirected graph is one, since the model has the v-structure "
                f"{u} → {child} ← {w}."
            )
    if candidate.is_directed() and not model.is_directed():
        cycle = chordless_cycle(model)
        if cycle:
            listing = " - ".join(map(str, (*cycle, cycle[0])))
            return f"No DAG is one, since the model has the chordless cycle {listing}."
    return None


def violations(candidate: nx.Graph, model: nx.Graph) -> Iterator[Triple]:
    """Statements the candidate asserts, about a node or a pair each; none in an I-map of the model.

    The first is false in the model. Later ones of an undirected candidate may be true.
    """
    if candidate.is_directed():
        if _one_order(candidate, model):
            missing = (edge for edge in model.edges if not candidate.has_edge(*edge))
            yield from ((v, u, frozenset(candidate.pred[v])) for u, v in missing)
            return
        earlier: set[Node] = set()
        for v in nx.topological_sort(candidate):
            parents = frozenset(candidate.pred[v])
            others = frozenset(earlier - parents)
            path = independence_of(model, frozenset((v,)), others, parents).path if others else None
            if path:
                yield v, path[-1], parents
            earlier.add(v)
        return
    # missing edges of the skeleton first: once all are there, any separator of unmarried parents
    # contains their child, so the statement fails in the model
    rank = {v: i for i, v in enumerate(model)}
    married = moralize(model).graph["married"]
    for pair in chain(model.edges, two_headed(model), married):
        if not candidate.has_edge(*pair):
            u, w = sorted(pair, key=rank.__getitem__)
            if two_headed(model):  # a smaller separator may leave a collider of a path closed
                yield u, w, frozenset(candidate) - {u, w}
            else:
                yield u, w, _separator(candidate, u, w)


def _one_order(candidate: nx.DiGraph, model: nx.Graph) -> bool:
    """Whether one order of the same nodes suits both DAGs, so that the edges alone decide."""
    if not model.is_directed() or len(candidate) < len(model) or two_headed(model):
        return False
    return nx.is_directed_acyclic_graph(nx.DiGraph([*candidate.edges, *model.edges]))


def _separator(graph: nx.Graph, u: Node, w: Node) -> frozenset[Node]:
    """A set that separates two nodes that are not adjacent.

    In a DAG the parents of the later one, in an undirected graph the neighbours of the first that
    have another path to the second.
    """
    if graph.is_directed():
        later = u if nx.has_path(graph, w, u) else w
        return frozenset(graph.pred[later])
    ring = set(graph[u])
    beyond = reach(graph.__getitem__, [w], ring)
    return frozenset(v for v in ring if not beyond.isdisjoint(graph[v]))


def _no(reason: str, triple: Triple, graphs: Pair, names: tuple[str, str]) -> MapResult:
    """The refusal, once its statement is seen to hold in the first graph, not in the second."""
    u, w, given = triple
    claimed, counterexample = (
        independence_of(g, frozenset((u,)), frozenset((w,)), given) for g in graphs
    )
    assert claimed.holds
    assert not counterexample.holds
    return MapResult(False, reason, counterexample, *names)


def _same_nodes(one: Model, other: Model, names: tuple[str, str]) -> Pair:
    graphs = as_graph(one, any_member=True), as_graph(other, any_member=True)
    odd = [(v, names[g is graphs[1]]) for g in graphs for v in g if v not in graphs[g is graphs[0]]]
    if odd:
        v, name = odd[0]
        raise ValueError(
            f"expected the same nodes in the {names[0]} and the {names[1]}, got {v!r} only in the "
            f"{name}"
        )
    return graphs
