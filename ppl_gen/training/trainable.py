"""What the training loop trains: named players and their losses.

A :class:`Trainable` has players, each a set of parameters with its own optimiser, and for each
batch a sequence of turns, each a player and a loss. After a turn's optimiser step the sequence
resumes, so that a second player sees the first one's new parameters. A model/guide pair is one
player.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Loss: TypeAlias = Callable[..., tuple[Tensor, dict[str, Tensor]]]


class Turn(NamedTuple):
    """An optimiser step of a player.

    Attributes:
        player: whose step it is, or several players that take one on the same loss.
        loss: a function to the loss and its metrics.
        args: its arguments. Without any it is a closure, which is evaluated eagerly.
        after: called after the optimiser's step, to clip weights for example.

    >>> value = torch.zeros(2, requires_grad=True)
    >>> def loss(x):
    ...     return (x - value).square().sum(), {"largest": value.max()}
    >>> turn = ppl_gen.Turn("mean", loss, (torch.ones(5, 2),))
    >>> turn.players
    ('mean',)
    >>> turn.loss(*turn.args)[0].item()
    10.0
    """

    player: str | tuple[str, ...]
    loss: Loss
    args: tuple[Any, ...] = ()
    after: Callable[[], object] | None = None

    @property
    def players(self) -> tuple[str, ...]:
        return (self.player,) if isinstance(self.player, str) else tuple(self.player)


AnyTurn: TypeAlias = Turn | tuple[str, Loss] | tuple[str, Loss, tuple[Any, ...]]
Turns: TypeAlias = Generator[AnyTurn, Mapping[str, Tensor], None]


def as_turn(turn: Any) -> Turn:
    """A turn as it is, or one of a tuple of a player, a loss and perhaps its arguments."""
    if isinstance(turn, Turn):
        return turn
    if not isinstance(turn, tuple) or len(turn) not in (2, 3):
        raise ValueError(f"expected a Turn(player, loss, args, after) of losses, got {turn!r}")
    return Turn(*turn)


class SingleLoss(NamedTuple):
    """The same turn for every batch, with the batch as its arguments.

    Attributes:
        player: see :class:`Turn`.
        loss: the function of the turn.
        advance: what follows the step, given its metrics: tensors are changed in place, no more.
        check: raises ``ValueError`` where a step has left something that cannot be trained.
    """

    player: str | tuple[str, ...]
    loss: Loss
    advance: Callable[[Mapping[str, Tensor]], None] | None = None
    check: Callable[[], None] | None = None

    def turns(self, *batch: Tensor) -> Turns:
        """What :meth:`Trainable.losses` gives for it."""
        metrics = yield Turn(self.player, self.loss, batch)
        if self.advance is not None:
            self.advance(metrics)
        if self.check is not None:
            self.check()


@runtime_checkable
class Trainable(Protocol):
    """What :func:`ppl_gen.fit` trains: any object with ``players`` and ``losses``.

    With the same loss for every batch, a method ``loss`` of the batch takes the place of
    ``losses``; such steps are taken several in a call, like those of a :class:`ppl_gen.Pair`.

    What steps change is taken to be the parameters of the players and what the modules among the
    attributes hold. An object may define what this module has functions for, by the same names and
    without the first argument: ``prepare``, ``evaluate``, ``running``, ``buffers``,
    ``nonfinite_sites``, ``name_arguments``, ``state_dict`` and ``load_state_dict``; and
    ``fit_defaults``, a dictionary of values for ``lr``, ``optimizer``, ``ema`` and ``clip_norm`` of
    ``fit`` where none are given.

    >>> class Mean:
    ...     def __init__(self):
    ...         self.value = torch.zeros(1, requires_grad=True)
    ...         self.players = {"mean": [self.value]}
    ...     def loss(self, x):
    ...         return (x - self.value).square().sum(), {}
    >>> mean, x = Mean(), torch.tensor([[1.0], [3.0]])
    >>> history = ppl_gen.fit(mean, x, epochs=300, lr=0.05, staged=False, progress=False)
    >>> round(mean.value.item(), 1)
    2.0
    """

    @property
    def players(self) -> Mapping[str, Iterable[Tensor]]:
        """Parameters by player."""
        ...

    def losses(self, *batch: Tensor) -> Iterable[AnyTurn]:
        """The turns of one batch, each a :class:`Turn` or a tuple of its first two or three parts.

        A loss is a sum over the batch, as in Pyro: several processes add theirs up. A generator
        receives the metrics of the turn it ended from each ``yield``.
        """
        single = _of_one_loss(self)
        if single is None:
            raise ValueError(f"expected {type(self).__name__} to define losses or loss")
        return single.turns(*batch)


def _of_one_loss(trainable: Any) -> SingleLoss | None:
    loss = getattr(trainable, "loss", None)
    names = tuple(trainable.players)
    return SingleLoss(names[0] if len(names) == 1 else names, loss) if callable(loss) else None


def single_loss(trainable: Trainable) -> SingleLoss | None:
    """What the losses come down to, if that is simple enough for steps without Python."""
    own = getattr(trainable, "single_loss", None)
    if own is not None:
        return own()
    varying = getattr(type(trainable), "losses", Trainable.losses) is not Trainable.losses
    varying |= "losses" in getattr(trainable, "__dict__", {})
    return None if varying else _of_one_loss(trainable)


def turns(trainable: Trainable, *batch: Tensor) -> Iterable[AnyTurn]:
    """The turns of one batch."""
    single = single_loss(trainable)
    return trainable.losses(*batch) if single is None else single.turns(*batch)


def fit_defaults(trainable: Trainable) -> Mapping[str, Any]:
    """Settings of :func:`ppl_gen.fit` for where none are given."""
    return getattr(trainable, "fit_defaults", {})


def name_arguments(trainable: Trainable, names: Sequence[str]) -> None:
    """Be given batches whose tensors have names from now on, or no names."""
    if own := getattr(trainable, "name_arguments", None):
        own(names)
    elif names:
        raise ValueError(
            f"expected tensors, got dictionaries of {', '.join(names)}: only a Pair takes these"
        )


def prepare(trainable: Trainable, *batch: Tensor) -> None:
    """Check a first batch and create whatever is created lazily."""
    if own := getattr(trainable, "prepare", None):
        own(*batch)


def evaluate(trainable: Trainable, *batch: Tensor) -> Mapping[str, Tensor]:
    """Metrics of held-out data, means per datum; changes nothing."""
    own = getattr(trainable, "evaluate", None)
    return own(*batch) if own else {}


def running(trainable: Trainable) -> AbstractContextManager[None]:
    """The context in which everything runs."""
    own = getattr(trainable, "running", None)
    return own() if own else nullcontext()


def buffers(trainable: Trainable) -> Iterable[Tensor]:
    """Tensors that steps change besides the parameters."""
    if own := getattr(trainable, "buffers", None):
        return own()
    return (buffer for module in _modules_of(trainable) for buffer in module.buffers())


def nonfinite_sites(trainable: Trainable, *args: Any) -> list[str]:
    """The sites whose log-probability is not finite for these arguments of a loss."""
    own = getattr(trainable, "nonfinite_sites", None)
    return own(*args) if own else []


def state_dict(trainable: Trainable) -> dict[str, Any]:
    """Everything that steps change, but for what belongs to optimisers."""
    if own := getattr(trainable, "state_dict", None):
        return own()
    return {
        "players": {name: [p.detach() for p in ps] for name, ps in trainable.players.items()},
        "modules": [module.state_dict() for module in _modules_of(trainable)],
    }


def load_state_dict(trainable: Trainable, state: Mapping[str, Any]) -> None:
    """Put everything back that :func:`state_dict` gave."""
    if own := getattr(trainable, "load_state_dict", None):
        own(state)
        return
    for name, parameters in trainable.players.items():
        fill(parameters, state["players"][name])
    for module, stored in zip(_modules_of(trainable), state["modules"], strict=True):
        module.load_state_dict(stored)


@torch.no_grad()
def fill(tensors: Iterable[Tensor], stored: Iterable[Tensor]) -> None:
    """Copy stored values into tensors of the same shapes, or raise ``ValueError``."""
    for tensor, value in zip(tensors, stored, strict=True):
        if tensor.shape != value.shape:
            expected, found = tuple(tensor.shape), tuple(value.shape)
            raise ValueError(f"expected a tensor of shape {expected}, got {found}")
        tensor.copy_(value)


def _modules_of(trainable: Trainable) -> list[nn.Module]:
    """The modules among the attributes of what is trained, or that itself."""
    if isinstance(trainable, nn.Module):
        return [trainable]
    return [leaf for leaf in tree_leaves(vars(trainable)) if isinstance(leaf, nn.Module)]
