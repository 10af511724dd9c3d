r"""Denoisers: what is known of the data behind :math:`x = \alpha x_0 + \sigma \epsilon`.

A denoiser is a module ``(x, u, y=None) -> Prediction`` with the :class:`~ppl_gen.noise.Noise` it
was made for. Noise, data, velocity and score are one prediction in four dresses, so every sampler
takes every denoiser.

===============  ===============================================================================
module           what it holds
===============  ===============================================================================
``prediction``   :class:`Prediction` and :func:`convert` between its four dresses
``networks``     :class:`Denoiser` around a network, :class:`Preconditioned` as in EDM
``exact``        :class:`Gaussian` and :class:`Mixture`, the posterior means of data of known law
``guidance``     :class:`Guided` without a classifier, :class:`Clipped` to the range of the data
``staged``       :class:`Staged`, which runs as compiled code
``variances``    the variance of a step back, in four ways
``weightings``   losses as weights on the squared error of the predicted data
===============  ===============================================================================
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.denoisers.base import DenoiserBase
from ppl_gen.denoisers.exact import Gaussian, Mixture
from ppl_gen.denoisers.guidance import Clipped, Guided
from ppl_gen.denoisers.networks import Denoiser, Preconditioned
from ppl_gen.denoisers.prediction import Prediction, convert
from ppl_gen.denoisers.staged import Staged
from ppl_gen.denoisers.variances import reverse_variance
from ppl_gen.denoisers.weightings import (
    bound_weight,
    continuous_bound_weight,
    min_snr_weight,
    preconditioned_weight,
    prediction_weight,
)

__all__ = [
    "Clipped",
    "Denoiser",
    "DenoiserBase",
    "Gaussian",
    "Guided",
    "Mixture",
    "Preconditioned",
    "Prediction",
    "Staged",
    "bound_weight",
    "continuous_bound_weight",
    "convert",
    "min_snr_weight",
    "preconditioned_weight",
    "prediction_weight",
    "reverse_variance",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
