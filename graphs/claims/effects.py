r"""Claims about effects: which theorem makes one true, or models in which it is false.

:math:`P(y \mid \mathrm{do}(x)) = \sum_z P(y \mid x, z)\, P(z)` holds in every distribution of a
graph iff z meets the adjustment criterion; :math:`P(y \mid \mathrm{do}(x)) = P(y)` iff no directed
path leads from x to y (rule 3 of the do-calculus, Pearl 2009, theorem 3.4.1); a front door gives
the effect where there is one. Any other equality between sums of products of distributions is
decided by numbers: both sides are rational functions of the tables, and so either equal everywhere
or different at almost all tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import networkx as nx

from graphs.claims.answers import Verdict
from graphs.claims.counterexamples import active_walk
from graphs.claims.effect_texts import EffectClaim, Formula, Symbol, Term, read_effect
from graphs.interventions.adjustment import Adjustment, adjustment
from graphs.interventions.cutting import directed
from graphs.interventions.front_door import front_door
from graphs.language.notation import Node, text_name
from graphs.language.statements import listing
from graphs.structure.mixed import canonical, one_member
from graphs.structure.models import Model
from graphs.structure.nodes import find_nodes, latent_nodes, require_disjoint
from graphs.structure.search import ancestors, shortest_path

NOTHING: frozenset[Node] = frozenset()
SMALL = 9  # nodes among which a second model is also sought outside the paths that matter


def check_effect(model: Model, text: str) -> Verdict:
    """The verdict on a claim about an effect; see :func:`graphs.check`.

    Raises:
        ValueError: an undirected model, a latent node in the formula, what
            :func:`graphs.claims.effect_texts.read_effect` refuses.
    """
    graph = directed(model)
    claim = read_effect(text, lambda name: next(iter(find_nodes(graph, [name], "the claim"))))
    named = claim.right.nodes | {s.node for s in claim.left.symbols}
    require_disjoint(named, "the claim", latent_nodes(graph), "latent")
    verdict = _by_theorem(graph, claim)
    if verdict is None:
        verdict = _by_numbers(graph, claim)
    if not claim.negated:
        return verdict
    if verdict:
        return replace(verdict, holds=False, reasons=("The sides are equal.", *verdict.reasons))
    almost = "The sides differ in almost every distribution of this graph."
    return replace(verdict, holds=True, reasons=(almost, *verdict.reasons))


def _by_theorem(graph: nx.DiGraph, claim: EffectClaim) -> Verdict | None:
    """The verdict on a claim whose form a theorem decides, or ``None``."""
    left, right = claim.left, claim.right
    x, y = frozenset(s.node for s in left.done), frozenset(s.node for s in left.head)
    if left.given or not right.observational:
        return None
    if not right.over and right.terms == (Term(left.head),):
        return _no_effect(graph, claim, x, y)
    if (z := _summed(right, left)) is not None:
        answer = adjustment(graph, x, y, given=z)
        if answer:
            criterion = "Adjustment criterion (Shpitser, VanderWeele and Robins 2010):"
            return Verdict(True, claim.text, (criterion, answer.explain()))
        part = _witness(graph, answer)
        kept = frozenset(v for v in z if v in part)
        refuted = _refuted(graph, claim, part, _adjusted(left, kept))
        return replace(refuted, reasons=(answer.explain(), *refuted.reasons))
    if (z := _through(right, left)) is not None and (door := front_door(graph, x, y, given=z)):
        criterion = "Front-door criterion (Pearl 1995):"
        return Verdict(True, claim.text, (criterion, door.explain()))
    return None


def _no_effect(
    graph: nx.DiGraph, claim: EffectClaim, x: frozenset[Node], y: frozenset[Node]
) -> Verdict:
    way = _way(graph, x, y)
    if way is None:
        reason = f"No directed path leads from {listing(x)} to {listing(y)}: there is no effect."
        return Verdict(True, claim.text, (reason,))
    path = " → ".join(map(text_name, way))
    refuted = _refuted(graph, claim, _part(graph, pairwise(way), x | y))
    return replace(refuted, reasons=(f"{path} carries an effect.", *refuted.reasons))


def _by_numbers(graph: nx.DiGraph, claim: EffectClaim) -> Verdict:
    """The verdict by equality at random tables."""
    named = claim.right.nodes | {s.node for s in claim.left.symbols}
    dag = canonical(graph)
    refuted = _refuted(graph, claim, dag.subgraph(ancestors(dag, named)))
    if refuted.disagreement is not None:
        return refuted
    reason = (
        "Both sides are rational functions of the tables and equal at random ones, with two "
        "states to a variable and with three; different functions would differ there with "
        "probability one (Schwartz 1980)."
    )
    return Verdict(True, claim.text, (reason,))


def _refuted(
    graph: nx.DiGraph, claim: EffectClaim, part: nx.DiGraph, formula: Formula | None = None
) -> Verdict:
    """The verdict that models refute a claim; without a disagreement if none does.

    Args:
        graph: the graph of the model.
        claim: the claim.
        part: where to look for models.
        formula: the right side as far as it speaks of that part.
    """
    from graphs.claims.two_models import single_model, two_models

    dag = canonical(graph)
    right = claim.right if formula is None else formula
    found = single_model(dag, part, claim.left, right)
    if found is not None and right.observational:
        found = two_models(dag, part, claim.left, right) or found
        near = ancestors(dag, claim.right.nodes | {s.node for s in claim.left.symbols})
        if len(found.tables) == 1 and len(part) < len(near) <= SMALL:
            found = two_models(dag, dag.subgraph(near), claim.left, claim.right) or found
    return Verdict(False, claim.text, (), disagreement=found)


# --- Forms --------------------------------------------------------------------------------------


def _adjusted(left: Term, z: Iterable[Node]) -> Formula:
    """The sum over z of P(left | z) P(z)."""
    copies = tuple(Symbol(v, 1) for v in sorted(z, key=str))
    conditional = Term(left.head, (*left.done, *copies))
    return Formula((conditional, Term(copies)) if copies else (conditional,), frozenset(copies))


def _summed(right: Formula, left: Term) -> frozenset[Node] | None:
    """The z of a formula that adjusts for z, or ``None``."""
    conditional = [t for t in right.terms if set(t.head) == set(left.head)]
    others = [t for t in right.terms if t not in conditional]
    if len(conditional) != 1 or set(conditional[0].given) != set(left.done) | right.over:
        return None
    return frozenset(s.node for s in right.over) if _chain(others, right.over) else None


def _through(right: Formula, left: Term) -> frozenset[Node] | None:
    """The z of a formula that goes through a front door z, or ``None``."""
    copies = {s.node: s for s in right.over if s.node in {d.node for d in left.done}}
    z = right.over - set(copies.values())
    before = set(copies.values())
    conditional = [t for t in right.terms if set(t.head) == set(left.head)]
    rest = [t for t in right.terms if t not in conditional]
    causes = [t for t in rest if before.issuperset(t.head)]
    doors = [t for t in rest if t not in causes]
    if len(copies) != len(left.done) or not z or len(conditional) != 1:
        return None
    if set(conditional[0].given) != before | z or not _chain(causes, before):
        return None
    return frozenset(s.node for s in z) if _chain(doors, z, left.done) else None


def _chain(terms: list[Term], symbols: Iterable[Symbol], given: Iterable[Symbol] = ()) -> bool:
    """Whether terms multiply to P(symbols | given) by the chain rule."""
    known, rest = set(given), list(terms)
    while rest:
        following = next((t for t in rest if set(t.given) == known), None)
        if following is None:
            return False
        known |= set(following.head)
        rest.remove(following)
    return known == set(symbols) | set(given)


# --- Where a claim fails ------------------------------------------------------------------------


def _witness(graph: nx.DiGraph, answer: Adjustment) -> nx.DiGraph:
    """A small part of the graph in which a set is no adjustment set either.

    It holds a path that the set leaves open, the way to each node of it that the cause acts on, and
    a path by which the cause acts. What is no causal path of the graph is none of a part of it.
    """
    assert answer.given is not None
    dag = canonical(graph)
    edges = list(pairwise(_way(graph, answer.x, answer.y) or ()))
    for node in sorted(answer.given, key=str):
        edges += _spoiling(graph, answer, node)
    cut = canonical(answer.back_door_graph)
    walk = active_walk(cut, answer.x, answer.y, answer.given) or ()
    edges += [(u, v) if dag.has_edge(u, v) else (v, u) for u, v in pairwise(walk)]
    return _part(graph, edges, answer.x | answer.y)


def _spoiling(graph: nx.DiGraph, answer: Adjustment, node: Node) -> Iterator[tuple[Node, Node]]:
    """The edges that make a node one that no adjustment set may hold, if it is one."""
    arrows = one_member(graph)
    first = [(u, v) for u in answer.x for v in arrows[u] if v in answer.on_the_way]
    way = shortest_path(
        lambda edge: [(edge[1], v) for v in arrows[edge[1]]],
        sorted(first, key=str),
        lambda edge: edge[1] == node,
    )
    if way is not None:
        yield from way
        yield from pairwise(_way(graph, frozenset((way[0][1],)), answer.y, answer.x) or ())


def _way(
    graph: nx.DiGraph, x: frozenset[Node], y: frozenset[Node], past: frozenset[Node] = NOTHING
) -> tuple[Node, ...] | None:
    """A shortest directed path from x to y that avoids some nodes."""
    arrows = one_member(graph)
    return shortest_path(
        lambda u: [v for v in arrows[u] if v not in past], sorted(x, key=str), y.__contains__
    )


def _part(
    graph: nx.DiGraph, edges: Iterable[tuple[Node, Node]], nodes: Iterable[Node]
) -> nx.DiGraph:
    """The graph with these edges alone and the nodes that they join, besides those named."""
    dag, part, edges = canonical(graph), nx.DiGraph(), list(edges)
    kept = set(nodes).union(*edges)
    part.add_nodes_from((v, data) for v, data in dag.nodes.items() if v in kept)
    part.add_edges_from(edges)
    return part
