r"""Estimators that differentiate the path: :math:`z = g_\phi(\epsilon)`,
:math:`\nabla_\phi E f = E_\epsilon[\nabla_\phi f(g_\phi(\epsilon))]`.

A discrete variable has no such path. Its relaxation of temperature :math:`\tau` has one, at the
price of a bias that shrinks with :math:`\tau` while the variance grows.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.distributions import Distribution

from ppl_gen.estimators.base import Estimator, Expectation, zero
from ppl_gen.estimators.families import Relaxation, relaxation
from ppl_gen.schedules import Number, Schedule, as_schedule


class Reparameterized(Estimator):
    r"""The reparameterised, or pathwise, estimator: :math:`\nabla_\phi f(g_\phi(\epsilon))`.

    Serves distributions with a differentiable sampler (``rsample``); needs a differentiable cost;
    unbiased; 1 evaluation and its gradient; Kingma and Welling (2014), Rezende et al. (2014).

    >>> problem = ppl_gen.gradients.normal_cost("square", k=0.0)
    >>> estimators = ["score", ppl_gen.gradients.Reparameterized()]
    >>> score, pathwise = ppl_gen.gradients.compare(problem, estimators, draws=500).rows
    >>> pathwise.variance < score.variance
    True
    """

    name = "reparameterized"
    serves = "distributions with a differentiable sampler"
    differentiates = True

    def refusal(self, distribution: Distribution) -> str | None:
        return None if distribution.has_rsample else "it has no rsample"

    def surrogate(self, e: Expectation) -> Tensor:
        return e.evaluate(e.distribution.rsample())


class Relaxed(Estimator):
    """What the estimators by relaxation share: a family with one, and a temperature."""

    serves = "Bernoulli and OneHotCategorical distributions"
    differentiates = True

    def refusal(self, distribution: Distribution) -> str | None:
        return None if relaxation(distribution) else "it has no Gumbel relaxation"

    def relaxation(self, e: Expectation) -> Relaxation:
        """The relaxation of a distribution that is served."""
        found = relaxation(e.distribution)
        assert found is not None
        return found


class GumbelSoftmax(Relaxed):
    r"""The gradient of the cost at a relaxed value, :math:`y = \mathrm{softmax}((a + g)/\tau)`.

    Serves Bernoulli and one-hot categorical distributions; needs a cost that is differentiable at
    relaxed values; biased, less so as :math:`\tau \to 0`; 1 evaluation and its gradient; Jang et
    al. (2017), Maddison et al. (2017).

    Args:
        temperature: :math:`\tau > 0`, a number or a schedule that training advances.

    Raises:
        ValueError: a temperature that is not positive.

    >>> logits = torch.zeros(1, 3, requires_grad=True)
    >>> q = torch.distributions.OneHotCategorical(logits=logits)
    >>> relaxed = ppl_gen.gradients.GumbelSoftmax(temperature=0.5)
    >>> relaxed(q, lambda y: y @ torch.tensor([0.0, 1.0, 2.0])).sum().backward()
    >>> logits.grad.shape, relaxed.biased
    (torch.Size([1, 3]), True)
    """

    name = "gumbel_softmax"
    biased = True

    def __init__(self, temperature: Number | Schedule = 0.5):
        super().__init__(temperature=temperature)
        self.temperature = require_temperature(temperature)

    def surrogate(self, e: Expectation) -> Tensor:
        r = self.relaxation(e)
        return e.evaluate(r.soften(r.perturbed(r.logits), self.temperature.value))


class StraightThrough(GumbelSoftmax):
    r"""The cost at the hard value, its gradient carried on as if the value were relaxed.

    Serves Bernoulli and one-hot categorical distributions; needs a differentiable cost; biased at
    every temperature; 1 evaluation and its gradient; Bengio et al. (2013), Jang et al. (2017),
    section 2.2.

    Args:
        temperature: :math:`\tau > 0`, a number or a schedule that training advances.

    Raises:
        ValueError: a temperature that is not positive.

    >>> logits = torch.zeros(50, requires_grad=True)
    >>> q = torch.distributions.Bernoulli(logits=logits)
    >>> surrogate = ppl_gen.gradients.StraightThrough()(q, lambda b: 3 * b)
    >>> surrogate.detach().round(decimals=3).unique()
    tensor([0., 3.])
    >>> surrogate.sum().backward()
    >>> logits.grad.all()
    tensor(True)
    """

    name = "straight_through"

    def surrogate(self, e: Expectation) -> Tensor:
        r = self.relaxation(e)
        perturbed = r.perturbed(r.logits)
        soft = r.soften(perturbed, self.temperature.value)
        return e.evaluate(r.harden(perturbed).detach() + zero(soft))


def require_temperature(temperature: Number | Schedule) -> Schedule:
    """A temperature as a schedule, or ``ValueError`` unless it is positive from start to end."""
    schedule = as_schedule(temperature)
    for value in (schedule.value.item(), getattr(schedule, "end", math.inf)):
        if not value > 0:
            raise ValueError(f"expected a positive temperature, got {value:g}")
    return schedule
