from __future__ import annotations

from functools import partial
from typing import Any, Unpack

from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.regularizers import GradientPenalty
from ppl_gen.training.players import adam
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import WassersteinParts


@named(
    "Gulrajani et al., Improved Training of Wasserstein GANs",
    2017,
    "adversarial",
    ("loss", "regularizer"),
)
def wgan_gp(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    penalty: float = 10.0,
    one_sided: bool = False,
    critic_steps: int = 5,
    **parts: Unpack[WassersteinParts],
) -> Game:
    """A critic whose gradients are drawn to length 1; Adam at 1e-4 with β = (0, 0.9).

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        penalty: the weight of the penalty, above zero; 0.1 suits data of few dimensions.
        one_sided: penalise only gradients longer than 1.
        critic_steps: the critic's turns, on a batch each, for one of the generator's.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for loss and regulariser.

    >>> game = ppl_gen.zoo.wgan_gp((2,), 4, hidden=8)
    >>> history = ppl_gen.fit(game, torch.zeros(320, 2), epochs=1, staged=False, progress=False)
    >>> list(history)
    ['critic_real', 'critic_fake', 'critic_loss', 'generator_loss']
    """
    regularizer = GradientPenalty(penalty, one_sided)
    fixed: dict[str, Any] = {"loss": "wasserstein", "regularizer": regularizer}
    game = gan(data_shape, latent_dim, critic_steps=critic_steps, **fixed, **parts)
    game.fit_defaults = {"lr": 1e-4, "optimizer": partial(adam, betas=(0.0, 0.9))}
    return game
