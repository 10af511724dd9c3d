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
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

Score = Callable[[int], float]

CELLS_PER_SCORE = (
    2  # scoring one vertex takes about as long as filling so many cells for 1,000 rows
)
MOST_SCORES = 30_000  # about a tenth of a second


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
    cells: float
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
    seconds: float = 2.0,
) -> Order:
    """The cheapest order found for summing every variable out but ``keep`` and ``ignore``.

    Args:
        sizes: the number of states of each variable.
        scopes: the variables of each table.
        keep: variables that stay, in one table.
        ignore: variables that no scope mentions.
        seconds: the search stops after so long even if more orders look worth trying. Below that
            limit the result depends on the arguments alone.
    """
    started = time.perf_counter()
    adjacency: list[set[int]] = [set() for _ in sizes]
    for scope in (*scopes, keep):
        for v in scope:
            adjacency[v].update(scope)
    for v, neighbours in enumerate(adjacency):
        neighbours.discard(v)
    best: Order | None = None
    scored = 0
    for score, chance in _attempts():
        order, count = _greedy(sizes, adjacency, frozenset((*keep, *ignore)), score, chance)
        scored += count
        if best is None or order.cells < best.cells:
            best = order
        if scored > min(MOST_SCORES, best.cells / CELLS_PER_SCORE):
            break
        if time.perf_counter() - started > seconds:
            break
    assert best is not None
    return best


def _attempts() -> Iterator[tuple[int, random.Random | None]]:
    yield from ((score, None) for score in range(3))
    chance = random.Random(0)
    while True:
        yield from ((score, chance) for score in range(3))


def _greedy(
    sizes: Sequence[int],
    graph: list[set[int]],
    stay: frozenset[int],
    kind: int,
    chance: random.Random | None,
) -> tuple[Order, int]:
    adjacency = [set(neighbours) for neighbours in graph]
    weights = [math.log(size) for size in sizes]

    def weight(v: int) -> float:
        return weights[v] + sum(weights[u] for u in adjacency[v])

    def fill(v: int) -> float:
        around = adjacency[v]
        return sum(len(around - adjacency[u]) - 1 for u in around)

    def weighted_fill(v: int) -> float:
        around = adjacency[v]
        return sum(
            weights[u] * sum(weights[w] for w in around - adjacency[u] - {u}) for u in around
        )

    score: Score = (fill, weighted_fill, weight)[kind]

    def rank(v: int) -> tuple[float, float, float]:
        return score(v), weight(v), v if chance is None else chance.random()

    ranks = {v: rank(v) for v in range(len(sizes)) if v not in stay}
    scored = len(ranks)
    cells, most = 0.0, 0.0
    variables: list[int] = []
    cliques: list[tuple[int, ...]] = []
    largest: tuple[int, ...] = ()
    while ranks:
        v = min(ranks, key=ranks.__getitem__)
        del ranks[v]
        around = adjacency[v]
        join = math.exp(min(weight(v), 700.0))
        variables.append(v)
        cliques.append((v, *around))
        cells += join
        if join > most:
            most, largest = join, cliques[-1]
        for u in around:
            adjacency[u] |= around
            adjacency[u] -= {u, v}
        touched = set(around)
        if kind < 2:
            touched.update(*(adjacency[u] for u in around))
        for u in touched & ranks.keys():
            ranks[u] = rank(u)
            scored += 1
    return Order(tuple(variables), tuple(cliques), cells, largest), scored
