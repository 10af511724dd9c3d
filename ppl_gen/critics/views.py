"""Data augmentation by maps with an inverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ppl_gen.critics.wrapper import Look, Wrapper, num_features, weight_of
from ppl_gen.transforms import rotations


class _Transform(Protocol):
    """A map of samples with an inverse, see :mod:`ppl_gen.transforms`."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def inverse(self) -> Callable[[Tensor], Tensor]: ...


class Views(Wrapper):
    r"""A head for every view of the samples, on one body: data augmentation for GANs (DAG).

    With :math:`V_k` the costs of head k on :math:`T_k(x)`, for data and fakes alike, the critic's
    cost is

    .. math::

        V_1 + \frac{\lambda_u}{K - 1} \sum_{k=2}^K V_k

    where :math:`T_1` is the identity, and the generator's is the same with :math:`\lambda_v` (Tran,
    Tran, Nguyen, Nguyen and Cheung 2021). A map with an inverse leaves every divergence what it is,
    so all K heads have one optimum, which is that of the critic alone; augmented data without
    augmented fakes would have another.

    Args:
        critic: with features, see :class:`Critic`, and one logit: the head of :math:`T_1`.
        transforms: :math:`T_1, \dots, T_K`, by default the four rotations.
        weight: :math:`\lambda_u`.
        generator_weight: :math:`\lambda_v`, by default the same.

    Raises:
        ValueError: transforms without an inverse, weights below zero, the generator's alone above
            zero, a critic without features or with several heads or views, or one of packs, which
            goes outside: ``Packed(Views(critic), size)``.

    >>> body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU())
    >>> views = ppl_gen.critics.Views(ppl_gen.critics.Critic(body, 8))
    >>> views(torch.zeros(5, 1, 4, 4)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        critic: nn.Module,
        transforms: Sequence[_Transform] | None = None,
        weight: float = 0.2,
        generator_weight: float | None = None,
    ):
        super().__init__(critic)
        features = num_features(critic, "views")
        if any(isinstance(part, Views) for part in critic.modules()):
            raise ValueError("expected all views in one Views, got Views of Views")
        self.transforms = _with_inverses(rotations() if transforms is None else transforms)
        both = {
            "critic": weight_of(weight),
            "generator": weight_of(weight if generator_weight is None else generator_weight),
        }
        if both["generator"] and not both["critic"]:
            raise ValueError(
                f"expected heads that learn, got weight 0 and generator_weight {generator_weight}"
            )
        others = len(self.transforms) - 1
        self.weights = {player: found / max(1, others) for player, found in both.items()}
        # Heads that cost nothing are not even asked, so that the rest is the critic to the bit.
        self.shown = len(self.transforms) if both["critic"] else 1
        self.heads = nn.ModuleList(nn.Linear(features, 1) for _ in range(self.shown - 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.shown == 1:
            return self.judge(self.features(x))
        views = torch.cat([change(x) for change in self.transforms])
        first, *rest = self.features(views).chunk(self.shown)
        judged = [head(seen) for head, seen in zip(self.heads, rest, strict=True)]
        return torch.cat([self.judge(first), *judged], 1)

    def total(self, costs: Tensor, player: str) -> Tensor:
        if self.shown == 1:
            return costs.sum()
        return costs[:, 0].sum() + self.weights[player] * costs[:, 1:].sum()

    def looks(self) -> list[Look]:
        first: Look = (self._first, 1.0)
        return [first] + [
            (partial(self._other, k), self.weights["critic"]) for k in range(1, self.shown)
        ]

    def _first(self, x: Tensor) -> Tensor:
        return self.judge(self.features(x))

    def _other(self, k: int, x: Tensor) -> Tensor:
        return self.heads[k - 1](self.features(self.transforms[k](x)))

    def require(self, x: Tensor) -> None:
        super().require(x)
        probe = torch.randn_like(x)
        for k, change in enumerate(self.transforms):
            seen = change(given := probe.clone())
            if not given.equal(probe):
                raise ValueError(
                    f"expected transforms that leave the samples as they are, got {change!r}, "
                    "which changes them in place"
                )
            if seen.shape != x.shape:
                raise ValueError(
                    f"expected views of shape {tuple(x.shape)}, like the samples, got "
                    f"{tuple(seen.shape)} from {change!r}"
                )
            if k == 0 and not seen.equal(probe):
                raise ValueError(f"expected the identity as the first view, got {change!r}")
            if not torch.allclose(change(probe[:1]), seen[:1], rtol=1e-4, atol=1e-4):
                raise ValueError(
                    f"expected transforms of each sample alone, got {change!r}, which does others "
                    f"to a batch of shape {tuple(x.shape)}"
                )
            if not torch.allclose(change.inverse()(seen), probe, rtol=1e-4, atol=1e-4):
                raise ValueError(
                    f"expected transforms with an inverse, got {change!r}, whose inverse does not "
                    "undo it"
                )


def _with_inverses(transforms: Any) -> list[Any]:
    found = list(transforms)
    if not found:
        raise ValueError("expected at least one transform, the identity, got none")
    for change in found:
        if not callable(getattr(change, "inverse", None)):
            raise ValueError(
                f"expected transforms with an inverse, got {change!r}: without one, views of two "
                "laws can be equal where the laws are not"
            )
    return found
