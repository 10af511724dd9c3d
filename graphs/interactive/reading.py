"""What events say, checked: names of nodes, states, texts, places."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from graphs.interactive.replies import Json
from graphs.interactive.state import State
from graphs.interactive.subject import Subject
from graphs.language.assignments import read_assignments
from graphs.language.notation import Node
from graphs.structure.nodes import contains, observable, unknown

FARTHEST = 1e5


def text_in(event: Json, key: str = "text") -> str:
    if not isinstance(event.get(key), str):
        raise ValueError(f"expected a text for {key!r}, got {event.get(key)!r}")
    text: str = event[key]
    return text


def place_in(event: Json) -> tuple[float, float]:
    x, y = event.get("x"), event.get("y")
    for number in (x, y):
        fits = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not fits or not abs(number) <= FARTHEST:  # type: ignore[arg-type]
            raise ValueError(f"expected a place in the picture, got ({x!r}, {y!r})")
    return float(x), float(y)  # type: ignore[arg-type]


def named(subject: Subject, name: Any, role: str) -> Node:
    if not isinstance(name, str) or name not in subject.named:
        got = unknown(subject.named, name)
        raise ValueError(f"expected a node of the model for {role}, got {got}")
    return subject.named[name]


def node_in(subject: Subject, event: Json, key: str = "node") -> Node:
    return named(subject, event.get(key), key)


def nodes_in(subject: Subject, event: Json, key: str) -> list[Node]:
    names = event.get(key, [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list):
        raise ValueError(f"expected names of nodes for {key}, got {names!r}")
    return [named(subject, name, key) for name in names]


def lists_in(content: Json, key: str, length: int) -> Iterator[list[Any]]:
    """The lists of this length among those that a link has under a key."""
    found = content.get(key)
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, list) and len(entry) == length:
            yield entry


def state_of(subject: Subject, node: Node, value: Any) -> Hashable:
    """The state of a node that a value means."""
    from graphs.parameters.states import MISSING, StateNames

    names = subject.states.get(node)
    if names is None:
        raise ValueError(f"expected a node with states, got {node!r}, which has no table")
    written = [s for s in names if str(s) == value]
    if len(written) == 1:
        return written[0]
    found = StateNames(node, names).index(value)
    if found == MISSING:
        raise ValueError(f"expected a state of {node!r}, got {value!r}")
    return names[found]


def with_evidence(state: State, evidence: Any) -> State:
    """Evidence as text, as a mapping or as names of nodes, in place of what was observed.

    Raises:
        ValueError: what is none of these, an unknown node or state, a latent node.
    """
    subject = state.subject
    if isinstance(evidence, str):
        evidence = read_assignments(evidence, tuple(subject.named))
    elif not isinstance(evidence, Mapping):
        try:
            evidence = dict.fromkeys(evidence)
        except TypeError:
            got = type(evidence).__name__
            raise ValueError(f"expected evidence such as {{'A': 'yes'}}, got {got}") from None
    observed: dict[Node, Hashable | None] = {}
    for name, value in evidence.items():
        known = contains(subject.whole, name)
        node = name if known else named(subject, str(name), "evidence")
        observed[node] = None if value is None else state_of(subject, node, value)
    observable(subject.graph, frozenset(observed))
    return state.observe(observed)
