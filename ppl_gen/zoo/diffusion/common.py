"""What diffusions share."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ppl_gen import networks
from ppl_gen.denoisers import DenoiserBase
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.training.players import adam


def network_of(network: str | nn.Module, data_shape: Shape, *how: Any) -> nn.Module:
    """A network as it is, or by its name; see :func:`ppl_gen.networks.denoising`."""
    return networks.denoising(network, data_shape, *how) if isinstance(network, str) else network


def diffusion_of(
    denoiser: DenoiserBase, data_shape: Shape, levels: int = 256, **parts: Any
) -> Diffusion:
    """A diffusion, of pixels where data are images: a rate that falls to 0, averaged weights."""
    pixels = len(data_shape) == 3
    model = Diffusion(denoiser, data_shape, levels=levels if pixels else None, **parts)
    optimizer, lr = partial(adam, betas=(0.9, 0.99)), 2e-3 if pixels else 1e-3
    model.fit_defaults = {"ema": 0.999, "lr": lr, "optimizer": optimizer, "scheduler": "falling"}
    return model
