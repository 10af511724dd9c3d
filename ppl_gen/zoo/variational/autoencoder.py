from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.objectives.elbo import ELBO
from ppl_gen.posteriors import Point
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import PointParts
from ppl_gen.zoo.variational.vae import vae


@named("Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks", 2006)
def autoencoder(
    data_shape: Shape = (1, 28, 28), latent_dim: int = 10, **parts: Unpack[PointParts]
) -> VAE:
    """The autoencoder: a VAE with a point posterior whose prior has no weight in the objective.

    The prior exists so that the model can be sampled, as badly as an autoencoder must be: nothing
    ties its codes to N(0, I). Its true ELBO is minus infinity.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        parts: see :mod:`ppl_gen.zoo`; not ``posterior`` or ``objective``.

    >>> model = ppl_gen.zoo.autoencoder((4,), 2, hidden=8)
    >>> model.encode(torch.zeros(5, 4))
    Delta(v: torch.Size([5, 2]), log_density: torch.Size([5]))
    >>> ppl_gen.fit(model, torch.zeros(6, 4), epochs=2, staged=False, progress=False).steps
    2
    """
    return vae(data_shape, latent_dim, posterior=Point(), objective=ELBO(weight=0.0), **parts)
