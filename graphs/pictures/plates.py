"""Room for plates: boxes around the nodes that are repeated together, and around no others.

A picture laid out without plates may leave other nodes between those of a plate. Where that is so,
plates that share nodes get a column of their own, and a node outside all plates keeps its place
unless it lies at their height; where that will not do, the nodes with the same plates get a column,
and columns that share a plate stand side by side. Where plates overlap so that no order of the
columns helps, the boxes that would hold a stranger are left out, and the caller learns which.
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
    names = dict.fromkeys(name for v in places for name in plates.get(v, ()))
    best: tuple[int, Places, list[Plate]] | None = None
    for columns in ([], _families(groups), [groups[key] for key in _ordered(list(groups))]):
        moved = _columns(places, sizes, plates, columns, free) if columns else dict(places)
        boxes = [_box(name, moved, sizes, plates) for name in names]
        sound = [box for box in boxes if not _strangers(box, moved, sizes)]
        if best is None or len(sound) > len(best[2]):
            best = len(sound), moved, sound
        if len(sound) == len(names):
            break
    assert best is not None
    _, moved, sound = best
    return moved, sound, [name for name in names if name not in {box.name for box in sound}]


def _families(groups: Mapping[frozenset[str], list[Node]]) -> list[list[Node]]:
    """The nodes of plates that share nodes, together."""
    families: list[tuple[frozenset[str], list[Node]]] = []
    for key, members in groups.items():
        touching = [f for f in families if not f[0].isdisjoint(key)]
        families = [f for f in families if f[0].isdisjoint(key)]
        families.append((key.union(*(f[0] for f in touching)), members))
        for _, others in touching:
            families[-1] = (families[-1][0], others + families[-1][1])
    return [members for _, members in families]


def _columns(
    places: Places,
    sizes: Sizes,
    plates: Mapping[Node, Sequence[str]],
    columns: Sequence[list[Node]],
    free: Sequence[Node],
) -> Places:
    """The columns side by side, each as it was, and beside them the free nodes at their height."""
    inside = [v for members in columns for v in members]
    depth = max(len(set(plates[v])) for v in inside)
    top = min(places[v][1] - sizes[v][1] / 2 for v in inside) - PAD * depth
    bottom = max(places[v][1] + sizes[v][1] / 2 for v in inside) + (PAD + LABEL) * depth
    beside = [
        v
        for v in free
        if top < places[v][1] + sizes[v][1] / 2 and places[v][1] - sizes[v][1] / 2 < bottom
    ]
    moved = dict(places)
    left = min(places[v][0] - sizes[v][0] / 2 for v in (*inside, *beside))
    for column in [*columns, *([beside] if beside else [])]:
        shift = left - min(places[v][0] - sizes[v][0] / 2 for v in column)
        for v in column:
            moved[v] = (places[v][0] + shift, places[v][1])
        left = max(moved[v][0] + sizes[v][0] / 2 for v in column) + GAP + 2 * PAD * depth
    above = [v for v in free if v not in beside]
    before, after = (_middle(where, inside) for where in (places, moved))
    for v in above:
        moved[v] = (places[v][0] + after - before, places[v][1])
    return moved


def _middle(places: Places, nodes: Sequence[Node]) -> float:
    across = [places[v][0] for v in nodes]
    return (min(across) + max(across)) / 2


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
