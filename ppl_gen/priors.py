r"""Priors over a latent: modules that return a distribution, given the latents above it.

``forward(*parents)`` gives :math:`p(z \mid \text{parents})` with event shape ``(Z,)``.
"""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_gen.posteriors import DiagonalNormal


class StandardNormal(nn.Module):
    r""":math:`p(z) = N(0, I)`, of event shape ``(Z,)``.

    Raises:
        ValueError: fewer than one dimension.
    """

    loc: Tensor

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise ValueError(f"expected a latent of at least one dimension, got {dim}")
        self.dim = dim
        self.register_buffer("loc", torch.zeros(dim), persistent=False)

    def forward(self, *parents: Tensor) -> Distribution:
        return dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)


class ConditionalNormal(nn.Module):
    r""":math:`p(z \mid u) = N(\mu(u), \mathrm{diag}\,\sigma^2(u))` by a network of the parents u.

    Args:
        network: from the parents to ``(..., 2 Z)``: means, then raw scales.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.family = network, DiagonalNormal()

    def forward(self, *parents: Tensor) -> Distribution:
        return self.family(self.network(*parents))
