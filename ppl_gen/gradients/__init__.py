r"""Gradients of expectations :math:`\nabla_\phi \mathbb{E}_{q_\phi}[f(z)]`, side by side.

The estimators are those of :mod:`ppl_gen.estimators`; problems with a known gradient, and programs
of one's own, show what each costs and gives.
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.estimators import (
    ARM,
    NVIL,
    VIMCO,
    DisARM,
    Enumerate,
    Estimator,
    Expectation,
    GumbelSoftmax,
    LeaveOneOut,
    MeasureValued,
    MuProp,
    Rebar,
    Relax,
    Reparameterized,
    Score,
    ScoreConstant,
    ScoreRunning,
    StraightThrough,
    make,
    registry,
)
from ppl_gen.gradients.comparison import Comparison, Row, compare
from ppl_gen.gradients.problems import Problem, bernoulli_quadratic, expectation, normal_cost
from ppl_gen.gradients.programs import bernoulli_vae, gaussian_vae, program
from ppl_gen.objectives.estimated import EstimatedELBO

__all__ = [
    "ARM",
    "NVIL",
    "VIMCO",
    "Comparison",
    "DisARM",
    "Enumerate",
    "EstimatedELBO",
    "Estimator",
    "Expectation",
    "GumbelSoftmax",
    "LeaveOneOut",
    "MeasureValued",
    "MuProp",
    "Problem",
    "Rebar",
    "Relax",
    "Reparameterized",
    "Row",
    "Score",
    "ScoreConstant",
    "ScoreRunning",
    "StraightThrough",
    "bernoulli_quadratic",
    "bernoulli_vae",
    "compare",
    "expectation",
    "gaussian_vae",
    "make",
    "normal_cost",
    "program",
    "registry",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
