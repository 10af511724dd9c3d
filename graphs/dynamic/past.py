r"""How much of the past decides what holds at every time.

A claim about slices near t is separation in the moral graph of the ancestors of its nodes
(Lauritzen et al. 1990), in which every node and its parents are joined. Of the slices before the
claim's first one nothing is observed, so all that they contribute is which nodes of the last of
them, and which variables without time, they join: a partition, updated from slice to slice by one
rule. Which nodes are ancestors is told going back from t, again by one rule. Both have finitely
many values and so repeat. Two times with the same partition have the same answer;
:func:`slices_that_decide` counts the slices until everything that ever comes has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from graphs.dynamic.two_slice import TwoSlice
from graphs.language.notation import Node


class Term(NamedTuple):
    """A variable at slice t + time; one that has no time is at ``None``."""

    variable: Node
    time: int | None


class Seeds(NamedTuple):
    """Ancestors known so far: those in the slice to look at next, and those without time."""

    slice: frozenset[Node]
    static: frozenset[Node]


Partition: TypeAlias = frozenset[frozenset[Term]]


def slices_that_decide(model: TwoSlice, terms: Iterable[Term], given: frozenset[Term]) -> int:
    """A number D such that 0, ..., D slices before those of the claim give all answers there are.

    The first slice of the network is not counted: a claim that begins at slice s has s - 1.
    """
    hidden = frozenset(v for v, time in given if time is None)
    seeds = [_at_window(model, terms)]
    while (after := _back(model, seeds[-1])[1]) not in seeds:
        seeds.append(after)
    begin = seeds.index(after)
    period = len(seeds) - begin
    most = 0
    for phase in range(period):
        partition = _first(model, seeds[begin + phase], hidden)
        seen: set[tuple[Partition, int]] = set()
        position = phase
        while (partition, position) not in seen:
            seen.add((partition, position))
            position = (position - 1) % period
            found, _ = _back(model, seeds[begin + position])
            partition = _forward(model, partition, found)
        most = max(most, len(seen))
    return begin + most


def _at_window(model: TwoSlice, terms: Iterable[Term]) -> Seeds:
    """The ancestors of the claim's nodes in the slice before the first of them."""
    moving = [(v, time) for v, time in terms if time is not None]
    static = _static_above(model, (v for v, time in terms if time is None))
    times = [time for _, time in moving]
    seeds = Seeds(frozenset(), static)
    for time in range(max(times), min(times) - 1, -1):
        here = {v for v, at in moving if at == time}
        seeds = _back(model, Seeds(seeds.slice | here, seeds.static))[1]
    return seeds


def _back(model: TwoSlice, seeds: Seeds, first: bool = False) -> tuple[frozenset[Node], Seeds]:
    """The ancestors in a slice, and what they look at before it."""
    parents = model.initial if first else model.parents
    found, waiting = set(seeds.slice), list(seeds.slice)
    before, static = set[Node](), set(seeds.static)
    while waiting:
        for variable, lag in parents.get(waiting.pop(), ()):
            if lag is None:
                static.add(variable)
            elif lag:
                before.add(variable)
            elif variable not in found:
                found.add(variable)
                waiting.append(variable)
    return frozenset(found), Seeds(frozenset(before), _static_above(model, static))


def _static_above(model: TwoSlice, nodes: Iterable[Node]) -> frozenset[Node]:
    found = set(nodes)
    waiting = list(found)
    while waiting:
        above = {p.variable for p in model.initial[waiting.pop()]} - found
        found |= above
        waiting += above
    return frozenset(found)


def _first(model: TwoSlice, seeds: Seeds, hidden: frozenset[Node]) -> Partition:
    """What the first slice and the variables without time join, the observed ones taken out."""
    found, above = _back(model, seeds, first=True)
    free = above.static - hidden
    blocks = [{Term(v, 0)} for v in found] + [{Term(v, None)} for v in free]
    families = [
        {Term(v, 0), *(Term(p.variable, p.lag) for p in model.initial.get(v, ()))} for v in found
    ]
    families += [
        {Term(v, None), *(Term(p.variable, None) for p in model.initial[v])} for v in above.static
    ]
    return _merged(blocks, families)


def _forward(model: TwoSlice, partition: Partition, found: frozenset[Node]) -> Partition:
    """What one more slice joins: of its own nodes and of those without time."""
    shifted = [
        {Term(v, None if time is None else time - 1) for v, time in block} for block in partition
    ]
    families = [
        {
            Term(v, 0),
            *(Term(p.variable, None if p.lag is None else -p.lag) for p in model.parents[v]),
        }
        for v in found
    ]
    whole = _merged([*shifted, *({Term(v, 0)} for v in found)], families)
    left = (frozenset(term for term in block if term.time != -1) for block in whole)
    return frozenset(block for block in left if block)


def _merged(blocks: Iterable[set[Term]], families: Iterable[set[Term]]) -> Partition:
    """The blocks, those joined that share a family; what is in no block is not there."""
    joined = [set(block) for block in blocks]
    for family in families:
        touched = [block for block in joined if block & family]
        if len(touched) > 1:
            joined = [block for block in joined if not block & family]
            joined.append(set().union(*touched))
    return frozenset(map(frozenset, joined))
