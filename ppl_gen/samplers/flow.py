r"""Solvers of the probability flow :math:`dy / d\rho = \hat\epsilon`, :math:`y = x / \alpha`.

In these coordinates every schedule has the same flow (Karras et al. 2022; Song et al.
2021a, eq. 14); its solutions have the marginal laws of the diffusion.
"""

from __future__ import annotations

from torch import Tensor

from ppl_gen.noise import Level, PowerGrid
from ppl_gen.noise.grids import Grid
from ppl_gen.samplers.base import Draw, Predict, Sampler


class Euler(Sampler):
    r"""Euler's method, :math:`y_s = y_t + (\rho_s - \rho_t)\, \hat\epsilon(x_t)`: first order.

    Args:
        grid: the levels to visit, by default those of Karras et al. (2022).

    Raises:
        ValueError: a start without signal, where :math:`\rho` is infinite.

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.EDM(), torch.zeros(1), 1.0)
    >>> start = torch.tensor([[80.0]])
    >>> ppl_gen.samplers.Euler().sample(data, 1, steps=200, start=start).round(decimals=1)
    tensor([[1.]])
    """

    def default_grid(self) -> Grid:
        return PowerGrid()

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        return _along(x, predict(x, t).noise, t, s)


class Heun(Sampler):
    r"""Heun's method (Karras et al. 2022, algorithm 1): second order, two calls a step.

    :math:`y_s = y_t + \tfrac12 (\rho_s - \rho_t) (\hat\epsilon(x_t) + \hat\epsilon(x'_s))` with
    Euler's :math:`x'_s`, uncorrected in the last step; :math:`2 n - 1` calls for ``n`` steps.

    Args:
        grid: the levels to visit, by default those of Karras et al. (2022). On times of a schedule
            that starts almost without signal the method diverges.

    Raises:
        ValueError: a start without signal, where :math:`\rho` is infinite.

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.EDM(), torch.zeros(1), 1.0)
    >>> start = torch.tensor([[80.0]])
    >>> ppl_gen.samplers.Heun().sample(data, 1, steps=20, start=start).round(decimals=2)
    tensor([[1.0400]])
    """

    def default_grid(self) -> Grid:
        return PowerGrid()

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        slope = predict(x, t).noise
        guess = _along(x, slope, t, s)
        if s.sigma == 0:
            return guess
        return _along(x, (slope + predict(guess, s).noise) / 2, t, s)


def _along(x: Tensor, slope: Tensor, t: Level, s: Level) -> Tensor:
    if not t.alpha > 0:
        raise ValueError(
            "expected a start with signal, alpha > 0: floor the schedule, or use a PowerGrid"
        )
    return s.alpha * (x / t.alpha + (s.rho - t.rho) * slope)
