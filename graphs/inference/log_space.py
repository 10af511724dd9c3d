r"""Programs of contractions on torch tensors, in logarithms.

Exact over the whole range of the numbers, differentiable (``torch.autograd`` and ``torch.func``),
and on any device. A table in a slot has shape (cells, rows), with one row where it does not depend
on the evidence. The logarithm of zero is a large negative number inside, so that no step meets
:math:`\infty - \infty` and every derivative is finite; at the end it is :math:`-\infty` again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from graphs.inference.contraction import Program
from graphs.inference.plans import Leaf, Plan

Reduce: TypeAlias = Callable[[Tensor, tuple[int, ...]], Tensor]
Choose: TypeAlias = Callable[[Tensor], Tensor]


def log_zero(dtype: torch.dtype) -> float:
    """What stands for the logarithm of zero: thousands of them can be added."""
    return -(float(torch.finfo(dtype).max) ** 0.75)


def restore_zeros(log_values: Tensor) -> Tensor:
    """Minus infinity again where the value is zero, with no derivative there; NaN stays NaN."""
    return torch.where(log_values <= log_zero(log_values.dtype) / 2, -math.inf, log_values)


def finite(log_values: Tensor) -> Tensor:
    """The inverse of :func:`restore_zeros`."""
    return log_values.clamp_min(log_zero(log_values.dtype))


def total(log_values: Tensor) -> Tensor:
    """log of the sum over the last axis, with zeros among the terms or throughout."""
    return restore_zeros(finite(log_values).logsumexp(-1))


def log_sum(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The logarithm of the sum of exponentials over some axes."""
    return torch.logsumexp(values, axes)


def maximum(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The largest value over some axes."""
    return torch.amax(values, axes)


def evaluate(
    plan: Plan,
    log_tables: Sequence[Tensor],
    codes: Mapping[int, Tensor],
    rows: int,
    reduce: Reduce = log_sum,
    soft: Mapping[int, Tensor] | None = None,
) -> list[Tensor]:
    """Every slot after all steps of the plan.

    Args:
        plan: what to run.
        log_tables: logarithms of the model's factors.
        codes: observed states (rows,) of the removed and the indicated variables, -1 if missing.
        rows: how many.
        reduce: :func:`log_sum` for probabilities, :func:`maximum` for the best assignment.
        soft: likelihoods (rows, states).
    """
    program = plan.program
    example = log_tables[0]
    slots = [example.new_zeros(1, 1)]
    for leaf in plan.leaves:
        if leaf.factor is None:
            (v,) = leaf.scope or leaf.observed
            slots.append(
                indicator(leaf, program.sizes[v], codes.get(v), (soft or {}).get(v), example)
            )
            continue
        table = finite(log_tables[leaf.factor]).permute(leaf.axes)
        cells = math.prod(program.sizes[v] for v in leaf.scope)
        table = table.reshape(-1, cells)
        if leaf.observed:
            index = torch.zeros((), dtype=torch.long, device=example.device)
            for v in leaf.observed:
                index = index * program.sizes[v] + codes[v]
            table = table[index]
        slots.append(table.T)
    return contract(program, slots, reduce)


def contract(program: Program, slots: list[Tensor], reduce: Reduce = log_sum) -> list[Tensor]:
    """The slots of the scalar one and the leaves (cells, rows), and after them those of all steps.

    Args:
        program: the steps.
        slots: logarithms; the list is appended to.
        reduce: of those steps that come after ``program.sums``.
    """
    for k, step in enumerate(program.steps):
        axes = program.axes(step)
        left, right = (
            slots[slot].reshape([axis[0] if axis[side] else 1 for axis in axes] + [-1])
            for side, slot in ((1, step.left), (2, step.right))
        )
        joined = left + right
        summed = tuple(i for i, axis in enumerate(axes) if not axis[3])
        how = log_sum if k < program.sums else reduce
        result = how(joined, summed) if summed else joined
        slots.append(result.reshape(program.cells(step.out), -1))
    return slots


def indicator(
    leaf: Leaf, size: int, code: Tensor | None, likelihood: Tensor | None, example: Tensor
) -> Tensor:
    """What is observed of one variable (states, rows), or (1, rows) where every row observes it."""
    floor = log_zero(example.dtype)
    table = example.new_zeros(size, 1)
    if likelihood is not None:
        likelihood = likelihood.to(example.device)
        logs = torch.where(likelihood > 0, likelihood, 1.0).log().to(example.dtype)
        table = logs.masked_fill(likelihood <= 0, floor).T
    if code is None:
        return table
    if leaf.observed:
        return table.gather(0, code[None])
    seen = (code == torch.arange(size, device=code.device)[:, None]) | (code < 0)
    return table.expand(size, len(code)).masked_fill(~seen, floor)


def log_partition(plan: Plan, slots: Sequence[Tensor], rows: int) -> Tensor:
    """log Z (rows,) from the slots of a plan."""
    total = slots[0].new_zeros(rows)
    for slot in plan.program.roots:
        total = total + torch.logsumexp(slots[slot], 0)
    return restore_zeros(total)


def columns(plan: Plan, slots: Sequence[Tensor], rows: int) -> Tensor:
    """(rows, width) what the plan reads, normalised, side by side."""
    if not plan.read:
        return slots[0].new_zeros(rows, 0)
    return torch.cat([slots[s].softmax(0).T.expand(rows, -1) for s in plan.read], 1)


def descend(
    program: Program,
    slots: Sequence[Tensor],
    row: Tensor,
    choose: Choose,
    known: Mapping[int, Tensor] | None = None,
) -> dict[int, Tensor]:
    """Assign every variable that was summed out, from the roots down.

    Given the variables that a step keeps, those it sums out have weights
    :math:`T_{left} T_{right}`; all of them are chosen together.

    Args:
        program: one without reads; variables it sums out before maxima are not assigned.
        slots: its slots.
        row: for each assignment wanted, the row of evidence that it is given (n,).
        choose: maps log-weights (n, choices) to the chosen index (n,).
        known: the states (n,) of the variables left in the roots.

    Returns:
        For each variable the state (n,), those known among them.
    """
    chosen = dict(known or {})
    for step in reversed(program.forward[program.sums :]):
        kept = set(program.scopes[step.out])
        free = tuple(v for v in program.union(step) if v not in kept)
        if not free:
            continue
        shape = [program.sizes[v] for v in free]
        weights = slots[0].new_zeros(len(row), math.prod(shape))
        for slot in (step.left, step.right):
            fixed, varied = torch.zeros_like(row), torch.zeros_like(row[:1])
            for v in program.scopes[slot]:
                fixed, varied = fixed * program.sizes[v], varied * program.sizes[v]
                if v in free:
                    axes = [-1 if v == u else 1 for u in free]
                    varied = varied + torch.arange(program.sizes[v], device=row.device).view(axes)
                else:
                    fixed = fixed + chosen[v]
            table = slots[slot]
            column = row[:, None] if table.shape[1] > 1 else 0
            varied = varied.expand(shape).reshape(-1)
            weights += table[fixed[:, None] + varied, column]
        picked = torch.unravel_index(choose(weights), shape)
        chosen.update(zip(free, picked, strict=True))
    return chosen


def best(log_weights: Tensor) -> Tensor:
    """The first of the largest weights."""
    return log_weights.argmax(-1)


def draw(log_weights: Tensor) -> Tensor:
    """A choice with probability proportional to its weight, from torch's global generator.

    The largest of the log-weights, each with Gumbel noise (Gumbel 1954): there is no limit to the
    number of choices.
    """
    return (log_weights - torch.empty_like(log_weights).exponential_().log()).argmax(-1)
