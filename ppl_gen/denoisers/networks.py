r"""Networks as denoisers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_positive, require_module
from ppl_gen._modes import is_readable
from ppl_gen.denoisers.base import DenoiserBase
from ppl_gen.denoisers.prediction import KINDS, Prediction
from ppl_gen.networks import Shape
from ppl_gen.noise import Noise


class Denoiser(DenoiserBase):
    r"""A network that predicts data, noise, velocity or score; see :func:`convert`.

    Args:
        network: ``(x, u)`` or, given a condition, ``(x, u, y)`` to a tensor of the shape of ``x``;
            ``u`` is ``(B,)`` in [0, 1], and where variance explodes ``x`` is divided by
            :math:`\sqrt{1 + \sigma^2}`, so that the network sees numbers of one size.
        noise: the schedule.
        predicts: what the network gives, one of ``"noise"``, ``"data"``, ``"velocity"``,
            ``"score"``.
        data_shape: the shape of a datum; samplers want it here or for themselves.
        learned_variance: the network gives twice as many channels, the latter half of which,
            from -1 to 1, place the variances of ancestral steps between their extremes (Nichol
            and Dhariwal 2021).

    Raises:
        ValueError: another kind of prediction, a network that is no module, an output of another
            shape.

    >>> class Zero(torch.nn.Module):
    ...     def forward(self, x, u):
    ...         return 0 * x
    >>> denoiser = ppl_gen.denoisers.Denoiser(Zero(), ppl_gen.noise.Cosine(), "velocity")
    >>> denoiser(torch.ones(3, 2), torch.tensor(0.5)).data.shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        network: nn.Module,
        noise: Noise,
        predicts: str = "noise",
        *,
        data_shape: Shape | None = None,
        learned_variance: bool = False,
    ):
        super().__init__(noise, data_shape)
        if predicts not in KINDS:
            raise ValueError(f"expected a prediction among {', '.join(KINDS)}, got {predicts!r}")
        self.network = _require_network(network)
        self.predicts, self.learned_variance = predicts, bool(learned_variance)

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        level = self.noise.level(u)
        seen = x if self.noise.preserving else x / level.like(x).scale
        output = _call(self.network, seen, level.u, y)
        if not self.learned_variance:
            return Prediction(self.predicts, _require_like(output, x), x, level)
        value, raw = _halves(output, x)
        return Prediction(self.predicts, value, x, level, fraction=(raw + 1) / 2)


class Preconditioned(DenoiserBase):
    r"""A network behind the scalings of Karras et al. (2022, eq. 7 and table 1).

    With :math:`y = x / \alpha`, :math:`\rho = \sigma / \alpha` and data of standard deviation
    :math:`\sigma_d`,

    .. math:: \hat x_0 = \frac{\sigma_d^2}{\rho^2 + \sigma_d^2} y + \frac{\rho \sigma_d}
        {\sqrt{\rho^2 + \sigma_d^2}} F\Big(\frac{y}{\sqrt{\rho^2 + \sigma_d^2}},
        \tfrac14 \log \rho\Big).

    With :math:`\sigma_d = 1`, :math:`F = -\hat v` is the velocity up to its sign.

    Args:
        network: ``(x, log_rho / 4)`` or, given a condition, ``(x, log_rho / 4, y)`` to a tensor of
            the shape of ``x``.
        noise: the schedule.
        data_scale: :math:`\sigma_d`.
        data_shape: the shape of a datum.

    Raises:
        ValueError: a scale that is not positive, a network that is no module, an output of
            another shape, a time without noise or without signal.

    >>> class Zero(torch.nn.Module):
    ...     def forward(self, x, quarter_log_rho):
    ...         return 0 * x
    >>> denoiser = ppl_gen.denoisers.Preconditioned(Zero(), ppl_gen.noise.EDM(), data_scale=0.5)
    >>> u = denoiser.noise.time(-2 * torch.tensor(0.5).log())
    >>> denoiser(torch.ones(1, 2), u).data
    tensor([[0.5000, 0.5000]])
    """

    def __init__(
        self,
        network: nn.Module,
        noise: Noise,
        data_scale: float = 0.5,
        *,
        data_shape: Shape | None = None,
    ):
        super().__init__(noise, data_shape)
        if not is_positive(data_scale):
            raise ValueError(f"expected a scale of the data above 0, got {data_scale!r}")
        self.network, self.data_scale = _require_network(network), float(data_scale)

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        level, time = self.noise.level(u), _require_finite(-self.noise.log_snr(u) / 8)
        at = level.like(x)
        spread = torch.hypot(at.sigma, self.data_scale * at.alpha)
        output = _call(self.network, x / spread, time, y)
        kept = at.alpha * self.data_scale**2 / spread**2
        added = at.sigma * self.data_scale / spread
        return Prediction("data", kept * x + added * _require_like(output, x), x, level)


def _call(network: nn.Module, x: Tensor, time: Tensor, y: Any) -> Tensor:
    if time.dim() and time.shape != x.shape[:1]:
        raise ValueError(
            f"expected one time, or one a datum, got times {tuple(time.shape)} for data of shape "
            f"{tuple(x.shape)}"
        )
    time = time.expand(len(x)).to(x)
    return network(x, time) if y is None else network(x, time, y)


def _require_network(network: nn.Module) -> nn.Module:
    if require_module(network) is None:
        raise ValueError("expected a torch.nn.Module as the network, got None")
    return network


def _require_finite(time: Tensor) -> Tensor:
    if is_readable(time) and not bool(time.isfinite().all()):
        raise ValueError(f"expected times with signal and noise, got log(rho) / 4 {time.tolist()}")
    return time


def _require_like(output: Tensor, x: Tensor) -> Tensor:
    if output.shape != x.shape:
        raise ValueError(
            f"expected a prediction of the shape of the data, {tuple(x.shape)}, "
            f"got {tuple(output.shape)}"
        )
    return output


def _halves(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    doubled = (len(x), 2 * x.shape[1], *x.shape[2:])
    if tuple(output.shape) != doubled:
        raise ValueError(
            f"expected predictions beside variances, {doubled}, got {tuple(output.shape)}"
        )
    value, raw = output.chunk(2, 1)
    return value, raw
