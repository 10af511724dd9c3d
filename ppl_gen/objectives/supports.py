"""Whether a guide draws only what the prior of a latent knows a density for.

Where it does not, log p is minus infinity or, as the densities of torch check their arguments only
on request, any number at all.
"""

from __future__ import annotations

from typing import Any

from pyro.distributions import (
    Delta,
    MaskedDistribution,
    SineBivariateVonMises,
    SineSkewed,
    VonMises,
)
from torch.distributions import Distribution, Independent, TransformedDistribution, constraints

ANGLES = (VonMises, SineBivariateVonMises, SineSkewed)
# By kind of constraint, whether it bounds values from below and from above.
BOUNDS: dict[type, tuple[bool, bool]] = {
    type(constraints.real): (False, False),
    constraints.greater_than: (True, False),
    constraints.greater_than_eq: (True, False),
    constraints.less_than: (False, True),
    constraints.interval: (True, True),
    constraints.half_open_interval: (True, True),
    type(constraints.simplex): (True, True),
    constraints.integer_interval: (True, True),
    type(constraints.nonnegative_integer): (True, False),
    type(constraints.boolean): (True, True),
}


def require_support(name: str, q: Distribution, p: Distribution, *, moved: bool = False) -> None:
    """Raise ``ValueError`` where a latent ~ p is drawn from q, which leaves the support of p.

    An angle is drawn from a distribution on the circle. On the line it is another number after
    each turn, with the same density under p: log q − log p then falls short of the KL.

    Args:
        name: of the latent.
        q: what the guide draws it from; a point may be anywhere.
        p: its prior; a masked one has no density to leave.
        moved: whether a point is a function of what the guide draws elsewhere.

    >>> from pyro.distributions import Exponential, Normal
    >>> require_support("z", Normal(1.0, 0.1), Exponential(1.0))
    Traceback (most recent call last):
        ...
    ValueError: expected the guide to draw 'z' within the support of Exponential, bounded below, ...
    """
    if isinstance(p, MaskedDistribution) and p._mask is False:
        return
    q, p = _element(q), _element(p)
    if isinstance(p, ANGLES) and (moved if isinstance(q, Delta) else not isinstance(q, ANGLES)):
        raise ValueError(
            f"expected the guide to draw {name!r}, an angle, on the circle, as VonMises does, got "
            f"{_kind(q)}: on the line the same angle is drawn in many places, and its loss is no "
            "bound"
        )
    if isinstance(q, Delta):
        return
    within, around = _bounds(q), _bounds(p)
    for side, own, bounded in zip(("below", "above"), within, around, strict=True):
        if bounded and own is False:
            raise ValueError(
                f"expected the guide to draw {name!r} within the support of {_kind(p)}, bounded "
                f"{side}, got {_kind(q)}, which is not: the bound is minus infinity"
            )


def _element(distribution: Any) -> Any:
    """The distribution inside the wrappers that declare events or mask it."""
    while isinstance(distribution, (Independent, MaskedDistribution)):
        distribution = distribution.base_dist
    return distribution


def _bounds(distribution: Any) -> tuple[bool, bool] | tuple[None, None]:
    """Whether values are bounded from below and above; None where that is not known.

    Of a transformed distribution torch knows the last transform, which may move a bounded one.
    """
    if getattr(type(distribution), "support", None) is TransformedDistribution.support:
        return None, None
    try:
        support = distribution.support
    except NotImplementedError:
        return None, None
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    kinds = [kind for kind in type(support).__mro__ if kind in BOUNDS]
    return BOUNDS[kinds[0]] if kinds else (None, None)


def _kind(distribution: Any) -> str:
    return type(distribution).__name__
