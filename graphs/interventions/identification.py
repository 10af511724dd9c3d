"""What adjustment sets and front doors have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx

from graphs.language.answers import Explained
from graphs.language.notation import Node
from graphs.language.statements import listing


@dataclass(frozen=True, repr=False)
class Identification(Explained):
    """Whether a set of nodes gives the effect of x on y, or any set does."""

    x: frozenset[Node]
    y: frozenset[Node]
    given: frozenset[Node] | None
    graph: nx.DiGraph = field(compare=False)
    excluded: frozenset[Node] = field(compare=False)

    def __bool__(self) -> bool:
        raise NotImplementedError

    @property
    def sets(self) -> Iterator[frozenset[Node]]:
        """Every such set of which no node can be spared."""
        raise NotImplementedError

    @cached_property
    def first(self) -> frozenset[Node] | None:
        """The set that was given if it is one, or a minimal one, or ``None``."""
        if self.given is not None:
            return self.given if self else None
        return next(self.sets, None)

    def __repr__(self) -> str:
        asked = "" if self.given is None else f" by {set_text(self.given)}"
        kind = type(self).__name__
        return f"<{kind} of {listing(self.x)} → {listing(self.y)}{asked}: {bool(self)}>"


def set_text(nodes: frozenset[Node]) -> str:
    """``{A, B}``, or ``nothing``."""
    return f"{{{listing(nodes)}}}" if nodes else "nothing"
