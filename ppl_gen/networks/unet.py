r"""A U-Net for denoisers of images, told the time in every block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen.networks.conditions import Attention, Conditions, Film, Told, zero
from ppl_gen.networks.plain import Shape

# Groups of channels, and the size of the embedding of times.
GROUPS, TOLD = 8, 112


class UNet(nn.Module):
    r"""Convolutions from fine to coarse and back, with skips between equal scales.

    (Ronneberger et al. 2015; for diffusion Ho et al. 2020.) Images enter as patches, whose pixels
    become channels, and leave so: most of the cost of a U-Net is at its finest scale. Every block
    is :math:`h + W_2 * \phi(\gamma \odot \overline{W_1 * \phi(\bar h)} + \beta)` with normalised
    :math:`\bar h` (Wu and He 2018) and :math:`\gamma, \beta` from the time and the condition;
    features of the coarsest scale attend to each other, and to tokens where there are. The last
    layer of each block and of the network is zero at first, so the untrained network gives zeros.
    Sizes that a patch or the coarsest scale does not divide are padded, and cropped in the end.

    Args:
        data_shape: ``(C, H, W)``.
        widths: the channels of each scale, each half as fine as the one before; multiples of 8.
        blocks: how many at each scale, on each way.
        patch: the side of a patch.
        outputs: how many values for a value of the data, 2 beside learned variances.
        num_classes: the number of labels, 0 for none. Label ``num_classes`` is none of them, for
            guidance, and what is used where no label is given.
        token_dim: the size ``E`` of tokens ``(B, L, E)``, in place of labels.
        channels: the number of channels of images ``(B, channels, H, W)``, in place of labels;
            zeros where none are given.
        inject: how labels reach the features: ``"add"`` to the embedding of the time, ``"film"``,
            ``"attention"``, ``"channels"``.
        skips: concatenate what the way down had at each scale; without, the way up sees its own
            features twice.
        timed: know the time; without, always see time 0.
        attend: attend to other positions; without, each to itself.
        normalize: normalise by groups of channels.

    The last four leave the number of parameters as it is, to within 2 %, so that each can be
    left out alone.

    Shapes: data ``(B, C, H, W)``, times ``(B,)``, conditions -> ``(B, outputs * C, H, W)``.

    Raises:
        ValueError: data that are no images, widths that are no multiples of 8, other sizes below
            one; data of another shape; conditions of another kind, or unknown labels.

    >>> network = ppl_gen.networks.UNet((1, 9, 9), (8, 16), num_classes=10)
    >>> denoiser = ppl_gen.denoisers.Denoiser(network, ppl_gen.noise.Cosine(), "noise")
    >>> x, y = torch.randn(4, 1, 9, 9), torch.tensor([3, 4, 5, 10])
    >>> denoiser(x, torch.tensor(0.5), y).noise.shape
    torch.Size([4, 1, 9, 9])
    """

    def __init__(
        self,
        data_shape: Shape = (1, 28, 28),
        widths: Sequence[int] = (32, 64),
        blocks: int = 1,
        patch: int = 2,
        *,
        outputs: int = 1,
        num_classes: int = 0,
        token_dim: int = 0,
        channels: int = 0,
        inject: str = "add",
        skips: bool = True,
        timed: bool = True,
        attend: bool = True,
        normalize: bool = True,
    ):
        super().__init__()
        self.data_shape, widths = _require_image(data_shape), _require_widths(widths)
        if not (is_whole(blocks, 1) and is_whole(patch, 1) and is_whole(outputs, 1)):
            raise ValueError(
                "expected blocks >= 1, patch >= 1 and outputs >= 1, "
                f"got {blocks!r}, {patch!r} and {outputs!r}"
            )
        self.num_classes, self.skips = num_classes, bool(skips)
        self.unit = patch * 2 ** (len(widths) - 1)
        self.conditions = Conditions(TOLD, num_classes, token_dim, channels, inject, timed)
        depth, size = self.data_shape[0], patch**2
        self.patches, self.pixels = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        entering = (depth + self.conditions.channels) * size
        self.stem = nn.Conv2d(entering, widths[0], 3, padding=1)

        def block(before: int, after: int) -> _Block:
            return _Block(before, after, self.conditions.film, normalize)

        now = widths[0]
        down, up = [], []
        for level, width in enumerate(widths):
            coarser = nn.Conv2d(now, now, 3, 2, 1) if level else nn.Identity()
            down.append(
                _Scale(coarser, [block(now if not i else width, width) for i in range(blocks)])
            )
            finer = nn.Conv2d(width, now, 3, padding=1) if level else nn.Identity()
            up.append(_Scale(finer, [block(2 * width, width) for _ in range(blocks)]))
            now = width
        self.down = cast(Sequence[_Scale], nn.ModuleList(down))
        self.up = cast(Sequence[_Scale], nn.ModuleList(up[::-1]))
        self.middle = block(now, now)
        self.attention = _Look(now, self.conditions.token_dim, attend, normalize)
        self.norm = _norm(widths[0], normalize)
        self.head = zero(nn.Conv2d(widths[0], outputs * depth * size, 3, padding=1))
        whole: Any = self  # types of `to` leave its memory format out
        whole.to(memory_format=torch.channels_last)  # a step takes 7 to 14 % less on CPUs

    def forward(self, x: Tensor, u: Tensor, y: Tensor | None = None) -> Tensor:
        if tuple(x.shape[1:]) != self.data_shape:
            raise ValueError(f"expected data of shape {self.data_shape}, got {tuple(x.shape[1:])}")
        told = self.conditions(x, u, y)
        h = self.stem(self.patches(self._padded(_beside(x, told.channels))))
        kept = []
        for scale in self.down:
            h = scale.resize(h)
            for block in scale.blocks:
                h = block(h, told)
                kept.append(h)
        h = self.attention(self.middle(h, told), told)
        for scale in self.up:
            for block in scale.blocks:
                own = kept.pop()
                h = block(torch.cat([h, own if self.skips else h], 1), told)
            h = scale.resize(_doubled(h) if kept else h)
        h = self.pixels(self.head(nn.functional.silu(self.norm(h))))
        return h[..., : x.shape[-2], : x.shape[-1]]

    def _padded(self, x: Tensor) -> Tensor:
        rows, columns = (-size % self.unit for size in x.shape[-2:])
        return nn.functional.pad(x, (0, columns, 0, rows)) if rows or columns else x


class _Scale(nn.Module):
    resize: nn.Module

    def __init__(self, resize: nn.Module, blocks: Sequence[nn.Module]):
        super().__init__()
        self.resize, self.blocks = resize, cast(Sequence[nn.Module], nn.ModuleList(blocks))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, film: bool, normalize: bool):
        super().__init__()
        self.norms = nn.ModuleList([_norm(before, normalize), _norm(after, normalize)])
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.last = zero(nn.Conv2d(after, after, 3, padding=1))
        self.film = Film(TOLD, after, film)
        self.carry = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, h: Tensor, told: Told) -> Tensor:
        inner = self.norms[1](self.first(nn.functional.silu(self.norms[0](h))))
        return self.carry(h) + self.last(nn.functional.silu(self.film(inner, told)))


class _Look(nn.Module):
    """Positions attend to each other, then to tokens."""

    def __init__(self, channels: int, token_dim: int, attend: bool, normalize: bool):
        super().__init__()
        self.norm = _norm(channels, normalize)
        self.positions = Attention(channels, everywhere=attend)
        self.tokens = Attention(channels, token_dim) if token_dim else None

    def forward(self, h: Tensor, told: Told) -> Tensor:
        rows = self.norm(h).flatten(2).mT
        found = self.positions(rows)
        if self.tokens is not None:
            found = found + self.tokens(rows, told.tokens)
        return h + found.mT.reshape(h.shape)


def _norm(channels: int, normalize: bool) -> nn.Module:
    return nn.GroupNorm(GROUPS, channels) if normalize else nn.Identity()


def _doubled(h: Tensor) -> Tensor:
    return nn.functional.interpolate(h, scale_factor=2.0, mode="nearest")


def _beside(x: Tensor, channels: Tensor | None) -> Tensor:
    if channels is None:
        return x
    return torch.cat([x, channels.expand(*channels.shape[:2], *x.shape[2:])], 1)


def _require_image(shape: Shape) -> Shape:
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sizes) != 3 or not all(is_whole(size, 1) for size in sizes):
        raise ValueError(f"expected images (C, H, W), got data of shape {shape}")
    return sizes


def _require_widths(widths: Sequence[int]) -> tuple[int, ...]:
    found = tuple(widths) if isinstance(widths, Sequence) else ()
    if not found or not all(is_whole(width, GROUPS) and not width % GROUPS for width in found):
        raise ValueError(f"expected widths that are multiples of {GROUPS}, got {widths!r}")
    return found
