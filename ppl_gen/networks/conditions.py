r"""What a network of a denoiser is told beside noisy data: the time, and a condition.

A condition reaches the features in one of four ways, :data:`WAYS`, whatever it is:

=============  =================================================================================
``add``        its embedding is added to that of the time
``film``       it scales and shifts the normalised features itself (Perez et al. 2018)
``attention``  features attend to it as to a sequence of tokens (Vaswani et al. 2017)
``channels``   it is concatenated to the noisy data as further channels
=============  =================================================================================
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen._modes import is_readable

WAYS = ("add", "film", "attention", "channels")

# Angular frequencies of the features of time, from slow to fast.
_SLOWEST, _FASTEST, FEATURES = 1.0, 1000.0, 32


class Told(NamedTuple):
    """A time and a condition as blocks see them.

    Attributes:
        time: ``(B, W)``.
        film: a second embedding that scales and shifts, ``(B, W)``.
        tokens: a sequence, ``(B, L, E)``.
        channels: further channels, ``(B, C, ...)``; the sizes after C are those of the data, or 1.
    """

    time: Tensor
    film: Tensor | None = None
    tokens: Tensor | None = None
    channels: Tensor | None = None


class Conditions(nn.Module):
    r"""Times and conditions to what blocks are told.

    Args:
        width: ``W``, of the embedding of times.
        num_classes: the number of labels. Label ``num_classes`` is none of them.
        token_dim: ``E``, of tokens that the network is given.
        channels: the number of channels that it is given.
        inject: the way in which labels reach the features.
        timed: whether the network knows the time; otherwise it always sees time 0.

    Raises:
        ValueError: sizes below zero, several kinds of conditions, an unknown way.
    """

    def __init__(
        self,
        width: int,
        num_classes: int = 0,
        token_dim: int = 0,
        channels: int = 0,
        inject: str = "add",
        timed: bool = True,
    ):
        super().__init__()
        sizes = (num_classes, token_dim, channels)
        if not all(is_whole(size, 0) for size in sizes) or sum(map(bool, sizes)) > 1:
            raise ValueError(
                "expected num_classes, token_dim or channels >= 0, at most one of them above 0, "
                f"got {num_classes!r}, {token_dim!r} and {channels!r}"
            )
        if inject not in WAYS:
            raise ValueError(f"expected a way among {', '.join(WAYS)}, got {inject!r}")
        self.num_classes, self.inject, self.timed = num_classes, inject, bool(timed)
        self.token_dim, self.channels = token_dim, channels
        self.time = nn.Sequential(nn.Linear(2 * FEATURES, width), nn.SiLU())
        self.label = nn.Embedding(num_classes + 1, width) if num_classes else None
        if num_classes and inject == "attention":
            self.token_dim = width
        if num_classes and inject == "channels":
            self.channels = width

    @property
    def film(self) -> bool:
        """Whether a condition scales and shifts beside the time."""
        return bool(self.num_classes) and self.inject == "film"

    def forward(self, x: Tensor, u: Tensor, y: Tensor | None) -> Told:
        time = self.time(waves(u.to(x) if self.timed else torch.zeros_like(u, dtype=x.dtype)))
        if self.label is None:
            return self._given(x, time, y)
        if y is None:
            y = torch.full((len(x),), self.num_classes, device=x.device)
        label = self.label(require_labels(y, self.num_classes))
        if self.inject == "add":
            return Told(time + label)
        if self.inject == "film":
            return Told(time, film=label)
        if self.inject == "attention":
            return Told(time, tokens=label[:, None])
        return Told(time, channels=label.reshape(*label.shape, *[1] * (x.dim() - 2)))

    def _given(self, x: Tensor, time: Tensor, y: Tensor | None) -> Told:
        if self.token_dim:
            return Told(time, tokens=self._require_tokens(x, y))
        if self.channels:
            return Told(time, channels=self._require_channels(x, y))
        if y is not None:
            raise ValueError("expected no labels for a network with num_classes=0")
        return Told(time)

    def _require_tokens(self, x: Tensor, y: Tensor | None) -> Tensor:
        if y is None or y.dim() != 3 or (len(y), y.shape[2]) != (len(x), self.token_dim):
            found = "none" if y is None else tuple(y.shape)
            raise ValueError(
                f"expected tokens of shape ({len(x)}, L, {self.token_dim}), got {found}"
            )
        return y

    def _require_channels(self, x: Tensor, y: Tensor | None) -> Tensor:
        wanted = (len(x), self.channels, *x.shape[2:])
        if y is None:
            return x.new_zeros(wanted)
        if tuple(y.shape) != wanted:
            raise ValueError(f"expected channels of shape {wanted}, got {tuple(y.shape)}")
        return y.to(x)


class Film(nn.Module):
    r""":math:`(1 + \gamma) \odot h + \beta` with scale and shift from what is told.

    Shapes: ``(B, C, ...)`` -> the same.
    """

    def __init__(self, width: int, channels: int, twice: bool = False):
        super().__init__()
        self.time = nn.Linear(width, 2 * channels)
        self.condition = nn.Linear(width, 2 * channels) if twice else None

    def forward(self, h: Tensor, told: Told) -> Tensor:
        moved = self.time(told.time)
        if self.condition is not None:
            assert told.film is not None
            moved = moved + self.condition(told.film)
        scale, shift = moved.reshape(*moved.shape, *[1] * (h.dim() - 2)).chunk(2, 1)
        return h * (1 + scale) + shift


class Attention(nn.Module):
    r"""Positions attend to each other or to tokens, :math:`h + W_o \sum_l a_l W_v s_l` with
    :math:`a = \mathrm{softmax}(W_q h \cdot W_k s / \sqrt d)` (Vaswani et al. 2017).

    Args:
        channels: of the features.
        token_dim: ``E``; 0 for features that attend to each other.
        heads: the number of independent softmaxes.
        everywhere: whether to look further than the own position; without, nothing is compared.

    Shapes: features ``(B, N, C)``, tokens ``(B, L, E)`` -> ``(B, N, C)``; zero at first.
    """

    def __init__(self, channels: int, token_dim: int = 0, heads: int = 4, everywhere: bool = True):
        super().__init__()
        self.heads, self.everywhere = heads, everywhere
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(token_dim or channels, 2 * channels, bias=False)
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, h: Tensor, tokens: Tensor | None = None) -> Tensor:
        key, value = self.key_value(h if tokens is None else tokens).chunk(2, -1)
        if not self.everywhere:
            return self.out(value)
        query, key, value = (self._split(part) for part in (self.query(h), key, value))
        compared = query @ key.mT / math.sqrt(query.shape[-1])
        return self.out((compared.softmax(-1) @ value).transpose(1, 2).flatten(2))

    def _split(self, h: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, heads, N, C / heads)``."""
        return h.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def waves(u: Tensor) -> Tensor:
    """Sines and cosines of times ``(B,)``, ``(B, 2 * FEATURES)``."""
    powers = torch.linspace(math.log(_SLOWEST), math.log(_FASTEST), FEATURES).to(u)
    angles = u[:, None] * powers.exp()
    return torch.cat([angles.sin(), angles.cos()], -1)


def require_labels(y: Tensor, num_classes: int) -> Tensor:
    """The labels, or ``ValueError`` where one is unknown or no whole number."""
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"expected labels as whole numbers, got {y.dtype}")
    if is_readable(y) and not bool(((y >= 0) & (y <= num_classes)).all()):
        raise ValueError(f"expected labels from 0 to {num_classes}, the last for none, got {y}")
    return y


def zero(layer: nn.Module) -> nn.Module:
    """A layer with weights and biases of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
