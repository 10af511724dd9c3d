r"""Losses of a diffusion as weights :math:`w` on :math:`\lVert x_0 - \hat x_0 \rVert^2`.

Every loss in use, a bound or none, is such a weight, so what a network predicts and what it is
trained for are chosen apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_gen._checks import is_positive
from ppl_gen._modes import is_readable
from ppl_gen.denoisers.prediction import KINDS
from ppl_gen.noise import Level, Noise


def prediction_weight(level: Level, predicts: str = "noise") -> Tensor:
    r"""The weight that the plain squared error of a kind of prediction amounts to.

    1 for data, SNR for noise (the simple loss of Ho et al. 2020, and denoising score matching with
    :math:`\lambda = \sigma^2`), SNR + 1 for velocity (Salimans and Ho 2022), and
    :math:`\mathrm{SNR} / \sigma^2` for scores.

    Raises:
        ValueError: another kind, or an infinite weight, where there is no noise.

    >>> level = ppl_gen.noise.Geometric(0.5, 2.0).level(0.0)
    >>> ppl_gen.denoisers.prediction_weight(level, "velocity").item()
    5.0
    """
    if predicts not in KINDS:
        raise ValueError(f"expected a prediction among {', '.join(KINDS)}, got {predicts!r}")
    if predicts == "data":
        return torch.ones_like(level.sigma)
    weights = {"noise": level.snr, "velocity": level.snr + 1, "score": level.snr / level.sigma**2}
    return _require_noise(weights[predicts])


def bound_weight(s: Level, t: Level) -> Tensor:
    r""":math:`\tfrac12 (\mathrm{SNR}_s - \mathrm{SNR}_t)`, the weight of the variational bound.

    The divergence of the posterior from the reverse step of that variance,
    :math:`\mathrm{KL}(q(x_s \mid x_t, x_0) \,\Vert\, q(x_s \mid x_t, \hat x_0))`, is this weight
    times :math:`\lVert x_0 - \hat x_0 \rVert^2` (Kingma et al. 2021).

    Raises:
        ValueError: clean data at ``s``, where the step is a likelihood and no divergence.

    >>> table = ppl_gen.noise.uniform(ppl_gen.noise.Geometric(0.5, 1.0), 2)
    >>> ppl_gen.denoisers.bound_weight(table[1], table[2]).item()
    1.5
    """
    return _require_noise((s.snr - t.snr) / 2)


def continuous_bound_weight(noise: Noise, u: Tensor) -> Tensor:
    r""":math:`-\tfrac12 \mathrm{SNR}'(u)`, the limit of many steps (Kingma et al. 2021).

    Raises:
        ValueError: times without noise.

    >>> u = torch.tensor(0.0)
    >>> weight = ppl_gen.denoisers.continuous_bound_weight(ppl_gen.noise.Geometric(1.0, 2.0), u)
    >>> round(weight.item(), 4)
    0.6931
    """
    with torch.enable_grad():
        times = u.detach().to(torch.float64).requires_grad_()
        snr = noise.curve(times).exp()
        (slope,) = torch.autograd.grad(snr.sum(), times)
    return _require_noise(-slope / 2)


def min_snr_weight(level: Level, gamma: float = 5.0) -> Tensor:
    r""":math:`\min(\mathrm{SNR}, \gamma)` (Hang et al. 2023), finite without noise too.

    Raises:
        ValueError: a limit that is not positive.

    >>> table = ppl_gen.noise.uniform(ppl_gen.noise.Geometric(0.1, 1.0), 2)
    >>> ppl_gen.denoisers.min_snr_weight(table).numpy().round(6)
    array([5., 5., 1.])
    """
    if not is_positive(gamma):
        raise ValueError(f"expected a limit above 0, got {gamma!r}")
    return level.snr.clamp(max=gamma)


def preconditioned_weight(level: Level, data_scale: float = 0.5) -> Tensor:
    r""":math:`(\rho^2 + \sigma_d^2) / (\rho \sigma_d)^2` (Karras et al. 2022, table 1).

    The plain squared error of the network inside :class:`Preconditioned`.

    Raises:
        ValueError: a scale that is not positive; no noise.

    >>> level = ppl_gen.noise.Geometric(0.5, 2.0).level(0.0)
    >>> ppl_gen.denoisers.preconditioned_weight(level, 0.5).item()
    8.0
    """
    if not is_positive(data_scale):
        raise ValueError(f"expected a scale of the data above 0, got {data_scale!r}")
    return _require_noise(1 / data_scale**2 + level.snr)


def _require_noise(weight: Tensor) -> Tensor:
    if is_readable(weight) and not bool(weight.isfinite().all()):
        raise ValueError("expected noise at every time, got an infinite weight where there is none")
    return weight
