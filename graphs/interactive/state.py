"""What is on the page at one moment, and the same as text for a link.

A state never changes: an event makes another, and undo goes back to the one before.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from graphs.files.structures import one_line
from graphs.interactive.subject import Subject
from graphs.language.notation import Node
from graphs.pictures.layout import Point

MOST_LINK = 1 << 20  # characters, unpacked
VIEWS = ("graph", "moral", "ancestral", "essential", "chordal", "member")


class Question(NamedTuple):
    """What is asked of the observed nodes: whether x and y are independent, or are not."""

    x: frozenset[Node]
    y: frozenset[Node]
    negated: bool = False


class Guess(NamedTuple):
    """What somebody who practises committed to."""

    holds: bool
    nodes: frozenset[Node]


@dataclass(frozen=True)
class State:
    """Everything that undo brings back.

    Attributes:
        subject: the model.
        observed: the observed nodes in order, each with its state, or ``None`` where it is in no
            state yet; ``None`` may not be the name of a state here.
        question: what is asked.
        claim: the text of a claim.
        view: which graph is drawn, one of :data:`VIEWS`.
        member: of the equivalence class, the number of the one drawn.
        moved: nodes that were dragged, and where to.
        quiz: whether answers are hidden until somebody commits to one.
        guess: what they committed to.
    """

    subject: Subject
    observed: Mapping[Node, Hashable | None] = field(default_factory=dict)
    question: Question | None = None
    claim: str = ""
    view: str = "graph"
    member: int = 0
    moved: Mapping[Node, Point] = field(default_factory=dict)
    quiz: bool = False
    guess: Guess | None = None

    @property
    def evidence(self) -> dict[Node, Hashable]:
        """The observed nodes that are in a state."""
        return {v: state for v, state in self.observed.items() if state is not None}

    def observe(self, observed: Mapping[Node, Hashable | None]) -> State:
        """Other observations; a question about an observed node is closed, a guess is void."""
        question = self.question
        if question and not (question.x | question.y).isdisjoint(observed):
            question = None
        return replace(self, observed=dict(observed), question=question, guess=None)

    def about(self, subject: Subject, renamed: tuple[Node, Node] | None = None) -> State:
        """The same about a changed model, with what concerns nodes it lacks left out."""

        def own(v: Node) -> Node:
            return renamed[1] if renamed and v == renamed[0] else v

        known = subject.named.values()
        observed = {}
        for v, state in self.observed.items():
            if own(v) in known:
                kept = own(v) in subject.states and state in subject.states[own(v)]
                observed[own(v)] = state if kept else None
        question = self.question
        if question:
            x, y = (frozenset(map(own, part)) & set(known) for part in question[:2])
            question = Question(x, y, question.negated) if x and y else None
        return replace(
            self,
            subject=subject,
            observed=observed,
            question=question,
            moved={own(v): place for v, place in self.moved.items() if own(v) in known},
            view=self.view if self.view != "member" else "graph",
            guess=None,
        )


# --- Links --------------------------------------------------------------------------------------


def as_link(state: State) -> str:
    """The state as text for the fragment of an address."""
    names = {v: name for name, v in state.subject.named.items()}

    def texts(nodes: Iterable[Node]) -> list[str]:
        return sorted(names[v] for v in nodes)

    content: dict[str, Any] = {}
    if state.observed:
        content["observed"] = [
            [names[v], None if s is None else str(s)] for v, s in state.observed.items()
        ]
    if state.question:
        x, y, negated = state.question
        content["question"] = [texts(x), texts(y), negated]
    if state.claim:
        content["claim"] = state.claim
    if state.view not in ("graph", "member"):
        content["view"] = state.view
    if state.subject.randomised:
        content["randomised"] = texts(state.subject.randomised)
    if state.moved:
        content["moved"] = [[names[v], round(x), round(y)] for v, (x, y) in state.moved.items()]
    rest = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    head, packer = state.subject.once("packed", _packed)
    packer = packer.copy()
    tail = packer.compress(f"{',' if content else ''}{rest[1:]}".encode()) + packer.flush()
    return base64.urlsafe_b64encode(head + tail).decode().rstrip("=")


def _packed(subject: Subject) -> tuple[bytes, Any]:
    """The model packed, and the packer to go on with: a model is long, the rest is short."""
    packer = zlib.compressobj(9)
    text = f'{{"model":{json.dumps(one_line(subject.whole), ensure_ascii=False)}'
    return packer.compress(text.encode()) + packer.flush(zlib.Z_SYNC_FLUSH), packer


def read_link(text: str) -> dict[str, Any]:
    """The content of a link.

    Raises:
        ValueError: what :func:`as_link` has not written.
    """
    broken = ValueError("expected a link made by this page, got one that cannot be read")
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        unpacker = zlib.decompressobj()
        content = json.loads(unpacker.decompress(packed, MOST_LINK))
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise broken from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), str):
        raise broken
    return content
