r"""Families of approximate posteriors: modules that turn an encoder's output into a distribution.

A family takes parameters ``(..., parameters_per_dim · Z)`` and returns :math:`q(z \mid x)` of batch
shape ``(...)`` and event shape ``(Z,)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_positive, is_whole
from ppl_gen.distributions.relaxed import one_hot
from ppl_gen.schedules import Schedule


class Family(nn.Module):
    """A family of distributions over a latent of ``Z`` dimensions.

    Attributes:
        parameters_per_dim: how many numbers of the encoder's output each dimension takes.

    >>> class Laplace(ppl_gen.posteriors.Family):
    ...     parameters_per_dim = 2
    ...     def forward(self, parameters):
    ...         loc, log_scale = parameters.chunk(2, -1)
    ...         return pyro.distributions.Laplace(loc, log_scale.exp()).to_event(1)
    >>> vae = ppl_gen.zoo.vae((4,), 3, hidden=8, posterior=Laplace())
    >>> vae.encode(torch.zeros(5, 4)).event_shape
    torch.Size([3])
    """

    parameters_per_dim = 1

    def num_parameters(self, latent_dim: int) -> int:
        """The size of the encoder's output for a latent of ``latent_dim`` dimensions."""
        return self.parameters_per_dim * latent_dim

    def code_shape(self, latent_dim: int) -> tuple[int, ...]:
        """The event shape of a latent of ``latent_dim`` dimensions."""
        return (latent_dim,)

    def place(self, code: Tensor, dim: int, values: Tensor) -> Tensor:
        """Codes ``(N, *code_shape)`` with one dimension set to ``values`` of shape ``(N,)``."""
        return code.index_copy(1, torch.tensor([dim], device=code.device), values.unsqueeze(1))

    def draw(self, parameters: Tensor) -> Tensor:
        """A continuous code, for a diffusion; ``NotImplementedError`` where there is none."""
        return self(parameters).rsample()

    def settle(self, code: Tensor) -> Tensor:
        """The code that the decoder is given for a continuous one."""
        return code


def indices(values: Tensor, count: int, kind: str) -> Tensor:
    """Values as indices below a count, or ``ValueError`` that calls them by their kind.

    >>> ppl_gen.posteriors.indices(torch.tensor([0.0, 2.0]), 3, "categories")
    tensor([0, 2])
    """
    whole = values.long()
    if not ((whole == values) & (whole >= 0) & (whole < count)).all():
        raise ValueError(f"expected {kind} below {count}, got {values.tolist()}")
    return whole


class DiagonalNormal(Family):
    r""":math:`q(z \mid x) = N(\mu, \mathrm{diag}\,\sigma^2)` with :math:`\sigma` by softplus.

    Args:
        floor: the smallest standard deviation, which keeps densities finite.

    Raises:
        ValueError: a floor that is not positive.

    >>> q = ppl_gen.posteriors.DiagonalNormal()(torch.tensor([1.0, -1.0, 0.0, 0.0]))
    >>> q.mean, q.base_dist.scale
    (tensor([ 1., -1.]), tensor([0.6932, 0.6932]))
    """

    parameters_per_dim = 2

    def __init__(self, floor: float = 1e-5):
        super().__init__()
        if not is_positive(floor):
            raise ValueError(f"expected a positive floor, got {floor}")
        self.floor = floor

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = parameters.chunk(2, -1)
        return dist.Normal(loc, softplus(raw) + self.floor).to_event(1)


class Point(Family):
    r"""A point mass :math:`q(z \mid x) = \delta(z - f(x))`: the code of an autoencoder.

    >>> q = ppl_gen.posteriors.Point()(torch.tensor([1.0, -1.0]))
    >>> q.sample()
    tensor([ 1., -1.])
    """

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.Delta(parameters, event_dim=1)


class Bernoulli(Family):
    r""":math:`q(z \mid x) = \prod_i \mathrm{Bernoulli}(z_i; \sigma(a_i))`, with logits a.

    >>> q = ppl_gen.posteriors.Bernoulli()(torch.tensor([0.0, 100.0]))
    >>> q.mean
    tensor([0.5000, 1.0000])
    """

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.Bernoulli(logits=parameters).to_event(1)


class Categorical(Family):
    r"""``Z`` independent one-hot variables of ``K`` categories each; event shape ``(Z, K)``.

    In training mode a Gumbel-Softmax relaxation that can be differentiated through, in evaluation
    mode the categorical itself; the prior must switch with it
    (:class:`ppl_gen.priors.UniformCategorical`).

    Args:
        num_categories: ``K``.
        temperature: :math:`\tau`, shared with the prior and advanced by the objective.
        straight_through: use one-hot samples with the gradient of the relaxed ones.

    Raises:
        ValueError: fewer than two categories or a temperature that is not positive.

    >>> family = ppl_gen.posteriors.Categorical(3, ppl_gen.schedules.Constant(0.5))
    >>> family(torch.zeros(5, 6)).event_shape
    torch.Size([2, 3])
    >>> family.eval()(torch.zeros(5, 6)).sample().sum(-1).unique()
    tensor([1.])
    """

    def __init__(
        self, num_categories: int, temperature: Schedule, *, straight_through: bool = False
    ):
        super().__init__()
        if not is_whole(num_categories, 2):
            raise ValueError(f"expected at least two categories, got {num_categories}")
        if not temperature.value > 0:
            raise ValueError(f"expected a positive temperature, got {temperature.value.item():g}")
        self.num_categories = self.parameters_per_dim = num_categories
        self.temperature, self.straight_through = temperature, straight_through

    def code_shape(self, latent_dim: int) -> tuple[int, ...]:
        return (latent_dim, self.num_categories)

    def place(self, code: Tensor, dim: int, values: Tensor) -> Tensor:
        """Codes with one variable in the categories ``values``."""
        categories = indices(values, self.num_categories, "categories")
        code = code.clone()
        code[:, dim] = torch.nn.functional.one_hot(categories, self.num_categories).to(code)
        return code

    def forward(self, parameters: Tensor) -> Distribution:
        logits = parameters.unflatten(-1, (-1, self.num_categories))
        return self.of(logits)

    def of(self, logits: Tensor) -> Distribution:
        """The distribution of logits ``(..., Z, K)`` in the current mode."""
        temperature = self.temperature.value if self.training else None
        return one_hot(logits, temperature, straight_through=self.straight_through)


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
