r"""Sums of products of tables as a fixed list of pairwise contractions.

With tables :math:`T_k` over variables :math:`C_k`, the partition function
:math:`Z = \sum_x \prod_k T_k(x_{C_k})` is computed by steps

.. math:: T_{out}(x_O) = \sum_{x_{U \setminus O}} T_{left}(x_L)\, T_{right}(x_R),
   \qquad U = L \cup R,

where :math:`O` keeps the variables that other tables still mention. Every table enters one step, so
the steps form a forest whose roots are scalars; it is the junction tree, with the joins of the
elimination order as cliques and the :math:`T_{out}` as messages towards the root (Shenoy and Shafer
1990). The derivative of :math:`Z` in the entries of a table obeys the same rule in reverse
(Darwiche 2003): with :math:`A_T = \partial Z / \partial T`,

.. math:: A_{left}(x_L) = \sum_{x_{U \setminus L}} A_{out}(x_O)\, T_{right}(x_R),

again a pairwise contraction, and :math:`T(x_C) A_T(x_C) / Z` is the marginal of :math:`x_C`. No
division by a table occurs, so zeros need no special case. Replacing the sum by a maximum gives the
most probable assignment, and descending from the roots samples exactly.

A program is the same for one assignment of evidence and for a thousand: tables that depend on the
evidence carry a further axis, the rows. What executes it is in :mod:`graphs.inference.kernels`
(compiled, in rescaled linear numbers), :mod:`graphs.inference.plain` (the same in numpy, for a
process's first questions) and :mod:`graphs.inference.log_space` (torch, in logarithms).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

Scope = tuple[int, ...]

ONE = 0  # the slot of the scalar one
MOST_COMPARED = 32  # tables among which the next two to contract are chosen


@dataclass(frozen=True, slots=True)
class Step:
    """One contraction: slots of the operands and the result."""

    left: int
    right: int
    out: int


@dataclass
class Program:
    """Steps over numbered slots; slot 0 holds the scalar one, the leaves follow, then the results.

    Attributes:
        sizes: states of each variable.
        rank: position of each variable among the axes of a table; variables eliminated last vary
            fastest, so that messages are read and written along their memory.
        scopes: of each slot, sorted by rank.
        batched: whether a slot depends on the evidence.
        leaves: how many slots after the first are given.
        forward: steps towards the roots.
        sums: how many of them come before any that eliminates by a maximum, where both occur.
        roots: slots of the scalars whose product is Z; variables that were not to be summed out
            are all in one further root.
        backward: steps that compute derivatives.
        reads: for each variable asked for, the step that leaves its unnormalised marginal.
    """

    sizes: Sequence[int]
    rank: Sequence[int]
    scopes: list[Scope]
    batched: list[bool]
    leaves: int
    forward: list[Step] = field(default_factory=list)
    sums: int = 0
    roots: list[int] = field(default_factory=list)
    backward: list[Step] = field(default_factory=list)
    reads: dict[int, Step] = field(default_factory=dict)
    _cells: list[int] = field(default_factory=list)

    @property
    def steps(self) -> list[Step]:
        """All steps in the order of execution."""
        return [*self.forward, *self.backward, *self.reads.values()]

    def states(self, variables: Iterable[int]) -> int:
        """The number of joint states of some variables."""
        return math.prod([self.sizes[v] for v in variables])

    def cells(self, slot: int) -> int:
        """Entries of a slot's table, for one row."""
        known = self._cells
        if slot >= len(known):  # written at once, as threads may ask together
            self._cells = known = [*known, *map(self.states, self.scopes[len(known) :])]
        return known[slot]

    def cells_of_step(self, step: Step) -> int:
        """Products formed by a step, for one row."""
        return self.states(self.union(step))

    def union(self, step: Step) -> Scope:
        """The variables a step ranges over, sorted by rank."""
        both = {*self.scopes[step.left], *self.scopes[step.right], *self.scopes[step.out]}
        return tuple(sorted(both, key=self.rank.__getitem__))

    def axes(self, step: Step) -> list[tuple[int, bool, bool, bool]]:
        """The loop of a step: sizes, and whether left, right and out have each axis.

        Neighbouring variables with the same pattern are one axis, and those with one state none,
        which keeps the number of axes far below what numpy and torch allow.
        """
        left, right, out = (set(self.scopes[s]) for s in (step.left, step.right, step.out))
        axes: list[tuple[int, bool, bool, bool]] = []
        for v in self.union(step):
            if (size := self.sizes[v]) == 1:
                continue
            pattern = (v in left, v in right, v in out)
            if axes and axes[-1][1:] == pattern:
                size *= axes.pop()[0]
            axes.append((size, *pattern))
        return axes

    def _add(self, left: int, right: int, scope: Scope) -> Step:
        self.scopes.append(scope)
        self.batched.append(self.batched[left] or self.batched[right])
        return Step(left, right, len(self.scopes) - 1)


