"""Independences and factorizations straight from their definitions, for graphs of a few nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Any

import networkx as nx
import numpy as np

import graphs

Statement = tuple[Any, Any, frozenset[Any]]


def separated(graph: nx.Graph, x: Iterable[Any], y: Iterable[Any], given: Iterable[Any]) -> bool:
    """(d-)separation by networkx, which knows nothing of the package."""
    if graph.is_directed():
        return nx.is_d_separator(graph, set(x), set(y), set(given))
    rest = graph.subgraph(set(graph) - set(given))
    return not any(nx.has_path(rest, u, w) for u in x for w in y)


def statements(graph: nx.Graph) -> set[Statement]:
    """Every independence between two nodes; these determine the ones between sets."""
    found: set[Statement] = set()
    for u, w in combinations(sorted(graph), 2):
        others = [v for v in graph if v not in (u, w)]
        for size in range(len(others) + 1):
            for given in combinations(others, size):
                if separated(graph, {u}, {w}, given):
                    found.add((u, w, frozenset(given)))
    return found


def random_graph(rng: np.random.Generator, nodes: Sequence[Any], directed: bool) -> nx.Graph:
    """A DAG along a random order, or an undirected graph, of random density."""
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(nodes)
    order = rng.permutation(len(nodes))
    density = rng.choice([0.2, 0.4, 0.6, 0.9])
    pairs = combinations(order, 2)
    graph.add_edges_from((nodes[i], nodes[j]) for i, j in pairs if rng.random() < density)
    return graph


def every_dag(nodes: Sequence[Any]) -> Iterator[nx.DiGraph]:
    """All DAGs over the nodes."""
    pairs = list(combinations(nodes, 2))
    for choice in product((0, 1, 2), repeat=len(pairs)):
        dag = nx.DiGraph()
        dag.add_nodes_from(nodes)
        for (u, w), kind in zip(pairs, choice, strict=True):
            if kind:
                dag.add_edge(*((u, w) if kind == 1 else (w, u)))
        if nx.is_directed_acyclic_graph(dag):
            yield dag


def random_network(rng: np.random.Generator, dag: nx.DiGraph, states: int = 2) -> Any:
    """A pgmpy network on the DAG with random positive tables."""
    entries = []
    for v in dag:
        parents = tuple(dag.predecessors(v))
        shape = (states,) * (len(parents) + 1)
        table = 0.1 + rng.random(shape)
        entries.append((v, parents, table / table.sum(-1, keepdims=True)))
    return graphs.bayesian_network(entries)


def joint(network: Any) -> tuple[tuple[Any, ...], np.ndarray]:
    """The nodes of a pgmpy Bayesian network, and its joint distribution with one axis for each."""
    nodes = tuple(network.nodes)
    axis = {v: i for i, v in enumerate(nodes)}
    operands: list[Any] = []
    for cpd in network.get_cpds():
        operands += [cpd.values, [axis[v] for v in cpd.variables]]
    return nodes, np.einsum(*operands, list(range(len(nodes))))


def information(
    network: Any, x: Collection[Any], y: Collection[Any], given: Collection[Any]
) -> float:
    """The conditional mutual information I(x; y | given) in nats, from the joint."""
    nodes, table = joint(network)

    def entropy(keep: Collection[Any]) -> float:
        marginal = table.sum(axis=tuple(i for i, v in enumerate(nodes) if v not in keep)).ravel()
        return float(-(marginal[marginal > 0] * np.log(marginal[marginal > 0])).sum())

    x, y, given = set(x), set(y), set(given)
    return entropy(x | given) + entropy(y | given) - entropy(x | y | given) - entropy(given)


def misfit(nodes: Sequence[Any], table: np.ndarray, scopes: Iterable[Collection[Any]]) -> float:
    """How far the logarithm of a positive table is from a sum of functions of the scopes.

    Zero iff the table is a product of factors over them: the residual of least squares on one
    indicator for every state of every scope.
    """
    columns = [np.ones(table.size)]
    index = np.indices(table.shape).reshape(table.ndim, -1)
    for scope in scopes:
        axes = [i for i, v in enumerate(nodes) if v in scope]
        code = np.ravel_multi_index(index[axes], [table.shape[i] for i in axes])
        columns += [code == k for k in range(code.max() + 1)]
    design = np.stack(columns, axis=1).astype(float)
    target = np.log(table).ravel()
    fitted = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return float(np.abs(fitted - target).max())


def conditional_product(nodes: Sequence[Any], table: np.ndarray, dag: nx.DiGraph) -> np.ndarray:
    """The product of the table's own conditionals of every node given its parents in the DAG."""
    result = np.ones_like(table)
    for v in dag:
        family = {v, *dag.predecessors(v)}
        over = table.sum(
            axis=tuple(i for i, u in enumerate(nodes) if u not in family), keepdims=True
        )
        result = result * over / over.sum(axis=nodes.index(v), keepdims=True)
    return result
