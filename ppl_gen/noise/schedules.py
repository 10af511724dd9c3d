r"""The noise schedules in use."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ppl_gen._checks import is_finite, is_positive
from ppl_gen.noise.kinds import VarianceExploding, VariancePreserving


class Linear(VariancePreserving):
    r""":math:`\alpha_u = \exp(-\tfrac12 (b_0 u + \tfrac12 (b_1 - b_0) u^2))`.

    The limit (Song et al. 2021b) of Ho's linear betas, .0001 to .02 at 1,000 steps;
    its ends do not depend on the number of steps, so three steps reach noise as well as a thousand.

    Args:
        first: the rate :math:`b_0` at time 0.
        last: the rate :math:`b_1` at time 1.

    Raises:
        ValueError: rates that are not positive, or that fall.

    >>> noise = ppl_gen.noise.Linear()
    >>> table = ppl_gen.noise.uniform(noise, 3)
    >>> bool(table[3].alpha ** 2 < 1e-4)
    True
    """

    def __init__(self, first: float = 0.1, last: float = 20.0):
        super().__init__()
        if not (is_positive(first) and is_positive(last) and first <= last):
            raise ValueError(f"expected rates 0 < first <= last, got {first!r} and {last!r}")
        self.first, self.last = float(first), float(last)

    def curve(self, u: Tensor) -> Tensor:
        spent = self.first * u + (self.last - self.first) * u**2 / 2
        return -torch.expm1(spent).log()

    def inverse(self, log_snr: Tensor) -> Tensor:
        spent = torch.logaddexp(torch.zeros_like(log_snr), -log_snr)
        root = (self.first**2 + 2 * (self.last - self.first) * spent).sqrt()
        return 2 * spent / (self.first + root)

    def extra_repr(self) -> str:
        return f"first={self.first:g}, last={self.last:g}"


class Cosine(VariancePreserving):
    r"""Nichol and Dhariwal's cosine (2021, eq. 17), kept from reaching no signal at all.

    With :math:`f(u) = \cos\big(\tfrac\pi2 \tfrac{u + o}{1 + o}\big)`,
    :math:`\alpha_u^2 = \epsilon^2 + (1 - \epsilon^2) f(u)^2 / f(0)^2`. Their betas are cut at .999
    instead, which depends on the number of steps.

    Args:
        offset: :math:`o`, which keeps the first steps from being too small.
        floor: :math:`\epsilon`, the signal scale at time 1. With 0 nothing is left there, and
            data cannot be told from predicted noise.

    Raises:
        ValueError: an offset that is not positive, or a floor outside [0, 1).

    >>> noise = ppl_gen.noise.Cosine()
    >>> [round(value.item(), 4) for value in noise(1.0)]
    [0.003, 1.0]
    >>> round(noise.time(0.0).item(), 3)
    0.496
    """

    def __init__(self, offset: float = 0.008, floor: float = 3e-3):
        super().__init__()
        if not is_positive(offset):
            raise ValueError(f"expected an offset above 0, got {offset!r}")
        if not (is_finite(floor) and 0 <= floor < 1):
            raise ValueError(f"expected a floor of the signal in [0, 1), got {floor!r}")
        self.offset, self.floor = float(offset), float(floor)
        self._start = math.pi / 2 * offset / (1 + offset)

    def curve(self, u: Tensor) -> Tensor:
        turned = (math.pi / 2 - self._start) * u
        # 1 - cos²(b)/cos²(a) without cancellation, and a cosine that is 0 at time 1
        noise = turned.sin() * (2 * self._start + turned).sin() / math.cos(self._start) ** 2
        signal = ((math.pi / 2 - self._start) * (1 - u)).sin() / math.cos(self._start)
        rest = 1 - self.floor**2
        return (self.floor**2 + rest * signal**2).log() - (rest * noise).log()

    def inverse(self, log_snr: Tensor) -> Tensor:
        rest, cosine = 1 - self.floor**2, math.cos(self._start)
        noise = (-log_snr).sigmoid() / rest * cosine**2
        signal = ((log_snr.sigmoid() - self.floor**2).clamp(min=0) / rest).sqrt() * cosine
        angle = torch.atan2((math.sin(self._start) ** 2 + noise).sqrt(), signal)
        return (angle - self._start) / (math.pi / 2 - self._start)

    def extra_repr(self) -> str:
        return f"offset={self.offset:g}, floor={self.floor:g}"


class Geometric(VarianceExploding):
    r""":math:`\sigma_u = \sigma_{\min} (\sigma_{\max} / \sigma_{\min})^u` (Song and Ermon 2019).

    Args:
        least: :math:`\sigma_{\min}`, the noise that is not seen in the data.
        most: :math:`\sigma_{\max}`, the largest distance between data (Song and Ermon 2020).

    Raises:
        ValueError: scales that are not positive and increasing.

    >>> ppl_gen.noise.Geometric(0.01, 1.0)(torch.tensor([0.0, 0.5, 1.0]))[1].numpy().round(9)
    array([0.01, 0.1 , 1.  ])
    """

    def __init__(self, least: float = 0.01, most: float = 50.0):
        super().__init__()
        self.least, self.most = _require_rising(least, most)

    def curve(self, u: Tensor) -> Tensor:
        return -2 * (math.log(self.least) + math.log(self.most / self.least) * u)

    def inverse(self, log_snr: Tensor) -> Tensor:
        return (-log_snr / 2 - math.log(self.least)) / math.log(self.most / self.least)

    def extra_repr(self) -> str:
        return f"least={self.least:g}, most={self.most:g}"


class EDM(VarianceExploding):
    r"""Noise whose root is even in time (Karras et al. 2022, eq. 5).

    :math:`\sigma_u = \big(\sigma_{\min}^{1/p} + u (\sigma_{\max}^{1/p} - \sigma_{\min}^{1/p})
    \big)^p`; the grid that is even in time is theirs.

    Args:
        least: :math:`\sigma_{\min}`.
        most: :math:`\sigma_{\max}`.
        exponent: :math:`p`.

    Raises:
        ValueError: scales that are not positive and increasing, an exponent that is not positive.

    >>> noise = ppl_gen.noise.EDM()
    >>> [round(sigma, 4) for sigma in ppl_gen.noise.uniform(noise, 4).sigma.tolist()]
    [0.0, 0.002, 0.47, 9.7232, 80.0]
    """

    def __init__(self, least: float = 0.002, most: float = 80.0, exponent: float = 7.0):
        super().__init__()
        self.least, self.most = _require_rising(least, most)
        if not is_positive(exponent):
            raise ValueError(f"expected an exponent above 0, got {exponent!r}")
        self.exponent = float(exponent)
        self._roots = self.least ** (1 / exponent), self.most ** (1 / exponent)

    def curve(self, u: Tensor) -> Tensor:
        low, high = self._roots
        return -2 * self.exponent * torch.lerp(_all(low, u), _all(high, u), u).log()

    def inverse(self, log_snr: Tensor) -> Tensor:
        low, high = self._roots
        return ((-log_snr / (2 * self.exponent)).exp() - low) / (high - low)

    def extra_repr(self) -> str:
        return f"least={self.least:g}, most={self.most:g}, exponent={self.exponent:g}"


def _all(value: float, u: Tensor) -> Tensor:
    return torch.full_like(u, value)


def _require_rising(least: float, most: float) -> tuple[float, float]:
    if not (is_positive(least) and is_positive(most) and least < most):
        raise ValueError(f"expected noise scales 0 < least < most, got {least!r} and {most!r}")
    return float(least), float(most)
