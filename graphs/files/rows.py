"""Rows of conditional tables as files hold them: rounded, noisy, counted, or missing.

A row that misses the sum one by no more than the last digits of its numbers explain stays as it is
(:func:`graphs.parameters.tables.rounding_slack`). Anything else is refused unless the caller says
what to make of it (:class:`Policy`), and whatever is changed then is reported. Rows of zeros pass
here; that their parents' states are impossible is checked once the whole network is known
(:mod:`graphs.parameters.impossible`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from graphs.parameters.tables import EXACT, described_sum, rounding_slack

Words: TypeAlias = Callable[[int], Sequence[str]]
"""The numbers of a row as its file writes them."""
Change: TypeAlias = tuple[int, str]
"""A row, and what was done to it."""


@dataclass(frozen=True)
class Policy:
    """What to make of rows that are off by more than rounding.

    Attributes:
        normalize: divide rows by their sums, and take rows of NaN or of zeros as uniform.
        tolerance: take entries from ``-tolerance`` to zero as zero, and divide rows by sums that
            miss one by at most this.
    """

    normalize: bool = False
    tolerance: float | None = None

    @property
    def noise(self) -> float:
        """How far below zero an entry may be."""
        return self.tolerance or (EXACT if self.normalize else 0.0)


class Refused(ValueError):
    """What is wrong with a number (its index in C order) or with the whole row that it begins."""

    def __init__(self, message: str, number: int, hint: str = "", row: bool = False):
        super().__init__(message)
        self.number, self.hint, self.row = number, hint, row


def settle(rows: np.ndarray, words: Words, policy: Policy) -> list[Change]:
    """Check the rows (n, k) of a conditional table, and change in place what a policy allows.

    Raises:
        Refused: the first entry or row that is no probability.
    """
    missing = np.isnan(rows).all(axis=-1)
    changes: list[Change] = []
    if policy.normalize:
        missing |= ~rows.any(axis=-1)
        rows[missing] = 1 / rows.shape[-1]
        changes += [(int(row), "filled uniformly") for row in np.flatnonzero(missing)]
    noisy = silence(rows, policy)
    changes += [(row, "entries just below zero taken as zero") for row in noisy]
    _require_probabilities(rows, missing)
    with np.errstate(over="ignore"):
        sums = rows.sum(axis=-1)
    off = np.flatnonzero((np.abs(sums - 1) > EXACT) & (sums != 0))
    if off.size:
        printed = np.array([words(int(row)) for row in off])
        off = off[np.abs(sums[off] - 1) > rounding_slack(printed)]
    for row in off:
        _require_near_one(sums, int(row), rows.shape[-1], policy)
    changes += [(int(row), f"rescaled from {described_sum(sums[row])}") for row in off]
    again = np.union1d(off, np.array(noisy, dtype=int))
    rows[again] /= sums[again, None]
    return sorted(changes)


def silence(rows: np.ndarray, policy: Policy) -> list[int]:
    """Take entries that a policy allows below zero as zero; the rows (n, k) that had some."""
    with np.errstate(invalid="ignore"):
        small = (rows < 0) & (rows >= -policy.noise)
    rows[small] = 0
    return [int(row) for row in np.flatnonzero(small.any(axis=-1))]


def _require_probabilities(rows: np.ndarray, missing: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~((rows >= 0) & (rows < np.inf)).ravel()
    if not bad.any():
        return
    number = int(bad.argmax())
    value = float(rows.flat[number])
    hint = ""
    if missing[number // rows.shape[-1]]:
        hint = "normalize=True fills such rows uniformly"
    elif -0.001 < value < 0:
        hint = "tolerance=... takes entries just below zero as zero"
    raise Refused(f"expected non-negative probabilities, got {value!r}", number, hint)


def _require_near_one(sums: np.ndarray, row: int, size: int, policy: Policy) -> None:
    finite = 0 < sums[row] < np.inf
    near = policy.tolerance is not None and abs(sums[row] - 1) <= policy.tolerance
    if finite and (policy.normalize or near):
        return
    got = described_sum(sums[row])
    hint = "normalize=True, or a tolerance=..., rescales such rows" if finite else ""
    raise Refused(f"expected probabilities that sum to one, got {got}", row * size, hint, row=True)
