"""A network as its file declares it: names, states and tables checked as they come in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import networkx as nx
import numpy as np

from ..structure import unknown
from ..tables import MOST_AXES, States, Tables, called, fault, structure
from .scanning import Malformed

Where: TypeAlias = int
"""A position in the text, or whatever else a reader can turn into a line."""


class Network:
    """Collects variables and tables and refuses what no network may hold.

    Args:
        line: the line of the file for a ``Where``; called only when something is wrong.
        directed: whether every scope is the parents and then their child, and every table its
            conditional distribution.
    """

    def __init__(self, line: Callable[[Where], int], directed: bool = True):
        self.line, self.directed = line, directed
        self.name = ""
        self.states: dict[str, tuple[Hashable, ...]] = {}
        self._declared: dict[str, Where] = {}
        self._scopes: list[tuple[str, ...]] = []
        self._defined: dict[str, Where] = {}
        self._arrays: list[np.ndarray] = []

    def error(self, message: str, where: Where) -> Malformed:
        return Malformed(message, self.line(where))

    def declare(
        self, name: str, states: Sequence[Hashable], count: int | None, where: Where
    ) -> None:
        """A variable with its states, and their number where the file tells it."""
        if name in self.states:
            raise self.error(f"expected every variable once, got {name!r} again", where)
        if not states or (count is not None and len(states) != count):
            wanted = "at least one state" if count is None else f"{count} states"
            got = f"{len(states)}: {', '.join(map(repr, states))}" if states else "none"
            raise self.error(f"expected {wanted} of {name!r}, got {got}", where)
        if len(set(states)) < len(states):
            twice = next(s for s, times in Counter(states).items() if times > 1)
            raise self.error(f"expected distinct states of {name!r}, got {twice!r} twice", where)
        self.states[name] = tuple(states)
        self._declared[name] = where

    def define(self, scope: tuple[str, ...], where: Where) -> tuple[str, ...]:
        """A scope whose table follows; tables come in the order of their scopes."""
        for v in scope:
            if v not in self.states:
                got = unknown(self.states, v)
                raise self.error(f"expected declared variables, got {got}", where)
        if len(set(scope)) < len(scope):
            raise self.error(f"expected distinct variables, got {', '.join(scope)}", where)
        if len(scope) > MOST_AXES:
            raise self.error(
                f"expected at most {MOST_AXES} variables in a table, got {len(scope)}", where
            )
        if self.directed:
            child = scope[-1]
            if child in self._defined:
                raise self.error(
                    f"expected one distribution of {child!r}, got another after that of line "
                    f"{self.line(self._defined[child])}",
                    where,
                )
            self._defined[child] = where
        self._scopes.append(scope)
        return scope

    def shape(self, scope: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(len(self.states[v]) for v in scope)

    def fill(
        self,
        values: Sequence[float] | np.ndarray,
        where: Where,
        place: Callable[[int], Where],
    ) -> None:
        """The next scope's table, from numbers in C order (the last variable's states fastest).

        ``place`` tells where a number is, from its index in that order.
        """
        scope = self._scopes[len(self._arrays)]
        shape = self.shape(scope)
        cells = math.prod(shape)
        if len(values) != cells:
            sizes = f" ({' × '.join(map(str, shape))})" if len(shape) > 1 else ""
            raise self.error(
                f"expected {cells} numbers{sizes} for {called(scope, self.directed)}, "
                f"got {len(values)}",
                where,
            )
        array = np.array(values, dtype=float).reshape(shape)
        found = fault(array, self.directed)
        if found is not None:
            index, message = found
            at = ", ".join(f"{v}={self.states[v][i]}" for v, i in zip(scope, index, strict=False))
            context = called(scope, self.directed) + (f" at {at}" if at else "")
            padded = (*index, *(0 for _ in shape[len(index) :]))
            number = int(np.ravel_multi_index(padded, shape)) if shape else 0
            raise self.error(f"{message} in {context}", place(number))
        self._arrays.append(array)

    def finish(self, tables: bool) -> Tables | nx.DiGraph | nx.Graph:
        """The whole network, or its graph alone, once every variable has its distribution."""
        if not self.states:
            raise self.error("expected at least one variable, got none", 0)
        graph = structure(self.states, self._scopes, self.directed)
        if self.directed:
            self._check_complete(graph)
        if not tables:
            return graph
        pairs = list(zip(self._scopes, self._arrays, strict=True))
        if self.directed:
            rank = {v: i for i, v in enumerate(self.states)}
            pairs.sort(key=lambda pair: rank[pair[0][-1]])
        else:
            free = set(self.states).difference(*self._scopes)
            pairs += [((v,), np.ones(len(s))) for v, s in self.states.items() if v in free]
        states: States = dict(self.states.items())
        return Tables(states, tuple(pairs), self.directed, self.name)

    def _check_complete(self, graph: nx.DiGraph) -> None:
        for v, where in self._declared.items():
            if v not in self._defined:
                raise self.error(f"expected a probability distribution of {v!r}, got none", where)
        if not nx.is_directed_acyclic_graph(graph):
            cycle = [u for u, _ in nx.find_cycle(graph)]
            loop = " -> ".join(cycle + cycle[:1])
            last = max(self._defined[v] for v in cycle)
            raise self.error(f"expected an acyclic network, got the cycle {loop}", last)
