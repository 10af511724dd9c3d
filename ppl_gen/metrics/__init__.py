"""How good a model is, in numbers that do not depend on how it was trained.

Every likelihood is in nats per image under the true, unweighted model, and names how the pixels
were binarised: numbers of different binarisations must not be compared.
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.evaluation.batched import binarization
from ppl_gen.metrics.along import Along
from ppl_gen.metrics.bounds import ELBOTerms, elbo_terms, log_likelihood
from ppl_gen.metrics.codes import CodebookUsage, active_units, codebook_usage, hoyer, sparsity
from ppl_gen.metrics.digit_classes import DigitClasses, digit_classes
from ppl_gen.metrics.disentanglement import MIG, mig
from ppl_gen.metrics.factors import FactorArrays
from ppl_gen.metrics.mixtures import Modes, modes
from ppl_gen.metrics.neighbours import (
    Birthday,
    Nearest,
    Neighbours,
    birthday,
    nearest,
    neighbours,
)
from ppl_gen.metrics.predictors import DCI, SAP, dci, sap
from ppl_gen.metrics.samples import SampleDistance, fid, kid
from ppl_gen.metrics.stacked import StackedModes, stacked_modes
from ppl_gen.metrics.surgery import RateDistortion, rate_distortion
from ppl_gen.metrics.transport import (
    energy_distance,
    sliced_wasserstein,
    wasserstein,
    wasserstein_1d,
)
from ppl_gen.metrics.votes import FactorVAEScore, factor_vae_score

__all__ = [
    "DCI",
    "MIG",
    "SAP",
    "Along",
    "Birthday",
    "CodebookUsage",
    "DigitClasses",
    "ELBOTerms",
    "FactorArrays",
    "FactorVAEScore",
    "Modes",
    "Nearest",
    "Neighbours",
    "RateDistortion",
    "SampleDistance",
    "StackedModes",
    "active_units",
    "binarization",
    "birthday",
    "codebook_usage",
    "dci",
    "digit_classes",
    "elbo_terms",
    "energy_distance",
    "factor_vae_score",
    "fid",
    "hoyer",
    "kid",
    "log_likelihood",
    "mig",
    "modes",
    "nearest",
    "neighbours",
    "rate_distortion",
    "sap",
    "sliced_wasserstein",
    "sparsity",
    "stacked_modes",
    "wasserstein",
    "wasserstein_1d",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
