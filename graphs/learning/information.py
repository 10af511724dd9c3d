r"""Standard errors from the observed information.

With :math:`\eta = \log T` the negative second derivatives of the log-likelihood are, in any
coordinates :math:`\theta` of the free parameters with :math:`J = \partial \eta / \partial \theta`,

.. math:: I = \underbrace{J^\top \operatorname{diag}(n) J}_{\text{complete}}
    - \underbrace{J^\top \Big(\sum_r \mathrm{Cov}(\cdot \mid e_r)\Big) J}_{\text{missing}},

the information of the data completed less what is missing (Orchard and Woodbury 1972; Louis 1982),
with n the expected counts. Measured by the complete information its eigenvalues are the fractions
of information that the data hold about each direction, one minus the rate at which EM converges in
it (Dempster, Laird and Rubin 1977). What lies in a direction of fraction zero the data do not
determine: its standard error is NaN, and it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from graphs.learning.columns import Array
from graphs.learning.sums import RowSums

NOTHING = 1e-5  # a fraction of information below which a direction is not determined
SHARE = 1e-3  # of a parameter's spread in such directions, from which it is not determined either
FEW = 1e-3  # expected rows of a cell below which its probability is at its bound
RANK = 1e-10  # relative to the largest eigenvalue, where a matrix has none

Advance = Callable[[float], object]


@dataclass(frozen=True)
class Errors:
    """Standard errors, one array for each factor.

    Attributes:
        arrays: NaN where the data say nothing, zero where an estimate is at its bound.
        undetermined: for each factor which entries lie in directions without information.
        saddle: whether the likelihood still rises in some direction.
    """

    arrays: list[Array]
    undetermined: list[np.ndarray]
    saddle: bool = False


class Spread(NamedTuple):
    """Variances of linear functions of the parameters.

    Attributes:
        variances: of each.
        undetermined: which depend on what the data do not determine.
        saddle: whether some fraction is negative.
    """

    variances: Array
    undetermined: np.ndarray
    saddle: bool


def spread(complete: Array, missing: Array, functions: Array) -> Spread:
    """The variances of ``functions @ parameters`` under the inverse of the observed information.

    Args:
        complete: the information of completed data, which may be singular where parameters mean
            the same; such directions are left out.
        missing: what of it is missing.
        functions: (functions, parameters).
    """
    values, vectors = np.linalg.eigh(complete)
    kept = values > RANK * values.max(initial=0.0)
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    fractions, axes = np.linalg.eigh(np.eye(int(kept.sum())) - whiten.T @ missing @ whiten)
    loads = (functions @ whiten @ axes) ** 2
    lost = fractions < NOTHING
    undetermined = loads[:, lost].sum(1) > SHARE * loads.sum(1)
    variances = (loads[:, ~lost] / fractions[~lost]).sum(1)
    return Spread(variances, undetermined, bool((fractions < -NOTHING).any()))


def of_counts(tables: Sequence[Array], counts: Sequence[Array]) -> Errors:
    """The closed form of complete rows, :math:`\\sqrt{p (1 - p) / n}`, n of a row of a table."""
    arrays = []
    for table, n in zip(tables, counts, strict=True):
        totals = n.sum(-1, keepdims=True)
        variances = table * (1 - table) / np.where(totals > 0, totals, np.nan)
        arrays.append(np.sqrt(np.maximum(variances, 0.0)))
    return Errors(arrays, [np.zeros(table.shape, bool) for table in tables])


def of_conditionals(
    tables: Sequence[Array],
    counts: Sequence[Array],
    sums: RowSums,
    advance: Advance = lambda n: None,
) -> Errors:
    """Of the rows of conditional tables whose expected counts are partly not seen.

    Args:
        tables: the estimates.
        counts: expected, pseudo-counts included.
        sums: over the rows that miss something.
        advance: told how many entries are done.
    """
    ends = np.cumsum([0, *(table.size for table in tables)])
    inside, jacobian, bounds = _coordinates(tables, counts)
    which = np.flatnonzero(inside)
    with np.errstate(divide="ignore"):
        logs = [np.log(table) for table in tables]
    missing = sums.covariance(logs, which, advance)
    flat = np.concatenate([n.ravel() for n in counts])[which]
    estimates = np.concatenate([t.ravel() for t in tables])[which]
    slopes = jacobian[which]
    found = spread(
        slopes.T @ (flat[:, None] * slopes),
        slopes.T @ missing @ slopes,
        estimates[:, None] * slopes,
    )
    errors = np.where(bounds, 0.0, np.nan)
    errors[which] = np.where(found.undetermined, np.nan, np.sqrt(found.variances))
    unknown = np.zeros(ends[-1], bool)
    unknown[which] = found.undetermined
    shapes = [table.shape for table in tables]
    return Errors(_parts(errors, shapes), _parts(unknown, shapes), found.saddle)


def _coordinates(
    tables: Sequence[Array], counts: Sequence[Array]
) -> tuple[np.ndarray, Array, np.ndarray]:
    """Which entries vary, d log T / d free parameters, and which entries are at their bounds.

    The free parameters of a row are its entries inside the bounds but for the largest, which is one
    minus the others; a row of fewer than two has none.
    """
    size = sum(table.size for table in tables)
    inside, bounds = np.zeros(size, bool), np.zeros(size, bool)
    columns: list[tuple[int, float, int, float]] = []
    start = 0
    for table, n in zip(tables, counts, strict=True):
        for row, numbers in zip(
            table.reshape(-1, table.shape[-1]), n.reshape(-1, table.shape[-1]), strict=True
        ):
            if numbers.sum() >= FEW:
                varied = np.flatnonzero(numbers >= FEW)
                fixed = np.setdiff1d(np.arange(len(row)), varied)
                bounds[start + fixed] = True
                if len(varied) < 2:
                    bounds[start + varied] = True
                else:
                    last = int(varied[np.argmax(row[varied])])
                    inside[start + varied] = True
                    columns += [
                        (start + int(j), 1 / row[j], start + last, -1 / row[last])
                        for j in varied
                        if j != last
                    ]
            start += len(row)
    jacobian = np.zeros((size, len(columns)))
    for k, (j, slope, last, back) in enumerate(columns):
        jacobian[j, k], jacobian[last, k] = slope, back
    return inside, jacobian, bounds


def of_moments(
    tables: Sequence[Array],
    total: float,
    whole: RowSums,
    partial: RowSums | None,
    advance: Advance = lambda n: None,
) -> Errors:
    """Of the probabilities of the cells of a Markov network's scopes.

    They are functions of the potentials that do not depend on how these are scaled: with G the
    covariance of the cells their derivatives are G, and the information is n G less what is
    missing.

    Args:
        tables: the potentials.
        total: the number of rows, pseudo-rows included.
        whole: the sum without evidence.
        partial: the sum over rows that miss something.
        advance: told how many entries are done.
    """
    with np.errstate(divide="ignore"):
        logs = [np.log(table) for table in tables]
    possible = np.concatenate([(table > 0).ravel() for table in tables])
    which = np.flatnonzero(possible)
    covariance = whole.covariance(logs, which, advance)
    missing = 0 * covariance if partial is None else partial.covariance(logs, which, advance)
    found = spread(total * covariance, missing, covariance)
    errors, unknown = np.zeros(len(possible)), np.zeros(len(possible), bool)
    errors[which] = np.where(found.undetermined, np.nan, np.sqrt(found.variances))
    unknown[which] = found.undetermined
    shapes = [table.shape for table in tables]
    return Errors(_parts(errors, shapes), _parts(unknown, shapes), found.saddle)


def _parts(flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(flat, ends), shapes, strict=True)]
