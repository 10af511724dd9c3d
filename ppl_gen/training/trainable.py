"""What the training loop trains: named players and their losses.

A :class:`Trainable` has players, each a set of parameters with its own optimiser, and for each
batch or every few batches a sequence of turns, each a player and a loss. After a turn's optimiser
step the sequence resumes, so that a second player sees the first one's new parameters. A
model/guide pair is one player.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ppl_gen._checks import is_whole

METHODS = ("losses", "schedule", "loss")  # what may give the turns

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


AnyTurn: TypeAlias = Turn | tuple[Any, ...]
Turns: TypeAlias = Generator[AnyTurn, Mapping[str, Tensor], None]


def as_turn(turn: Any) -> Turn:
    """A turn as it is, or one of a tuple of its first two parts or more."""
    if isinstance(turn, Turn):
        return turn
    if not isinstance(turn, tuple) or not 2 <= len(turn) <= 4 or not callable(turn[1]):
        raise ValueError(f"expected a Turn(player, loss, args, after) of losses, got {turn!r}")
    return Turn(*turn)


class Cycle(NamedTuple):
    """The turns of every few batches, known before the first of them is taken.

    Attributes:
        schedule: a function of some batches, each a tuple of tensors, to the turns.
        batches: how many it is given, or fewer where an epoch ends.
        advance: what follows the last step, given its metrics: changes tensors in place, no more.
        check: raises ``ValueError`` where steps have left something that cannot be trained.
        one: whether it is known to be one turn with the batch as its arguments.
    """

    schedule: Callable[..., Sequence[AnyTurn]]
    batches: int = 1
    advance: Callable[[Mapping[str, Tensor]], None] | None = None
    check: Callable[[], None] | None = None
    one: bool = False

    def turns(self, *batches: tuple[Tensor, ...]) -> Turns:
        """The turns one by one, and what follows them."""
        metrics: Mapping[str, Tensor] = {}
        for turn in tuple(self.schedule(*batches)):
            metrics = yield turn
        if self.advance is not None:
            self.advance(metrics)
        if self.check is not None:
            self.check()


def one_turn(player: str | tuple[str, ...], loss: Loss) -> Callable[..., Sequence[Turn]]:
    """The schedule of the same turn for every batch, with the batch as its arguments."""
    return lambda batch: (Turn(player, loss, batch),)


@runtime_checkable
class Trainable(Protocol):
    """What :func:`ppl_gen.fit` trains: any object with ``players`` and one of these methods.

    * ``losses(*batch)`` gives the turns of a batch one after the other, the next when the last has
      been taken.
    * ``loss(*batch)`` is the same loss for every batch, of all players together.
    * ``schedule(*batches)`` gives all turns of a cycle of batches, each a tuple of tensors, before
      the first is taken: k steps of one player with fresh data and one of another, for example. An
      attribute ``batches_a_cycle`` says how many batches that takes, 1 without it. What is left of
      an epoch makes a shorter cycle, of which ``schedule`` is given fewer batches. Losses and what
      comes ``after`` a step are then methods or functions whose arguments are the batches, parts of
      them and numbers; ``after`` changes tensors in place and does nothing else.

    Steps of the last two kinds are taken several in a call, like those of a :class:`ppl_gen.Pair`.

    What steps change is taken to be the parameters of the players and what the modules among the
    attributes hold. An object may define what this module has functions for, by the same names and
    without the first argument: ``prepare``, ``evaluate``, ``visit``, ``running``, ``buffers``,
    ``nonfinite_sites``, ``name_arguments``, ``state_dict`` and ``load_state_dict``; and
    ``fit_defaults``, a dictionary of values for ``lr``, ``optimizer``, ``scheduler``, ``ema`` and
    ``clip_norm`` of ``fit`` where none are given.

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
        """The turns of one batch, each a :class:`Turn` or a tuple of its first two parts or more.

        A loss is a sum over the batch, as in Pyro: several processes add theirs up. A generator
        receives the metrics of the turn it ended from each ``yield``.
        """
        cycle = cycle_of(self)
        if cycle is None:
            raise ValueError(f"expected {type(self).__name__} to define losses, schedule or loss")
        return cycle.turns(batch)


