"""Heads on the features of one body, and the default one for data of a shape."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from ppl_gen import networks
from ppl_gen._checks import is_whole
from ppl_gen.networks import MLP, ConvFeatures, Shape, Widths, widths

JOINT = 256  # the width of the features of images and latents


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

    def judge(self, features: Tensor) -> Tensor:
        """The logits of features."""
        return self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.judge(self.features(x))


class Joined(nn.Module):
    """The body of a critic of rows ``(B, D + Z)``: features of a datum, and of these and a latent.

    Args:
        body: from data ``(B, *data_shape)`` to features.
        data_shape: of D numbers.
        features: how many there are.
        latent_dim: ``Z``.
        width: of the joint features.

    >>> joined = ppl_gen.critics.Joined(torch.nn.Flatten(), (1, 2, 2), 4, latent_dim=3, width=8)
    >>> joined(torch.zeros(5, 7)).shape
    torch.Size([5, 8])
    """

    def __init__(
        self, body: nn.Module, data_shape: Shape, features: int, latent_dim: int, width: int
    ):
        super().__init__()
        self.body, self.data_shape = body, tuple(data_shape)
        self.mixed = nn.Sequential(nn.Linear(features + latent_dim, width), nn.LeakyReLU(0.2))

    def forward(self, rows: Tensor) -> Tensor:
        x, z = rows.tensor_split((math.prod(self.data_shape),), 1)
        return self.mixed(torch.cat([self.body(x.unflatten(1, self.data_shape)), z], 1))


def default(
    data_shape: Shape, hidden: Widths | None = None, network: str = "auto", latent_dim: int = 0
) -> Critic:
    """The critic of the games of :mod:`ppl_gen.zoo` for data of a shape, and perhaps latents.

    Args:
        data_shape: ``(C, H, W)`` of images, ``(D,)`` of rows.
        hidden: the widths of fully connected layers, leaky rectifiers after each: by default 400,
            and none behind convolutions.
        network: ``"conv"`` for convolutions, ``"mlp"`` for fully connected layers alone, ``"map"``
            for the former, and ``"auto"``, which are convolutions for images.
        latent_dim: ``Z`` where it sees rows ``(B, D + Z)`` of flattened data and latents.

    Raises:
        ValueError: another network, or convolutions of data that are no images.

    >>> ppl_gen.critics.default((2,), (128, 64))(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    >>> ppl_gen.critics.default((1, 28, 28)).body.num_features
    2048
    """
    if networks.game_network(network, data_shape) != "mlp":
        features = ConvFeatures(data_shape, () if hidden is None else widths(hidden))
        if not latent_dim:
            return Critic(features, features.num_features)
        joined = Joined(features, data_shape, features.num_features, latent_dim, JOINT)
        return Critic(joined, JOINT)
    found = widths(400 if hidden is None else hidden)
    seen = (math.prod(data_shape) + latent_dim,) if latent_dim else data_shape
    if not found:
        return Critic(nn.Flatten(), math.prod(seen))
    leaky = partial(nn.LeakyReLU, 0.2)
    mlp = MLP([seen], found[:-1], (found[-1],), leaky)
    return Critic(nn.Sequential(mlp, leaky()), found[-1])
