from __future__ import annotations

from typing import Unpack

from ppl_gen import critics
from ppl_gen.models.joint_game import JointGame
from ppl_gen.networks import Shape, Widths
from ppl_gen.objectives.divergences import Divergence, by_name
from ppl_gen.regularizers import Regularizer
from ppl_gen.zoo.adversarial.common import FIT, coder
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import CoderParts


@named("Makhzani et al., Adversarial Autoencoders", 2016, "adversarial")
def adversarial_autoencoder(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    hidden: Widths | None = None,
    network: str = "auto",
    loss: str | Divergence = "non_saturating",
    regularizer: Regularizer | None = None,
    critic_steps: int = 1,
    reconstruction: float = 1.0,
    **parts: Unpack[CoderParts],
) -> JointGame:
    """An autoencoder whose codes a critic tells from draws of the prior.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        hidden: as for :func:`ppl_gen.zoo.gan`; 400 wide in the critic of codes.
        network: as for :func:`ppl_gen.zoo.gan`.
        loss: as for :func:`ppl_gen.zoo.gan`.
        regularizer: as for :func:`ppl_gen.zoo.gan`.
        critic_steps: as for :func:`ppl_gen.zoo.gan`.
        reconstruction: the weight of the likelihood, zero or more.
        parts: those of :func:`ppl_gen.zoo.vae`; a point is the default posterior.

    >>> model = ppl_gen.zoo.adversarial_autoencoder((1, 8, 8), 2)
    >>> _ = ppl_gen.fit(model, torch.zeros(6, 1, 8, 8), epochs=1, staged=False, progress=False)
    >>> model.code(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2])
    """
    vae = coder(data_shape, latent_dim, hidden, network, **parts)
    critic = critics.default((latent_dim,), hidden)
    sides = (("z",), reconstruction, False)
    game = JointGame(vae, critic, by_name(loss), *sides, regularizer, critic_steps)
    game.fit_defaults = dict(FIT)
    return game
