r"""The variance of a step back, :math:`p(x_s \mid x_t) = \mathcal N(\tilde\mu, \sigma_p^2)`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ppl_gen.denoisers.prediction import Prediction
from ppl_gen.noise import Level, posterior, transition

VARIANCES = ("small", "large", "learned", "optimal")


def require_variance(kind: str) -> str:
    """The kind, or ``ValueError`` unless it is one of the four."""
    if kind not in VARIANCES:
        raise ValueError(f"expected a variance among {', '.join(VARIANCES)}, got {kind!r}")
    return kind


def require_known(kind: str, prediction: Prediction, error: Any = None) -> None:
    """Raise ``ValueError`` unless a variance of a kind can be told from a prediction."""
    if kind == "learned" and prediction.fraction is None:
        raise ValueError("expected a denoiser with learned_variance=True for learned variances")
    if kind == "optimal" and prediction.error is None and error is None:
        raise ValueError(
            "expected error=, the mean squared error of the data as a function of time, "
            "which this denoiser does not know"
        )


def reverse_variance(
    kind: str,
    prediction: Prediction,
    s: Level,
    t: Level,
    *,
    error: Tensor | None = None,
    smallest: Tensor | None = None,
) -> Tensor:
    r""":math:`\sigma_p^2` of the step from ``t`` to ``s``, for all, for each datum or each value.

    ===========  ================================================================================
    ``small``    the posterior's, :math:`\tilde\sigma^2 = \sigma^2_{t|s} \sigma_s^2 / \sigma_t^2`
    ``large``    the transition's, :math:`\sigma^2_{t|s}`
    ``learned``  between both in logarithm, as the network says (Nichol and Dhariwal 2021)
    ``optimal``  small plus what the data are uncertain by, :math:`(\alpha_s \sigma^2_{t|s} /
                 \sigma_t^2)^2 \operatorname{MSE}_t` (Bao et al. 2022): exact for Gaussian data
    ===========  ================================================================================

    Args:
        kind: one of the four.
        prediction: of the denoiser at ``t``.
        s: the less noisy level, shaped like the data where there is one a datum.
        t: the level of the prediction, shaped alike.
        error: :math:`\operatorname{MSE}_t`, where the prediction does not carry it.
        smallest: what stands for the small variance between which and the large one others are
            learned, for steps to clean data, whose own is 0.

    Raises:
        ValueError: another kind; predictions that lack what it is made of.

    >>> noise = ppl_gen.noise.Cosine()
    >>> data = ppl_gen.denoisers.Gaussian(noise, torch.zeros(1), 4.0)
    >>> table = ppl_gen.noise.uniform(noise, 3)
    >>> found = data(torch.ones(1, 1), table[3].u)
    >>> kinds = ("small", "large", "optimal")
    >>> reverse_variance = ppl_gen.denoisers.reverse_variance
    >>> [round(reverse_variance(k, found, table[2], table[3]).item(), 3) for k in kinds]
    [0.754, 1.0, 1.739]
    """
    require_known(require_variance(kind), prediction, error)
    if kind == "large":
        return transition(s, t).variance
    q = posterior(s, t)
    if kind == "small":
        return q.variance
    if kind == "optimal":
        known = prediction.error if error is None else error
        assert known is not None
        return q.variance + q.on_data**2 * known
    small, fraction = q.variance if smallest is None else smallest, prediction.fraction
    assert fraction is not None
    return _between(small, transition(s, t).variance, fraction)


def _between(small: Tensor, large: Tensor, fraction: Tensor) -> Tensor:
    low, high = small.log().to(fraction), large.log().to(fraction)
    return torch.exp(fraction * high + (1 - fraction) * low)
