"""Which steps of a run are compiled: decided from counts, kept in checkpoints, explained.

A *kind* of step is a function with the shapes of its arguments. Where all batches are known before,
a kind is decided when it first comes. Elsewhere that happens when it has come :data:`SEEN` times
and every time this number has doubled, and its steps to come are foretold by its share of those so
far, or where nobody knows when the data end, taken to be as many as so far. A kind that comes once
an epoch, such as a short last batch, is compiled in runs alone that are so long that the others
save several times what it costs. See :mod:`ppl_gen.staging.costs` for when it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
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
    batches_a_step: int

    @property
    def steps_an_epoch(self) -> int | None: ...


class Choices:
    """The choices of a run.

    Args:
        staged: see :func:`ppl_gen.fit`.
        run: to which they belong.

    Attributes:
        announce: called with a text before something is compiled.
        compiling: whether something is being compiled.
    """

    def __init__(self, staged: str | bool, run: Training):
        self.staged, self.run = staged, run
        self.announce: Callable[[str], None] = lambda text: None
        self.compiling = False
        self._of: dict[str, Choice] = {}

    def of(self, name: str, every: bool = False) -> Choice:
        """The choice for a function of this name, which is the same in every process.

        Args:
            name: of the function.
            every: whether it is called with the batches of every step, and only so.
        """
        found = self._of.setdefault(name, Choice(self))
        found.every |= every
        return found

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
        length: float | None = run.steps_an_epoch
        since = run.batch / run.batches_a_step
        if length is None:
            if not run.epoch:
                return None
            length = (run.history.steps - since) / run.epoch
        return (run.epochs - run.epoch) * length - since

    def steps_of(self, leaves: Sequence[Any]) -> int | None:
        """Those of whole epochs on batches of these sizes, where that is known before."""
        run, source = self.run, self.run.source
        if not isinstance(source, TensorBatches):
            return None
        sizes = [rows for rows, count in source.sizes().items() for _ in range(count)]
        size, parts = run.batches_a_step, len(source.tensors)
        steps = (sizes[i : i + size] for i in range(0, len(sizes), size))
        rows = [len(leaf) for leaf in leaves[::parts]]
        return (run.epochs - run.epoch) * sum(step == rows for step in steps)

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
        every: whether it is called with the batches of every step, and only so.
        compiled: for each kind that is decided for good, whether it is.
        reasons: for every kind.
    """

    def __init__(self, choices: Choices):
        self._choices, self.every = choices, False
        self.compiled: dict[str, bool] = {}
        self.reasons: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._decided_at: dict[str, int] = {}
        self._prices: dict[str, float] = {}
        self._saved = 0.0  # by kinds that are compiled
        self._warned = False

    def __call__(self, leaves: Sequence[Any], measure: Measure) -> bool:
        if self._choices.staged != "auto":
            return bool(self._choices.staged)
        kind = kind_of(leaves)
        if kind not in self.compiled:
            self._decide(kind, leaves, measure)
        return self.compiled.get(kind, False)

    def is_compiled(self, leaves: Sequence[Any]) -> bool:
        """Whether calls like this were found to be worth it, or are compiled anyway."""
        if self._choices.staged != "auto":
            return bool(self._choices.staged)
        return self.compiled.get(kind_of(leaves), False)

    def insist(self, leaves: Sequence[Any]) -> None:
        """Have calls like this compiled, whatever that is worth."""
        self.compiled[kind_of(leaves)] = True

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
        known = self._choices.steps_of(leaves) if self.every else None
        steps = self._foretold(kind) if known is None else known
        if steps is None:
            return
        if costs.too_few(steps, self._saved):
            self.reasons[kind] = f"eager, since {steps:,.0f} steps to come pay for no compilation"
            if known is not None:
                self.compiled[kind] = False
            return
        work = measure()
        pays = costs.pays(work, steps)
        if known is not None:
            pays |= costs.spares(work, steps, self._saved)
        self._prices[kind] = costs.price(work)
        self.reasons[kind] = costs.explained(work, steps, pays)
        if pays and sum(self.compiled.values()) >= KINDS:
            self._leave_eager(kind)
        elif pays or known is not None:
            self.compiled[kind] = pays
            self._saved += steps * costs.saved(work) * pays

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
            "saved": self._saved,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.compiled, self.reasons = dict(state["compiled"]), dict(state["reasons"])
        self._seen, self._decided_at = dict(state["seen"]), dict(state["decided_at"])
        self._saved = state.get("saved", 0.0)


class OfCycle(Always):
    """The choice for a turn of a cycle, which is that of the cycle under way.

    Attributes:
        cycle: its choice.
        leaves: its batches.
    """

    cycle: Choice
    leaves: Sequence[Any] = ()

    def __call__(self, leaves: Sequence[Any], measure: Measure) -> bool:
        return self.cycle.is_compiled(self.leaves)

    def note(self, leaves: Sequence[Any], text: str) -> None:
        self.cycle.note(self.leaves, text)

    def compiling(self, leaves: Sequence[Any]) -> AbstractContextManager[None]:
        return self.cycle.compiling(self.leaves)


def kind_of(leaves: Sequence[Any]) -> str:
    """The shapes of tensors, and what else a graph holds for.

    >>> kind_of((torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64), True))
    '64x1x8x8 and 64 int64 and True'
    >>> kind_of((torch.zeros(64, 2), torch.zeros(64, 2), torch.zeros(10, 2)))
    '2 times 64x2 and 10x2'
    """
    each = (_shape(leaf) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves)
    counted = ((len(list(same)), kind) for kind, same in groupby(each))
    return " and ".join(kind if n == 1 else f"{n} times {kind}" for n, kind in counted)


def _shape(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    kind = str(tensor.dtype).removeprefix("torch.")
    return shape if kind == "float32" else f"{shape} {kind}"
