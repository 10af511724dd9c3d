from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.objectives.total_correlation import TotalCorrelationELBO
from ppl_gen.schedules import Number, Schedule
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import WeighedParts
from ppl_gen.zoo.variational.vae import vae


@named("Chen et al., Isolating Sources of Disentanglement in VAEs", 2018)
def tc_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    beta: Number | Schedule = 6.0,
    num_data: int | None = None,
    **parts: Unpack[WeighedParts],
) -> VAE:
    r"""The β-TCVAE: the VAE with the total correlation of the aggregate posterior weighted by β.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        beta: the weight of the total correlation.
        num_data: the size of the training set, which :func:`ppl_gen.fit` knows by itself.
        parts: see :mod:`ppl_gen.zoo`; not ``objective``.

    >>> model = ppl_gen.zoo.tc_vae((4,), 2, beta=6.0, hidden=8)
    >>> history = ppl_gen.fit(model, torch.zeros(6, 4), epochs=2, staged=False, progress=False)
    >>> len(history["total_correlation"])
    2
    """
    objective = TotalCorrelationELBO(weight=beta, num_data=num_data)
    return vae(data_shape, latent_dim, objective=objective, **parts)
