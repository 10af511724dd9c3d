r"""The structure that a guide needs: a minimal faithful inverse of a model.

The posterior of a DAG given its observed nodes rarely factorizes along the DAG's arrows: parents of
an observed node become dependent. An *inverse* is a DAG in which every latent has parents among the
observed nodes and the other latents,

.. math::  q(z \mid x) = \prod_i q(z_i \mid \mathrm{pa}_i),

*faithful* if it asserts no independence of the latents given the data that the model does not
assert, so that some such q is the posterior, and *minimal* if no edge can be left out. It is read
off a variable elimination in the order of the arrows: the parents of a latent are its neighbours in
the moral graph when it is eliminated (Webb et al. 2018, *Faithful Inversion of Generative Models
for Effective Amortized Inference*, algorithm 1), less those of which it is independent given the
others: moralizing couples the parents of latents too that nothing observed depends on.
"""

from __future__ import annotations

from itertools import combinations

import networkx as nx

from graphs.language.notation import Node
from graphs.separation.independence import independence_of
from graphs.structure.chordal import moralize
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import NodeSet, node_set


def inverse(model: Model, observed: NodeSet | None = None) -> nx.DiGraph:
    """A minimal faithful inverse of a directed model.

    Args:
        model: a DAG, as :func:`graphs.from_pyro` reads one from a program.
        observed: the nodes that are observed; by default those with a true attribute ``observed``,
            or where there are none, the nodes without children.

    Returns:
        A ``DiGraph`` over the same nodes with their attributes, in an order in which a guide can
        draw the latents. The observed nodes come first and have no parents.

    Raises:
        ValueError: an unknown node, nothing observed, no latent, an undirected model, a cycle.

    Explaining away makes the causes of an observed effect depend on each other:

    >>> alarm = graphs.parse("P(burglary) P(earthquake) P(alarm | burglary, earthquake)")
    >>> graphs.inverse(alarm).edges
    OutEdgeView([('alarm', 'earthquake'), ('alarm', 'burglary'), ('earthquake', 'burglary')])

    A naive Bayes classifier turned around needs one latent given everything:

    >>> sorted(graphs.inverse(graphs.parse("P(c) P(x|c) P(y|c)"), observed=["x", "y"]).edges)
    [('x', 'c'), ('y', 'c')]
    """
    graph = as_graph(model)
    if not graph.is_directed():
        raise ValueError("expected a directed model to invert, got an undirected one")
    seen = seen_nodes(graph, observed)
    latent = [v for v in graph if v not in seen]
    if not latent:
        raise ValueError("expected a model with a latent node, got observed ones alone")
    parents = _eliminated(graph, latent)
    found = nx.DiGraph()
    rest = [v for v in graph if v in seen]
    found.add_nodes_from((v, graph.nodes[v]) for v in [*rest, *reversed(parents)])
    for v in reversed(parents):
        rank = {u: i for i, u in enumerate(found)}
        needed = _needed(graph, v, frozenset(parents[v]))
        found.add_edges_from((u, v) for u in sorted(needed, key=rank.__getitem__))
    return found


def seen_nodes(graph: nx.DiGraph, observed: NodeSet | None) -> frozenset[Node]:
    """The nodes named, or marked as observed, or else those without children.

    Raises:
        ValueError: an unknown node, or no node.
    """
    if observed is not None:
        seen = node_set(graph, observed, "observed")
    else:
        marked = frozenset(v for v, data in graph.nodes(data=True) if data.get("observed") is True)
        seen = marked or frozenset(v for v in graph if not graph.out_degree(v))
    if not seen:
        raise ValueError("expected at least one observed node, got none")
    return seen


def _eliminated(graph: nx.DiGraph, latent: list[Node]) -> dict[Node, set[Node]]:
    """The neighbours of every latent when it is eliminated, in the order of elimination.

    A latent is eliminated once its latent parents are; of several, one that joins fewest pairs of
    its neighbours.
    """
    moral, left = moralize(graph), dict.fromkeys(latent)
    neighbours: dict[Node, set[Node]] = {}
    while left:
        free = [v for v in left if not any(u in left for u in graph.predecessors(v))]
        node = min(free, key=lambda v: _fill_in(moral, v))
        neighbours[node] = around = set(moral[node])
        moral.add_edges_from(combinations(around, 2))
        moral.remove_node(node)
        del left[node]
    return neighbours


def _needed(graph: nx.DiGraph, node: Node, parents: frozenset[Node]) -> list[Node]:
    """The Markov boundary of a node among nodes that hold one."""
    one = frozenset((node,))
    return [u for u in parents if not independence_of(graph, one, frozenset((u,)), parents - {u})]


def _fill_in(graph: nx.Graph, node: Node) -> int:
    return sum(not graph.has_edge(u, v) for u, v in combinations(graph[node], 2))
