"""Python floats as inputs of a graph, so that a value that changes needs no graph of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from ppl_gen.staging.environment import Slots
from ppl_gen.staging.signatures import Call

if TYPE_CHECKING:
    from ppl_gen.staging.staged import Graph

Place: TypeAlias = tuple[Slots, Any]


class FloatInputs:
    """The Python floats that are inputs of a graph: arguments, and values of the environment.

    A float is a constant until it changes; from then on it is an input.

    Args:
        call: a call the graph serves.
        graphs: the graphs of earlier calls of this kind, which this one cannot be served by.
    """

    def __init__(self, call: Call, graphs: Iterable[Graph] = ()):
        self.constant: tuple[float, ...] | None = call.floats
        self.places: dict[tuple[int, Any], Place] = {}
        for graph in graphs:
            if graph.moving.constant != call.floats:
                self.constant = None
            self.places |= graph.moving.places
            for slots, key in graph.environment.moved_floats():
                self.places[id(slots.holder), key] = slots, key

    def __bool__(self) -> bool:
        return self.constant is None or bool(self.places)

    def scalars(self, call: Call) -> list[Tensor]:
        """Their values, as 0-d tensors: arguments, then places."""
        values = [*(() if self.constant is not None else call.floats)]
        values += [slots.get(key) for slots, key in self.places.values()]
        return [torch.tensor(value) for value in values]

    @contextmanager
    def replaced(
        self, call: Call, scalars: Sequence[Tensor]
    ) -> Iterator[tuple[float | Tensor, ...]]:
        """Put tensors in the places; gives the floats among the arguments."""
        count = len(scalars) - len(self.places)
        before = [slots.get(key) for slots, key in self.places.values()]
        try:
            for (slots, key), scalar in zip(self.places.values(), scalars[count:], strict=True):
                slots.put(key, scalar)
            yield tuple(scalars[:count]) or call.floats
        finally:
            for (slots, key), value in zip(self.places.values(), before, strict=True):
                slots.put(key, value)
