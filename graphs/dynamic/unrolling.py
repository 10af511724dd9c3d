"""The network of the first slices of a two-slice network."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from graphs.dynamic.reading import two_slice
from graphs.dynamic.two_slice import Parent, TwoSlice
from graphs.language.notation import Node
from graphs.parameters.bridge import to_pgmpy
from graphs.parameters.tables import Scope, Tables

MOST_NODES = 10_000_000


def unrolled_graph(model: TwoSlice, steps: int) -> nx.DiGraph:
    """The structure of the first slices; nodes have ``variable``, ``slice`` and ``latent``."""
    graph = nx.DiGraph()
    for v in model.static:
        graph.add_node(v, variable=v, slice=None, latent=v in model.latent)
    for t in range(steps):
        for v in model.members(t):
            graph.add_node(model.node(v, t), variable=v, slice=t, latent=v in model.latent)
    for v in model.static:
        graph.add_edges_from((p.variable, v) for p in model.initial[v])
    for t in range(steps):
        for v in model.members(t):
            child = model.node(v, t)
            graph.add_edges_from((_name(model, p, t), child) for p in model.parents_at(v, t))
    return graph


def _name(model: TwoSlice, parent: Parent, slice_number: int) -> Node:
    return model.node(parent.variable, slice_number - (parent.lag or 0))


def unrolled_tables(model: TwoSlice, steps: int) -> Tables:
    """The tables of the first slices; the arrays are those of the two-slice network."""
    assert model.states is not None
    assert model.initial_tables is not None
    assert model.tables is not None
    states = {v: model.states[v] for v in model.static}
    factors: list[tuple[Scope, np.ndarray]] = []
    for v in model.static:
        scope = (*(p.variable for p in model.initial[v]), v)
        factors.append((scope, model.initial_tables[v]))
    for t in range(steps):
        for v in model.members(t):
            node = model.node(v, t)
            states[node] = model.states[v]
            names = (_name(model, p, t) for p in model.parents_at(v, t))
            table = (model.tables if t else model.initial_tables)[v]
            factors.append(((*names, node), table))
    return Tables(states, tuple(factors), True)


def unroll(model: Any, steps: int) -> Any:
    """The network of so many slices.

    Args:
        model: what :func:`graphs.two_slice` reads.
        steps: how many slices, the first one included.

    Returns:
        A pgmpy network if the model has tables, else a ``DiGraph``. Variable X is ``X_0``, ``X_1``,
        ... (from the number on with which the model itself began), static variables keep their
        names. Nodes have the attributes ``variable``, ``slice`` (from zero, ``None`` of a static
        variable) and ``latent``.

    Raises:
        ValueError: a number of slices below one or of more than ten million nodes, and what
            :func:`graphs.two_slice` refuses.

    >>> weather = [("R0", (), [0.5, 0.5]), ("Rt", "R0", [[0.7, 0.3], [0.3, 0.7]])]
    >>> chain = graphs.unroll(graphs.bayesian_network(weather), 3)
    >>> chain.edges
    OutEdgeView([('R_0', 'R_1'), ('R_1', 'R_2')])
    >>> graphs.marginal(chain, "R_2", {"R_0": 1})
    tensor([0.4200, 0.5800], dtype=torch.float64)
    """
    found = two_slice(model)
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps.__index__() < 1:
        raise ValueError(f"expected a number of slices of at least one, got {steps!r}")
    steps = steps.__index__()
    if (count := steps * len(found.variables)) > MOST_NODES:
        raise ValueError(
            f"expected at most {MOST_NODES:,} nodes after unrolling, got {count:,}; "
            "graphs.DynamicTree takes slices one by one"
        )
    graph = unrolled_graph(found, steps)
    if found.tables is None:
        return graph
    tables = unrolled_tables(found, steps)
    if isinstance(model, Tables):
        return tables
    network = to_pgmpy(tables)
    for v, attributes in graph.nodes(data=True):
        network.nodes[v].update(attributes)
    return network
