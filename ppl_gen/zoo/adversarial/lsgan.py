from __future__ import annotations

from typing import Unpack

from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import LosslessParts


@named("Mao et al., Least Squares Generative Adversarial Networks", 2017, "adversarial", ("loss",))
def lsgan(
    data_shape: Shape = (1, 28, 28), latent_dim: int = 64, **parts: Unpack[LosslessParts]
) -> Game:
    """The GAN with squared errors to the labels 1 of data and 0 of fakes.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for the loss.

    >>> ppl_gen.zoo.lsgan((2,), 4, hidden=8)
    <lsgan: data 2, z ~ StandardNormal, least_squares divergence, 1 critic step, 91 parameters>
    """
    return gan(data_shape, latent_dim, loss="least_squares", **parts)
