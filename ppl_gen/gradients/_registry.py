"""The estimators by name: one line each, and every comparison and law test picks it up."""

from __future__ import annotations

import difflib

from torch.distributions import Distribution

from ppl_gen.gradients import (
    antithetic,
    expansion,
    measures,
    pathwise,
    score,
    several,
    summation,
    variates,
)
from ppl_gen.gradients.base import Estimator

registry: dict[str, type[Estimator]] = {
    kind.name: kind
    for kind in (
        score.Score,
        score.ScoreConstant,
        score.ScoreRunning,
        several.LeaveOneOut,
        score.NVIL,
        several.VIMCO,
        expansion.MuProp,
        pathwise.Reparameterized,
        measures.MeasureValued,
        pathwise.GumbelSoftmax,
        pathwise.StraightThrough,
        variates.Rebar,
        variates.Relax,
        antithetic.ARM,
        antithetic.DisARM,
        summation.Enumerate,
    )
}


def make(estimator: str | Estimator) -> Estimator:
    """An estimator as it is, or the one of a name with its default settings.

    Raises:
        ValueError: no estimator has that name.
    """
    if isinstance(estimator, Estimator):
        return estimator
    if not isinstance(estimator, str) or estimator not in registry:
        near = difflib.get_close_matches(str(estimator), registry, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"expected an Estimator or one of {', '.join(registry)}, got {estimator!r}{hint}"
        )
    return registry[estimator]()


def serving(distribution: Distribution) -> list[str]:
    """The names of the estimators that serve a distribution."""
    return [name for name, kind in registry.items() if kind().refusal(distribution) is None]
