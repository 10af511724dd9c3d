r"""Estimators of :math:`\nabla_\phi \mathbb{E}_{q_\phi}[f(z)]`, interchangeable parts.

Each builds a surrogate whose gradient is the estimate, so that surrogates nest; ``registry`` maps
names to classes.
"""

from ppl_gen.estimators.arm import ARM, DisARM
from ppl_gen.estimators.base import Estimator, Expectation
from ppl_gen.estimators.by_name import make, registry
from ppl_gen.estimators.control_variates import Rebar, Relax
from ppl_gen.estimators.enumeration import Enumerate
from ppl_gen.estimators.measure_valued import MeasureValued
from ppl_gen.estimators.multisample import VIMCO, LeaveOneOut
from ppl_gen.estimators.muprop import MuProp
from ppl_gen.estimators.pathwise import GumbelSoftmax, Reparameterized, StraightThrough
from ppl_gen.estimators.score import NVIL, Score, ScoreConstant, ScoreRunning

__all__ = [
    "ARM",
    "NVIL",
    "VIMCO",
    "DisARM",
    "Enumerate",
    "Estimator",
    "Expectation",
    "GumbelSoftmax",
    "LeaveOneOut",
    "MeasureValued",
    "MuProp",
    "Rebar",
    "Relax",
    "Reparameterized",
    "Score",
    "ScoreConstant",
    "ScoreRunning",
    "StraightThrough",
    "make",
    "registry",
]
