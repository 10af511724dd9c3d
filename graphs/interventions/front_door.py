r"""Effects through a front door: known although a common cause of x and y is not.

Z is a front-door set for the effect of X on Y if every directed path from X to Y passes Z, no
back-door path from X to Z is open, and X blocks every back-door path from Z to Y. Then

.. math::  P(y \mid \mathrm{do}(x)) = \sum_z P(z \mid x) \sum_{x'} P(y \mid x', z)\, P(x')

(Pearl 1995; 2009, theorem 3.3.4). The second condition is one on single nodes. If a node fails the
third beside others, it fails it beside fewer, whose outgoing edges are there again; so what is left
when failing nodes are dropped until none fails holds every front-door set, and one exists iff this
largest one meets the first condition, too (Wienöbst, van der Zander and Liśkiewicz 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import networkx as nx

from graphs.interventions.cutting import causal_question, without
from graphs.interventions.identification import Identification
from graphs.language.notation import Node, text_name
from graphs.language.statements import listing
from graphs.separation.independence import Independence, independence_of
from graphs.structure.mixed import one_member
from graphs.structure.models import Model
from graphs.structure.nodes import NodeSet
from graphs.structure.search import children_of, shortest_path

NOTHING: frozenset[Node] = frozenset()


@dataclass(frozen=True, repr=False)
class FrontDoor(Identification):
    """Whether an effect is known through a front door, with reasons; see :func:`front_door`.

    ``bool()`` of it is whether the set ``given`` is one, or if none was given, whether any is.

    Attributes:
        x, y: cause and effect, as frozensets.
        given: the set that was asked about, or ``None``.
        graph: the directed graph.
        excluded: nodes that may not be in the set, forbidden or latent.

    >>> chain = nx.DiGraph([("a", "b"), ("b", "c")])
    >>> graphs.front_door(chain, "a", "c", given="b")
    <FrontDoor of a → c by {b}: True>
    """

    @cached_property
    def largest(self) -> frozenset[Node]:
        """The set that holds every front-door set."""
        usable = set(self.graph) - self.x - self.y - self.excluded
        found = frozenset(v for v in usable if self._unconfounded(frozenset((v,))))
        while failing := {v for v in found if not self._shielded(found, frozenset((v,)))}:
            found -= failing
        return found

    def __bool__(self) -> bool:
        if self.given is None:
            return self._way_past(self.largest) is None
        return self._holds(self.given)

    @property
    def sets(self) -> Iterator[frozenset[Node]]:
        """Every front-door set of which no node can be spared, smallest first, found one by one.

        The search looks at subsets by their size and can take exponential time.
        """
        if self._way_past(self.largest) is not None:
            return
        nodes, found = sorted(self.largest, key=str), list[frozenset[Node]]()
        for size in range(len(nodes) + 1):
            for chosen in map(frozenset, combinations(nodes, size)):
                if not any(z <= chosen for z in found) and self._holds(chosen):
                    found.append(chosen)
                    yield chosen

    def _holds(self, z: frozenset[Node]) -> bool:
        return self._way_past(z) is None and self._unconfounded(z) and self._shielded(z, z)

    def _way_past(self, z: frozenset[Node]) -> tuple[Node, ...] | None:
        """A directed path from x to y that avoids z."""
        arrows = children_of(one_member(self.graph))
        return shortest_path(lambda v: set(arrows[v]) - z, self.x, self.y.__contains__)

    def _unconfounded(self, z: frozenset[Node]) -> bool:
        return not z or bool(self._before(z))

    def _shielded(self, cut: frozenset[Node], z: frozenset[Node]) -> bool:
        return not z or bool(self._behind(cut, z))

    def _before(self, z: frozenset[Node]) -> Independence:
        """Whether the back-door paths from x to z are blocked."""
        return independence_of(_without_out_of(self.graph, self.x), self.x, z, NOTHING)

    def _behind(self, cut: frozenset[Node], z: frozenset[Node]) -> Independence:
        """Whether x blocks the back-door paths from z to y, the edges out of ``cut`` taken away."""
        return independence_of(_without_out_of(self.graph, cut), z, self.y, self.x)

    def _lines(self) -> Iterator[str]:
        x, y = listing(self.x), listing(self.y)
        z = self.first
        if z is not None:
            if not z:
                yield f"No directed path leads from {x} to {y}: P({y} | do({x})) = P({y})."
                return
            door = listing(z)
            yield (
                f"{door} is a front door: P({y} | do({x})) = Σ P({door} | {x}) Σ P({y} | {x}′, "
                f"{door}) P({x}′)."
            )
            yield f"  - Every directed path from {x} to {y} passes {door}."
            yield f"  - From {x} to {door}: {_first_line(self._before(z))}"
            yield f"  - From {door} to {y}: {_first_line(self._behind(z, z))}"
            return
        asked = self.given
        where = (
            "There is no front door"
            if asked is None
            else f"{listing(asked) or 'Nothing'} is no front door"
        )
        yield f"{where} for the effect of {x} on {y}."
        z = self.largest if asked is None else asked
        if (path := self._way_past(z)) is not None:
            way = " → ".join(map(text_name, path))
            yield f"  - {way} leads past " + (
                f"{listing(z) or 'it'}." if asked is not None else "all that could be one."
            )
        if not self._unconfounded(z):
            yield f"  - {self._before(z).trail} is an open back-door path from {x}."
        if not self._shielded(z, z):
            yield f"  - {self._behind(z, z).trail} is a back-door path that {x} does not block."


def front_door(
    model: Model,
    x: NodeSet,
    y: NodeSet,
    given: NodeSet | None = None,
    forbidden: NodeSet | None = (),
    latent: NodeSet | None = (),
) -> FrontDoor:
    """The front doors by which the effect of x on y is known.

    Args:
        model, x, y, given, forbidden, latent: as in :func:`graphs.adjustment`.

    Raises:
        ValueError: as :func:`graphs.adjustment` does.

    Pearl's example: whether smoking causes cancer, with a gene that may drive both, is known from
    the tar in the lungs:

    >>> model = nx.DiGraph([("smoking", "tar"), ("tar", "cancer")])
    >>> model.add_edges_from([("gene", "smoking"), ("gene", "cancer")])
    >>> bool(graphs.adjustment(model, "smoking", "cancer", latent="gene"))
    False
    >>> print(graphs.front_door(model, "smoking", "cancer", latent="gene").explain())
    tar is a front door: ...
      - Every directed path from smoking to cancer passes tar.
      - From smoking to tar: the only path between smoking and tar is blocked.
      - From tar to cancer: the only path between tar and cancer is blocked.
    """
    return FrontDoor(*causal_question(model, x, y, given, forbidden, latent))


def _without_out_of(graph: nx.DiGraph, nodes: frozenset[Node]) -> nx.DiGraph:
    return without(graph, lambda u, v, two: not two and u in nodes)


def _first_line(answer: Independence) -> str:
    return answer.explain().splitlines()[0].partition(": ")[2]
