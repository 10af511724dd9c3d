r"""Score-function estimators: :math:`\nabla E_q f = E_q[(f(z) - b)\, \nabla \log q(z)]`.

They need no gradient of the cost and no path through z, so they serve every distribution. They
differ in the baseline b, which may be anything independent of z, as :math:`E_q \nabla \log q = 0`.
"""

from __future__ import annotations

from torch import Tensor

from ppl_gen.gradients.base import Estimator, Expectation, zero


class Score(Estimator):
    r"""The score function, or REINFORCE: :math:`f(z)\, \nabla \log q(z)`.

    Serves any distribution; unbiased; 1 evaluation; Williams (1992), Glynn (1990).
    """

    name = "score"

    def surrogate(self, e: Expectation) -> Tensor:
        z = e.sample()
        f = e.evaluate_fixed(z)
        return f + zero((f.detach() - self.baseline(e)) * e.log_prob(z))

    def baseline(self, e: Expectation) -> Tensor | float:
        """b, of a shape that broadcasts with the batch shape; without gradient."""
        return 0.0
