"""Which steps of a run are compiled: decided from counts, kept in checkpoints, explained.

A *kind* of step is a function with the shapes of its arguments. Where all batches are known before,
a kind is decided when it first comes. Elsewhere that happens when it has come :data:`SEEN` times
and every time this number has doubled, and its steps to come are foretold by its share of those so
far, or where nobody knows when the data end, taken to be as many as so far. See
:mod:`ppl_gen.staging.costs` for when it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor

from ppl_gen.data.batches import Batches, TensorBatches
from ppl_gen.staging import costs
from ppl_gen.staging.choice import Always, Measure
from ppl_gen.staging.staged import warn
from ppl_gen.training.history import History

# How often a kind comes before it is decided, where nothing is known of later batches.
SEEN = 8
# How many kinds of one function are compiled, and how many kinds are explained.
KINDS, EXPLAINED = 4, 8


class Training(Protocol):
    """What is to be known of a run, see :class:`ppl_gen.training.run.Run`."""

    source: Batches
    history: History
    epochs: int
    epoch: int
    batch: int


class Choices:
    """The choices of a run.

    Args:
        staged: see :func:`ppl_gen.fit`.
        run: to which they belong.
        single: whether every function is called with each batch, and only so.

    Attributes:
        announce: called with a text before something is compiled.
        compiling: whether something is being compiled.
    """

    def __init__(self, staged: str | bool, run: Training, single: bool = False):
        self.staged, self.run, self.single = staged, run, single
        self.announce: Callable[[str], None] = lambda text: None
        self.compiling = False
        self._of: dict[str, Choice] = {}

    def of(self, name: str) -> Choice:
        """The choice for a function of this name, which is the same in every process."""
        return self._of.setdefault(name, Choice(self))

    def __str__(self) -> str:
        if self.staged != "auto":
            return f"{'compiled' if self.staged else 'eager'}, since staged={self.staged}"
        every = [
            f"{f'{name}, ' if len(self._of) > 1 else ''}{kind}: {reason}"
            for name, choice in self._of.items()
            for kind, reason in choice.reasons.items()
        ]
        rest = f"and {len(every) - EXPLAINED} more kinds of batch"
        return "; ".join(every[:EXPLAINED] + [rest] * (len(every) > EXPLAINED))

    def steps_left(self) -> float | None:
        """With the one under way, unless the data alone know when they end."""
        run = self.run
        length: float | None = run.source.length
        if length is None:
            if not run.epoch:
                return None
            length = (run.history.steps - run.batch) / run.epoch
        return (run.epochs - run.epoch) * length - run.batch

    def steps_of(self, rows: int) -> int | None:
        """Those of whole epochs that take so many rows, where that is known before."""
        if not (self.single and isinstance(self.run.source, TensorBatches)):
            return None
        return (self.run.epochs - self.run.epoch) * self.run.source.sizes().get(rows, 0)

    def state(self) -> dict[str, Any]:
        """The choices as plain data, for a checkpoint."""
        return {name: choice.state() for name, choice in self._of.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Keep the choices of a checkpoint."""
        for name, found in state.items():
            self.of(name).load(found)


class Choice(Always):
    """Which kinds of calls of one function are compiled.

    Attributes:
        compiled: for each kind that is decided for good, whether it is.
        reasons: for every kind.
    """

    def __init__(self, choices: Choices):
        self._choices = choices
        self.compiled: dict[str, bool] = {}
        self.reasons: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._decided_at: dict[str, int] = {}
        self._prices: dict[str, float] = {}
        self._warned = False

    def __call__(self, leaves: Sequence[Any], measure: Measure) -> bool:
        if self._choices.staged != "auto":
            return bool(self._choices.staged)
        kind = kind_of(leaves)
        if kind not in self.compiled:
            self._decide(kind, leaves, measure)
        return self.compiled.get(kind, False)

    def count(self, leaves: Sequence[Any]) -> None:
        kind = kind_of(leaves)
        if kind not in self.compiled:
            self._seen[kind] = self._seen.get(kind, 0) + 1

    def note(self, leaves: Sequence[Any], text: str) -> None:
        self.reasons[kind_of(leaves)] = text

    @contextmanager
    def compiling(self, leaves: Sequence[Any]) -> Iterator[None]:
        kind, choices = kind_of(leaves), self._choices
        about = f", about {self._prices[kind]:.0f} s" if kind in self._prices else ""
        choices.announce(f"compiling the step for {kind}{about}")
        choices.compiling = True
        try:
            yield
        finally:
            choices.compiling = False

    def _decide(self, kind: str, leaves: Sequence[Any], measure: Measure) -> None:
        rows = len(leaves[0]) if isinstance(leaves[0], Tensor) and leaves[0].dim() else 0
        known = self._choices.steps_of(rows)
        steps = self._foretold(kind) if known is None else known
        if steps is None:
            return
        work = measure()
        pays = costs.pays(work, steps)
        self._prices[kind] = costs.price(work)
        self.reasons[kind] = costs.explained(work, steps, pays)
        if pays and sum(self.compiled.values()) >= KINDS:
            self._leave_eager(kind)
        elif pays or known is not None:
            self.compiled[kind] = pays

    def _foretold(self, kind: str) -> float | None:
        """Steps of this kind to come, or ``None`` where it is not the time to decide."""
        seen = self._seen.get(kind, 0)
        if seen < max(SEEN, 2 * self._decided_at.get(kind, 0)):
            self.reasons.setdefault(kind, f"eager, as long as it has come less than {SEEN} times")
            return None
        self._decided_at[kind] = seen
        left = self._choices.steps_left()
        return seen if left is None else left * seen / max(1, self._choices.run.history.steps)

    def _leave_eager(self, kind: str) -> None:
        """Compile no more kinds, and say so once."""
        self.compiled[kind] = False
        self.reasons[kind] = f"eager, since {KINDS} other kinds of batch are compiled already"
        if not self._warned:
            self._warned = True
            warn(
                f"batches come in many shapes: the steps of {KINDS} are compiled, others run "
                "eagerly; staged=True compiles every one"
            )

    def state(self) -> dict[str, Any]:
        return {
            "compiled": dict(self.compiled),
            "reasons": dict(self.reasons),
            "seen": dict(self._seen),
            "decided_at": dict(self._decided_at),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.compiled, self.reasons = dict(state["compiled"]), dict(state["reasons"])
        self._seen, self._decided_at = dict(state["seen"]), dict(state["decided_at"])


def kind_of(leaves: Sequence[Any]) -> str:
    """The shapes of tensors, and what else a graph holds for.

    >>> kind_of((torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64), True))
    '64x1x8x8 and 64 int64 and True'
    """
    return " and ".join(_shape(leaf) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves)


def _shape(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    kind = str(tensor.dtype).removeprefix("torch.")
    return shape if kind == "float32" else f"{shape} {kind}"
