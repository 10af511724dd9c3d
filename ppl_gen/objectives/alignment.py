"""Whether the values of a site are as many as its distributions.

Pyro's objectives check this only where validation is switched on; a pair that fails has a loss that
is no bound.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import Independent


def require_aligned(site: Any, particles: str = "") -> None:
    """Refuse a site whose values would be broadcast against its distributions, each with each.

    Observations of shape ``(N, 1)`` beside means of shape ``(N,)`` have :math:`N^2` densities.

    Args:
        site: a message of Pyro's.
        particles: the name of a plate of particles, in which values may be fewer.

    Raises:
        ValueError: such a site, or one with more values than its plate has places.
    """
    fn, value, name = site["fn"], site["value"], site["name"]
    shape, batch = tuple(torch.as_tensor(value).shape), tuple(fn.batch_shape)
    event = tuple(fn.event_shape)
    own = shape[: len(shape) - len(event)]
    if isinstance(fn, Independent) and len(shape) >= len(event) and shape[len(own) :] != event:
        raise ValueError(_misaligned(name, shape, batch + event))
    frames = {f.dim: f for f in site["cond_indep_stack"] if f.vectorized}
    dims = [d for d in range(-max(len(own), len(batch)), 0) if _name(frames, d) != particles]
    wider = [_size(own, d) > _size(batch, d) for d in dims]
    narrower = [_size(own, d) < _size(batch, d) for d in dims]
    if any(wider) and any(narrower):
        raise ValueError(_misaligned(name, shape, batch + event))
    for d, frame in frames.items():
        size = max(_size(own, d), _size(batch, d))
        if size != frame.size:
            raise ValueError(
                f"expected {frame.size} values of {name!r} in the plate {frame.name!r}, got {size}"
            )


def _misaligned(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    return (
        f"expected a value of {name!r} of shape {expected}, as its distribution has, got {got}: "
        "every value would be compared with every distribution"
    )


def _name(frames: dict[int, Any], dim: int) -> str | None:
    return frames[dim].name if dim in frames else None


def _size(shape: tuple[int, ...], dim: int) -> int:
    return shape[dim] if -dim <= len(shape) else 1
