"""A likelihood by its name, or by the kinds of a table's columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphs.language.suggestions import did_you_mean
from ppl_gen.likelihoods.base import Likelihood
from ppl_gen.likelihoods.pixels import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    Gaussian,
    GaussianPerPixel,
)
from ppl_gen.likelihoods.tabular import Mixed


def make(likelihood: str | Sequence[str | int] | Likelihood) -> Likelihood:
    """A likelihood as it is, or the one of a name or of the kinds of columns.

    The names are ``"bernoulli"``, ``"gaussian"`` (one learned σ), ``"gaussian_per_pixel"``,
    ``"categorical"`` (16 grey levels) and ``"discretized_logistic"`` (256). A tuple of kinds makes
    a :class:`Mixed` one.

    >>> ppl_gen.likelihoods.make("categorical").levels
    16
    >>> ppl_gen.likelihoods.make(("gaussian", 3)).kind
    'Mixed'
    """
    if isinstance(likelihood, Likelihood):
        return likelihood
    named: dict[str, Callable[[], Likelihood]] = {
        "bernoulli": Bernoulli,
        "gaussian": lambda: Gaussian(learn=True),
        "gaussian_per_pixel": GaussianPerPixel,
        "categorical": Categorical,
        "discretized_logistic": DiscretizedLogistic,
    }
    if isinstance(likelihood, (tuple, list)):
        return Mixed(likelihood)
    if not isinstance(likelihood, str) or likelihood not in named:
        hint = did_you_mean(likelihood, named) if isinstance(likelihood, str) else ""
        raise ValueError(
            f"expected a Likelihood or one of {', '.join(named)}, got {likelihood!r}{hint}"
        )
    return named[likelihood]()
