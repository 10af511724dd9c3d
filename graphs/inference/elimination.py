r"""Orders in which to sum variables out, chosen by their predicted cost.

Summing :math:`x_v` out of a product of tables joins every table that mentions it: with :math:`N(v)`
the neighbours of :math:`v` in the current interaction graph, the join has :math:`\prod_{u \in \{v\}
\cup N(v)} |x_u|` cells, and leaves :math:`N(v)` complete. The sum of these over an order is its
cost, the largest is the clique that decides whether it can be run at all. Finding the best order is
NP-hard (Arnborg, Corneil and Proskurowski 1987); greedy choices come close (Kjærulff 1990; Koller
and Friedman 2009, section 9.4.3.2):

* min-fill takes the vertex whose elimination adds the fewest edges,
* weighted min-fill weighs an added edge by :math:`\log|x_u| \log|x_w|`,
* min-weight takes the smallest join.

They are tried in turn, then again with ties broken at random, for as long as the search stays cheap
beside the work it may save.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from graphs.inference.greedy import FILL, WEIGHT, WEIGHTED_FILL, compiled_greedy, greedy
from graphs.inference.work import BUDGET, COMPARISON

# Comparing two vertices takes about as long as filling a cell.
MOST_COMPARISONS = 10_000_000
MOST_FOR_FILL = 200_000_000  # scoring a hub's fill after each of its neighbours costs its degree³


@dataclass(frozen=True)
class Order:
    """An elimination order.

    Attributes:
        variables: in the order they are summed out.
        cliques: the join of each of them, as the tuple of its variables.
        cells: cells of all joins together.
        largest: the join with the most cells.
    """

    variables: tuple[int, ...]
    cliques: tuple[tuple[int, ...], ...]
    cells: int
    largest: tuple[int, ...]

    @property
    def treewidth(self) -> int:
        """Variables of the widest join, less one: an upper bound on the treewidth."""
        return max((len(clique) for clique in self.cliques), default=1) - 1


def elimination_order(
    sizes: Sequence[int],
    scopes: Iterable[Collection[int]],
    keep: Collection[int] = (),
    ignore: Collection[int] = (),
    rows: float = 2,
    seconds: float = 2.0,
) -> Order:
    """The cheapest order found for summing every variable out but ``keep`` and ``ignore``.

    Args:
        sizes: the number of states of each variable.
        scopes: the variables of each table.
        keep: variables that stay, in one table.
        ignore: variables that no scope mentions.
        rows: for how many rows of evidence the order will be used, about: the search takes no
            longer than that.
        seconds: the search stops after so long even if more orders look worth trying. Below that
            limit the result depends on the arguments alone.
    """
    started = time.perf_counter()
    counts = np.asarray(sizes, float)
    logs = np.log(counts)
    neighbours, degrees = _neighbours(len(sizes), [*scopes, keep])
    going = np.ones(len(sizes), np.bool_)
    going[[*keep, *ignore]] = False
    chance = np.random.default_rng(0)
    kinds = (FILL, WEIGHTED_FILL, WEIGHT) if (degrees**3).sum() < MOST_FOR_FILL else (WEIGHT,)
    best, cost, compared, attempt = np.empty(0, np.int64), np.inf, 0, 0
    expected = len(sizes) ** 2 + int((degrees**2).sum())
    while True:
        before = time.perf_counter()
        search = greedy if BUDGET.allows(COMPARISON * expected) else compiled_greedy()
        started += time.perf_counter() - before  # compiling is no part of the search
        ties = (
            chance.random(len(sizes))
            if attempt >= len(kinds)
            else np.arange(len(sizes), dtype=float)
        )
        order, cells, count = search(
            neighbours, degrees, counts, logs, going, kinds[attempt % len(kinds)], ties
        )
        expected = len(sizes) ** 2 + count
        if cells < cost or not attempt:
            best, cost = order, cells
        compared += count + len(sizes)
        attempt += 1
        worth = min(rows * cost, MOST_COMPARISONS + cost / 10, 10 * MOST_COMPARISONS)
        if compared >= worth or time.perf_counter() - started > seconds:
            break
    return _described(best.tolist(), sizes, neighbours, degrees)


def constrained_order(
    sizes: Sequence[int],
    scopes: Sequence[Collection[int]],
    last: Collection[int],
    ignore: Collection[int] = (),
    rows: float = 2,
    seconds: float = 2.0,
) -> Order:
    """The cheapest order found that has some variables last (Koller and Friedman 2009, 13.2.3).

    A maximum of sums is not a sum of maxima, so that what is summed out has to go first.

    Args:
        sizes, scopes, ignore, rows, seconds: as in :func:`elimination_order`.
        last: variables that come after all others.
    """
    first = elimination_order(sizes, scopes, (), (*last, *ignore), rows, seconds)
    rest = [[v for v in scope if v in last] for scope in (*scopes, *first.cliques)]
    others = [v for v in range(len(sizes)) if v not in last]
    second = elimination_order(sizes, rest, (), others, rows, seconds)
    return Order(
        first.variables + second.variables,
        first.cliques + second.cliques,
        first.cells + second.cells,
        max(first.largest, second.largest, key=lambda c: math.prod(sizes[v] for v in c)),
    )


def _neighbours(variables: int, scopes: Iterable[Collection[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The interaction graph: the neighbours of each variable, and how many they are."""
    sets: list[set[int]] = [set() for _ in range(variables)]
    for scope in scopes:
        for v in scope:
            sets[v].update(scope)
    for v, members in enumerate(sets):
        members.discard(v)
    degrees = np.array([len(members) for members in sets], np.int64)
    neighbours = np.zeros((variables, int(degrees.max(initial=0)) + 1), np.int64)
    for v, members in enumerate(sets):
        neighbours[v, : len(members)] = sorted(members)
    return neighbours, degrees


def _described(
    order: list[int], sizes: Sequence[int], neighbours: np.ndarray, degrees: np.ndarray
) -> Order:
    """Play an order back to list its joins."""
    around = [set(row[:degree].tolist()) for row, degree in zip(neighbours, degrees, strict=True)]
    cliques = []
    for v in order:
        members = around[v]
        cliques.append((v, *sorted(members)))
        for u in members:
            around[u] |= members
            around[u] -= {u, v}
    cells = [math.prod(sizes[v] for v in clique) for clique in cliques]
    largest = cliques[cells.index(max(cells))] if cliques else ()
    return Order(tuple(order), tuple(cliques), sum(cells), largest)
