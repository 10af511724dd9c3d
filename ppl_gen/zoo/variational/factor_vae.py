from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Unpack

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Independent

from ppl_gen._checks import is_positive
from ppl_gen._store import register
from ppl_gen.models.vae import VAE
from ppl_gen.networks import MLP, Shape
from ppl_gen.objectives.closed_forms import base_of
from ppl_gen.objectives.density_ratio import Discriminator
from ppl_gen.training.players import adam
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import VAEParts
from ppl_gen.zoo.variational.vae import vae


class Factored(VAE):
    """A VAE whose guide declares the losses of two players, its own and a discriminator's.

    Neither depends on the other's weights, so a step on the sum is a step of each. Their optimisers
    are those of Kim and Mnih (2018), with a shorter memory for the discriminator's gradients.
    """

    discriminator: Discriminator
    gamma: float
    fit_defaults: ClassVar[dict[str, Any]] = {
        "lr": 1e-4,
        "optimizer": {"vae": adam, "discriminator": partial(adam, betas=(0.5, 0.9))},
    }

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by player, for :func:`ppl_gen.fit`."""
        discriminator = list(self.discriminator.parameters())
        own = set(map(id, discriminator))
        others = [p for p in self.parameters() if id(p) not in own]
        return {"vae": others, "discriminator": discriminator}

    def guide(self, x: Tensor, y: Tensor | None = None, size: int = 1) -> None:
        register(self)
        size = self._require_shape(x).shape[0]
        (latent,), players = self.latents, self.discriminator
        with self._plate(size):
            z = pyro.sample(latent.name, latent.posterior(x, *self.condition_inputs(y, size)))
            with poutine.scale(scale=self.gamma):
                correlation = players.total_correlation(z)
                pyro.factor("total_correlation", correlation, has_rsample=True)
            pyro.factor("discrimination", players.discrimination(z), has_rsample=True)


@named("Kim and Mnih, Disentangling by Factorising", 2018)
def factor_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    gamma: float = 10.0,
    discriminator: nn.Module | None = None,
    **parts: Unpack[VAEParts],
) -> VAE:
    r"""The VAE with :math:`\gamma` times the total correlation of its codes as a further loss.

    A discriminator, trained beside it, estimates it from how well codes can be told from the same
    codes with each dimension permuted over the batch. :func:`ppl_gen.fit` knows them as the players
    ``vae`` and ``discriminator``, whose learning rates are both 1e-4 by default.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        gamma: the weight of the total correlation, above zero.
        discriminator: a module from ``(..., Z)`` to logits ``(..., 1)``; by default three hidden
            layers of 100 (the paper has six of 1,000).
        parts: see :mod:`ppl_gen.zoo`.

    >>> model = ppl_gen.zoo.factor_vae((4,), 2, gamma=5.0, hidden=8)
    >>> list(model.players)
    ['vae', 'discriminator']
    >>> ppl_gen.fit(model, torch.zeros(6, 4), epochs=2, staged=False, progress=False).steps
    2
    """
    if not is_positive(gamma):
        raise ValueError(f"expected a gamma above zero, got {gamma}")
    base = vae(data_shape, latent_dim, **parts)
    (latent,), given = base.latents, base.condition
    law = latent.family(torch.zeros(1, latent.family.num_parameters(latent_dim)))
    if not isinstance(law, Independent) or not law.has_rsample:
        kind = type(base_of(law)).__name__
        raise ValueError(f"expected a reparameterised posterior with a density, got {kind}")
    condition = given.num_classes, given.num_covariates, given.classes
    model = Factored(
        [latent], base.decoder, base.likelihood, base.data_shape, base.objective, *condition
    )
    if discriminator is None:
        discriminator = MLP([(latent_dim,)], [100] * 3, (1,), lambda: nn.LeakyReLU(0.2))
    model.discriminator, model.gamma = Discriminator(discriminator, latent_dim), gamma
    return model
