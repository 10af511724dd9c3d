"""Plain networks: tensors in, a tensor out; any leading batch dimensions.

An encoder maps images (and whatever else the posterior depends on) to the parameters of a
posterior, a decoder maps latents to the parameters of a likelihood. What the numbers mean is the
business of :mod:`ppl_gen.posteriors` and :mod:`ppl_gen.likelihoods.pixels`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Widths = int | Sequence[int]
M = TypeVar("M", bound=nn.Module)


class Shared(NamedTuple, Generic[M]):
    """A module that another one owns: its parameters are not counted, moved or saved here again.

    An attribute that is a module becomes part of the module that has it; one held so does not.

    >>> owner = torch.nn.Linear(2, 2)
    >>> user = torch.nn.Module()
    >>> user.linear = ppl_gen.networks.Shared(owner)
    >>> list(user.parameters()), user.linear.module is owner
    ([], True)
    """

    module: M


def join(inputs: Sequence[Tensor], shapes: Sequence[Shape]) -> Tensor:
    """Flatten the event dimensions of every input and concatenate them: ``(..., features)``.

    Leading dimensions are broadcast, so ``(K, B, Z)`` latents meet ``(B, C, H, W)`` images.

    Raises:
        ValueError: the number of inputs or an event shape differs from ``shapes``.

    >>> z, y = torch.zeros(7, 1, 2), torch.ones(5, 3)
    >>> ppl_gen.networks.join((z, y), [(2,), (3,)]).shape
    torch.Size([7, 5, 5])
    """
    if len(inputs) != len(shapes):
        raise ValueError(f"expected {len(shapes)} inputs of shapes {shapes}, got {len(inputs)}")
    flat = []
    for value, shape in zip(inputs, shapes, strict=True):
        if tuple(value.shape[value.dim() - len(shape) :]) != tuple(shape):
            raise ValueError(f"expected an input of shape (..., {shape}), got {tuple(value.shape)}")
        flat.append(value.flatten(-len(shape)) if len(shape) > 1 else value)
    if len(flat) == 1:
        return flat[0]
    leading = torch.broadcast_shapes(*(value.shape[:-1] for value in flat))
    return torch.cat([value.expand(*leading, value.shape[-1]) for value in flat], -1)


class MLP(nn.Module):
    """Fully connected layers between event shapes.

    Args:
        inputs: the event shapes of the inputs, flattened and concatenated.
        hidden: the widths of the hidden layers.
        output: the event shape of the output.
        activation: makes the non-linearity between layers.

    Shapes: ``(..., *inputs[i])`` each -> ``(..., *output)``.

    >>> network = ppl_gen.networks.MLP([(1, 4, 4), (3,)], [16], (2,))
    >>> network(torch.zeros(5, 1, 4, 4), torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: Sequence[Shape],
        hidden: Sequence[int],
        output: Shape,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        self.inputs, self.output = tuple(map(tuple, inputs)), tuple(output)
        widths = [sum(math.prod(shape) for shape in inputs), *hidden]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), activation()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(output)))

    def forward(self, *inputs: Tensor) -> Tensor:
        result = self.layers(join(inputs, self.inputs))
        return result.unflatten(-1, self.output) if len(self.output) > 1 else result


def _halvings(size: int, smallest: int = 4) -> int:
    """How often an image side can be halved without a remainder or becoming too small."""
    count = 0
    while size % 2 == 0 and size // 2 >= smallest:
        size, count = size // 2, count + 1
    return count


def _require_image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"expected images (C, H, W) for convolutions, got data of shape {shape}")
    depth, height, width = shape
    return depth, height, width


