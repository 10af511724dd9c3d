r"""Samplers: from noise to data with a denoiser.

A sampler overrides one :meth:`~Sampler.step`, from a level ``t`` to a less noisy ``s``, and says
which grid of levels it visits; :meth:`Sampler.sample` does the rest. Every sample has its own
random stream, derived from a seed and its index, so the first ``k`` of ``n`` are the ``k`` alone.

==============  ================================================================================
module          what it holds
==============  ================================================================================
``base``        :class:`Sampler`, the driver, and :class:`Frames`, what it saw on the way
``streams``     :class:`Streams`, the random numbers of every sample
``ancestral``   :class:`Ancestral` with its four variances, :class:`DDIM`
``flow``        :class:`Euler` and :class:`Heun` on the probability flow
``langevin``    :class:`AnnealedLangevin`, :class:`PredictorCorrector`
``by_name``     any of these by a name
``likelihood``  :func:`log_likelihood` by the probability flow
==============  ================================================================================
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.samplers.ancestral import DDIM, Ancestral
from ppl_gen.samplers.base import Frames, Sampler
from ppl_gen.samplers.by_name import by_name
from ppl_gen.samplers.flow import Euler, Heun
from ppl_gen.samplers.langevin import AnnealedLangevin, PredictorCorrector, langevin
from ppl_gen.samplers.likelihood import log_likelihood
from ppl_gen.samplers.streams import Streams

__all__ = [
    "DDIM",
    "Ancestral",
    "AnnealedLangevin",
    "Euler",
    "Frames",
    "Heun",
    "PredictorCorrector",
    "Sampler",
    "Streams",
    "by_name",
    "langevin",
    "log_likelihood",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
