"""Networks from images to images of the same size, for cycles."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen.networks.plain import MLP, Shape, Widths, _require_image, widths
from ppl_gen.networks.shuffled import _draw, game_network


class Translator(nn.Module):
    """Convolutions at half the size between one that halves and a pixel shuffle that doubles.

    After Johnson, Alahi and Fei-Fei (2016), whose network CycleGAN took: residual blocks of two 3×3
    convolutions, each normalised over every image by itself. Images are expected in [0, 1] and
    centred; an image with an odd side stays as large as it is.

    Args:
        image: ``(C, H, W)``, with at least two pixels a side.
        channels: after the first convolution, twice as many inside.
        blocks: residual blocks.

    Raises:
        ValueError: data that are no images, or channels or blocks below one.

    Shapes: ``(B, C, H, W)`` -> ``(B, C, H, W)``, of any range.

    >>> network = ppl_gen.networks.Translator((1, 8, 8), channels=4, blocks=1)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(self, image: Shape, channels: int = 16, blocks: int = 2):
        super().__init__()
        depth, height, width = _require_image(image)
        if not is_whole(channels, 1) or not is_whole(blocks, 1) or min(height, width) < 2:
            raise ValueError(
                f"expected channels, blocks >= 1 and images of two pixels a side or more, got "
                f"{channels!r}, {blocks!r} and {height}×{width}"
            )
        inner, scale = 2 * channels, 1 if height % 2 or width % 2 else 2
        norm = partial(nn.InstanceNorm2d, affine=True)
        down = 4 if scale == 2 else 3
        self.layers = nn.Sequential(
            nn.Conv2d(depth, channels, 5, padding=2), norm(channels), nn.ReLU(),
            nn.Conv2d(channels, inner, down, stride=scale, padding=1), norm(inner), nn.ReLU(),
            *(Residual(inner, norm) for _ in range(blocks)),
            nn.Conv2d(inner, scale**2 * channels, 3, padding=1), nn.PixelShuffle(scale),
            norm(channels), nn.ReLU(),
            nn.Conv2d(channels, depth, 5, padding=2),
        )  # fmt: skip
        self.apply(_draw)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(2 * x - 1)


class Residual(nn.Module):
    """An image of features and a correction of it by two convolutions."""

    def __init__(self, channels: int, norm: partial[nn.InstanceNorm2d]):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), norm(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), norm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def translating(kind: str, data_shape: Shape, hidden: Widths | None, channels: int) -> nn.Module:
    """A network from data to data of the same shape, by name.

    Args:
        kind: ``"conv"`` for :class:`Translator`, ``"mlp"``, or ``"auto"``, the first for images.
        data_shape: ``(C, H, W)`` of images, ``(D,)`` of rows.
        hidden: the widths of fully connected layers, 128 twice by default.
        channels: of :class:`Translator`.

    Raises:
        ValueError: another name, or convolutions of data that are no images.

    >>> ppl_gen.networks.translating("auto", (2,), 8, 4)(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """
    found = game_network(kind, data_shape)
    if found == "map":
        raise ValueError("expected a network among auto, conv and mlp, got 'map'")
    if found == "conv":
        return Translator(data_shape, channels)
    return MLP([data_shape], widths((128, 128) if hidden is None else hidden), data_shape)