class ConvEncoder(nn.Module):
    """Strided 4×4 convolutions that halve the image while they can, then fully connected layers.

    Args:
        inputs: the event shape ``(C, H, W)`` of the image, then those of further inputs, which are
            joined after the convolutions.
        hidden: the widths of the fully connected layers.
        output: the event shape of the output.
        channels: the channels after the first halving; doubled once.
        activation: makes the non-linearity between layers.

    Shapes: ``(..., *inputs[i])`` each -> ``(..., *output)``.

    >>> network = ppl_gen.networks.ConvEncoder([(1, 8, 8)], [16], (4,), channels=2)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        inputs: Sequence[Shape],
        hidden: Sequence[int],
        output: Shape,
        channels: int = 32,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        depth, height, width = _require_image(inputs[0])
        steps = min(_halvings(height), _halvings(width))
        sizes = [depth] + [channels * (1 if i == 0 else 2) for i in range(steps)]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), activation()]
        self.convolutions = nn.Sequential(*layers)
        features = (sizes[-1], height >> steps, width >> steps)
        self.head = MLP([features, *inputs[1:]], hidden, output, activation)

    def forward(self, image: Tensor, *extra: Tensor) -> Tensor:
        flat = image.reshape(-1, *image.shape[-3:])
        features = self.convolutions(flat)
        return self.head(features.reshape(*image.shape[:-3], *features.shape[-3:]), *extra)


class ConvDecoder(nn.Module):
    """Fully connected layers, then transposed 4×4 convolutions that double the image.

    Args:
        inputs: the event shapes of the inputs.
        hidden: the widths of the fully connected layers.
        output: ``(C, H, W)`` of the output.
        channels: the channels before the last doubling; twice as many before.

    Shapes: ``(..., *inputs[i])`` each -> ``(..., C, H, W)``.

    >>> network = ppl_gen.networks.ConvDecoder([(2,)], [16], (1, 8, 8), channels=2)
    >>> network(torch.zeros(5, 2)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self, inputs: Sequence[Shape], hidden: Sequence[int], output: Shape, channels: int = 32
    ):
        super().__init__()
        depth, height, width = _require_image(output)
        steps = min(_halvings(height), _halvings(width))
        sizes = [channels * (1 if i == 0 else 2) for i in range(steps)][::-1] + [depth]
        if steps == 0:
            sizes = [depth]
        self.stem = MLP(inputs, hidden, (sizes[0], height >> steps, width >> steps))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        stem = self.stem(*inputs)
        images = self.convolutions(stem.reshape(-1, *stem.shape[-3:]))
        return images.reshape(*stem.shape[:-3], *images.shape[-3:])


def encoder(
    kind: str,
    inputs: Sequence[Shape],
    hidden: int | Sequence[int],
    output: Shape,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Module:
    """An encoder by name, ``"mlp"`` or ``"conv"``; the first input is the image.

    ``activation`` makes the non-linearity between its layers.

    Raises:
        ValueError: another name, or widths below one.

    >>> network = ppl_gen.networks.encoder("mlp", [(1, 4, 4)], (16, 8), (2,))
    >>> [layer.out_features for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    [16, 8, 2]
    """
    make = _named(kind, mlp=MLP, conv=ConvEncoder)
    return make(inputs, widths(hidden), output, activation=activation)


def decoder(
    kind: str, inputs: Sequence[Shape], hidden: int | Sequence[int], output: Shape
) -> nn.Module:
    """A decoder by name with the encoder's widths in reverse; see :func:`encoder`.

    >>> network = ppl_gen.networks.decoder("mlp", [(2,)], (16, 8), (1, 4, 4))
    >>> [layer.out_features for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    [8, 16, 16]
    >>> network(torch.zeros(5, 2)).shape
    torch.Size([5, 1, 4, 4])
    """
    return _named(kind, mlp=MLP, conv=ConvDecoder)(inputs, widths(hidden)[::-1], output)


def _named(kind: str, **kinds: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    if kind not in kinds:
        raise ValueError(f"expected a network among {', '.join(kinds)}, got {kind!r}")
    return kinds[kind]


def widths(hidden: Widths) -> list[int]:
    """The widths of hidden layers as a list, maybe empty; ``ValueError`` for one below one.

    >>> from ppl_gen.networks import widths
    >>> widths(400), widths((64, 32)), widths(())
    ([400], [64, 32], [])
    """
    found: list[Any] = list(hidden) if isinstance(hidden, (list, tuple)) else [hidden]
    if not all(type(width) is int and width > 0 for width in found):
        raise ValueError(f"expected hidden widths of at least one, got {hidden}")
    return found
