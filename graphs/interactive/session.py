"""Everything that a page does, as a function of events: JSON in, JSON out, no input or output.

:meth:`Session.handle` takes an event such as ``{"type": "ask", "text": "M _||_ F | D"}`` and
returns what the page is to show. It is total: an event that is none, or that asks for what cannot
be, changes nothing and is answered with an error in words. The page itself reads no notation; every
text goes to :func:`graphs.query`, :func:`graphs.parse` or :func:`graphs.check`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphs.interactive.events import EVENTS, ask_text
from graphs.interactive.exports import EXPORTS
from graphs.interactive.quiz import judge
from graphs.interactive.reading import with_evidence
from graphs.interactive.replies import (
    Json,
    answer_reply,
    around,
    ask,
    bars_reply,
    claim_reply,
    model_reply,
    statement,
)
from graphs.interactive.state import Question, State, as_link
from graphs.interactive.subject import Subject, subject_of
from graphs.interactive.views import View, drawable, member_count, roles, scene, view_of
from graphs.language.notation import Node, ParseError
from graphs.separation.independence import Independence
from graphs.structure.nodes import unknown

MOST_UNDONE, LONGEST_TEXT, MOST_SCENES = 200, 60_000, 8


class Session:
    """One page: a model, what is observed and asked, and every step before.

    Args:
        model: any model, a Pyro program, or a text that states one.
        query: a question to begin with.
        evidence: observed nodes, as a mapping to their states, a text such as ``"smoke=yes"`` or
            the names of nodes that are in no state.
        claim: a claim to begin with.
        args, kwargs: of a Pyro program.
        quiz: whether to hide answers until somebody commits to one.

    Raises:
        ValueError: no model, or a question, evidence or claim that cannot be read.

    >>> from graphs.interactive.session import Session
    >>> session = Session(graphs.textbook.diagnosis())
    >>> session.handle({"type": "ask", "text": "M _||_ F | D"})["answer"]["path"]
    ['M', 'I', 'D', 'T', 'F']
    >>> session.handle({"type": "observe", "node": "D"})["answer"]["holds"]
    True
    >>> session.handle({"type": "ask", "text": "M _||_ ?"})["error"]["position"]
    7
    """

    def __init__(
        self,
        model: Any,
        *,
        query: str | None = None,
        evidence: Any = None,
        claim: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        quiz: bool = False,
    ):
        self.first = subject_of(model, args, kwargs)
        seen = [v for v, mark in self.first.whole.nodes(data="observed") if mark is True]
        state = State(self.first, dict.fromkeys(seen), quiz=quiz)
        if query is not None:
            state = ask_text(state, query)
        if evidence is not None:
            before, state = state, with_evidence(state, evidence)
            if before.question and (not state.question or before.observed.keys() - state.observed):
                raise ValueError(f"expected evidence that the query {query!r} observes too")
        self._claims: dict[tuple[Subject, str], Json] = {}
        if claim is not None:
            self.claimed(self.first, claim)
            state = replace(state, claim=claim)
        self.state: State = state
        self.done: list[State] = []
        self.undone: list[State] = []
        self.selected: Node | None = None
        self.monitors = True
        self.asked = 0
        self.said = ""
        self._scenes: dict[str, tuple[View, Json | None]] = {}
        self._turn = 0
        self._lock = threading.Lock()

    @property
    def answer(self) -> Independence | None:
        """The answer to the question there is."""
        return ask(self.state)

    @property
    def rows(self) -> bool:
        """Whether nodes are drawn with their bars in them."""
        return self.monitors and self.state.subject.tables is not None and not self.state.quiz

    def claimed(self, subject: Subject, text: str) -> Json:
        """What is said of a claim, remembered while it stands."""
        if (subject, text) not in self._claims:
            self._claims = {(subject, text): claim_reply(subject, text)}
        return self._claims[subject, text]

    def ask(
        self,
        x: frozenset[Node],
        y: frozenset[Node],
        given: frozenset[Node],
        negated: bool = False,
    ) -> None:
        """Ask, whatever was asked and observed before."""
        observed = dict.fromkeys(v for v in self.state.subject.whole if v in given)
        question = Question(x, y, negated)
        self.state = replace(self.state, observed=observed, question=question)

    def replay(self) -> list[Json]:
        """The reply to opening the page at every step so far, the present one last."""
        with self._lock:
            kept = self.state, self.selected, self.monitors, self.said
            replies = []
            for state in (*self.done, kept[0]):
                self.state, self.selected, self.said = state, None, ""
                replies.append(self._reply({}, "bars"))
            self.state, self.selected, self.monitors, self.said = kept
            return replies

    def handle(self, event: Any) -> Json:
        """The reply to an event; never raises.

        Every reply has ``ok``. With ``ok`` true it describes the whole page, but that ``scene`` is
        ``None`` where the event's ``seen`` names the scene there is, and ``model`` where ``known``
        names its ``subject``; an export has its ``text`` and ``name`` instead. Otherwise ``error``
        has a ``message`` and, of a text that cannot be read, the ``text`` and the ``position`` in
        it. ``turn`` counts replies, for whoever gets them in another order.

        The event ``bars`` may take seconds the first time; from other threads others are answered
        meanwhile, without bars.
        """
        if isinstance(event, dict) and event.get("type") == "bars":
            self.state.subject.prepare()
        with self._lock:
            try:
                self._turn += 1
                return self._handle(event) | {"turn": self._turn}
            except ParseError as error:
                place = {"text": error.text, "position": error.position}
                return _refusal(str(error).split("\n")[0], place)
            except ValueError as error:
                return _refusal(str(error))
            except RecursionError:
                return _refusal("expected a text that is nested less deeply")

    def compile_ahead(self) -> None:
        """Have what bars need compiled beside everything else, so that no later event waits for it.

        For hosts, once an event is answered; the first time on a machine it takes seconds.
        """
        subject = self.state.subject
        if subject.engine_known and subject.tree is not None:
            from graphs.inference.ahead import compiling

            compiling()

    def _handle(self, event: Any) -> Json:
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise ValueError('expected an event such as {"type": "ask", "text": "A _||_ B"}')
        for key, value in event.items():
            if isinstance(value, str) and len(value) > LONGEST_TEXT:
                raise ValueError(f"expected at most {LONGEST_TEXT} characters for {key!r}")
            if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
                raise ValueError(f"expected characters for {key!r}, got half of one")
        kind = event["type"]
        if kind not in EVENTS:
            raise ValueError(f"expected an event, got {unknown(EVENTS, kind)}")
        before = self.state, self.selected, self.monitors, list(self.done), list(self.undone)
        self.said = ""
        try:
            after = EVENTS[kind](self, event)
            if isinstance(after, dict):
                return {"ok": True, **after}
            self.state = after
            if self.selected not in after.subject.whole:
                self.selected = None
            reply = self._reply(event, kind)
        except BaseException:
            self.state, self.selected, self.monitors, self.done, self.undone = before
            raise
        if self.state != before[0] and kind not in ("undo", "redo"):
            self.done = [*self.done[1 - MOST_UNDONE :], before[0]]
            self.undone = []
        return reply | {"can": {"undo": bool(self.done), "redo": bool(self.undone)}}

    def _reply(self, event: Json, kind: str) -> Json:
        view, key = self._view(strict=kind == "view")
        state, selected = self.state, self.selected
        answer = ask(state)
        hidden = state.quiz and state.guess is None and answer is not None
        seen = event.get("seen") == key
        known = event.get("known") == state.subject.serial
        return {
            "ok": True,
            "said": self.said,
            "subject": state.subject.serial,
            "model": None if known else state.subject.once("model", model_reply),
            "query": statement(state),
            "hidden": hidden,
            "answer": None if answer is None or hidden else answer_reply(answer),
            "observed": {str(v): None if s is None else str(s) for v, s in state.observed.items()},
            "view": {"name": state.view, "member": state.member, "note": view.note},
            "members": member_count(state) if state.view in ("essential", "member") else None,
            "key": key,
            "scene": None if seen else self._scene(key),
            "roles": roles(state, None if hidden else answer, selected),
            "selected": None if selected is None else around(state.subject, selected),
            "claim": self.claimed(state.subject, state.claim) if state.claim else None,
            "quiz": {
                "on": state.quiz,
                "judged": judge(answer, state.guess)
                if state.guess and answer is not None
                else None,
            },
            "bars": self._bars(kind),
            "exports": list(EXPORTS),
            "link": as_link(state),
        }

    def _view(self, strict: bool) -> tuple[View, str]:
        """What is drawn and its name; the graph itself where the model has lost its other view."""
        key = self._scene_key()
        if key not in self._scenes:
            try:
                view = view_of(self.state)
            except ValueError as error:
                if strict:
                    raise
                self.state = replace(self.state, view="graph", member=0)
                self.said = f"{self.said} Back to the graph: {error}.".strip()
                return self._view(strict=True)
            self._scenes = dict([*self._scenes.items()][1 - MOST_SCENES :]) | {key: (view, None)}
        return self._scenes[key][0], key

    def _bars(self, kind: str) -> Json:
        if self.state.quiz:
            return {"available": False, "reason": "Bars are off in practice."}
        subject = self.state.subject
        if subject.preparing or (kind == "open" and not subject.engine_known):
            return {"available": False, "pending": True, "reason": "Computing …"}
        return bars_reply(self.state)

    def _scene(self, key: str) -> Json:
        """The picture of a view, remembered with it."""
        view, drawn = self._scenes[key]
        if drawn is None:
            drawn = scene(self.state, view, self.rows, self.selected)
            self._scenes[key] = view, drawn
        return drawn

    def _scene_key(self) -> str:
        """A name that two pictures share only if they are the same."""
        state = self.state
        parts: list[Any] = [state.subject.serial, state.view, state.member, self.rows]
        parts += sorted((str(v), place) for v, place in state.moved.items())
        if state.view == "ancestral":
            parts += [state.question, frozenset(state.observed)]
        parts += [frozenset(drawable(state, self.selected)[0])]
        return f"{hash(tuple(parts)) & 0xFFFFFFFFFFFFFFF:x}"


def _refusal(message: str, place: Json | None = None) -> Json:
    return {"ok": False, "error": {"message": message, **(place or {})}}
