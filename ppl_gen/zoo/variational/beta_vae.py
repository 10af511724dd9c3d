from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.objectives.elbo import ELBO
from ppl_gen.schedules import Number, Schedule
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import WeighedParts
from ppl_gen.zoo.variational.vae import vae


@named("Higgins et al., beta-VAE: Learning Basic Visual Concepts", 2017)
def beta_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    beta: Number | Schedule = 4.0,
    **parts: Unpack[WeighedParts],
) -> VAE:
    r"""The VAE trained on :math:`E_q \log p(x|z) - \beta KL(q \| p)`; at β = 1 it is the VAE.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        beta: the weight of the KL, a number or a :class:`ppl_gen.schedules.Schedule`.
        parts: see :mod:`ppl_gen.zoo`; not ``objective``.

    >>> ramp = ppl_gen.schedules.WarmUp(2, end=4.0)
    >>> model = ppl_gen.zoo.beta_vae((4,), 2, beta=ramp, hidden=8)
    >>> history = ppl_gen.fit(model, torch.zeros(6, 4), epochs=3, staged=False, progress=False)
    >>> history["weight"]
    [0.0, 2.0, 4.0]
    """
    return vae(data_shape, latent_dim, objective=ELBO(weight=beta), **parts)
