from __future__ import annotations

from typing import Unpack

from ppl_gen import critics, likelihoods
from ppl_gen.models.base import require_shape
from ppl_gen.models.joint_game import JointGame
from ppl_gen.networks import Shape, Widths
from ppl_gen.objectives.divergences import Divergence, by_name
from ppl_gen.regularizers import Regularizer
from ppl_gen.zoo.adversarial.common import FIT, coder
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import CoderParts


@named(
    "Srivastava et al., VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning",
    *(2017, "adversarial"),
)
def veegan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    hidden: Widths | None = None,
    network: str = "auto",
    loss: str | Divergence = "kl",
    regularizer: Regularizer | None = None,
    critic_steps: int = 1,
    reconstruction: float = 1.0,
    symmetric: bool = False,
    **parts: Unpack[CoderParts],
) -> JointGame:
    """The GAN with a network back from data to latents, both of which its critic sees.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        hidden: as for :func:`ppl_gen.zoo.gan`.
        network: as for :func:`ppl_gen.zoo.gan`.
        loss: as for :func:`ppl_gen.zoo.gan`.
        regularizer: as for :func:`ppl_gen.zoo.gan`.
        critic_steps: as for :func:`ppl_gen.zoo.gan`.
        reconstruction: the weight of latents that are not found again, zero or more.
        symmetric: whether the network back deceives the critic too.
        parts: those of :func:`ppl_gen.zoo.vae`; a point is the default posterior.

    >>> model = ppl_gen.zoo.veegan((2,), 4, hidden=8)
    >>> model.reconstruct(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """
    if len(require_shape(data_shape)) != 3:
        parts.setdefault("likelihood", likelihoods.Gaussian())
    pair = coder(data_shape, latent_dim, hidden, network, **parts)
    critic = critics.default(pair.data_shape, hidden, network, latent_dim)
    sides = (("x", "z"), reconstruction, symmetric)
    pixels = len(pair.data_shape) == 3 and pair.likelihood.support == (0.0, 1.0)
    game = JointGame(pair, critic, by_name(loss), *sides, regularizer, critic_steps, pixels)
    game.fit_defaults = dict(FIT)
    return game
