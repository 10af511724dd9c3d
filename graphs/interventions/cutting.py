r"""Models in which variables are set from outside.

Setting X removes what decided on X, its arrows in and its table, and leaves everything else as it
is; a Bayesian network becomes the *truncated factorization*

.. math::

    P(v \mid \mathrm{do}(x)) = \prod_{i \notin X} P(v_i \mid \mathrm{pa}_i)\Big|_{X = x}

(Pearl 2009, equation 3.10).
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from graphs.language.notation import Node
from graphs.parameters.bridge import tables_of, to_pgmpy
from graphs.parameters.states import StateNames
from graphs.parameters.tables import Scope, Tables
from graphs.structure.mixed import is_two_headed, undirected_edges
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import (
    NodeSet,
    contains,
    latent_nodes,
    node_set,
    observable,
    require_disjoint,
    require_some,
    unknown,
)
from graphs.structure.search import require_acyclic


def do(model: Model | Callable[..., Any], x: NodeSet | Mapping[Node, Any]) -> Any:
    """The model with variables set from outside.

    Args:
        model: a directed model, with tables if values are set; or a Pyro program.
        x: which variables, each with the value it is set to. Names alone say that they are set to
            something, as in an experiment that randomises them.

    Returns:
        With names alone, the graph as a ``DiGraph`` without the arrows (and two-headed edges) into
        the nodes named. With values, a pgmpy network whose nodes set have no parents and all
        probability at their value, or a Pyro program as ``pyro.poutine.do`` makes it: a variable
        that is set keeps its site, drawn anew, and its children see the value.

    Raises:
        ValueError: an unknown node or state, an undirected model, a graph given values or a program
            given names alone; by the program once it has run, a name that it never drew.

    >>> lawn = graphs.textbook.sprinkler()
    >>> graphs.do(lawn, "sprinkler").edges
    OutEdgeView([('cloudy', 'rain'), ('sprinkler', 'wet_grass'), ('rain', 'wet_grass')])

    Seeing the sprinkler on makes clouds less likely; turning it on does not:

    >>> graphs.marginal(lawn, "cloudy", {"sprinkler": "yes"})
    tensor([0.1667, 0.8333], dtype=torch.float64)
    >>> graphs.marginal(graphs.do(lawn, {"sprinkler": "yes"}), "cloudy")
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    if callable(model) and not isinstance(model, nx.Graph) and not hasattr(model, "factors"):
        return _program(model, x)
    graph = directed(model)
    if isinstance(x, Mapping):
        require_some(node_set(graph, x, "x"), "x")
        network = to_pgmpy(truncated(tables_of(model), x))
        for node in latent_nodes(graph):
            network.nodes[node]["latent"] = True
        return network
    nodes = node_set(graph, x, "x")
    require_some(nodes, "x")
    return without(graph, lambda u, v, two: v in nodes or (two and u in nodes))


def truncated(tables: Tables, x: Mapping[Node, Any]) -> Tables:
    """The tables of a network in which these nodes are set to these states."""
    codes = state_codes(tables.states, x)
    factors: list[tuple[Scope, np.ndarray]] = []
    for scope, table in tables.factors:
        node = scope[-1]
        if node in codes:
            certain = np.zeros(len(tables.states[node]))
            certain[codes[node]] = 1.0
            factors.append(((node,), certain))
        else:
            factors.append((scope, table))
    return Tables(tables.states, tuple(factors), True, tables.name)


def state_codes(
    states: Mapping[Node, Sequence[Hashable]], x: Mapping[Node, Any]
) -> dict[Node, int]:
    """The index of the state that each node is set to."""
    require_states(x)
    codes = {}
    for node, value in x.items():
        if not contains(states, node):
            raise ValueError(f"expected a node of the model, got {unknown(states, node)}")
        codes[node] = StateNames(node, states[node]).index(value)
        if codes[node] < 0:
            raise ValueError(f"expected a state for {node!r} to be set to, got {value!r}")
    return codes


def require_states(x: object) -> None:
    """Raise ``ValueError`` for what says no states, as names alone do."""
    if not isinstance(x, Mapping) or not x:
        raise ValueError(f"expected states for nodes to be set to, as {{'x': 1}}, got {x!r}")


