r"""Mean field: the best product of distributions of single variables, and its bound on log Z.

For :math:`q(x) = \prod_i q_i(x_i)`, with evidence :math:`u_i`,

.. math:: \log Z \ge L(q) = \sum_a \mathbb{E}_q[\theta_a] + \sum_i \mathbb{E}_q[u_i] + H(q_i)

(Wainwright and Jordan 2008, section 5.3). Each :math:`q_i` in turn is set to its best given the
others, :math:`q_i(x_i) \propto \exp(u_i + \sum_{a \ni i} \mathbb{E}_q[\theta_a \mid x_i])`, so that
:math:`L` never falls. Variables that no factor joins do not see each other's change: they are
coloured, and those of a colour are set together.

Where a table has zeros, :math:`L` is minus infinity for most :math:`q`. The expected number of
zeros met is lowered first: a variable keeps the states for which it is least, and is set among
these. Once it is zero :math:`L` is finite, stays so, and never falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphs.inference.approximation import Approximation
from graphs.inference.evidence import Evidence
from graphs.inference.factor_groups import Group, Problem, spread
from graphs.inference.fixed_points import Convergence, State, iterate
from graphs.inference.queries import MAX_BYTES
from graphs.structure.models import Model

NEARLY = 1 + 1e-9  # expected numbers of zeros that rounding tells apart are one


class _Part(NamedTuple):
    """Factors of one group whose variable on one axis has the colour: whose message, where to."""

    group: int
    axis: int
    factors: Tensor
    places: Tensor


class MeanField(Approximation):
    r"""Approximate answers by naive mean field: independent nodes, and a lower bound on log Z.

    Coordinate ascent on the bound (Wainwright and Jordan 2008, section 5.3), which converges, to a
    local maximum. :meth:`log_partition` is below the exact log Z at every step, converged or not;
    probabilities tend to be too near 0 and 1. The answers are those of
    :class:`graphs.JunctionTree` by the same names; joint distributions are products.

    Args:
        model: what :class:`graphs.JunctionTree` accepts.
        starts: how many starts to take the best bound of, for each row: the first is uniform, all
            others are random.
        seed: of the random starts.
        iterations: sweeps over all nodes at most.
        tolerance: the largest change of a probability at which to stop; by default 1e-10, in
            single precision 1e-5.
        dtype, device: as in :class:`graphs.JunctionTree`.
        max_bytes: memory for tables; rows of evidence run in parts that fit.

    Attributes:
        states, factors: as in :class:`graphs.JunctionTree`.
        converged: whether all rows of the last answer did.
        convergence: of the last answer: whether it ``converged``, after how many ``iterations``,
            with which ``residual``, each a scalar or (rows,).

    >>> lawn = graphs.textbook.sprinkler()
    >>> bound = graphs.MeanField(lawn).log_partition({"wet_grass": "yes"})
    >>> bound < graphs.JunctionTree(lawn).log_partition({"wet_grass": "yes"})
    tensor(True)

    Raises:
        ValueError: what :class:`graphs.JunctionTree` refuses of a model or of settings, and a
            number of starts or iterations or a tolerance out of range.
    """

    called = "mean field"
    advice = "More iterations help; the bound on log Z holds as it is"

    def __init__(
        self,
        model: Model,
        *,
        starts: int = 1,
        seed: int = 0,
        iterations: int = 1000,
        tolerance: float | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        max_bytes: int = MAX_BYTES,
    ):
        for what, value, least in (("starts", starts, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"expected {what} of at least {least}, got {value!r}")
        super().__init__(model, dtype, device, max_bytes, iterations, tolerance, 0.0)
        self._starts, self._seed = starts, seed
        self._colours = self._coloured()

    def _coloured(self) -> list[tuple[list[Tensor], list[_Part]]]:
        """For each colour its variables of every kind, by their places, and the factors of them."""
        groups = self._groups
        mentions: list[list[int]] = [[] for _ in groups.sizes]
        for k, scope in enumerate(groups.scopes):
            for v in scope:
                mentions[v].append(k)
        colour = [-1] * len(groups.sizes)
        for v, factors in enumerate(mentions):
            used = {colour[w] for k in factors for w in groups.scopes[k]}
            colour[v] = next(c for c in range(len(colour)) if c not in used)
        found = []
        local = [0] * len(colour)
        for c in range(max(colour, default=-1) + 1):
            members: list[list[int]] = [[] for _ in groups.kinds]
            for v in (v for v, own in enumerate(colour) if own == c):
                local[v] = len(members[groups.kind[v]])
                members[groups.kind[v]].append(v)
            parts = []
            for g, group in enumerate(groups.groups):
                for axis in range(len(group.sizes)):
                    at = [
                        groups.scopes[k][order[axis]]
                        for k, order in zip(group.factors, group.axes, strict=True)
                    ]
                    which = [i for i, v in enumerate(at) if colour[v] == c]
                    if which:
                        places = self._index([local[at[i]] for i in which])
                        parts.append(_Part(g, axis, self._index(which), places))
            found.append(([self._index(groups.place[some].tolist()) for some in members], parts))
        return found

    def _index(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self.device)

    # --- Ascent ---------------------------------------------------------------------------------

    def _solve(self, problem: Problem) -> tuple[State, Convergence]:
        best: State = []
        report = Convergence(*(torch.empty(0) for _ in range(3)))
        bound = torch.empty(0)
        generator = torch.Generator().manual_seed(self._seed)
        for start in range(self._starts):
            state = []
            for u in problem.unary:
                noise = torch.zeros(u[:, :1].shape)
                if start:
                    noise = -noise.exponential_(generator=generator).log()
                state.append((u + noise.to(u.device, u.dtype)).softmax(0).nan_to_num(0.0))
            found, how = iterate(self, state, problem, self._settings)
            value = self._value(found, problem)
            if not start:
                best, report, bound = found, how, value
                continue
            better = value > bound
            bound = torch.where(better, value, bound)
            best = [torch.where(better[:, None], a, b) for a, b in zip(found, best, strict=True)]
            report = Convergence(
                torch.where(better, how.converged, report.converged),
                torch.where(better, how.iterations, report.iterations),
                torch.where(better, how.residual, report.residual),
            )
        return best, report

    def _expected(
        self, table: Tensor, group: Group, state: State, axis: int | None, some: Tensor | None
    ) -> Tensor:
        """The expectation of a table over all axes but one, (states, rows, factors)."""
        axes = len(group.sizes)
        for j in reversed(range(axes)):
            if j == axis:
                continue
            q = state[self._groups.kinds.index(group.sizes[j])]
            members = group.members[j] if some is None else group.members[j][some]
            table = (table * spread(q[..., members], j, axes)).sum(j, keepdim=True)
        return table.reshape(1 if axis is None else group.sizes[axis], *table.shape[-2:])

    def step(self, state: State, problem: Problem) -> State:
        state = list(state)
        for members, parts in self._colours:
            fields = [u[..., at] for u, at in zip(problem.unary, members, strict=True)]
            met = [torch.zeros_like(field) for field in fields]  # expected numbers of zeros
            for g, axis, which, places in parts:
                group, table = self._groups.groups[g], problem.tables[g][..., which]
                kind = self._groups.kinds.index(group.sizes[axis])
                to = places.expand(fields[kind].shape[:2] + (-1,))
                if problem.zeros:
                    zero = table == -torch.inf
                    table = torch.where(zero, 0.0, table)
                    count = self._expected(zero.to(table.dtype), group, state, axis, which)
                    met[kind] = met[kind].scatter_add(2, to, count.expand(to.shape))
                field = self._expected(table, group, state, axis, which)
                fields[kind] = fields[kind].scatter_add(2, to, field.expand(to.shape))
            for kind, (field, count, at) in enumerate(zip(fields, met, members, strict=True)):
                if not len(at):
                    continue
                if problem.zeros:
                    count = count.detach().masked_fill(field == -torch.inf, torch.inf)
                    field = field.masked_fill(count > NEARLY * count.amin(0), -torch.inf)
                dead = (field == -torch.inf).all(0, keepdim=True)
                q = field.masked_fill(dead, 0.0).softmax(0).masked_fill(dead, 0.0)
                state[kind] = state[kind].index_copy(2, at, q)
        return state

    def change(self, old: State, new: State) -> Tensor:
        apart = [(a - b).abs().amax((0, 2)) for a, b in zip(old, new, strict=True)]
        return torch.stack(apart).amax(0)

    def mix(self, old: State, new: State, damping: float) -> State:
        return [damping * a + (1 - damping) * b for a, b in zip(old, new, strict=True)]

    # --- Beliefs --------------------------------------------------------------------------------

    def _value(self, state: State, problem: Problem) -> Tensor:
        value = problem.unary[0].new_zeros(problem.rows)
        dead = torch.zeros_like(value, dtype=torch.bool)
        for q, u in zip(state, problem.unary, strict=True):
            dead |= (q.sum(0) == 0).any(-1) | ((q > 0) & (u == -torch.inf)).any(0).any(-1)
            value = value + (q * torch.where(q > 0, u, 0.0)).sum((0, 2))
            value = value + torch.special.entr(q).sum((0, 2))
        for group, table in zip(self._groups.groups, problem.tables, strict=True):
            zero = table == -torch.inf
            if problem.zeros:
                count = self._expected(zero.to(table.dtype), group, state, None, None)
                dead |= (count > 0).any(-1)[0]
            expected = self._expected(torch.where(zero, 0.0, table), group, state, None, None)
            value = value + expected.sum((0, 2))
        return value.masked_fill(dead, -torch.inf)

    def _beliefs(self, state: State, problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
        factors = []
        for group, table in zip(self._groups.groups, problem.tables, strict=True):
            product = table.new_ones(()).expand(*table.shape[:-2], problem.rows, table.shape[-1])
            for j, (size, members) in enumerate(zip(group.sizes, group.members, strict=True)):
                q = state[self._groups.kinds.index(size)][..., members]
                product = product * spread(q, j, len(group.sizes))
            factors.append(product)
        return list(state), factors

    def _require(self, log_z: np.ndarray, observed: Evidence) -> None:
        bad = np.flatnonzero(np.isneginf(log_z))
        if bad.size:
            where = "" if observed.single else f" for row {bad[0]} of the evidence"
            raise ValueError(
                f"expected a product distribution on possible states, got none{where} from "
                f"{self._starts} starts: the evidence may be impossible, or the zeros of the "
                "tables rule out independent nodes. More starts or graphs.BeliefPropagation may "
                "answer"
            )

    def _joint(self, nodes: tuple[int, ...], observed: Evidence) -> Tensor:
        found = self._possible(observed)
        joint = torch.ones(observed.rows, dtype=self._precise, device=self.device)
        for v in self._unobserved(nodes, observed):
            q = found.nodes[self._groups.kind[v]][..., int(self._groups.place[v])].T
            joint = joint[..., None] * q.reshape(len(q), *[1] * (joint.dim() - 1), -1)
        joint = joint.to(self.dtype)
        return joint[0] if observed.single else joint
