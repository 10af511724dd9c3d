r"""Loopy belief propagation: messages on the factor graph, and the Bethe free energy.

With :math:`\theta_a = \log T_a` and evidence :math:`u_i`, factors send variables

.. math:: m_{a \to i}(x_i) = \log \sum_{x_a \setminus x_i} \exp\Bigl(\theta_a(x_a)
   + \sum_{j \in a \setminus i} n_{j \to a}(x_j)\Bigr), \qquad
   n_{j \to a} = u_j + \sum_{b \ni j, b \ne a} m_{b \to j}

(Kschischang, Frey and Loeliger 2001), all at once. Fixed points are the stationary points of the
Bethe free energy (Yedidia, Freeman and Weiss 2005), whose negative is

.. math:: \log Z_{\mathrm{Bethe}} = \sum_a \log Z_a + \sum_i (1 - d_i) \log Z_i, \quad
   Z_a = \sum_{x_a} e^{\theta_a + \sum_i n_{i \to a}}, \quad
   Z_i = \sum_{x_i} e^{u_i + \sum_a m_{a \to i}},

with :math:`d_i` the factors of :math:`i`. It is stationary in the messages.

A message of zero is minus infinity; what a variable sends on is the sum of all messages less the
receiver's own, so that zeros are counted and taken out of the sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphs.inference.approximation import Approximation
from graphs.inference.evidence import Evidence
from graphs.inference.factor_groups import Problem, log_sum, spread
from graphs.inference.fixed_points import Convergence, Settings, State, iterate
from graphs.inference.queries import MAX_BYTES
from graphs.structure.models import Model


class BeliefPropagation(Approximation):
    r"""Approximate answers by loopy belief propagation, where a junction tree would be too large.

    The fixed point that the iteration finds is a stationary point of the Bethe free energy
    (Yedidia, Freeman and Weiss 2005): exact where the factor graph is a forest, else neither an
    upper nor a lower bound on log Z, and good where cycles are long or interactions weak. The
    iteration may fail to converge; a row that did is marked in ``convergence``, of one that did not
    a :class:`graphs.ConvergenceWarning` tells (``warnings.simplefilter("error", ...)`` makes it an
    error). The answers are those of :class:`graphs.JunctionTree` by the same names; ``query`` asks
    for nodes that one factor holds.

    Args:
        model: what :class:`graphs.JunctionTree` accepts.
        damping: how much of the old messages, as logarithms, is kept in every iteration, at least
            0 and below 1; without use on a forest, where messages are final after as many
            iterations as the longest path has factors.
        iterations: how many to do at most; on a forest at least as many as there are factors.
        tolerance: the largest change of a log-message, up to a constant, at which to stop; by
            default 1e-10, in single precision 1e-5.
        dtype, device: as in :class:`graphs.JunctionTree`.
        max_bytes: memory for messages; rows of evidence run in parts that fit.

    Attributes:
        states, factors: as in :class:`graphs.JunctionTree`.
        converged: whether all rows of the last answer did.
        convergence: of the last answer: whether it ``converged``, after how many ``iterations``,
            with which ``residual``, each a scalar or (rows,).

    >>> lawn = graphs.textbook.sprinkler()
    >>> rows = {"wet_grass": ["yes", "no"]}
    >>> loopy = graphs.BeliefPropagation(lawn)
    >>> loopy.marginals(rows)["rain"]
    tensor([[0.7841, 0.2159],
            [0.1187, 0.8813]], dtype=torch.float64)
    >>> graphs.JunctionTree(lawn).marginals(rows)["rain"]
    tensor([[0.7079, 0.2921],
            [0.1187, 0.8813]], dtype=torch.float64)
    >>> loopy.converged
    True

    Raises:
        ValueError: what :class:`graphs.JunctionTree` refuses of a model or of settings, and a
            damping, number of iterations or tolerance out of range.
    """

    called = "belief propagation"
    advice = "More damping or more iterations may help; graphs.MeanField converges more often"

    def __init__(
        self,
        model: Model,
        *,
        damping: float = 0.5,
        iterations: int = 1000,
        tolerance: float | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        max_bytes: int = MAX_BYTES,
    ):
        super().__init__(model, dtype, device, max_bytes, iterations, tolerance, damping)
        if self._groups.is_forest:
            most = max(iterations, len(self.factors) + 1)
            self._settings = Settings(most, self._settings.tolerance, 0.0)
        self._degrees = [
            torch.bincount(edges, minlength=len(members)).to(self._precise)
            for edges, members in zip(self._groups.edges, self._groups.variables, strict=True)
        ]

    # --- Messages -------------------------------------------------------------------------------

    def _solve(self, problem: Problem) -> tuple[State, Convergence]:
        start = [
            u.new_zeros(u.shape[0], u.shape[1], len(edges))
            for u, edges in zip(problem.unary, self._groups.edges, strict=True)
        ]
        return iterate(self, start, problem, self._settings)

    def _received(self, state: State, problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
        """What variables think, (states, rows, variables), and send, (states, rows, edges)."""
        thought, sent = [], []
        for m, u, edges in zip(state, problem.unary, self._groups.edges, strict=True):
            at = edges.expand(m.shape)
            if not problem.zeros:
                total = u.scatter_add(2, at, m)
                thought.append(total)
                sent.append(total.gather(2, at) - m)
                continue
            zero = m == -torch.inf
            own = torch.where(zero, 0.0, m)
            total = u.scatter_add(2, at, own)
            counts = torch.zeros_like(u).scatter_add(2, at, zero.to(u.dtype))
            others = counts.gather(2, at) - zero.to(u.dtype)
            thought.append(total.masked_fill(counts > 0, -torch.inf))
            sent.append((total.gather(2, at) - own).masked_fill(others > 0, -torch.inf))
        return thought, sent

    def step(self, state: State, problem: Problem) -> State:
        _, sent = self._received(state, problem)
        parts: list[list[Tensor]] = [[m[..., :0]] for m in state]
        for group, table in zip(self._groups.groups, problem.tables, strict=True):
            axes = len(group.sizes)
            kinds = [self._groups.kinds.index(size) for size in group.sizes]
            given = [
                spread(sent[kind][..., slice(*span)], i, axes)
                for i, (kind, span) in enumerate(zip(kinds, group.spans, strict=True))
            ]
            for i, kind in enumerate(kinds):
                others = [j for j in range(axes) if j != i]
                joined = table
                for j in others:
                    joined = joined + given[j]
                message = log_sum(joined, others)
                parts[kind].append(message.expand(-1, problem.rows, -1))
        return [_normalised(torch.cat(some, -1)) for some in parts]

    def change(self, old: State, new: State) -> Tensor:
        apart = [
            torch.where(a == b, 0.0, (a - b).abs()).amax((0, 2))
            for a, b in zip(old, new, strict=True)
            if a.shape[2]
        ]
        return torch.stack(apart).amax(0) if apart else old[0].new_zeros(old[0].shape[1])

    def mix(self, old: State, new: State, damping: float) -> State:
        return [damping * a + (1 - damping) * b for a, b in zip(old, new, strict=True)]

    # --- Beliefs --------------------------------------------------------------------------------

    def _joined(self, sent: list[Tensor], problem: Problem) -> list[Tensor]:
        """Unnormalised log-beliefs of the factors."""
        found = []
        for group, table in zip(self._groups.groups, problem.tables, strict=True):
            joined = table.expand(*table.shape[:-2], problem.rows, -1)
            for i, (size, span) in enumerate(zip(group.sizes, group.spans, strict=True)):
                part = sent[self._groups.kinds.index(size)][..., slice(*span)]
                joined = joined + spread(part, i, len(group.sizes))
            found.append(joined)
        return found

    def _value(self, state: State, problem: Problem) -> Tensor:
        thought, sent = self._received(state, problem)
        value = problem.unary[0].new_zeros(problem.rows)
        dead = torch.zeros_like(value, dtype=torch.bool)
        for total, degrees in zip(thought, self._degrees, strict=True):
            log_z = torch.logsumexp(total, 0)
            impossible = log_z == -torch.inf
            dead |= impossible.any(-1)
            value = value + ((1 - degrees) * log_z.masked_fill(impossible, 0.0)).sum(-1)
        for joined in self._joined(sent, problem):
            log_z = torch.logsumexp(_flat(joined), 0)
            impossible = log_z == -torch.inf
            dead |= impossible.any(-1)
            value = value + log_z.masked_fill(impossible, 0.0).sum(-1)
        return value.masked_fill(dead, -torch.inf)

    def _beliefs(self, state: State, problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
        thought, sent = self._received(state, problem)
        factors = [_flat(j).softmax(0).reshape(j.shape) for j in self._joined(sent, problem)]
        return [total.softmax(0) for total in thought], factors

    def _joint(self, nodes: tuple[int, ...], observed: Evidence) -> Tensor:
        nodes = self._unobserved(nodes, observed)
        scopes = self._groups.scopes
        holding = [k for k, scope in enumerate(scopes) if set(nodes) <= set(scope)]
        if not holding and len(nodes) > 1:
            listed = ", ".join(repr(self._nodes[v]) for v in nodes)
            raise ValueError(
                f"expected nodes that one factor holds, got {listed}; graphs.JunctionTree and "
                "graphs.MeanField answer about any"
            )
        found = self._possible(observed)
        if not holding:
            table = found.nodes[self._groups.kind[nodes[0]]][..., int(self._groups.place[nodes[0]])]
            joint = table.T
        else:
            scope = scopes[holding[0]]
            table = self._groups.unstack(found.factors)[holding[0]]
            left = [v for v in scope if v in nodes]
            out = tuple(1 + i for i, v in enumerate(scope) if v not in nodes)
            table = table.sum(out) if out else table
            joint = table.permute(0, *(1 + left.index(v) for v in nodes))
        joint = joint.to(self.dtype)
        return joint[0] if observed.single else joint


def _flat(table: Tensor) -> Tensor:
    """(cells, rows, factors)."""
    return table.reshape(math.prod(table.shape[:-2]), *table.shape[-2:])


def _normalised(messages: Tensor) -> Tensor:
    """With largest entry zero."""
    largest = messages.amax(0)
    return messages - torch.where(largest == -torch.inf, 0.0, largest)
