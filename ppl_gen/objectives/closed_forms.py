r"""When a closed form of :math:`\mathrm{KL}(q \,\|\, p)` is the expectation of what is scored.

``torch.distributions.kl_divergence`` looks a formula up by class. It is
:math:`\mathbb{E}_q[\log q - \log p]` only where both densities are the ones the formula was written
for; elsewhere the difference has to be sampled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pyro.distributions import Delta, MaskedDistribution
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution, kl_divergence

from ppl_gen.distributions.relaxed import discrete

_TRUSTED = ("torch.", "pyro.", "ppl_gen.")
_METHODS = frozenset({"log_prob", "sample", "rsample"})


def base_of(distribution: Any) -> Any:
    """What a distribution wraps, down to the innermost one."""
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution


def closed_kl(q: Distribution, p: Distribution) -> Tensor | None:
    r"""The closed form of :math:`\mathrm{KL}(q \,\|\, p)`, of ``q.batch_shape``, where it holds.

    There is none, although torch or Pyro may register a formula, for

    - a point: its log-density, such as a Jacobian, is not in the formula;
    - masks inside a distribution: log q and log p need not be masked alike;
    - classes of the user's own that replace a density or a sampler and inherit a formula;
    - transforms that are not bijective, whose images can be closer than the originals;
    - batch shapes that differ: the formula would count log q once for every element of p.

    A relaxed distribution is taken for the discrete one it relaxes.

    >>> from pyro.distributions import Delta, Normal
    >>> closed_kl(Normal(1.0, 1.0), Normal(0.0, 1.0)).item()
    0.5
    >>> closed_kl(Delta(Normal(0.0, 1.0).sample()), Normal(0.0, 1.0)) is None
    True
    """
    q, p = discrete(q), discrete(p)
    if q.batch_shape != p.batch_shape or not (_is_plain(q) and _is_plain(p)):
        return None
    try:
        found = kl_divergence(q, p)
    except NotImplementedError:
        return None
    return found if isinstance(found, Tensor) and found.shape == q.batch_shape else None


def _is_plain(distribution: Any) -> bool:
    """Whether a distribution, and all it wraps, is what its class is known for."""
    if isinstance(distribution, (Delta, MaskedDistribution)) or _is_changed(distribution):
        return False
    if isinstance(distribution, TransformedDistribution) and not all(
        t.bijective and _is_trusted(type(t)) for t in distribution.transforms
    ):
        return False
    base = getattr(distribution, "base_dist", None)
    return base is None or _is_plain(base)


def _is_changed(distribution: Any) -> bool:
    """Whether a density or a sampler is not the one that torch or Pyro defines."""
    kind: Any = type(distribution)
    if not _METHODS.isdisjoint(vars(distribution)):
        return True
    return _is_redefined(kind, *(getattr(kind, name, None) for name in _METHODS))


@lru_cache(maxsize=256)  # once for a class, as long as its methods are the same
def _is_redefined(kind: type, *methods: Any) -> bool:
    owners = (next((c for c in kind.__mro__ if name in vars(c)), None) for name in _METHODS)
    return not all(owner is None or _is_trusted(owner) for owner in owners)


def _is_trusted(kind: type) -> bool:
    return kind.__module__.startswith(_TRUSTED)
