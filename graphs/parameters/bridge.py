"""Between :class:`graphs.parameters.tables.Tables` and pgmpy's models.

pgmpy stores a node's own axis first and the parents' after it;
:class:`~graphs.parameters.tables.Tables` has the node last. Building a network through pgmpy's
methods searches for a path before every edge and compares every table with all before it; the
tables have been checked once, so the same attributes are set directly, and ``check_model()`` holds
for the result.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np

from graphs.language.notation import Node
from graphs.parameters.checking import checked
from graphs.parameters.tables import States, Tables, as_array, label_of, scope_edges
from graphs.structure.models import Model
from graphs.structure.nodes import unknown


def to_pgmpy(tables: Tables) -> Any:
    """A ``DiscreteBayesianNetwork`` or ``DiscreteMarkovNetwork`` with these parameters."""
    return _bayesian(tables) if tables.directed else _markov(tables)


def _bayesian(tables: Tables) -> Any:
    """A ``DiscreteBayesianNetwork``, built without the checks that :class:`Tables` has passed."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork()
    model.add_nodes_from(tables.states)
    edges = [edge for scope, _ in tables.factors for edge in scope_edges(scope, True)]
    nx.DiGraph.add_edges_from(model, edges, weight=None)
    names = {v: list(s) for v, s in tables.states.items()}
    for scope, array in tables.factors:
        *parents, node = scope
        cpd = TabularCPD(
            node,
            len(names[node]),
            np.moveaxis(array, -1, 0).reshape(len(names[node]), -1),
            evidence=parents or None,
            evidence_card=array.shape[:-1] if parents else None,
            state_names={v: names[v] for v in (node, *parents)},
        )
        model.cpds.append(cpd)
    return _named(model, tables.name)


def _markov(tables: Tables) -> Any:
    """A ``DiscreteMarkovNetwork``, built without the checks that :class:`Tables` has passed."""
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.models import DiscreteMarkovNetwork

    model = DiscreteMarkovNetwork()
    model.add_nodes_from(tables.states)
    edges = [edge for scope, _ in tables.factors for edge in scope_edges(scope, False)]
    nx.Graph.add_edges_from(model, edges, weight=None)
    names = {v: list(s) for v, s in tables.states.items()}
    for scope, array in tables.factors:
        states = {v: names[v] for v in scope}
        model.factors.append(DiscreteFactor(scope, array.shape, array, state_names=states))
    return _named(model, tables.name)


def _named(model: Any, name: str) -> Any:
    if name:
        model.name = name
    return model


def tables_of(model: Model) -> Tables:
    """The checked parameters of a pgmpy Bayesian network, Markov network or factor graph.

    Raises:
        ValueError: another type; a node without a table, or a table over a variable that is no
            node; tables that disagree with the graph or with each other about parents, states or
            their number; entries that no table may hold (:func:`find_fault`).
    """
    if isinstance(model, Tables):
        return model
    if hasattr(model, "get_cpds") and isinstance(model, nx.DiGraph):
        return _tables_of_bayesian(model)
    if hasattr(model, "get_factors") and isinstance(model, nx.Graph):
        return _tables_of_markov(model)
    raise ValueError(
        "expected a pgmpy Bayesian network, Markov network or factor graph, which hold tables, got "
        f"{type(model).__name__} without any; graphs.bayesian_network and graphs.markov_network "
        "build them from arrays"
    )


def _tables_of_bayesian(model: Any) -> Tables:
    found: dict[Node, Any] = {}
    for cpd in model.cpds:
        if not hasattr(cpd, "state_names") or not hasattr(cpd, "variable"):
            raise ValueError(f"expected tables (TabularCPD), got {type(cpd).__name__}")
        if cpd.variable not in model:
            raise ValueError(f"expected tables of nodes, got one of {unknown(model, cpd.variable)}")
        if cpd.variable in found:
            raise ValueError(f"expected one table per node, got two for {cpd.variable!r}")
        found[cpd.variable] = cpd
    missing = [v for v in model if v not in found]
    if missing:
        listing = ", ".join(map(repr, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise ValueError(f"expected a table (TabularCPD) for every node, got none for {listing}")
    for v, cpd in found.items():
        parents = set(model.predecessors(v))
        if set(cpd.variables[1:]) != parents:
            raise ValueError(
                f"expected a table of {v!r} given its parents {sorted(map(str, parents))}, "
                f"got one given {sorted(map(str, cpd.variables[1:]))}"
            )
    cpds = [found[v] for v in model]
    entries = [((*c.variables[1:], c.variable), np.moveaxis(_values(c), 0, -1)) for c in cpds]
    return checked(entries, _agreed_states(model, cpds), True, model.name)


def _tables_of_markov(model: Any) -> Tables:
    bipartite = hasattr(model, "get_factor_nodes")
    factors = list(model.get_factors())
    covered = {v for factor in factors for v in factor.variables}
    # pgmpy's own list of a factor graph's variables is a set, and refuses equal or named factors
    nodes = [v for v in model if v in covered or not (bipartite and model.degree(v))]
    for factor in factors:
        for v in factor.variables:
            if v not in model:
                raise ValueError(f"expected factors over nodes, got one over {unknown(nodes, v)}")
        pairs = () if bipartite else combinations(factor.variables, 2)
        for u, v in pairs:
            if not model.has_edge(u, v):
                raise ValueError(
                    f"expected an edge {u!r} - {v!r}, since a factor covers both, got none"
                )
    for v in nodes:
        if v not in covered:
            raise ValueError(f"expected a factor over {v!r}, which tells its states, got none")
    entries = [(tuple(factor.variables), _values(factor)) for factor in factors]
    return checked(entries, _agreed_states(nodes, factors), False, model.name)


def _values(factor: Any) -> np.ndarray:
    return as_array(factor.values, label_of(tuple(factor.variables), False))


def _agreed_states(nodes: Iterable[Node], factors: Iterable[Any]) -> States:
    states: dict[Node, list[Hashable]] = {}
    for factor in factors:
        for v, size in zip(factor.variables, factor.cardinality, strict=True):
            named = list(factor.state_names.get(v) or range(int(size)))
            if states.setdefault(v, named) != named:
                raise ValueError(
                    f"expected the same states of {v!r} in every table, got {states[v]} and {named}"
                )
    return {v: tuple(states[v]) for v in nodes if v in states}
