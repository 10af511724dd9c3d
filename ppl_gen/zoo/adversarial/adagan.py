from __future__ import annotations

from functools import partial
from typing import Any, cast

from ppl_gen import critics
from ppl_gen._checks import is_whole, require_shape
from ppl_gen.models.adversarial import Game
from ppl_gen.models.boosting import STEPS, Mixture
from ppl_gen.networks import Shape, Widths
from ppl_gen.zoo.entries import named, registry


@named("Tolstikhin et al., AdaGAN: Boosting Generative Models", 2017, "boosting")
def adagan(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 64,
    *,
    base: str = "gan",
    rounds: int = 5,
    hidden: Widths | None = None,
    network: str = "auto",
    ratio_steps: int = STEPS,
    **parts: Any,
) -> Mixture:
    """A mixture of games, each trained on the data that those before it do not cover.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.gan`.
        latent_dim: ``Z``.
        base: the name of an adversarial model, the components.
        rounds: how many components to train.
        hidden: the widths of fully connected hidden layers of the components.
        network: as for :func:`ppl_gen.zoo.gan`.
        ratio_steps: how many steps the classifier of data and samples is trained for before each
            round but the first; it has 64 hidden units for rows, and convolutions for images.
        parts: further arguments of the base.

    >>> adagan = ppl_gen.zoo.adagan((2,), 4, rounds=3, base="lsgan", hidden=8)
    >>> len(adagan.components), adagan.rounds
    (3, 0)
    """
    known = [name for name, entry in registry.items() if entry.family == "adversarial"]
    if base not in known:
        raise ValueError(f"expected a base among {', '.join(known)}, got {base!r}")
    if not is_whole(rounds, 1):
        raise ValueError(f"expected one round or more, got {rounds!r}")
    options = {"hidden": hidden, "network": network, **parts}
    build = partial(registry[base].build, data_shape, latent_dim, **options)
    wide = 64 if len(require_shape(data_shape)) == 1 else None
    classifier = partial(critics.default, require_shape(data_shape), wide)
    return Mixture([cast(Game, build()) for _ in range(rounds)], classifier, ratio_steps)
