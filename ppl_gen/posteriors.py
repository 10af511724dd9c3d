r"""Families of approximate posteriors: modules that turn an encoder's output into a distribution.

A family takes parameters ``(..., parameters_per_dim · Z)`` and returns :math:`q(z \mid x)` of batch
shape ``(...)`` and event shape ``(Z,)``.
"""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus


class Family(nn.Module):
    """A family of distributions over a latent of ``Z`` dimensions.

    Attributes:
        parameters_per_dim: how many numbers of the encoder's output each dimension takes.
    """

    parameters_per_dim = 1


class DiagonalNormal(Family):
    r""":math:`q(z \mid x) = N(\mu, \mathrm{diag}\,\sigma^2)` with :math:`\sigma` by softplus.

    Args:
        floor: the smallest standard deviation, which keeps densities finite.
    """

    parameters_per_dim = 2

    def __init__(self, floor: float = 1e-5):
        super().__init__()
        self.floor = floor

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = parameters.chunk(2, -1)
        return dist.Normal(loc, softplus(raw) + self.floor).to_event(1)


class Point(Family):
    r"""A point mass :math:`q(z \mid x) = \delta(z - f(x))`: the code of an autoencoder."""

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.Delta(parameters, event_dim=1)
