"""Searches of graphs: what lies above, and whether arrows go round.

They read the dictionaries inside networkx's graphs (:func:`neighbours_of`, :func:`parents_of`,
:func:`children_of`), whose public views cost three times as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Container, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import networkx as nx

from graphs.language.notation import Node

T = TypeVar("T", bound=Hashable)


def parents_of(graph: nx.DiGraph) -> Mapping[Node, Mapping[Node, Any]]:
    """The parents of every node, with the attributes of the edges."""
    return graph._pred


def children_of(graph: nx.DiGraph) -> Mapping[Node, Mapping[Node, Any]]:
    """The children of every node, with the attributes of the edges."""
    return graph._succ


def neighbours_of(graph: nx.Graph) -> Mapping[Node, Mapping[Node, Any]]:
    """The neighbours of every node of an undirected graph, with the attributes of the edges."""
    return graph._adj


_ACYCLIC = "graphs: acyclic"


def require_acyclic(graph: nx.DiGraph, within: Collection[Node] | None = None) -> None:
    """Raise ``ValueError`` naming a directed cycle, if there is one.

    Args:
        graph: the directed graph.
        within: a set of nodes that holds all its ancestors, to look at these alone.
    """
    # networkx empties this dictionary whenever the graph changes; a view of another graph it cannot
    remembered = {} if hasattr(graph, "_graph") else getattr(graph, "__networkx_cache__", {})
    if _ACYCLIC in remembered:
        return
    parents, children = parents_of(graph), children_of(graph)
    waiting = {v: len(parents[v]) for v in (graph if within is None else within)}
    ready = [v for v, parents in waiting.items() if not parents]
    left = len(waiting)
    while ready:
        left -= 1
        for child in children[ready.pop()]:
            if child in waiting:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
    if left:
        cycle = [u for u, _ in nx.find_cycle(graph.subgraph(v for v in waiting if waiting[v]))]
        loop = " -> ".join(map(str, cycle + cycle[:1]))
        raise ValueError(f"expected an acyclic directed graph, got the cycle {loop}")
    if within is None:
        remembered[_ACYCLIC] = True


def ancestors(graph: nx.DiGraph, nodes: Iterable[Node]) -> set[Node]:
    """The nodes and everything with a directed path to one of them."""
    return reach(parents_of(graph).__getitem__, nodes)


def reach(
    onwards: Callable[[T], Iterable[T]], start: Iterable[T], blocked: Container[T] = ()
) -> set[T]:
    """The start and everything that steps from it lead to without entering what is blocked."""
    found = set(start)
    stack = list(found)
    while stack:
        for v in onwards(stack.pop()):
            if v not in found and v not in blocked:
                found.add(v)
                stack.append(v)
    return found


def shortest_path(
    onwards: Callable[[T], Iterable[T]], start: Iterable[T], goal: Callable[[T], bool]
) -> tuple[T, ...] | None:
    """A path of fewest steps from the start to a goal, by breadth-first search."""
    came: dict[T, T | None] = dict.fromkeys(start)
    queue = deque(came)
    while queue:
        u = queue.popleft()
        if goal(u):
            path = [u]
            while (before := came[path[-1]]) is not None:
                path.append(before)
            return tuple(reversed(path))
        for v in onwards(u):
            if v not in came:
                came[v] = u
                queue.append(v)
    return None
