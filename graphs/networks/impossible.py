r"""Rows of zeros: distributions given parents' states that never occur.

A row :math:`P(x \mid u) = 0` for every x is no distribution, but no matter where
:math:`P(u) = 0`; files of deterministic networks hold such rows. Whether :math:`P(u) = 0` depends
on which entries of the ancestors' tables are zero, and on nothing else: it is decided exactly, by
inference in the network whose rows are uniform over their supports, rows of zeros over all states.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphs.parameters.tables import States, Tables, called
from graphs.structure.models import Node, ancestors


def zero_rows(tables: Tables) -> Iterator[tuple[int, np.ndarray]]:
    """The factors of a Bayesian network that have rows of zeros, and these rows' indices (n, k)."""
    for i, (_, array) in enumerate(tables.factors):
        zero = ~array.any(axis=-1)
        if zero.any():
            yield i, np.argwhere(zero)


def possible_zero_row(tables: Tables) -> tuple[int, tuple[int, ...]] | None:
    """The first factor and row of zeros whose parents' states have positive probability."""
    for i, rows in zero_rows(tables) if tables.directed else ():
        *parents, _ = tables.factors[i][0]
        if not parents:
            return i, ()
        possible = _possible(tables, parents, rows)
        if possible.any():
            return i, tuple(int(s) for s in rows[possible.argmax()])
    return None


def require_impossible(tables: Tables) -> None:
    """Refuse a row of zeros whose parents' states have positive probability.

    Raises:
        ValueError: naming the row.
    """
    found = possible_zero_row(tables)
    if found is not None:
        raise ValueError(described(tables, *found))


def described(tables: Tables, factor: int, row: tuple[int, ...]) -> str:
    """What is wrong with a row of zeros."""
    scope = tables.factors[factor][0]
    at = ", ".join(f"{v}={tables.states[v][s]}" for v, s in zip(scope, row, strict=False))
    return "expected probabilities that sum to one, got a sum of 0 in " + (
        f"{called(scope, True)} at {at}, which are possible" if at else called(scope, True)
    )


def _possible(tables: Tables, nodes: list[Node], rows: np.ndarray) -> np.ndarray:
    """Which joint states (n, k) of some nodes have positive probability."""
    from graphs.inference.junction_tree import JunctionTree

    tree = JunctionTree(_supports(tables, nodes), evidence_variables=nodes)
    codes: dict[Node, Any] = {v: rows[:, i].tolist() for i, v in enumerate(nodes)}
    return np.isfinite(tree.log_partition(codes).numpy())


def _supports(tables: Tables, nodes: list[Node]) -> Tables:
    """The part of a network above some nodes, rows uniform over their supports, states numbered."""
    inside = ancestors(tables.graph, nodes)
    states: States = {v: tuple(range(len(s))) for v, s in tables.states.items() if v in inside}
    factors = []
    for scope, array in tables.factors:
        if scope[-1] in inside:
            support = (array > 0).astype(float)
            support[~support.any(axis=-1)] = 1
            factors.append((scope, support / support.sum(axis=-1, keepdims=True)))
    return Tables(states, tuple(factors), True)
