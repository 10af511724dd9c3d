"""What every event does: from a page as it is to its next state, or to an answer of its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx

from graphs.interactive.edits import EDITS
from graphs.interactive.exports import export
from graphs.interactive.quiz import new_question
from graphs.interactive.reading import (
    lists_in,
    named,
    node_in,
    nodes_in,
    place_in,
    state_of,
    text_in,
    with_evidence,
)
from graphs.interactive.replies import Json, ask
from graphs.interactive.state import VIEWS, Guess, Question, State, read_link
from graphs.interactive.subject import Subject, plain, read_text, subject_of
from graphs.interactive.views import view_of
from graphs.language.notation import Node
from graphs.language.statements import read_statement
from graphs.pictures.layout import Point
from graphs.pictures.scene import displaced
from graphs.structure.edges import edges
from graphs.structure.nodes import find_nodes, observable

if TYPE_CHECKING:
    from graphs.interactive.session import Session

Step: TypeAlias = "Callable[[Session, Json], State | Json]"

_NEEDED = {"add_node": 1, "remove_node": 1, "reverse_edge": 2, "rename_node": 2}


# --- Asking -------------------------------------------------------------------------------------


def ask_text(state: State, text: str) -> State:
    """The question of a text; what it is given is observed then, and nothing else."""
    if not text.strip():
        return replace(state, question=None, guess=None)
    graph = state.subject.graph
    *sets, negated = read_statement(text)
    x, y, given = (find_nodes(graph, *part) for part in zip(sets, ("x", "y", "given"), strict=True))
    observed = {v: state.observed.get(v) for v in graph if v in given}
    return _asking(state, observed, Question(x, y, negated))


def _ask(page: Session, event: Json) -> State:
    state = page.state
    if isinstance(event.get("text"), str):
        return ask_text(state, event["text"])
    x, y = (frozenset(nodes_in(state.subject, event, key)) for key in ("x", "y"))
    observed = {v: s for v, s in state.observed.items() if v not in x | y}
    return _asking(state, observed, Question(x, y))


def _asking(state: State, observed: dict[Node, Hashable | None], question: Question) -> State:
    asked = replace(state, observed=observed, question=question, guess=None)
    ask(asked)
    return asked


def _claim(page: Session, event: Json) -> State:
    text = text_in(event).strip()
    if text:
        page.claimed(page.state.subject, text)
    return replace(page.state, claim=text)


# --- Observing ----------------------------------------------------------------------------------


def _observe(page: Session, event: Json) -> State:
    """One more observed node, or in the next state; after the last of its states, none."""
    state = page.state
    node = node_in(state.subject, event)
    observable(state.subject.graph, frozenset((node,)))
    names = [*state.subject.states.get(node, ())]
    observed = dict(state.observed)
    if "state" in event:
        observed.pop(node, None)
        if event["state"] is not None:
            observed[node] = state_of(state.subject, node, event["state"])
        return state.observe(observed)
    following: list[Hashable | None] = [*names] or [None]
    if node in observed:
        now = observed.pop(node)
        following = names[names.index(now) + 1 :] if now is not None else [*names]
    if following:
        observed[node] = following[0]
    return state.observe(observed)


def _randomise(page: Session, event: Json) -> State:
    subject = page.state.subject
    node = node_in(subject, event)
    cut = subject.randomise(subject.randomised ^ {node})
    uniform = f" {node} is uniform until it is set." if subject.tables else ""
    on = node in cut.randomised
    page.said = f"The arrows into {node} are {'cut.' + uniform if on else 'back.'}"
    return page.state.about(cut)


# --- Editing ------------------------------------------------------------------------------------


def _edit(page: Session, event: Json) -> State:
    action, state = event.get("action"), page.state
    if not isinstance(action, str) or action not in EDITS:
        raise ValueError(f"expected an edit, {', '.join(EDITS)}, got {action!r}")
    keys = [key for key in ("node", "tail", "head") if key in event]
    values: list[Any] = [node_in(state.subject, event, key) for key in keys]
    if action in ("add_node", "rename_node"):
        values.append(event.get("name"))
    if action in ("add_edge", "remove_edge") and isinstance(event.get("sign"), str):
        values.append(event["sign"])
    if not _NEEDED.get(action, 2) <= len(values) <= _NEEDED.get(action, 3):
        raise ValueError(f"expected the nodes of {action}, got {', '.join(sorted(event))}")
    subject, page.said = EDITS[action](state.subject, *values)
    if action == "rename_node":
        if page.selected == values[0]:
            page.selected = values[1]
        return state.about(subject, (values[0], values[1]))
    places = _places(page)
    if action == "add_node" and "x" in event:
        places[values[0]] = place_in(event)
    kept = {v: place for v, place in places.items() if v in subject.whole}
    return replace(state.about(subject), moved=kept)


def _places(page: Session) -> dict[Node, Point]:
    """Where the nodes are, so that an edit leaves the others in their places."""
    state = page.state
    nodes, _ = state.subject.drawable(frozenset())
    if len(nodes) < len(state.subject.whole):
        return dict(state.moved)
    return dict(displaced(state.subject.layout(nodes, page.rows), state.moved).places)


def _model(page: Session, event: Json) -> State:
    """Another model, from text."""
    subject = subject_of(read_text(text_in(event)))
    page.said = f"Read a model of {len(subject.whole)} nodes."
    return State(subject, quiz=page.state.quiz)


def _take(page: Session, event: Json) -> State:
    """The member of the class that is drawn as the model."""
    state = page.state
    if state.view != "member":
        raise ValueError("expected a member of the equivalence class to take as the model")
    joined = view_of(state).joined
    graph = plain(state.subject.whole)
    graph.remove_edges_from(list(graph.edges))
    graph.add_edges_from((u, v) for u, _, v in joined)
    lost = " It has no tables." if state.subject.tables else ""
    page.said = f"This member is the model now.{lost}"
    without = page.said if lost else state.subject.without
    return replace(state.about(Subject(graph, None, without)), moved=_places(page))


# --- Looking ------------------------------------------------------------------------------------


def _select(page: Session, event: Json) -> State:
    absent = event.get("node") is None
    page.selected = None if absent else node_in(page.state.subject, event)
    return page.state


def _bars(page: Session, event: Json) -> State:
    page.monitors = bool(event.get("on", page.monitors))
    return page.state


def _view(page: Session, event: Json) -> State:
    name, member = event.get("name"), event.get("member", 0)
    if name not in VIEWS:
        raise ValueError(f"expected a view, {', '.join(VIEWS)}, got {name!r}")
    if isinstance(member, bool) or not isinstance(member, int) or member < 0:
        raise ValueError(f"expected the number of a member, got {member!r}")
    return replace(page.state, view=name, member=member)


def _move(page: Session, event: Json) -> State:
    node = node_in(page.state.subject, event)
    return replace(page.state, moved={**page.state.moved, node: place_in(event)})


def _export(page: Session, event: Json) -> Json:
    state = page.state
    nodes, _ = state.subject.drawable(frozenset(state.observed))
    layout = displaced(state.subject.layout(nodes, False), state.moved)
    name = event.get("format")
    found = export(state.subject, name if isinstance(name, str) else "", layout.places)
    return {"text": found.text, "name": found.name}


# --- Going back ---------------------------------------------------------------------------------


def _undo(page: Session, event: Json) -> State:
    if not page.done:
        raise ValueError("expected a step to undo, got none")
    page.undone.append(page.state)
    return page.done.pop()


def _redo(page: Session, event: Json) -> State:
    if not page.undone:
        raise ValueError("expected a step to redo, got none")
    page.done.append(page.state)
    return page.undone.pop()


def _restore(page: Session, event: Json) -> State:
    """The state of a link; tables stay where its structure is one that has been on the page."""
    content = read_link(text_in(event, "link"))
    subject = subject_of(read_text(content["model"]))
    for known in (page.first, page.state.subject):
        if _same(known.whole, subject.whole):
            subject = known if not known.randomised else known.randomise(frozenset())
            break
    cut = frozenset(nodes_in(subject, content, "randomised"))
    state = State(subject.randomise(cut) if cut else subject, quiz=page.state.quiz)
    seen = {str(v): s if subject.tables else None for v, s in lists_in(content, "observed", 2)}
    state = with_evidence(state, seen)
    asked = content.get("question")
    if isinstance(asked, list) and len(asked) == 3:
        sets = dict(zip("xy", asked[:2], strict=True))
        x, y = (frozenset(nodes_in(subject, sets, key)) for key in "xy")
        state = _asking(state, dict(state.observed), Question(x, y, asked[2] is True))
    if isinstance(content.get("claim"), str) and content["claim"]:
        page.claimed(state.subject, content["claim"])
        state = replace(state, claim=content["claim"])
    if content.get("view") in VIEWS:
        state = replace(state, view=content["view"])
        view_of(state)
    places = lists_in(content, "moved", 3)
    moved = {named(subject, v, "link"): place_in({"x": x, "y": y}) for v, x, y in places}
    return replace(state, moved=moved)


def _same(one: nx.Graph, other: nx.Graph) -> bool:
    """Whether two structures have the same nodes and edges, by their texts."""

    def listed(graph: nx.Graph) -> set[tuple[Any, str]]:
        found = ((str(u), sign, str(v)) for u, sign, v in edges(graph))
        return {((u, v) if sign == "->" else frozenset((u, v)), sign) for u, sign, v in found}

    return (
        one.is_directed() == other.is_directed()
        and set(map(str, one)) == set(map(str, other))
        and listed(one) == listed(other)
    )


# --- Practice -----------------------------------------------------------------------------------


def _quiz(page: Session, event: Json) -> State:
    return replace(page.state, quiz=bool(event.get("on", True)), guess=None)


def _next(page: Session, event: Json) -> State:
    page.asked += 1
    question, given = new_question(page.state.subject.graph, page.asked)
    asked = _asking(page.state, dict.fromkeys(given), question)
    return replace(asked, quiz=True, view="graph")


def _commit(page: Session, event: Json) -> State:
    state = page.state
    if not state.quiz or state.question is None:
        raise ValueError("expected a question to commit to, in practice, got none")
    if not isinstance(event.get("holds"), bool):
        raise ValueError(f"expected holds to be true or false, got {event.get('holds')!r}")
    nodes = frozenset(nodes_in(state.subject, event, "nodes"))
    return replace(state, guess=Guess(event["holds"], nodes))


EVENTS: dict[str, Step] = {
    "open": lambda page, event: page.state,
    "ask": _ask,
    "claim": _claim,
    "observe": _observe,
    "forget": lambda page, event: page.state.observe({}),
    "evidence": lambda page, event: with_evidence(page.state, text_in(event)),
    "randomise": _randomise,
    "edit": _edit,
    "model": _model,
    "take": _take,
    "select": _select,
    "bars": _bars,
    "view": _view,
    "move": _move,
    "arrange": lambda page, event: replace(page.state, moved={}),
    "export": _export,
    "undo": _undo,
    "redo": _redo,
    "restore": _restore,
    "quiz": _quiz,
    "next": _next,
    "commit": _commit,
}
