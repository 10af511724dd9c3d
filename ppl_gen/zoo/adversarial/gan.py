from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ppl_gen import critics, networks, priors
from ppl_gen.models.adversarial import Game
from ppl_gen.models.base import require_shape
from ppl_gen.networks import Shape, Widths
from ppl_gen.objectives.divergences import Divergence, by_name
from ppl_gen.regularizers import Regularizer
from ppl_gen.zoo.adversarial.common import FIT
from ppl_gen.zoo.entries import named


@named("Goodfellow et al., Generative Adversarial Nets", 2014, family="adversarial")
def gan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    hidden: Widths | None = None,
    network: str = "auto",
    loss: str | Divergence = "non_saturating",
    regularizer: Regularizer | None = None,
    critic_steps: int = 1,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
) -> Game:
    """A generator against a critic that tells fakes from data; Adam at 5e-4 with β₁ = 0.5.

    Args:
        data_shape: ``(C, H, W)`` of images with pixels in [0, 1], ``(D,)`` of rows.
        latent_dim: ``Z``.
        generator: a module from ``(B, Z)`` to data of any range, instead of ``hidden`` in reverse.
        critic: a module from data to logits ``(B, K)``, see :mod:`ppl_gen.critics`.
        hidden: the widths of fully connected hidden layers, leaky in the critic.
        network: ``"auto"``, ``"conv"``, ``"mlp"`` or ``"map"``; see
            :func:`ppl_gen.networks.growing` and :func:`ppl_gen.critics.default`.
        loss: a name or part of :mod:`ppl_gen.divergences`.
        regularizer: a part of :mod:`ppl_gen.regularizers`.
        critic_steps: the critic's turns, on a batch each, for one of the generator's.
        wrap: puts wrappers of :mod:`ppl_gen.critics` around the critic.

    >>> ppl_gen.zoo.gan((2,), 4, hidden=(128, 128)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """
    data_shape, prior = require_shape(data_shape), priors.StandardNormal(latent_dim)
    pixels = generator is None and len(data_shape) == 3
    if generator is None:
        generator = networks.growing(network, latent_dim, hidden, data_shape)
        generator = nn.Sequential(generator, nn.Sigmoid()) if pixels else generator
    critic = critics.default(data_shape, hidden, network) if critic is None else critic
    critic = critic if wrap is None else wrap(critic)
    settings = (by_name(loss), regularizer, critic_steps, pixels)
    game = Game(generator, critic, prior, data_shape, *settings)
    game.fit_defaults = dict(FIT)
    return game
