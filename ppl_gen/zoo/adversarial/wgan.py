from __future__ import annotations

from typing import Any, Unpack

from ppl_gen.models.adversarial import Game
from ppl_gen.networks import Shape
from ppl_gen.regularizers import Clip
from ppl_gen.staging.lean_optimizers import RMSprop
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import WassersteinParts


@named(
    "Arjovsky, Chintala and Bottou, Wasserstein GAN", 2017, "adversarial", ("loss", "regularizer")
)
def wgan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    clip: float = 0.01,
    critic_steps: int = 5,
    **parts: Unpack[WassersteinParts],
) -> Game:
    """A critic with clipped weights, whose loss is a distance times an unknown factor.

    Trained by RMSprop at 5e-5; the authors' batches are of 64 data.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        clip: the largest weight of the critic, above zero.
        critic_steps: the critic's turns, on a batch each, for one of the generator's.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for loss and regulariser.

    >>> game = ppl_gen.zoo.wgan((2,), 4, hidden=8)
    >>> _ = ppl_gen.fit(game, torch.zeros(320, 2), epochs=1, staged=False, progress=False)
    >>> max(p.abs().max().item() for p in game.critic.parameters()) <= 0.01
    True
    """
    fixed: dict[str, Any] = {"loss": "wasserstein", "regularizer": Clip(clip)}
    game = gan(data_shape, latent_dim, critic_steps=critic_steps, **fixed, **parts)
    game.fit_defaults = {"lr": 5e-5, "optimizer": RMSprop}
    return game
