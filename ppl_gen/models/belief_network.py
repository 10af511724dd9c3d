"""A hierarchy of latents inferred from the data up."""

from __future__ import annotations

from typing import Any

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor

from ppl_gen._store import register
from ppl_gen.models.vae import VAE


class BeliefNetwork(VAE):
    r"""Layers inferred from the image up: :math:`q(z_1|x)\, q(z_2|z_1)` beside :math:`p(x|z_1)
    p(z_1|z_2) p(z_2)`.
    """

    def guide(self, x: Tensor, y: Tensor | None = None, size: int = 1) -> None:
        register(self)
        with self._plate(self._require_shape(x).shape[0]):
            below = x
            for latent in reversed(self.latents):
                below = pyro.sample(latent.name, latent.posterior(below))

    def _posteriors(self, x: Tensor, y: Any) -> list[TorchDistribution]:
        self.check(x)
        return [self.latents[-1].posterior(x)]
