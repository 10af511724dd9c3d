r"""Categorical variables relaxed to the simplex, so that gradients pass through samples.

With Gumbel noise :math:`g` and temperature :math:`\tau`, :math:`y = \mathrm{softmax}((\log \pi +
g) / \tau)` is reparameterised and tends to a one-hot draw from :math:`\pi` as :math:`\tau \to 0`
(Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017). Its density is computed from
:math:`\log y`, which a sample carries along: at low temperatures y itself underflows.
"""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions.utils import clamp_probs

Temperature = float | Tensor


class RelaxedOneHot(dist.RelaxedOneHotCategorical):
    """The Gumbel-Softmax distribution over ``(..., K)``, with its density in log space."""

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        noise = clamp_probs(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        scores = (self.logits - (-noise.log()).log()) / self.temperature
        log_value = scores.log_softmax(-1)
        value: Any = log_value.exp()
        value.log_value = log_value
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        log_value = getattr(value, "log_value", None)
        if log_value is None:
            log_value = value.clamp(min=torch.finfo(value.dtype).tiny).log()
        return self.base_dist.log_prob(log_value) - log_value.sum(-1)


class StraightThroughOneHot(RelaxedOneHot):
    """Gumbel-Softmax rounded to one-hot going forward, with the gradient of the soft sample."""

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        soft: Any = super().rsample(sample_shape)
        hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft)
        value: Any = hard + (soft - soft.detach())
        value.log_value = soft.log_value
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        """The density of the soft sample behind a draw, which only the draw itself knows."""
        if getattr(value, "log_value", None) is None:
            raise ValueError(
                "expected a straight-through draw as it was made, got a tensor computed from one, "
                "whose density is unknown: use the relaxed samples, straight_through=False"
            )
        return super().log_prob(value)


def one_hot(
    logits: Tensor, temperature: Temperature | None, *, straight_through: bool = False
) -> Distribution:
    """One-hot variables ``(..., L, K)``: exact without a temperature, relaxed with one.

    The batch shape is that of ``(...)``, the event shape ``(L, K)``.
    """
    if temperature is None:
        return dist.OneHotCategorical(logits=logits).to_event(1)
    kind = StraightThroughOneHot if straight_through else RelaxedOneHot
    return kind(torch.as_tensor(temperature).to(logits), logits=logits).to_event(1)


def discrete(distribution: Distribution) -> Distribution:
    """What a relaxed distribution relaxes; any other one as it is."""
    if isinstance(distribution, Independent):
        base = discrete(distribution.base_dist)
        same = base is distribution.base_dist
        return distribution if same else Independent(base, distribution.reinterpreted_batch_ndims)
    if isinstance(distribution, RelaxedOneHot):
        return dist.OneHotCategorical(logits=distribution.logits)
    return distribution
