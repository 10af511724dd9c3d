from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.objectives.elbo import ELBO
from ppl_gen.schedules import PIController
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import WeighedParts
from ppl_gen.zoo.variational.vae import vae


@named("Shao et al., ControlVAE: Controllable Variational Autoencoder", 2020)
def control_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    target_kl: float = 14.0,
    proportional: float = 0.01,
    integral: float = 0.005,
    beta_min: float = 0.0,
    beta_max: float = 100.0,
    **parts: Unpack[WeighedParts],
) -> VAE:
    r"""The β-VAE whose weight a PI controller sets so that the batch-mean KL settles at a target.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        target_kl: the set point in nats per image.
        proportional: the gain :math:`K_p`.
        integral: the gain :math:`K_i`.
        beta_min: the smallest weight.
        beta_max: the largest weight.
        parts: see :mod:`ppl_gen.zoo`; not ``objective``.

    >>> model = ppl_gen.zoo.control_vae((4,), 2, target_kl=1.5, hidden=8)
    >>> history = ppl_gen.fit(model, torch.zeros(6, 4), epochs=3, staged=False, progress=False)
    >>> len(history["weight"])
    3
    """
    controller = PIController(target_kl, proportional, integral, beta_min, beta_max)
    return vae(data_shape, latent_dim, objective=ELBO(weight=controller), **parts)
