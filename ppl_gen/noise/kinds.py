r"""A schedule is its log-SNR as a function of time; its kind says what scales belong to it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ppl_gen._modes import is_readable
from ppl_gen.noise.levels import Level

Times = Tensor | float

# A schedule is looked at at so many even times before it is used.
_LOOKS = 257


class Noise(nn.Module):
    r"""A noise schedule: :math:`u \in [0, 1] \mapsto (\alpha_u, \sigma_u)`, in float64.

    A subclass of :class:`VariancePreserving` or :class:`VarianceExploding` defines :meth:`curve`,
    the strictly falling log-SNR, and may define its inverse :meth:`inverse`, found by bisection
    otherwise.

    Shapes: times of any shape; both scales have that shape.

    Raises:
        ValueError: a time outside [0, 1].

    >>> alpha, sigma = ppl_gen.noise.Linear()(torch.tensor([0.0, 1.0]))
    >>> alpha.numpy().round(4), sigma.numpy().round(4)
    (array([1.    , 0.0066]), array([0., 1.]))
    """

    preserving: ClassVar[bool]

    def curve(self, u: Tensor) -> Tensor:
        r"""The log-SNR :math:`\lambda_u` at float64 times."""
        raise NotImplementedError

    def inverse(self, log_snr: Tensor) -> Tensor:
        """The times of float64 log-SNRs that the schedule reaches."""
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        for _ in range(60):
            middle = (low + high) / 2
            later = self.curve(middle) > log_snr
            low, high = torch.where(later, middle, low), torch.where(later, high, middle)
        return (low + high) / 2

    def scales(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`(\alpha, \sigma)` at a log-SNR."""
        raise NotImplementedError

    def prior_scale(self, level: Level) -> Tensor:
        """The standard deviation of the Gaussian that a sampler starts from at a level."""
        raise NotImplementedError

    def forward(self, u: Times) -> tuple[Tensor, Tensor]:
        return self.scales(self.curve(_require_times(u)))

    def level(self, u: Times) -> Level:
        """The times with their scales."""
        times = _require_times(u)
        return Level(times, *self(times))

    def log_snr(self, u: Times) -> Tensor:
        r""":math:`\lambda_u = \log(\alpha_u^2 / \sigma_u^2)`."""
        return self.curve(_require_times(u))

    def time(self, log_snr: Tensor | float) -> Tensor:
        """The time at which the schedule has a log-SNR, the inverse of :meth:`log_snr`.

        Raises:
            ValueError: a log-SNR that the schedule does not reach.
        """
        wanted = torch.as_tensor(log_snr, dtype=torch.float64)
        most, least = self.log_snr(0.0).item(), self.log_snr(1.0).item()
        slack = 1e-9 * (1 + wanted.abs().clamp(max=1e3))
        if not bool(((wanted <= most + slack) & (wanted >= least - slack)).all()):
            raise ValueError(
                f"expected log-SNRs from {least:.6g} to {most:.6g}, which {self} reaches, "
                f"got {wanted.tolist()}"
            )
        return self.inverse(wanted.clamp(least, most)).clamp(0, 1)


class VariancePreserving(Noise):
    r"""Schedules with :math:`\alpha^2 + \sigma^2 = 1`; a sampler starts from N(0, I).

    >>> class Sigmoid(ppl_gen.noise.VariancePreserving):
    ...     def curve(self, u):
    ...         return 8 - 16 * u
    >>> round(Sigmoid().time(0.0).item(), 9)
    0.5
    """

    preserving = True

    def scales(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        return log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()

    def prior_scale(self, level: Level) -> Tensor:
        return level.scale


class VarianceExploding(Noise):
    r"""Schedules with :math:`\alpha = 1`; a sampler starts from :math:`\mathcal N(0, \sigma^2 I)`.

    >>> class Doubling(ppl_gen.noise.VarianceExploding):
    ...     def curve(self, u):
    ...         return (10 - 20 * u) * torch.tensor(2.0).double().log()
    >>> [round(scale.item(), 9) for scale in Doubling()(0.6)]
    [1.0, 2.0]
    """

    preserving = False

    def scales(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(log_snr), (-log_snr / 2).exp()

    def prior_scale(self, level: Level) -> Tensor:
        return level.sigma


def require_noise(noise: Any) -> Noise:
    """The schedule, or ``ValueError`` for what is none."""
    if not isinstance(noise, Noise):
        raise ValueError(f"expected a noise schedule of ppl_gen.noise, got {noise!r}")
    return noise


def require_schedule(noise: Any) -> Noise:
    """The schedule, or ``ValueError`` unless its log-SNR falls, in steps or steadily."""
    require_noise(noise)
    times = torch.linspace(0, 1, _LOOKS, dtype=torch.float64)
    found = noise.curve(times)
    if not isinstance(found, Tensor) or found.shape != times.shape:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
        raise ValueError(f"expected the log-SNR of {len(times)} times from {noise}, got {got}")
    if not is_readable(found):
        return noise
    lost = ~(found[1:] <= found[:-1])
    if bool(lost.any()) or not found[0] > found[-1]:
        at = int(lost.nonzero()[0]) if bool(lost.any()) else 0
        after = at + 1 if bool(lost.any()) else -1
        raise ValueError(
            f"expected noise to rise with time, got log-SNR {found[at]:g} at {times[at]:g} and "
            f"{found[after]:g} at {times[after]:g} with {noise}"
        )
    return noise


def _require_times(u: Times) -> Tensor:
    try:
        times = torch.as_tensor(u, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected times from 0, data, to 1, noise, got {u!r}") from error
    if is_readable(times) and not bool(((times >= 0) & (times <= 1)).all()):
        raise ValueError(f"expected times from 0, data, to 1, noise, got {times.tolist()}")
    return times
