"""Which contractions serve which rows of evidence, within a memory budget.

Rows are grouped by the variables they observe. A group with enough work gets a plan of its own,
from which its observed variables are removed; the others share one in which every variable may be
observed or not. A plan that does not fit the memory is conditioned on a cutset: every state of the
cutset is one more observed row, and the answers are mixed in proportion to their log Z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import log_space
from .elimination import Order
from .evidence import MISSING, Evidence
from .linear import LinearPlan, Result
from .plans import Plan, choose_order, make_plan
from .structure import Node

WORTH_A_PLAN = 1e6  # cells of work above which a pattern of evidence gets a plan of its own
MOST_PATTERNS = 64
MOST_WORK = 1e12  # cells over all cases of a cutset: about an hour
ROWS_AT_ONCE = 4096  # rows and cases expanded together
LOG_BYTES = 1 << 26  # of one batch of rows in logarithms
MOST_CHOICES = 1 << 22  # weights held at once while descending


@dataclass(frozen=True)
class Cost:
    """What computing all marginals takes, predicted from the structure alone.

    Attributes:
        treewidth: variables of the largest clique, less one.
        cells: entries of all cliques together.
        bytes: memory for one row of evidence.
    """

    treewidth: int
    cells: float
    bytes: float


class Pattern(NamedTuple):
    """What a plan is compiled for.

    Attributes:
        removed: variables observed in every row.
        partly: whether any other variable may be observed in some row.
        keep: variables whose joint distribution is asked for.
        marginals: whether all marginals are asked for.
    """

    removed: frozenset[int]
    partly: bool = False
    keep: frozenset[int] = frozenset()
    marginals: bool = False


class Engine:
    """Runs plans for a model of numbered variables.

    Args:
        names: of the variables, for messages.
        sizes: states of each variable.
        scopes: variables of each factor.
        tables: the factors, float64.
        hint: variables likely to be observed.
        dtype, device: of torch tensors.
        max_bytes: the memory budget.
        progress: whether to show a progress bar.
    """

    def __init__(
        self,
        names: Sequence[Node],
        sizes: Sequence[int],
        scopes: Sequence[tuple[int, ...]],
        tables: Sequence[np.ndarray],
        hint: frozenset[int],
        dtype: torch.dtype,
        device: torch.device,
        max_bytes: int,
        progress: bool,
    ):
        self.names, self.sizes, self.scopes, self.tables = names, sizes, scopes, tables
        self.hint, self.dtype, self.device = hint, dtype, device
        self.max_bytes, self.progress = max_bytes, progress
        self.order: Callable[[frozenset[int], frozenset[int]], Order]
        self.order = lru_cache(MOST_PATTERNS)(self._order)
        self.plan: Callable[[Pattern], Plan] = lru_cache(MOST_PATTERNS)(self._plan)
        self.linear: Callable[[Pattern], LinearPlan] = lru_cache(MOST_PATTERNS)(self._linear)
        self.cutset: Callable[[Pattern], tuple[int, ...]]
        self.cutset = lru_cache(MOST_PATTERNS)(self._cutset)

    def _order(self, removed: frozenset[int], keep: frozenset[int]) -> Order:
        return choose_order(self.sizes, self.scopes, removed, keep)

    def _plan(self, pattern: Pattern) -> Plan:
        removed, keep = pattern.removed, pattern.keep
        return make_plan(
            self.sizes,
            self.scopes,
            removed,
            [v for v in range(len(self.sizes)) if v not in removed] if pattern.partly else (),
            pattern.marginals,
            self.order(removed, keep),
        )

    def _linear(self, pattern: Pattern) -> LinearPlan:
        return LinearPlan(self.plan(pattern), self.tables)

    @cached_property
    def log_tables(self) -> list[Tensor]:
        """Logarithms of the factors, on the device."""
        return [torch.from_numpy(t).to(self.device, self.dtype).log() for t in self.tables]

    def cost(self) -> Cost:
        """The cost predicted for all marginals given the hinted evidence."""
        order = self.order(self.hint, frozenset())
        plan = self.plan(Pattern(self.hint, marginals=True))
        return Cost(order.treewidth, order.cells, 8.0 * plan.cells)

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
            yield rows, evidence.take(rows), Pattern(removed, partly)

    def _alike(self, seen: np.ndarray) -> list[np.ndarray]:
        """Numbers of the rows that see the same variables; last those of all rare patterns."""
        rows = seen.shape[1]
        if seen.all():
            return [np.arange(rows)] if rows else []
        _, which, counts = np.unique(seen, axis=1, return_inverse=True, return_counts=True)
        work = counts * self._cells_without(frozenset())
        frequent = np.argsort(-counts, kind="stable")[: MOST_PATTERNS // 2]
        frequent = frequent[work[frequent] > WORTH_A_PLAN]
        parts = [np.flatnonzero(which == k) for k in frequent]
        parts.append(np.flatnonzero(~np.isin(which, frequent)))
        return [part for part in parts if part.size]

    def _removed(self, observed: frozenset[int], rows: int) -> frozenset[int]:
        """What to remove from the plan of so many rows that all observe these."""
        base = self.hint if self.hint <= observed else frozenset()
        return observed if rows * self._cells_without(base) > WORTH_A_PLAN else base

    def _cells_without(self, removed: frozenset[int]) -> float:
        return self.order(removed, frozenset()).cells

    @contextmanager
    def _bar(self, rows: int) -> Iterator[Callable[[int], object] | None]:
        """What to tell how many rows are done."""
        if not self.progress:
            yield None
            return
        from tqdm.auto import tqdm

        with tqdm(total=rows, unit="row") as bar:
            yield bar.update

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
        variables = evidence.missing_somewhere(len(self.sizes)) if marginals else []
        width = sum(self.sizes[v] for v in variables)
        if keep:
            width = math.prod(self.sizes[v] for v in keep)
        rows = evidence.rows
        whole = Result(np.empty(rows), np.empty((rows, width)), np.zeros(rows, np.bool_))
        with self._bar(rows) as advance:
            for numbers, part, pattern in self._groups(evidence):
                pattern = pattern._replace(keep=frozenset(keep), marginals=marginals)
                found = self._conditioned(pattern, part, advance)
                if keep:
                    columns = _reordered(found.columns, sorted(keep), keep, self.sizes)
                else:
                    columns = self._placed(found.columns, pattern.removed, part, variables)
                if len(numbers) == rows:
                    return found._replace(columns=columns)
                whole.log_z[numbers] = found.log_z
                whole.columns[numbers] = columns
        return whole

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
        starts = dict(zip(held, np.cumsum([0] + [self.sizes[v] for v in held]), strict=False))
        parts = [
            columns[:, starts[v] : starts[v] + self.sizes[v]]
            if v in starts
            else np.eye(self.sizes[v])[evidence.codes[v]]
            for v in variables
        ]
        return np.concatenate(parts, axis=1)

    def _run(
        self, pattern: Pattern, evidence: Evidence, advance: Callable[[int], object] | None
    ) -> Result:
        """One plan for all rows; those that linear numbers cannot hold again in logarithms."""
        if self.device.type != "cpu":
            result = self._run_in_logarithms(pattern, evidence)
            if advance is not None:
                advance(evidence.rows)
            return result
        codes, rows = evidence.codes, evidence.rows
        result = self.linear(pattern).run(codes, rows, self.max_bytes, advance)
        again = np.flatnonzero(result.marked)
        if again.size:
            exact = self._run_in_logarithms(pattern, evidence.take(again))
            result.log_z[again] = exact.log_z
            result.columns[again] = exact.columns
        return result

    def _run_in_logarithms(self, pattern: Pattern, evidence: Evidence) -> Result:
        plan = self.plan(pattern)
        log_z, columns = [], []
        with torch.no_grad():
            for codes, rows in self._batches(plan, evidence):
                slots = log_space.evaluate(plan, self.log_tables, codes, rows)
                log_z.append(log_space.log_partition(plan, slots, rows))
                columns.append(log_space.columns(plan, slots, rows))
        return Result(
            torch.cat(log_z).double().cpu().numpy(),
            torch.cat(columns).double().cpu().numpy(),
            np.zeros(evidence.rows, np.bool_),
        )

    def _batches(
        self, plan: Plan, evidence: Evidence, most: int = ROWS_AT_ONCE
    ) -> Iterator[tuple[dict[int, Tensor], int]]:
        """The evidence as tensors, so many rows at a time as the memory allows."""
        cells = plan.cells + 4 * max(map(plan.program.cells_of_step, plan.program.steps), default=1)
        size = max(1, min(most, min(LOG_BYTES, self.max_bytes) // (8 * cells)))
        for first in range(0, evidence.rows, size):
            codes = {
                v: torch.from_numpy(code[first : first + size]).to(self.device)
                for v, code in evidence.codes.items()
            }
            yield codes, min(size, evidence.rows - first)

    # --- Conditioning ---------------------------------------------------------------------------

    def _cutset(self, pattern: Pattern) -> tuple[int, ...]:
        """Variables to fix so that the plan of a pattern fits the memory; none if it does.

        Each is the one whose cliques hold the most cells, against the number of its states.

        Raises:
            ValueError: no cutset brings the work below what is reasonable.
        """
        cut: list[int] = []
        cases = 1
        while True:
            order = self.order(pattern.removed.union(cut), pattern.keep)
            if cases * order.cells > MOST_WORK:
                break
            needed = 8.0 * self.plan(pattern._replace(removed=pattern.removed.union(cut))).cells
            if needed <= self.max_bytes:
                return tuple(cut)
            held = dict.fromkeys(range(len(self.sizes)), 0.0)
            for clique in order.cliques:
                cells = math.prod(float(self.sizes[v]) for v in clique)
                for v in clique:
                    held[v] += cells
            choices = [v for v in held if v not in pattern.keep and self.sizes[v] > 1 and held[v]]
            if not choices:
                break
            sizes = self.sizes
            cut.append(
                max(choices, key=lambda v: held[v] * (1 - 1 / sizes[v]) / math.log(sizes[v]))
            )
            cases *= self.sizes[cut[-1]]
        raise ValueError(self._too_large(pattern))

    def _too_large(self, pattern: Pattern) -> str:
        order = self.order(pattern.removed, pattern.keep)
        clique = ", ".join(str(self.names[v]) for v in order.largest[:30])
        cells = math.prod(self.sizes[v] for v in order.largest)
        return (
            f"expected tables that fit into max_bytes = {self.max_bytes:,}, got a largest clique "
            f"of {len(order.largest)} variables with {cells:.3g} cells ({8.0 * cells:.3g} bytes): "
            f"{clique}{', ...' if len(order.largest) > 30 else ''}. Conditioning on some of them "
            f"would take more than {MOST_WORK:.0e} cells of work. What helps: name nodes that will "
            "be observed as evidence_variables, or ask graphs.marginal for one node, which leaves "
            "out what the answer does not need"
        )

    def _conditioned(
        self, pattern: Pattern, evidence: Evidence, advance: Callable[[int], object] | None
    ) -> Result:
        """Run a pattern, case by case of a cutset where it does not fit at once."""
        cut = self.cutset(pattern)
        if not cut:
            return self._run(pattern, evidence, advance)
        inner = pattern._replace(removed=pattern.removed.union(cut))
        results = []
        for first in range(0, evidence.rows, ROWS_AT_ONCE):
            part = evidence.take(np.arange(first, min(first + ROWS_AT_ONCE, evidence.rows)))
            results.append(self._mixture(inner, cut, part))
            if advance is not None:
                advance(part.rows)
        return Result(*(np.concatenate(parts) for parts in zip(*results, strict=True)))

    def _mixture(self, inner: Pattern, cut: tuple[int, ...], evidence: Evidence) -> Result:
        """Sum over the cases of a cutset, keeping a running log Z and running averages."""
        rows = evidence.rows
        total = np.full(rows, -np.inf)
        average: np.ndarray | None = None
        for cases, count in self._cases(cut, evidence):
            found = self._run(inner, cases, None)
            log_z = _consistent(found.log_z, cases, evidence, cut).reshape(rows, count)
            columns = self._with_cutset(found.columns, inner, cut, cases)
            updated = np.logaddexp(total, np.logaddexp.reduce(log_z, axis=1))
            shift = np.where(np.isneginf(updated), 0.0, updated)
            part = np.einsum(
                "rc,rcw->rw", np.exp(log_z - shift[:, None]), columns.reshape(rows, count, -1)
            )
            average = part if average is None else average * np.exp(total - shift)[:, None] + part
            total = updated
        assert average is not None
        return Result(total, average, np.zeros(rows, np.bool_))

    def _cases(self, cut: tuple[int, ...], evidence: Evidence) -> Iterator[tuple[Evidence, int]]:
        """Every row repeated for some cases of the cutset, until all cases have come."""
        shape = tuple(self.sizes[v] for v in cut)
        step = max(1, ROWS_AT_ONCE // max(evidence.rows, 1))
        for first in range(0, math.prod(shape), step):
            numbers = np.arange(first, min(first + step, math.prod(shape)))
            states = np.unravel_index(numbers, shape)
            repeated = evidence.take(np.repeat(np.arange(evidence.rows), len(numbers)))
            for v, state in zip(cut, states, strict=True):
                repeated.codes[v] = np.tile(state, evidence.rows).astype(np.int64)
            yield repeated, len(numbers)

    def _with_cutset(
        self, columns: np.ndarray, inner: Pattern, cut: tuple[int, ...], cases: Evidence
    ) -> np.ndarray:
        """The columns of one case, with those of the cutset in their places."""
        if not inner.marginals:
            return columns
        removed = inner.removed.difference(cut)
        return self._placed(
            columns, inner.removed, cases, [v for v in range(len(self.sizes)) if v not in removed]
        )

    # --- In logarithms --------------------------------------------------------------------------

    def log_partition(self, evidence: Evidence, log_tables: Sequence[Tensor]) -> Tensor:
        """log Z (rows,) of other tables than the model's, differentiable in them."""
        numbers: list[np.ndarray] = []
        values: list[Tensor] = []
        for rows, part, pattern in self._groups(evidence):
            numbers.append(rows)
            values += self._log_z(pattern, part, log_tables)
        if not values:
            return log_tables[0].new_zeros(0)
        back = torch.from_numpy(np.argsort(np.concatenate(numbers))).to(self.device)
        return torch.cat(values)[back]

    def _log_z(
        self, pattern: Pattern, evidence: Evidence, log_tables: Sequence[Tensor]
    ) -> Iterator[Tensor]:
        cut = self.cutset(pattern)
        plan = self.plan(pattern._replace(removed=pattern.removed.union(cut)))
        if not cut:
            for codes, rows in self._batches(plan, evidence):
                slots = log_space.evaluate(plan, log_tables, codes, rows)
                yield log_space.log_partition(plan, slots, rows)
            return
        for row in range(evidence.rows):
            one = evidence.take(np.array([row]))
            parts = []
            for cases, _ in self._cases(cut, one):
                ruled_out = np.isneginf(_consistent(np.zeros(cases.rows), cases, one, cut))
                possible = cases.take(np.flatnonzero(~ruled_out))
                for codes, rows in self._batches(plan, possible):
                    slots = log_space.evaluate(plan, log_tables, codes, rows)
                    parts.append(log_space.log_partition(plan, slots, rows))
            log_z = torch.cat(parts).clamp_min(log_space.log_zero(self.dtype))
            yield log_space.restore_zeros(log_z.logsumexp(0, keepdim=True))

    def assign(
        self,
        evidence: Evidence,
        draws: int,
        log_tables: Sequence[Tensor],
        reduce: log_space.Reduce,
        choose: log_space.Choose,
    ) -> tuple[dict[int, Tensor], np.ndarray]:
        """States chosen for the variables missing in some row.

        Args:
            evidence: observed states.
            draws: assignments per row.
            log_tables: logarithms of the factors.
            reduce: the sum or maximum of the steps.
            choose: how to pick among weights (:func:`graphs.log_space.descend`).

        Returns:
            For each variable its states (draws, rows), and the logarithm of the sum, or of the
            maximum, of every row.
        """
        shape = (draws, evidence.rows)
        chosen = {
            v: torch.zeros(shape, dtype=torch.long, device=self.device)
            for v in evidence.missing_somewhere(len(self.sizes))
        }
        values = np.empty(evidence.rows)
        with torch.no_grad(), self._bar(evidence.rows) as advance:
            for rows, part, pattern in self._groups(evidence):
                found, values[rows] = self._assign(pattern, part, draws, log_tables, reduce, choose)
                columns = torch.from_numpy(rows).to(self.device)
                for v, states in chosen.items():
                    known = found[v] if v in found else torch.from_numpy(part.codes[v]).to(states)
                    states[:, columns] = known
                if advance is not None:
                    advance(len(rows))
        return chosen, values

    def _assign(
        self,
        pattern: Pattern,
        evidence: Evidence,
        draws: int,
        log_tables: Sequence[Tensor],
        reduce: log_space.Reduce,
        choose: log_space.Choose,
    ) -> tuple[dict[int, Tensor], np.ndarray]:
        cut = self.cutset(pattern)
        pattern = pattern._replace(removed=pattern.removed.union(cut))
        if cut:
            return self._assign_by_case(pattern, cut, evidence, draws, log_tables, reduce, choose)
        plan = self.plan(pattern)
        width = log_space.widest_choice(plan)
        most_rows = max(1, MOST_CHOICES // width)
        parts, values = [], []
        for codes, rows in self._batches(plan, evidence, most_rows):
            slots = log_space.evaluate(plan, log_tables, codes, rows, reduce)
            values.append(log_space.log_partition(plan, slots, rows))
            step = max(1, MOST_CHOICES // (width * rows))
            batch = [
                log_space.descend(plan, slots, rows, min(step, draws - first), choose)
                for first in range(0, draws, step)
            ]
            parts.append({v: torch.cat([b[v] for b in batch]) for v in plan.order.variables})
        joined = {v: torch.cat([p[v] for p in parts], 1) for v in plan.order.variables}
        return joined, torch.cat(values).double().cpu().numpy()

    def _assign_by_case(
        self,
        inner: Pattern,
        cut: tuple[int, ...],
        evidence: Evidence,
        draws: int,
        log_tables: Sequence[Tensor],
        reduce: log_space.Reduce,
        choose: log_space.Choose,
    ) -> tuple[dict[int, Tensor], np.ndarray]:
        """First choose a case of the cutset, then the rest given it."""
        plan = self.plan(inner)
        weights = []
        for cases, count in self._cases(cut, evidence):
            part = [
                log_space.log_partition(
                    plan, log_space.evaluate(plan, log_tables, codes, rows, reduce), rows
                )
                for codes, rows in self._batches(plan, cases)
            ]
            log_z = torch.cat(part).double().cpu().numpy()
            weights.append(_consistent(log_z, cases, evidence, cut).reshape(-1, count))
        table = torch.from_numpy(np.concatenate(weights, axis=1))
        case = choose(table.clamp_min(log_space.log_zero(table.dtype)).expand(draws, -1, -1))
        states = np.unravel_index(case.cpu().numpy().ravel(), [self.sizes[v] for v in cut])
        given = evidence.take(np.tile(np.arange(evidence.rows), draws))
        given.codes.update((v, s.astype(np.int64)) for v, s in zip(cut, states, strict=True))
        found, _ = self._assign(inner, given, 1, log_tables, reduce, choose)
        found.update((v, torch.from_numpy(given.codes[v]).to(self.device)) for v in cut)
        value = reduce(table.clamp_min(log_space.log_zero(table.dtype)), (1,))
        shaped = {v: states.reshape(draws, evidence.rows) for v, states in found.items()}
        return shaped, log_space.restore_zeros(value).numpy()


def _consistent(
    log_z: np.ndarray, cases: Evidence, evidence: Evidence, cut: tuple[int, ...]
) -> np.ndarray:
    """Zero probability for the cases that contradict what was observed of the cutset."""
    repeats = cases.rows // max(evidence.rows, 1)
    for v in cut:
        if v in evidence.codes:
            seen = np.repeat(evidence.codes[v], repeats)
            log_z = np.where((seen != MISSING) & (seen != cases.codes[v]), -np.inf, log_z)
    return log_z


def _reordered(
    columns: np.ndarray, held: Sequence[int], wanted: Sequence[int], sizes: Sequence[int]
) -> np.ndarray:
    """A flattened joint table with its variables in another order."""
    if list(held) == list(wanted):
        return columns
    table = columns.reshape(len(columns), *(sizes[v] for v in held))
    return table.transpose(0, *(held.index(v) + 1 for v in wanted)).reshape(len(columns), -1)
