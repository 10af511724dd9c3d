r"""A residual network for denoisers, told the time in every block."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ppl_gen._checks import is_whole, require_shape
from ppl_gen.networks.conditions import Attention, Conditions, Film, Told, zero
from ppl_gen.networks.plain import Shape


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
        token_dim: the size ``E`` of tokens ``(B, L, E)``, to which every block attends, in place
            of labels.
        outputs: how many values for a value of the data, 2 beside learned variances.

    Shapes: data ``(B, *data_shape)``, times ``(B,)``, labels ``(B,)`` or tokens ``(B, L, E)`` ->
    ``(B, outputs * C, ...)`` for data ``(C, ...)``.

    Raises:
        ValueError: sizes below one; data of another shape; labels where it has none or outside
            0 … ``num_classes``; no tokens, or of another size.

    >>> network = ppl_gen.networks.ResidualMLP((2,), hidden=16, num_classes=3)
    >>> denoiser = ppl_gen.denoisers.Denoiser(network, ppl_gen.noise.Cosine(), "velocity")
    >>> denoiser(torch.ones(5, 2), torch.tensor(0.5), torch.tensor([0, 1, 2, 3, 3])).value.sum()
    tensor(0., grad_fn=<SumBackward0>)
    """

    def __init__(
        self,
        data_shape: Shape,
        hidden: int = 256,
        blocks: int = 3,
        num_classes: int = 0,
        token_dim: int = 0,
        outputs: int = 1,
    ):
        super().__init__()
        self.data_shape = require_shape(data_shape)
        if not all(is_whole(n, 1) for n in (hidden, blocks, outputs)) or not is_whole(
            num_classes, 0
        ):
            raise ValueError(
                "expected hidden >= 1, blocks >= 1, outputs >= 1 and num_classes >= 0, "
                f"got {hidden!r}, {blocks!r}, {outputs!r} and {num_classes!r}"
            )
        self.num_classes, size = num_classes, math.prod(self.data_shape)
        self.conditions = Conditions(hidden, num_classes, token_dim)
        self.stem = nn.Linear(size, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, token_dim) for _ in range(blocks))
        self.head = nn.Sequential(nn.LayerNorm(hidden), zero(nn.Linear(hidden, outputs * size)))

    def forward(self, x: Tensor, u: Tensor, y: Tensor | None = None) -> Tensor:
        if tuple(x.shape[1:]) != self.data_shape:
            raise ValueError(f"expected data of shape {self.data_shape}, got {tuple(x.shape[1:])}")
        h, told = self.stem(x.flatten(1)), self.conditions(x, u, y)
        for block in self.blocks:
            h = block(h, told)
        return self.head(h).reshape(len(x), -1, *self.data_shape[1:])


class _Block(nn.Module):
    def __init__(self, hidden: int, token_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.first, self.last = nn.Linear(hidden, hidden), zero(nn.Linear(hidden, hidden))
        self.film = Film(hidden, hidden)
        self.tokens = Attention(hidden, token_dim, _heads(hidden)) if token_dim else None

    def forward(self, h: Tensor, told: Told) -> Tensor:
        bar = self.norm(h)
        inner = self.film(self.first(bar), told)
        if self.tokens is not None:
            h = h + self.tokens(bar[:, None], told.tokens)[:, 0]
        return h + self.last(nn.functional.silu(inner))


def _heads(hidden: int) -> int:
    return math.gcd(hidden, 4)
