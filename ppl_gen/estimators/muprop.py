r"""MuProp: the score function with the cost's first-order expansion as its control variate.

About the mean :math:`\mu` of q the cost is nearly :math:`h(z) = f(\mu) + f'(\mu)^\top (z - \mu)`,
whose expectation has the gradient :math:`f'(\mu)^\top \nabla\mu`, so that

.. math:: (f(z) - h(z))\, \nabla \log q(z) + f'(\mu)^\top \nabla \mu

is unbiased.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, OneHotCategorical

from ppl_gen.estimators.base import Estimator, Expectation, zero
from ppl_gen.estimators.families import base_of, sum_events


class MuProp(Estimator):
    r"""The score function of what a first-order expansion leaves of the cost.

    Serves Bernoulli and one-hot categorical distributions; needs a cost that is differentiable at
    their mean; unbiased; 2 evaluations and the gradient of one; Gu et al. (2016), equation 6.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> score, muprop = ppl_gen.gradients.compare(problem, ["score", "muprop"], draws=500).rows
    >>> muprop.variance < score.variance
    True
    """

    name = "muprop"
    serves = "Bernoulli and OneHotCategorical distributions"
    differentiates = True

    def refusal(self, distribution: Distribution) -> str | None:
        discrete = isinstance(base_of(distribution), (Bernoulli, OneHotCategorical))
        return None if discrete else "its expansion is known for binary and one-hot values only"

    def surrogate(self, e: Expectation) -> Tensor:
        z, mean = e.sample(), base_of(e.distribution).mean
        f, log_q = e.score(z)
        if not torch.is_grad_enabled():
            return f
        fixed = mean.detach().requires_grad_()
        at_mean = e.evaluate_fixed(fixed)
        (slope,) = torch.autograd.grad(at_mean.sum(), fixed)
        expansion = at_mean + sum_events(e.distribution, slope * (z - fixed))
        signal = zero((f - expansion).detach() * log_q)
        return f + signal + sum_events(e.distribution, zero(slope * mean))
