"""What every denoiser is."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from ppl_gen._checks import require_shape
from ppl_gen.denoisers.prediction import Prediction
from ppl_gen.networks import Shape
from ppl_gen.noise import Noise
from ppl_gen.noise.kinds import require_schedule


class DenoiserBase(nn.Module):
    r"""A module ``(x, u, y=None) -> Prediction``, for one noise schedule.

    Args:
        noise: the schedule.
        data_shape: the shape of a datum, where it is known.

    Shapes: noisy data ``(B, ...)``, times ``()`` or ``(B,)``, conditions ``(B, ...)``.

    Raises:
        ValueError: a schedule that is none or whose noise does not rise, a shape that is none.

    >>> class Nothing(ppl_gen.denoisers.DenoiserBase):
    ...     def forward(self, x, u, y=None):
    ...         level, zero = self.noise.level(u), torch.zeros_like(x)
    ...         return ppl_gen.denoisers.Prediction("data", zero, x, level)
    >>> denoiser = Nothing(ppl_gen.noise.Linear(), (2,))
    >>> denoiser(torch.ones(1, 2), torch.tensor(0.5)).data, denoiser.data_shape
    (tensor([[0., 0.]]), (2,))
    """

    def __init__(self, noise: Noise, data_shape: Shape | None = None):
        super().__init__()
        self.noise = require_schedule(noise)
        self.data_shape = None if data_shape is None else require_shape(data_shape)

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        raise NotImplementedError

    @property
    def like(self) -> Tensor:
        """A tensor of the type and on the device that the denoiser computes with."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))
