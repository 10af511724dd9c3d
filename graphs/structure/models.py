"""Any model as a graph, and the factorization it states.

:func:`as_graph` reduces whatever a user has to the networkx graph the rest of the package reasons
about; :func:`factorization` writes the product of any model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import networkx as nx

from graphs.language.notation import Node
from graphs.structure.factorization import Factor, Factorization
from graphs.structure.foreign_graphs import marked
from graphs.structure.mixed import (
    has_marks,
    one_member,
    refuse_bidirected,
    spouses,
    undirected_edges,
)
from graphs.structure.search import require_acyclic

Model: TypeAlias = Any  # a networkx graph, a pgmpy model or a Factorization


def as_graph(model: Model, acyclic: bool = True, any_member: bool = False) -> nx.DiGraph | nx.Graph:
    """The graph over the variables of any supported model; never copied when it is one already.

    Args:
        model: a networkx graph, a pgmpy DAG, Bayesian network, Markov network or factor graph, a
            :class:`Factorization`, or a mixed graph as in :mod:`graphs.structure.foreign_graphs`.
        acyclic: whether to refuse directed cycles, at a cost of O(nodes + edges); a caller that
            looks at a small part of a large graph checks that part instead, and edges that are no
            arrows are left as they are.
        any_member: whether a DAG of the class may stand for a partially directed graph, because
            every member gives the same answer, and a DAG whose
            :func:`graphs.structure.mixed.spouses` the caller looks at for a graph with two-headed
            edges.

    Raises:
        ValueError: another type, a multigraph, an undirected self-loop, a directed cycle, edges
            with two heads where only a DAG will do, or a partially directed graph where its members
            differ.

    >>> graphs.as_graph(graphs.parse("P(A) P(B) P(C|A,B)")).edges
    OutEdgeView([('A', 'C'), ('B', 'C')])
    >>> graphs.as_graph(graphs.parse("1/Z φ1(A,B) φ2(B,C)")).edges
    EdgeView([('A', 'B'), ('B', 'C')])
    """
    if isinstance(model, Factorization):
        return model.graph
    model = marked(model)
    if not isinstance(model, nx.Graph):
        raise ValueError(
            "expected a networkx graph, a pgmpy model or a graphs.Factorization, got "
            f"{type(model).__name__}" + (" (use graphs.parse)" if isinstance(model, str) else "")
        )
    if model.is_multigraph():
        raise ValueError(
            "expected a graph without parallel edges, or a MultiDiGraph whose edges all have the "
            f"type 'directed' or 'bidirected', got {type(model).__name__}"
        )
    if hasattr(model, "get_factor_nodes"):
        return factorization(model).graph
    if not model.is_directed():
        for node in nx.nodes_with_selfloops(model):
            raise ValueError(f"expected a graph without self-loops, got {node!r} - {node!r}")
    elif acyclic:
        if any_member:
            model = one_member(model)
        elif spouses(model) or has_marks(model):
            refuse_bidirected(model)
            u, v = undirected_edges(model)[0]
            raise ValueError(
                "expected a DAG or an undirected graph, got a partially directed one with the edge "
                f"{u} - {v}, on whose direction the answer depends"
            )
        require_acyclic(model)
    return model


def factorization(model: Model) -> Factorization:
    r"""The factorization a model states.

    A DAG gives :math:`\prod_i P(x_i \mid \mathrm{pa}_i)`; a Markov network or factor graph with
    potentials gives one factor per potential; a bare undirected graph one per maximal clique (the
    Hammersley–Clifford form, most general for it).

    Raises:
        ValueError: not a model, a directed cycle, a partially directed graph, or an edge with two
            heads, whose latent common cause a factorization would have to name.

    >>> print(graphs.factorization(nx.DiGraph([("A", "B"), ("A", "C"), ("B", "C")])))
    P(A, B, C) = P(A) P(B | A) P(C | A, B)
    >>> print(graphs.factorization(nx.Graph([("A", "B"), ("B", "C"), ("A", "C"), ("C", "D")])))
    P(A, B, C, D) = 1/Z φ1(A, B, C) φ2(C, D)
    """
    if isinstance(model, Factorization):
        return model
    if hasattr(model, "get_factor_nodes"):
        scopes = _scopes(model.get_factors())
        covered = {v for scope in scopes for v in scope}
        # pgmpy's own list of variables refuses the factor graphs that its Markov networks make
        lone = [v for v in model if not model.degree(v) and not hasattr(v, "scope")]
        scopes += [(v,) for v in lone if v not in covered]
        return _undirected(scopes)
    graph = as_graph(model, acyclic=False)
    if graph.is_directed():
        refuse_bidirected(graph, "a DAG to factorize, in which every common cause is a node")
        as_graph(graph)
        factors = tuple(Factor("P", (v,), tuple(graph.predecessors(v))) for v in graph)
        return Factorization(factors, True, tuple(graph))
    rank = {v: i for i, v in enumerate(graph)}
    potentials = getattr(model, "factors", None)
    if potentials:
        scopes = _scopes(potentials)
        covered = {v for scope in scopes for v in scope}
        scopes += [(v,) for v in graph if v not in covered]
    else:
        cliques = [sorted(clique, key=rank.__getitem__) for clique in nx.find_cliques(graph)]
        scopes = [tuple(c) for c in sorted(cliques, key=lambda c: [rank[v] for v in c])]
    return _undirected(scopes, tuple(graph))


def _scopes(potentials: Iterable[Any]) -> list[tuple[Node, ...]]:
    """Of a model's potentials, less those that are constants."""
    return [scope for factor in potentials if (scope := tuple(factor.scope()))]


def _undirected(scopes: Sequence[tuple[Node, ...]], order: tuple[Node, ...] = ()) -> Factorization:
    factors = tuple(Factor(f"φ{i}", scope) for i, scope in enumerate(scopes, start=1))
    return Factorization(factors, False, order)
