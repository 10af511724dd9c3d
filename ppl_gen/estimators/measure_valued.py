r"""Measure-valued derivatives: the derivative of a density as a difference of two densities.

.. math::

    \nabla_\phi q(z) = c\, (q^+(z) - q^-(z)) \quad\Rightarrow\quad
    \nabla_\phi E_q f = c\, (E_{q^+} f - E_{q^-} f),

one coordinate at a time, the others drawn from q (Pflug 1989; Mohamed et al. 2020, section 6).

=================  ==========================  =======================  ====================
parameter          c                           :math:`z^+`              :math:`z^-`
=================  ==========================  =======================  ====================
normal loc         :math:`1/\sigma\sqrt{2\pi}`  :math:`\mu + \sigma R`   :math:`\mu - \sigma R`
normal scale       :math:`1/\sigma`             :math:`\mu + \sigma M`   :math:`N(\mu, \sigma^2)`
Bernoulli logit    :math:`p (1 - p)`            1                        0
=================  ==========================  =======================  ====================

R is Rayleigh and M double-sided Maxwell.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal

from ppl_gen._checks import require_at_least_two
from ppl_gen.estimators.base import Estimator, Expectation, inject
from ppl_gen.estimators.families import base_of, leaves, sum_events


class MeasureValued(Estimator):
    r"""The measure-valued derivative of each parameter of each coordinate.

    Serves normal and Bernoulli distributions; needs no gradient of the cost; unbiased; 2
    evaluations per coordinate and parameter, and one more where the value is needed too; Mohamed
    et al. (2020), section 6.

    Args:
        coupled: draw :math:`z^+` and :math:`z^-` from common random numbers: one R for both, the
            normal as M times a uniform variable, the same values of the other coordinates. This
            pays for smooth costs, and may cost for others.
        limit: the most evaluations it will make per estimate.

    Raises:
        ValueError: a limit below 2.

    >>> problem = ppl_gen.gradients.normal_cost("square", k=0.0)
    >>> estimators = [ppl_gen.gradients.MeasureValued(coupled=c) for c in (True, False)]
    >>> coupled, independent = ppl_gen.gradients.compare(problem, estimators, draws=500).rows
    >>> coupled.variance < independent.variance
    True
    """

    name = "measure_valued"
    serves = "Normal and Bernoulli distributions of few dimensions"

    def __init__(self, coupled: bool = True, limit: int = 256):
        super().__init__(coupled=coupled, limit=limit)
        self.limit = require_at_least_two(limit, "a limit of at least 2 evaluations")
        self.coupled = coupled

    def refusal(self, distribution: Distribution) -> str | None:
        if not isinstance(base_of(distribution), (Normal, Bernoulli)):
            return "its derivative is not among those known"
        needed = 2 * math.prod(distribution.event_shape) * len(leaves(distribution))
        if needed > self.limit:
            return f"it needs {needed} evaluations, more than limit={self.limit}"
        return None

    def surrogate(self, e: Expectation) -> Tensor:
        surrogate = e.evaluate_fixed(e.sample()) if e.needs_value else 0.0
        for name, parameter in leaves(e.distribution).items():
            if parameter.requires_grad:
                gradient = self._derivative(e, name)
                surrogate = surrogate + sum_events(e.distribution, inject(parameter, gradient))
        return torch.as_tensor(surrogate)

    @torch.no_grad()
    def _derivative(self, e: Expectation, name: str) -> Tensor:
        """The derivative in one leaf, of its shape."""
        constant, positive, negative = self._decompose(base_of(e.distribution), name)
        events = e.distribution.event_shape
        others = e.sample()
        plus = _replace_each(others, positive, events)
        minus = _replace_each(others if self.coupled else e.sample(), negative, events)
        f = e.evaluate_fixed(torch.stack([plus, minus]))
        return constant * (f[0] - f[1]).movedim(0, -1).reshape(constant.shape)

    def _decompose(self, base: Normal | Bernoulli, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """c and draws of the positive and the negative part, each of the shape of the leaf."""
        if isinstance(base, Bernoulli):
            return base.variance, torch.ones_like(base.logits), torch.zeros_like(base.logits)
        loc, scale = base.loc, base.scale
        if name == "loc":
            first = _rayleigh(loc)
            second = first if self.coupled else _rayleigh(loc)
            constant = 1 / (scale * math.sqrt(2 * math.pi))
            return constant, loc + scale * first, loc - scale * second
        maxwell = _double_sided_maxwell(loc)
        normal = maxwell * torch.rand_like(loc) if self.coupled else torch.randn_like(loc)
        return 1 / scale, loc + scale * maxwell, loc + scale * normal


def _replace_each(z: Tensor, values: Tensor, events: torch.Size) -> Tensor:
    """Copies of z with one coordinate each replaced: ``(coordinates, *D, *E)``."""
    count = math.prod(events)
    batch = z.dim() - len(events)
    chosen = torch.eye(count, dtype=torch.bool).reshape(count, *(1 for _ in range(batch)), *events)
    return torch.where(chosen, values, z)


def _rayleigh(like: Tensor) -> Tensor:
    return torch.sqrt(-2 * torch.log1p(-torch.rand_like(like)))


def _double_sided_maxwell(like: Tensor) -> Tensor:
    """A density proportional to :math:`x^2 e^{-x^2/2}`: a normal 3-vector's length, signed."""
    length = torch.randn(3, *like.shape, dtype=like.dtype, device=like.device).norm(dim=0)
    return torch.where(torch.rand_like(like) < 0.5, length, -length)
