r"""Distributions over ``L`` equally spaced grey levels :math:`0, \tfrac{1}{L-1}, \dots, 1`.

A value between levels is scored as the nearest one.
"""

from __future__ import annotations

from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid
from torch.special import log_ndtr, ndtr

_NO_SHAPE = torch.Size()
_TINY = 1e-7  # the least difference of logarithms that float32 does not lose


class GreyCategorical(dist.Categorical):
    """A categorical distribution over grey levels, with logits ``(..., L)``."""

    support = constraints.unit_interval
    has_enumerate_support = False

    @property
    def _last(self) -> int:
        return self.logits.shape[-1] - 1

    @property
    def mean(self) -> Tensor:
        levels = torch.linspace(0, 1, self._last + 1, dtype=self.probs.dtype)
        return self.probs @ levels.to(self.probs.device)

    def log_prob(self, value: Tensor) -> Tensor:
        index = (value * self._last).round().long()
        scores, index = torch.broadcast_tensors(self.logits, index.unsqueeze(-1))
        return scores.gather(-1, index[..., :1]).squeeze(-1)

    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        return super().sample(sample_shape).to(self.logits) / self._last


class _Grey(dist.TorchDistribution):
    """A law of location and scale, symmetric, whose mass is gathered at grey levels."""

    def _cumulative(self, x: Tensor) -> Tensor:
        """The standard law's distribution function."""
        raise NotImplementedError

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        shape = torch.Size(batch_shape)
        return type(self)(
            self.loc.expand(shape), self.scale.expand(shape), self.levels, validate_args=False
        )

    @property
    def mean(self) -> Tensor:
        """The exact mean, the sum over k of :math:`\\delta P(x \\ge k \\delta)`."""
        step = 1 / (self.levels - 1)
        total = torch.zeros_like(self.loc)
        for k in range(1, self.levels):
            total += self._cumulative((self.loc - (k - 0.5) * step) / self.scale)
        return total * step


class GreyLogistic(_Grey):
    r"""A logistic distribution whose mass is gathered at grey levels.

    Args:
        loc: :math:`\mu`, any shape.
        scale: s, positive.
        levels: ``L``.
    """

    def _cumulative(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def log_prob(self, value: Tensor) -> Tensor:
        index = (value * (self.levels - 1)).round()
        step = 1 / (self.levels - 1)
        centred = index * step - self.loc
        upper = (centred + step / 2) / self.scale
        lower = (centred - step / 2) / self.scale
        # F(u) - F(l) = F(u) F(-l) (1 - exp(l - u)), which neither cancels nor underflows
        inside = logsigmoid(upper) + logsigmoid(-lower) + (-torch.expm1(-step / self.scale)).log()
        upward = torch.where(index == self.levels - 1, logsigmoid(-lower), inside)
        return torch.where(index == 0, logsigmoid(upper), upward)

    @torch.no_grad()
    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        shape = self._extended_shape(sample_shape)
        uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        drawn = self.loc + self.scale * uniform.clamp(1e-7, 1 - 1e-7).logit()
        last = self.levels - 1
        return (drawn * last).round().clamp(0, last) / last


class GreyNormal(_Grey):
    r"""A normal distribution whose mass is gathered at grey levels; the ends take the tails.

    Args:
        loc: :math:`\mu`, any shape.
        scale: :math:`\sigma`, positive.
        levels: ``L``.

    >>> p = GreyNormal(torch.tensor(0.4), torch.tensor(0.3), 4)
    >>> round(p.log_prob(torch.arange(4) / 3).exp().sum().item(), 5)
    1.0
    """

    def _cumulative(self, x: Tensor) -> Tensor:
        return ndtr(x)

    def log_prob(self, value: Tensor) -> Tensor:
        last = self.levels - 1
        index = (value * last).round()
        centred = index / last - self.loc
        lower, upper = ((centred + end / last) / self.scale for end in (-0.5, 0.5))
        # the same mass on the side of the mean where the distribution function is small
        low = torch.where(centred > 0, -upper, lower)
        high = torch.where(centred > 0, -lower, upper)
        above, below = log_ndtr(high), log_ndtr(low)
        inside = above + torch.log1p(-(below - above).clamp(max=-_TINY).exp())
        downward = torch.where(index == 0, log_ndtr(upper), inside)
        return torch.where(index == last, log_ndtr(-lower), downward)

    @torch.no_grad()
    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        shape, last = self._extended_shape(sample_shape), self.levels - 1
        drawn = self.loc + self.scale * torch.randn(
            shape, dtype=self.loc.dtype, device=self.loc.device
        )
        return (drawn * last).round().clamp(0, last) / last


class GreyBernoulli(dist.Bernoulli):
    r"""A Bernoulli whose log-probability extends to :math:`x \in [0, 1]` as the cross-entropy.

    :math:`\log p(x) = x \log p + (1 - x) \log(1 - p)`, so that grey pixels are scored as the
    expectation over their own binarisation.

    >>> p = ppl_gen.likelihoods.GreyBernoulli(probs=torch.tensor([0.5, 0.9]))
    >>> p.log_prob(torch.tensor([0.3, 1.0])).exp()
    tensor([0.5000, 0.9000])
    """

    support = constraints.unit_interval
