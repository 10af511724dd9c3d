r"""What the estimators must know of a family: its parameters, its support, its relaxation.

A distribution here is a torch or Pyro distribution, possibly wrapped by ``to_event``. Its *leaves*
are the parameters in which gradients are taken: the logits of Bernoulli and categorical families,
loc and scale of a normal, and the constructor's arguments of any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    OneHotCategorical,
)
from torch.nn.functional import logsigmoid, one_hot

_LOGITS = (Bernoulli, Categorical, OneHotCategorical)


def base_of(distribution: Distribution) -> Any:
    """The distribution without its ``to_event`` wrappers."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def describe(distribution: Distribution) -> str:
    """The name of the family, for messages."""
    return type(base_of(distribution)).__name__


def leaves(distribution: Distribution) -> dict[str, Tensor]:
    """The parameters of a distribution by name, attached to whatever graph they come from."""
    base = base_of(distribution)
    if isinstance(base, _LOGITS):
        return {"logits": base.logits}
    names = [name for name in base.arg_constraints if name in vars(base)]
    return {name: getattr(base, name) for name in names or base.arg_constraints}


def rebuild(distribution: Distribution, parameters: Mapping[str, Tensor]) -> Distribution:
    """The same family, wrapped likewise, with other leaves; they may have more batch dimensions."""
    base = base_of(distribution)
    wrapped = len(distribution.event_shape) - len(base.event_shape)
    new = type(base)(**parameters, validate_args=False)
    return Independent(new, wrapped, validate_args=False) if wrapped else new


def sum_events(distribution: Distribution, values: Tensor) -> Tensor:
    """Sum values shaped like the leaves over the event dimensions of the distribution."""
    dims = len(distribution.event_shape)
    return values.flatten(-dims).sum(-1) if dims else values


def per_event(distribution: Distribution, values: Tensor) -> Tensor:
    """Append singleton event dimensions to values of batch shape, to meet the leaves."""
    return values.reshape(values.shape + (1,) * len(distribution.event_shape))


def sample(distribution: Distribution, shape: torch.Size) -> Tensor:
    """Values of a distribution, ``(*shape, *batch, *event)``."""
    base = base_of(distribution)
    if isinstance(base, Bernoulli):
        # torch draws Bernoulli variables one by one, at several times the cost
        p = base.probs.expand(shape + base.batch_shape)
        return (torch.rand_like(p) < p).to(p)
    return distribution.sample(shape)


def log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    r""":math:`\log q(z)`, extended to relaxed values of Bernoulli and one-hot families.

    The extension is the one that is linear in z, :math:`z a - \log(1 + e^a)` with logits a and
    :math:`\sum_i z_i \log \pi_i`: exact on the support, differentiable off it.
    """
    base = base_of(distribution)
    if isinstance(base, Bernoulli):
        each = value * base.logits + logsigmoid(-base.logits)
    elif isinstance(base, OneHotCategorical):
        each = value * base.logits
    else:
        return distribution.log_prob(value)
    return sum_events(distribution, each)


class Relaxation:
    r"""The Gumbel relaxation of a family of discrete variables with logits a.

    Noise makes a hard value :math:`z = H(a + \epsilon)` exactly distributed as the family, and a
    relaxed one :math:`\sigma_\tau(a + \epsilon)` that tends to it as :math:`\tau \to 0` (Maddison
    et al. 2017; Jang et al. 2017).
    """

    def __init__(self, distribution: Distribution):
        self.distribution, self.logits = distribution, base_of(distribution).logits

    def perturbed(self, logits: Tensor) -> Tensor:
        r"""A draw of :math:`a + \epsilon`, differentiable in the logits."""
        raise NotImplementedError

    def conditional(self, logits: Tensor, hard: Tensor) -> Tensor:
        r"""A draw of :math:`a + \epsilon` given that it hardens to ``hard``; differentiable."""
        raise NotImplementedError

    def harden(self, perturbed: Tensor) -> Tensor:
        """The value in the support."""
        raise NotImplementedError

    def soften(self, perturbed: Tensor, temperature: Tensor | float) -> Tensor:
        """The relaxed value."""
        raise NotImplementedError


