from __future__ import annotations

from functools import partial
from typing import Unpack

from ppl_gen.critics import Noisy
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.schedules import WarmUp
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import UnwrappedParts


@named("Sønderby et al., Amortised MAP Inference", 2017, "adversarial", ("wrap",))
def noisy_gan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    noise: float = 0.5,
    fading: int = 4000,
    **parts: Unpack[UnwrappedParts],
) -> Game:
    r"""The GAN whose critic sees data and fakes with noise, which fades to none.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        noise: the first standard deviation of the noise, zero or more.
        fading: the number of batches after which there is none.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for ``wrap``.

    >>> game = ppl_gen.zoo.noisy_gan((2,), 4, hidden=8, fading=4)
    >>> _ = ppl_gen.fit(game, torch.zeros(6, 2), epochs=2, staged=False, progress=False)
    >>> game.critic.scale
    WarmUp(value=0.25)
    """
    if noise < 0:
        raise ValueError(f"expected noise of zero or more, got {noise}")
    scale = WarmUp(fading, noise, 0.0) if noise else 0.0
    return gan(data_shape, latent_dim, wrap=partial(Noisy, scale=scale), **parts)
