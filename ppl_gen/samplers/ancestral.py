r"""Samplers that step through the Gaussians between two times."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ppl_gen._checks import is_finite
from ppl_gen.denoisers import Prediction
from ppl_gen.noise import Level, posterior, transition
from ppl_gen.noise.grids import Grid
from ppl_gen.samplers.base import Draw, Predict, Sampler

VARIANCES = ("small", "large", "learned", "optimal")


class Ancestral(Sampler):
    r"""Draws from :math:`p(x_s \mid x_t) = \mathcal N(\tilde\mu(x_t, \hat x_0), \sigma_p^2 I)`
    (Ho et al. 2020, algorithm 2).

    The mean is that of :func:`ppl_gen.noise.posterior` at the predicted data, and the variance

    ===========  ================================================================================
    ``small``    the posterior's, :math:`\tilde\sigma^2 = \sigma^2_{t|s} \sigma_s^2 / \sigma_t^2`
    ``large``    the transition's, :math:`\sigma^2_{t|s}`
    ``learned``  between both in logarithm, as the network says (Nichol and Dhariwal 2021, eq. 15)
    ``optimal``  small plus what the data are uncertain by, :math:`(\alpha_s \sigma^2_{t|s} /
                 \sigma_t^2)^2 \operatorname{MSE}_t` (Bao et al. 2022, theorem 1): exact for
                 Gaussian data
    ===========  ================================================================================

    The last step, to clean data, adds no noise but with ``optimal``.

    Args:
        variance: one of the four.
        error: :math:`\operatorname{MSE}_t` as a function of time, for ``optimal`` and denoisers
            that do not know it.
        grid: the levels to visit, evenly spaced times by default.

    Raises:
        ValueError: another variance; predictions that lack what the variance needs.

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Cosine(), torch.zeros(1), 4.0)
    >>> x = ppl_gen.samplers.Ancestral("optimal").sample(data, 4000, steps=3, seed=0)
    >>> round(x.var().item(), 1)
    4.0
    """

    def __init__(
        self,
        variance: str = "small",
        *,
        error: Callable[[Tensor], Tensor] | None = None,
        grid: Grid | None = None,
    ):
        super().__init__(grid)
        if variance not in VARIANCES:
            raise ValueError(f"expected a variance among {', '.join(VARIANCES)}, got {variance!r}")
        self.variance, self.error = variance, error

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        found = predict(x, t)
        mean = posterior(s, t).mean(x, found.data)
        if s.sigma == 0 and self.variance != "optimal":
            return mean
        return mean + self.reverse_variance(found, t, s).sqrt() * draw()

    def reverse_variance(self, prediction: Prediction, t: Level, s: Level) -> Tensor:
        r""":math:`\sigma_p^2` of the step from ``t`` to ``s``, for all or for each value.

        Raises:
            ValueError: predictions that lack what it is made of; a learned variance at the step
                to clean data, which has no smallest one.
        """
        q, large = posterior(s, t), transition(s, t).variance
        if self.variance == "learned":
            return _between(q.variance, large, prediction.fraction)
        if self.variance == "optimal":
            return q.variance + q.on_data**2 * self._error(prediction, t)
        return q.variance if self.variance == "small" else large

    def _error(self, prediction: Prediction, t: Level) -> Tensor:
        if self.error is not None:
            return self.error(t.u)
        if prediction.error is None:
            raise ValueError(
                "expected error=, the mean squared error of the data as a function of time, "
                "which this denoiser does not know"
            )
        return prediction.error


class DDIM(Sampler):
    r"""Song et al.'s family (2021a, eq. 12) from deterministic, :math:`\eta = 0`, to ancestral, 1.

    .. math:: x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - \eta^2 \tilde\sigma^2}\, \hat\epsilon
        + \eta \tilde\sigma z, \quad \tilde\sigma^2 = \sigma^2_{t|s} \sigma_s^2 / \sigma_t^2.

    :math:`\eta` multiplies the standard deviation. At 0 this is :class:`Euler`, and at 1
    :class:`Ancestral` with small variance.

    Args:
        eta: :math:`\eta`.
        grid: the levels to visit, evenly spaced times by default.

    Raises:
        ValueError: :math:`\eta` outside [0, 1].

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Cosine(), torch.zeros(1), 1.0)
    >>> noise = torch.tensor([[0.5], [1.0]])
    >>> ppl_gen.samplers.DDIM().sample(data, 2, steps=500, start=noise).round(decimals=2)
    tensor([[0.5000],
            [1.0000]])
    """

    def __init__(self, eta: float = 0.0, *, grid: Grid | None = None):
        super().__init__(grid)
        if not (is_finite(eta) and 0 <= eta <= 1):
            raise ValueError(f"expected eta from 0, deterministic, to 1, ancestral, got {eta!r}")
        self.eta = float(eta)

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        found = predict(x, t)
        added = self.eta**2 * posterior(s, t).variance
        kept = (s.sigma**2 - added).clamp(min=0).sqrt()
        mean = s.alpha * found.data + kept * found.noise
        return mean + added.sqrt() * draw() if added > 0 else mean


def _between(small: Tensor, large: Tensor, fraction: Tensor | None) -> Tensor:
    if fraction is None:
        raise ValueError("expected a denoiser with learned_variance=True for learned variances")
    if not small > 0:
        raise ValueError("expected noise at s for a learned variance, got clean data")
    return torch.exp(fraction * large.log() + (1 - fraction) * small.log())
