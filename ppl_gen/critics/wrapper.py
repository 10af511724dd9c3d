"""What is shown to a critic in place of the samples, and what it is asked besides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from ppl_gen._checks import is_finite
from ppl_gen.critics.base import Critic

Look = tuple[Callable[[Tensor], Tensor], float]


class Wrapper(nn.Module):
    """A critic that is shown something else; this one shows the samples as they are.

    Args:
        critic: a module from samples to logits, which may be a wrapper.

    Attributes:
        asks: whether it has an auxiliary cost of its own.
        joins: whether what it shows is several samples at once.

    >>> class Halved(ppl_gen.critics.Wrapper):
    ...     def show(self, x):
    ...         return x / 2
    >>> Halved(torch.nn.Identity())(torch.ones(3, 1)).flatten()
    tensor([0.5000, 0.5000, 0.5000])
    """

    asks = joins = False

    def __init__(self, critic: nn.Module):
        super().__init__()
        self.critic = critic

    def show(self, x: Tensor) -> Tensor:
        """What the critic sees of samples."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.critic(self.show(x))

    def features(self, x: Tensor) -> Tensor:
        """The features of samples, for a critic that has some."""
        return cast(Critic, self.critic).features(self.show(x))

    def judge(self, features: Tensor) -> Tensor:
        """The logits of features."""
        return cast(Critic, self.critic).judge(features)

    def total(self, costs: Tensor, player: str) -> Tensor:
        """See :func:`total`."""
        return total(self.critic, costs, player)

    def auxiliary(self, x: Tensor, player: str) -> Tensor | None:
        """See :func:`auxiliary`; the critic is shown nothing unless it asks something."""
        if not any(getattr(part, "asks", False) for part in self.critic.modules()):
            return None
        return auxiliary(self.critic, self.show(x), player)

    def looks(self) -> list[Look]:
        """See :func:`looks`."""
        inner = looks(self.critic)
        if len(inner) == 1:
            return [(self, 1.0)]
        return [(partial(self._through, look), weight) for look, weight in inner]

    def _through(self, look: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return look(self.show(x))

    @property
    def fewest(self) -> int:
        """See :func:`fewest`."""
        return fewest(self.critic)

    def require(self, x: Tensor) -> None:
        """See :func:`require`."""
        require(self.critic, self.show(x))


def total(critic: nn.Module, costs: Tensor, player: str) -> Tensor:
    """The cost of a player, from the costs ``(B, K)`` of logits: their sum, unless heads differ.

    Args:
        critic: which gave the logits.
        costs: a cost for every logit.
        player: ``"critic"`` or ``"generator"``.

    >>> from ppl_gen.critics import Views, total
    >>> views = Views(ppl_gen.critics.Critic(torch.nn.Flatten(), 4), weight=0.3)
    >>> costs = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    >>> total(views, costs, "critic"), total(torch.nn.Linear(4, 4), costs, "critic")
    (tensor(1.3000), tensor(4.))
    """
    return critic.total(costs, player) if isinstance(critic, Wrapper) else costs.sum()


def auxiliary(critic: nn.Module, x: Tensor, player: str) -> Tensor | None:
    """A further cost of a player on samples, in the critic's turn data and in the other's fakes.

    >>> from ppl_gen.critics import Rotations, auxiliary
    >>> asking = Rotations(ppl_gen.critics.Critic(torch.nn.Flatten(), 4))
    >>> auxiliary(asking, torch.zeros(8, 1, 2, 2), "critic").shape
    torch.Size([])
    >>> auxiliary(asking.critic, torch.zeros(8, 1, 2, 2), "critic") is None
    True
    """
    return critic.auxiliary(x, player) if isinstance(critic, Wrapper) else None


def looks(critic: nn.Module) -> list[Look]:
    """A critic as functions of samples to logits of one head each, with their weights.

    A penalty is taken of each of them, since every head has gradients of its own.

    >>> views = ppl_gen.critics.Views(ppl_gen.critics.Critic(torch.nn.Flatten(), 4), weight=0.3)
    >>> [round(weight, 2) for _, weight in ppl_gen.critics.looks(views)]
    [1.0, 0.1, 0.1, 0.1]
    """
    return critic.looks() if isinstance(critic, Wrapper) else [(critic, 1.0)]


def fewest(critic: nn.Module) -> int:
    """The smallest number of samples that can be shown to a critic.

    >>> from ppl_gen.critics import Packed, fewest
    >>> fewest(Packed(torch.nn.Linear(6, 1), 3)), fewest(torch.nn.Linear(6, 1))
    (3, 1)
    """
    return critic.fewest if isinstance(critic, Wrapper) else 1


def require(critic: nn.Module, x: Tensor) -> None:
    """Raise ``ValueError`` unless samples of this shape can be shown to a critic.

    >>> from ppl_gen.critics import Critic, Rotations, require
    >>> require(Rotations(Critic(torch.nn.Flatten(), 2)), torch.zeros(5, 1, 1, 2))
    Traceback (most recent call last):
        ...
    ValueError: expected square images (B, C, H, H) to rotate, got (5, 1, 1, 2)
    """
    if isinstance(critic, Wrapper):
        critic.require(x)


def num_features(critic: nn.Module, what: str) -> int:
    """How many features a critic has, or ``ValueError`` if a wrapper cannot use them."""
    inner = critic
    while isinstance(inner, Wrapper):
        if inner.joins:
            raise ValueError(f"expected packs outside of {what}, got {what} of a critic of packs")
        inner = inner.critic
    if not isinstance(inner, Critic):
        raise ValueError(
            f"expected a critics.Critic(body, features) for {what}, got {type(inner).__name__}"
        )
    if inner.head.out_features != 1:
        raise ValueError(f"expected one head to add {what} to, got {inner.head.out_features}")
    return inner.head.in_features


def weight_of(value: Any) -> float:
    """A weight of zero or more, or ``ValueError``."""
    if not is_finite(value) or value < 0:
        raise ValueError(f"expected a weight of zero or more, got {value!r}")
    return float(value)