def cycle_of(trainable: Trainable) -> Cycle | None:
    """The cycle of what is trained, or ``None`` if its turns are not known beforehand."""
    if (own := getattr(trainable, "cycle", None)) is not None:
        return own()
    names = tuple(trainable.players)
    found = _method_of(trainable)
    if found == "loss":
        loss: Loss = trainable.loss  # type: ignore[attr-defined]
        return Cycle(one_turn(names[0] if len(names) == 1 else names, loss), one=True)
    if found == "schedule":
        batches = getattr(trainable, "batches_a_cycle", 1)
        if not is_whole(batches, 1):
            raise ValueError(f"expected one batch or more in a cycle, got {batches!r}")
        return Cycle(trainable.schedule, batches)  # type: ignore[attr-defined]
    return None


def _method_of(trainable: Any) -> str:
    """The method that gives the turns: of those there are, one of the most derived class."""
    for held in (getattr(trainable, "__dict__", {}), *map(vars, type(trainable).__mro__)):
        for name in METHODS:
            if callable(held.get(name)) and held[name] is not vars(Trainable).get(name):
                return name
    return "losses"


def turns(trainable: Trainable, *batch: Tensor) -> Iterable[AnyTurn]:
    """The turns of one batch."""
    cycle = cycle_of(trainable)
    return trainable.losses(*batch) if cycle is None else cycle.turns(batch)


def fit_defaults(trainable: Trainable) -> Mapping[str, Any]:
    """Settings of :func:`ppl_gen.fit` for where none are given."""
    return getattr(trainable, "fit_defaults", {})


def by_player(name: str, value: Any, players: Sequence[str]) -> dict[str, Any]:
    """A setting of each player: of a dictionary that has one for each, or the same for all.

    Raises:
        ValueError: a dictionary that leaves players out or names others.
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(players, value)
    if set(value) != set(players):
        raise ValueError(
            f"expected {name} for each of the players {', '.join(players)}, got "
            f"{', '.join(map(str, value)) or 'none'}"
        )
    return {player: value[player] for player in players}


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
    """Metrics of held-out data, means per datum; changes nothing.

    There are none of a batch smaller than the trainable says that it can learn from.
    """
    own, fewest = getattr(trainable, "evaluate", None), getattr(trainable, "fewest", 1)
    if own is None or (fewest > 1 and len(batch[0]) < fewest):
        return {}
    return own(*batch)


def visit(trainable: Trainable, *batch: Tensor) -> None:
    """Run whatever keeps statistics of its inputs on a batch; by default the losses of a cycle."""
    if own := getattr(trainable, "visit", None):
        own(*batch)
    elif (cycle := cycle_of(trainable)) is not None:
        for turn in map(as_turn, cycle.schedule(batch)):
            turn.loss(*turn.args)


def running(trainable: Trainable) -> AbstractContextManager[None]:
    """The context in which everything runs."""
    own = getattr(trainable, "running", None)
    return own() if own else nullcontext()


def buffers(trainable: Trainable) -> Iterable[Tensor]:
    """Tensors that steps change besides the parameters."""
    if own := getattr(trainable, "buffers", None):
        return own()
    return (buffer for module in modules_of(trainable) for buffer in module.buffers())


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
        "modules": [module.state_dict() for module in modules_of(trainable)],
    }


def load_state_dict(trainable: Trainable, state: Mapping[str, Any]) -> None:
    """Put everything back that :func:`state_dict` gave."""
    if own := getattr(trainable, "load_state_dict", None):
        own(state)
        return
    for name, parameters in trainable.players.items():
        fill(parameters, state["players"][name])
    for module, stored in zip(modules_of(trainable), state["modules"], strict=True):
        module.load_state_dict(stored)


@torch.no_grad()
def fill(tensors: Iterable[Tensor], stored: Iterable[Tensor]) -> None:
    """Copy stored values into tensors of the same shapes, or raise ``ValueError``."""
    for tensor, value in zip(tensors, stored, strict=True):
        if tensor.shape != value.shape:
            expected, found = tuple(tensor.shape), tuple(value.shape)
            raise ValueError(f"expected a tensor of shape {expected}, got {found}")
        tensor.copy_(value)


def modules_of(trainable: Trainable) -> list[nn.Module]:
    """The modules among the attributes of what is trained, or that itself."""
    if isinstance(trainable, nn.Module):
        return [trainable]
    return [leaf for leaf in tree_leaves(vars(trainable)) if isinstance(leaf, nn.Module)]
