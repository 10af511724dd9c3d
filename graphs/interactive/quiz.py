"""Practice: commit to an answer and to its reason before either is shown.

Right and wrong are told apart twice, for the answer and for the reason. Somebody who says that an
independence holds names nodes that block: each must block some path, and every path must be blocked
by one of them. Somebody who says that it does not names the nodes between the ends of an active
path.
"""

from __future__ import annotations

import random
from collections.abc import Collection

import networkx as nx

from graphs.interactive.replies import Json, texts
from graphs.interactive.state import Guess, Question
from graphs.language.notation import Node
from graphs.language.statements import listing
from graphs.separation.independence import Independence, independence_of
from graphs.separation.trails import all_trails
from graphs.structure.mixed import one_member
from graphs.structure.nodes import latent_nodes

ATTEMPTS, MOST_GIVEN = 200, 2


def new_question(graph: nx.Graph, number: int) -> tuple[Question, tuple[Node, ...]]:
    """A question about two nodes that no edge joins and what is observed; the same every time.

    Even numbers get an independence that holds and odd ones that does not, where one is found.

    Raises:
        ValueError: a graph in which every two nodes are joined.
    """
    generator = random.Random(number)
    hidden = latent_nodes(graph)
    nodes = list(graph)
    found: tuple[Question, tuple[Node, ...]] | None = None
    for _ in range(ATTEMPTS):
        if len(nodes) < 2:
            break
        x, y = generator.sample(nodes, 2)
        free = [v for v in nodes if v not in (x, y) and v not in hidden]
        given = generator.sample(free, min(len(free), generator.randint(0, MOST_GIVEN)))
        if graph.has_edge(x, y) or graph.has_edge(y, x):
            continue
        found = Question(frozenset((x,)), frozenset((y,))), tuple(given)
        answer = independence_of(graph, *found[0][:2], frozenset(given))
        if answer.separated == (number % 2 == 0) and (answer.path or _connected(answer)):
            return found
    if found is None:
        raise ValueError("expected a model with two nodes that no edge joins, got none")
    return found


def _connected(answer: Independence) -> bool:
    """Whether some path has to be blocked at all."""
    return bool(answer.trails or answer.trails is None)


def judge(answer: Independence, guess: Guess) -> Json:
    """Whether the guess is right, whether its reason is, and why, in a sentence or two."""
    right = guess.holds == answer.holds
    named = listing(guess.nodes) if guess.nodes else "no node"
    if not right:
        verdict = "holds" if answer.holds else "does not hold"
        return _judged(guess, False, False, f"No: {answer} {verdict}.")
    sound, why = _reason(answer, guess.nodes, named)
    said = f"Yes, and for the right reason: {why}" if sound else f"Yes, but not for this: {why}"
    return _judged(guess, True, sound, said)


def _judged(guess: Guess, right: bool, reason: bool, text: str) -> Json:
    return {
        "holds": guess.holds,
        "nodes": texts(guess.nodes),
        "right": right,
        "reason": reason,
        "text": text,
    }


def _reason(answer: Independence, nodes: Collection[Node], named: str) -> tuple[bool, str]:
    if not answer.separated:
        return _active(answer, frozenset(nodes), named)
    trails = answer.trails
    if trails is None:
        cut = answer.blockers
        return cut <= set(nodes), f"{listing(cut)} cut every path."
    if not trails:
        return not nodes, "no path joins the two."
    for trail in trails:
        if not set(trail.blockers) & set(nodes):
            return False, f"nothing you named, {named}, blocks {trail}."
    idle = [v for v in nodes if not any(v in trail.blockers for trail in trails)]
    if idle:
        return False, f"{listing(idle)} blocks no path."
    return True, f"{named} blocks every path."


def _active(answer: Independence, nodes: frozenset[Node], named: str) -> tuple[bool, str]:
    graph = one_member(answer.graph)
    trails = all_trails(graph, answer.x, answer.y, answer.given)
    paths = [t for t in trails or () if t.active] or ([answer.trail] if answer.trail else [])
    for trail in paths:
        if nodes == frozenset(trail.nodes[1:-1]):
            return True, f"{trail} is active."
    inner = listing(paths[0].nodes[1:-1]) if paths[0].nodes[1:-1] else "no node"
    return False, f"{paths[0]} is active, with {inner} in between; you named {named}."
