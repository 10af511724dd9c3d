r"""Instruments: what moves x and reaches y through x alone.

Z is an instrument for the effect of x on y given W if, in the graph without the edge x → y, W
separates Z from y and not from x, and W holds no descendant of y (Pearl 2009, definition 7.4.1;
Brito and Pearl 2002). In a linear model with the coefficient :math:`\beta` at that edge

.. math::  \beta = \frac{\mathrm{Cov}(Z, y \mid W)}{\mathrm{Cov}(Z, x \mid W)}.

To find W for a given Z is hard in general. Where an instrument exists, one exists whose W are
ancestors of y or Z, and of these the separator nearest to y leaves Z and x connected if any does
(van der Zander, Textor and Liśkiewicz 2015).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import networkx as nx

from graphs.interventions.cutting import causal_question, without
from graphs.language.answers import Explained
from graphs.language.notation import Node, text_name
from graphs.language.statements import listing
from graphs.separation.independence import Independence, independence_of
from graphs.separation.markov import frontier
from graphs.structure.chordal import moral_ancestral
from graphs.structure.mixed import one_member
from graphs.structure.models import Model
from graphs.structure.search import children_of, reach


@dataclass(frozen=True, repr=False)
class Instrument(Explained):
    """An instrument for the effect of x on y, as :func:`instruments` finds it.

    Attributes:
        node: the instrument Z.
        given: the set W to condition on.
        x, y: cause and effect.
        graph: the directed graph without the edge x → y.

    >>> graphs.instruments(graphs.read_graph("z -> x -> y, x <-> y, z -> w"), "x", "y")
    [<Instrument z>, <Instrument w>]
    """

    node: Node
    given: frozenset[Node]
    x: Node
    y: Node
    graph: nx.DiGraph = field(compare=False)

    def __repr__(self) -> str:
        given = f" given {listing(self.given)}" if self.given else ""
        return f"<Instrument {text_name(self.node)}{given}>"

    @property
    def relevance(self) -> Independence:
        """That Z and x are dependent given W: false, with the path that joins them."""
        return self._answer(self.x)

    @property
    def exclusion(self) -> Independence:
        """That Z reaches y by no way but x → y: true, with what blocks the others."""
        return self._answer(self.y)

    def _answer(self, other: Node) -> Independence:
        ends = frozenset((self.node,)), frozenset((other,))
        return independence_of(self.graph, *ends, self.given)

    def _lines(self) -> Iterator[str]:
        z, x, y = map(text_name, (self.node, self.x, self.y))
        given = f" given {listing(self.given)}" if self.given else ""
        left = self.exclusion.explain().splitlines()
        yield f"{z} is an instrument for the effect of {x} on {y}{given}."
        yield f"  - It moves {x}: {self.relevance.trail} is active."
        yield f"  - Without {x} → {y}: {left[0]}"
        yield from left[1:]


def instruments(
    model: Model,
    x: Node,
    y: Node,
    forbidden: object = (),
    latent: object = (),
) -> list[Instrument]:
    """Instruments for the effect of x on y along the edge between them.

    Args:
        model: any directed model.
        x, y: two nodes; x must be a parent of y for there to be an effect to be measured.
        forbidden: nodes that may be neither instruments nor conditioned on.
        latent: nodes that cannot be observed, besides those the model marks.

    Returns:
        An instrument for each node that is one with conditions among the ancestors of y or itself,
        in the order of the nodes. If this list is empty, no node is an instrument given any set.

    Raises:
        ValueError: as :func:`graphs.adjustment` does; an x that is no parent of y.

    >>> prices = graphs.read_graph("weather -> price -> demand, price <- mood -> demand")
    >>> (found,) = graphs.instruments(prices, "price", "demand", latent="mood")
    >>> print(found.explain())
    weather is an instrument for the effect of price on demand.
      - It moves price: weather → price is active.
      - Without price → demand: weather ⟂ demand holds: the only path ... is blocked.
      weather → price ← mood → demand
      - blocked by price, a collider (a common effect) that is neither observed nor ...
    """
    starts, ends, _, graph, excluded = causal_question(model, x, y, None, forbidden, latent)
    if len(starts) != 1 or len(ends) != 1:
        raise ValueError("expected one node for x and one for y, got more")
    (x,), (y,) = starts, ends
    arrows = one_member(graph)
    if y not in arrows[x]:
        raise ValueError(
            f"expected an effect along an edge, got {x!r}, which is no parent of {y!r}"
        )
    rest = without(graph, lambda u, v, two: not two and (u, v) == (x, y))
    return list(_found(rest, x, y, excluded))


def _found(graph: nx.DiGraph, x: Node, y: Node, excluded: frozenset[Node]) -> Iterator[Instrument]:
    arrows = one_member(graph)
    below_y = reach(children_of(arrows).__getitem__, [y])
    for z in arrows:
        if z in excluded or z in below_y or z == x:
            continue
        moral = moral_ancestral(arrows, [z, y])
        usable = frozenset(moral) - excluded - below_y - {x, z}
        reached, w = frontier(moral, frozenset((y,)), usable)
        if z in reached:
            continue
        found = Instrument(z, w, x, y, graph)
        if not found.relevance:
            yield found