# --- Graphs -------------------------------------------------------------------------------------


def directed(model: Model) -> nx.DiGraph:
    """The graph of a directed model, marked latent nodes and two-headed edges included.

    Raises:
        ValueError: an undirected or partially directed graph, or a cycle.
    """
    graph = as_graph(model, acyclic=False)
    if not graph.is_directed():
        raise ValueError(
            "expected a directed model, in which arrows say what decides on what, got an "
            "undirected one"
        )
    for u, v in undirected_edges(graph):
        raise ValueError(
            f"expected a DAG, got a partially directed graph with the edge {u} - {v}, on whose "
            "direction the effect depends"
        )
    plain = without(graph, lambda u, v, two: False)
    require_acyclic(without(plain, lambda u, v, two: two))
    for v in latent_nodes(graph):
        plain.nodes[v]["latent"] = True
    return plain


def causal_question(
    model: Model,
    x: NodeSet,
    y: NodeSet,
    given: NodeSet | None,
    forbidden: NodeSet | None,
    latent: NodeSet | None,
) -> tuple[frozenset[Node], frozenset[Node], frozenset[Node] | None, nx.DiGraph, frozenset[Node]]:
    """Cause, effect, the set to be judged, the graph, and what no such set may hold.

    Raises:
        ValueError: an unknown node, empty or overlapping sets, x or y latent, a set to be judged
            with a node that it may not hold, and what :func:`directed` raises.
    """
    graph = directed(model)
    causes, effects = node_set(graph, x, "x"), node_set(graph, y, "y")
    hidden = latent_nodes(graph, latent)
    for nodes, role in ((causes, "x"), (effects, "y")):
        require_some(nodes, role)
        require_disjoint(nodes, role, hidden, "latent")
    require_disjoint(causes, "x", effects, "y")
    for v in hidden:
        graph.nodes[v]["latent"] = True
    excluded = node_set(graph, forbidden, "forbidden") | hidden
    if given is None:
        return causes, effects, None, graph, excluded
    asked = observable(graph, node_set(graph, given, "given"), latent)
    for nodes, role in ((causes, "x"), (effects, "y"), (excluded, "forbidden")):
        require_disjoint(asked, "given", nodes, role)
    return causes, effects, asked, graph, excluded


def without(graph: nx.DiGraph, cut: Callable[[Node, Node, bool], bool]) -> nx.DiGraph:
    """The graph less the edges u → v (or, with a third argument that is true, u ↔ v) to be cut."""
    left = nx.DiGraph()
    for v, data in graph.nodes(data=True):
        # what is a function of its parents is one no longer when an edge from them is cut
        left.add_node(v, **{name: value for name, value in data.items() if name != "deterministic"})
    edges = graph.edges(data=True)
    left.add_edges_from(
        (u, v, data)
        for u, v, data in edges
        if not (cut(u, v, True) or cut(v, u, True) if is_two_headed(data) else cut(u, v, False))
    )
    return left


# --- Programs -----------------------------------------------------------------------------------


def _program(program: Callable[..., Any], x: Any) -> Callable[..., Any]:
    """The program under ``poutine.do``, which would not mind a name that is not drawn."""
    import pyro.poutine
    import torch
    from pyro.poutine.messenger import Messenger

    if not isinstance(x, Mapping) or not x:
        raise ValueError(
            f"expected values for the sites of a program to be set to, as {{'x': 1.0}}, got {x!r}"
        )
    values: dict[str, torch.Tensor | numbers.Number] = {
        name: torch.as_tensor(value) for name, value in x.items()
    }

    class Seen(Messenger):
        """Notes which names were drawn."""

        def __enter__(self) -> Any:
            self.missing = dict.fromkeys(values)
            return super().__enter__()

        def _pyro_sample(self, msg: Any) -> None:
            self.missing.pop(msg["name"], None)

    intervened = pyro.poutine.do(program, data=values)

    def run(*args: Any, **kwargs: Any) -> Any:
        with Seen() as seen:
            result = intervened(*args, **kwargs)
        for name in seen.missing:
            raise ValueError(f"expected a site of the program to set, got {name!r}, never drawn")
        return result

    return run
