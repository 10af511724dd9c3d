r"""Samplers that step through the Gaussians between two times."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ppl_gen._checks import is_finite
from ppl_gen.denoisers import Prediction, reverse_variance
from ppl_gen.denoisers.variances import require_known, require_variance
from ppl_gen.noise import Level, posterior
from ppl_gen.noise.grids import Grid
from ppl_gen.samplers.base import Draw, Predict, Sampler


class Ancestral(Sampler):
    r"""Draws from :math:`p(x_s \mid x_t) = \mathcal N(\tilde\mu(x_t, \hat x_0), \sigma_p^2 I)`
    (Ho et al. 2020, algorithm 2).

    The mean is that of :func:`ppl_gen.noise.posterior` at the predicted data; the variance is
    ``small``, ``large``, ``learned`` or ``optimal``, see
    :func:`ppl_gen.denoisers.reverse_variance`. The last step, to clean data, adds no noise but with
    ``optimal``.

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
        if error is not None and not callable(error):
            raise ValueError(f"expected error as a function of time, got {error!r}")
        self.variance, self.error = require_variance(variance), error

    def check(self, prediction: Prediction) -> None:
        """Raise ``ValueError`` unless predictions carry what the variance is made of."""
        require_known(self.variance, prediction, self.error)

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
        if self.variance == "learned" and not s.sigma > 0:
            raise ValueError("expected noise at s for a learned variance, got clean data")
        error = None if self.error is None else self.error(t.u)
        return reverse_variance(self.variance, prediction, s, t, error=error)


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
