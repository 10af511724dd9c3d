"""What the page is told after an event, as plain JSON: answer, reasons, bars, what lies around."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from graphs.interactive.state import Question, State
from graphs.interactive.subject import Subject
from graphs.language.notation import Node, text_name
from graphs.language.statements import statement_text
from graphs.separation.independence import Independence, independence_of
from graphs.separation.markov import blanket_of, local_markov
from graphs.separation.trails import Trail
from graphs.structure.edges import edges_text, has_choices, kind_of
from graphs.structure.factorization import Factorization
from graphs.structure.mixed import has_marks, one_member, spouses
from graphs.structure.models import factorization
from graphs.structure.nodes import observable
from graphs.structure.search import ancestors

if TYPE_CHECKING:
    from graphs.inference.junction_tree import JunctionTree

Json = dict[str, Any]

LONGEST_PRODUCT, MOST_FACTORS, MOST_CELLS_SHOWN, MOST_LOCAL = 600, 60, 64, 60


def texts(nodes: Iterable[Node]) -> list[str]:
    return sorted(map(str, nodes))


# --- The answer ---------------------------------------------------------------------------------


def ask(state: State) -> Independence | None:
    """The answer to the question of the page.

    Raises:
        ValueError: what :func:`graphs.independent` raises.
    """
    if state.question is None:
        return None
    asked = (state.question, frozenset(state.observed))
    return state.subject.lately("answer", asked, lambda subject: _answer(subject, *asked))


def _answer(subject: Subject, question: Question, observed: frozenset[Node]) -> Independence:
    x, y, negated = question
    answer = independence_of(subject.graph, x, y, observable(subject.graph, observed))
    return replace(answer, negated=True, holds=not answer.holds) if negated else answer


def statement(state: State) -> str:
    """The question as text, for the line in which one asks."""
    if state.question is None:
        return ""
    x, y, negated = state.question
    return statement_text(x, y, frozenset(state.observed), negated)


def answer_reply(answer: Independence) -> Json:
    """The answer with what is to be painted, and every junction with its reason."""
    trails = answer.trails if answer.separated else None
    path = answer.path or ()
    proof = answer.certificate if answer.separated and trails is None else None
    return {
        "statement": str(answer),
        "latex": answer.latex(),
        "holds": answer.holds,
        "separated": answer.separated,
        "explanation": answer.explain(),
        "x": texts(answer.x),
        "y": texts(answer.y),
        "given": texts(answer.given),
        "path": list(map(str, path)),
        "trail": None if answer.trail is None else _trail(answer.trail),
        "trails": None if trails is None else [_trail(trail) for trail in trails],
        "blockers": texts(answer.blockers),
        "cut": None if proof is None else {"side": texts(proof.side), "cut": texts(proof.cut)},
    }


def _trail(trail: Trail) -> Json:
    return {
        "nodes": list(map(str, trail.nodes)),
        "arrows": list(trail.arrows),
        "text": str(trail),
        "active": trail.active,
        "junctions": [
            {
                "node": str(j.node),
                "kind": j.kind,
                "open": j.open,
                "text": f"{text_name(j.node)} is {j.reason}",
            }
            for j in trail.junctions
        ],
    }


# --- What lies around a node --------------------------------------------------------------------


def around(subject: Subject, node: Node) -> Json:
    """The blanket of a node, and the independence its neighbourhood implies."""
    graph = one_member(subject.graph)
    blanket = blanket_of(graph, frozenset((node,)))
    reply: Json = {"node": str(node), "blanket": texts(blanket), "local": None}
    data = subject.whole.nodes[node]
    facts = [str(data["distribution"])] if data.get("distribution") else []
    facts += [f"in the plate {', '.join(map(str, data['plates']))}"] if data.get("plates") else []
    facts += ["latent"] if data.get("latent") else []
    reply["facts"] = facts
    if graph.is_directed():
        reply["parents"] = texts(graph.pred[node])
        reply["children"] = texts(graph.succ[node])
    if spouses(graph):
        return reply
    near = frozenset(graph.pred[node] if graph.is_directed() else graph[node])
    others = frozenset(graph) - near - {node}
    if graph.is_directed():
        others -= _descendants(graph, node)
    if others:
        reply["local"] = statement_text(frozenset((node,)), others, near, most=12)
    return reply


def _descendants(graph: Any, node: Node) -> set[Node]:
    return ancestors(graph.reverse(copy=False), [node])


# --- Claims -------------------------------------------------------------------------------------


def claim_reply(subject: Subject, text: str) -> Json:
    """What :func:`graphs.check` says of a claim.

    Raises:
        ValueError: what it raises.
    """
    from graphs.claims.verdicts import check

    verdict = check(subject.model, text)
    return {
        "claim": text,
        "holds": bool(verdict),
        "explanation": verdict.explain(),
        "missing": [texts(scope) for scope in verdict.missing],
        "false": [
            {"statement": statement_text(r.x, r.y, r.given), "x": texts(r.x), "y": texts(r.y)}
            for r in islice(verdict.false_independencies, 12)
        ],
        "counterexample": str(verdict.parities) if verdict.parities else None,
        "information": verdict.information,
    }


# --- Numbers ------------------------------------------------------------------------------------


def bars_reply(state: State) -> Json:
    """Exact marginals of every node beside those without evidence, and P(evidence)."""
    subject = state.subject
    tree = subject.tree
    if tree is None:
        return {"available": False, "reason": subject.without}
    evidence = state.evidence
    try:
        nodes, log_p = subject.lately(
            "bars", frozenset(evidence.items()), lambda subject: _posterior(subject, tree, evidence)
        )
    except ValueError as error:
        if float(tree.log_partition(evidence)) > -math.inf:
            return {"available": False, "reason": f"The bars are off: {error}"}
        given = ", ".join(f"{v} = {s}" for v, s in evidence.items())
        return {"available": False, "reason": f"This is impossible: P({given}) = 0. No bars."}
    return {
        "available": True,
        "nodes": nodes,
        "evidence": {str(v): str(s) for v, s in evidence.items()},
        "probability": math.exp(log_p),
        "log_probability": log_p,
        "waiting": [str(v) for v, s in state.observed.items() if s is None],
    }


def _posterior(
    subject: Subject, tree: JunctionTree, evidence: Mapping[Node, Hashable]
) -> tuple[Json, float]:
    """The bars of every node, and the logarithm of the probability of the evidence."""
    prior = subject.once("prior", lambda _: {v: p.tolist() for v, p in tree.marginals().items()})
    found = tree.marginals(evidence) if evidence else {}
    nodes = {}
    for v, names in tree.states.items():
        p = prior[v]
        if v in evidence:
            p = [float(name == evidence[v]) for name in names]
        elif evidence:
            p = found[v].tolist()
        nodes[str(v)] = {"states": list(map(str, names)), "p": p, "prior": prior[v]}
    whole = subject.once("log Z", lambda _: float(tree.log_partition()))
    return nodes, (float(tree.log_partition(evidence)) - whole if evidence else 0.0)


# --- The model ----------------------------------------------------------------------------------


def model_reply(subject: Subject) -> Json:
    """The model in words, its product, and its tables where they are small."""
    graph = subject.whole
    directed = graph.is_directed()
    mixed = directed and (has_marks(graph) or has_choices(graph))
    kind = kind_of(graph) if mixed else f"{'Bayesian' if directed else 'Markov'} network"
    reply: Json = {
        "kind": kind,
        "directed": directed,
        "nodes": texts(graph),
        "size": f"{len(graph)} nodes, {_edges(graph)} edges",
        "warnings": list(map(str, graph.graph.get("warnings", ()))),
    }
    if mixed or (subject.randomised and has_marks(subject.graph)):
        product = edges_text(subject.graph)
    else:
        product = str(factorization(subject.model))
    reply["product"] = product if len(product) <= LONGEST_PRODUCT else ""
    reply["factors"] = _factors(subject)
    few = len(graph) <= MOST_LOCAL and not (
        subject.graph.is_directed() and has_marks(subject.graph)
    )
    reply["local"] = list(map(str, local_markov(subject.graph))) if few else []
    reply["states"] = {str(v): list(map(str, names)) for v, names in subject.states.items()}
    return reply


def _edges(graph: Any) -> int:
    from graphs.structure.edges import edges

    return sum(1 for _ in edges(graph))


def _factors(subject: Subject) -> list[Json]:
    """The factors of an undirected product and, where the model has tables, all small tables."""
    if subject.tables is None:
        if isinstance(subject.structure, Factorization) and not subject.structure.directed:
            return [
                {"name": str(f), "scope": list(map(str, f.scope)), "table": None}
                for f in subject.structure.factors[:MOST_FACTORS]
            ]
        return []
    tables, found = subject.cut_tables, []
    for i, (scope, array) in enumerate(tables.factors[:MOST_FACTORS], start=1):
        names = list(map(str, scope))
        given = f" | {', '.join(names[:-1])}" if names[:-1] else ""
        name = f"P({names[-1]}{given})" if tables.directed else f"φ{i}({', '.join(names)})"
        rows = None
        if array.size <= MOST_CELLS_SHOWN:
            rows = array.reshape(-1, array.shape[-1] if scope else 1).tolist()
        states = [list(map(str, tables.states[v])) for v in scope]
        found.append({"name": name, "scope": names, "states": states, "table": rows})
    return found
