"""Room for plates: boxes around the nodes that are repeated together, and around no others.

A picture laid out without plates may leave other nodes between those of a plate. Here the nodes
with the same plates get a column of their own, columns that share a plate stand side by side, and
a node outside all plates keeps its place unless it lies at their height. Where plates overlap so
that no order of the columns will do, the boxes that would hold a stranger are left out, and the
caller learns which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple, TypeAlias

from graphs.language.notation import Node
from graphs.pictures.layout import Places, Point

Sizes: TypeAlias = Mapping[Node, Point]

PAD, LABEL, GAP = 10.0, 14.0, 24.0
MOST_ORDERS = 6


class Plate(NamedTuple):
    """A plate and its box: centre, width and height; y grows downwards."""

    name: str
    members: tuple[Node, ...]
    x: float
    y: float
    width: float
    height: float


def make_room(
    places: Places, sizes: Sizes, plates: Mapping[Node, Sequence[str]]
) -> tuple[Places, list[Plate], list[str]]:
    """Places that let every plate be a box, the boxes, and the plates that cannot be one.

    Args:
        places: centres of the nodes, y growing downwards.
        sizes: their widths and heights.
        plates: the plates of every node, outermost first; nodes without any may be missing.
    """
    groups: dict[frozenset[str], list[Node]] = {}
    for v in places:
        groups.setdefault(frozenset(plates.get(v, ())), []).append(v)
    free = groups.pop(frozenset(), [])
    if not groups:
        return dict(places), [], []
    inside = [v for members in groups.values() for v in members]
    depth = max(len(set(plates[v])) for v in inside)
    room = PAD * depth + LABEL * depth
    top = min(places[v][1] - sizes[v][1] / 2 for v in inside) - room
    bottom = max(places[v][1] + sizes[v][1] / 2 for v in inside) + room
    beside = [v for v in free if top < places[v][1] + sizes[v][1] / 2 and places[v][1] < bottom]
    columns = [groups[key] for key in _ordered(list(groups))] + ([beside] if beside else [])
    moved = dict(places)
    left = min(x - sizes[v][0] / 2 for v, (x, _) in places.items() if v in {*inside, *beside})
    for column in columns:
        start = min(places[v][0] - sizes[v][0] / 2 for v in column)
        shift = left - start
        for v in column:
            moved[v] = (places[v][0] + shift, places[v][1])
        left = max(moved[v][0] + sizes[v][0] / 2 for v in column) + GAP + 2 * PAD * depth
    _centre(moved, places, [v for v in free if v not in beside], [*inside, *beside])
    names = dict.fromkeys(name for v in places for name in plates.get(v, ()))
    boxes = [_box(name, moved, sizes, plates) for name in names]
    sound = [box for box in boxes if not _strangers(box, moved, sizes)]
    return moved, sound, [box.name for box in boxes if box not in sound]


def _ordered(keys: Sequence[frozenset[str]]) -> Sequence[frozenset[str]]:
    """The columns so that those of each plate are consecutive, as far as a search can see."""
    if len(keys) > MOST_ORDERS:
        return sorted(keys, key=sorted)
    return min(permutations(keys), key=_breaks)


def _breaks(keys: Sequence[frozenset[str]]) -> int:
    """How many columns stand between two of the same plate without belonging to it."""
    found = 0
    for name in frozenset[str]().union(*keys):
        own = [i for i, key in enumerate(keys) if name in key]
        found += own[-1] - own[0] + 1 - len(own)
    return found


def _centre(moved: Places, places: Places, free: Sequence[Node], others: Sequence[Node]) -> None:
    """Shift the free nodes to the middle of the columns, as they were of the nodes before."""
    if free:
        before, after = (
            (min(xs) + max(xs)) / 2 for xs in ([p[v][0] for v in others] for p in (places, moved))
        )
        for v in free:
            moved[v] = (places[v][0] + after - before, places[v][1])


def _box(name: str, places: Places, sizes: Sizes, plates: Mapping[Node, Sequence[str]]) -> Plate:
    """The box around the members, wider by a margin for every plate inside it."""
    members = tuple(v for v in places if name in plates.get(v, ()))
    nested = 1 + max((len({*plates[v][plates[v].index(name) + 1 :]}) for v in members), default=0)
    pad = PAD * nested
    left = min(places[v][0] - sizes[v][0] / 2 for v in members) - pad
    right = max(places[v][0] + sizes[v][0] / 2 for v in members) + pad
    top = min(places[v][1] - sizes[v][1] / 2 for v in members) - pad
    bottom = max(places[v][1] + sizes[v][1] / 2 for v in members) + pad + LABEL * nested
    return Plate(name, members, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def _strangers(box: Plate, places: Places, sizes: Sizes) -> list[Node]:
    """The nodes that the box would hold without reason."""
    return [
        v
        for v, (x, y) in places.items()
        if v not in box.members
        and abs(x - box.x) < (box.width + sizes[v][0]) / 2
        and abs(y - box.y) < (box.height + sizes[v][1]) / 2
    ]
