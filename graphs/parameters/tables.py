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
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any, TypeAlias

import networkx as nx
import numpy as np

from graphs.parameters.labels import Arranger, Axis, labelled
from graphs.structure.models import Factor, Node, require_acyclic

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

    def to_pgmpy(self) -> Any:
        """A ``DiscreteBayesianNetwork`` or ``DiscreteMarkovNetwork`` with these parameters."""
        from graphs.parameters.bridge import bayesian, markov

        return bayesian(self) if self.directed else markov(self)


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


# --- From arrays --------------------------------------------------------------------------------


def bayesian_network(
    conditionals: Iterable[tuple[Any, ...]],
    states: Mapping[Node, Sequence[Hashable]] | None = None,
    *,
    name: str = "",
) -> Any:
    """A pgmpy ``DiscreteBayesianNetwork`` from plain arrays.

    ::

        graphs.bayesian_network(
            [
                ("I", (), [0.7, 0.3]),
                ("T", (), [0.6, 0.4]),
                ("D", ("I", "T"), table),  # table[i, t, d] = P(D = d | I = i, T = t)
            ],
            states={"D": ("no", "yes")},
        )

    Args:
        conditionals: one triple ``(node, parents, table)`` per node, in any order. ``parents`` is
            one name or a sequence of names; the table has one axis per parent in that order and
            the node's own axis last, so every row along the last axis sums to one. A pair
            ``(factor, table)`` with a factor of a :class:`graphs.Factorization` is the same:
            ``graphs.bayesian_network(zip(graphs.parse("P(I)P(T)P(D|I,T)").factors, tables))``.
        states: the state names of some or all nodes; for the others the labels of a table that
            has labels, or else 0, 1, ...
        name: a name for the network.

    A table with labels (a pandas Series or DataFrame, such as a crosstab, an xarray ``DataArray``,
    a dict from states to numbers) is read by them, in any order of rows and columns. Which axis is
    which variable is told by their names, or by labels that fit in one way alone.

    >>> A = graphs.bayesian_network([("A", (), pandas.Series({"no": 0.7, "yes": 0.3}))])
    >>> A.states
    {'A': ['no', 'yes']}

    Raises:
        ValueError: a shape that does not fit the states, a negative, infinite or NaN entry, a row
            that does not sum to one, a node without a table or with two, a cycle; labels that are
            not the states or fit in several ways.
    """
    entries = [_conditional(entry) for entry in conditionals]
    return checked(entries, states, True, name).to_pgmpy()


def markov_network(
    factors: Iterable[tuple[Any, Any]],
    states: Mapping[Node, Sequence[Hashable]] | None = None,
    *,
    name: str = "",
) -> Any:
    """A pgmpy ``DiscreteMarkovNetwork`` from plain arrays.

    ``graphs.markov_network([(("A", "B"), phi_ab), ("B", phi_b)], states={"A": ("no", "yes")})``

    Args:
        factors: pairs ``(scope, table)``: one name, a sequence of names or a factor of a
            :class:`graphs.Factorization`, and a non-negative array with one axis per name in that
            order. Equal factors are all kept.
        states: the state names of some or all nodes; for the others the labels of a table that
            has labels (as in :func:`bayesian_network`), or else 0, 1, ... A node named here that no
            factor mentions is free: it gets the factor that is one everywhere, since pgmpy knows
            states through factors alone.
        name: a name for the network.

    Raises:
        ValueError: a shape that does not fit the states, a negative, infinite or NaN entry, a
            potential that is zero everywhere, a variable twice in one scope.
    """
    entries = [_potential(entry) for entry in factors]
    return checked(entries, states, False, name).to_pgmpy()


def _conditional(entry: Any) -> tuple[Scope, Any]:
    parts = _parts(entry, "(node, parents, table) triples or (factor, table) pairs")
    if len(parts) == 2 and isinstance(parts[0], Factor):
        factor, table = parts
        if len(factor.variables) != 1:
            raise ValueError(f"expected factors of one variable given its parents, got {factor}")
        return (*factor.given, *factor.variables), table
    if len(parts) != 3:
        raise ValueError(
            "expected (node, parents, table) triples or (factor, table) pairs, "
            f"got {len(parts)} parts: {entry!r}"
        )
    node, parents, table = parts
    return (*_names(parents), node), table


def _potential(entry: Any) -> tuple[Scope, Any]:
    parts = _parts(entry, "(scope, table) pairs")
    if len(parts) != 2:
        raise ValueError(f"expected (scope, table) pairs, got {len(parts)} parts: {entry!r}")
    scope, table = parts
    return (scope.scope if isinstance(scope, Factor) else _names(scope)), table


def _parts(entry: Any, expected: str) -> tuple[Any, ...]:
    if isinstance(entry, str) or not isinstance(entry, Iterable):
        raise ValueError(f"expected {expected}, got {entry!r}")
    return tuple(entry)


def _names(names: Any) -> Scope:
    if names is None:
        return ()
    return tuple(names) if isinstance(names, (tuple, list)) else (names,)


