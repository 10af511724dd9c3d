"""What Pyro's own objectives take for granted of a model and a guide.

They check it only where validation is switched on, some of it in warnings.
"""

from __future__ import annotations

from typing import Any

from pyro import poutine
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    TraceTMC_ELBO,
)
from pyro.poutine.util import site_is_subsample

from ppl_gen.objectives.agreement import require_known, require_shape
from ppl_gen.objectives.alignment import require_aligned

KNOWN = (Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceTMC_ELBO)
SUMMING = (TraceEnum_ELBO, TraceTMC_ELBO)


def require_granted(objective: Any, guide: poutine.Trace, model: poutine.Trace) -> None:
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
        require_known(name, site, latent)
        if name in latent:
            require_shape(site, latent[name])
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
