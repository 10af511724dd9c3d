"""A network as its file declares it: names, states and tables checked as they come in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeAlias

import networkx as nx
import numpy as np

from graphs.files.rows import Policy, Refused, Words, settle, silence
from graphs.language.scanning import Malformed
from graphs.parameters.impossible import described, possible_zero_row
from graphs.parameters.tables import MOST_AXES, States, Tables, find_fault, label_of, structure
from graphs.structure.nodes import unknown

Where: TypeAlias = int
"""A position in the text, or whatever else a reader can turn into a line."""

CHANCE, DECISION, UTILITY = "chance", "decision", "utility"
_MOST_CHANGES = 8  # rows named in a report of changes


class Found(NamedTuple):
    """What a file holds, and which rows were changed, in words."""

    content: Tables | nx.DiGraph | nx.Graph
    changes: str


class Network:
    """Collects variables and tables and refuses what no network may hold.

    Args:
        line: the line of the file for a ``Where``; called only when something is wrong.
        directed: whether every scope is the parents and then their child, and every table its
            conditional distribution.
        policy: what to make of rows that are no probabilities.
        note: what else may be wrong where tables are no conditional distributions.

    Attributes:
        kinds: of every node, chance, decision or utility.
        changes: the rows that the policy changed, in words.
    """

    def __init__(
        self,
        line: Callable[[Where], int],
        directed: bool = True,
        policy: Policy | None = None,
        note: str = "",
    ):
        self.line, self.directed, self.note = line, directed, note
        self.policy = policy or Policy()
        self.name = ""
        self.states: dict[str, tuple[Hashable, ...]] = {}
        self.kinds: dict[str, str] = {}
        self.changes: list[str] = []
        self._untabled: dict[str, str] = {}
        self._declared: dict[str, Where] = {}
        self._scopes: list[tuple[str, ...]] = []
        self._defined: dict[str, Where] = {}
        self._arrays: list[np.ndarray] = []
        self._wheres: list[tuple[Where, Callable[[int], Where]]] = []

    def error(self, message: str, where: Where) -> Malformed:
        return Malformed(message, max(1, self.line(where)))

    def declare(
        self, name: str, states: Sequence[Hashable], count: int | None, where: Where
    ) -> None:
        """A chance variable with its states, and their number where the file tells it."""
        self._enter(name, CHANCE, where)
        if not states or (count is not None and len(states) != count):
            wanted = "at least one state" if count is None else f"{count} states"
            got = f"{len(states)}: {', '.join(map(repr, states))}" if states else "none"
            raise self.error(f"expected {wanted} of {name!r}, got {got}", where)
        if len(set(states)) < len(states):
            twice = next(s for s, times in Counter(states).items() if times > 1)
            raise self.error(f"expected distinct states of {name!r}, got {twice!r} twice", where)
        self.states[name] = tuple(states)

    def declare_untabled(self, name: str, kind: str, what: str, where: Where) -> None:
        """A node that is no discrete chance variable, such as ``what`` "a decision node"."""
        self._enter(name, kind, where)
        self.states[name] = ()
        self._untabled[name] = what

    def _enter(self, name: str, kind: str, where: Where) -> None:
        if name in self.states:
            raise self.error(f"expected every variable once, got {name!r} again", where)
        self.kinds[name] = kind
        self._declared[name] = where

    def require_tables(self) -> None:
        """Refuse nodes without distributions, which only the structure can hold."""
        for name, what in self._untabled.items():
            raise self.error(
                f"expected discrete chance nodes, got {what}, {name!r}; "
                "graphs.load(path, tables=False) reads the structure",
                self._declared[name],
            )

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
                    f"{self.line(self._defined[child])}{self.note}",
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
        words: Words,
    ) -> None:
        """The next scope's table, from numbers in C order (the last variable's states fastest).

        ``place`` tells where a number is, from its index in that order; ``words`` gives the numbers
        of a row as they are written, from its index.
        """
        scope = self._scopes[len(self._arrays)]
        shape = self.shape(scope)
        cells = math.prod(shape)
        if len(values) != cells:
            sizes = f" ({' × '.join(map(str, shape))})" if len(shape) > 1 else ""
            raise self.error(
                f"expected {cells} numbers{sizes} for {label_of(scope, self.directed)}, "
                f"got {len(values)}",
                where,
            )
        array = np.array(values, dtype=float).reshape(shape)
        try:
            self._settle(scope, array, words)
        except Refused as error:
            hint = f"; {error.hint}{self.note}" if error.hint else ""
            at = self._cell(scope, error.number, error.row)
            raise self.error(f"{error} in {at}{hint}", place(error.number)) from None
        self._arrays.append(array)
        self._wheres.append((where, place))

    def _settle(self, scope: tuple[str, ...], array: np.ndarray, words: Words) -> None:
        rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
        if self.directed:
            for row, what in settle(rows, words, self.policy):
                at = self._cell(scope, row * rows.shape[-1], row=True)
                self.changes.append(f"{at} {what}")
            return
        if silence(rows, self.policy):
            self.changes.append(f"{label_of(scope, False)} entries just below zero taken as zero")
        found = find_fault(array, False)
        if found is not None:
            index, message = found
            raise Refused(message, int(np.ravel_multi_index(index, array.shape)) if index else 0)

    def _cell(self, scope: tuple[str, ...], number: int, row: bool) -> str:
        """A table, and the states of an entry of it, or of the parents of a row."""
        index = np.unravel_index(number, self.shape(scope)) if scope else ()
        shown = scope[:-1] if row else scope
        at = ", ".join(f"{v}={self.states[v][i]}" for v, i in zip(shown, index, strict=False))
        return label_of(scope, self.directed) + (f" at {at}" if at else "")

    def finish(self, tables: bool) -> Tables | nx.DiGraph | nx.Graph:
        """The whole network, or its graph alone, once every variable has its distribution."""
        if not self.states:
            raise self.error("expected at least one variable, got none", 0)
        graph = structure(self.states, self._scopes, self.directed)
        if self.directed:
            nx.set_node_attributes(graph, self.kinds, "kind")
            self._check_complete(graph)
        if not tables:
            return graph
        pairs = list(zip(self._scopes, self._arrays, strict=True))
        states: States = dict(self.states.items())
        if self.directed:
            self._check_zero_rows(Tables(states, tuple(pairs), True))
            rank = {v: i for i, v in enumerate(self.states)}
            pairs.sort(key=lambda pair: rank[pair[0][-1]])
        else:
            free = set(self.states).difference(*self._scopes)
            pairs += [((v,), np.ones(len(s))) for v, s in self.states.items() if v in free]
        return Tables(states, tuple(pairs), self.directed, self.name)

    def found(self, tables: bool) -> Found:
        """The whole network, and the rows that were changed."""
        return Found(self.finish(tables), self.report())

    def report(self) -> str:
        """The rows that were changed, in words; empty if none was."""
        shown = "; ".join(self.changes[:_MOST_CHANGES])
        more = len(self.changes) - _MOST_CHANGES
        return shown + (f"; and {more} more" if more > 0 else "")

    def _check_zero_rows(self, tables: Tables) -> None:
        found = possible_zero_row(tables)
        if found is not None:
            factor, row = found
            shape = tables.factors[factor][1].shape
            number = int(np.ravel_multi_index((*row, 0), shape))
            hint = f"; normalize=True fills such rows uniformly{self.note}"
            where = self._wheres[factor][1](number)
            raise self.error(described(tables, factor, row) + hint, where)

    def _check_complete(self, graph: nx.DiGraph) -> None:
        for v, where in self._declared.items():
            if v not in self._defined and self.kinds[v] == CHANCE and v not in self._untabled:
                raise self.error(
                    f"expected a probability distribution of {v!r}, got none{self.note}", where
                )
        if not nx.is_directed_acyclic_graph(graph):
            cycle = [u for u, _ in nx.find_cycle(graph)]
            loop = " -> ".join(cycle + cycle[:1])
            last = max(self._defined[v] for v in cycle)
            raise self.error(f"expected an acyclic network, got the cycle {loop}{self.note}", last)