def checked(
    entries: list[tuple[Scope, Any]],
    states: Mapping[Node, Sequence[Hashable]] | None,
    directed: bool,
    name: str = "",
) -> Tables:
    """The one gate for parameters that do not come from a file."""
    from graphs.networks.impossible import require_impossible

    known: States = {v: _state_names(v, names) for v, names in dict(states or {}).items()}
    factors = []
    for scope, array in _arranged(entries, known, directed):
        for v, size in zip(scope, array.shape, strict=True):
            if not size:
                raise ValueError(f"expected at least one state of {v!r}, got shape {array.shape}")
            known.setdefault(v, tuple(range(size)))
        factors.append((scope, array))
    for scope, array in factors:
        shape = tuple(len(known[v]) for v in scope)
        if array.shape != shape:
            raise ValueError(
                f"expected shape {shape} for {called(scope, directed)}, since its variables have "
                f"{', '.join(f'{len(known[v])} ({v!r})' for v in scope)} states, got {array.shape}"
            )
        _check_entries(scope, array, known, directed)
    if directed:
        known = _check_nodes([scope for scope, _ in factors], known)
    else:
        covered = {v for scope, _ in factors for v in scope}
        factors += [((v,), np.ones(len(s))) for v, s in known.items() if v not in covered]
    if not known:
        raise ValueError("expected at least one node, got none")
    tables = Tables(known, tuple(factors), directed, name)
    require_impossible(tables)
    return tables


def _arranged(
    entries: list[tuple[Scope, Any]], states: States, directed: bool
) -> list[tuple[Scope, np.ndarray]]:
    """Arrays with one axis per variable; labels are read and may tell further states."""
    arrays: list[np.ndarray] = []
    axes: dict[int, list[Axis]] = {}
    sizes: dict[Node, int] = {}
    for k, (scope, table) in enumerate(entries):
        _check_scope(scope)
        what = called(scope, directed)
        found = labelled(table)
        array = as_array(table if found is None else found[0], what)
        if array.ndim != len(scope):
            raise ValueError(
                f"expected {len(scope)} axes for {what}, one per variable "
                f"in that order, got an array of shape {array.shape}"
            )
        arrays.append(array)
        if found is None:
            sizes.update(zip(scope, array.shape, strict=True))
        else:
            axes[k] = found[1]
    if axes:
        arranger = Arranger(states, sizes, (v for scope, _ in entries for v in scope))
        scopes = {k: entries[k][0] for k in axes}
        tables = [(scopes[k], arrays[k], axes[k], called(scopes[k], directed)) for k in axes]
        for k, array in zip(axes, arranger.arrange(tables), strict=True):
            arrays[k] = array
    return [(scope, array) for (scope, _), array in zip(entries, arrays, strict=True)]


def _check_nodes(scopes: list[Scope], states: States) -> States:
    """Refuse nodes with no table or two, and cycles; the states in the order of the tables."""
    nodes = [scope[-1] for scope in scopes]
    seen: set[Node] = set()
    for v in nodes:
        if v in seen:
            raise ValueError(f"expected one table per node, got two for {v!r}")
        seen.add(v)
    for v in states:
        if v not in seen:
            child = next((scope[-1] for scope in scopes if v in scope), None)
            why = f"a parent of {child!r}" if child is not None else "which has states"
            raise ValueError(f"expected a table for {v!r}, {why}, got none")
    require_acyclic(structure(nodes, scopes, True))
    return {v: states[v] for v in nodes}


def _check_scope(scope: Scope) -> None:
    for v in scope:
        if not isinstance(v, Hashable) or v is None:
            raise ValueError(f"expected names of variables, got {v!r}")
    if len(set(scope)) < len(scope):
        raise ValueError(f"expected distinct variables in a scope, got {scope!r}")


def _state_names(node: Node, names: Any) -> tuple[Hashable, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"expected a sequence of state names for {node!r}, got {names!r}")
    result = tuple(names)
    if not result:
        raise ValueError(f"expected at least one state for {node!r}, got none")
    if not all(isinstance(s, Hashable) for s in result) or len(set(result)) < len(result):
        raise ValueError(f"expected distinct state names for {node!r}, got {result!r}")
    return result


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


def called(scope: Scope, directed: bool) -> str:
    if directed:
        given = f" | {', '.join(map(str, scope[:-1]))}" if scope[:-1] else ""
        return f"P({scope[-1]}{given})"
    return f"φ({', '.join(map(str, scope))})"


def _check_entries(scope: Scope, array: np.ndarray, states: States, directed: bool) -> None:
    found = fault(array, directed, zero_rows=True)
    if found is not None:
        index, message = found
        at = ", ".join(f"{v}={states[v][i]!r}" for v, i in zip(scope, index, strict=False))
        raise ValueError(f"{message} in {called(scope, directed)}" + (f" at {at}" if at else ""))


def fault(
    array: np.ndarray, conditional: bool, zero_rows: bool = False
) -> tuple[tuple[int, ...], str] | None:
    """What is wrong with a table, or ``None``.

    Args:
        array: non-negative numbers; along the last axis probabilities if ``conditional``.
        conditional: whether rows along the last axis must sum to one (up to rounding, see the
            module's text); otherwise some entry must be positive.
        zero_rows: whether rows may sum to zero, which :mod:`graphs.networks.impossible` looks into.

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

    >>> float(rounding_slack(["0.074074", "0.92593"]))
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
