r"""Rows of zeros: distributions given parents' states that never occur.

A row :math:`P(x \mid u) = 0` for every x is no distribution, but no matter where
:math:`P(u) = 0`; files of deterministic networks hold such rows. Whether :math:`P(u) = 0` depends
on which entries of the ancestors' tables are zero, and on nothing else: it is decided exactly, by
summing the tables' supports, rows of zeros counted as possible everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import opt_einsum

from graphs.language.notation import Node
from graphs.parameters.tables import Scope, Tables, label_of
from graphs.structure.search import ancestors

MOST_CELLS = 2**28


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
        f"{label_of(scope, True)} at {at}, which are possible" if at else label_of(scope, True)
    )


def _possible(tables: Tables, nodes: list[Node], rows: np.ndarray) -> np.ndarray:
    """Which joint states (n, k) of some nodes have positive probability."""
    supports = _supports(tables, nodes)
    symbol = {v: opt_einsum.get_symbol(i) for i, v in enumerate(tables.states)}
    terms = ["".join(symbol[v] for v in scope) for scope, _ in supports]
    output = "".join(symbol[v] for v in nodes)
    shapes = [array.shape for _, array in supports]
    path, plan = opt_einsum.contract_path(
        f"{','.join(terms)}->{output}", *shapes, shapes=True, optimize="greedy"
    )
    if plan.largest_intermediate > MOST_CELLS:
        raise ValueError(
            "expected a network in which possible states can be told from impossible ones, got "
            f"{len(supports)} tables that take {plan.largest_intermediate:.2g} cells to multiply"
        )
    arrays = [array for _, array in supports]
    for pick, (_, _, equation, *_) in zip(path, plan.contraction_list, strict=True):
        picked = [arrays.pop(i) for i in sorted(pick, reverse=True)]
        # counts of at most all the states summed over, so nothing overflows; then 0 or 1 again
        arrays.append(np.minimum(opt_einsum.contract(equation, *picked), 1.0))
    (joint,) = arrays
    return joint[tuple(rows.T)] > 0


def _supports(tables: Tables, nodes: list[Node]) -> list[tuple[Scope, np.ndarray]]:
    """The tables above some nodes as 0 and 1, rows of zeros as ones."""
    inside = ancestors(tables.graph, nodes)
    supports = []
    for scope, array in tables.factors:
        if scope[-1] in inside:
            support = (array > 0).astype(float)
            support[~support.any(axis=-1)] = 1.0
            supports.append((scope, support))
    return supports
