r"""The variance of a step back, :math:`p(x_s \mid x_t) = \mathcal N(\tilde\mu, \sigma_p^2)`."""

from __future__ import annotations

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
    require_variance(kind)
    if kind == "large":
        return transition(s, t).variance
    q = posterior(s, t)
    if kind == "small":
        return q.variance
    if kind == "optimal":
        return q.variance + q.on_data**2 * _error(prediction, error)
    small = q.variance if smallest is None else smallest
    return _between(small, transition(s, t).variance, prediction.fraction)


def _error(prediction: Prediction, error: Tensor | None) -> Tensor:
    found = prediction.error if error is None else error
    if found is None:
        raise ValueError(
            "expected error=, the mean squared error of the data as a function of time, "
            "which this denoiser does not know"
        )
    return found


def _between(small: Tensor, large: Tensor, fraction: Tensor | None) -> Tensor:
    if fraction is None:
        raise ValueError("expected a denoiser with learned_variance=True for learned variances")
    low, high = small.log().to(fraction), large.log().to(fraction)
    return torch.exp(fraction * high + (1 - fraction) * low)
