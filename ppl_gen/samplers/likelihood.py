r"""The likelihood of data by the probability flow, a continuous change of variables."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from ppl_gen._checks import is_whole
from ppl_gen._modes import evaluating
from ppl_gen.denoisers import DenoiserBase
from ppl_gen.noise import Level, Noise, PowerGrid
from ppl_gen.noise.grids import Grid
from ppl_gen.samplers.base import conditions_of
from ppl_gen.samplers.streams import Seed, Streams, keys_of

# Up to this many dimensions the trace is exact.
EXACT = 64

# Derivatives are taken of this many rows at once, a row for each datum and direction.
_ROWS = 8192


def log_likelihood(
    denoiser: DenoiserBase,
    x: Tensor,
    y: Any = None,
    *,
    steps: int = 48,
    grid: Grid | None = None,
    probes: int | None = None,
    seed: Seed = 0,
) -> Tensor:
    r""":math:`\log p(x)` of the probability flow from noise to data, in nats, ``(B,)``.

    With :math:`y = x / \alpha` and :math:`\rho = \sigma / \alpha` the flow is
    :math:`dy / d\rho = \hat\epsilon`, so that

    .. math:: \log p(x) = \log \mathcal N(y_{\max}; 0, s^2 I) + \int_{\rho_{\min}}^{\rho_{\max}}
        \operatorname{tr} \frac{\partial \hat\epsilon}{\partial y}\, d\rho

    with the Gaussian that a sampler starts from (Chen et al. 2018, theorem 1; Song et al. 2021b,
    eq. 39). The flow is followed by the fourth-order method of Runge and Kutta, and the trace is
    integrated by Simpson's rule, so that the error is of fourth order in the steps. The middle of a
    step, where Simpson's rule needs the flow too, is that of the cubic through the values and
    slopes at its ends, whose error is of this order as well. The trace is exact up to 64
    dimensions, a derivative for each; beyond, it is estimated without bias by :math:`v^\top
    \frac{\partial \hat\epsilon}{\partial y} v` for random signs :math:`v` (Hutchinson 1990), one
    draw for the whole path (Grathwohl et al. 2019).

    What is found is the density of data that carry the least noise of the grid. It is a density:
    of grey levels, add noise that is uniform over a level, and as many times the logarithm of the
    width of a level as there are pixels.

    Args:
        denoiser: any, exact, trained or guided; in evaluation mode meanwhile.
        x: data ``(B, ...)``.
        y: conditions ``(B, ...)``, or one label for all.
        steps: the noise levels that are visited, with two traces and three more calls of the
            denoiser from each to the next.
        grid: as for samplers, :class:`ppl_gen.noise.PowerGrid` by default; its clean level is left
            out.
        probes: the number of random directions; ``None`` for the exact trace, or one direction
            beyond 64 dimensions.
        seed: of these directions, as for :meth:`Sampler.sample`.

    Returns:
        Detached values in double precision.

    Raises:
        ValueError: data of another shape than the denoiser's or not finite, less than two steps or
            one probe, a grid that ends without signal.

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.EDM(), torch.zeros(2), 1.0)
    >>> x = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    >>> found = ppl_gen.samplers.log_likelihood(data, x)
    >>> found.round(decimals=2), data.marginal(0.0).log_prob(x).round(decimals=2)
    (tensor([-1.8400, -2.8400], dtype=torch.float64), tensor([-1.8400, -2.8400]))
    """
    y = conditions_of(y, len(_require_data(denoiser, x)))
    if not is_whole(steps, 2) or not (probes is None or is_whole(probes, 1)):
        raise ValueError(f"expected steps >= 2 and probes >= 1, got {steps!r} and {probes!r}")
    levels = (PowerGrid() if grid is None else grid)(denoiser.noise, steps)[1:]
    if not bool((levels.alpha > 0).all()):
        raise ValueError("expected a grid with signal everywhere, alpha > 0, such as a PowerGrid")
    size, keys, parts = math.prod(x.shape[1:]), keys_of(seed, len(x)), []
    exact = probes is None and size <= EXACT
    directions = size if exact else probes or 1
    rows = max(1, _ROWS // directions)
    with evaluating(denoiser):
        for part in (slice(first, first + rows) for first in range(0, len(x), rows)):
            if exact:
                vectors = torch.eye(size).to(x)[:, None].expand(-1, len(x[part]), -1)
            else:
                signs = Streams(keys[part], (directions, size), x).normal().sign()
                vectors = signs.transpose(0, 1) / directions**0.5
            vectors = vectors.reshape(directions, *x[part].shape)
            field = _Field(denoiser, None if y is None else y[part].to(x.device), vectors)
            parts.append(_integral(field, x[part].detach(), levels))
    return torch.cat(parts) if parts else x.new_zeros(0, dtype=torch.float64)


class _Field:
    """The flow's slope, and the sum of ``v J v`` over vectors ``(K, B, ...)``."""

    def __init__(self, denoiser: DenoiserBase, y: Tensor | None, vectors: Tensor):
        self.denoiser, self.y, self.vectors = denoiser, y, vectors

    def slope(self, z: Tensor, level: Level) -> Tensor:
        return self.denoiser(level.alpha * z, level.u.to(z.device), self.y).noise

    def with_divergence(self, z: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            slope = self.slope(z, level)
        (moved,) = torch.autograd.grad(slope, z, self.vectors, is_grads_batched=True)
        return slope.detach(), (moved * self.vectors).flatten(2).sum(-1).double().sum(0)


@torch.no_grad()
def _integral(field: _Field, z: Tensor, levels: Level) -> Tensor:
    slope, divergence = field.with_divergence(z, levels[0])
    found = torch.zeros_like(divergence)
    for s, t in pairwise(levels[i] for i in range(len(levels))):
        middle, long = _between(field.denoiser.noise, s, t), t.rho - s.rho
        second = field.slope(z + long / 2 * slope, middle)
        third = field.slope(z + long / 2 * second, middle)
        fourth = field.slope(z + long * third, t)
        end = z + long / 6 * (slope + 2 * (second + third) + fourth)
        at_end, after = field.with_divergence(end, t)
        halfway = (z + end) / 2 + long / 8 * (slope - at_end)
        found = found + long / 6 * (
            divergence + 4 * field.with_divergence(halfway, middle)[1] + after
        )
        z, slope, divergence = end, at_end, after
    last = levels[len(levels) - 1]
    start = Normal(0.0, field.denoiser.noise.prior_scale(last) / last.alpha)
    return found + start.log_prob(z.double()).flatten(1).sum(1)


def _between(noise: Noise, s: Level, t: Level) -> Level:
    """The level whose noise :math:`\\rho` is halfway."""
    return noise.level(noise.time(-2 * ((s.rho + t.rho) / 2).log()))


def _require_data(denoiser: DenoiserBase, x: Tensor) -> Tensor:
    if not isinstance(denoiser, DenoiserBase):
        raise ValueError(f"expected a denoiser of ppl_gen.denoisers, got {denoiser!r}")
    known = denoiser.data_shape
    if not isinstance(x, Tensor) or x.dim() < 2 or not x.is_floating_point():
        raise ValueError(f"expected data (B, ...) in floating point, got {x!r}")
    if known is not None and tuple(x.shape[1:]) != known:
        raise ValueError(f"expected data of shape {known}, got {tuple(x.shape[1:])}")
    if not x.isfinite().all():
        raise ValueError("expected data without NaN or infinity")
    return x
