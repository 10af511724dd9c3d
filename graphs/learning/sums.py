r"""Sums over rows of data, on the tree.

With tables :math:`T_k = e^{\eta_k}` and evidence e,

.. math::

    \frac{\partial \log Z(e)}{\partial \eta_k(c)} = P(x_{C_k} = c \mid e), \qquad
    \frac{\partial^2 \log Z(e)}{\partial \eta_k(c) \, \partial \eta_l(d)}
      = \mathrm{Cov}\big([x_{C_k} = c], [x_{C_l} = d] \mid e\big)

(Darwiche 2003; Koller and Friedman 2009, proposition 20.1), so that expected counts and what
second-order theory needs are derivatives of one function, for many rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from graphs.inference.evidence import MISSING
from graphs.inference.junction_tree import JunctionTree
from graphs.language.notation import Node
from graphs.learning.columns import Array, Rows
from graphs.parameters.bridge import to_pgmpy
from graphs.parameters.tables import Scope, States, Tables

BYTES_AT_ONCE = 1 << 28  # of all that is kept to differentiate through
ROWS_AT_ONCE = 1024  # where what takes how much is not known
DIRECTIONS = 8  # of second derivatives at once

Inference: TypeAlias = Callable[[Any], Any] | None


class RowSums:
    """:math:`\\sum_r w_r \\log Z(e_r)` and its derivatives in log-potentials.

    Args:
        scopes: of the factors.
        states: of the nodes.
        directed: whether the factors are conditional.
        rows: the evidence; None for the one row without any.
        inference: makes, from a network, an object with a method
            ``log_partition(evidence, log_potentials)``; :class:`graphs.JunctionTree` by default.
    """

    def __init__(
        self,
        scopes: Sequence[Scope],
        states: States,
        directed: bool,
        rows: Rows | None,
        inference: Inference = None,
    ):
        self._rows, self._states = rows, states
        self._shapes = [tuple(len(states[v]) for v in scope) for scope in scopes]
        # states by number, so that codes are states
        numbered: States = {v: tuple(range(len(names))) for v, names in states.items()}
        uniform = [np.full(s, 1.0 / (s[-1] if directed else 1)) for s in self._shapes]
        tables = Tables(numbered, tuple(zip(scopes, uniform, strict=True)), directed)
        self._tree = _engine(tables, rows, inference)
        size = ROWS_AT_ONCE
        if isinstance(self._tree, JunctionTree):
            size = max(1, BYTES_AT_ONCE // (8 * max(self._tree.cost.bytes, 1)))
        self._size = size

    def expected(self, log_tables: Sequence[Array]) -> tuple[float, list[Array]]:
        """The sum, and the expected counts: one array for each factor.

        Raises:
            ValueError: a row that is impossible under these tables, by its number in the data.
        """
        tables = [torch.tensor(np.asarray(t, float), requires_grad=True) for t in log_tables]
        value = 0.0
        for total, _ in self._totals(tables, self._size):
            total.backward()
            value += float(total.detach())
        counts = [
            np.zeros(shape) if t.grad is None else t.grad.numpy()
            for t, shape in zip(tables, self._shapes, strict=True)
        ]
        return value, counts

    def covariance(
        self,
        log_tables: Sequence[Array],
        which: np.ndarray,
        advance: Callable[[float], object] = lambda n: None,
    ) -> Array:
        """Second derivatives: :math:`\\sum_r w_r \\mathrm{Cov}(\\cdot \\mid e_r)` of some entries.

        Args:
            log_tables: where.
            which: numbers of entries, of all tables flattened one after the other.
            advance: told how many of the entries of ``which`` are done, counted for all rows.
        """
        tables = [torch.tensor(np.asarray(t, float), requires_grad=True) for t in log_tables]
        result = np.zeros((len(which), len(which)))
        chosen = torch.from_numpy(np.asarray(which))
        rows = 1 if self._rows is None else len(self._rows.codes)
        size = max(1, self._size // (2 * DIRECTIONS))
        for total, count in self._totals(tables, size):
            first = torch.autograd.grad(total, tables, create_graph=True, allow_unused=True)
            gradient = _flat(first, tables)[chosen]
            if not gradient.requires_grad:
                continue
            for start in range(0, len(which), DIRECTIONS):
                part = torch.eye(len(which), dtype=torch.float64)[start : start + DIRECTIONS]
                second = torch.autograd.grad(
                    gradient,
                    tables,
                    part,
                    retain_graph=True,
                    allow_unused=True,
                    is_grads_batched=True,
                )
                found = _flat(second, tables, len(part))[:, chosen]
                result[start : start + len(part)] += found.numpy()
                advance(len(part) * count / rows)
        return (result + result.T) / 2

    def _totals(self, tables: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, int]]:
        """Weighted sums of log Z over parts of the rows, and how many rows each has."""
        if self._rows is None:
            yield self._tree.log_partition(None, log_potentials=tables), 1
            return
        for start in range(0, len(self._rows.codes), size):
            part = self._rows.take(np.arange(start, min(start + size, len(self._rows.codes))))
            log_z = self._tree.log_partition(_evidence(part), log_potentials=tables)
            if (lost := torch.isneginf(log_z.detach())).any():
                raise ValueError(self._impossible(part, int(lost.nonzero()[0])))
            yield (torch.from_numpy(part.weights).to(log_z) * log_z).sum(), len(part.codes)

    def _impossible(self, part: Rows, row: int) -> str:
        seen = {
            v: self._states[v][code]
            for v, code in zip(part.nodes, part.codes[row], strict=True)
            if code != MISSING
        }
        shown = ", ".join(f"{v}={state!r}" for v, state in list(seen.items())[:12])
        return (
            "expected rows that are possible under the tables to start from, got row "
            f"{int(part.first[row])} ({shown}) of probability zero"
        )


def _engine(tables: Tables, rows: Rows | None, inference: Inference) -> Any:
    if inference is None or inference is JunctionTree:
        always: list[Node] = []
        if rows is not None:
            everywhere = (rows.codes != MISSING).all(0)
            always = [v for v, seen in zip(rows.nodes, everywhere, strict=True) if seen]
        return JunctionTree(tables, evidence_variables=always)
    if not callable(inference):
        raise ValueError(
            "expected inference that makes an object from a network, such as graphs.JunctionTree, "
            f"got {inference!r}"
        )
    found = inference(to_pgmpy(tables))
    if not callable(getattr(found, "log_partition", None)):
        raise ValueError(
            "expected inference that makes an object with log_partition(evidence, log_potentials), "
            f"got one that makes {found!r}"
        )
    scopes = tuple(scope for scope, _ in tables.factors)
    if tuple(getattr(found, "factors", scopes)) != scopes:
        raise ValueError(f"expected inference over the factors {scopes}, got {found.factors}")
    return found


def _evidence(rows: Rows) -> dict[Node, Array]:
    """Codes as numbers, NaN where missing, of the nodes that some row observes."""
    seen = (rows.codes != MISSING).any(0)
    values = np.where(rows.codes == MISSING, np.nan, rows.codes)
    return {v: values[:, i] for i, v in enumerate(rows.nodes) if seen[i]}


def _flat(parts: Sequence[Tensor | None], like: Sequence[Tensor], *batch: int) -> Tensor:
    """Derivatives in all tables side by side, zeros where there are none."""
    whole = [
        torch.zeros(*batch, t.numel(), dtype=t.dtype) if p is None else p.reshape(*batch, -1)
        for p, t in zip(parts, like, strict=True)
    ]
    return torch.cat(whole, -1)
