"""Changes to a model, each refused with its reason where the result would be none.

Tables stay where they still fit: a node gets another name, or goes from the bottom of a Bayesian
network, where its table summed to one. Every other change leaves the structure alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import networkx as nx

from graphs.interactive.subject import MOST_NODES, Subject, plain
from graphs.language.notation import Node
from graphs.structure.edges import edges
from graphs.structure.factorization import Factorization
from graphs.structure.models import as_graph

Changed: TypeAlias = tuple[Subject, str]

LONGEST_NAME = 200
_LOST = "The tables no longer fit the graph, so the bars are off; undo brings them back."
_CLIQUES = "The factors are now one for every maximal clique."
_SIGNS = ("->", "<->", "--")


def add_node(subject: Subject, name: str) -> Changed:
    """A node more, joined to nothing."""
    graph = _copy(subject)
    _require_new(subject, name)
    if len(graph) >= MOST_NODES:
        raise ValueError(f"expected at most {MOST_NODES} nodes, got one more")
    graph.add_node(name)
    return _structure(subject, graph, f"Added {name}.")


def remove_node(subject: Subject, node: Node) -> Changed:
    """A node less, and its edges."""
    if len(subject.whole) == 1:
        raise ValueError(f"expected a model with some node, got none without {node!r}")
    graph = _copy(subject)
    sink = graph.is_directed() and not graph.out_degree(node)
    graph.remove_node(node)
    said = f"Removed {node}."
    if subject.tables and sink:
        from graphs.parameters.tables import Tables

        tables = subject.tables
        states = {v: names for v, names in tables.states.items() if v != node}
        factors = tuple(factor for factor in tables.factors if factor[0][-1] != node)
        kept = Tables(states, factors, True, tables.name)
        changed = Subject(graph, kept, subject.without, subject.randomised - {node})
        return changed, f"{said} No other table needs it, so the others stay as they are."
    return _structure(subject, graph, said)


def rename_node(subject: Subject, node: Node, name: str) -> Changed:
    """Another name for a node; nothing else changes."""
    _require_new(subject, name)

    def own(v: Node) -> Node:
        return name if v == node else v

    structure = subject.structure
    if isinstance(structure, Factorization):
        factors = tuple(
            replace(f, variables=tuple(map(own, f.variables)), given=tuple(map(own, f.given)))
            for f in structure.factors
        )
        structure = replace(structure, factors=factors, order=tuple(map(own, structure.order)))
    else:
        structure = nx.relabel_nodes(structure, {node: name})
    tables = subject.tables
    if tables is not None:
        from graphs.parameters.tables import Tables

        states = {own(v): names for v, names in tables.states.items()}
        scopes = [(tuple(map(own, scope)), array) for scope, array in tables.factors]
        tables = Tables(states, tuple(scopes), tables.directed, tables.name)
    randomised = frozenset(map(own, subject.randomised))
    return Subject(structure, tables, subject.without, randomised), f"{node} is now {name}."


def add_edge(subject: Subject, tail: Node, head: Node, sign: str | None = None) -> Changed:
    """An edge more: ``->``, ``<->`` or ``--``; by default what the model has."""
    graph = _copy(subject)
    directed = graph.is_directed()
    sign = sign or ("->" if directed else "--")
    if sign not in _SIGNS or (sign != "--" and not directed):
        expected = " or ".join(_SIGNS) if directed else "-- in an undirected model"
        raise ValueError(f"expected an edge {expected}, got {sign!r}")
    if tail == head:
        raise ValueError(f"expected an edge between two nodes, got {tail} {sign} {head}")
    known = next((e for e in edges(graph) if {e[0], e[2]} == {tail, head}), None)
    if known and not {known[1], sign} == {"->", "<->"}:
        raise ValueError(f"expected two nodes that no edge joins, got {_written(known)}")
    if sign == "<->":
        ends = (head, tail) if graph.has_edge(tail, head) else (tail, head)
        graph.add_edge(*ends, bidirected=True)
    elif sign == "--" and directed:
        graph.add_edge(tail, head, directed=False)
    else:
        if known and graph.has_edge(tail, head):  # a two-headed edge stands this way round
            graph.remove_edge(tail, head)
            graph.add_edge(head, tail, bidirected=True)
        graph.add_edge(tail, head)
    return _structure(subject, graph, f"Added {tail} {sign} {head}.")


def remove_edge(subject: Subject, tail: Node, head: Node, sign: str | None = None) -> Changed:
    """An edge less; of an arrow and a two-headed edge between the same nodes the one named."""
    graph = _copy(subject)
    found = _edge(graph, tail, head, sign)
    graph.remove_edges_from(_entries(graph, found))
    return _structure(subject, graph, f"Removed {_written(found)}.")


def reverse_edge(subject: Subject, tail: Node, head: Node) -> Changed:
    """An arrow the other way round."""
    graph = _copy(subject)
    found = _edge(graph, tail, head, None)
    if found[1] != "->" or sum({e[0], e[2]} == {tail, head} for e in edges(graph)) > 1:
        raise ValueError(f"expected an arrow alone to reverse, got {_written(found)}")
    graph.remove_edge(found[0], found[2])
    graph.add_edge(found[2], found[0])
    return _structure(subject, graph, f"Reversed {_written(found)}.")


EDITS: dict[str, Callable[..., Changed]] = {
    edit.__name__: edit
    for edit in (add_node, remove_node, rename_node, add_edge, remove_edge, reverse_edge)
}


# --- Helpers ------------------------------------------------------------------------------------


def _copy(subject: Subject) -> nx.Graph:
    return plain(subject.whole)


def _structure(subject: Subject, graph: nx.Graph, said: str) -> Changed:
    """The changed structure, once it is seen to be one."""
    as_graph(graph, any_member=True)
    lost = (_LOST,) if subject.tables else ()
    factors = isinstance(subject.structure, Factorization) and not graph.is_directed()
    parts = (said, *lost, *((_CLIQUES,) if factors else ()))
    without = _LOST if subject.tables else subject.without
    randomised = subject.randomised & set(graph)
    return Subject(graph, None, without, randomised), " ".join(parts)


def _require_new(subject: Subject, name: Any) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        raise ValueError(f"expected a name of 1 to {LONGEST_NAME} characters, got {name!r}")
    if name in subject.named:
        raise ValueError(f"expected a name that no node has, got {name!r}")


def _edge(graph: nx.Graph, tail: Node, head: Node, sign: str | None) -> tuple[Node, str, Node]:
    for found in edges(graph):
        if {found[0], found[2]} == {tail, head} and sign in (None, found[1]):
            return found
    kind = f" by {sign}" if sign else ""
    raise ValueError(f"expected two nodes that an edge joins{kind}, got {tail} and {head}")


def _entries(graph: nx.Graph, edge: tuple[Node, str, Node]) -> list[tuple[Node, Node]]:
    u, sign, v = edge
    both = sign == "--" and graph.is_directed() and graph.has_edge(v, u)
    return [(u, v), (v, u)] if both else [(u, v)]


def _written(edge: tuple[Node, str, Node]) -> str:
    return f"{edge[0]} {edge[1]} {edge[2]}"
