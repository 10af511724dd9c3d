r"""The parameters of discrete models as plain arrays, checked once.

A Bayesian network is :math:`P(x) = \prod_i T_i[\mathrm{pa}_i, x_i]` with one array per node: the
parents' axes first, in the order named, the node's own axis last, so that
:math:`\sum_{x_i} T_i[\mathrm{pa}_i, x_i] = 1` for every state of the parents. A Markov network is
:math:`P(x) = \frac{1}{Z} \prod_k \phi_k[x_{C_k}]` with non-negative arrays, one axis per variable
of the scope :math:`C_k` (Koller and Friedman 2009, definitions 3.4 and 4.3). :class:`Tables` holds
either kind; it is what files are read into, what pgmpy models are built from, and what exact
inference takes its potentials from.

Printed tables are rounded. A row of probabilities may miss the sum one by less than what rounding
each of them to its own last digit explains (:func:`rounding_slack`), and by no more than 0.01:
0.33, 0.33, 0.33 and 0.270811, 0.72919 pass; 0.99, 0.02 does not. Values are kept as they were
written.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any, TypeAlias

import networkx as nx
import numpy as np

from graphs.language.notation import Node

Scope: TypeAlias = tuple[Node, ...]
States: TypeAlias = dict[Node, tuple[Hashable, ...]]

EXACT, LARGEST_ROUNDING, MOST_AXES = 1e-6, 0.01, 64


@dataclass(frozen=True, eq=False)
class Tables:
    """States and arrays of a discrete model; valid by construction through the functions below.

    Attributes:
        states: the state names of every node, in the order of the arrays' axes.
        factors: pairs of a scope and a float64 array of shape ``(len(states[v]) for v in scope)``.
            In a Bayesian network the scope is the parents and then the node itself; in a Markov
            network equal factors are all kept, and an empty scope is a constant.
        directed: whether this is a Bayesian network.
        name: the network's name, where a file gave one.
    """

    states: States
    factors: tuple[tuple[Scope, np.ndarray], ...]
    directed: bool
    name: str = ""

    @property
    def graph(self) -> nx.DiGraph | nx.Graph:
        """The structure, as a new networkx graph."""
        return structure(self.states, (scope for scope, _ in self.factors), self.directed)


def structure(
    nodes: Iterable[Node], scopes: Iterable[Scope], directed: bool
) -> nx.DiGraph | nx.Graph:
    """The graph in which every scope's parents point to its last node, or are joined to it."""
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edge for scope in scopes for edge in scope_edges(scope, directed))
    return graph


def scope_edges(scope: Scope, directed: bool) -> Iterable[tuple[Node, Node]]:
    """The edges one scope asks for."""
    return ((v, scope[-1]) for v in scope[:-1]) if directed else combinations(scope, 2)


def as_array(table: Any, called: str) -> np.ndarray:
    try:
        array = np.array(table)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"entries of type {array.dtype}")
        array = array.astype(float)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected an array of numbers for {called}, got {error}") from None
    if array.ndim > MOST_AXES:
        raise ValueError(f"expected at most {MOST_AXES} axes for {called}, got {array.ndim}")
    return array


def label_of(scope: Scope, directed: bool) -> str:
    if directed:
        given = f" | {', '.join(map(str, scope[:-1]))}" if scope[:-1] else ""
        return f"P({scope[-1]}{given})"
    return f"φ({', '.join(map(str, scope))})"


def find_fault(
    array: np.ndarray, conditional: bool, zero_rows: bool = False
) -> tuple[tuple[int, ...], str] | None:
    """What is wrong with a table, or ``None``.

    Args:
        array: non-negative numbers; along the last axis probabilities if ``conditional``.
        conditional: whether rows along the last axis must sum to one (up to rounding, see the
            module's text); otherwise some entry must be positive.
        zero_rows: whether rows may sum to zero, which :mod:`graphs.parameters.impossible` looks
        into.

    Returns:
        The index of the first bad entry or row, and a message of what was expected and what came.
    """
    kind = "probabilities" if conditional else "finite potentials"
    with np.errstate(invalid="ignore"):
        bad = ~((array >= 0) & (array < np.inf))
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        return index, f"expected non-negative {kind}, got {float(array[index])!r}"
    if not conditional:
        zero = not array.any()
        return ((), "expected a potential that is positive somewhere, got zeros") if zero else None
    sums = array.sum(axis=-1)
    off = np.flatnonzero((np.abs(sums - 1) > EXACT) & ~(zero_rows & (sums == 0)))
    if not off.size:
        return None
    rows = array.reshape(-1, array.shape[-1])[off]
    wrong = off[np.abs(rows.sum(axis=-1) - 1) > rounding_slack(rows)]
    if not wrong.size:
        return None
    index = tuple(int(i) for i in np.unravel_index(wrong[0], sums.shape))
    return index, f"expected probabilities that sum to one, got {described_sum(sums[index])}"


def rounding_slack(numbers: Any) -> Any:
    """How far from one the sum of some probabilities may be because each is rounded.

    Half a unit of the last digit of every number, in all at most 0.01; 1e-6 is always allowed. A
    float has the digits of the shortest decimal text that reads back as it (in single precision
    where a row holds nothing else), so that zeros at its end are lost: no number is taken to be
    coarser than two decimals. A zero is as fine as the finest number beside it.

    >>> round(float(rounding_slack(["0.074074", "0.92593"])), 9)
    5.5e-06

    Args:
        numbers: one row of floats or of their texts, or an array (..., k) of rows.

    Returns:
        The slack of every row (...), a float for one row.
    """
    rows = np.asarray(numbers)
    texts = rows.dtype.kind in "UO"
    units = np.vectorize(_last_digit, otypes=[float])(rows) if texts else _last_digits(rows)
    zero = rows.astype(float) == 0
    finest = np.where(zero, LARGEST_ROUNDING, units).min(axis=-1, initial=LARGEST_ROUNDING)
    units = np.where(zero, np.minimum(units, finest[..., None]), units)
    slack = np.minimum(units, LARGEST_ROUNDING).sum(axis=-1) / 2
    return np.clip(slack * (1 - EXACT), EXACT * (1 + EXACT), LARGEST_ROUNDING + EXACT)


def _last_digit(text: Any) -> float:
    """The unit of the last digit of a number's text."""
    exponent = Decimal(str(text)).as_tuple().exponent
    return 10.0**exponent if isinstance(exponent, int) else 0.0


def _last_digits(rows: np.ndarray) -> np.ndarray:
    """The units of the last digits of the shortest texts of floats; 1e-15 for any finer."""
    rows = rows.astype(float)
    single = rows.astype(np.float32)
    coarse = (single == rows).all(axis=-1, keepdims=True)
    units = np.full(rows.shape, 1e-15)
    for decimals in range(15, -1, -1):
        shown = np.round(rows, decimals)
        units[np.where(coarse, shown.astype(np.float32) == single, shown == rows)] = 10.0**-decimals
    return units


def described_sum(value: float) -> str:
    """A sum that should be one, with as many digits as show that it is not."""
    off = float(value) - 1
    if abs(off) >= LARGEST_ROUNDING:
        return f"a sum of {value:.6g}"
    decimals = 1 - math.floor(math.log10(abs(off)))
    side = "more" if off > 0 else "less"
    return f"a sum of {value:.{decimals}f} ({abs(off):.2g} {side} than one)"
