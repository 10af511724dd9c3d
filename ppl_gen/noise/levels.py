r"""A time with its scales of signal and noise, and the Gaussians between two times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ppl_gen._modes import is_readable


@dataclass(frozen=True)
class Level:
    r"""Times with their scales, :math:`q(x_u \mid x_0) = \mathcal N(\alpha x_0, \sigma^2 I)`.

    Args:
        u: times from 0, data, to 1, noise; of any shape.
        alpha: the signal scales :math:`\alpha` at these times, of the same shape.
        sigma: the noise scales :math:`\sigma`.

    Indexing a table gives the level at an index; iteration is over the first dimension.

    >>> table = ppl_gen.noise.uniform(ppl_gen.noise.Linear(), 4)
    >>> len(table), table[0].alpha.item(), table[0].sigma.item()
    (5, 1.0, 0.0)
    >>> round(table[4].snr.item(), 6)
    4.3e-05
    """

    u: Tensor
    alpha: Tensor
    sigma: Tensor

    @property
    def rho(self) -> Tensor:
        r""":math:`\rho = \sigma / \alpha`, the noise on :math:`y = x / \alpha`."""
        return self.sigma / self.alpha

    @property
    def snr(self) -> Tensor:
        r"""The signal-to-noise ratio :math:`\alpha^2 / \sigma^2`, infinite for clean data."""
        return (self.alpha / self.sigma) ** 2

    @property
    def log_snr(self) -> Tensor:
        r""":math:`\lambda = \log(\alpha^2 / \sigma^2)`."""
        return 2 * (self.alpha.log() - self.sigma.log())

    @property
    def scale(self) -> Tensor:
        r""":math:`c = \sqrt{\alpha^2 + \sigma^2}`, 1 where variance is preserved."""
        return torch.hypot(self.alpha, self.sigma)

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, index: int | slice | Tensor) -> Level:
        return Level(self.u[index], self.alpha[index], self.sigma[index])

    def like(self, x: Tensor) -> Level:
        """The level of every datum of ``x``, shaped to be multiplied with it.

        Scales of one time for all stay in float64, which does not change the type of ``x``.
        """
        return Level(*(_beside(value, x) for value in (self.u, self.alpha, self.sigma)))


def _beside(value: Tensor, x: Tensor) -> Tensor:
    if not value.dim():
        return value
    if value.shape != x.shape[: value.dim()]:
        raise ValueError(
            f"expected one time, or one a datum, got times {tuple(value.shape)} for data of shape "
            f"{tuple(x.shape)}"
        )
    return value.reshape(*value.shape, *[1] * (x.dim() - value.dim())).to(x)


class Transition(NamedTuple):
    r""":math:`q(x_t \mid x_s) = \mathcal N(\mathrm{scale} \cdot x_s, \mathrm{variance} \cdot I)`.

    >>> ppl_gen.noise.Transition(torch.tensor(0.8), torch.tensor(0.36)).variance
    tensor(0.3600)
    """

    scale: Tensor
    variance: Tensor


class Posterior(NamedTuple):
    r""":math:`q(x_s \mid x_t, x_0)`, a Gaussian with mean linear in both conditions.

    >>> q = ppl_gen.noise.Posterior(torch.tensor(0.5), torch.tensor(0.5), torch.tensor(0.1))
    >>> q.mean(torch.tensor([2.0]), torch.tensor([1.0]))
    tensor([1.5000])
    """

    on_x: Tensor
    on_data: Tensor
    variance: Tensor

    def mean(self, x: Tensor, data: Tensor) -> Tensor:
        """The mean given :math:`x_t` and :math:`x_0`."""
        return self.on_x * x + self.on_data * data


def transition(s: Level, t: Level) -> Transition:
    r"""The forward step from ``s`` to ``t``, neighbours or not.

    :math:`\alpha_{t|s} = \alpha_t / \alpha_s` and :math:`\sigma^2_{t|s} = \sigma_t^2 -
    \alpha_{t|s}^2 \sigma_s^2 = \sigma_t^2 (1 - \mathrm{SNR}_t / \mathrm{SNR}_s)` (Kingma et al.
    2021, "Variational diffusion models"). Where variance is preserved and the times
    are neighbours, the variance is :math:`\beta_t` of Ho et al. (2020).

    Raises:
        ValueError: a level ``s`` that is not less noisy than ``t``.

    >>> table = ppl_gen.noise.uniform(ppl_gen.noise.Cosine(), 10)
    >>> step = ppl_gen.noise.transition(table[2], table[5])
    >>> torch.isclose(step.scale**2 + step.variance, torch.tensor(1.0, dtype=torch.float64))
    tensor(True)
    """
    _require_order(s, t)
    return Transition(t.alpha / s.alpha, -(t.sigma**2) * torch.expm1(t.log_snr - s.log_snr))


def posterior(s: Level, t: Level) -> Posterior:
    r"""The law of :math:`x_s` given :math:`x_t` and :math:`x_0`, for any ``s`` before ``t``.

    .. math:: q(x_s \mid x_t, x_0) = \mathcal N\Big(\alpha_{t|s} \frac{\sigma_s^2}{\sigma_t^2} x_t
        + \alpha_s \frac{\sigma^2_{t|s}}{\sigma_t^2} x_0,\;
        \frac{\sigma^2_{t|s} \sigma_s^2}{\sigma_t^2} I\Big)

    (Ho et al. 2020, eq. 6 and 7, for neighbours; Kingma et al. 2021). The variance
    is 0 where ``s`` is clean.

    Raises:
        ValueError: a level ``s`` that is not less noisy than ``t``.

    >>> table = ppl_gen.noise.uniform(ppl_gen.noise.Geometric(0.1, 10.0), 3)
    >>> q = ppl_gen.noise.posterior(table[0], table[3])
    >>> q.on_x.item(), q.on_data.item(), q.variance.item()
    (0.0, 1.0, 0.0)
    """
    forward = transition(s, t)
    kept, added = (s.sigma / t.sigma) ** 2, forward.variance / t.sigma**2
    return Posterior(forward.scale * kept, s.alpha * added, forward.variance * kept)


def _require_order(s: Level, t: Level) -> None:
    if is_readable(s.u) and not bool((s.log_snr > t.log_snr).all()):
        raise ValueError(
            "expected a time s with less noise than t, got log-SNR "
            f"{s.log_snr.tolist()} at s and {t.log_snr.tolist()} at t"
        )
