"""Tables that name their entries: pandas Series and DataFrames, xarray's arrays, dicts.

A label is read as a state (:mod:`graphs.parameters.states`), so the order of rows and columns does
not matter. Which axis is which variable is told by the axes' names (``index.name``,
``columns.name``, the names of the levels of a MultiIndex, ``dims``), or by the labels where they
fit in one way alone; what fits in several is refused. A default index 0, 1, ... labels nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from graphs.language.notation import Node
from graphs.parameters.states import StateNames
from graphs.structure.nodes import contains


class Axis(NamedTuple):
    """One axis of a labelled table.

    Attributes:
        name: what the axis is called, or None.
        labels: of its entries, in order.
        counted: whether they are a default 0, 1, ...
    """

    name: Any
    labels: tuple[Any, ...]
    counted: bool = False


def labelled(table: Any) -> tuple[Any, list[Axis]] | None:
    """The entries of a labelled table as an array, and its axes; None for any other.

    Raises:
        ValueError: a MultiIndex that lacks a combination of its labels, or has one twice; a list of
            labelled rows; a frame of another library, whose columns have names.
    """
    if isinstance(table, Mapping):
        return list(table.values()), [Axis(None, tuple(table))]
    if hasattr(table, "iloc") and hasattr(table, "index"):
        indices = [table.index, *([table.columns] if hasattr(table, "columns") else [])]
        axes: list[Axis] = []
        values = table.to_numpy()
        for side, index in enumerate(indices):
            some, places = _levels(index)
            values = values.take(np.argsort(places), axis=side)
            axes += some
        return values.reshape([len(axis.labels) for axis in axes]), axes
    if isinstance(getattr(table, "dims", None), tuple) and hasattr(table, "coords"):
        values = np.asarray(table.values)
        sizes = zip(table.dims, values.shape, strict=True)
        return values, [_dimension(table.coords, name, size) for name, size in sizes]
    if hasattr(table, "columns") or hasattr(table, "column_names"):
        raise ValueError(
            f"expected numbers, or labels of pandas or xarray, got a {type(table).__name__} of "
            f"{type(table).__module__.partition('.')[0]}; as a pandas frame it can be read"
        )
    if isinstance(table, (list, tuple)) and (row := _labelled_row(table)) is not None:
        raise ValueError(
            f"expected rows without labels in a list, or all rows as one DataFrame, got a "
            f"{type(row).__name__} in a list"
        )
    return None


def _levels(index: Any) -> tuple[list[Axis], np.ndarray]:
    """The axes of a pandas index, and the place of each entry in C order over them."""
    count = len(index)
    if type(index).__name__ == "RangeIndex" and index.tolist() == list(range(count)):
        return [Axis(index.name, tuple(range(count)), True)], np.arange(count)
    axes, codes = [], []
    for level in range(index.nlevels):
        values = index.get_level_values(level).tolist()
        place = {label: i for i, label in enumerate(dict.fromkeys(values))}
        axes.append(Axis(index.names[level], tuple(place)))
        codes.append([place[label] for label in values])
    sizes = [len(axis.labels) for axis in axes]
    places = np.ravel_multi_index(codes, sizes) if count else np.arange(0)
    if len(np.unique(places)) != count or count != math.prod(sizes):
        raise ValueError(
            f"expected every combination of labels once, got {count} of {math.prod(sizes)} "
            f"in the index {list(index.names)}"
        )
    return axes, places


def _dimension(coordinates: Mapping[Any, Any], name: Any, size: int) -> Axis:
    if name in coordinates:
        return Axis(name, tuple(np.asarray(coordinates[name]).tolist()))
    return Axis(name, tuple(range(size)), True)


def _labelled_row(rows: Iterable[Any]) -> Any:
    for row in rows:
        if isinstance(row, (list, tuple)):
            if (found := _labelled_row(row)) is not None:
                return found
        elif isinstance(row, Mapping) or hasattr(row, "iloc"):
            return row
    return None


def positions(axis: Axis, names: StateNames) -> list[int] | None:
    """The state of each entry of an axis, or None where they are not the states."""
    wanted = range(len(names.names))
    if axis.counted and names.indexable:
        return list(wanted) if len(axis.labels) == len(names.names) else None
    try:
        found = [names.index(label, indices=False) for label in axis.labels]
    except ValueError:
        return None
    if sorted(found) != list(wanted) or (axis.counted and found != list(wanted)):
        return None
    return found


class Arranger:
    """Turns labelled tables into plain ones with the axes and the states in order.

    Args:
        states: of some or all variables; those of others are added as labels tell them.
        sizes: how many states a variable has, where plain tables tell.
        nodes: all variables.
    """

    def __init__(
        self,
        states: dict[Node, tuple[Hashable, ...]],
        sizes: Mapping[Node, int],
        nodes: Iterable[Node],
    ):
        self.states, self.sizes, self.nodes = states, sizes, set(nodes)

    def arrange(self, tables: Sequence[tuple[Sequence[Node], Any, list[Axis], str]]) -> list[Any]:
        """Plain arrays in the order of their scopes.

        Args:
            tables: scope, array, axes, and what to call the table.

        Raises:
            ValueError: labels that are not the states, an axis named after another variable,
                axes that fit the variables in several ways.
        """
        done: dict[int, Any] = {}
        while len(done) < len(tables):
            before = len(done)
            for k, (scope, array, axes, called) in enumerate(tables):
                if k in done:
                    continue
                ways = list(islice(self._ways(scope, axes, called), 2))
                if not ways:
                    raise ValueError(self._mismatch(scope, axes, called))
                if len(ways) == 1:
                    done[k] = self._placed(scope, array, axes, ways[0])
            if len(done) == before:
                k = next(k for k in range(len(tables)) if k not in done)
                raise ValueError(_ambiguity(tables[k][0], tables[k][3]))
        return [done[k] for k in range(len(tables))]

    def _ways(
        self, scope: Sequence[Node], axes: list[Axis], called: str
    ) -> Iterator[tuple[int, ...]]:
        """For each variable of the scope its axis, in every way that fits."""
        named: dict[Node, int] = {}
        for i, axis in enumerate(axes):
            if contains(scope, axis.name) and axis.name is not None:
                if axis.name in named:
                    raise ValueError(f"expected one axis named {axis.name!r} for {called}, got two")
                named[axis.name] = i
            elif axis.name is not None and contains(self.nodes, axis.name):
                raise ValueError(
                    f"expected axes of {', '.join(map(repr, scope))} for {called}, got one named "
                    f"{axis.name!r}"
                )
        if not named and all(axis.counted for axis in axes):
            fits = all(self._fits(axis, v) for axis, v in zip(axes, scope, strict=True))
            yield from [tuple(range(len(axes)))] if fits else []
            return
        free = [i for i in range(len(axes)) if i not in named.values()]

        def extended(way: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
            if len(way) == len(scope):
                yield way
                return
            v = scope[len(way)]
            for i in [named[v]] if v in named else free:
                if i not in way and self._fits(axes[i], v):
                    yield from extended((*way, i))

        yield from extended(())

    def _fits(self, axis: Axis, v: Node) -> bool:
        if v in self.states:
            return positions(axis, StateNames(v, self.states[v])) is not None
        return self.sizes.get(v, len(axis.labels)) == len(axis.labels)

    def _placed(
        self, scope: Sequence[Node], array: Any, axes: list[Axis], way: tuple[int, ...]
    ) -> Any:
        array = array.transpose(way)
        for side, (v, i) in enumerate(zip(scope, way, strict=True)):
            if v not in self.states:
                if axes[i].counted:
                    continue
                self.states[v] = _as_states(v, axes[i].labels)
            found = positions(axes[i], StateNames(v, self.states[v]))
            assert found is not None
            array = array.take(np.argsort(found), axis=side)
        return array

    def _mismatch(self, scope: Sequence[Node], axes: list[Axis], called: str) -> str:
        known = [v for v in scope if v in self.states]
        states = ", ".join(f"{self.states[v]!r} of {v!r}" for v in known)
        sizes = ", ".join(f"{self.sizes[v]} of {v!r}" for v in scope if v in self.sizes)
        got = " and ".join(
            repr(axis.labels) + (f" of {axis.name!r}" if axis.name is not None else "")
            for axis in axes
        )
        wanted = f"the states {states}" if known else f"as many as there are states, {sizes}"
        return f"expected labels for {called} that are {wanted}, got {got}"


def _as_states(node: Node, labels: tuple[Any, ...]) -> tuple[Hashable, ...]:
    names = StateNames(node, labels)
    found = [names.index(label) for label in labels]
    if found != list(range(len(labels))):
        raise ValueError(f"expected distinct labels that may be states of {node!r}, got {labels!r}")
    return labels


def _ambiguity(scope: Sequence[Node], called: str) -> str:
    return (
        f"expected axes named {', '.join(map(repr, scope))} for {called}, or labels that fit these "
        "variables in one way alone, got labels that fit in several; index.name and columns.name "
        "tell which is which"
    )
