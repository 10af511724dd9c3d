"""Whether a model and a guide speak of the same latents."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from pyro.distributions import Delta

from ppl_gen.objectives.closed_forms import base_of
from ppl_gen.objectives.supports import require_support
from ppl_gen.objectives.weights import Site, equal


def require_agreement(model: Mapping[str, Site], guide: Mapping[str, Site]) -> None:
    """Raise ``ValueError`` unless a guide draws what a model does, the latents given by name."""
    _require_no_enumeration({**model, **guide})
    for name, site in guide.items():
        require_known(name, site, model)
    if missing := [name for name in model if name not in guide]:
        raise ValueError(f"expected the guide to sample every latent site, it lacks {missing}")
    drawn = [site["fn"] for name, site in guide.items() if name not in model]
    moved = any(not isinstance(base_of(fn), Delta) for fn in drawn)
    for name, twin in model.items():
        require_shape(guide[name], twin)
        _require_sizes(guide[name], twin)
        if twin["mask"] is not False:
            require_support(name, guide[name]["fn"], twin["fn"], moved=moved)


def _require_no_enumeration(sites: Mapping[str, Site]) -> None:
    for name, site in sites.items():
        if site["infer"].get("enumerate"):
            raise ValueError(
                f"expected no site to be enumerated, {name!r} asks for it: give "
                "pyro.infer.TraceEnum_ELBO() as the objective"
            )


def require_known(name: str, site: Site, model: Mapping[str, Site]) -> None:
    """A site of the guide is one of the model's latents, or auxiliary."""
    if name not in model and not site["infer"].get("is_auxiliary"):
        raise ValueError(f"expected the guide's site {name!r} in the model, which has none")


def require_shape(site: Site, twin: Site) -> None:
    """The shapes of a site and its twin are the same, ones to the left apart.

    Broadcast, one draw would stand for several latents, or each for every other.
    """
    own, other = (tuple(s["fn"].batch_shape + s["fn"].event_shape) for s in (site, twin))
    if any(n != m for n, m in zip_longest(reversed(own), reversed(other), fillvalue=1)):
        raise ValueError(
            f"expected {site['name']!r} to have the same shape in guide and model, got {own} and "
            f"{other}: are its plates the same, in the same dimensions?"
        )


def _require_sizes(site: Site, twin: Site) -> None:
    """The plates that two sites share by name stand for as many latents in both.

    Else a subsample would count for more of them in one; handlers may make up for it.
    """
    own, other = (
        {frame.name: frame.full_size or frame.size for frame in s["cond_indep_stack"]}
        for s in (site, twin)
    )
    for name in own.keys() & other.keys():
        if own[name] != other[name] and equal(site["scale"], twin["scale"]) is not True:
            raise ValueError(
                f"expected plate {name!r} around {site['name']!r} to have the same size in guide "
                f"and model, got {own[name]} and {other[name]}"
            )
