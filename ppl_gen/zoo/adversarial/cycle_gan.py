from __future__ import annotations

from functools import partial

from torch import nn

from ppl_gen import critics, networks
from ppl_gen.models.adversarial import Game
from ppl_gen.models.base import require_shape
from ppl_gen.models.cycles import Cycle, Given
from ppl_gen.networks import Shape, Widths
from ppl_gen.objectives.divergences import Divergence, by_name
from ppl_gen.training.players import adam
from ppl_gen.zoo.entries import named


@named("Zhu et al., Unpaired Image-to-Image Translation", 2017, "cycle")
def cycle_gan(
    data_shape: Shape = (1, 28, 28),
    *,
    dag: float = 0.0,
    cycle_weight: float = 10.0,
    identity_weight: float = 0.0,
    hidden: Widths | None = None,
    network: str = "auto",
    channels: int = 16,
    loss: str | Divergence = "least_squares",
) -> Cycle:
    """Translation between two kinds of data without pairs; Adam at 2e-4 with β₁ = 0.5.

    The authors keep this rate for 100 epochs and let it fall to 0 over 100 more: as a scheduler of
    :func:`ppl_gen.fit`, ``LambdaLR(optimizer, lambda n: min(1, 2 - 2 * n / steps))``.

    Args:
        data_shape: ``(C, H, W)`` of images with pixels in [0, 1], ``(D,)`` of rows.
        dag: the weight of :class:`ppl_gen.critics.Views`, the rotations of square images.
        cycle_weight: of the mean absolute difference after there and back.
        identity_weight: of that between y and what becomes of it as an x, and the other way round.
        hidden: the widths of fully connected hidden layers.
        network: ``"auto"``, ``"conv"`` or ``"mlp"``.
        channels: of the generators of images.
        loss: a name or part of :mod:`ppl_gen.divergences`.

    >>> cycle = ppl_gen.zoo.cycle_gan((1, 8, 8), channels=4, dag=0.2)
    >>> cycle.translate(torch.zeros(5, 1, 8, 8), to="x").shape
    torch.Size([5, 1, 8, 8])
    """
    games, pixels = [], len(require_shape(data_shape)) == 3
    for _ in range(2):
        generator = networks.translating(network, data_shape, hidden, channels)
        generator = nn.Sequential(generator, nn.Sigmoid()) if pixels else generator
        critic = critics.default(data_shape, hidden, network)
        judge = critics.Views(critic, weight=dag) if dag else critic
        law = Given(data_shape, pixels)
        games.append(Game(generator, judge, law, data_shape, by_name(loss), pixels=pixels))
    cycle = Cycle(games[0], games[1], cycle_weight, identity_weight)
    cycle.fit_defaults = {"lr": 2e-4, "optimizer": partial(adam, betas=(0.5, 0.999))}
    return cycle
