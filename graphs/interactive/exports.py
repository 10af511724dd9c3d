"""The model on the page as text for other programs; pictures are drawn where the page is."""

from __future__ import annotations

from typing import NamedTuple

from graphs.files import bif, structures
from graphs.interactive.subject import Subject
from graphs.language.notation import Node
from graphs.pictures.layout import Point
from graphs.structure.edges import edges_text

_WRITERS = {
    "LaTeX": (structures.latex, "model.tex"),
    "TikZ": (structures.tikz, "model.tikz"),
    "DOT": (structures.dot, "model.dot"),
    "dagitty": (structures.dagitty, "model.dagitty"),
}
EXPORTS = (*_WRITERS, "edges", "BIF")


class Export(NamedTuple):
    """A text, and what a file of it may be called."""

    text: str
    name: str


def export(subject: Subject, name: str, places: dict[Node, Point]) -> Export:
    """The model in one of the languages of :data:`EXPORTS`, without the arrows that were cut.

    Raises:
        ValueError: another language, or a model that it cannot hold.
    """
    if name in _WRITERS:
        write, file = _WRITERS[name]
        return Export(write(subject.model, places), file)
    if name == "edges":
        return Export(edges_text(subject.graph) + "\n", "model.txt")
    if name != "BIF":
        raise ValueError(f"expected one of {', '.join(EXPORTS)}, got {name!r}")
    if subject.tables is None:
        raise ValueError(f"expected a model with tables for BIF, got none: {subject.without}")
    if not subject.tables.directed:
        raise ValueError("expected a Bayesian network for BIF, got an undirected model")
    return Export("".join(bif.write(subject.cut_tables)), "model.bif")
