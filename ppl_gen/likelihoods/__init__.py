r"""Likelihoods: modules that turn a decoder's output into a distribution over data.

A likelihood of images takes parameters ``(..., parameters_per_value · C, H, W)`` and returns
:math:`p(x \mid z)` of batch shape ``(...)`` and event shape ``(C, H, W)``; one of data of another
shape, such as the rows ``(D,)`` of a table, works alike on its first dimension.
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.distributions.grey_levels import GreyBernoulli
from ppl_gen.likelihoods.base import Likelihood
from ppl_gen.likelihoods.by_name import make
from ppl_gen.likelihoods.masked import Masked, serving
from ppl_gen.likelihoods.pixels import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    Gaussian,
    GaussianPerPixel,
)
from ppl_gen.likelihoods.tabular import Mixed

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiscretizedLogistic",
    "Gaussian",
    "GaussianPerPixel",
    "GreyBernoulli",
    "Likelihood",
    "Masked",
    "Mixed",
    "make",
    "serving",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
