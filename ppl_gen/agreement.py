"""What a model and a guide must have in common, whatever the objective.

Pyro's objectives check this only where validation is switched on, some of it in warnings; a pair
that fails has a loss that is no bound.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    TraceTMC_ELBO,
)
from pyro.poutine.util import site_is_subsample
from torch.distributions import Independent

KNOWN = (Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceTMC_ELBO)
SUMMING = (TraceEnum_ELBO, TraceTMC_ELBO)


def require_same_shape(name: str, guide: Any, model: Any) -> None:
    """Refuse a latent of which the model has more, or fewer, than the guide draws.

    Args:
        name: of the site.
        guide: the distribution that the guide draws from.
        model: its prior.

    Raises:
        ValueError: their shapes differ, but for dimensions of size one to the left.
    """
    drawn, expected = _shape(guide), _shape(model)
    if drawn != expected:
        raise ValueError(
            f"expected the guide to draw {name!r} of shape {expected}, as the model does, got "
            f"{drawn}: it needs the plates that the model has around it"
        )


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


def require_agreement(objective: Any, guide: poutine.Trace, model: poutine.Trace) -> None:
    """Refuse a pair of which an objective of Pyro's takes what is wrong for granted.

    Args:
        objective: one of Pyro's that compares the densities of all sites; others are left alone.
        guide: a trace of the guide.
        model: a trace of the model, replayed.

    Raises:
        ValueError: a latent site that the guide lacks and the objective does not enumerate, a site
            of the guide that the model lacks, sites of different shapes, observations that are
            broadcast against their distributions, or a sampler without
            reparameterisation where the objective has no gradient for one.
    """
    if not isinstance(objective, KNOWN):
        return
    drawn, latent = _latents(guide), _latents(model)
    for site in model.nodes.values():
        if site["type"] == "sample" and site["is_observed"]:
            require_aligned(site)
    summed = isinstance(objective, SUMMING)
    for name, site in latent.items():
        if name not in drawn and not (summed and site["infer"].get("enumerate")):
            raise ValueError(
                f"expected the guide to sample every latent site, it lacks {name!r}: "
                "config_enumerate(model) and TraceEnum_ELBO() sum a discrete one out"
            )
    for name, site in drawn.items():
        if name in latent:
            require_same_shape(name, site["fn"], latent[name]["fn"])
        elif not site["infer"].get("is_auxiliary"):
            raise ValueError(f"expected the guide's site {name!r} in the model, which has none")
        if isinstance(objective, TraceMeanField_ELBO) and not site["fn"].has_rsample:
            raise ValueError(
                f"expected a reparameterised sampler of {name!r} for TraceMeanField_ELBO, which "
                f"has no gradient for {type(site['fn']).__name__}: Trace_ELBO() has one"
            )


def _latents(trace: poutine.Trace) -> dict[str, Any]:
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    }


def _shape(distribution: Any) -> tuple[int, ...]:
    """The shape of a draw, without dimensions of size one to the left."""
    shape = [*distribution.batch_shape, *distribution.event_shape]
    while shape and shape[0] == 1:
        del shape[0]
    return tuple(shape)
