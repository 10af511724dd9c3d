r"""Conditional tables from rows: counts where all is seen, expected counts where it is not.

With counts :math:`n_i[u, x]` of a node's state x and its parents' u, the log-likelihood of complete
rows is :math:`\sum_i \sum_{u, x} n_i[u, x] \log T_i[u, x]`, largest at the shares
:math:`n_i[u, x] / n_i[u]` (Koller and Friedman 2009, section 17.2.3). Pseudo-counts :math:`\alpha`
are added to the counts; what is largest then is :math:`\ell(T) + \sum \alpha \log T`, the density
of a posterior under Dirichlet distributions up to a constant, and the shares are the posterior
means under Dirichlet parameters :math:`\alpha`.

Where values are missing at random, EM (Dempster, Laird and Rubin 1977; Lauritzen 1995) puts the
counts that are expected given what each row shows in place of those not seen. No step lowers
:math:`\ell(T) + \sum \alpha \log T`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from graphs.learning.columns import Array, Rows
from graphs.learning.sums import Inference, RowSums
from graphs.parameters.tables import Scope, States

Report = Callable[[float], object]


class Found(NamedTuple):
    """What a search ended with.

    Attributes:
        tables: of every factor.
        log_likelihoods: at the start and after every iteration.
        objectives: what the search raises: these and the logarithm of the prior.
        converged: whether it ended by itself.
        counts: of every cell, expected where they are not seen, pseudo-counts not included.
    """

    tables: list[Array]
    log_likelihoods: tuple[float, ...]
    objectives: tuple[float, ...]
    converged: bool
    counts: list[Array]


def shares(counts: Array) -> Array:
    """Rows of counts over their sums; uniform where there are none."""
    totals = counts.sum(-1, keepdims=True)
    uniform = np.full(counts.shape, 1.0 / counts.shape[-1])
    return np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), uniform)


def log_sum(counts: Sequence[Array], tables: Sequence[Array]) -> float:
    """:math:`\\sum n \\log T`, where zero times minus infinity is zero."""
    total = 0.0
    for n, table in zip(counts, tables, strict=True):
        seen = n > 0
        with np.errstate(divide="ignore"):
            total += float((n[seen] * np.log(table[seen])).sum())
    return total


def from_counts(counts: list[Array], pseudo: Sequence[Array]) -> Found:
    """The closed form, of rows that miss nothing."""
    tables = [shares(n + a) for n, a in zip(counts, pseudo, strict=True)]
    log_likelihood = log_sum(counts, tables)
    objective = log_likelihood + log_sum(pseudo, tables)
    return Found(tables, (log_likelihood,), (objective,), True, counts)


def start_tables(
    rows: Rows, scopes: Sequence[Scope], states: States, rng: np.random.Generator, random: bool
) -> list[Array]:
    """Positive tables to start from: shares of the rows that show a whole family, one added.

    Families that no row shows are drawn uniformly, since equal states of a latent node would stay
    equal; with ``random`` all are.
    """
    tables = []
    for scope in scopes:
        counts = rows.counts(scope, states)
        if random or not counts.any():
            tables.append(rng.dirichlet(np.ones(counts.shape[-1]), counts.shape[:-1]))
        else:
            tables.append(shares(counts + 1.0))
    return tables


class Expectation:
    """The likelihood of rows, and the counts that are expected given them.

    Args:
        rows: the data.
        scopes, states: of the network.
        inference: see :class:`graphs.learning.sums.RowSums`.
    """

    def __init__(
        self, rows: Rows, scopes: Sequence[Scope], states: States, inference: Inference = None
    ):
        seen = rows.take(np.flatnonzero(rows.complete))
        self.complete = [seen.counts(scope, states) for scope in scopes]
        self.partial = rows.take(np.flatnonzero(~rows.complete))
        self.sums = RowSums(scopes, states, True, self.partial, inference)

    def __call__(self, tables: Sequence[Array]) -> tuple[float, list[Array]]:
        """The log-likelihood and the expected counts."""
        with np.errstate(divide="ignore"):
            value, expected = self.sums.expected([np.log(t) for t in tables])
        counts = [n + e for n, e in zip(self.complete, expected, strict=True)]
        return value + log_sum(self.complete, tables), counts


def maximise(
    expectation: Expectation,
    start: list[Array],
    pseudo: Sequence[Array],
    iterations: int,
    tolerance: float,
    report: Report = lambda value: None,
) -> Found:
    """EM from given tables, until an iteration gains no more than ``tolerance``, in nats."""
    tables, likelihoods, objectives = start, list[float](), list[float]()
    while True:
        value, counts = expectation(tables)
        likelihoods.append(value)
        objectives.append(value + log_sum(pseudo, tables))
        report(value)
        before = objectives[-2] if len(objectives) > 1 else -math.inf
        converged = objectives[-1] - before <= tolerance
        if converged or len(objectives) > iterations:
            return Found(tables, tuple(likelihoods), tuple(objectives), converged, counts)
        tables = [shares(n + a) for n, a in zip(counts, pseudo, strict=True)]
