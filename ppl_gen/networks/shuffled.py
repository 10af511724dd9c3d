"""Networks of adversarial games: images grown by pixel shuffle, and judged by strided convolutions.

A pixel shuffle makes one image of four channels, each giving every other pixel of every other row
(Shi et al. 2016). After a 3×3 convolution it is a transposed convolution of stride 2 with a 6×6
kernel, see :func:`as_transposed`, computed at the smaller size and without holes in its overlaps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen.networks.plain import MLP, Shape, Widths, _halvings, _require_image, widths

# Of the normal that weights are drawn from (Radford et al. 2016).
SCALE = 0.02
# The side at which convolutions of a critic end.
LAST = 4
KINDS = ("auto", "conv", "mlp", "map")


class ShuffleDecoder(nn.Module):
    """A linear layer to a small image, then convolutions and pixel shuffles that double it.

    The halvings of the image, as far as its sides can be halved, are undone: 28×28 is grown from
    64 channels of 7×7 by 32 of 14×14. Hidden images are normalised over the batch and rectified.

    Args:
        latent_dim: ``Z``.
        hidden: the widths of fully connected layers before the first image.
        output: ``(C, H, W)``.
        channels: before the last doubling; twice as many before each other.

    Raises:
        ValueError: an output that is no image, or channels below one.

    Shapes: ``(..., Z)`` -> ``(..., C, H, W)``.

    >>> network = ppl_gen.networks.ShuffleDecoder(4, [], (1, 8, 8), channels=2)
    >>> network(torch.zeros(5, 4)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int], output: Shape, channels: int = 32):
        super().__init__()
        depth, height, width = _require_image(output)
        steps = min(_halvings(height), _halvings(width))
        sizes = [_count(channels) << step for step in range(steps)][::-1] + [depth]
        self.stem = MLP([(latent_dim,)], hidden, (sizes[0], height >> steps, width >> steps))
        layers: list[nn.Module] = []
        for step, (before, after) in enumerate(itertools.pairwise(sizes), 1):
            kernel = 5 if step == steps else 3
            layers += [nn.BatchNorm2d(before), nn.ReLU()]
            layers += [nn.Conv2d(before, 4 * after, kernel, padding="same"), nn.PixelShuffle(2)]
        self.convolutions = nn.Sequential(*layers)
        self.apply(_draw)

    def forward(self, z: Tensor) -> Tensor:
        stem = self.stem(z)
        images = self.convolutions(stem.reshape(-1, *stem.shape[-3:]))
        return images.reshape(*z.shape[:-1], *images.shape[1:])


