"""Cycles of turns, several in a call: each turn a graph that ends with its update.

A cycle is a fixed sequence of turns, each a step of some players on a loss. Turns of one kind share
a graph, so that five steps of a critic are compiled once, and the graphs are called one after the
other for as many cycles as there are batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ppl_gen.staging.averages import EMA
from ppl_gen.staging.costs import Work
from ppl_gen.staging.cpp_loop import Graphs
from ppl_gen.staging.full_step import WholeStep
from ppl_gen.staging.optimizers import steps_of
from ppl_gen.staging.recording import NotStageable
from ppl_gen.staging.signatures import Call
from ppl_gen.staging.staged import Graph, Metrics
from ppl_gen.staging.updates import Mover, Row, Update, UpdateRule

# How many kinds of turn there may be.
KINDS = 32


class Turn(Protocol):
    """See :class:`ppl_gen.training.trainable.Turn`."""

    @property
    def players(self) -> tuple[str, ...]: ...
    @property
    def loss(self) -> Callable[..., tuple[Tensor, Metrics]]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def after(self) -> Callable[[], object] | None: ...


@dataclass(frozen=True)
class Part:
    """A turn of a cycle with its graph.

    Attributes:
        step: the kind of turn.
        graph: of the step.
        call: of the first cycle.
        plain: the arguments that are no tensors, which are constants of the graph.
    """

    step: WholeStep
    graph: Graph
    call: Call
    plain: list[Any]


class WholeCycles:
    """Takes whole cycles.

    Args:
        rules: of all players, each :meth:`~ppl_gen.staging.updates.UpdateRule.expressible`.
        identity: what tells a loss or what follows a step from others.
        advance: called with the metrics of the last turn of a cycle; changes tensors in place and
            nothing else.
        choice: of every kind of turn, see :class:`ppl_gen.staging.choice.Always`.
    """

    def __init__(
        self,
        rules: Mapping[str, UpdateRule],
        identity: Callable[[Callable[..., Any]], Any],
        advance: Callable[[Mapping[str, Tensor]], None] | None = None,
        choice: Any = None,
    ):
        self.movers = {name: Mover(rule, steps_of(rule.optimizer)) for name, rule in rules.items()}
        self.identity, self.advance, self.choice = identity, advance, choice
        self.parameters = {name: rule.parameters for name, rule in rules.items()}
        self.averages = [rule.ema for rule in rules.values() if rule.ema is not None]
        self.finite = torch.ones((), dtype=torch.bool, device=self._all()[0].device)
        self._steps: dict[Any, WholeStep] = {}
        self._last: tuple[Graphs, list[list[Tensor]]]

    def _all(self) -> list[Tensor]:
        return [p for parameters in self.parameters.values() for p in parameters]

    def _is_ready(self) -> bool:
        return all(mover.steps.is_ready() for mover in self.movers.values())

    def work(self, turns: Sequence[Turn], works: Sequence[Work]) -> Work:
        """What a cycle does eagerly, and what is compiled of it, given what each turn does."""
        if not self._is_ready():
            raise NotStageable("settings of an optimiser have changed")
        kinds = ((id(step), call.key) for step, call in self._calls(turns))
        return Work.of_turns(works, list(dict(zip(kinds, works, strict=True)).values()))

    def take(self, cycles: Sequence[Sequence[Turn]]) -> list[list[dict[str, float]]] | None:
        """Take cycles of one kind, until a loss is not finite.

        Returns:
            The metrics of every turn of each cycle, and its loss, or ``None`` if cycles of this
            kind cannot be taken so, in which case nothing has happened.
        """
        parts = self._parts(cycles[0], len(cycles))
        given = None if parts is None else _given(parts, cycles)
        if parts is None or given is None or not self._begin(parts):
            return None
        order, graphs = [], list[Part]()
        for part in parts:
            if all(part.graph is not other.graph for other in graphs):
                graphs.append(part)
            order.append(next(i for i, g in enumerate(graphs) if g.graph is part.graph))
        for part in graphs:
            part.graph.drop_gradients()
        program = Graphs(
            [part.graph.run for part in graphs],
            [part.graph.fixed(part.call) for part in graphs],
            [1 + len(part.graph.metrics) for part in graphs],
            order,
        )
        calls = self._with_numbers(parts, given)
        self._last = program, calls
        with torch.no_grad():
            rows, gradients = program(calls)
        for part, last in zip(graphs, gradients, strict=True):
            part.graph.finish(last)
        names = [part.graph.metrics for part in parts]
        taken = iter(rows)
        return [[_named(each, next(taken)) for each in names] for _ in cycles]

    def replay(self, turns: int) -> None:
        """Draw once more what the first turns of the last call drew."""
        program, calls = self._last
        with torch.no_grad():
            for i, tensors in enumerate(calls[:turns]):
                graph = program.order[i % len(program.order)]
                program.runs[graph](*tensors, *program.fixed[graph])

    # --- Graphs ---------------------------------------------------------------------------------

    def _parts(self, turns: Sequence[Turn], cycles: int) -> list[Part] | None:
        """The turns of a cycle with their graphs, unless one of them has none."""
        if len(self._steps) > KINDS:  # every cycle has losses of its own
            return None
        if not self._is_ready():
            return None
        try:
            calls = list(self._calls(turns))
        except NotStageable:
            return None
        found: dict[Any, Graph] = {}
        for step, call in calls:
            key = id(step), call.key, call.floats
            count = sum(other is step and it.key == call.key for other, it in calls)
            if key not in found:
                graph = step.graph_for(call, count * cycles)
                if graph is None:
                    return None
                found[key] = graph
        return [
            Part(step, found[id(step), call.key, call.floats], call, _plain(turn.args))
            for (step, call), turn in zip(calls, turns, strict=True)
        ]

    def _calls(self, turns: Sequence[Turn]) -> Iterable[tuple[WholeStep, Call]]:
        for i, turn in enumerate(turns):
            step = self._step(turn, i + 1 == len(turns))
            yield step, step.call(turn.args)

    def _step(self, turn: Turn, last: bool) -> WholeStep:
        """The kind of a turn; the last of a cycle moves the averages."""
        after = turn.after and self.identity(turn.after)
        key = turn.players, self.identity(turn.loss), after, last
        if key not in self._steps:
            own: list[EMA] = self.averages if last else []
            movers = [self.movers[player] for player in turn.players]
            advance = self.advance if last else None
            update = Update(movers, self.finite, own, turn.after, advance, self._all())
            parameters = [p for player in turn.players for p in self.parameters[player]]
            self._steps[key] = WholeStep(turn.loss, parameters, update)
            if self.choice is not None:
                self._steps[key].choice = self.choice
        return self._steps[key]

    # --- Numbers of the optimisers --------------------------------------------------------------

    def _begin(self, parts: Sequence[Part]) -> bool:
        """Begin to count steps; refused where a player has gradients in other parts of a turn."""
        active: dict[int, list[Tensor]] = {}
        for part in parts:
            own = set(map(id, part.graph.active))
            for mover in part.step.update.movers:
                now = [p for p in mover.steps.parameters if id(p) in own]
                before = active.setdefault(id(mover), now)
                if list(map(id, before)) != list(map(id, now)):
                    return False
        moved = [mover for mover in self.movers.values() if id(mover) in active]
        if not all(mover.steps.begin(active[id(mover)]) for mover in moved):
            return False
        self.finite.fill_(True)
        return True

    def _with_numbers(
        self, parts: Sequence[Part], given: Sequence[Sequence[list[Tensor]]]
    ) -> list[list[Tensor]]:
        """The tensors of every call, with the numbers of its step before them."""
        rows: list[list[list[Row]]] = [[] for _ in parts]
        taken: dict[int, int] = {}
        for _ in given:
            for part, own in zip(parts, rows, strict=True):
                own.append(part.step.update.next_rows())
        for part in parts:
            for mover in part.step.update.movers:
                taken[id(mover)] = taken.get(id(mover), 0) + len(given)
        for mover in self.movers.values():
            if id(mover) in taken:
                mover.steps.count(taken[id(mover)])
        tables = [part.step.update.table(own) for part, own in zip(parts, rows, strict=True)]
        return [
            [table[i], *tensors]
            for i, cycle in enumerate(given)
            for table, tensors in zip(tables, cycle, strict=True)
        ]


def _given(
    parts: Sequence[Part], cycles: Sequence[Sequence[Turn]]
) -> list[list[list[Tensor]]] | None:
    """The tensors of every turn of each cycle, if the other arguments are those of the first."""
    found = []
    for cycle in cycles:
        if len(cycle) != len(parts):
            return None
        for part, turn in zip(parts, cycle, strict=True):
            if _plain(turn.args) != part.plain:
                return None
        found.append([_tensors(turn.args) for turn in cycle])
    return found


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    return [leaf for leaf in _leaves(args) if isinstance(leaf, Tensor)]


def _plain(args: tuple[Any, ...]) -> list[Any]:
    return [leaf for leaf in _leaves(args) if not isinstance(leaf, Tensor)]


def _leaves(args: tuple[Any, ...]) -> Sequence[Any]:
    flat = all(isinstance(arg, (Tensor, int, float)) for arg in args)
    return args if flat else tree_leaves(args)


def _named(names: Sequence[str], row: Sequence[float]) -> dict[str, float]:
    loss, *values = row
    return dict(zip(names, values, strict=True), loss=loss)
