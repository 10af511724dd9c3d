"""Which plan serves which rows of evidence, in which arithmetic.

Rows are grouped by the variables they observe. A group with enough work gets a plan of its own,
from which its observed variables are removed; the others share one in which every variable may be
observed or not. On the CPU plans run in linear numbers, the first ones of a process in plain numpy
and all others compiled (:mod:`graphs.inference.work`). Rows whose numbers span more than linear
ones can hold, other devices, and what is to be differentiated run in logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphs.inference import log_space
from graphs.inference.conditioning import ROWS_AT_ONCE, choose_cutset
from graphs.inference.evidence import MISSING, Evidence
from graphs.inference.plain import Normalised, normalised
from graphs.inference.plans import MOST_PLANS, Pattern, Plan, Planner
from graphs.inference.work import BUDGET, CELL, STEP
from graphs.language.notation import Node

if TYPE_CHECKING:
    from graphs.inference.linear import LinearPlan

WORTH_A_PLAN = 1_000_000  # cells of work above which a pattern of evidence gets a plan of its own
LOG_BYTES = 1 << 26  # of one batch of rows in logarithms

Advance = Callable[[int], object]


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


class Router:
    """A model of numbered variables, and the plans for what is asked about it.

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
        self._keep_plans()

    def _keep_plans(self) -> None:
        self.linear: Callable[[Pattern], LinearPlan]
        self.linear = lru_cache(MOST_PLANS)(self._linear)
        self.cutset: Callable[[Pattern, bool], tuple[int, ...]]
        self.cutset = lru_cache(MOST_PLANS)(self._cutset)

    def __getstate__(self) -> dict[str, Any]:
        return {name: v for name, v in vars(self).items() if name not in ("linear", "cutset")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_plans()

    def plan(self, pattern: Pattern) -> Plan:
        """The plan of a pattern, from the store or made now."""
        return self.planner.plan(pattern)

    @cached_property
    def normalised(self) -> list[Normalised]:
        """The factors, each with largest entry one."""
        return list(map(normalised, self.tables))

    def _cutset(self, pattern: Pattern, logarithms: bool) -> tuple[int, ...]:
        return choose_cutset(self.planner, pattern, logarithms, self.max_bytes, self.names)

    def _linear(self, pattern: Pattern) -> LinearPlan:
        from graphs.inference.linear import LinearPlan

        return LinearPlan(self.plan(pattern), self.normalised)

    def _plain(self, pattern: Pattern, rows: int) -> bool:
        """Whether to run a pattern in plain code rather than wait for compiled code."""
        plan = self.plan(pattern)
        if plan.bytes(logarithms=True) > min(LOG_BYTES, self.max_bytes):
            return BUDGET.allows(math.inf)
        return BUDGET.allows(STEP * len(plan.program.steps) + CELL * plan.cells * rows)

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
        size = self._rows_at_once(plan, most)
        for first in range(0, evidence.rows, size):
            codes = {
                v: torch.from_numpy(code[first : first + size]).to(self.device)
                for v, code in evidence.codes.items()
            }
            soft = {v: table[first : first + size] for v, table in evidence.soft.items()}
            yield codes, soft, min(size, evidence.rows - first)

    def _rows_at_once(self, plan: Plan, most: int = ROWS_AT_ONCE) -> int:
        fitting = min(LOG_BYTES, self.max_bytes) // plan.bytes(logarithms=True)
        return max(1, min(most, fitting))

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
