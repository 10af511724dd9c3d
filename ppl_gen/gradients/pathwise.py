r"""Estimators that differentiate the path: :math:`z = g_\phi(\epsilon)`,
:math:`\nabla_\phi E f = E_\epsilon[\nabla_\phi f(g_\phi(\epsilon))]`.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from ppl_gen.gradients.base import Estimator, Expectation


class Reparameterized(Estimator):
    r"""The reparameterised, or pathwise, estimator: :math:`\nabla_\phi f(g_\phi(\epsilon))`.

    Serves distributions with a differentiable sampler (``rsample``); needs a differentiable cost;
    unbiased; 1 evaluation and its gradient; Kingma and Welling (2014), Rezende et al. (2014).
    """

    name = "reparameterized"
    serves = "distributions with a differentiable sampler"
    differentiates = True

    def refusal(self, distribution: Distribution) -> str | None:
        return None if distribution.has_rsample else "it has no rsample"

    def surrogate(self, e: Expectation) -> Tensor:
        return e.evaluate(e.distribution.rsample())
