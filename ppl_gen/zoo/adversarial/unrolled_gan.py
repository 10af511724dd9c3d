from __future__ import annotations

from typing import Unpack

from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import GameParts


@named("Metz et al., Unrolled Generative Adversarial Networks", 2017, "adversarial")
def unrolled_gan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    steps: int = 5,
    inner_lr: float = 0.02,
    **parts: Unpack[GameParts],
) -> Game:
    """The GAN whose generator answers the critic as it will be some steps ahead.

    The steps are of gradient descent on the last batch that the critic saw, and are differentiated
    too. The critic itself takes plain steps. Without any it is :func:`ppl_gen.zoo.gan`.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        steps: how many steps ahead.
        inner_lr: their learning rate, of the critic's mean cost. Descent that overshoots, which it
            does the sooner the sharper the critic has become, leaves the generator without a guide.
        parts: arguments of :func:`ppl_gen.zoo.gan`.

    >>> game = ppl_gen.zoo.unrolled_gan((2,), 4, steps=2, hidden=8)
    >>> history = ppl_gen.fit(game, torch.zeros(64, 2), epochs=1, staged=False, progress=False)
    >>> history.steps
    1
    """
    game = gan(data_shape, latent_dim, **parts)
    game.look_ahead(steps, inner_lr)
    return game
