"""The estimators by name: one line each, and every comparison and law test picks it up."""

from __future__ import annotations

from graphs.language.suggestions import did_you_mean
from ppl_gen.estimators.arm import ARM, DisARM
from ppl_gen.estimators.base import Estimator, registry
from ppl_gen.estimators.control_variates import Rebar, Relax
from ppl_gen.estimators.enumeration import Enumerate
from ppl_gen.estimators.measure_valued import MeasureValued
from ppl_gen.estimators.multisample import VIMCO, LeaveOneOut
from ppl_gen.estimators.muprop import MuProp
from ppl_gen.estimators.pathwise import GumbelSoftmax, Reparameterized, StraightThrough
from ppl_gen.estimators.score import NVIL, Score, ScoreConstant, ScoreRunning

registry.update(
    (kind.name, kind)
    for kind in (
        Score,
        ScoreConstant,
        ScoreRunning,
        LeaveOneOut,
        NVIL,
        VIMCO,
        MuProp,
        Reparameterized,
        MeasureValued,
        GumbelSoftmax,
        StraightThrough,
        Rebar,
        Relax,
        ARM,
        DisARM,
        Enumerate,
    )
)


def make(estimator: str | Estimator) -> Estimator:
    """An estimator as it is, or the one of a name with its default settings.

    Raises:
        ValueError: no estimator has that name.

    >>> ppl_gen.gradients.make("score_running").decay
    0.9
    >>> ppl_gen.gradients.make(ppl_gen.gradients.LeaveOneOut(samples=4)).label
    'leave_one_out(samples=4)'
    """
    if isinstance(estimator, Estimator):
        return estimator
    if not isinstance(estimator, str) or estimator not in registry:
        hint = did_you_mean(str(estimator), registry)
        raise ValueError(
            f"expected an Estimator or one of {', '.join(registry)}, got {estimator!r}{hint}"
        )
    return registry[estimator]()
