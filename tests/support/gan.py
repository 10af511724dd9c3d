r"""A model without a density in one file: the generative adversarial network of its authors.

The generator G maps noise to images, the critic D tells them from data; in turn they minimise

.. math::

    -\log D(x) - \log(1 - D(G(z))), \qquad -\log D(G(z)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ppl_gen import GenerativeModel, Turn, networks, zoo
from ppl_gen._modes import seeded
from ppl_gen.networks import Shape, Widths


class GAN(GenerativeModel):
    """Images by a generator, trained against a critic."""

    def __init__(self, data_shape: Shape, latent_dim: int, hidden: Widths):
        super().__init__(data_shape)
        self.latent_dim = latent_dim
        self.generator = networks.decoder("mlp", [(latent_dim,)], hidden, data_shape)
        self.critic = networks.encoder("mlp", [data_shape], hidden, (1,))

    @property
    def players(self) -> dict[str, Any]:
        return {
            "critic": list(self.critic.parameters()),
            "generator": list(self.generator.parameters()),
        }

    def losses(self, x: Tensor) -> Iterator[Any]:
        yield Turn("critic", self.discrimination, (x, torch.randn(len(x), self.latent_dim)))
        yield Turn("generator", self.generation, (torch.randn(len(x), self.latent_dim),))

    def discrimination(self, x: Tensor, z: Tensor) -> Any:
        real, fake = self.critic(x), self.critic(self.generator(z).sigmoid().detach())
        return (softplus(-real) + softplus(fake)).sum(), {"margin": (real - fake).mean()}

    def generation(self, z: Tensor) -> Any:
        return softplus(-self.critic(self.generator(z).sigmoid())).sum(), {}

    @torch.no_grad()
    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        with seeded(seed):
            return self.generator(torch.randn(n, self.latent_dim)).sigmoid()


@zoo.named("Goodfellow et al., Generative Adversarial Nets", 2014)
def gan(data_shape: Shape = (1, 28, 28), latent_dim: int = 20, *, hidden: Widths = 64) -> GAN:
    """The non-saturating GAN with perceptrons for both players."""
    return GAN(data_shape, latent_dim, hidden)
