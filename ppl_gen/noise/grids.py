r"""The times that a sampler visits: tables of levels from clean data, entry 0, to noise.

A grid is a function of a schedule and a number of steps ``n`` that returns a :class:`Level` of
``n + 1`` entries. Every sampler takes one, ``sampler(grid=...)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ppl_gen._checks import is_positive, is_whole
from ppl_gen._modes import is_readable
from ppl_gen.noise.kinds import Noise, require_noise
from ppl_gen.noise.levels import Level

Grid = Callable[[Noise, int], Level]


def uniform(noise: Noise, n: int) -> Level:
    r"""Evenly spaced times, :math:`u_i = i / n`.

    A schedule with noise left at time 0 is visited at ``n`` even times from 0 to 1, and ends on
    clean data: ``n`` noise levels of NCSN or EDM, then none.

    Raises:
        ValueError: a number of steps below one, a schedule whose noise does not rise.

    >>> ppl_gen.noise.uniform(ppl_gen.noise.Linear(), 4).u.tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    >>> ppl_gen.noise.uniform(ppl_gen.noise.Geometric(1.0, 4.0), 3).sigma.numpy().round(9)
    array([0., 1., 2., 4.])
    """
    _require_steps(n)
    require_noise(noise)
    if math.isinf(noise.log_snr(0.0).item()):
        return _above_clean(noise, torch.arange(1, n + 1, dtype=torch.float64) / n)
    return _above_clean(noise, torch.linspace(0, 1, n, dtype=torch.float64) if n > 1 else _END)


class Trailing:
    r"""``n`` of the ``total`` times a network was trained on, the first and the last among them.

    Times :math:`t_i = \lfloor T i / n + \tfrac12 \rfloor` for :math:`i = n, \dots, 0`, so that the
    sampler starts where the data are lost and makes ``n`` calls also where ``n`` does not divide
    :math:`T` (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed").

    Args:
        total: the number of training times :math:`T`.

    Raises:
        ValueError: a total below one; more steps than times.

    >>> grid = ppl_gen.noise.Trailing(10)
    >>> (grid(ppl_gen.noise.Linear(), 4).u * 10).round().tolist()
    [0.0, 3.0, 5.0, 8.0, 10.0]
    """

    def __init__(self, total: int):
        self.total = _require_steps(total)

    def __call__(self, noise: Noise, n: int) -> Level:
        return uniform(noise, self.total)[self.indices(n)]

    def indices(self, n: int) -> Tensor:
        """The ``n + 1`` times among the total, from 0.

        Raises:
            ValueError: steps below one, more than there are times.
        """
        if _require_steps(n) > self.total:
            raise ValueError(f"expected at most {self.total} steps, the training times, got {n}")
        return torch.tensor([(2 * self.total * i + n) // (2 * n) for i in range(n + 1)])


class PowerGrid:
    r"""Noise :math:`\rho = \sigma / \alpha` whose root is even (Karras et al. 2022, eq. 5).

    :math:`\rho_i = \big(\rho_{\min}^{1/p} + \tfrac{i - 1}{n - 1} (\rho_{\max}^{1/p} -
    \rho_{\min}^{1/p})\big)^p` for :math:`i = 1, \dots, n`, and clean data below. The same grid for
    every schedule, since :math:`(x / \alpha, \rho)` does not depend on it; two-stage solvers need
    one whose noise ends at a finite :math:`\rho`.

    Args:
        exponent: :math:`p`; infinite for noise that is even in its logarithm.
        least: :math:`\rho_{\min}`; by default .002, or what the schedule has at least.
        most: :math:`\rho_{\max}`; by default 80, or what the schedule has at most.

    Raises:
        ValueError: an exponent or noise that is not positive, noise that the schedule lacks.

    >>> grid = ppl_gen.noise.PowerGrid(float("inf"), 0.1, 10.0)
    >>> grid(ppl_gen.noise.Cosine(), 3).rho.numpy().round(6)
    array([ 0. ,  0.1,  1. , 10. ])
    """

    def __init__(
        self, exponent: float = 7.0, least: float | None = None, most: float | None = None
    ):
        if exponent != math.inf and not is_positive(exponent):
            raise ValueError(f"expected an exponent above 0 or infinity, got {exponent!r}")
        for value in (least, most):
            if value is not None and not is_positive(value):
                raise ValueError(f"expected noise above 0, got {value!r}")
        if least is not None and most is not None and least >= most:
            raise ValueError(f"expected least < most, got {least!r} and {most!r}")
        self.exponent, self.least, self.most = exponent, least, most

    def __call__(self, noise: Noise, n: int) -> Level:
        require_noise(noise)
        part = torch.linspace(0, 1, n, dtype=torch.float64) if _require_steps(n) > 1 else _END
        return _above_clean(noise, noise.time(-2 * self._log_rho(noise, part)))

    def _log_rho(self, noise: Noise, part: Tensor) -> Tensor:
        low, high = (torch.tensor(end, dtype=torch.float64).log() for end in self._ends(noise))
        if self.exponent == math.inf:
            return low + part * (high - low)
        low, high = (low / self.exponent).exp(), (high / self.exponent).exp()
        return self.exponent * (low + part * (high - low)).log()

    def _ends(self, noise: Noise) -> tuple[float, float]:
        first, last = ((-noise.log_snr(u) / 2).exp().item() for u in (0.0, 1.0))
        low = max(0.002, first) if self.least is None else self.least
        high = min(80.0, last) if self.most is None else self.most
        if low >= high:
            raise ValueError(f"expected noise to rise, got {low:g} to {high:g} with {noise}")
        return low, high


_END = torch.ones(1, dtype=torch.float64)


def _above_clean(noise: Noise, u: Tensor) -> Level:
    level, zero = noise.level(u), torch.zeros(1, dtype=torch.float64)
    steps = level.log_snr.diff()
    if is_readable(steps) and not bool((steps < 0).all()):
        at = int((~(steps < 0)).nonzero()[0])
        raise ValueError(
            f"expected noise to rise with time, got log-SNR {level.log_snr[at]:g} at "
            f"{u[at]:g} and {level.log_snr[at + 1]:g} at {u[at + 1]:g} with {noise}"
        )
    return Level(*(torch.cat(p) for p in ((zero, u), (_END, level.alpha), (zero, level.sigma))))


def _require_steps(n: int) -> int:
    if not is_whole(n, 1):
        raise ValueError(f"expected at least one step, got {n!r}")
    return n


def require_grid(grid: Any) -> Grid:
    """The grid, or ``ValueError`` unless it is a function, and not of times alone."""
    if not callable(grid) or isinstance(grid, Noise):
        raise ValueError(f"expected a grid of ppl_gen.noise or a function, got {grid!r}")
    return grid


def require_levels(levels: Any) -> Level:
    """A grid's levels, or ``ValueError`` unless noise rises from clean data."""
    if not isinstance(levels, Level) or levels.u.dim() != 1 or len(levels) < 2:
        raise ValueError(
            "expected a grid of levels, a ppl_gen.noise.Level of at least two entries, got "
            f"{levels!r}"
        )
    if levels.sigma[0] != 0:
        raise ValueError(
            f"expected clean data at entry 0 of a grid, sigma = 0, got {levels.sigma[0]:g}"
        )
    log_snr = levels.log_snr
    wrong = ~(log_snr[1:] < log_snr[:-1])
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        raise ValueError(
            f"expected noise to rise along a grid, got log-SNR {log_snr[at]:g} at entry {at} and "
            f"{log_snr[at + 1]:g} at entry {at + 1}"
        )
    return levels
