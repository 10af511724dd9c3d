"""Joint assignments: draws from the posterior, and the most probable states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphs.inference import log_space
from graphs.inference.conditioning import cases, contradicted, require_fit
from graphs.inference.evidence import Evidence
from graphs.inference.plans import Pattern
from graphs.inference.routing import Router

MOST_CHOICES = 1 << 22  # weights held at once while descending

Assigned = tuple[dict[int, Tensor], np.ndarray]


@dataclass(frozen=True)
class Method:
    """How :meth:`Assignments.assign` assigns: by sums and draws, or by maxima."""

    reduce: log_space.Reduce
    choose: log_space.Choose


SAMPLE = Method(log_space.log_sum, log_space.draw)
MAXIMISE = Method(log_space.maximum, log_space.best)


class Assignments(Router):
    """States chosen variable by variable, after the others have been summed or maximised out."""

    @torch.no_grad()
    def assign(
        self,
        evidence: Evidence,
        draws: int,
        method: Method,
        log_tables: Sequence[Tensor],
        only: Sequence[int] = (),
    ) -> Assigned:
        """States chosen for the variables missing in some row.

        Args:
            evidence: observed states.
            draws: assignments per row.
            method: how to choose.
            log_tables: logarithms of the factors.
            only: variables to be chosen after the others have been summed out; all if empty.

        Returns:
            For each variable its states (draws, rows), and the logarithm of the sum, or of the
            maximum, of every row.
        """
        missing = only or evidence.missing_somewhere(len(self.sizes))
        chosen = {v: torch.zeros(draws, evidence.rows, dtype=torch.long) for v in missing}
        values = np.empty(evidence.rows)
        with self._bar(evidence.rows) as advance:
            for rows, part, pattern in self._groups(evidence):
                pattern = pattern._replace(last=frozenset(only) - pattern.removed)
                cut = () if pattern.last else self.cutset(pattern, True)
                if pattern.last:
                    require_fit(self.planner, pattern, self.max_bytes, self.names)
                which = np.tile(np.arange(part.rows), draws)
                if cut:
                    given, which, values[rows] = self._choose_cases(
                        cut, pattern, part, which, method, log_tables
                    )
                    inner = pattern.without(cut)
                    found, _ = self._assign(inner, given, which, method, log_tables)
                    found.update((v, torch.from_numpy(given.codes[v][which])) for v in cut)
                else:
                    found, values[rows] = self._assign(pattern, part, which, method, log_tables)
                for v, states in chosen.items():
                    states[:, rows] = (
                        found[v].reshape(draws, -1)
                        if v in found
                        else torch.from_numpy(part.codes[v])
                    )
                if advance is not None:
                    advance(len(rows))
        return {v: states.to(self.device) for v, states in chosen.items()}, values

    def _assign(
        self,
        pattern: Pattern,
        evidence: Evidence,
        which: np.ndarray,
        method: Method,
        log_tables: Sequence[Tensor],
    ) -> Assigned:
        """Assignments given the rows that ``which`` lists, and the value of every row."""
        plan = self.plan(pattern)
        step = max(1, MOST_CHOICES // plan.widest_choice)
        free = pattern.last or plan.order.variables
        found = {v: torch.empty(len(which), dtype=torch.long) for v in free}
        values, start = np.empty(evidence.rows), 0
        for codes, soft, rows in self._batches(plan, evidence):
            slots = log_space.evaluate(plan, log_tables, codes, rows, method.reduce, soft)
            log_z = log_space.log_partition(plan, slots, rows)
            values[start : start + rows] = log_z.double().cpu().numpy()
            mine = np.flatnonzero((which >= start) & (which < start + rows))
            for first in range(0, len(mine), step):
                some = mine[first : first + step]
                row = torch.from_numpy(which[some] - start).to(self.device)
                for v, states in log_space.descend(plan.program, slots, row, method.choose).items():
                    found[v][some] = states.cpu()
            start += rows
        return found, values

    def _choose_cases(
        self,
        cut: tuple[int, ...],
        pattern: Pattern,
        evidence: Evidence,
        which: np.ndarray,
        method: Method,
        log_tables: Sequence[Tensor],
    ) -> tuple[Evidence, np.ndarray, np.ndarray]:
        """A case of the cutset for each of the rows listed: those that occur, which, the values."""
        inner = pattern.without(cut)
        weights = []
        for some, count in cases(self.sizes, cut, evidence):
            log_z = torch.cat(list(self._log_z(inner, some, log_tables, method.reduce)))
            wrong = torch.from_numpy(contradicted(cut, some, evidence)).to(self.device)
            weights.append(log_z.masked_fill(wrong, -torch.inf).reshape(-1, count))
        table = log_space.finite(torch.cat(weights, 1))
        step = max(1, MOST_CHOICES // table.shape[1])
        chosen = [
            method.choose(table[which[first : first + step]]).cpu().numpy()
            for first in range(0, len(which), step)
        ]
        case = np.concatenate([np.empty(0, np.int64), *chosen])
        pairs, which = np.unique(which * table.shape[1] + case, return_inverse=True)
        given = evidence.take(pairs // table.shape[1])
        states = np.unravel_index(pairs % table.shape[1], [self.sizes[v] for v in cut])
        given.codes.update(zip(cut, states, strict=True))
        value = log_space.restore_zeros(method.reduce(table, (1,)))
        return given, which, value.double().cpu().numpy()
