r"""Messages from slice to slice, each slice a small network of its own.

The *interface* :math:`I_t` holds the variables of slice t that slice t + 1 looks at, and those
without time. Given it, past and future are independent, so that the two messages

.. math::

    \alpha_t(I_t) = P(I_t \mid e_{0:t}) \propto
        \sum \alpha_{t-1}(I_{t-1}) \prod_i P(x_{t,i} \mid \mathrm{pa}(i)), \qquad
    \beta_t(I_t) \propto P(e_{t+1:T-1} \mid I_t)

carry all that one side has to say to the other (Murphy 2002, section 3.6). Each is one more table
beside those of the slice, and what is summed over is done by the contractions of
:mod:`graphs.inference.contraction` in an order for that slice: a junction tree in which the
interface lies in a clique. All of it runs in logarithms on torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from graphs.inference import log_space
from graphs.inference.contraction import Program, compile_program
from graphs.inference.elimination import elimination_order
from graphs.inference.evidence import MISSING, Evidence
from graphs.inference.log_space import Reduce, log_sum
from graphs.inference.plans import Leaf

Purpose: TypeAlias = Literal["forward", "backward", "both"]

_MOST_PROGRAMS = 64
_ROWS = 100  # how often a program will run, about: what the search for its order is worth


class Message(NamedTuple):
    """A table over an interface, in logarithms, and what was taken out of it.

    Attributes:
        table: (cells, rows), the interface's variables in order, the last varying fastest.
        log_total: (rows,), minus infinity where nothing is possible.
    """

    table: Tensor
    log_total: Tensor


class Slice:
    """The first slice, or any later one, with the interface before it.

    Args:
        sizes: of the slice's variables, then of copies of the interface's before.
        scopes: of the factors, by number.
        members: variables about which there may be evidence, or that are asked for.
        before, after: the interfaces; a variable without time is the same in both.
        factors: the positions of the factors among those of the model.
        seconds: the longest search for an order.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        scopes: Sequence[tuple[int, ...]],
        members: Sequence[int],
        before: tuple[int, ...],
        after: tuple[int, ...],
        factors: Sequence[int],
        seconds: float,
    ):
        self.sizes, self.scopes, self.members = sizes, scopes, members
        self.before, self.after, self.factors = before, after, factors
        self.seconds = seconds
        self.program: Callable[[Purpose, frozenset[int], tuple[int, ...]], Program]
        self.program = lru_cache(_MOST_PROGRAMS)(self._program)

    def _program(self, purpose: Purpose, seen: frozenset[int], asked: tuple[int, ...]) -> Program:
        """What to contract; leaves are the factors, indicators of what is seen, then messages."""
        keep = {"forward": self.after, "backward": self.before, "both": ()}[purpose]
        scopes = [*self.scopes, *((v,) for v in sorted(seen)), *filter(None, self._ends(purpose))]
        held = {v for scope in scopes for v in scope}
        unused = [v for v in range(len(self.sizes)) if v not in held]
        order = elimination_order(
            self.sizes, scopes, keep, unused, rows=_ROWS, seconds=self.seconds
        )
        batched = [False] * len(self.scopes) + [True] * (len(scopes) - len(self.scopes))
        variables = [v for v in order.variables if v not in unused]
        return compile_program(self.sizes, scopes, batched, variables, asked)

    def run(
        self,
        purpose: Purpose,
        evidence: Evidence,
        log_tables: Sequence[Tensor],
        messages: Sequence[Tensor],
        asked: tuple[int, ...] = (),
        reduce: Reduce = log_sum,
    ) -> tuple[Program, list[Tensor]]:
        """A program and its slots; messages (cells, rows) come from before and from after."""
        seen = frozenset(evidence.codes) | frozenset(evidence.soft)
        program = self.program(purpose, seen, asked)
        example = log_tables[0]
        slots = [example.new_zeros(1, 1)]
        for k, scope in zip(self.factors, self.scopes, strict=True):
            table = log_space.finite(log_tables[k])[..., None]
            slots.append(self._placed(table, scope, program.scopes[len(slots)]))
        for v in sorted(seen):
            code, likely = evidence.codes.get(v), evidence.soft.get(v)
            where = None if code is None else torch.from_numpy(code).to(example.device)
            leaf = Leaf(None, (), (v,))
            slots.append(log_space.indicator(leaf, self.sizes[v], where, likely, example))
        for scope, message in zip(self._ends(purpose), messages, strict=True):
            if not scope:
                continue
            table = message.reshape(*(self.sizes[v] for v in scope), -1)
            slots.append(self._placed(table, scope, program.scopes[len(slots)]))
        return program, log_space.contract(program, slots, reduce)

    def _ends(self, purpose: Purpose) -> list[tuple[int, ...]]:
        """The interfaces over which messages come in."""
        return [self.before] * (purpose != "backward") + [self.after] * (purpose != "forward")

    def _placed(self, table: Tensor, scope: Sequence[int], wanted: Sequence[int]) -> Tensor:
        """A table (states of its scope, rows) as (cells, rows), its axes in another order."""
        axes = [scope.index(v) for v in wanted]
        return table.permute(*axes, len(scope)).reshape(-1, table.shape[-1])

    def kept(
        self, program: Program, slots: Sequence[Tensor], scope: tuple[int, ...], largest: bool
    ) -> Message:
        """The table over an interface that a program leaves in its roots, its total taken out."""
        sizes = [self.sizes[v] for v in scope]
        total = slots[0].new_zeros([1] * len(scope) + [1])
        for root in program.roots:
            held = program.scopes[root]
            table = slots[root].reshape(*(self.sizes[v] for v in held), -1)
            order = sorted(range(len(held)), key=lambda i: scope.index(held[i]))
            table = table.permute(*order, len(held))
            shape = [self.sizes[v] if v in held else 1 for v in scope]
            total = total + table.reshape(*shape, -1)
        table = total.expand(*sizes, total.shape[-1]).reshape(-1, total.shape[-1])
        weight = table.amax(0) if largest else table.logsumexp(0)
        dead = weight <= log_space.log_zero(table.dtype) / 2
        table = log_space.finite(table - weight.masked_fill(dead, 0.0))
        return Message(table, weight.masked_fill(dead, -math.inf))

    def marginals(self, program: Program, slots: Sequence[Tensor]) -> dict[int, Tensor]:
        """(rows, states) of every variable that the program was asked for."""
        return {v: slots[step.out].softmax(0).T for v, step in program.reads.items()}

    def bytes(self) -> int:
        """Memory for one row of evidence on everything, as good as none, in a slice."""
        program = self.program("both", frozenset(self.members), tuple(self.members))
        largest = max(map(program.cells_of_step, program.steps), default=1)
        cells = sum(map(program.cells, range(1, len(program.scopes))))
        return 8 * (cells + 6 * largest)


def unseen(evidence: Evidence, members: Sequence[int]) -> tuple[int, ...]:
    """The variables that some row does not observe."""
    codes = evidence.codes
    return tuple(v for v in members if v not in codes or (codes[v] == MISSING).any())
