"""What to run for one pattern of evidence: which leaves, which contractions, at what cost.

A variable observed in every row is *removed*: each table that mentions it is sliced per row, and it
takes no part in the elimination order. A variable observed in some rows stays, with an *indicator*
table per row: one at the observed state, or one everywhere where the value is missing. A likelihood
multiplies the indicator; where its variable is removed, it is a number per row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from graphs.inference.contraction import Program, compile_program
from graphs.inference.elimination import Order, constrained_order, elimination_order

MOST_PLANS = 64


class Pattern(NamedTuple):
    """What a plan is compiled for.

    Attributes:
        removed: variables observed in every row.
        partly: whether any other variable may be observed in some row.
        keep: variables whose joint distribution is asked for.
        marginals: whether all marginals are asked for.
        soft: variables with a likelihood.
        last: variables to be eliminated after all others, by maxima instead of sums.
    """

    removed: frozenset[int]
    partly: bool = False
    keep: frozenset[int] = frozenset()
    marginals: bool = False
    soft: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()

    def without(self, variables: Collection[int]) -> Pattern:
        """The same with more variables observed."""
        return self._replace(removed=self.removed.union(variables))


class Leaf(NamedTuple):
    """A given table: a factor of the model, sliced at its observed variables, or an indicator.

    Attributes:
        factor: position among the model's factors; None for an indicator or a likelihood.
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
    def kept(self) -> tuple[int, ...]:
        """The slots that hold the joint distribution of the kept variables: one or none."""
        program = self.program
        return tuple(slot for slot in program.roots if program.scopes[slot])

    @property
    def read(self) -> tuple[int, ...]:
        """The slots that are read as the answer, in the order of its columns."""
        return self.kept or tuple(step.out for step in self.program.reads.values())

    @cached_property
    def cells(self) -> int:
        """Entries of all tables, for one row."""
        return sum(map(self.program.cells, range(1, len(self.program.scopes))))

    def bytes(self, logarithms: bool) -> int:
        """Memory for one row: the tables, and in logarithms the largest join a few times.

        To add tables, and to draw from a table, takes that often.
        """
        return 8 * (self.cells + (6 * self._largest_step if logarithms else 0))

    @cached_property
    def _largest_step(self) -> int:
        return max(map(self.program.cells_of_step, self.program.steps), default=1)

    @cached_property
    def widest_choice(self) -> int:
        """The most assignments that one forward step sums over."""
        program = self.program
        return max(
            (
                program.cells_of_step(step) // max(program.cells(step.out), 1)
                for step in program.forward
            ),
            default=1,
        )


class Result(NamedTuple):
    """What a plan computes for each row.

    Attributes:
        log_z: (rows,) natural logarithm of the sum of products.
        columns: (rows, width) what ``Plan.read`` lists, side by side and each normalised.
        marked: (rows,) where linear numbers may have lost an entry.
    """

    log_z: np.ndarray
    columns: np.ndarray
    marked: np.ndarray


class Planner:
    """Plans for a model of numbered variables, kept for use again.

    Args:
        sizes: states of each variable.
        scopes: variables of each factor, in the order of its axes.
        seconds: the longest search for an elimination order.
        rows: how long the search is worth, in rows of evidence.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        scopes: Sequence[tuple[int, ...]],
        seconds: float,
        rows: float = 2,
    ):
        self.sizes, self.scopes, self.seconds, self.rows = sizes, scopes, seconds, rows
        self._orders: dict[tuple[frozenset[int], ...], Order] = {}
        self._keep_plans()

    def _keep_plans(self) -> None:
        self.plan: Callable[[Pattern], Plan] = lru_cache(MOST_PLANS)(self._plan)

    def __getstate__(self) -> dict[str, Any]:
        """All but plans, which are soon made from the orders that took long to find."""
        return {name: value for name, value in vars(self).items() if name != "plan"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_plans()

    def order(
        self,
        removed: frozenset[int],
        keep: frozenset[int] = frozenset(),
        last: frozenset[int] = frozenset(),
    ) -> Order:
        """The order in which to sum out what is neither removed nor kept, some of it last."""
        key = removed, keep, last
        if (found := self._orders.get(key)) is None:
            found = self._order(*key)
            if len(self._orders) >= MOST_PLANS:
                oldest, *_ = self._orders  # at one stroke, as threads may share a tree
                self._orders.pop(oldest, None)
            self._orders[key] = found
        return found

    def cells(self, removed: frozenset[int]) -> int:
        """Cells of all joins without the removed variables."""
        return self.order(removed).cells

    def states(self, variables: Collection[int]) -> int:
        """The number of joint states of some variables."""
        return math.prod(self.sizes[v] for v in variables)

    def _order(
        self,
        removed: frozenset[int],
        keep: frozenset[int],
        last: frozenset[int],
    ) -> Order:
        rests = [[v for v in scope if v not in removed] for scope in self.scopes]
        search = self.rows, self.seconds
        if last:
            return constrained_order(self.sizes, rests, last, removed, *search)
        return elimination_order(self.sizes, rests, keep, removed, *search)

    def _plan(self, pattern: Pattern) -> Plan:
        removed = pattern.removed
        order = self.order(removed, pattern.keep, pattern.last)
        rests = [tuple(v for v in scope if v not in removed) for scope in self.scopes]
        batched = [len(r) < len(s) for r, s in zip(rests, self.scopes, strict=True)]
        indicated = [
            v
            for v in range(len(self.sizes))
            if v in pattern.soft or (pattern.partly and v not in removed)
        ]
        program = compile_program(
            self.sizes,
            [*rests, *(() if v in removed else (v,) for v in indicated)],
            [*batched, *(True for _ in indicated)],
            order.variables,
            sorted(order.variables) if pattern.marginals else (),
            pattern.last,
        )
        leaves = []
        for k, scope in enumerate(self.scopes):
            observed = tuple(v for v in scope if v in removed)
            rest = program.scopes[k + 1]
            leaves.append(Leaf(k, observed, rest, tuple(map(scope.index, observed + rest))))
        leaves += [
            Leaf(None, (v,), ()) if v in removed else Leaf(None, (), (v,)) for v in indicated
        ]
        return Plan(order, program, tuple(leaves))
