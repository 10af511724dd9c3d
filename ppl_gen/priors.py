r"""Priors over a latent: modules that return a distribution, given the latents above it.

``forward(*parents)`` gives :math:`p(z \mid \text{parents})` with event shape ``(Z,)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    Distribution,
    Transform,
    biject_to,
    constraints,
)

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_positive, is_whole
from ppl_gen.models.diffusion_prior import DiffusionPrior
from ppl_gen.networks import Shared
from ppl_gen.posteriors import Categorical, DiagonalNormal

__all__ = [
    "Bernoulli",
    "ConditionalNormal",
    "DiffusionPrior",
    "Laplace",
    "StandardNormal",
    "UniformCategorical",
    "VampPrior",
]


class StandardNormal(nn.Module):
    r""":math:`p(z) = N(0, I)`, of event shape ``(Z,)``.

    Raises:
        ValueError: fewer than one dimension.

    >>> p = ppl_gen.priors.StandardNormal(2)()
    >>> p.event_shape, p.log_prob(torch.zeros(2))
    (torch.Size([2]), tensor(-1.8379))
    """

    loc: Tensor

    def __init__(self, dim: int):
        super().__init__()
        if not is_whole(dim, 1):
            raise ValueError(f"expected a latent of at least one dimension, got {dim}")
        self.dim = dim
        self.register_buffer("loc", torch.zeros(dim), persistent=False)

    def forward(self, *parents: Tensor) -> Distribution:
        return dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)


class Laplace(nn.Module):
    r""":math:`p(z) = \prod_j \tfrac{\lambda}{2} e^{-\lambda |z_j|}`, which prefers sparse codes.

    Args:
        dim: ``Z``.
        rate: :math:`\lambda`.

    Raises:
        ValueError: fewer than one dimension or a rate that is not positive.

    >>> p = ppl_gen.priors.Laplace(2, rate=2.0)()
    >>> p.log_prob(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
    tensor([ 0., -4.])
    """

    loc: Tensor

    def __init__(self, dim: int, rate: float):
        super().__init__()
        if not (is_whole(dim, 1) and is_positive(rate)):
            raise ValueError(f"expected a dimension and a rate above zero, got {dim} and {rate}")
        self.rate = rate
        self.register_buffer("loc", torch.zeros(dim), persistent=False)

    def forward(self, *parents: Tensor) -> Distribution:
        return dist.Laplace(self.loc, torch.full_like(self.loc, 1 / self.rate)).to_event(1)


class ConditionalNormal(nn.Module):
    r""":math:`p(z \mid u) = N(\mu(u), \mathrm{diag}\,\sigma^2(u))` by a network of the parents u.

    Args:
        network: from the parents to ``(..., 2 Z)``: means, then raw scales.

    >>> prior = ppl_gen.priors.ConditionalNormal(torch.nn.Linear(3, 4))
    >>> p = prior(torch.zeros(5, 3))
    >>> p.batch_shape, p.event_shape
    (torch.Size([5]), torch.Size([2]))
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.family = network, DiagonalNormal()

    def forward(self, *parents: Tensor) -> Distribution:
        return self.family(self.network(*parents))


class Bernoulli(nn.Module):
    r""":math:`p(z) = \prod_i \mathrm{Bernoulli}(z_i; \sigma(a_i))`; logits a are zero at first.

    Args:
        dim: ``Z``.
        learn: learn the logits, else they stay.

    Raises:
        ValueError: fewer than one dimension.

    >>> prior = ppl_gen.priors.Bernoulli(3, learn=False)
    >>> prior().mean
    tensor([0.5000, 0.5000, 0.5000])
    >>> prior().log_prob(torch.ones(3)).exp()
    tensor(0.1250)
    """

    def __init__(self, dim: int, learn: bool = True):
        super().__init__()
        if not is_whole(dim, 1):
            raise ValueError(f"expected a latent of at least one dimension, got {dim}")
        self.logits = nn.Parameter(torch.zeros(dim), learn)

    def forward(self, *parents: Tensor) -> Distribution:
        return dist.Bernoulli(logits=self.logits).to_event(1)


class UniformCategorical(nn.Module):
    """``Z`` independent uniform one-hot variables, relaxed when and as the posterior is.

    Args:
        dim: ``Z``.
        family: the posterior's family, which knows categories, temperature and mode.

    >>> family = ppl_gen.posteriors.Categorical(4, ppl_gen.schedules.Constant(0.5)).eval()
    >>> p = ppl_gen.priors.UniformCategorical(2, family)()
    >>> p.event_shape, p.log_prob(torch.eye(4)[:2]).exp()
    (torch.Size([2, 4]), tensor(0.0625))
    """

    logits: Tensor

    def __init__(self, dim: int, family: Categorical):
        super().__init__()
        if not is_whole(dim, 1):
            raise ValueError(f"expected a latent of at least one dimension, got {dim}")
        self._family = Shared(family)  # the latent owns it
        self.register_buffer("logits", torch.zeros(dim, family.num_categories), persistent=False)

    def forward(self, *parents: Tensor) -> Distribution:
        return self._family.module.of(self.logits)


class VampPrior(nn.Module):
    r"""The variational mixture of posteriors, :math:`p(z) = \frac{1}{K} \sum_k q(z \mid u_k)`.

    The pseudo-inputs :math:`u_k` are learned, and go through the encoder of the posterior itself
    (Tomczak and Welling 2018, equation 9). Its KL has no closed form and is sampled.

    Args:
        encoder: the posterior's encoder; shared, not copied.
        family: the posterior's family; shared, not copied.
        pseudo_inputs: initial images ``(K, C, H, W)``.
        support: the interval of the pixels. Pseudo-inputs stay inside a bounded one by a sigmoid
            of ten times their parameters, so that steps which suit the weights of a network also
            take a pixel across, and start a hundredth of its length away from the bounds, where
            they can still learn.

    Raises:
        ValueError: no pseudo-input, or pixels outside the support.

    >>> encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 6))
    >>> family = ppl_gen.posteriors.DiagonalNormal()
    >>> prior = ppl_gen.priors.VampPrior(encoder, family, torch.rand(5, 1, 2, 2))
    >>> prior().event_shape, prior.pseudo_inputs.shape
    (torch.Size([3]), torch.Size([5, 1, 2, 2]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        family: nn.Module,
        pseudo_inputs: Tensor,
        support: tuple[float, float] = (0.0, 1.0),
    ):
        super().__init__()
        if pseudo_inputs.dim() < 2 or not len(pseudo_inputs):
            raise ValueError(
                "expected pseudo-inputs of shape (K, C, H, W) with K of at least one, got "
                f"{tuple(pseudo_inputs.shape)}"
            )
        low, high = support
        if not ((pseudo_inputs >= low) & (pseudo_inputs <= high)).all():
            raise ValueError(f"expected pseudo-inputs in [{low:g}, {high:g}], got some outside")
        self._encoder, self._family = Shared(encoder), Shared(family)  # the latent owns both
        bounded = math.isfinite(low) and math.isfinite(high)
        self._squash: Transform = biject_to(constraints.real)
        if bounded:
            onto = biject_to(constraints.interval(low, high))
            self._squash = ComposeTransform([AffineTransform(0.0, 10.0), onto])
            margin = 0.01 * (high - low)
            pseudo_inputs = pseudo_inputs.clamp(low + margin, high - margin)
        self.raw_inputs = nn.Parameter(self._squash.inv(pseudo_inputs))

    @property
    def pseudo_inputs(self) -> Tensor:
        """The current pseudo-inputs as images, ``(K, C, H, W)``."""
        return self._squash(self.raw_inputs)

    def forward(self, *parents: Tensor) -> Distribution:
        components = self._family.module(self._encoder.module(self.pseudo_inputs))
        weights = dist.Categorical(logits=self.raw_inputs.new_zeros(len(self.raw_inputs)))
        return dist.MixtureSameFamily(weights, components)


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
