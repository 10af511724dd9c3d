r"""The total correlation of codes from a classifier that tells them from shuffled ones.

A classifier whose logit of "joint" against "shuffled" is optimal knows the ratio of the densities,

.. math::

    \ell(z) = \log \frac{q(z)}{\prod_j q(z_j)}, \qquad
    \mathbb{E}_q\, \ell(z) = \mathrm{KL}\Big(q(z) \,\Big\|\, \prod_j q(z_j)\Big),

where draws of :math:`\prod_j q(z_j)` are those of q with each dimension permuted over the batch
(Sugiyama et al. 2012; Kim and Mnih 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from ppl_gen._modes import evaluating


class Discriminator(nn.Module):
    r"""A classifier of codes, and the two losses of the players around it.

    Args:
        network: a module from codes ``(..., Z)`` to logits ``(..., 1)``.
        latent_dim: ``Z``.

    Raises:
        ValueError: a network between other shapes.

    >>> players = Discriminator(nn.Linear(3, 1), 3)
    >>> players.total_correlation(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, network: nn.Module, latent_dim: int):
        super().__init__()
        self.network = network
        try:
            with torch.no_grad(), evaluating(network):
                found: object = tuple(network(torch.zeros(2, latent_dim)).shape)
        except RuntimeError as error:
            found = error
        if found != (2, 1):
            raise ValueError(
                f"expected a discriminator from (2, {latent_dim}) to (2, 1), got {found}"
            )

    def total_correlation(self, z: Tensor) -> Tensor:
        r"""Estimates :math:`\ell(z)`, ``(..., B)``, to be differentiated in the codes alone."""
        fixed = {name: tensor.detach() for name, tensor in self.network.named_parameters()}
        return functional_call(self.network, fixed, (z,)).squeeze(-1)

    def discrimination(self, z: Tensor) -> Tensor:
        """The cross-entropy of codes against shuffled ones, ``(..., B)``, in the weights alone."""
        joint = self.network(z.detach()).squeeze(-1)
        apart = self.network(shuffled(z.detach())).squeeze(-1)
        return (softplus(-joint) + softplus(apart)) / 2


def shuffled(z: Tensor) -> Tensor:
    """Codes ``(..., B, Z)`` with every dimension permuted over the batch by itself.

    >>> z = torch.arange(6.0).reshape(3, 2)
    >>> shuffled(z).sort(0).values.equal(z)
    True
    """
    return z.gather(-2, torch.rand_like(z).argsort(-2))
