"""By which angle an image was rotated."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ppl_gen import transforms
from ppl_gen._checks import is_finite
from ppl_gen.critics.wrapper import Wrapper, num_features, weight_of


class Rotations(Wrapper):
    r"""A critic that also tells by which angle images were rotated (Chen et al. 2019, SSGAN).

    A part of the samples is shown in all four rotations :math:`T_k x`, and a further head R on the
    critic's features names k. The critic learns that on data alone and the generator on fakes
    alone, or they would agree on whatever is easy to recognise:

    .. math::

        \alpha_d\, \mathbb{E}_d \mathbb{E}_k [-\log R_k(T_k x)], \qquad
        \alpha_g\, \mathbb{E}_g \mathbb{E}_k [-\log R_k(T_k x)]

    for each sample of the batch. Only upright images are told from fakes.

    Args:
        critic: with features, see :class:`Critic`.
        weight: :math:`\alpha_d`.
        generator_weight: :math:`\alpha_g`.
        share: the part of a batch that is rotated; 1/4 shows as many images again.

    Raises:
        ValueError: weights below zero, a share outside (0, 1], a critic without features, or one of
            packs, which goes outside: ``Packed(Rotations(critic), size)``.

    >>> body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU())
    >>> asking = ppl_gen.critics.Rotations(ppl_gen.critics.Critic(body, 8))
    >>> asking(torch.zeros(5, 1, 4, 4)).shape, asking.accuracy(torch.zeros(5, 1, 4, 4))
    (torch.Size([5, 1]), tensor(0.2500))
    """

    asks = True

    def __init__(
        self,
        critic: nn.Module,
        weight: float = 1.0,
        generator_weight: float = 0.2,
        share: float = 0.25,
    ):
        super().__init__(critic)
        features = num_features(critic, "rotations")
        if not (is_finite(share) and 0 < share <= 1):
            raise ValueError(f"expected a share in (0, 1], got {share!r}")
        self.weights = {"critic": weight_of(weight), "generator": weight_of(generator_weight)}
        self.share, self.transforms = share, transforms.rotations()
        self.angle = nn.Linear(features, len(self.transforms))

    def rotated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images in all four rotations, one block after the other, and which it is of each."""
        views = torch.cat([change(x) for change in self.transforms])
        return views, torch.arange(len(self.transforms), device=x.device).repeat_interleave(len(x))

    def auxiliary(self, x: Tensor, player: str) -> Tensor | None:
        inner, weight = super().auxiliary(x, player), self.weights[player]
        if not weight:
            return inner
        views, turns = self.rotated(x[: math.ceil(self.share * len(x))])
        cost = weight * len(x) * cross_entropy(self.angle(self.features(views)), turns)
        return cost if inner is None else inner + cost

    @torch.no_grad()
    def accuracy(self, x: Tensor) -> Tensor:
        """How often the angle is told of images, each in all four rotations."""
        views, turns = self.rotated(x)
        return (self.angle(self.features(views)).argmax(1) == turns).float().mean()

    def require(self, x: Tensor) -> None:
        super().require(x)
        if x.dim() != 4 or x.shape[-1] != x.shape[-2]:
            raise ValueError(f"expected square images (B, C, H, H) to rotate, got {tuple(x.shape)}")
