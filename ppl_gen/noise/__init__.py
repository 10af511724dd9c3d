r"""How much noise a diffusion adds, and when.

Time runs over :math:`u \in [0, 1]` from data to noise, and
:math:`q(x_u \mid x_0) = \mathcal N(\alpha_u x_0, \sigma_u^2 I)`. Write
:math:`\rho = \sigma / \alpha` and :math:`\mathrm{SNR} = \rho^{-2}`. In a table of :math:`T` steps,
entry 0 is clean (:math:`\alpha = 1, \sigma = 0`) and entry :math:`T` the noisiest, so entry
:math:`t` is time :math:`t` and nothing is shifted by one. Every formula is for two times
:math:`s < t`, whether or not they are neighbours.

=============  =================================================================================
module         what it holds
=============  =================================================================================
``levels``     :class:`Level`, a time with its scales; :func:`transition`, :func:`posterior`
``kinds``      :class:`Noise`, variance preserving or exploding
``schedules``  linear, cosine, geometric, EDM
``grids``      the times a sampler visits
``laws``       how often training visits each time
=============  =================================================================================
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.noise.grids import PowerGrid, Trailing, uniform
from ppl_gen.noise.kinds import Noise, VarianceExploding, VariancePreserving
from ppl_gen.noise.laws import EvenTimes, Importance, LogNormal, TimeLaw, stratified
from ppl_gen.noise.levels import Level, Posterior, Transition, posterior, transition
from ppl_gen.noise.schedules import EDM, Cosine, Geometric, Linear

__all__ = [
    "EDM",
    "Cosine",
    "EvenTimes",
    "Geometric",
    "Importance",
    "Level",
    "Linear",
    "LogNormal",
    "Noise",
    "Posterior",
    "PowerGrid",
    "TimeLaw",
    "Trailing",
    "Transition",
    "VarianceExploding",
    "VariancePreserving",
    "posterior",
    "stratified",
    "transition",
    "uniform",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
