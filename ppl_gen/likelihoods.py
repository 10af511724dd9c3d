r"""Likelihoods of images: modules that turn a decoder's output into a distribution.

A likelihood takes parameters ``(..., parameters_per_value · C, H, W)`` and returns
:math:`p(x \mid z)` of batch shape ``(...)`` and event shape ``(C, H, W)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus


class Likelihood(nn.Module):
    """A family of distributions over images.

    Attributes:
        parameters_per_value: decoder channels per image channel.
        support: the closed interval in which every pixel must lie.
    """

    parameters_per_value = 1
    support = (-math.inf, math.inf)

    def check(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless every pixel is a number inside the support."""
        if not images.is_floating_point():
            raise ValueError(f"expected floating-point images, got {images.dtype}")
        low, high = images.min().item(), images.max().item()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("expected images without NaN or infinity, got some")
        if low < self.support[0] or high > self.support[1]:
            raise ValueError(
                f"expected pixels in [{self.support[0]:g}, {self.support[1]:g}] for a "
                f"{type(self).__name__} likelihood, got values from {low:g} to {high:g}"
            )

    def mean_image(self, distribution: Distribution) -> Tensor:
        """The mean of the likelihood as an image, ``(..., C, H, W)``."""
        return distribution.mean


class GreyBernoulli(dist.Bernoulli):
    r"""A Bernoulli whose log-probability extends to :math:`x \in [0, 1]` as the cross-entropy.

    :math:`\log p(x) = x \log p + (1 - x) \log(1 - p)`, so that grey pixels are scored as the
    expectation over their own binarisation.
    """

    support = constraints.unit_interval


class Bernoulli(Likelihood):
    r"""Independent pixels :math:`x_i \sim \mathrm{Bernoulli}(\mathrm{sigmoid}(a_i))`.

    The log-likelihood is minus the binary cross-entropy summed over pixels. Grey pixels in [0, 1]
    are accepted as cross-entropy.
    """

    support = (0.0, 1.0)

    def forward(self, parameters: Tensor) -> Distribution:
        return GreyBernoulli(logits=parameters).to_event(3)


class Gaussian(Likelihood):
    r"""Independent pixels :math:`x_i \sim N(\mu_i, \sigma^2)`.

    :math:`\log p(x \mid z) = -\|x - \mu\|^2 / 2\sigma^2 - \tfrac{D}{2} \log 2\pi\sigma^2`.

    Args:
        scale: :math:`\sigma`, in units of the pixels; its initial value when learned.
        learn: learn one :math:`\sigma` for all pixels by maximum likelihood (Rybkin et al. 2021).

    Raises:
        ValueError: a scale that is not positive.
    """

    def __init__(self, scale: float = 0.1, learn: bool = False):
        super().__init__()
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"expected a positive scale, got {scale}")
        raw = torch.tensor(scale + math.log(-math.expm1(-scale)))
        if learn:
            self.raw_scale = nn.Parameter(raw)
        else:
            self.register_buffer("raw_scale", raw)

    @property
    def scale(self) -> Tensor:
        """The current standard deviation, a 0-d tensor."""
        return softplus(self.raw_scale)

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.Normal(parameters, self.scale).to_event(3)


def make(likelihood: str | Likelihood) -> Likelihood:
    """A likelihood as it is, or the one of a name: ``"bernoulli"``, ``"gaussian"`` (learned σ)."""
    if isinstance(likelihood, Likelihood):
        return likelihood
    named: dict[str, Callable[[], Likelihood]] = {
        "bernoulli": Bernoulli,
        "gaussian": lambda: Gaussian(learn=True),
    }
    if likelihood not in named:
        raise ValueError(f"expected a Likelihood or one of {', '.join(named)}, got {likelihood!r}")
    return named[likelihood]()
