"""What a likelihood is: how data of a shape are scored, and what an encoder sees of them."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.distributions import Distribution

Shape = tuple[int, ...]


class Likelihood(nn.Module):
    """A family of distributions over data.

    Attributes:
        parameters_per_value: numbers of the decoder's output per value.
        support: the closed interval in which every value must lie.
        missing: whether NaN stands for a missing value.
        event_dim: the dimensions of a datum, 3 for an image; a model sets it.

    >>> class Poisson(ppl_gen.likelihoods.Likelihood):
    ...     support = (0, float("inf"))
    ...     def forward(self, parameters):
    ...         return pyro.distributions.Poisson(parameters.exp()).to_event(self.event_dim)
    >>> vae = ppl_gen.zoo.vae((4,), 2, likelihood=Poisson(), hidden=8)
    >>> vae.sample(3, seed=0).shape
    torch.Size([3, 4])
    """

    parameters_per_value = 1
    support = (-math.inf, math.inf)
    missing = False
    event_dim = 3

    @property
    def kind(self) -> str:
        """What it is called in one word."""
        return type(self).__name__

    def serve(self, data_shape: Shape) -> None:
        """Take data of a shape from now on, or raise ``ValueError``."""
        if vars(self).get("event_dim", len(data_shape)) != len(data_shape):
            raise ValueError(
                f"expected a likelihood of its own for data of shape {data_shape}, got one that "
                f"serves a model of data with {self.event_dim} dimensions"
            )
        self.event_dim = len(data_shape)

    def output_shape(self, data_shape: Shape) -> Shape:
        """The shape of a decoder's output for data of a shape."""
        first, *rest = data_shape
        return (self.parameters_per_value * first, *rest)

    def features(self, x: Tensor) -> Tensor:
        """Data as an encoder sees them: as they are."""
        return x

    def features_shape(self, data_shape: Shape) -> Shape:
        """The shape of :meth:`features` for data of a shape."""
        return data_shape

    def check(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless every value is a number inside the support."""
        whole, single, value = self._words()
        if not images.is_floating_point():
            raise ValueError(f"expected floating-point {whole}, got {images.dtype}")
        if not images.numel():
            raise ValueError(f"expected at least one {single}, got shape {tuple(images.shape)}")
        low, high = (bound.item() for bound in images.aminmax())
        if math.isnan(low):
            raise ValueError(
                f"expected {whole} without NaN or infinity, got NaN; likelihoods.Masked takes NaN "
                "for missing"
            )
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"expected {whole} without NaN or infinity, got some")
        if low < self.support[0] or high > self.support[1]:
            raise ValueError(
                f"expected {value} in [{self.support[0]:g}, {self.support[1]:g}] for a "
                f"{type(self).__name__} likelihood, got values from {low:g} to {high:g}"
            )

    def _words(self) -> tuple[str, str, str]:
        """What data, one datum and its values are called."""
        return ("images", "image", "pixels") if self.event_dim == 3 else ("data", "row", "values")

    def mean_image(self, distribution: Distribution) -> Tensor:
        """The mean of the likelihood as a datum, ``(..., C, H, W)``."""
        return distribution.mean


class Featured(nn.Module):
    """An encoder that sees the features of data, as their likelihood gives them.

    Args:
        likelihood: shared, not copied.
        network: from ``(..., *features_shape)``, and what else the posterior depends on.
    """

    def __init__(self, likelihood: Likelihood, network: nn.Module):
        super().__init__()
        self._likelihood = (likelihood,)  # a tuple: the module belongs to the model
        self.network = network

    def forward(self, x: Tensor, *parents: Tensor) -> Tensor:
        return self.network(self._likelihood[0].features(x), *parents)


def encoded(likelihood: Likelihood, network: nn.Module) -> nn.Module:
    """An encoder of what a likelihood shows of the data."""
    plain = type(likelihood).features is Likelihood.features
    return network if plain else Featured(likelihood, network)
