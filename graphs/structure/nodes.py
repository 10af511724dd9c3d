"""Sets of nodes as users name them, checked against the nodes a graph has."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from itertools import islice
from typing import Any

import networkx as nx

from graphs.language.notation import Node
from graphs.language.suggestions import nearest
from graphs.structure.search import children_of, parents_of

NodeSet = Node | Iterable[Node]


def node_set(
    known: Collection[Node], nodes: Node | Iterable[Node] | None, role: str
) -> frozenset[Node]:
    """One name or an iterable of names as a set of nodes of the graph.

    A string or a tuple that is itself a node counts as one name.

    Raises:
        ValueError: an unknown node, with the nearest known name, or how to pass its parts where
            those are nodes.
    """
    if nodes is None:
        return frozenset()
    members: Iterable[Any] = (nodes,)
    if not contains(known, nodes) and isinstance(nodes, Iterable) and not isinstance(nodes, str):
        members = nodes
    result = set()
    for node in members:
        if not contains(known, node):
            got = _flat_list(known, node) or unknown(known, node)
            raise ValueError(f"expected nodes of the graph for {role}, got {got}")
        result.add(node)
    return frozenset(result)


def _flat_list(known: Collection[Node], node: Any) -> str | None:
    """What to write for a name that is several nodes in one, if it is."""
    parts = [part.strip() for part in node.split(",")] if isinstance(node, str) else node
    if not isinstance(parts, Collection) or len(parts) < 2:
        return None
    if not all(contains(known, part) for part in parts):
        return None
    return f"{node!r}, whose parts are nodes: pass several nodes as one flat list, {list(parts)!r}"


def find_nodes(graph: nx.Graph, names: Iterable[str], role: str) -> frozenset[Node]:
    """The nodes of the graph with these names, or else those that are written like them.

    Raises:
        ValueError: a name that fits no node, or several that are written alike.
    """
    names = tuple(names)
    written: dict[str, list[Node]] = {}
    if not all(name in graph for name in names) or any(type(v) is not str for v in graph):
        for v in graph:
            written.setdefault(str(v), []).append(v)
    for name in names:
        if len(alike := written.get(name, ())) > 1:
            several = " and ".join(map(repr, alike))
            raise ValueError(f"expected a name of one node for {role}, got {name!r} for {several}")
    return node_set(graph, [written.get(name, [name])[0] for name in names], role)


def contains(known: Container[Any], node: Any) -> bool:
    """Whether something is among the names known; what cannot be a name is not."""
    try:
        return node in known
    except TypeError:
        return False


def unknown(known: Iterable[Node], node: Any) -> str:
    """``'smok' (did you mean 'smoke'?)``, for error messages."""
    names = {str(name): name for name in islice(known, 10_000)}
    meant = nearest(str(node), names)
    if meant is not None:
        return f"{node!r} (did you mean {names[meant]!r}?)"
    listing = ", ".join(list(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"{node!r}; the nodes are {listing}"


def observable(
    graph: nx.Graph, given: frozenset[Node], latent: NodeSet | None = None
) -> frozenset[Node]:
    """The conditioning set, once it is seen to hold no latent node."""
    hidden = node_set(graph, latent, "latent")
    for v in given:
        if v in hidden or _is_latent(graph, v):
            raise ValueError(f"expected observable nodes for given, got the latent node {v!r}")
    return given


def determined(graph: nx.Graph, given: frozenset[Node]) -> frozenset[Node]:
    """What is known with the nodes given: they, and the functions of what is known.

    A function is a node with a true attribute ``deterministic``, all of whose parents say what its
    value is (Geiger, Verma and Pearl 1990).
    """
    if not graph.is_directed():
        return given
    known, waiting, attributes = set(given), list(given), graph.nodes
    children, parents = children_of(graph), parents_of(graph)
    while waiting:
        for v in children[waiting.pop()]:
            function = v not in known and attributes[v].get("deterministic")
            if function and known.issuperset(parents[v]):
                known.add(v)
                waiting.append(v)
    return frozenset(known) if len(known) > len(given) else given


def latent_nodes(graph: nx.Graph, latent: NodeSet | None = None) -> frozenset[Node]:
    """The named latent nodes and those the model marks."""
    marked = {v for v, attributes in graph.nodes(data=True) if attributes and _marks(attributes)}
    return node_set(graph, latent, "latent") | marked | set(vars(graph).get("latents", ()))


def _is_latent(graph: nx.Graph, node: Node) -> bool:
    return _marks(graph.nodes[node]) or node in vars(graph).get("latents", ())


def _marks(attributes: dict[str, Any]) -> bool:
    """A true attribute ``latent``, or pgmpy's role; before version 1.1 the graph had a set."""
    return bool(attributes.get("latent") or "latents" in (attributes.get("roles") or ()))


def require_some(nodes: frozenset[Node], role: str) -> None:
    """Raise ``ValueError`` for an empty set."""
    if not nodes:
        raise ValueError(f"expected at least one node for {role}, got none")


def require_disjoint(a: frozenset[Node], role: str, b: frozenset[Node], other: str) -> None:
    """Raise ``ValueError`` naming the nodes that two sets share."""
    if not a.isdisjoint(b):
        shared = ", ".join(sorted(map(repr, a & b)))
        raise ValueError(f"expected disjoint sets, got {shared} in both {role} and {other}")
