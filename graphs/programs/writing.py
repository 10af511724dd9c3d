r"""Parameterised networks as Pyro programs.

A Bayesian network :math:`\prod_i P(x_i \mid \mathrm{pa}_i)` becomes a program that samples every
node in turn; the log-density of a run is the log-probability of the assignment. A Markov network
:math:`\frac{1}{Z} \prod_k \phi_k(x_{C_k})` becomes one that samples every node uniformly and then
states each potential as a factor. The first potential that mentions a node takes its uniform
density back, so that the log-density of a run is :math:`\sum_k \log \phi_k(x_{C_k})`, and
enumeration sums it to :math:`\log Z`.

Enumeration in parallel gives each enumerated variable a dimension of its own, of which torch has
64; in practice the size of the largest intermediate table ends it earlier. Exact inference at any
size is what :class:`graphs.JunctionTree` is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor

from graphs.language.notation import Node
from graphs.parameters.bridge import tables_of
from graphs.parameters.tables import Tables
from graphs.structure.factorization import Factorization
from graphs.structure.models import Model

Values: TypeAlias = dict[Node, Tensor]
Program: TypeAlias = Callable[[], Values]

_MOST_DIMENSIONS = 64


def to_pyro(model: Model) -> Program:
    """A Pyro program of a network with parameters.

    Every node is one site under its own name (``str(node)`` where the node is no string), sampled
    in the order of the model's nodes as far as parents come first. Discrete nodes take the index of
    their state, in the model's order of states, and are marked for parallel enumeration: condition
    the program with ``poutine.condition`` and score it with ``TraceEnum_ELBO`` and an empty guide,
    whose loss is then −log P(evidence) or −log Z. Zero probabilities are −inf; rows of printed,
    rounded tables are normalised. Potentials are the sites φ1, φ2, ...; equal ones are all kept.

    Args:
        model: a pgmpy ``DiscreteBayesianNetwork``, ``DiscreteMarkovNetwork``, ``FactorGraph`` or
            ``LinearGaussianBayesianNetwork`` with all its parameters.

    Returns:
        A program without arguments that returns the value of every node, float64 or int64 tensors.
        Called on its own it draws from a Bayesian network's joint, and uniformly for a Markov
        network. It raises ``ValueError`` when more variables are enumerated than torch has
        dimensions for, and when it is conditioned on anything but indices: a boolean could mean
        the state of that name as well as an index.

    Raises:
        ValueError: a model without parameters, or with ones that make no distribution; two nodes of
            one name.

    >>> import math
    >>> program = graphs.to_pyro(graphs.textbook.sprinkler())
    >>> wet = pyro.condition(program, data={"wet_grass": torch.tensor(0)})  # state 0 is "yes"
    >>> loss = pyro.infer.TraceEnum_ELBO(max_plate_nesting=0).loss(wet, lambda: None)
    >>> round(math.exp(-loss), 4)  # P(wet_grass = yes)
    0.6471
    """
    if isinstance(model, nx.DiGraph) and type(model).__name__ == "LinearGaussianBayesianNetwork":
        return _gaussian(model)
    if isinstance(model, Factorization) or type(model) in (nx.Graph, nx.DiGraph):
        nodes = ", ".join(map(repr, list(model.nodes)[:8]))
        raise ValueError(
            "expected a network with parameters for every node, got only the structure of "
            f"{nodes}; graphs.bayesian_network and graphs.markov_network add tables"
        )
    tables = tables_of(model)
    return _directed(tables) if tables.directed else _undirected(tables)


def _directed(tables: Tables) -> Program:
    names = _site_names(tables.states)
    conditionals = {scope[-1]: (scope[:-1], _log(table)) for scope, table in tables.factors}
    order = _order(tables.graph)

    def program() -> Values:
        values: Values = {}
        for node in order:
            parents, logits = conditionals[node]
            with _explained(values):
                values[node] = _categorical(names[node], _entries(logits, parents, values))
        return values

    return program


def _undirected(tables: Tables) -> Program:
    names = _site_names(tables.states)
    free = {node: torch.zeros(len(s), dtype=torch.float64) for node, s in tables.states.items()}
    potentials = []
    untouched = {node: math.log(len(logits)) for node, logits in free.items()}
    for scope, table in tables.factors:
        uniform = sum(untouched.pop(node, 0.0) for node in scope)
        potentials.append((scope, _log(table) + uniform))
    symbol = "φ"
    while any(name.startswith(symbol) for name in names.values()):
        symbol += "φ"

    def program() -> Values:
        values: Values = {}
        for node, logits in free.items():
            with _explained(values):
                values[node] = _categorical(names[node], logits)
        if not am_i_wrapped():  # outside inference a factor means nothing
            return values
        with _explained(values):
            for k, (scope, table) in enumerate(potentials, start=1):
                pyro.factor(f"{symbol}{k}", _entries(table, scope, values))
        return values

    return program


def _gaussian(model: Any) -> Program:
    """Each node is normal about a linear function of its parents."""
    names = _site_names(model)
    found = {cpd.variable: cpd for cpd in model.cpds}
    missing = [node for node in model if node not in found]
    if missing:
        listing = ", ".join(map(repr, missing))
        raise ValueError(f"expected a LinearGaussianCPD for every node, got none for {listing}")
    conditionals = {}
    for node in model:
        cpd, parents = found[node], list(found[node].evidence or ())
        weights = torch.tensor(np.asarray(cpd.beta, dtype=float), dtype=torch.float64)
        scale = torch.tensor(float(cpd.std), dtype=torch.float64)
        if set(parents) != set(model.predecessors(node)) or len(weights) != len(parents) + 1:
            raise ValueError(
                f"expected one coefficient for each parent of {node!r} and an intercept, got "
                f"{len(weights)} for the parents {parents}"
            )
        if not (scale > 0 and weights.isfinite().all() and scale.isfinite()):
            raise ValueError(
                f"expected finite coefficients and a positive deviation for {node!r}, got "
                f"{weights.tolist()} and {scale.item()}"
            )
        conditionals[node] = parents, weights, scale
    order = _order(model)

    def program() -> Values:
        values: Values = {}
        for node in order:
            parents, weights, scale = conditionals[node]
            terms = [w * values[p] for w, p in zip(weights[1:], parents, strict=True)]
            mean = sum(terms, start=weights[0])
            values[node] = pyro.sample(names[node], dist.Normal(mean, scale))
        return values

    return program


def _site_names(nodes: Iterable[Node]) -> dict[Node, str]:
    names: dict[Node, str] = {}
    for node in nodes:
        if str(node) in names.values():
            raise ValueError(f"expected nodes with different names, got two called {str(node)!r}")
        names[node] = str(node)
    return names


def _order(graph: nx.DiGraph) -> list[Node]:
    """Parents first, otherwise as the graph lists its nodes."""
    rank = {node: i for i, node in enumerate(graph)}
    return list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))


def _log(table: np.ndarray) -> Tensor:
    return torch.tensor(table, dtype=torch.float64).log()


def _categorical(name: str, logits: Tensor) -> Tensor:
    state = pyro.sample(name, dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
    if not isinstance(state, Tensor) or state.dtype == torch.bool:
        kind = "a boolean" if isinstance(state, (bool, Tensor)) else repr(state)
        raise ValueError(f"expected the index of a state of {name!r} as a tensor, got {kind}")
    if state.is_floating_point() and not (state == state.round()).all():
        raise ValueError(f"expected the index of a state of {name!r}, got {state.tolist()}")
    return state


def _entries(table: Tensor, nodes: Sequence[Node], values: Values) -> Tensor:
    return table[tuple(values[node].long() for node in nodes)] if nodes else table


@contextmanager
def _explained(values: Values) -> Iterator[None]:
    """Say what a failure to index or to enumerate means."""
    try:
        yield
    except IndexError as error:
        raise ValueError(f"expected indices of states, got {error}") from None
    except RuntimeError as error:
        if max((v.dim() for v in values.values()), default=0) < _MOST_DIMENSIONS:
            raise
        raise ValueError(
            f"expected at most {_MOST_DIMENSIONS} enumerated variables and plates, which is how "
            f"many dimensions a tensor has, got more ({error}); condition on some, or use "
            "graphs.JunctionTree"
        ) from None
