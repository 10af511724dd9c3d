"""Parameterised networks from plain arrays, as pgmpy's objects."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from graphs.language.notation import Node
from graphs.parameters.bridge import to_pgmpy
from graphs.parameters.checking import checked
from graphs.parameters.tables import Scope
from graphs.structure.factorization import Factor


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

    >>> import pandas
    >>> A = graphs.bayesian_network([("A", (), pandas.Series({"no": 0.7, "yes": 0.3}))])
    >>> A.states
    {'A': ['no', 'yes']}

    Bayes' rule, P(A = 1 | B = 1) = 0.3 · 0.8 / (0.3 · 0.8 + 0.7 · 0.1):

    >>> tables = [("A", (), [0.7, 0.3]), ("B", "A", [[0.9, 0.1], [0.2, 0.8]])]
    >>> graphs.marginal(graphs.bayesian_network(tables), "A", {"B": 1})
    tensor([0.2258, 0.7742], dtype=torch.float64)

    Raises:
        ValueError: a shape that does not fit the states, a negative, infinite or NaN entry, a row
            that does not sum to one, a node without a table or with two, a cycle; labels that are
            not the states or fit in several ways.
    """
    entries = [_conditional(entry) for entry in conditionals]
    return to_pgmpy(checked(entries, states, True, name))


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

    >>> model = graphs.markov_network([(("A", "B"), [[3, 1], [1, 3]]), ("A", [2, 1])])
    >>> graphs.marginal(model, "A")
    tensor([0.6667, 0.3333], dtype=torch.float64)
    >>> z = graphs.JunctionTree(model).log_partition().exp()
    >>> round(float(z), 6)  # 2 (3 + 1) + 1 (1 + 3)
    12.0
    """
    entries = [_potential(entry) for entry in factors]
    return to_pgmpy(checked(entries, states, False, name))


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
