"""Score-function estimators of several draws, each the baseline of the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ppl_gen._checks import require_at_least_two
from ppl_gen.estimators.base import Estimator, Expectation, zero


class LeaveOneOut(Estimator):
    r"""The score function of K draws, each centred by the mean cost of the others.

    .. math:: \frac1K \sum_k \Big(f(z_k) - \frac1{K-1} \sum_{j \ne k} f(z_j)\Big) \nabla \log q(z_k)

    Serves any distribution; unbiased; K evaluations; Salimans and Knowles (2014), Kool
    et al. (2019).

    Args:
        samples: K, at least 2.

    Raises:
        ValueError: fewer than two samples.

    >>> problem = ppl_gen.gradients.normal_cost("square", k=0.0)
    >>> estimators = ["score", ppl_gen.gradients.LeaveOneOut(samples=8)]
    >>> score, loo = ppl_gen.gradients.compare(problem, estimators, draws=500).rows
    >>> loo.cost, loo.variance < score.variance / 8
    (8.0, True)
    """

    name = "leave_one_out"

    def __init__(self, samples: int = 2):
        super().__init__(samples=samples)
        self.samples = require_at_least_two(samples, "at least 2 samples")

    def surrogate(self, e: Expectation) -> Tensor:
        f, log_q = e.score(e.sample(self.samples))
        centred = (f - f.mean(0)).detach() * (self.samples / (self.samples - 1))
        return (f + zero(centred * log_q)).mean(0)


class VIMCO(Estimator):
    r"""The multi-sample bound, each draw's score centred by the bound without that draw.

    With :math:`f = -\log w` and :math:`\hat L = \log \frac1K \sum_k w_k`,

    .. math:: -\nabla \hat L \approx -\sum_k (\hat L - \hat L_{-k}) \nabla \log q(z_k)
              - \sum_k \tfrac{w_k}{\sum_j w_j} \nabla \log w_k,

    :math:`\hat L_{-k}` being the bound with :math:`w_k` replaced by the geometric mean of the
    others. Serves any distribution; unbiased for the gradient of the bound of K draws, not for that
    of the expectation; K evaluations; Mnih and Rezende (2016), equations 9 to 11.

    Args:
        samples: K, at least 2.

    Raises:
        ValueError: fewer than two samples.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> vimco = ppl_gen.gradients.VIMCO(samples=4)
    >>> row = ppl_gen.gradients.compare(problem, vimco, draws=200).rows[0]
    >>> row.cost, row.note
    (4.0, 'for the bound of 4 draws')
    """

    name = "vimco"

    def __init__(self, samples: int = 2):
        super().__init__(samples=samples)
        self.samples = self.multi_sample = require_at_least_two(samples, "at least 2 samples")

    def surrogate(self, e: Expectation) -> Tensor:
        z = e.sample(self.samples)
        log_w = -e.evaluate(z)
        bound = log_w.logsumexp(0) - math.log(self.samples)
        fixed = log_w.detach()
        others = (fixed.sum(0) - fixed) / (self.samples - 1)
        swapped = fixed.unsqueeze(0).repeat(self.samples, *(1 for _ in fixed.shape))
        index = torch.arange(self.samples)
        swapped[index, index] = others
        without = swapped.logsumexp(1) - math.log(self.samples)
        learning_signal = bound.detach() - without
        return -bound - zero((learning_signal * e.log_prob(z)).sum(0))
