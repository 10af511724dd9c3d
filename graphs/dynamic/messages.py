"""Messages between the slices of a network that repeats in time, forwards and backwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphs.dynamic.interface import Slice, unseen
from graphs.inference.contraction import Program
from graphs.inference.evidence import Evidence
from graphs.inference.log_space import Reduce, log_sum
from graphs.inference.queries import require_possible
from graphs.language.notation import Node

Held = tuple[int, Evidence, Slice, Tensor]
"""A slice with its number, and the message before it."""


@dataclass(frozen=True)
class Messages:
    """What passes between slices over their interface.

    Attributes:
        first, later: the first slice and any later one.
        log_tables: the logarithms of all factors.
        states: of every variable.
        cells: of a message.
        require_room: refuses more rows than fit.
    """

    first: Slice
    later: Slice
    log_tables: Sequence[Tensor]
    states: Mapping[Node, Sequence[Hashable]]
    cells: int
    require_room: Callable[[int], None]

    def end(self) -> Tensor:
        """The message that says nothing: before the first slice, and after the last."""
        return self.log_tables[0].new_zeros(self.cells, 1)

    def forward(
        self, slices: Iterator[Evidence] | Sequence[Evidence], reduce: Reduce = log_sum
    ) -> Iterator[Held]:
        """Each slice with its number and the message before it."""
        message = self.end()
        for t, observed in enumerate(slices):
            part = self.later if t else self.first
            self.require_room(observed.rows)
            before = message
            message = self.step(t, observed, part, before, reduce)[2]
            yield t, observed, part, before

    def step(
        self, t: int, observed: Evidence, part: Slice, before: Tensor, reduce: Reduce
    ) -> tuple[Program, list[Tensor], Tensor]:
        """The forward program of a slice, its slots, and the message after it."""
        program, slots = part.run("forward", observed, self.log_tables, [before], reduce=reduce)
        message, log_total = part.kept(program, slots, part.after, reduce is not log_sum)
        impossible = torch.isneginf(log_total).cpu().numpy()
        if impossible.any():
            try:
                rows = np.where(impossible, -np.inf, 0.0)
                require_possible(rows, _filled(observed, len(rows)), self.states)
            except ValueError as error:
                raise ValueError(f"slice {t}: {error}") from None
        return program, slots, message

    def back(
        self, held: Sequence[tuple[Evidence, Slice, Tensor]], beta: Tensor
    ) -> Iterator[dict[int, Tensor]]:
        """Marginals of some slices in a row, the last one first, given the message after them."""
        for i, (observed, part, before) in reversed(list(enumerate(held))):
            asked = unseen(observed, part.members)
            program, slots = part.run("both", observed, self.log_tables, [before, beta], asked)
            yield part.marginals(program, slots)
            if i:
                beta = self.backward(observed, part, beta)

    def backward(self, observed: Evidence, part: Slice, beta: Tensor) -> Tensor:
        program, slots = part.run("backward", observed, self.log_tables, [beta])
        return part.kept(program, slots, part.before, largest=False).table

    def blocks(self, whole: Sequence[Evidence], reduce: Reduce) -> Iterator[list[Held]]:
        """The slices in blocks of about √T, the last block first, each with its messages."""
        size = math.isqrt(len(whole) - 1) + 1
        kept = [
            before for t, _, _, before in self.forward(whole, reduce) if t % size == 0
        ]  # one pass that keeps a message a block
        for start in range((len(kept) - 1) * size, -1, -size):
            message, block = kept.pop(), []
            for t in range(start, min(start + size, len(whole))):
                part = self.later if t else self.first
                block.append((t, whole[t], part, message))
                if t + 1 < min(start + size, len(whole)):
                    message = self.step(t, whole[t], part, message, reduce)[2]
            yield block

    @torch.no_grad()
    def smoothed(self, whole: Sequence[Evidence]) -> Iterator[tuple[int, dict[int, Tensor]]]:
        """The marginals of every slice, the last one first."""
        beta = self.end()
        for block in self.blocks(whole, log_sum):
            while block:
                t, observed, part, before = block.pop()
                asked = unseen(observed, part.members)
                program, slots = part.run("both", observed, self.log_tables, [before, beta], asked)
                yield t, part.marginals(program, slots)
                if t:
                    beta = self.backward(observed, part, beta)


def _filled(evidence: Evidence, rows: int) -> Evidence:
    """Evidence of one row as that of several, all alike."""
    if evidence.rows == rows:
        return evidence
    codes = {v: np.repeat(code, rows) for v, code in evidence.codes.items()}
    soft = {v: table.expand(rows, -1) for v, table in evidence.soft.items()}
    return Evidence(codes, rows, False, soft)
