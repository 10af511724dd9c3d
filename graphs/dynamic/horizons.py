"""Independence in every slice at once, however many slices there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx

from graphs.dynamic.past import Term, slices_that_decide
from graphs.dynamic.reading import two_slice
from graphs.dynamic.two_slice import TwoSlice
from graphs.dynamic.unrolling import unrolled_graph
from graphs.language.answers import Explained
from graphs.language.notation import Node
from graphs.language.statements import read_statement
from graphs.separation.independence import Independence, independence_of
from graphs.structure.nodes import observable, unknown

_BRACKETS = re.compile(r"(?<=\w)\[([^\[\]]*)\]")
_FOR_ALL = re.compile(r",?\s*(?:for\s+(?:all|every)|∀)\s*t\s*\Z")
_TIMED = re.compile(r"(?P<variable>.+)_t(?P<offset>[+\-−]\d+)?", re.DOTALL)


@dataclass(frozen=True, repr=False)
class Always(Explained):
    """Whether an independence holds for every t; see :func:`always`.

    ``bool()`` of it is ``holds``.

    Attributes:
        x, y, given: pairs of a variable and its time after t (``None`` of one without time).
        model: the :class:`graphs.TwoSlice`.
        begins: the smallest t at which all of them exist, in the model's own count.
        decided: the t that were looked at; every later one answers as some of these.
        failing: those of them at which the independence fails.

    >>> model = graphs.parse("P(A0) P(B0) P(At|A0,B0) P(Bt|B0)")
    >>> answer = graphs.always(model, "A[t] _||_ B[t]")
    >>> answer.failing  # not at t = 0
    (1, 2, 3)
    >>> answer.counterexample
    <Independence A_1 ⟂ B_1: False>
    """

    x: frozenset[Term]
    y: frozenset[Term]
    given: frozenset[Term]
    model: TwoSlice = field(compare=False)
    begins: int
    decided: range
    failing: tuple[int, ...]

    def __bool__(self) -> bool:
        return self.holds

    @property
    def holds(self) -> bool:
        """Whether the graph asserts the independence at every t."""
        return not self.failing

    def __str__(self) -> str:
        x, y, given = map(_names, (self.x, self.y, self.given))
        return f"{x} ⟂ {y}{f' | {given}' if given else ''} for all t"

    def __repr__(self) -> str:
        return f"<Always {self}: {self.holds}>"

    def at(self, t: int) -> Independence:
        """The answer at one t, about the network unrolled as far as the claim looks.

        Raises:
            ValueError: a t at which some node of the claim does not exist.
        """
        if isinstance(t, bool) or not hasattr(t, "__index__") or t < self.begins:
            raise ValueError(f"expected t of {self.begins} or more, got {t!r}")
        return _at(self.model, (self.x, self.y, self.given), t, self._graph(t))

    def _graph(self, t: int) -> nx.DiGraph:
        last = max(term.time for term in self.x | self.y | self.given if term.time is not None)
        return unrolled_graph(self.model, t + last - self.model.first + 1)

    @cached_property
    def counterexample(self) -> Independence | None:
        """The answer at the first t at which the independence fails, or ``None``."""
        return self.at(self.failing[0]) if self.failing else None

    def _lines(self) -> Iterator[str]:
        first, last = self.decided[0], self.decided[-1]
        where = f"t = {first}" if first == last else f"t = {first} to {last}"
        if not self.failing:
            yield f"{self} holds: at {where}, and every later t has a past like one of these."
            yield f"At t = {last}: {self.at(last).explain()}"
        else:
            assert self.counterexample is not None
            yield f"{self} does not hold."
            if len(self.failing) == len(self.decided):
                yield f"It fails at {where}, and every later t has a past like one of these."
            else:
                shown = ", ".join(map(str, self.failing[:12]))
                more = ", ..." if len(self.failing) > 12 else ""
                yield f"It fails at t = {shown}{more}, of {where}; later ones are like these."
            yield f"At t = {self.failing[0]}: {self.counterexample.explain()}"
        yield from (f"Of the program: {warning}" for warning in self.model.warnings)


def always(model: Any, statement: str) -> Always:
    r"""Whether a two-slice network asserts an independence for every t and any number of slices.

    The claim is about all t at which its nodes exist, the first slices included, where the network
    may differ. Later slices do not matter: only ancestors of the nodes named lie on active paths.
    As many t are decided by d-separation in the unrolled network as there are different pasts
    (:mod:`graphs.dynamic.past`), which is a proof for all others.

    Args:
        model: what :func:`graphs.two_slice` reads, programs among them.
        statement: such as ``"X[t] _||_ X[t-2] | X[t-1]"`` or ``r"X_t \perp X_{t-2} \mid X_{t-1}"``,
            with signs as in :func:`graphs.query`. Names of variables without time stand alone.

    Returns:
        An :class:`Always`, which is true or false, explains itself, and has a counterexample.

    Raises:
        ValueError: text that cannot be read, an unknown variable, a variable without a time or with
            a fixed one such as ``X[0]``, a denial, no variable in time, sets that overlap, a latent
            variable in what is given, and what :func:`graphs.two_slice` refuses.

    >>> hidden_chain = graphs.parse("P(X0) P(Xt|X0) P(Y0|X0) P(Yt|Xt)")
    >>> graphs.always(hidden_chain, "X[t] _||_ X[t-2] | X[t-1]")
    <Always X[t] ⟂ X[t-2] | X[t-1] for all t: True>
    >>> print(graphs.always(hidden_chain, "Y[t] _||_ Y[t-2] | Y[t-1]").explain())
    Y[t] ⟂ Y[t-2] | Y[t-1] for all t does not hold.
    It fails at t = 2 to 4, and every later t has a past like one of these.
    At t = 2: Y_2 ⟂ Y_0 | Y_1 does not hold: a path is active.
      Y_2 ← X_2 ← X_1 ← X_0 → Y_0
      ...
    """
    found = two_slice(model)
    if not isinstance(statement, str):
        raise ValueError(f"expected an independence as text, got {type(statement).__name__}")
    text = _BRACKETS.sub(_subscript, _FOR_ALL.sub("", statement))
    *named, negated = read_statement(text)
    if negated:
        raise ValueError(
            "expected an independence, got a denial, which for all t may mean that it fails at "
            f"every t or at some: {statement!r}"
        )
    x, y, given = (frozenset(_term(found, name) for name in names) for names in named)
    terms = x | y | given
    moving = [term for term in terms if term.time is not None]
    if not moving:
        raise ValueError(f"expected some variable at time t, as X[t], got none in {statement!r}")
    # before this t, counted from the first slice, some node does not exist
    begins = max((term.variable not in found.initial) - (term.time or 0) for term in moving)
    begins = max(begins, 0)
    count = slices_that_decide(found, terms, given)
    earliest = min(term.time or 0 for term in moving)
    last = max(begins, 1 + count - earliest)
    graph = unrolled_graph(found, last + max(term.time or 0 for term in moving) + 1)
    decided = range(begins + found.first, last + found.first + 1)
    failing = tuple(t for t in decided if not _at(found, (x, y, given), t, graph))
    return Always(x, y, given, found, decided[0], decided, failing)


def _subscript(match: re.Match[str]) -> str:
    """``_{t-1}`` for ``[t - 1]``."""
    return "_{" + "".join(match[1].split()) + "}"


def _at(
    model: TwoSlice, sets: tuple[frozenset[Term], ...], t: int, graph: nx.DiGraph
) -> Independence:
    x, y, given = (
        frozenset(v if time is None else model.node(v, t - model.first + time) for v, time in terms)
        for terms in sets
    )
    return independence_of(graph, x, y, observable(graph, given))


def _term(model: TwoSlice, name: str) -> Term:
    """The variable and time of a name such as ``X_t-2``."""
    static = {str(v): v for v in model.static}
    if name in static:
        return Term(static[name], None)
    variables: dict[str, Node] = {str(v): v for v in model.variables}
    match = _TIMED.fullmatch(name)
    if match is None or match["variable"] not in variables:
        stem = name.rpartition("_")[0] if match is None else match["variable"]
        if match is None and (name in variables or stem in variables):
            raise ValueError(
                f"expected a time from t, such as X[t] or X[t-1], got {name!r}; about fixed slices "
                "graphs.query answers with the unrolled network"
            )
        raise ValueError(
            f"expected variables of a slice or without time, got "
            f"{unknown([*model.variables, *model.static], stem or name)}"
        )
    return Term(variables[match["variable"]], int((match["offset"] or "0").replace("−", "-")))


def _names(terms: frozenset[Term]) -> str:
    """``X[t], Y[t-1]``, as :func:`always` reads it."""
    return ", ".join(
        sorted(
            str(v) if time is None else f"{v}[t{f'{time:+d}' if time else ''}]" for v, time in terms
        )
    )
