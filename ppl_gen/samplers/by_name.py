"""A sampler by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from graphs.language.suggestions import did_you_mean
from ppl_gen.samplers.ancestral import DDIM, Ancestral
from ppl_gen.samplers.base import Sampler
from ppl_gen.samplers.flow import Euler, Heun
from ppl_gen.samplers.langevin import AnnealedLangevin, PredictorCorrector

NAMED: dict[str, Callable[[], Sampler]] = {
    "ancestral": Ancestral,
    "ancestral_large": partial(Ancestral, "large"),
    "ancestral_learned": partial(Ancestral, "learned"),
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "langevin": partial(AnnealedLangevin, 10, 0.3),
    "predictor_corrector": PredictorCorrector,
}


def by_name(sampler: str | Sampler) -> Sampler:
    """A sampler as it is, or the one of a name.

    The names are ``"ancestral"`` with small variances, ``"ancestral_large"``,
    ``"ancestral_learned"``, ``"ddim"`` without noise, ``"euler"``, ``"heun"``, ``"langevin"`` with
    ten steps of ratio .3 at each level, and ``"predictor_corrector"``.

    Raises:
        ValueError: another name.

    >>> ppl_gen.samplers.by_name("ancestral_large").variance
    'large'
    """
    if isinstance(sampler, Sampler):
        return sampler
    if not isinstance(sampler, str) or sampler not in NAMED:
        hint = did_you_mean(sampler, NAMED) if isinstance(sampler, str) else ""
        known = ", ".join(NAMED)
        raise ValueError(f"expected a Sampler or one of {known}, got {sampler!r}{hint}")
    return NAMED[sampler]()
