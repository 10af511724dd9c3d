"""Instance noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_finite
from ppl_gen.critics.wrapper import Wrapper
from ppl_gen.schedules import Constant, Schedule


class Noisy(Wrapper):
    r"""A critic of samples blurred by :math:`N(0, \sigma^2)`, fresh noise in every look.

    The laws that are compared overlap then, however far apart they are (Sønderby et al. 2017;
    Arjovsky and Bottou 2017). Annealed to zero, the noise leaves the optimum where it was.

    Args:
        critic: of the blurred samples.
        scale: σ, or a schedule of it, which a game advances by one in every batch.

    Raises:
        ValueError: a σ below zero.

    >>> fading = ppl_gen.schedules.WarmUp(1000, 0.5, 0.0)
    >>> blurred = ppl_gen.critics.Noisy(torch.nn.Linear(2, 1), fading)
    >>> blurred(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(self, critic: nn.Module, scale: float | Schedule):
        super().__init__(critic)
        if not isinstance(scale, Schedule) and not (is_finite(scale) and scale >= 0):
            raise ValueError(f"expected a scale of zero or more or a Schedule, got {scale!r}")
        self.silent = not isinstance(scale, Schedule) and scale == 0  # no draws are made then
        self.scale = scale if isinstance(scale, Schedule) else Constant(scale)

    def show(self, x: Tensor) -> Tensor:
        if self.silent:
            return x
        return x + self.scale.value.to(x.dtype) * torch.randn_like(x)
