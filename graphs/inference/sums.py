"""Sums over what is not observed: log Z, marginals, joint distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from graphs.inference import log_space, plain
from graphs.inference.conditioning import ROWS_AT_ONCE, cases, contradicted, mixture, require_room
from graphs.inference.evidence import Evidence
from graphs.inference.plans import Pattern, Result
from graphs.inference.routing import Advance, Router


class Sums(Router):
    """What is summed out, in linear numbers where they hold it."""

    def solve(
        self, evidence: Evidence, keep: Sequence[int] = (), marginals: bool = False
    ) -> Result:
        """log Z of every row, and with it all marginals or one joint distribution.

        Args:
            evidence: observed states.
            keep: unobserved variables whose joint distribution is asked for.
            marginals: whether the marginals of all variables are asked for.

        Returns:
            The columns are, for every variable missing in some row, its states; or the joint states
            of ``keep`` in that order.
        """
        rows = evidence.rows
        if keep:
            require_room(self.planner, keep, self.max_bytes)
        variables = evidence.missing_somewhere(len(self.sizes)) if marginals else []
        width = self.planner.states(keep) if keep else sum(self.sizes[v] for v in variables)
        whole = Result(np.empty(rows), np.empty((rows, width)), np.zeros(rows, np.bool_))
        with self._bar(rows) as advance:
            for numbers, part, pattern in self._groups(evidence):
                pattern = pattern._replace(keep=frozenset(keep), marginals=marginals)
                found = self._conditioned(pattern, part, advance, self.device.type != "cpu")
                if keep:
                    columns = self._transposed(found.columns, keep)
                else:
                    columns = self._placed(found.columns, pattern.removed, part, variables)
                if len(numbers) == rows:
                    return found._replace(columns=columns)
                whole.log_z[numbers] = found.log_z
                whole.columns[numbers] = columns
        return whole

    def _transposed(self, columns: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
        """A flattened joint table of variables in ascending order, in the order wanted."""
        held = sorted(wanted)
        if held == list(wanted):
            return columns
        table = columns.reshape(len(columns), *(self.sizes[v] for v in held))
        return table.transpose(0, *(held.index(v) + 1 for v in wanted)).reshape(columns.shape)

    def _placed(
        self,
        columns: np.ndarray,
        removed: frozenset[int],
        evidence: Evidence,
        variables: Sequence[int],
    ) -> np.ndarray:
        """Columns of all unremoved variables made into those of the variables asked for."""
        held = [v for v in range(len(self.sizes)) if v not in removed] if variables else []
        if held == list(variables):
            return columns
        ends = np.cumsum([self.sizes[v] for v in held])
        parts = dict(zip(held, np.split(columns, ends[:-1], axis=1), strict=False))
        return np.concatenate(
            [
                parts[v] if v in parts else np.eye(self.sizes[v])[evidence.codes[v]]
                for v in variables
            ],
            axis=1,
        )

    def _conditioned(
        self, pattern: Pattern, evidence: Evidence, advance: Advance | None, logarithms: bool
    ) -> Result:
        """Run a pattern, case by case of a cutset where it does not fit at once."""
        run = self._run_in_logarithms if logarithms else self._run
        cut = self.cutset(pattern, logarithms)
        if not cut:
            return run(pattern, evidence, advance)
        inner = pattern.without(cut)
        everything = [v for v in range(len(self.sizes)) if v not in pattern.removed]

        def answer(some: Evidence) -> Result:
            found = run(inner, some, None)
            if not pattern.marginals:
                return found
            columns = self._placed(found.columns, inner.removed, some, everything)
            return found._replace(columns=columns)

        results = []
        for first in range(0, evidence.rows, ROWS_AT_ONCE):
            part = evidence.take(np.arange(first, min(first + ROWS_AT_ONCE, evidence.rows)))
            results.append(mixture(self.sizes, cut, part, answer))
            if advance is not None:
                advance(part.rows)
        return Result(*map(np.concatenate, zip(*results, strict=True)))

    def _run(self, pattern: Pattern, evidence: Evidence, advance: Advance | None) -> Result:
        """One plan for all rows; those that linear numbers cannot hold again in logarithms."""
        soft, log_scale = evidence.scaled()
        if self._plain(pattern, evidence.rows):
            result = self._run_plain(pattern, evidence, soft, advance)
        else:
            result = self.linear(pattern).run(
                evidence.codes,
                soft,
                evidence.rows,
                self.max_bytes,
                advance,
                torch.get_num_threads(),
            )
        result = result._replace(log_z=result.log_z + log_scale)
        again = np.flatnonzero(result.marked)
        if again.size:
            exact = self._conditioned(pattern, evidence.take(again), None, logarithms=True)
            result.log_z[again] = exact.log_z
            result.columns[again] = exact.columns
        return result

    def _run_plain(
        self,
        pattern: Pattern,
        evidence: Evidence,
        soft: Mapping[int, np.ndarray],
        advance: Advance | None,
    ) -> Result:
        plan = self.plan(pattern)
        size, results = self._rows_at_once(plan), []
        for first in range(0, evidence.rows, size):
            part = slice(first, min(first + size, evidence.rows))
            codes = {v: code[part] for v, code in evidence.codes.items()}
            likely = {v: table[part] for v, table in soft.items()}
            rows = part.stop - part.start
            results.append(plain.run(plan, self.normalised, codes, likely, rows))
            if advance is not None:
                advance(rows)
        return Result(*map(np.concatenate, zip(*results, strict=True)))

    @torch.no_grad()
    def _run_in_logarithms(
        self, pattern: Pattern, evidence: Evidence, advance: Advance | None
    ) -> Result:
        plan = self.plan(pattern)
        log_z, columns = [], []
        for codes, soft, rows in self._batches(plan, evidence):
            slots = log_space.evaluate(plan, self.log_tables, codes, rows, soft=soft)
            log_z.append(log_space.log_partition(plan, slots, rows).double().cpu().numpy())
            columns.append(log_space.columns(plan, slots, rows).double().cpu().numpy())
            if advance is not None:
                advance(rows)
        nothing = np.zeros(evidence.rows, np.bool_)
        return Result(np.concatenate(log_z), np.concatenate(columns), nothing)

    def log_partition(self, evidence: Evidence, log_tables: Sequence[Tensor]) -> Tensor:
        """log Z (rows,) of other tables than the model's, differentiable in them."""
        numbers: list[np.ndarray] = []
        values: list[Tensor] = []
        for rows, part, pattern in self._groups(evidence):
            numbers.append(rows)
            cut = self.cutset(pattern, True)
            if not cut:
                values += self._log_z(pattern, part, log_tables)
                continue
            for row in range(part.rows):
                one = part.take(np.array([row]))
                found: list[Tensor] = []
                for some, _ in cases(self.sizes, cut, one):
                    possible = some.take(np.flatnonzero(~contradicted(cut, some, one)))
                    found += self._log_z(pattern.without(cut), possible, log_tables)
                values.append(log_space.total(torch.cat(found)[None]))
        if not values:
            return log_tables[0].new_zeros(0)
        back = torch.from_numpy(np.argsort(np.concatenate(numbers))).to(self.device)
        return torch.cat(values)[back]
