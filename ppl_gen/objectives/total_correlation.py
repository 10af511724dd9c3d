r"""The ELBO of the β-TCVAE: its KL in three parts, weighted apart (Chen et al. 2018).

.. math::

    \mathbb{E}_x \mathrm{KL}(q(z|x) \,\|\, p(z)) = \underbrace{I_q(x; z)}_{\alpha}
    + \underbrace{\mathrm{KL}\Big(q(z) \,\Big\|\, \prod_j q(z_j)\Big)}_{\beta}
    + \underbrace{\sum_j \mathrm{KL}(q(z_j) \,\|\, p(z_j))}_{\gamma}

The aggregate :math:`q(z) = \frac1N \sum_n q(z | x_n)` is estimated from the batch with stratified
weights, which sum to one for every datum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Independent

from ppl_gen.objectives.elbo import Objective, Rescore
from ppl_gen.objectives.terms import Terms
from ppl_gen.schedules import Number, Schedule, as_weight


class TotalCorrelationELBO(Objective):
    r"""The ELBO with the three parts of its KL weighted by α, β and γ, negated, summed over data.

    Args:
        weight: :math:`\beta`, a number or a schedule.
        information: :math:`\alpha`.
        dimensionwise: :math:`\gamma`.
        num_data: the size ``N`` of the training set. By default :func:`ppl_gen.fit` says what it
            is; until then, the batch is taken for all of it.
        site: the latent site, whose posterior must be independent over dimensions.

    Raises:
        ValueError: a negative or non-numeric weight, no data; in training, a stream of unknown
            length without ``num_data``; on use, a posterior that is not independent over
            dimensions.

    >>> objective = ppl_gen.objectives.TotalCorrelationELBO(weight=6.0)
    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8, objective=objective)
    >>> history = ppl_gen.fit(vae, torch.zeros(6, 4), epochs=2, staged=False, progress=False)
    >>> {"mutual_information", "total_correlation", "dimensionwise_kl"} <= set(history)
    True
    """

    def __init__(
        self,
        weight: Number | Schedule = 6.0,
        information: float = 1.0,
        dimensionwise: float = 1.0,
        num_data: int | None = None,
        site: str = "z",
    ):
        super().__init__()
        self.weight = as_weight(weight)
        for part in (information, dimensionwise):
            if not 0 <= part < math.inf:
                raise ValueError(f"expected finite weights of zero or more, got {part}")
        if num_data is not None and num_data < 1:
            raise ValueError(f"expected at least one datum, got {num_data}")
        self.information, self.dimensionwise = information, dimensionwise
        self.num_data, self.site = num_data, site
        self._observed: int | None = None

    def observe_size(self, num_data: int | None) -> None:
        if num_data is None and self.num_data is None:
            raise ValueError(
                "expected num_data, the size of the training set, for data of unknown length, got "
                "none"
            )
        self._observed = num_data

    def parts(self, t: Terms) -> dict[str, Tensor]:
        """The three parts of the KL for every datum, each of shape ``(B,)``, in nats."""
        posterior, prior = t.posterior[self.site], t.prior[self.site]
        if not isinstance(posterior, Independent) or not isinstance(prior, Independent):
            raise ValueError(
                f"expected a posterior and a prior of {self.site!r} that are independent over "
                f"dimensions, got {type(posterior).__name__} and {type(prior).__name__}"
            )
        z = t.values[self.site]
        pairs = posterior.base_dist.log_prob(z.unsqueeze(1))
        num_data = self.num_data or max(self._observed or 0, len(z))
        weights = stratified_log_weights(len(z), num_data).to(z)
        joint = (pairs.sum(-1) + weights).logsumexp(1)
        marginals = (pairs + weights.unsqueeze(-1)).logsumexp(1)
        return {
            "mutual_information": t.log_q[self.site][0] - joint,
            "total_correlation": joint - marginals.sum(-1),
            "dimensionwise_kl": (marginals - prior.base_dist.log_prob(z)).sum(-1),
        }

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        information, correlation, dimensionwise = self.parts(t).values()
        cost = (
            self.information * information
            + self.weight.value * correlation
            + self.dimensionwise * dimensionwise
        )
        rest = [*t.auxiliary.values(), *(-factor for factor in t.factors.values())]
        return sum((term.sum() for term in rest), cost.sum() - t.log_lik.sum())

    def metrics(self, t: Terms) -> dict[str, Tensor]:
        parts = {name: value.mean().detach() for name, value in self.parts(t).items()}
        return super().metrics(t) | parts


def stratified_log_weights(batch: int, num_data: int) -> Tensor:
    r"""Logarithms of the weights of minibatch stratified sampling, ``(B, B)``; each row sums to 1.

    For ``B`` of ``N`` data the datum itself weighs 1/N, one other :math:`(N - B + 1) / (N (B - 1))`
    and each of the rest 1/(B − 1) (Chen et al. 2018, appendix C.2). A batch of one, or
    of all the data, is weighted uniformly: the aggregate is then exact.

    Raises:
        ValueError: a batch of more than ``num_data``.
    """
    if batch > num_data:
        raise ValueError(f"expected a batch of at most {num_data} data, got {batch}")
    if batch in (1, num_data):
        return torch.full((batch, batch), -math.log(batch), dtype=torch.float64)
    rows = torch.arange(batch)
    weights = torch.full((batch, batch), 1 / (batch - 1), dtype=torch.float64)
    weights[rows, rows] = 1 / num_data
    weights[rows, (rows + 1) % batch] = (num_data - batch + 1) / (num_data * (batch - 1))
    return weights.log()
