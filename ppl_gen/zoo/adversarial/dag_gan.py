from __future__ import annotations

from functools import partial
from typing import Unpack

from ppl_gen.critics import Views
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import UnwrappedParts


@named("Tran et al., On Data Augmentation for GAN Training", 2021, "adversarial", ("wrap",))
def dag_gan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    view_weight: float = 0.2,
    generator_view_weight: float = 0.2,
    transforms: tuple | list | None = None,
    **parts: Unpack[UnwrappedParts],
) -> Game:
    """The GAN with a head of its critic for every rotation of data and fakes.

    Args:
        data_shape: ``(C, H, H)`` of images; for other transforms, any.
        latent_dim: ``Z``.
        view_weight: the weight of the further views in the critic's cost.
        generator_view_weight: the same in the generator's.
        transforms: the views, parts of :mod:`ppl_gen.transforms` and like them, the identity first.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for ``wrap``.

    >>> ppl_gen.zoo.dag_gan((1, 8, 8), 4).critic(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 4])
    """
    wrap = partial(
        Views,
        transforms=transforms,
        weight=view_weight,
        generator_weight=generator_view_weight,
    )
    return gan(data_shape, latent_dim, wrap=wrap, **parts)
