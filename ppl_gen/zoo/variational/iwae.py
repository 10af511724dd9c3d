from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.objectives.elbo import IWAE
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import WeighedParts
from ppl_gen.zoo.variational.vae import vae


@named("Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders", 2016)
def iwae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    num_particles: int = 5,
    **parts: Unpack[WeighedParts],
) -> VAE:
    r"""The VAE trained on :math:`E \log \frac{1}{K} \sum_k p(x, z_k) / q(z_k|x)`.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        num_particles: ``K``.
        parts: see :mod:`ppl_gen.zoo`; not ``objective``.

    >>> model = ppl_gen.zoo.iwae((4,), 2, num_particles=8, hidden=8)
    >>> model.objective.loss(model.model, model.guide, torch.zeros(6, 4)) > 0
    True
    """
    return vae(data_shape, latent_dim, objective=IWAE(num_particles), **parts)
