r"""Potentials from rows, by the exact gradient of the log-likelihood.

With :math:`P(x) = e^{\sum_k \eta_k(x_{C_k})} / Z(\eta)` and n rows of which :math:`e_r` is seen,

.. math::

    \ell(\eta) = \sum_r \log Z(\eta; e_r) - n \log Z(\eta), \qquad
    \frac{\partial \ell}{\partial \eta_k(c)} = \sum_r P(x_{C_k} = c \mid e_r) - n P(x_{C_k} = c).

For complete rows :math:`\ell` is concave and at its top the model's probabilities of every scope
are the shares in the data (Koller and Friedman 2009, theorem 20.1). The search is L-BFGS.

Where no row is compatible with a cell, lowering its potential raises the likelihood for ever; the
limit is a potential of zero, which is where the cell starts and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphs.learning.bayesian import Found
from graphs.learning.columns import Array, Rows
from graphs.learning.sums import Inference, RowSums
from graphs.parameters.tables import Scope, States

CORRECTIONS = 30  # pairs of steps and gradients that L-BFGS keeps
LINE_SEARCH = 50  # evaluations along a direction, at most


class MarkovLikelihood:
    """The log-likelihood of rows in log-potentials, with its gradient.

    Args:
        rows: the data.
        scopes, states: of the network.
        pseudo_rows: the number of pseudo-rows, spread evenly over all assignments.
        inference: see :class:`graphs.learning.sums.RowSums`.
    """

    def __init__(
        self,
        rows: Rows,
        scopes: Sequence[Scope],
        states: States,
        pseudo_rows: float = 0.0,
        inference: Inference = None,
    ):
        self.shapes = [tuple(len(states[v]) for v in scope) for scope in scopes]
        self.rows, self.pseudo_rows = rows.total, pseudo_rows
        self.total = rows.total + pseudo_rows
        seen = rows.take(np.flatnonzero(rows.complete))
        self.complete = [seen.counts(scope, states) for scope in scopes]
        self.partial = rows.take(np.flatnonzero(~rows.complete))
        self.sums = RowSums(scopes, states, False, self.partial, inference)
        self.whole = RowSums(scopes, states, False, None, inference)
        self.spread = [np.full(s, pseudo_rows / np.prod(s)) for s in self.shapes]
        flat = [np.zeros(shape) for shape in self.shapes]
        compatible = [n + e for n, e in zip(self.complete, self._partly(flat)[1], strict=True)]
        self.possible = [(n + a) > 0 for n, a in zip(compatible, self.spread, strict=True)]

    def _partly(self, log_tables: Sequence[Array]) -> tuple[float, list[Array]]:
        if not len(self.partial.codes):
            return 0.0, [np.zeros(shape) for shape in self.shapes]
        return self.sums.expected(log_tables)

    def __call__(self, log_tables: Sequence[Array]) -> tuple[float, float, list[Array], Array]:
        """The log-likelihood, what is raised, the expected counts and the gradient, flattened."""
        log_z, model = self.whole.expected(log_tables)
        value, expected = self._partly(log_tables)
        counts = [n + e for n, e in zip(self.complete, expected, strict=True)]
        value += _inner(self.complete, log_tables)
        objective = value + _inner(self.spread, log_tables) - self.total * log_z
        gradient = np.concatenate(
            [
                (n + a - self.total * p).ravel()
                for n, a, p in zip(counts, self.spread, model, strict=True)
            ]
        )
        return value - self.rows * log_z, objective, counts, gradient

    def split(self, flat: Array) -> list[Array]:
        """Log-potentials as arrays, minus infinity where no row is compatible."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = np.split(flat, ends[:-1])
        return [
            np.where(possible, part.reshape(shape), -np.inf)
            for part, shape, possible in zip(parts, self.shapes, self.possible, strict=True)
        ]


def _inner(counts: Sequence[Array], log_tables: Sequence[Array]) -> float:
    pairs = zip(counts, log_tables, strict=True)
    return float(sum((n[n > 0] * t[n > 0]).sum() for n, t in pairs))


def climb(
    likelihood: MarkovLikelihood,
    start: list[Array],
    iterations: int,
    tolerance: float,
    report: Callable[[float], object] = lambda value: None,
) -> Found:
    """L-BFGS until the model's probabilities of all cells are within ``tolerance`` of the data's.

    Args:
        likelihood: what to raise.
        start: log-potentials to start from.
        iterations: at most.
        tolerance: the largest entry of the gradient over the number of rows.
        report: told the log-likelihood after every iteration.
    """
    from scipy.optimize import minimize

    free = np.concatenate([possible.ravel() for possible in likelihood.possible])
    flat = np.concatenate([t.ravel() for t in start])
    origin = np.where(free & np.isfinite(flat), flat, 0.0)
    likelihoods: list[float] = []
    objectives: list[float] = []
    known: dict[bytes, tuple[float, float]] = {}

    def full(x: Array) -> list[Array]:
        everything = origin.copy()
        everything[free] = x
        return likelihood.split(everything)

    def descend(x: Array) -> tuple[float, Array]:
        value, objective, _, gradient = likelihood(full(x))
        known[x.tobytes()] = value, objective
        return -objective / likelihood.total, -gradient[free] / likelihood.total

    def note(x: Array) -> None:
        value, objective = known[x.tobytes()]
        known.clear()
        likelihoods.append(value)
        objectives.append(objective)
        report(value)

    first = origin[free]
    descend(first)
    note(first)
    found: Any = minimize(
        descend,
        first,
        jac=True,
        method="L-BFGS-B",
        callback=note,
        options={
            "maxiter": iterations,
            "maxfun": iterations * LINE_SEARCH,
            "maxcor": CORRECTIONS,
            "maxls": LINE_SEARCH,
            "ftol": 0.0,
            "gtol": tolerance,
        },
    )
    log_tables = full(found.x)
    _, _, counts, gradient = likelihood(log_tables)
    off = np.abs(gradient[free]).max(initial=0.0) / likelihood.total
    tables = [_scaled(np.exp(t - t.max())) for t in log_tables]
    return Found(tables, tuple(likelihoods), tuple(objectives), bool(off <= tolerance), counts)


def _scaled(table: Array) -> Array:
    """A potential whose entries cannot be lost beside its largest."""
    return np.where(table > 0, np.maximum(table, 1e-300), 0.0)
