"""What to run for one pattern of evidence: which leaves, which contractions, at what cost.

A variable observed in every row is *removed*: each table that mentions it is sliced per row, and it
takes no part in the elimination order. A variable observed in some rows stays, with an *indicator*
table per row: one at the observed state, or one everywhere where the value is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .contraction import Program, compile_program
from .elimination import Order, elimination_order


class Leaf(NamedTuple):
    """A given table: a factor of the model, sliced at its observed variables, or an indicator.

    Attributes:
        factor: position among the model's factors; None for an indicator.
        observed: its removed variables, in the order of its axes.
        scope: its other variables, in the order of the program's tables.
        axes: how to transpose the factor to ``observed`` and then ``scope``.
    """

    factor: int | None
    observed: tuple[int, ...]
    scope: tuple[int, ...]
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A compiled program and where its leaves come from."""

    order: Order
    program: Program
    leaves: tuple[Leaf, ...]

    @property
    def reads(self) -> tuple[tuple[int, ...], ...]:
        """The scopes of what is read, in the order of the columns of a result."""
        kept = [self.program.scopes[s] for s in self.program.roots if self.program.scopes[s]]
        return tuple(kept or ((v,) for v in self.program.reads))

    @property
    def cells(self) -> int:
        """Entries of all tables, for one row."""
        return sum(map(self.program.cells, range(1, len(self.program.scopes))))


def make_plan(
    sizes: Sequence[int],
    scopes: Sequence[Sequence[int]],
    removed: Collection[int] = (),
    indicated: Collection[int] = (),
    marginals: bool = False,
    order: Order | None = None,
) -> Plan:
    """The plan for evidence on ``removed`` in every row and on ``indicated`` in some.

    Args:
        sizes: states of each variable.
        scopes: variables of each factor, in the order of its axes.
        removed: variables observed in every row.
        indicated: variables observed in some rows.
        marginals: whether to compute the marginal of every variable that is left.
        order: the elimination order; variables neither in it nor removed stay to the end.
    """
    gone = frozenset(removed)
    rests = [tuple(v for v in scope if v not in gone) for scope in scopes]
    rests += [(v,) for v in indicated]
    if order is None:
        order = choose_order(sizes, scopes, gone)
    batched = [len(rest) < len(scope) for rest, scope in zip(rests, scopes, strict=False)]
    batched += [True] * len(indicated)
    targets = sorted(order.variables) if marginals else ()
    program = compile_program(sizes, rests, batched, order.variables, targets)
    leaves = []
    for k, scope in enumerate(scopes):
        observed = tuple(v for v in scope if v in gone)
        rest = program.scopes[k + 1]
        leaves.append(Leaf(k, observed, rest, tuple(map(scope.index, observed + rest))))
    leaves += [Leaf(None, (), (v,)) for v in indicated]
    return Plan(order, program, tuple(leaves))


def choose_order(
    sizes: Sequence[int],
    scopes: Sequence[Sequence[int]],
    removed: Collection[int],
    keep: Collection[int] = (),
) -> Order:
    """The elimination order without the removed variables."""
    gone = frozenset(removed)
    rests = [[v for v in scope if v not in gone] for scope in scopes]
    return elimination_order(sizes, rests, keep, gone)
