r"""Denoisers made of denoisers: guided towards a condition, clipped to the range of the data."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from ppl_gen._checks import is_finite, is_whole
from ppl_gen.denoisers.base import DenoiserBase
from ppl_gen.denoisers.prediction import Prediction


class Clipped(DenoiserBase):
    """Predicted data kept in the range of the data, for pixels; latents have none.

    Guide first, then clip: ``Clipped(Guided(denoiser, weight))``.

    Args:
        denoiser: any denoiser.
        low: the least value of the data.
        high: the largest.

    Raises:
        ValueError: a range that is none.

    >>> noise = ppl_gen.noise.Cosine()
    >>> data = ppl_gen.denoisers.Gaussian(noise, torch.zeros(1), torch.ones(1))
    >>> clipped = ppl_gen.denoisers.Clipped(data, -1.0, 1.0)
    >>> clipped(torch.tensor([[9.0]]), torch.tensor(0.5)).data
    tensor([[1.]])
    """

    def __init__(self, denoiser: DenoiserBase, low: float = -1.0, high: float = 1.0):
        super().__init__(_require_denoiser(denoiser).noise, denoiser.data_shape)
        if not (is_finite(low, high) and low < high):
            raise ValueError(f"expected a range low < high, got {low!r} and {high!r}")
        self.denoiser, self.low, self.high = denoiser, float(low), float(high)

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        found = self.denoiser(x, u, y)
        data = found.data.clamp(self.low, self.high)
        return Prediction("data", data, x, found.level, found.fraction)


class Guided(DenoiserBase):
    r"""Guidance without a classifier (Ho and Salimans 2022).

    .. math:: \tilde\epsilon = \hat\epsilon(\varnothing) + w \,(\hat\epsilon(y) -
        \hat\epsilon(\varnothing)),

    so :math:`w = 0` is unconditional, :math:`w = 1` conditional, and larger weights sharpen. (Ho
    and Salimans write our :math:`w - 1`.) The same line holds for data, velocity and score. What
    comes out is not drawn from :math:`p(x \mid y)\, p(y \mid x)^{w - 1}`: noise and guidance do not
    commute.

    Args:
        denoiser: a denoiser that was trained with and without conditions.
        weight: :math:`w`.
        null: the condition that stands for none: the label, ``num_classes`` by custom, or a tensor
            of the shape of one condition. By default ``denoiser.num_classes``.

    Raises:
        ValueError: a weight that is not finite; no null; a clipped denoiser, since clipping comes
            last; no condition for a weight other than 0.

    >>> noise, modes = ppl_gen.noise.Cosine(), torch.tensor([[-1.0], [1.0]])
    >>> data = ppl_gen.denoisers.Mixture(noise, torch.ones(2), modes, 0.01 * torch.ones(2, 1))
    >>> guided = ppl_gen.denoisers.Guided(data, 2.0)
    >>> guided(torch.zeros(1, 1), torch.tensor(0.5), torch.tensor([1])).data.round(decimals=2)
    tensor([[1.9800]])
    """

    def __init__(self, denoiser: DenoiserBase, weight: float, null: int | Tensor | None = None):
        super().__init__(_require_denoiser(denoiser).noise, denoiser.data_shape)
        if not is_finite(weight):
            raise ValueError(f"expected a finite guidance weight, got {weight!r}")
        if any(isinstance(part, Clipped) for part in denoiser.modules()):
            raise ValueError("expected guidance before clipping, Clipped(Guided(denoiser, weight))")
        null = getattr(denoiser, "num_classes", None) if null is None else null
        if not (is_whole(null, 0) or isinstance(null, Tensor)):
            raise ValueError(f"expected null, the condition that stands for none, got {null!r}")
        self.denoiser, self.weight, self.null = denoiser, float(weight), null

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        if self.weight == 1:
            return self.denoiser(x, u, _require_condition(y))
        if self.weight == 0:
            return self.denoiser(x, u, self._nothing(len(x), x.device))
        return self._mixed(x, u, _require_condition(y))

    def _mixed(self, x: Tensor, u: Tensor, y: Any) -> Prediction:
        y, level = torch.as_tensor(y, device=x.device), self.noise.level(u)
        both = torch.cat([self._nothing(len(x), x.device), y])
        found = self.denoiser(
            torch.cat([x, x]), level.u.repeat(2) if level.u.dim() else level.u, both
        )
        without, given = found.value.chunk(2)
        value = without + self.weight * (given - without)
        fraction = None if found.fraction is None else found.fraction.chunk(2)[1]
        return Prediction(found.kind, value, x, level, fraction)

    def _nothing(self, size: int, device: torch.device) -> Tensor:
        if isinstance(self.null, Tensor):
            null = self.null.to(device)
            return null.expand(size, *null.shape)
        return torch.full((size,), cast(int, self.null), device=device)


def _require_denoiser(denoiser: Any) -> DenoiserBase:
    if not isinstance(denoiser, DenoiserBase):
        raise ValueError(f"expected a denoiser, got {denoiser!r}")
    return denoiser


def _require_condition(y: Any) -> Any:
    if y is None:
        raise ValueError("expected conditions y to guide towards, got None")
    return y