class MapDecoder(nn.Module):
    """The latent as an image of noise, 8×8 for 64 values, then convolutions and pixel shuffles.

    Each pixel sees the few values of the latent that lie near it, so parts of the image that are
    far apart cannot agree. The image is doubled until it is large enough, and cut to its size.

    Args:
        latent_dim: ``Z``, a square.
        hidden: the channels between convolutions, each followed by a shuffle; as many as there are
            doublings but the last, or one number for all of them.
        output: ``(C, H, W)``.

    Raises:
        ValueError: a latent that is no square, an output that is no image, or other channels.

    Shapes: ``(..., Z)`` -> ``(..., C, H, W)``.

    >>> network = ppl_gen.networks.MapDecoder(64, [1], (1, 28, 28))
    >>> [layer.weight.shape[:2] for layer in network.modules() if hasattr(layer, "weight")]
    [torch.Size([4, 1]), torch.Size([4, 1])]
    >>> network(torch.zeros(5, 64)).shape
    torch.Size([5, 1, 28, 28])
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int], output: Shape):
        super().__init__()
        depth, *self.sides = _require_image(output)
        self.side = math.isqrt(latent_dim)
        if self.side**2 != latent_dim:
            raise ValueError(f"expected a square number of latents as a map, got {latent_dim}")
        doublings = max(0, math.ceil(math.log2(max(self.sides) / self.side)))
        between = list(hidden) * (doublings - 1) if len(hidden) == 1 else list(hidden)
        if len(between) != max(0, doublings - 1):
            raise ValueError(
                f"expected one number of channels or {doublings - 1} for {doublings} doublings, "
                f"got {len(between)}"
            )
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([1, *between, depth]):
            layers += [nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
            layers += [nn.LeakyReLU(0.2)]
        self.convolutions = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Tensor:
        images = self.convolutions(z.reshape(-1, 1, self.side, self.side))
        images = images.reshape(*z.shape[:-1], *images.shape[1:])
        sizes = zip(images.shape[-2:], self.sides, strict=True)
        top, left = ((have - want) // 2 for have, want in sizes)
        return images[..., top : top + self.sides[0], left : left + self.sides[1]]


class ConvFeatures(nn.Module):
    """Strided convolutions without normalisation, with leaky rectifiers: the body of a critic.

    Pixels are expected in [0, 1] and centred. Each convolution halves the image until a side is 4
    or less, a half being rounded up: 28×28 gives 128 channels of 4×4.

    Args:
        image: ``(C, H, W)``.
        hidden: the widths of fully connected layers after the convolutions.
        channels: after the first convolution, doubled by each other.

    Attributes:
        num_features: ``F``.

    Raises:
        ValueError: data that are no images, or channels below one.

    Shapes: ``(B, C, H, W)`` -> ``(B, F)``.

    >>> network = ppl_gen.networks.ConvFeatures((1, 28, 28))
    >>> network(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 2048])
    """

    def __init__(self, image: Shape, hidden: Sequence[int] = (), channels: int = 32):
        super().__init__()
        depth, height, width = _require_image(image)
        layers: list[nn.Module] = []
        after = _count(channels)
        while min(height, width) > LAST:
            kernel = 3 if height % 2 or width % 2 else 4
            layers += [nn.Conv2d(depth, after, kernel, stride=2, padding=1), nn.LeakyReLU(0.2)]
            depth, after, height, width = after, 2 * after, (height + 1) // 2, (width + 1) // 2
        layers.append(nn.Flatten())
        for before, wide in itertools.pairwise([depth * height * width, *hidden]):
            layers += [nn.Linear(before, wide), nn.LeakyReLU(0.2)]
        self.num_features = hidden[-1] if hidden else depth * height * width
        self.layers = nn.Sequential(*layers)
        self.apply(_draw)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(2 * x - 1)


def game_network(kind: str, data_shape: Shape) -> str:
    """The kind of the networks of a game by its name, ``"auto"`` resolved.

    Raises:
        ValueError: another name, or convolutions of data that are no images.

    >>> from ppl_gen.networks.shuffled import game_network
    >>> game_network("auto", (2,)), game_network("auto", (1, 8, 8)), game_network("map", (1, 8, 8))
    ('mlp', 'conv', 'map')
    """
    if kind not in KINDS:
        raise ValueError(f"expected a network among {', '.join(KINDS)}, got {kind!r}")
    images = len(data_shape) == 3
    if kind == "auto":
        return "conv" if images else "mlp"
    if kind != "mlp":
        _require_image(data_shape)
    return kind


def growing(kind: str, latent_dim: int, hidden: Widths | None, data_shape: Shape) -> nn.Module:
    """A generator's network by name, with the widths of hidden layers in reverse.

    Args:
        kind: ``"conv"`` for :class:`ShuffleDecoder`, ``"mlp"`` for fully connected layers alone,
            ``"map"`` for :class:`MapDecoder`, and ``"auto"``, which is the first for images.
        latent_dim: ``Z``.
        hidden: the widths of fully connected layers, by default 400, and none before convolutions;
            of a map the channels, by default as many as the image has.
        data_shape: ``(C, H, W)`` of images, ``(D,)`` of rows.

    Raises:
        ValueError: another name, or convolutions of data that are no images.

    >>> ppl_gen.networks.growing("auto", 4, None, (1, 28, 28))(torch.zeros(5, 4)).shape
    torch.Size([5, 1, 28, 28])
    """
    kind = game_network(kind, data_shape)
    if kind == "mlp":
        return MLP([(latent_dim,)], widths(400 if hidden is None else hidden)[::-1], data_shape)
    if kind == "map":
        return MapDecoder(
            latent_dim, widths(data_shape[0] if hidden is None else hidden), data_shape
        )
    return ShuffleDecoder(latent_dim, [] if hidden is None else widths(hidden)[::-1], data_shape)


def as_transposed(convolution: nn.Conv2d) -> nn.ConvTranspose2d:
    r"""The transposed convolution that equals a 3×3 convolution and a pixel shuffle after it.

    With :math:`W_a` the kernel of the channel that gives the pixels of offset a in rows, and in the
    same way in columns, its 6×6 kernel of stride 2 and padding 2 is :math:`K[a + 4 - 2u] = W_a[u]`.

    Args:
        convolution: of ``4 C`` channels, 3×3, padding 1 and no bias.

    Raises:
        ValueError: another convolution.

    >>> plain = torch.nn.Conv2d(2, 12, 3, padding=1, bias=False)
    >>> x = torch.randn(1, 2, 5, 5)
    >>> shuffled = torch.nn.functional.pixel_shuffle(plain(x), 2)
    >>> torch.allclose(ppl_gen.networks.as_transposed(plain)(x), shuffled, atol=1e-5)
    True
    """
    kind = (convolution.kernel_size, convolution.padding, convolution.stride, convolution.groups)
    if kind != ((3, 3), (1, 1), (1, 1), 1) or convolution.dilation != (1, 1):
        raise ValueError(f"expected a 3×3 convolution of padding 1, got {convolution}")
    if convolution.out_channels % 4 or convolution.bias is not None:
        raise ValueError(f"expected a multiple of 4 channels and no bias, got {convolution}")
    weight = convolution.weight.detach().unflatten(0, (-1, 2, 2))  # (C, a, b, inputs, u, v)
    depth, _, _, inputs = weight.shape[:4]
    made = nn.ConvTranspose2d(inputs, depth, 6, stride=2, padding=2, bias=False).to(weight)
    for a, b, u, v in itertools.product(range(2), range(2), range(3), range(3)):
        kernel = weight[:, a, b, :, u, v]
        made.weight.data[:, :, a + 4 - 2 * u, b + 4 - 2 * v] = kernel.transpose(0, 1)
    return made


def _count(channels: Any) -> int:
    if not is_whole(channels, 1):
        raise ValueError(f"expected one channel or more, got {channels!r}")
    return int(channels)


def _draw(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        nn.init.normal_(layer.weight, 0.0, SCALE)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
