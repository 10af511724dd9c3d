r"""The exact gradient of a finite sum, :math:`\sum_z f(z) \nabla q(z)`."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from ppl_gen._checks import require_at_least_two
from ppl_gen.estimators.base import Estimator, Expectation
from ppl_gen.estimators.families import enumerate_support, support_size


class Enumerate(Estimator):
    r"""The sum over every value: the score function, Rao-Blackwellised completely.

    Serves distributions with finite support, jointly over the event: :math:`2^Z` values of Z
    Bernoulli variables; exact; as many evaluations as values.

    Args:
        limit: the most values it will list.

    Raises:
        ValueError: a limit below 2.

    >>> logits = torch.zeros(2, requires_grad=True)
    >>> q = torch.distributions.Bernoulli(logits=logits)
    >>> ppl_gen.gradients.Enumerate()(q, lambda b: (b - 0.45) ** 2).sum().backward()
    >>> logits.grad
    tensor([0.0250, 0.0250])
    """

    name = "enumerate"
    serves = "distributions with few values"

    def __init__(self, limit: int = 1024):
        super().__init__(limit=limit)
        self.limit = require_at_least_two(limit, "a limit of at least 2 values")

    def refusal(self, distribution: Distribution) -> str | None:
        size = support_size(distribution)
        if size is None:
            return "its values cannot be listed"
        if size > self.limit:
            return f"it has {size:.3g} values, more than limit={self.limit}"
        return None

    def surrogate(self, e: Expectation) -> Tensor:
        z = enumerate_support(e.distribution)
        return (e.log_prob(z).exp() * e.evaluate_fixed(z)).sum(0)
