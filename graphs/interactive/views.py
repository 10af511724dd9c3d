"""Which graph is drawn, and what is said about its nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import networkx as nx

from graphs.interactive.replies import Json
from graphs.interactive.state import State
from graphs.language.notation import Node
from graphs.pictures.scene import Joined, displaced
from graphs.pictures.shown import active_edges, described, parts
from graphs.separation.independence import Independence
from graphs.separation.markov import blanket_of
from graphs.structure.chordal import moral_ancestral, moralize, triangulate
from graphs.structure.edges import edges
from graphs.structure.mixed import canonical, one_member

MOST_MEMBERS, MOST_MONITORED = 60, 60


class View(NamedTuple):
    """A graph to draw over the nodes of the model.

    Attributes:
        joined: the edges.
        marks: of some of them a word: ``added``, ``compelled``, ``reversible``, ``turned``.
        faded: nodes that are no part of it.
        note: what it is, in a sentence.
    """

    joined: list[Joined]
    marks: dict[Joined, str]
    faded: frozenset[Node]
    note: str


def view_of(state: State) -> View:
    """The view that a state asks for.

    Raises:
        ValueError: one that the model does not have.
    """
    graph = state.subject.graph
    none: frozenset[Node] = frozenset()
    if state.view == "graph":
        return View(list(edges(graph)), {}, none, "")
    if state.view == "ancestral":
        return _ancestral(state)
    if state.view in ("moral", "chordal"):
        moral = moralize(graph) if state.view == "moral" else triangulate(graph)
        added = {frozenset(e) for e in (*moral.graph["married"], *moral.graph.get("fill_in", ()))}
        joined = list(edges(moral))
        marks = {e: "added" for e in joined if frozenset((e[0], e[2])) in added}
        what = "marries parents" if state.view == "moral" else "marries parents or fills a cycle"
        kind = "The moral graph" if state.view == "moral" else "A chordal graph around the model"
        return View(joined, marks, none, f"{kind}: a dashed edge {what}; {_count(marks)}.")
    from graphs.claims.maps import essential_graph

    essential = essential_graph(graph)
    if state.view == "essential":
        joined = list(edges(essential))
        marks = {e: "compelled" if e[1] == "->" else "reversible" for e in joined}
        loose = sum(mark == "reversible" for mark in marks.values())
        note = (
            "The equivalence class: bold arrows are the same in every member, the "
            f"{loose} dashed edges may point either way."
        )
        return View(joined, marks, none, note)
    member = next(islice(members(graph), state.member, None), None)
    if member is None:
        raise ValueError(f"expected a member of the class, got number {state.member}")
    joined = list(edges(member))
    marks = {e: "turned" for e in joined if not graph.has_edge(e[0], e[2])}
    note = f"Member {state.member + 1} of the equivalence class: {len(marks)} arrows turned."
    return View(joined, marks, none, note)


def _count(marks: dict[Joined, str]) -> str:
    return f"{len(marks)} are added" if marks else "none is added"


def _ancestral(state: State) -> View:
    if state.question is None:
        raise ValueError("expected a question, whose ancestors to moralise, got none so far")
    graph = state.subject.graph
    asked = state.question.x | state.question.y | frozenset(state.observed)
    if not graph.is_directed():
        note = "An undirected model is its own ancestral moral graph."
        return View(list(edges(graph)), {}, frozenset(), note)
    dag = one_member(graph)
    moral = moral_ancestral(dag, asked)
    joined = list(edges(moral))
    plain = {frozenset((u, v)) for u, _, v in edges(graph)}
    marks = {e: "added" for e in joined if frozenset((e[0], e[2])) not in plain}
    note = (
        "The moral graph of the ancestors of what is asked and observed: they are independent "
        "iff the observed nodes cut every path here."
    )
    return View(joined, marks, frozenset(graph) - frozenset(moral), note)


def members(graph: nx.DiGraph) -> Iterator[nx.DiGraph]:
    """The members of the equivalence class, up to as many as are looked at."""
    from graphs.claims.classes import class_members

    return islice(class_members(graph), MOST_MEMBERS + 1)


def member_count(state: State) -> Json | None:
    """How many DAGs are equivalent; ``None`` of a model that is no DAG."""
    graph = state.subject.graph
    if not graph.is_directed() or canonical(graph) is not graph:
        return None
    found = state.subject.once("members", lambda own: sum(1 for _ in members(own.graph)))
    return {"count": min(found, MOST_MEMBERS), "more": found > MOST_MEMBERS}


# --- The picture --------------------------------------------------------------------------------


def drawable(state: State, selected: Node | None) -> tuple[list[Node], str]:
    """The nodes that there is room for, and of a large model which these are, in words."""
    seeds = frozenset(state.observed) | ({selected} if selected is not None else frozenset())
    if state.question:
        seeds |= state.question.x | state.question.y
    return state.subject.drawable(seeds)


def scene(state: State, view: View, monitors: bool, selected: Node | None) -> Json:
    """Boxes and lines as numbers; names are text, to be shown as such."""
    subject = state.subject
    nodes, note = drawable(state, selected)
    rows = monitors and bool(subject.tables) and len(nodes) <= MOST_MONITORED
    layout = displaced(subject.layout(nodes, rows), state.moved)
    randomised = subject.randomised
    found = described(layout, view.joined, subject.whole, view.marks, view.faded, randomised)
    return {**found, "note": note, "monitors": rows}


def roles(state: State, answer: Independence | None, selected: Node | None) -> Json:
    """What the nodes and edges are to the question, to be painted over the scene."""
    subject = state.subject
    found: dict[str, list[str]] = {str(v): [] for v in subject.whole}

    def mark(nodes: Any, role: str) -> None:
        for v in nodes:
            found[str(v)].append(role)

    if state.question:
        mark(state.question.x | state.question.y, "asked")
    mark(state.observed, "observed")
    if selected is not None:
        mark([selected], "selected")
        mark(blanket_of(one_member(subject.graph), frozenset((selected,))), "blanket")
    if answer is not None:
        for role, nodes in parts(answer).items():
            mark(nodes, role)
    active = sorted(active_edges(answer)) if answer is not None else []
    return {"nodes": {v: r for v, r in found.items() if r}, "active": [list(e) for e in active]}
