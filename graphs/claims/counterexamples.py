r"""Distributions on a structure in which a false statement visibly fails.

Every variable is a bit. Along an active walk from :math:`x` to :math:`y` each node is the parity of
the parents the walk uses, flipped with probability :math:`\varepsilon`; nodes without such parents,
and all nodes off the walk, are fair coins:

.. math::
    v = n_v \oplus \bigoplus_{u \in \mathrm{used}(v)} u, \qquad
    n_v \sim \mathrm{Bernoulli}(\varepsilon).

A chain or fork copies; a collider adds its two parents, and the nodes from it down to an observed
descendant copy the sum. In a shortest walk those descents are disjoint, so adding the equations of
all :math:`m` noisy nodes leaves :math:`x \oplus y = \bigoplus z \oplus \bigoplus n`, where
:math:`z` runs over the observed colliders. Hence the conditional mutual information is, exactly and
at any size,

.. math::
    I(x; y \mid z) = \log 2 - h\!\left(\tfrac{1 - (1 - 2 \varepsilon)^m}{2}\right) \text{ nats},
    \qquad h(p) = -p \log p - (1 - p) \log (1 - p).

The same parity over a whole factor scope has uniform margins over every smaller set, so no product
of factors that each miss a variable of the scope comes closer to it than the uniform distribution,
at a divergence of :math:`\log 2 - h(\varepsilon)`. That an active path always admits parameters
that make its ends dependent is the completeness of d-separation (Geiger and Pearl 1988; Meek 1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np

from graphs.language.notation import Node, text_name
from graphs.parameters.networks import bayesian_network
from graphs.structure.mixed import canonical
from graphs.structure.search import shortest_path

NOISE, SIGNAL = 0.1, 0.5  # flips per node; the least correlation to leave between the ends
MOST_PARENTS = 12  # larger families keep only the edges that carry the dependence


@dataclass(frozen=True, eq=False)
class ParityNetwork:
    """A network of noisy parities.

    Attributes:
        graph: the DAG of the network.
        used: the parents whose parity a node copies, for each noisy node.
        noise: the probability of a flip.
        information: how far the statement is from holding, in nats.
        path: the nodes the dependence runs through, from one end to the other.
    """

    graph: nx.DiGraph
    used: dict[Node, frozenset[Node]]
    noise: float
    information: float
    path: tuple[Node, ...] = ()

    def __str__(self) -> str:
        equations = []
        for v in self.graph:
            if v in self.used:
                terms = [text_name(u) for u in self.graph.predecessors(v) if u in self.used[v]]
                equations.append(f"{text_name(v)} = {' ⊕ '.join(terms) or 0}")
        coins = ", all other variables fair coins" * (len(self.used) < len(self.graph))
        each = "each " * (len(equations) > 1)
        return f"{', '.join(equations)}, {each}flipped with probability {self.noise:.4g}{coins}"

    def network(self) -> Any:
        """A pgmpy ``DiscreteBayesianNetwork`` of binary variables with a table for every node."""
        return bayesian_network((v, *self._table(v)) for v in self.graph)

    def _table(self, node: Node) -> tuple[tuple[Node, ...], np.ndarray]:
        used = self.used.get(node)
        parents = tuple(self.graph.predecessors(node))
        if len(parents) > MOST_PARENTS:
            parents = tuple(v for v in parents if v in (used or ()))
        if used is None:
            return parents, np.full((2,) * (len(parents) + 1), 0.5)
        bits = np.indices((2,) * (len(parents) + 1))
        parity = sum((bits[i] for i, v in enumerate(parents) if v in used), bits[-1]) % 2
        return parents, np.where(parity, self.noise, 1 - self.noise)


def dependence(
    graph: nx.Graph, x: Iterable[Node], y: Iterable[Node], given: frozenset[Node]
) -> ParityNetwork | None:
    """A distribution in which x and y are dependent given a set, or ``None`` if they never are.

    On a DAG the network has its edges, with a latent variable in place of each two-headed one. On
    an undirected graph it is a chain along a path, whose factors lie on edges of the graph.
    """
    graph = canonical(graph)
    walk = active_walk(graph, x, y, given)
    if walk is None:
        return None
    used: dict[Node, set[Node]] = {}
    path: list[Node] = []
    steps = _steps(walk, given, path)
    network = graph
    if not graph.is_directed():
        network = nx.DiGraph()
        network.add_nodes_from(graph)
        network.add_edges_from(pairwise(walk))
    for u, v in steps:
        parent, child = (u, v) if network.has_edge(u, v) else (v, u)
        used.setdefault(child, set()).add(parent)
    count = len(used)
    noise = min(NOISE, (1 - SIGNAL ** (1 / count)) / 2)
    information = _nats((1 - (1 - 2 * noise) ** count) / 2)
    frozen = {v: frozenset(parents) for v, parents in used.items()}
    return ParityNetwork(network, frozen, noise, information, tuple(path))


def interaction(graph: nx.Graph, scope: frozenset[Node]) -> ParityNetwork | None:
    """A distribution in which all variables of one factor's scope act together and no fewer do.

    ``None`` if its table would have more than ``2 ** (MOST_PARENTS + 1)`` entries.
    """
    if len(scope) > MOST_PARENTS + 1:
        return None
    if graph.is_directed():
        child = next(v for v in scope if scope == {v, *graph.predecessors(v)})
        network = graph
    else:
        *parents, child = (v for v in graph if v in scope)
        network = nx.DiGraph()
        network.add_nodes_from(graph)
        network.add_edges_from((v, child) for v in parents)
    return ParityNetwork(network, {child: scope - {child}}, NOISE, _nats(NOISE))


def _nats(flip: float) -> float:
    """log 2 - h(flip)."""
    return math.log(2) + flip * math.log(flip) + (1 - flip) * math.log1p(-flip)


def active_walk(
    graph: nx.Graph, x: Iterable[Node], y: Iterable[Node], given: frozenset[Node]
) -> list[Node] | None:
    """A shortest walk from x to y on which exactly the colliders are observed.

    It goes down from a collider to an observed descendant and back up, so nodes may come twice.
    """
    targets = set(y)
    walk = shortest_path(
        lambda state: _moves(graph, *state, given),
        [(v, True) for v in sorted(x, key=str)],
        lambda state: state[0] in targets,
    )
    return None if walk is None else [v for v, _ in walk]


def _moves(
    graph: nx.Graph, node: Node, from_child: bool, given: frozenset[Node]
) -> Iterator[tuple[Node, bool]]:
    """The next nodes of an active walk, and whether each is entered from its child."""
    observed = node in given
    if not observed:
        yield from ((child, False) for child in graph[node])
    if graph.is_directed() and observed != from_child:
        yield from ((parent, True) for parent in graph.pred[node])


def _steps(
    walk: list[Node], given: frozenset[Node], path: list[Node]
) -> Iterator[tuple[Node, Node]]:
    """The edges of a walk, a descent to an observed node once; fills in the path without them."""
    last = {v: i for i, v in enumerate(walk)}
    i = 0
    while True:
        path.append(walk[i])
        if last[walk[i]] > i:
            down = i
            while walk[down] not in given:
                yield walk[down], walk[down + 1]
                down += 1
            i = last[walk[i]]
        if i == len(walk) - 1:
            return
        yield walk[i], walk[i + 1]
        i += 1
