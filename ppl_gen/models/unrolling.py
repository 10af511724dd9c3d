r"""The critic as it will be some steps ahead, as a function of the fakes.

A generator that answers the critic of the moment may chase it from mode to mode. Unrolled (Metz et
al. 2017, equations 6 to 8), it answers the critic that would have answered it:

.. math::

    \phi_0 = \phi, \qquad \phi_{i+1} = \phi_i - \alpha \nabla_\phi C(\phi_i, \theta), \qquad
    \min_\theta\; L(\phi_k(\theta), \theta),

with the critic's mean cost C on one batch, and gradients taken through all steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Ahead(nn.Module):
    """What a game computes with other weights of its critic.

    Args:
        game: with the method ``contrast`` of data and fakes to the critic's cost.

    >>> from ppl_gen.models.unrolling import Ahead
    >>> _ = torch.manual_seed(0)
    >>> game, x = ppl_gen.zoo.gan((2,), 3, hidden=4), torch.zeros(5, 2)
    >>> ahead, fakes = Ahead(game), game.draw(5).detach()
    >>> now, later = (ahead.call(ahead.weights(x, fakes, k, 0.1), "contrast", x, fakes)[0]
    ...     for k in (0, 3))
    >>> (later < now).item()
    True
    """

    def __init__(self, game: nn.Module):
        super().__init__()
        self.game = game

    def forward(self, method: str, *args: Any) -> Any:
        return getattr(self.game, method)(*args)

    def call(self, weights: dict[str, Tensor], method: str, *args: Any) -> Any:
        """A method of the game with these weights."""
        return functional_call(self, weights, (method, *args))

    def weights(self, x: Tensor, fakes: Tensor, steps: int, lr: float) -> dict[str, Tensor]:
        """The critic's weights after some steps of gradient descent on its mean cost, by name."""
        named = self.named_parameters()
        weights: dict[str, Tensor] = {
            name: p for name, p in named if name.startswith("game.critic.") and p.requires_grad
        }
        for _ in range(steps):
            cost, _ = self.call(weights, "contrast", x, fakes)
            found = torch.autograd.grad(
                cost / len(x), list(weights.values()), create_graph=True, allow_unused=True
            )
            weights = {
                name: weight if gradient is None else weight - lr * gradient
                for (name, weight), gradient in zip(weights.items(), found, strict=True)
            }
        return weights
