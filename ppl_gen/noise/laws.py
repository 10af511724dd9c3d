"""The times at which training adds noise, as functions of uniform numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_gen._checks import is_finite, is_positive
from ppl_gen.noise.kinds import Noise


class LogNormal:
    r"""Times with :math:`\log \rho \sim \mathcal N(m, s^2)`, :math:`\rho = \sigma / \alpha`.

    The law of Karras et al. (2022, table 1), cut to the noise that the schedule reaches. It is
    given as a quantile function, so that uniform draws that are stratified stay so.

    Args:
        mean: :math:`m`.
        sd: :math:`s`.

    Raises:
        ValueError: a mean that is not finite, a standard deviation that is not positive.

    >>> law, noise = ppl_gen.noise.LogNormal(), ppl_gen.noise.EDM()
    >>> u = law(noise, torch.tensor([0.5], dtype=torch.float64))
    >>> round(noise.level(u).rho.log().item(), 3)
    -1.2
    """

    def __init__(self, mean: float = -1.2, sd: float = 1.2):
        if not (is_finite(mean) and is_positive(sd)):
            raise ValueError(f"expected a finite mean and an sd above 0, got {mean!r} and {sd!r}")
        self.mean, self.sd = float(mean), float(sd)

    def __call__(self, noise: Noise, p: Tensor) -> Tensor:
        """The times ``u`` below which a share ``p`` of the draws lies, of the shape of ``p``."""
        ends = torch.stack([-noise.log_snr(0.0), -noise.log_snr(1.0)]) / 2
        law = torch.distributions.Normal(self.mean, self.sd)
        low, high = law.cdf(ends)
        log_rho = law.icdf(low + p.to(torch.float64) * (high - low))
        return noise.time(-2 * torch.minimum(torch.maximum(log_rho, ends[0]), ends[1]))
