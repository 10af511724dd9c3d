r"""ARM and DisARM: Bernoulli variables from one uniform variable used twice.

With :math:`u \sim U(0, 1)` and :math:`p = \sigma(\phi)`, both :math:`b_1 = 1[u > 1 - p]` and
:math:`b_2 = 1[u < p]` are Bernoulli(p), and they are as negatively correlated as can be. All
dimensions of an event share the two evaluations of the cost.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from ppl_gen.estimators.base import Estimator, Expectation, inject
from ppl_gen.estimators.families import base_of, per_event, sum_events


class ARM(Estimator):
    r"""Augment-REINFORCE-merge: :math:`(f(b_1) - f(b_2))(u - \tfrac12)` in the logit.

    Serves Bernoulli distributions; unbiased; 2 evaluations; Yin and Zhou (2019), theorem 1.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> row = ppl_gen.gradients.compare(problem, ppl_gen.gradients.ARM(), draws=200).rows[0]
    >>> row.cost, abs(row.bias) < 4 * row.stderr
    (2.0, True)
    """

    name = "arm"
    serves = "Bernoulli distributions"

    def refusal(self, distribution: Distribution) -> str | None:
        return None if isinstance(base_of(distribution), Bernoulli) else "it is not binary"

    def surrogate(self, e: Expectation) -> Tensor:
        logits = base_of(e.distribution).logits
        with torch.no_grad():
            u, p = torch.rand_like(logits), torch.sigmoid(logits)
            pair = torch.stack([u > torch.sigmoid(-logits), u < p]).to(logits)
        f = e.evaluate_fixed(pair)
        difference = per_event(e.distribution, (f[0] - f[1]).detach())
        gradient = difference * self.weight(u, logits.detach(), pair)
        return f.mean(0) + sum_events(e.distribution, inject(logits, gradient))

    def weight(self, u: Tensor, logits: Tensor, pair: Tensor) -> Tensor:
        r"""What multiplies :math:`f(b_1) - f(b_2)`, of the shape of the logits."""
        return u - 0.5


class DisARM(ARM):
    r"""ARM with u integrated out given the pair.

    .. math:: \tfrac12 (f(b_1) - f(b_2))\, 1[b_1 \ne b_2]\, (-1)^{b_2}\, \sigma(|\phi|)

    Serves Bernoulli distributions; unbiased; 2 evaluations; Dong, Mnih and Tucker (2020), also
    Yin et al. (2020).

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> arm, disarm = ppl_gen.gradients.compare(problem, ["arm", "disarm"], draws=200).rows
    >>> disarm.variance < arm.variance
    True
    """

    name = "disarm"

    def weight(self, u: Tensor, logits: Tensor, pair: Tensor) -> Tensor:
        # the sign (-1)^{b_2} 1[b_1 != b_2] is b_1 - b_2
        return 0.5 * (pair[0] - pair[1]) * torch.sigmoid(logits.abs())