def compile_program(
    sizes: Sequence[int],
    scopes: Sequence[Collection[int]],
    batched: Sequence[bool],
    order: Sequence[int],
    targets: Collection[int] = (),
    last: Collection[int] = (),
) -> Program:
    """The contractions that sum out the variables of ``order``, one after the other.

    Args:
        sizes: states of each variable.
        scopes: variables of each leaf.
        batched: whether each leaf depends on the evidence.
        order: the variables to sum out; those left over stay in the roots.
        targets: variables whose marginals the program computes too.
        last: the end of ``order``, if it is to be eliminated by maxima after sums over the others.
    """
    summed = frozenset(order)
    rank = [0] * len(sizes)
    for position, v in enumerate((*order, *(v for v in range(len(sizes)) if v not in summed))):
        rank[v] = position
    leaves: list[Scope] = [tuple(sorted(scope, key=rank.__getitem__)) for scope in scopes]
    program = Program(sizes, rank, [(), *leaves], [False, *batched], len(leaves))
    parents = _go_forward(program, order, frozenset(last))
    if targets:
        _go_backward(program, parents, targets)
    return program


def _go_forward(program: Program, order: Sequence[int], last: frozenset[int]) -> dict[int, int]:
    """Append the forward steps; the position of the step that consumes each slot."""
    mentions: list[set[int]] = [set() for _ in program.sizes]
    for slot in range(1, program.leaves + 1):
        for v in program.scopes[slot]:
            mentions[v].add(slot)
    parents: dict[int, int] = {}
    removable = set(order) - last

    def contract(left: int, right: int) -> None:
        pair = {left, right}
        members = {*program.scopes[left], *program.scopes[right]}
        kept = [v for v in members if v not in removable or not mentions[v] <= pair]
        step = program._add(left, right, tuple(sorted(kept, key=program.rank.__getitem__)))
        for v in members:
            mentions[v] -= pair
        for v in kept:
            mentions[v].add(step.out)
        parents[left] = parents[right] = len(program.forward)
        program.forward.append(step)

    for v in order:
        if v in last and v not in removable:
            removable |= last
            program.sums = len(program.forward)
        while len(mentions[v]) > 1:
            contract(*_cheapest_pair(program, mentions[v]))
        if mentions[v]:
            contract(mentions[v].pop(), ONE)
    kept = {s for v, slots in enumerate(mentions) if v not in removable for s in slots}
    while len(kept) > 1:
        pair = _cheapest_pair(program, kept)
        kept.difference_update(pair)
        contract(*pair)
        kept.add(program.forward[-1].out)
    program.roots = [s for s in range(1, len(program.scopes)) if s not in parents]
    parents.pop(ONE, None)
    return parents


def _cheapest_pair(program: Program, slots: Iterable[int]) -> tuple[int, int]:
    """The smallest of these tables, and the one of the next smallest with which it grows least."""
    first, *others = heapq.nsmallest(MOST_COMPARED, slots, key=lambda s: (program.cells(s), s))
    scope = program.scopes[first]

    def joined(slot: int) -> int:
        return program.states({*scope, *program.scopes[slot]})

    return first, min(others, key=joined)


def _go_backward(program: Program, parents: dict[int, int], targets: Collection[int]) -> None:
    source = _smallest_tables(program, targets)
    adjoint = dict.fromkeys(program.roots, ONE)
    wanted = set(source.values())
    for slot in range(1, len(program.scopes)):
        if slot in wanted and slot in parents:
            wanted.add(program.forward[parents[slot]].out)
    for step in reversed(program.forward):
        if step.out not in wanted:
            continue
        above = adjoint[step.out]
        for slot, other in ((step.left, step.right), (step.right, step.left)):
            if slot not in wanted:
                continue
            if other == ONE:  # the derivative is the same for every value summed out
                adjoint[slot] = above
                continue
            members = {*program.scopes[above], *program.scopes[other]}
            scope = tuple(v for v in program.scopes[slot] if v in members)
            down = program._add(above, other, scope)
            program.backward.append(down)
            adjoint[slot] = down.out
    for v in targets:
        program.reads[v] = program._add(source[v], adjoint[source[v]], (v,))


def _smallest_tables(program: Program, targets: Collection[int]) -> dict[int, int]:
    """For each variable, the table to read its marginal from.

    Derivatives of messages are needed anyway to reach what lies below them; those of leaves cost a
    step of their own, so a leaf is taken only for a variable that no message mentions.
    """
    wanted = set(targets)
    source: dict[int, int] = {}
    for slot in (*range(program.leaves + 1, len(program.scopes)), *range(1, program.leaves + 1)):
        leaf = slot <= program.leaves
        for v in wanted.intersection(program.scopes[slot]):
            held = source.get(v)
            if held is None or (
                (held <= program.leaves) == leaf and program.cells(slot) < program.cells(held)
            ):
                source[v] = slot
    return source
