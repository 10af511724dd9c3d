from __future__ import annotations

from typing import Unpack

from ppl_gen import critics
from ppl_gen.critics import Packed, packed_shape
from ppl_gen.models.adversarial import Game
from ppl_gen.models.base import require_shape
from ppl_gen.networks import Shape, Widths
from ppl_gen.zoo.adversarial.gan import gan
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import PackedParts


@named(
    "Lin et al., PacGAN: The Power of Two Samples in Generative Adversarial Networks",
    2018,
    "adversarial",
    ("critic",),
)
def packed_gan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    pack: int = 2,
    hidden: Widths | None = None,
    network: str = "auto",
    **parts: Unpack[PackedParts],
) -> Game:
    """The GAN whose critic sees several samples at once, and so whether they differ as data do.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        pack: the number of samples that it sees at once.
        hidden: as for :func:`ppl_gen.zoo.gan`.
        network: as for :func:`ppl_gen.zoo.gan`.
        parts: arguments of :func:`ppl_gen.zoo.gan` but for the critic.

    >>> ppl_gen.zoo.packed_gan((2,), 4, pack=4, hidden=8).critic(torch.zeros(12, 2)).shape
    torch.Size([3, 1])
    """
    shape = packed_shape(require_shape(data_shape), pack)
    critic = Packed(critics.default(shape, hidden, network), pack)
    return gan(data_shape, latent_dim, critic=critic, hidden=hidden, network=network, **parts)
