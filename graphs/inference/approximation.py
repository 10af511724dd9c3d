"""Answers of approximate inference: what belief propagation and mean field share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from graphs.inference.evidence import Evidence, read_evidence
from graphs.inference.factor_groups import FactorGroups, Problem
from graphs.inference.fixed_points import (
    Convergence,
    FixedPoint,
    Scheme,
    Settings,
    State,
    Stationary,
    warn,
)
from graphs.inference.log_space import restore_zeros
from graphs.inference.potentials import LogPotentials
from graphs.inference.queries import (
    Queries,
    checked_settings,
    model_tables,
    require_possible,
)
from graphs.language.notation import Node
from graphs.structure.models import Model

COPIES = 8  # of the largest join that are held at once


@dataclass(frozen=True)
class _Solved:
    """log Z (rows,), and grouped beliefs of nodes and of factors."""

    log_z: Tensor
    nodes: Sequence[Tensor]
    factors: Sequence[Tensor]


class Approximation(Queries, Scheme):
    """An iteration whose fixed point approximates marginals and log Z.

    Subclasses give a scheme's step, where to start, and what a state says.
    """

    called: ClassVar[str]
    advice: ClassVar[str]

    def __init__(
        self,
        model: Model,
        dtype: torch.dtype,
        device: torch.device | str | None,
        max_bytes: int,
        iterations: int,
        tolerance: float | None,
        damping: float,
    ):
        where = checked_settings(dtype, device, max_bytes)
        super().__init__(tables := model_tables(model), dtype, where)
        precise = torch.float64 if where.type == "cpu" else dtype
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"expected a positive number of iterations, got {iterations!r}")
        if tolerance is None:
            tolerance = 1e-10 if precise == torch.float64 else 1e-5
        for what, value, fine in (
            ("a tolerance of zero or more", tolerance, lambda x: 0 <= x < math.inf),
            ("a damping of at least zero and below one", damping, lambda x: 0 <= x < 1),
        ):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not fine(value):
                raise ValueError(f"expected {what}, got {value!r}")
        self.convergence: Convergence | None = None
        self._precise, self._max_bytes = precise, max_bytes
        self._arrays = [table for _, table in tables.factors]
        self._settings = Settings(iterations, float(tolerance), float(damping))
        sizes = [len(names) for names in self.states.values()]
        scopes = [tuple(self._numbers[v] for v in scope) for scope in self.factors]
        self._groups = FactorGroups(sizes, scopes, where)
        if (needed := 8 * COPIES * self._groups.cells) > max_bytes:
            raise ValueError(
                f"expected tables that fit into max_bytes = {max_bytes:,}, got {needed:,} bytes "
                "for the factors themselves"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._nodes)} nodes, {len(self.factors)} factors)"

    @property
    def converged(self) -> bool | None:
        """Whether every row of the last answer converged; ``None`` before there is one."""
        return None if self.convergence is None else bool(self.convergence)

    # --- What a scheme adds ---------------------------------------------------------------------

    @abstractmethod
    def _solve(self, problem: Problem) -> tuple[State, Convergence]:
        """The state that the iteration ends in."""

    @abstractmethod
    def _value(self, state: State, problem: Problem) -> Tensor:
        """The approximation of log Z, (rows,), stationary at a fixed point."""

    @abstractmethod
    def _beliefs(self, state: State, problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
        """Distributions (states, rows, variables) and (states..., rows, factors)."""

    # --- Queries --------------------------------------------------------------------------------

    def log_partition(
        self,
        evidence: Any = None,
        log_potentials: LogPotentials = None,
        *,
        likelihoods: Any = None,
    ) -> Tensor:
        """The approximation of log Z(e), for a Bayesian network of log P(e).

        Its first derivative in an entry of ``log_potentials`` is the approximate marginal of that
        entry, as that of the exact log Z is the exact one; a second derivative is refused
        (differentiate :meth:`factor_marginals`).

        Args:
            evidence, log_potentials, likelihoods: as in :meth:`graphs.JunctionTree.log_partition`.

        Returns:
            A scalar, or (rows,).

        Raises:
            ValueError: as :meth:`graphs.JunctionTree.log_partition`.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        log_z = self._run(observed, log_potentials).log_z.to(self.dtype)
        return log_z[0] if observed.single else log_z

    def marginals(
        self,
        evidence: Any = None,
        log_potentials: LogPotentials = None,
        *,
        likelihoods: Any = None,
    ) -> dict[Node, Tensor]:
        """The approximate distribution of every node that is not observed in every row.

        Differentiable once in ``log_potentials`` and likelihoods, by the implicit function theorem
        at the fixed point.

        Returns:
            For each node a tensor (states,), or (rows, states).

        Raises:
            ValueError: evidence that is found to be impossible, naming the row.
        """
        return self._marginals(read_evidence(evidence, self.states, likelihoods), log_potentials)

    def factor_marginals(
        self,
        evidence: Any = None,
        log_potentials: LogPotentials = None,
        *,
        likelihoods: Any = None,
    ) -> tuple[Tensor, ...]:
        """The approximate joint distribution of the nodes of every factor.

        Returns:
            For each of ``factors`` a tensor with its axes, after one of rows; differentiable as
            :meth:`marginals` are.

        Raises:
            ValueError: evidence that is found to be impossible, naming the row.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        found = self._possible(observed, log_potentials)
        tables = (t.to(self.dtype) for t in self._groups.unstack(found.factors))
        return tuple(t[0] if observed.single else t for t in tables)

    def _marginals(
        self, observed: Evidence, log_potentials: LogPotentials = None
    ) -> dict[Node, Tensor]:
        found = self._possible(observed, log_potentials)
        columns = [table.permute(2, 1, 0).to(self.dtype) for table in found.nodes]
        answers = {}
        for v in observed.missing_somewhere(len(self._nodes)):
            column = columns[self._groups.kind[v]][int(self._groups.place[v])]
            answers[self._nodes[v]] = column[0] if observed.single else column
        return answers

    # --- Running --------------------------------------------------------------------------------

    @cached_property
    def _logarithms(self) -> Sequence[Tensor]:
        return [torch.from_numpy(t).log().to(self.device, self._precise) for t in self._arrays]

    @cached_property
    def _stacked(self) -> tuple[Tensor, ...]:
        return self._groups.stack(self._logarithms)

    def _possible(self, observed: Evidence, log_potentials: LogPotentials = None) -> _Solved:
        """Beliefs of evidence that is not found to be impossible."""
        found = self._run(observed, log_potentials)
        self._require(found.log_z.detach().double().cpu().numpy(), observed)
        return found

    def _require(self, log_z: np.ndarray, observed: Evidence) -> None:
        require_possible(log_z, observed, self.states)

    def _run(self, observed: Evidence, log_potentials: LogPotentials) -> _Solved:
        """Solve some rows at a time, tell how that went."""
        tables = self._stacked
        if log_potentials is not None:
            tables = self._groups.stack(self.with_potentials(log_potentials))
        zeros = any(bool((t == -torch.inf).any()) for t in tables)
        step = max(1, self._max_bytes // (8 * COPIES * self._groups.cells))
        parts, reports = [], []
        for first in range(0, max(observed.rows, 1), step):
            rows = np.arange(first, min(first + step, observed.rows))
            unary = self._groups.unary(observed.take(rows), self._precise)
            found, report = self._run_rows(Problem(tables, unary, zeros))
            parts.append(found)
            reports.append(report)
        log_z, nodes, factors = (
            [part.log_z for part in parts],
            zip(*(part.nodes for part in parts), strict=True),
            zip(*(part.factors for part in parts), strict=True),
        )
        self._report(reports, observed)
        return _Solved(
            torch.cat(log_z),
            [torch.cat(some, 1) for some in nodes],
            [torch.cat(some, -2) for some in factors],
        )

    def _run_rows(self, problem: Problem) -> tuple[_Solved, Convergence]:
        """The fixed point of some rows, tied to what it depends on where that is differentiated."""
        inputs = (*problem.tables, *problem.unary)
        wanted = torch.is_grad_enabled() and any(t.requires_grad for t in inputs)
        with torch.no_grad():
            state, report = self._solve(problem)
            value = restore_zeros(self._value(state, problem))
            nodes, factors = self._beliefs(state, problem)
        if wanted:
            dead = value == -torch.inf
            derivatives = [t.masked_fill(dead[:, None], 0.0) for t in (*factors, *nodes)]
            axes = [1] * len(factors) + [0] * len(nodes)
            value = Stationary.apply(value, axes, derivatives, *inputs)
            sizes = (len(state), len(problem.tables))
            tied = FixedPoint.apply(self, self._settings, problem.zeros, sizes, *state, *inputs)
            nodes, factors = self._beliefs(tied, problem)
        return _Solved(value, nodes, factors), report

    def _report(self, reports: Sequence[Convergence], observed: Evidence) -> None:
        """Keep how the rows converged; warn of those that did not."""
        joined = Convergence(
            torch.cat([r.converged for r in reports]),
            torch.cat([r.iterations for r in reports]),
            torch.cat([r.residual for r in reports]),
        )
        single = observed.single
        self.convergence = Convergence(
            *(t[0] if single else t for t in (joined.converged, joined.iterations, joined.residual))
        )
        failed = (~joined.converged).nonzero()[:, 0].tolist()
        if failed:
            where = f" in row {failed[0]}" if not single else ""
            where += f" and {len(failed) - 1} others" if len(failed) > 1 else ""
            warn(
                f"{self.called} did not converge{where} in {self._settings.iterations} iterations: "
                f"the residual is {float(joined.residual[failed[0]]):.2g}, the tolerance "
                f"{self._settings.tolerance:.2g}. {self.advice}"
            )
