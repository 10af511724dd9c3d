r"""In which order a guide draws the latents of a program, and what it has to look at.

Drawn one after the other, a latent has to know those observed sites and earlier latents on which it
depends given all others of them: its Markov boundary among them, which is unique, so that no parent
can be left out (Pearl 1988, section 3.2.1). In an order against the arrows this is the inverse of
Webb et al. (2018) that :func:`graphs.inverse` finds. Latents outside plates come first: given them
the members of a plate are mostly independent and share one network, while in the other order each
would depend on all the others. Plates with discrete sites come after those without, so that these
sites can be summed over. Members of a plate are alike, so that three of them tell for all; they are
drawn independently of each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from graphs.guides.inverse import inverse
from graphs.programs.reading import Edge, from_pyro
from graphs.separation.independence import independence_of

MEMBERS = 3


@dataclass(frozen=True)
class Input:
    """A site that another one's posterior depends on.

    Attributes:
        name: the site.
        whole: the plates of which all members matter; of the others, the one that is in place.
    """

    name: str
    whole: tuple[str, ...] = ()


def inputs_of(
    model: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    plates: Mapping[str, tuple[str, ...]],
    discrete: Collection[str],
    assume: Iterable[Edge],
) -> dict[str, tuple[Input, ...]]:
    """The inputs of every latent, in an order in which a guide can draw them.

    Args:
        model: the program, called with ``*args, **kwargs``.
        args, kwargs: its arguments.
        plates: the vectorised plates around every site.
        discrete: the discrete sites.
        assume: as in :func:`graphs.from_pyro`.

    Raises:
        ValueError: a model without latents or without observed sites.
    """
    known = tuple(assume)
    graph = from_pyro(model, *args, assume=known, **kwargs)
    members = from_pyro(model, *args, assume=known, unroll=MEMBERS, **kwargs)
    observed = [v for v, data in graph.nodes.items() if data["observed"]]
    latent = [v for v, data in graph.nodes.items() if _is_drawn(data)]
    if not observed:
        raise ValueError("expected a model with observed sites, got none")
    if not latent:
        raise ValueError("expected a model with latent sites, got none")
    order = [v for v in inverse(graph, observed) if v in latent]
    summed = {plates[v] for v in latent if v in discrete}
    order.sort(key=lambda v: (len(plates[v]), plates[v] in summed))
    drawn = [v for v, data in members.nodes.items() if data["observed"]]
    found = {}
    for name in order:
        own = [v for v, data in members.nodes.items() if data["site"] == name]
        boundary = _boundary(members, own[0], drawn)
        found[name] = tuple(dict.fromkeys(_inputs(members, boundary, plates[name], plates)))
        drawn += own
    return found


def _is_drawn(data: Mapping[str, Any]) -> bool:
    return not data["observed"] and not data.get("deterministic")


def _boundary(graph: nx.DiGraph, node: str, drawn: Sequence[str]) -> list[str]:
    """Those of the nodes drawn on which a node depends given all others."""
    rest = frozenset(drawn)
    return [
        u for u in drawn
        if not independence_of(graph, frozenset((node,)), frozenset((u,)), rest - {u})
    ]  # fmt: skip


def _inputs(
    graph: nx.DiGraph,
    boundary: Iterable[str],
    plates: Sequence[str],
    plates_of: Mapping[str, Sequence[str]],
) -> Iterator[Input]:
    """The boundary of the first member of some plates, as sites."""
    for u in boundary:
        site, index = graph.nodes[u]["site"], graph.nodes[u]["index"]
        around = tuple(plates_of[site])
        places = dict(zip(around, index, strict=True))
        if any(places[p] for p in around if p in plates):
            yield Input(site, around)
        else:
            yield Input(site, tuple(p for p in around if p not in plates))
