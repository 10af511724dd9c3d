r"""What to adjust for so that an association is an effect, and why.

Z is an *adjustment set* for the effect of X on Y if in every distribution of the graph

.. math::  P(y \mid \mathrm{do}(x)) = \sum_z P(y \mid x, z)\, P(z).

A path from X to Y is *proper* if only its start is in X, *causal* if all its arrows point away from
X. Z is an adjustment set iff it holds no node on a proper causal path (X apart) nor a descendant of
one, and blocks every proper path that is not causal: separates X from Y in the *proper back-door
graph*, which lacks the first edges of the proper causal paths (Shpitser, VanderWeele and Robins
2010; van der Zander, Liśkiewicz and Textor 2014). Pearl's back-door criterion finds some of these
sets. Effects that no adjustment gives may still be known otherwise (:func:`front_door`); the
general algorithm for that (Shpitser and Pearl 2006) is in y0, Ananke and pyAgrum, not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx

from graphs.interventions.cutting import causal_question, without
from graphs.interventions.identification import Identification, set_text
from graphs.interventions.separators import minimal_separators
from graphs.language.notation import Node, text_name
from graphs.language.statements import listing
from graphs.separation.independence import Independence, independence_of
from graphs.separation.trails import MOST_TRAILS, Trail, all_trails, read_trail
from graphs.structure.chordal import moral_ancestral
from graphs.structure.mixed import one_member
from graphs.structure.models import Model
from graphs.structure.nodes import NodeSet
from graphs.structure.search import ancestors, children_of, parents_of, reach

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class Adjustment(Identification):
    """Whether an effect can be read off by adjustment, with reasons; see :func:`adjustment`.

    ``bool()`` of it is whether the set ``given`` is valid, or if none was given, whether any is.

    Attributes:
        x, y: cause and effect, as frozensets.
        given: the set that was asked about, or ``None``.
        graph: the directed graph.
        excluded: what may not be adjusted for, forbidden or latent.
        on_the_way: the nodes on proper causal paths, without x.

    >>> graphs.adjustment(graphs.textbook.structure("asia"), "smoke", "dysp", given="bronc")
    <Adjustment of smoke → dysp by {bronc}: False>
    """

    on_the_way: frozenset[Node] = field(compare=False)

    @cached_property
    def _spoiled(self) -> frozenset[Node]:
        """Nodes on the way and their descendants, which no adjustment set may hold."""
        return frozenset(reach(children_of(one_member(self.graph)).__getitem__, self.on_the_way))

    @cached_property
    def back_door_graph(self) -> nx.DiGraph:
        """The graph without the first edges of the proper causal paths."""

        def first(u: Node, v: Node, two: bool) -> bool:
            return not two and u in self.x and v in self.on_the_way

        return without(self.graph, first)

    @cached_property
    def _arrows(self) -> nx.DiGraph:
        return one_member(self.back_door_graph)

    @cached_property
    def _allowed(self) -> frozenset[Node]:
        """The nodes that some minimal set may hold."""
        near = ancestors(self._arrows, self.x | self.y)
        return frozenset(near) - self._spoiled - self.excluded - self.x - self.y

    def separation(self, z: frozenset[Node]) -> Independence:
        """Whether z blocks every path that is not causal: an answer about the back-door graph."""
        return independence_of(self.back_door_graph, self.x, self.y, z)

    def __bool__(self) -> bool:
        z = self._allowed if self.given is None else self.given
        return z.isdisjoint(self._spoiled) and bool(self.separation(z))

    @property
    def sets(self) -> Iterator[frozenset[Node]]:
        """Every valid set of which no node can be spared, found one by one.

        There may be exponentially many; of those at hand the smallest comes first. With ``given``
        they are found all the same.
        """
        moral = moral_ancestral(self._arrows, self.x | self.y)
        return minimal_separators(moral, self.x, self.y, self._allowed)

    def _lines(self) -> Iterator[str]:
        z, x, y = self.first, listing(self.x), listing(self.y)
        effect = f"the effect of {x} on {y}"
        if z is None:
            yield from self._refusal(effect)
            return
        summed = f"Σ P({y} | {x}, {listing(z)}) P({listing(z)})"
        formula = summed if z else f"P({y} | {x})"
        yield f"Adjusting for {set_text(z)} gives {effect}: P({y} | do({x})) = {formula}."
        if not self.on_the_way:
            yield f"  - No directed path leads from {x} to {y}: there is no effect."
        for trail in self._causal():
            yield f"  {trail}: causal, left open."
        closed = all_trails(self._arrows, self.x, self.y, z)
        if closed is None:
            yield f"  The other paths are many; {set_text(z)} blocks them all, as a cut shows."
            yield from self.separation(z).explain().splitlines()[1:]
        for trail in closed or ():
            yield f"  {trail}: {_closing(trail, z)}."
        if closed is not None and not closed:
            yield f"  - No other path joins {x} and {y}."
        kept = self._spoiled - self.x - self.y
        if z and kept:
            yield f"  - {set_text(z)} holds none of {listing(kept, 12)}, which {x} acts on."

    def _refusal(self, effect: str) -> Iterator[str]:
        x, y = listing(self.x), listing(self.y)
        if self.given is not None:
            yield f"Adjusting for {set_text(self.given)} does not give {effect}."
            spoiled = self.given & self._spoiled
            for node in _sorted(spoiled):
                on = node in self.on_the_way
                where = f"{'on' if on else 'below'} a causal path"
                yield f"  - {text_name(node)} lies {where}: adjusting for it distorts the effect."
            answer = self.separation(self.given)
        else:
            yield f"No set that may be adjusted for gives {effect}."
            answer = self.separation(self._allowed)
        if not self.on_the_way:
            yield f"  - No directed path leads from {x} to {y}: P({y} | do({x})) = P({y})."
        if answer:
            return
        path = answer.trail
        assert path is not None
        yield f"  {path}: not causal, and open" + (
            "." if self.given is not None else f" given all that may be: {set_text(self._allowed)}."
        )
        for junction in path.junctions:
            yield f"  - {text_name(junction.node)} is {junction.reason}: open."
        for u, v in path.two_headed:
            yield f"  - {text_name(u)} and {text_name(v)} share an unobserved common cause."

    def _causal(self) -> tuple[Trail, ...]:
        """The proper causal paths, shortest first; the first of many."""
        arrows = nx.DiGraph(one_member(self.graph))
        arrows.remove_nodes_from(set(arrows) - self.x - self.on_the_way)
        arrows.remove_edges_from([(u, v) for u, v in arrows.edges if v in self.x])
        paths = (nx.all_simple_paths(arrows, u, self.y) for u in _sorted(self.x))
        found = islice(chain.from_iterable(paths), MOST_TRAILS)
        return tuple(read_trail(arrows, path, frozenset()) for path in sorted(found, key=len))

    def draw(self, ax: Axes | None = None, **options: Any) -> Axes:
        """The paths that the set closes and what closes them, or the path that stays open.

        The edges by which the effect leaves x are dashed.
        """
        from graphs.pictures.drawing import draw

        z = self.first
        asked = (self._allowed if self.given is None else self.given) if z is None else z
        arrows = one_member(self.graph)
        dashed = [(u, v) for u in self.x for v in arrows[u] if v in self.on_the_way]
        answer = self.separation(asked)
        trails = () if z is None else all_trails(self._arrows, self.x, self.y, z) or ()
        closed = [pair for trail in trails for pair in pairwise(trail.nodes)]
        found = "no set will do" if self.given is None else f"{set_text(asked)} will not do"
        verdict = found if z is None else f"adjust for {set_text(z)}"
        title = f"Effect of {listing(self.x)} on {listing(self.y)}: {verdict}"
        options = {"title": title, "dashed_label": "the effect", "closed": closed} | options
        return draw(self.graph, ax, answer=answer, dashed=dashed, **options)


def adjustment(
    model: Model,
    x: NodeSet,
    y: NodeSet,
    given: NodeSet | None = None,
    forbidden: NodeSet | None = (),
    latent: NodeSet | None = (),
) -> Adjustment:
    """What to adjust for to read the effect of x on y off observations.

    Args:
        model: any directed model, with two-headed edges if need be.
        x, y: disjoint sets of nodes.
        given: a set to be judged; to find sets, leave it out. The empty set asks whether the
            association is the effect as it stands.
        forbidden: nodes that may not be adjusted for.
        latent: nodes that cannot be observed, besides those the model marks.

    Returns:
        An :class:`Adjustment`, true if ``given`` is valid, or if any set is. It finds all minimal
        sets and explains itself.

    Raises:
        ValueError: an unknown node, empty or overlapping sets, a set to judge that holds a
            forbidden or latent node, x or y latent, an undirected model or a cycle.

    Smoking confounds what bronchitis does to breathing:

    >>> clinic = graphs.textbook.structure("asia")
    >>> print(graphs.adjustment(clinic, "bronc", "dysp").explain())
    Adjusting for {smoke} gives the effect of bronc on dysp: ...
      bronc → dysp: causal, left open.
      bronc ← smoke → lung → either → dysp: closed by smoke, a fork that is adjusted for.
    >>> [sorted(z) for z in graphs.adjustment(clinic, "bronc", "dysp").sets]
    [['smoke'], ['lung'], ['either']]

    With a common cause that no one sees, nothing helps:

    >>> hidden = ["smoke", "lung", "either"]
    >>> print(graphs.adjustment(clinic, "bronc", "dysp", latent=hidden).explain())
    No set that may be adjusted for gives the effect of bronc on dysp.
      bronc ← smoke → lung → either → dysp: not causal, and open given all that may be: ...
      - smoke is a fork (a common cause) that is not observed: open.
      - lung is a chain node that is not observed: open.
      - either is a chain node that is not observed: open.
    """
    asked = causal_question(model, x, y, given, forbidden, latent)
    return Adjustment(*asked, on_the_way(asked[3], *asked[:2]))


def on_the_way(graph: nx.DiGraph, x: frozenset[Node], y: frozenset[Node]) -> frozenset[Node]:
    """The nodes, x apart, on directed paths from x to y that meet x only at their start."""
    arrows = one_member(graph)
    next_to_x = [v for u in x for v in arrows[u] if v not in x]
    below = reach(children_of(arrows).__getitem__, next_to_x, x)
    above = reach(parents_of(arrows).__getitem__, y, x)
    return frozenset(below & above)


def _closing(trail: Trail, z: frozenset[Node]) -> str:
    """What closes a path: first what was adjusted for, then what closes it anyway."""
    by = [j for j in trail.junctions if not j.open and j.node in z]
    anyway = [j for j in trail.junctions if not j.open and j.node not in z]
    words = [f"{text_name(j.node)}, a {j.kind} that is adjusted for" for j in by]
    parts = [f"closed by {' and by '.join(words)}"] if words else []
    if anyway:
        names = [f"{text_name(j.node)}, a collider that is not" for j in anyway]
        parts.append(("anyway by " if words else "closed already by ") + " and by ".join(names))
    return ", ".join(parts)


def _sorted(nodes: frozenset[Node]) -> list[Node]:
    return sorted(nodes, key=str)
