r"""Networks that tell data from fakes, and how samples are shown to them.

A critic maps samples ``(B, *data_shape)`` to logits ``(B, K)``, one for each of K heads. Wrappers
nest: each shows its critic something else than the samples as they are, data and fakes alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_finite, is_whole
from ppl_gen.networks import Shape
from ppl_gen.schedules import Constant, Schedule


class Critic(nn.Module):
    """Heads on the features of one body.

    Args:
        body: a module from samples to features ``(B, F)``.
        features: ``F``.
        heads: ``K``.

    Raises:
        ValueError: numbers of features or heads below one.

    >>> body = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.LeakyReLU(0.2))
    >>> critic = ppl_gen.critics.Critic(body, 16, heads=4)
    >>> critic(torch.zeros(5, 2)).shape, critic.features(torch.zeros(5, 2)).shape
    (torch.Size([5, 4]), torch.Size([5, 16]))
    """

    def __init__(self, body: nn.Module, features: int, heads: int = 1):
        super().__init__()
        if not is_whole(features, 1) or not is_whole(heads, 1):
            raise ValueError(f"expected one feature and head or more, got {features} and {heads}")
        self.body, self.head = body, nn.Linear(features, heads)

    def features(self, x: Tensor) -> Tensor:
        """The features ``(B, F)`` of samples."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Noisy(nn.Module):
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
        super().__init__()
        if not isinstance(scale, Schedule) and not (is_finite(scale) and scale >= 0):
            raise ValueError(f"expected a scale of zero or more or a Schedule, got {scale!r}")
        self.critic = critic
        self.scale = scale if isinstance(scale, Schedule) else Constant(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.critic(x + self.scale.value.to(x.dtype) * torch.randn_like(x))


class Packed(nn.Module):
    """A critic of several samples at once, which sees their variety (Lin et al. 2018, PacGAN).

    Images are stacked along their channels, and rows are put one after the other. What is left
    over where the number of samples is no multiple is not looked at.

    Args:
        critic: of packs, samples of :func:`packed_shape`.
        size: the number of samples in a pack.

    Raises:
        ValueError: a size below one; when called, fewer samples than a pack.

    >>> shape = ppl_gen.critics.packed_shape((2,), 3)
    >>> packed = ppl_gen.critics.Packed(ppl_gen.networks.MLP([shape], [16], (1,)), 3)
    >>> packed(torch.zeros(7, 2)).shape
    torch.Size([2, 1])
    """

    def __init__(self, critic: nn.Module, size: int):
        super().__init__()
        self.critic, self.size = critic, _pack_size(size)

    def forward(self, x: Tensor) -> Tensor:
        packs = len(x) // self.size
        if not packs:
            raise ValueError(
                f"expected samples for a pack of {self.size}, got {len(x)}: drop_last=True leaves "
                "short batches out"
            )
        shape = packed_shape(tuple(x.shape[1:]), self.size)
        return self.critic(x[: packs * self.size].reshape(packs, *shape))


def packed_shape(data_shape: Shape, size: int) -> Shape:
    """The shape of a pack of so many samples.

    >>> ppl_gen.critics.packed_shape((3, 28, 28), 2)
    (6, 28, 28)
    """
    return (data_shape[0] * _pack_size(size), *data_shape[1:])


def _pack_size(size: Any) -> int:
    if not is_whole(size, 1):
        raise ValueError(f"expected one sample or more in a pack, got {size!r}")
    return int(size)
