"""Which plan serves which rows of evidence, in which arithmetic.

Rows are grouped by the variables they observe. A group with enough work gets a plan of its own,
from which its observed variables are removed; the others share one in which every variable may be
observed or not. On the CPU plans run compiled, in linear numbers; rows whose numbers span more than
linear ones can hold, other devices, and what is to be differentiated run in logarithms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from graphs.inference import log_space
from graphs.inference.conditioning import (
    ROWS_AT_ONCE,
    cases,
    choose_cutset,
    contradicted,
    mixture,
    require_fit,
    require_room,
)
from graphs.inference.evidence import MISSING, Evidence
from graphs.inference.linear import LinearPlan, Result
from graphs.inference.plans import MOST_PLANS, Pattern, Plan, Planner
from graphs.language.notation import Node

WORTH_A_PLAN = 1_000_000  # cells of work above which a pattern of evidence gets a plan of its own
LOG_BYTES = 1 << 26  # of one batch of rows in logarithms
MOST_CHOICES = 1 << 22  # weights held at once while descending

Advance = Callable[[int], object]
Assigned = tuple[dict[int, Tensor], np.ndarray]


@dataclass(frozen=True)
class Cost:
    """What computing all marginals takes, predicted from the structure alone.

    Attributes:
        treewidth: variables of the largest clique, less one.
        cells: entries of all cliques together.
        bytes: memory for one row of evidence.
    """

    treewidth: int
    cells: int
    bytes: int


@dataclass(frozen=True)
class Method:
    """How :meth:`Engine.assign` assigns: by sums and draws, or by maxima."""

    reduce: log_space.Reduce
    choose: log_space.Choose


SAMPLE = Method(log_space.log_sum, log_space.draw)
MAXIMISE = Method(log_space.maximum, log_space.best)


class Engine:
    """Answers about a model of numbered variables.

    Args:
        names: of the variables, for messages.
        sizes: states of each variable.
        scopes: variables of each factor.
        tables: the factors, float64.
        hint: variables likely to be observed.
        dtype, device: of torch tensors.
        max_bytes: the memory budget.
        order_seconds: the longest search for an elimination order.
        order_rows: how long that search is worth, in rows of evidence.
        progress: whether to show a progress bar over rows.
    """

    def __init__(
        self,
        names: Sequence[Node],
        sizes: Sequence[int],
        scopes: Sequence[tuple[int, ...]],
        tables: Sequence[np.ndarray],
        hint: frozenset[int] = frozenset(),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        max_bytes: int = 1 << 31,
        order_seconds: float = 2.0,
        order_rows: float = 2,
        progress: bool = False,
    ):
        self.names, self.sizes, self.tables, self.hint = names, sizes, tables, hint
        self.dtype, self.device = dtype, torch.device(device)
        self.max_bytes, self.progress = max_bytes, progress
        self.planner = Planner(sizes, scopes, order_seconds, order_rows)
        self.linear: Callable[[Pattern], LinearPlan]
        self.linear = lru_cache(MOST_PLANS)(lambda pattern: LinearPlan(self.plan(pattern), tables))
        self.cutset: Callable[[Pattern, bool], tuple[int, ...]]
        self.cutset = lru_cache(MOST_PLANS)(
            lambda pattern, logs: choose_cutset(self.planner, pattern, logs, max_bytes, names)
        )

    def plan(self, pattern: Pattern) -> Plan:
        """The plan of a pattern, from the store or made now."""
        return self.planner.plan(pattern)

    @property
    def log_dtype(self) -> torch.dtype:
        """Of sums in logarithms: double precision on the CPU."""
        return torch.float64 if self.device.type == "cpu" else self.dtype

    @cached_property
    def log_tables(self) -> list[Tensor]:
        """Logarithms of the factors, on the device."""
        return [torch.from_numpy(t).log().to(self.device, self.log_dtype) for t in self.tables]

    def cost(self) -> Cost:
        """The cost predicted for all marginals given the hinted evidence."""
        plan = self.plan(Pattern(self.hint, marginals=True))
        return Cost(plan.order.treewidth, plan.order.cells, plan.bytes(logarithms=False))

    # --- Rows -----------------------------------------------------------------------------------

    def _groups(self, evidence: Evidence) -> Iterator[tuple[np.ndarray, Evidence, Pattern]]:
        """Rows that share a plan: their numbers, their evidence, the pattern of it."""
        variables = list(evidence.codes)
        seen = np.array([evidence.codes[v] != MISSING for v in variables], np.bool_)
        seen = seen.reshape(len(variables), evidence.rows)
        for rows in self._alike(seen):
            part = dict(zip(variables, seen[:, rows], strict=True))
            always = frozenset(v for v, row in part.items() if row.all())
            removed = self._removed(always, len(rows))
            partly = any(row.any() for v, row in part.items() if v not in removed)
            whole = len(rows) == evidence.rows
            pattern = Pattern(removed, partly, soft=frozenset(evidence.soft))
            yield rows, evidence if whole else evidence.take(rows), pattern

    def _alike(self, seen: np.ndarray) -> list[np.ndarray]:
        """Numbers of the rows that see the same variables; last those of all rare patterns."""
        rows = seen.shape[1]
        if seen.all():
            return [np.arange(rows)] if rows else []
        _, which, counts = np.unique(seen, axis=1, return_inverse=True, return_counts=True)
        frequent = np.argsort(-counts, kind="stable")[: MOST_PLANS // 2]
        enough = WORTH_A_PLAN / self.planner.cells(frozenset())
        frequent = frequent[counts[frequent] > enough]
        parts = [np.flatnonzero(which == k) for k in frequent]
        parts.append(np.flatnonzero(~np.isin(which, frequent)))
        return [part for part in parts if part.size]

    def _removed(self, observed: frozenset[int], rows: int) -> frozenset[int]:
        """What to remove from the plan of so many rows that all observe these."""
        base = self.hint if self.hint <= observed else frozenset[int]()
        return observed if rows * self.planner.cells(base) > WORTH_A_PLAN else base

    @contextmanager
    def _bar(self, rows: int) -> Iterator[Advance | None]:
        """What to tell how many rows are done."""
        if not self.progress:
            yield None
            return
        from tqdm.auto import tqdm

        with tqdm(total=rows, unit="row") as bar:
            yield bar.update

    def _batches(
        self, plan: Plan, evidence: Evidence, most: int = ROWS_AT_ONCE
    ) -> Iterator[tuple[dict[int, Tensor], dict[int, Tensor], int]]:
        """The evidence as tensors, so many rows at a time as the memory allows."""
        fitting = min(LOG_BYTES, self.max_bytes) // plan.bytes(logarithms=True)
        size = max(1, min(most, fitting))
        for first in range(0, evidence.rows, size):
            codes = {
                v: torch.from_numpy(code[first : first + size]).to(self.device)
                for v, code in evidence.codes.items()
            }
            soft = {v: table[first : first + size] for v, table in evidence.soft.items()}
            yield codes, soft, min(size, evidence.rows - first)

    # --- Sums -----------------------------------------------------------------------------------

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
        result = self.linear(pattern).run(
            evidence.codes, soft, evidence.rows, self.max_bytes, advance, torch.get_num_threads()
        )
        result = result._replace(log_z=result.log_z + log_scale)
        again = np.flatnonzero(result.marked)
        if again.size:
            exact = self._conditioned(pattern, evidence.take(again), None, logarithms=True)
            result.log_z[again] = exact.log_z
            result.columns[again] = exact.columns
        return result

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

    # --- In logarithms --------------------------------------------------------------------------

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

    def _log_z(
        self,
        pattern: Pattern,
        evidence: Evidence,
        log_tables: Sequence[Tensor],
        reduce: log_space.Reduce = log_space.log_sum,
    ) -> Iterator[Tensor]:
        plan = self.plan(pattern)
        for codes, soft, rows in self._batches(plan, evidence):
            slots = log_space.evaluate(plan, log_tables, codes, rows, reduce, soft)
            yield log_space.log_partition(plan, slots, rows)

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
                for v, states in log_space.descend(plan, slots, row, method.choose).items():
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