class BinaryRelaxation(Relaxation):
    """Bernoulli variables: logistic noise, a step, a sigmoid."""

    def perturbed(self, logits: Tensor) -> Tensor:
        return logits + torch.logit(_uniform(logits))

    def conditional(self, logits: Tensor, hard: Tensor) -> Tensor:
        p, v = torch.sigmoid(logits), _uniform(logits)
        u = torch.where(hard > 0, 1 - p * (1 - v), v * (1 - p))
        return logits + torch.logit(_inside(u))

    def harden(self, perturbed: Tensor) -> Tensor:
        return (perturbed > 0).to(perturbed)

    def soften(self, perturbed: Tensor, temperature: Tensor | float) -> Tensor:
        return torch.sigmoid(perturbed / temperature)


class OneHotRelaxation(Relaxation):
    """One-hot categorical variables: Gumbel noise, an argmax, a softmax."""

    def perturbed(self, logits: Tensor) -> Tensor:
        return logits - torch.log(-torch.log(_uniform(logits)))

    def conditional(self, logits: Tensor, hard: Tensor) -> Tensor:
        # the maximum of Gumbels is a Gumbel at logsumexp(a); the others are truncated at it
        exponential = -torch.log(_uniform(logits))
        largest = logits.logsumexp(-1, keepdim=True) - (exponential * hard).sum(-1, True).log()
        others = -torch.log(torch.exp(-largest) + exponential * torch.exp(-logits))
        return torch.where(hard > 0, largest, others)

    def harden(self, perturbed: Tensor) -> Tensor:
        return one_hot(perturbed.argmax(-1), perturbed.shape[-1]).to(perturbed)

    def soften(self, perturbed: Tensor, temperature: Tensor | float) -> Tensor:
        return torch.softmax(perturbed / temperature, -1)


def relaxation(distribution: Distribution) -> Relaxation | None:
    """The relaxation of a distribution, or None for a family that has none."""
    base = base_of(distribution)
    if isinstance(base, Bernoulli):
        return BinaryRelaxation(distribution)
    if isinstance(base, OneHotCategorical):
        return OneHotRelaxation(distribution)
    return None


def support_size(distribution: Distribution) -> int | None:
    """How many joint values one event takes, or None where they cannot be listed."""
    base = base_of(distribution)
    if not base.has_enumerate_support:
        return None
    wrapped = len(distribution.event_shape) - len(base.event_shape)
    return _support_of_one(base).shape[0] ** math.prod(distribution.event_shape[:wrapped])


def enumerate_support(distribution: Distribution) -> Tensor:
    """Every joint value of one event, of shape ``(size, *batch_shape, *event_shape)``."""
    base = base_of(distribution)
    values = _support_of_one(base)
    wrapped = len(distribution.event_shape) - len(base.event_shape)
    sites = math.prod(distribution.event_shape[:wrapped])
    index = torch.cartesian_prod(*[torch.arange(len(values))] * sites).reshape(-1, sites)
    batch, event = distribution.batch_shape, distribution.event_shape
    joint = values[index].reshape(len(index), *(1 for _ in batch), *event)
    return joint.expand(len(index), *batch, *event)


def _support_of_one(base: Any) -> Tensor:
    values = base.enumerate_support(expand=False)
    return values.reshape(len(values), *base.event_shape)


def _uniform(like: Tensor) -> Tensor:
    return _inside(torch.rand_like(like))


def _inside(u: Tensor) -> Tensor:
    """Keep a uniform variable off 0 and 1, where the quantile functions are infinite."""
    tiny = torch.finfo(u.dtype)
    return u.clamp(tiny.tiny, 1 - tiny.eps)
