r"""A residual network for denoisers, told the time in every block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_whole, require_shape
from ppl_gen._modes import is_readable
from ppl_gen.networks.plain import Shape

# Angular frequencies of the features of time, from slow to fast.
_SLOWEST, _FASTEST, _FEATURES = 1.0, 1000.0, 32


class ResidualMLP(nn.Module):
    r"""Blocks :math:`h + W_2\, \phi(\gamma \odot W_1 \bar h + \beta)`, given a time.

    :math:`\bar h` is normalised, and scale :math:`\gamma` and shift :math:`\beta` come from the
    time and the label in every block (Perez et al. 2018, "FiLM"). Times enter as sines and cosines
    (Vaswani et al. 2017). The last layer of each block and of the network is zero at first, so the
    untrained network gives zeros.

    Args:
        data_shape: the shape of a datum.
        hidden: the width of the blocks.
        blocks: how many.
        num_classes: the number of labels, 0 for none. Label ``num_classes`` is none of them, for
            guidance, and what is used where no label is given.

    Shapes: data ``(B, *data_shape)``, times ``(B,)``, labels ``(B,)`` -> ``(B, *data_shape)``.

    Raises:
        ValueError: sizes below one; data of another shape; labels where it has none or outside
            0 … ``num_classes``.

    >>> network = ppl_gen.networks.ResidualMLP((2,), hidden=16, num_classes=3)
    >>> denoiser = ppl_gen.denoisers.Denoiser(network, ppl_gen.noise.Cosine(), "velocity")
    >>> denoiser(torch.ones(5, 2), torch.tensor(0.5), torch.tensor([0, 1, 2, 3, 3])).value.sum()
    tensor(0., grad_fn=<SumBackward0>)
    """

    def __init__(self, data_shape: Shape, hidden: int = 256, blocks: int = 3, num_classes: int = 0):
        super().__init__()
        self.data_shape = require_shape(data_shape)
        if not (is_whole(hidden, 1) and is_whole(blocks, 1) and is_whole(num_classes, 0)):
            raise ValueError(
                "expected hidden >= 1, blocks >= 1 and num_classes >= 0, "
                f"got {hidden!r}, {blocks!r} and {num_classes!r}"
            )
        self.num_classes, size = num_classes, math.prod(self.data_shape)
        self.time = nn.Sequential(nn.Linear(2 * _FEATURES, hidden), nn.SiLU())
        self.label = nn.Embedding(num_classes + 1, hidden) if num_classes else None
        self.stem = nn.Linear(size, hidden)
        self.blocks = nn.ModuleList(_Block(hidden) for _ in range(blocks))
        self.head = nn.Sequential(nn.LayerNorm(hidden), _zero(nn.Linear(hidden, size)))

    def forward(self, x: Tensor, u: Tensor, y: Tensor | None = None) -> Tensor:
        if tuple(x.shape[1:]) != self.data_shape:
            raise ValueError(f"expected data of shape {self.data_shape}, got {tuple(x.shape[1:])}")
        told = self.time(_waves(u)) + self._labels(y, x)
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = block(h, told)
        return self.head(h).reshape(x.shape)

    def _labels(self, y: Tensor | None, x: Tensor) -> Tensor | float:
        if self.label is None:
            if y is not None:
                raise ValueError("expected no labels for a network with num_classes=0")
            return 0.0
        if y is None:
            y = torch.full((len(x),), self.num_classes, device=x.device)
        return self.label(_require_labels(y, self.num_classes))


class _Block(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.first, self.last = nn.Linear(hidden, hidden), _zero(nn.Linear(hidden, hidden))
        self.film = nn.Linear(hidden, 2 * hidden)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.film(told).chunk(2, -1)
        inner = self.first(self.norm(h)) * (1 + scale) + shift
        return h + self.last(nn.functional.silu(inner))


def _waves(u: Tensor) -> Tensor:
    """Sines and cosines of times ``(B,)``, ``(B, 2 * _FEATURES)``."""
    powers = torch.linspace(math.log(_SLOWEST), math.log(_FASTEST), _FEATURES).to(u)
    angles = u[:, None] * powers.exp()
    return torch.cat([angles.sin(), angles.cos()], -1)


def _require_labels(y: Tensor, num_classes: int) -> Tensor:
    if is_readable(y) and not bool(((y >= 0) & (y <= num_classes)).all()):
        raise ValueError(f"expected labels from 0 to {num_classes}, the last for none, got {y}")
    return y


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
