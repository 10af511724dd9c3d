from __future__ import annotations

from functools import partial
from typing import Unpack

from ppl_gen.critics import Rotations
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import UnwrappedParts


@named(
    "Chen et al., Self-Supervised GANs via Auxiliary Rotation Loss", 2019, "adversarial", ("wrap",)
)
def ssgan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    rotation: float = 1.0,
    generator_rotation: float = 0.2,
    **parts: Unpack[UnwrappedParts],
) -> Game:
    """The GAN whose critic also tells by which angle an image was rotated.

    Args:
        data_shape: ``(C, H, H)`` of images.
        latent_dim: ``Z``.
        rotation: the weight of the angles of data, for the critic.
        generator_rotation: the weight of the angles of fakes, for the generator.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for ``wrap``.

    >>> game = ppl_gen.zoo.ssgan((1, 8, 8), 4)
    >>> game.critic.accuracy(torch.zeros(5, 1, 8, 8))  # of a blank, a guess
    tensor(0.2500)
    """
    wrap = partial(Rotations, weight=rotation, generator_weight=generator_rotation)
    return gan(data_shape, latent_dim, wrap=wrap, **parts)
