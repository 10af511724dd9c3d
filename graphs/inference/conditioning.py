r"""Answers case by case, where a plan does not fit the memory.

With the variables :math:`C` of a cutset fixed to a state :math:`c` the rest is easier, and
:math:`Z(e) = \sum_c Z(e, c)`, :math:`P(x \mid e) = \sum_c P(c \mid e) P(x \mid e, c)` (Pearl 1988,
section 4.3). A case is one more row of evidence, so that cases run in batches like rows; only
running sums over them are held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import numpy as np

from graphs.inference.elimination import Order
from graphs.inference.evidence import MISSING, Evidence
from graphs.inference.plans import Pattern, Planner, Result
from graphs.language.notation import Node

MOST_WORK = 10**11  # cells over all cases: some minutes
ROWS_AT_ONCE = 4096  # rows and cases expanded together


def require_room(planner: Planner, keep: Sequence[int], max_bytes: int) -> None:
    """Raise ``ValueError`` if the joint distribution of some variables is itself too large."""
    asked = planner.states(keep)
    if 8 * asked > max_bytes:
        raise ValueError(
            f"expected a joint table that fits into max_bytes = {max_bytes:,}, got "
            f"{Decimal(asked):.3g} cells for the {len(keep)} nodes asked for"
        )


def require_fit(planner: Planner, pattern: Pattern, max_bytes: int, names: Sequence[Node]) -> None:
    """Raise ``ValueError`` with the cost if a plan of maxima after sums does not fit the memory."""
    order = planner.order(pattern.removed, pattern.keep, pattern.last)
    needed = planner.plan(pattern).bytes(True)
    if needed > max_bytes:
        raise ValueError(
            f"expected tables that fit into max_bytes = {max_bytes:,}, got {Decimal(needed):.3g} "
            f"bytes ({Decimal(order.cells):.3g} cells, treewidth {order.treewidth}) to sum out all "
            f"but {len(pattern.last)} nodes before the maximum over them; "
            f"{_largest(order, planner, names)}. "
            "The maximum over all nodes takes less"
        )


def _largest(order: Order, planner: Planner, names: Sequence[Node]) -> str:
    """``a largest clique of 3 variables with 8 cells (64 bytes): A, B, C``."""
    cells = Decimal(planner.states(order.largest))
    shown = ", ".join(str(names[v]) for v in order.largest[:30])
    shown += ", ..." if len(order.largest) > 30 else ""
    count = len(order.largest)
    size = f"{cells:.3g} cells ({8 * cells:.3g} bytes)"
    return f"a largest clique of {count} variables with {size}: {shown}"


def choose_cutset(
    planner: Planner, pattern: Pattern, logarithms: bool, max_bytes: int, names: Sequence[Node]
) -> tuple[int, ...]:
    """Variables to fix so that the plan of a pattern fits the memory; none if it does at once.

    Each is the one whose cliques hold the most cells, against the number of its states.

    Args:
        planner: makes plans.
        pattern: what is to be computed.
        logarithms: whether in logarithms, which write out the joins of tables.
        max_bytes: the memory.
        names: of the variables, for the message.

    Raises:
        ValueError: no cutset keeps the work within reason.
    """
    cut: list[int] = []
    sizes = planner.sizes
    while True:
        inner = pattern.without(cut)
        order = planner.order(inner.removed, inner.keep)
        if planner.states(cut) * order.cells > MOST_WORK:
            break
        if planner.plan(inner).bytes(logarithms) <= max_bytes:
            return tuple(cut)
        held = [0.0] * len(sizes)
        for clique in order.cliques:
            for v in clique:
                held[v] += min(planner.states(clique), 1e300)
        choices = [v for v in order.variables if sizes[v] > 1]
        if not choices:
            raise ValueError(
                f"expected tables that fit into max_bytes = {max_bytes:,}, got "
                f"{planner.plan(inner).bytes(logarithms):,} bytes with every variable fixed"
            )
        cut.append(max(choices, key=lambda v: held[v] * (1 - 1 / sizes[v]) / math.log(sizes[v])))
    order = planner.order(pattern.removed, pattern.keep)
    raise ValueError(
        f"expected tables that fit into max_bytes = {max_bytes:,}, got "
        f"{_largest(order, planner, names)}. "
        f"Conditioning on some of them would take more than {float(MOST_WORK):.0e} cells of work. "
        "What helps: name the nodes that will be observed as evidence_variables, or ask "
        "graphs.marginal for one node, which leaves out what the answer does not need; "
        "graphs.BeliefPropagation and graphs.MeanField approximate"
    )


def cases(
    sizes: Sequence[int], cut: tuple[int, ...], evidence: Evidence
) -> Iterator[tuple[Evidence, int]]:
    """Every row repeated for some cases of the cutset, until all cases have come."""
    shape = tuple(sizes[v] for v in cut)
    every = np.arange(evidence.rows)
    step = max(1, ROWS_AT_ONCE // max(evidence.rows, 1))
    for first in range(0, math.prod(shape), step):
        numbers = np.arange(first, min(first + step, math.prod(shape)))
        repeated = evidence.take(np.repeat(every, len(numbers)))
        for v, state in zip(cut, np.unravel_index(numbers, shape), strict=True):
            repeated.codes[v] = np.tile(state, evidence.rows)
        yield repeated, len(numbers)


def contradicted(cut: tuple[int, ...], some: Evidence, evidence: Evidence) -> np.ndarray:
    """Which of some cases have a state of the cutset that is not the one observed."""
    wrong = np.zeros(some.rows, np.bool_)
    for v in cut:
        if v in evidence.codes:
            seen = np.repeat(evidence.codes[v], some.rows // evidence.rows)
            wrong |= (seen != MISSING) & (seen != some.codes[v])
    return wrong


def mixture(
    sizes: Sequence[int],
    cut: tuple[int, ...],
    evidence: Evidence,
    answer: Callable[[Evidence], Result],
) -> Result:
    """Sum an answer over the cases of a cutset, in proportion to their Z.

    Args:
        sizes: states of each variable.
        cut: the cutset.
        evidence: observed states.
        answer: log Z and columns for rows in which the cutset is observed.
    """
    rows = evidence.rows
    total = np.full(rows, -np.inf)
    average: np.ndarray | None = None
    for some, count in cases(sizes, cut, evidence):
        found = answer(some)
        log_z = np.where(contradicted(cut, some, evidence), -np.inf, found.log_z)
        log_z = log_z.reshape(rows, count)
        updated = np.logaddexp(total, np.logaddexp.reduce(log_z, axis=1))
        shift = np.where(np.isneginf(updated), 0.0, updated)[:, None]
        columns = found.columns.reshape(rows, count, -1)
        part = np.einsum("rc,rcw->rw", np.exp(log_z - shift), columns)
        average = part if average is None else average * np.exp(total[:, None] - shift) + part
        total = updated
    assert average is not None
    return Result(total, average, np.zeros(rows, np.bool_))
