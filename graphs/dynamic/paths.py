"""Paths through all slices: the most probable one, and draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphs.dynamic.interface import Slice
from graphs.dynamic.messages import Messages
from graphs.inference import log_space
from graphs.inference.evidence import Evidence
from graphs.inference.log_space import Choose, Reduce


def paths(
    messages: Messages,
    whole: Sequence[Evidence],
    rows: int | None,
    n: int,
    reduce: Reduce,
    choose: Choose,
) -> dict[int, Tensor]:
    """States (n · rows, T) of all variables, chosen from the last slice to the first.

    Args:
        messages: of the network.
        whole: the evidence of every slice.
        rows: how many it has, if it tells of rows.
        n: how many paths of each row.
        reduce: what a message is: a sum for draws, a maximum for the most probable path.
        choose: picks one of the weighted states.
    """
    device = messages.log_tables[0].device
    row = torch.arange(rows or 1, device=device).repeat(n)
    found = {
        v: torch.empty(len(row), len(whole), dtype=torch.long, device=device)
        for v in range(len(messages.states))
    }
    known: dict[int, Tensor] | None = None
    for block in messages.blocks(whole, reduce):
        while block:
            t, observed, part, before = block.pop()
            program, slots, after = messages.step(t, observed, part, before, reduce)
            if known is None:
                known = _chosen_end(part, after, row, choose)
            chosen = log_space.descend(program, slots, row, choose, known)
            for v, states in chosen.items():
                if v in found:
                    found[v][:, t] = states
            known = {v: chosen[u] for v, u in zip(part.after, part.before, strict=False)}
    return found


def _chosen_end(part: Slice, after: Tensor, row: Tensor, choose: Choose) -> dict[int, Tensor]:
    """The states of the last interface."""
    if not part.after:
        return {}
    weights = after.T[row if after.shape[1] > 1 else torch.zeros_like(row)]
    sizes = [part.sizes[v] for v in part.after]
    picked = torch.unravel_index(choose(weights), sizes)
    return dict(zip(part.after, picked, strict=True))
