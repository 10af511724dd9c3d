"""Families of distributions by support: what a latent's posterior is drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, biject_to, constraints
from torch.nn.functional import one_hot, softplus

FLOOR = 1e-6  # of scales, in units, and of concentrations
FIRST_SCALE = 0.1  # in units, where the parameters are 0
FIRST_CONCENTRATION = 1.0
MOST_JOINT = 32  # components up to which a vector has a covariance


class Family(NamedTuple):
    """Distributions over the values of a site, by an unconstrained vector.

    Attributes:
        size: the length of that vector.
        make: from vectors ``(..., size)`` and the units of the site, a place and a scale for every
            component, to a distribution of batch shape ``(...)``.
    """

    size: int
    make: Callable[[Tensor, Tensor, Tensor], Distribution]


def states(fn: Any) -> int | None:
    """How many values a component of a discrete site has; ``None`` for other sites."""
    support = element(fn.support)
    if support is constraints.boolean:
        return 2
    if isinstance(support, type(constraints.integer_interval(0, 1))):
        low, high = (torch.as_tensor(bound) for bound in (support.lower_bound, support.upper_bound))
        return int(high.max()) + 1 if not low.any() else None
    return None


def encode(value: Tensor, fn: Any, dtype: torch.dtype) -> Tensor:
    """Values of a site as vectors of features, its event flattened; categories one-hot."""
    count = states(fn)
    if count is not None and count > 2:
        value = one_hot(value.long(), count).to(dtype)
        events = fn.event_dim + 1
    else:
        value, events = value.to(dtype), fn.event_dim
    return value.flatten(-events) if events else value.unsqueeze(-1)


def family_of(name: str, fn: Any) -> Family:
    """A family on the support of a distribution.

    Reals have a Normal, vectors of reals of moderate length one with all covariances, simplices a
    Dirichlet, booleans and integers all probabilities; other continuous supports a Normal behind
    the transform onto them.

    Raises:
        ValueError: a discrete support without a bound, angles.
    """
    shape, events = tuple(fn.event_shape), fn.event_dim
    numel, count = math.prod(shape), states(fn)
    support = element(fn.support)
    if isinstance(fn, dist.OneHotCategorical):
        return Family(numel, lambda p, *_: dist.OneHotCategorical(logits=p))
    if count == 2 and support is constraints.boolean:
        return Family(
            numel, lambda p, *_: dist.Bernoulli(logits=_shaped(p, shape)).to_event(events)
        )
    if count is not None:
        whole = (*shape, count)
        return Family(
            numel * count,
            lambda p, *_: dist.Categorical(logits=_shaped(p, whole)).to_event(events),
        )
    if fn.support.is_discrete or isinstance(_innermost(fn), dist.VonMises):
        raise ValueError(
            "expected latents that are real, in an interval, in a simplex or discrete with a "
            f"bound, got {name!r} ~ {type(_innermost(fn)).__name__}"
        )
    if support is constraints.simplex:
        first = inverse_softplus(FIRST_CONCENTRATION)
        return Family(
            numel,
            lambda p, *_: dist.Dirichlet(softplus(_shaped(p, shape) + first) + FLOOR).to_event(
                events - 1
            ),
        )
    if support is constraints.real and events == 1 and 1 < numel <= MOST_JOINT:
        return Family(numel + numel * (numel + 1) // 2, _joint_normal)
    if support is constraints.real:
        return Family(2 * numel, lambda p, m, s: _normal(p, m, s, shape))
    transform = biject_to(fn.support)
    inside = tuple(transform.inverse_shape(torch.Size(shape)))
    return Family(
        2 * math.prod(inside),
        lambda p, m, s: dist.TransformedDistribution(_normal(p, m, s, inside), [transform]),
    )


def is_scalar(fn: Any) -> bool:
    """Whether every component of a site has a support of its own."""
    return element(fn.support).event_dim == 0


def inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))


def _normal(
    parameters: Tensor, place: Tensor, unit: Tensor, shape: tuple[int, ...]
) -> Distribution:
    loc, raw = parameters.chunk(2, -1)
    loc, scale = place + unit * loc, unit * _scale(raw)
    return dist.Normal(_shaped(loc, shape), _shaped(scale, shape)).to_event(len(shape))


def _joint_normal(parameters: Tensor, place: Tensor, unit: Tensor) -> Distribution:
    size = len(unit)
    loc, diagonal, below = parameters.split([size, size, size * (size - 1) // 2], -1)
    rows, columns = torch.tril_indices(size, size, -1)
    lower = loc.new_zeros(*loc.shape, size)
    lower[..., rows, columns] = below
    root = unit.unsqueeze(-1) * (lower + torch.diag_embed(_scale(diagonal)))
    return dist.MultivariateNormal(place + unit * loc, scale_tril=root)


def _scale(raw: Tensor) -> Tensor:
    return softplus(raw + inverse_softplus(FIRST_SCALE)) + FLOOR


def _shaped(vector: Tensor, shape: tuple[int, ...]) -> Tensor:
    return vector.reshape((*vector.shape[:-1], *shape))


def element(support: Any) -> Any:
    """The support of a component."""
    while isinstance(support, type(constraints.independent(constraints.real, 1))):
        support = support.base_constraint
    return support


def _innermost(fn: Any) -> Any:
    while hasattr(fn, "base_dist") and not isinstance(fn, dist.TransformedDistribution):
        fn = fn.base_dist
    return fn
