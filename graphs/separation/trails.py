r"""Why an independence holds or fails, for a reader and for a program.

Of a path between two nodes each inner node is a chain, a fork or a collider (in an undirected graph
a link), open or not given what is observed. A path is active iff all of them are open, so one that
is closed blocks it. The list of all paths with their blockers proves an independence, where that
list is short.

Elsewhere a cut proves it: Z d-separates X from Y iff Z separates them in the moral graph of the
ancestors of X, Y and Z (Lauritzen et al. 1990). A :class:`Certificate` holds that graph, the nodes
on the side of X and the part of Z around them; one look at every edge verifies it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, combinations, islice, pairwise, product
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import networkx as nx

from graphs.language.notation import Node, text_name
from graphs.language.statements import listing, statement_text
from graphs.structure.chordal import moral_ancestral
from graphs.structure.mixed import families, spouses
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import determined
from graphs.structure.search import ancestors, reach

if TYPE_CHECKING:
    from graphs.separation.independence import Independence

Kind = Literal["chain", "fork", "collider", "link"]
T = TypeVar("T")
Below: TypeAlias = Callable[[Node], Node | None]

MOST_TRAILS, MOST_STEPS, MOST_NAMES = 8, 20_000, 12

_KINDS = {
    "chain": "a chain node",
    "fork": "a fork (a common cause)",
    "collider": "a collider (a common effect)",
    "link": "a node on the path",
}


@dataclass(frozen=True)
class Junction:
    """An inner node of a path, and whether it lets influence pass.

    Attributes:
        node: the node.
        kind: ``"chain"``, ``"fork"`` or ``"collider"`` in a DAG, ``"link"`` in an undirected graph.
        observed: whether the node itself is observed.
        descendant: of a collider that is not observed, a nearest descendant that is, or ``None``.
        function: whether it is a function of its parents, which is as good as observed once they
            are.
    """

    node: Node
    kind: Kind
    observed: bool
    descendant: Node | None = None
    function: bool = False

    @property
    def open(self) -> bool:
        """Whether influence passes."""
        if self.kind == "collider":
            return self.observed or self.descendant is not None
        return not self.observed

    @property
    def reason(self) -> str:
        """``a chain node that is observed``, for a sentence about the node."""
        below = "" if self.descendant is None else f"descendant {text_name(self.descendant)}"
        return _reason(self, below)


def _reason(junction: Junction, below: str = "descendant") -> str:
    if junction.observed and junction.function:
        state = "that is observed or a function of what is"
    elif junction.observed:
        state = "that is observed"
    elif junction.kind != "collider":
        state = "that is not observed"
    elif junction.descendant is not None:
        state = f"whose {below} is observed"
    else:
        state = "that is neither observed nor has an observed descendant"
    return f"{_KINDS[junction.kind]} {state}"


@dataclass(frozen=True)
class Trail:
    """A path between two nodes, with its inner nodes read; ``str()`` draws it with arrows.

    Attributes:
        nodes: the nodes from one end to the other.
        arrows: ``"→"``, ``"←"``, ``"↔"`` or ``"—"`` between each node and the next.
        junctions: the inner nodes.
    """

    nodes: tuple[Node, ...]
    arrows: tuple[str, ...]
    junctions: tuple[Junction, ...]

    @property
    def two_headed(self) -> tuple[tuple[Node, Node], ...]:
        """The pairs that an edge with two heads joins."""
        steps = zip(pairwise(self.nodes), self.arrows, strict=True)
        return tuple(pair for pair, arrow in steps if arrow == "↔")

    @property
    def active(self) -> bool:
        """Whether every inner node is open."""
        return not self.blockers

    @property
    def blockers(self) -> tuple[Node, ...]:
        """The inner nodes that are closed."""
        return tuple(junction.node for junction in self.junctions if not junction.open)

    def __str__(self) -> str:
        names = map(text_name, self.nodes)
        return " ".join(chain([next(names)], *zip(self.arrows, names, strict=True)))


def read_trail(graph: nx.Graph, nodes: Sequence[Node], given: frozenset[Node]) -> Trail:
    """The path through these nodes of the graph, each inner node read by the definition."""
    return next(_readings(graph, nodes, given, _below(graph, given)))


def _readings(
    graph: nx.Graph, nodes: Sequence[Node], given: frozenset[Node], below: Below
) -> Iterator[Trail]:
    """The paths through these nodes, over an arrow and over ↔ where both join two; active first."""
    steps = [_edges_between(graph, u, v) for u, v in pairwise(nodes)]
    bowed = any(len(arrows) > 1 for arrows in steps)
    first = _open_arrows(graph, nodes, steps, given, below) if bowed else None
    others = (arrows for arrows in product(*steps) if arrows != first)
    for arrows in chain((first,) if first else (), others):
        yield _read(graph, nodes, arrows, given, below)


def _edges_between(graph: nx.Graph, u: Node, v: Node) -> tuple[str, ...]:
    if not graph.is_directed():
        return ("—",)
    arrow = ("→",) * graph.has_edge(u, v) + ("←",) * graph.has_edge(v, u)
    return arrow + ("↔",) * (v in spouses(graph).get(u, ()))


def _open_arrows(
    graph: nx.Graph,
    nodes: Sequence[Node],
    steps: Sequence[Sequence[str]],
    given: frozenset[Node],
    below: Below,
) -> tuple[str, ...] | None:
    """The edges of an active path through these nodes, if there is one."""
    active: dict[str, tuple[str, ...]] = {arrow: (arrow,) for arrow in steps[0]}
    for node, following in zip(nodes[1:-1], steps[1:], strict=True):
        active = {
            after: (*path, after)
            for after in following
            for before, path in active.items()
            if _junction(graph, node, before, after, given, below).open
        }
    return next(iter(active.values()), None)


def _read(
    graph: nx.Graph,
    nodes: Sequence[Node],
    arrows: tuple[str, ...],
    given: frozenset[Node],
    below: Below,
) -> Trail:
    inner = zip(nodes[1:-1], pairwise(arrows), strict=True)
    junctions = tuple(_junction(graph, node, *ends, given, below) for node, ends in inner)
    return Trail(tuple(nodes), arrows, junctions)


def _junction(
    graph: nx.Graph, node: Node, before: str, after: str, given: frozenset[Node], below: Below
) -> Junction:
    heads = (before in "→↔") + (after in "←↔")
    kind: Kind = "link" if before == "—" else ("fork", "chain", "collider")[heads]
    function = bool(graph.nodes[node].get("deterministic"))
    descendant = below(node) if kind == "collider" else None
    return Junction(node, kind, node in given, descendant, function)


def _below(graph: nx.Graph, given: frozenset[Node]) -> Below:
    """A nearest observed descendant of any node, which does not count itself; asked once each."""

    @cache
    def nearest(node: Node) -> Node | None:
        return next((v for _, v in nx.bfs_edges(graph, node) if v in given), None)

    return nearest


# --- Every path ---------------------------------------------------------------------------------


def all_trails(
    graph: nx.Graph, x: frozenset[Node], y: frozenset[Node], given: frozenset[Node]
) -> tuple[Trail, ...] | None:
    """Every path from x to y with no other node of either on it, shortest first.

    ``None`` when there are more than eight, or when finding them takes too long.
    """
    found: list[Trail] = []
    below = _below(graph, given)
    for outcome in _paths(graph, x, y):
        if outcome is None:
            return None
        found += islice(_readings(graph, outcome, given, below), MOST_TRAILS + 1)
        if len(found) > MOST_TRAILS:
            return None
    return tuple(sorted(found, key=lambda trail: len(trail.nodes)))


def _paths(
    graph: nx.Graph, x: frozenset[Node], y: frozenset[Node]
) -> Iterator[tuple[Node, ...] | None]:
    """Simple paths of the skeleton by depth-first search; ``None`` when out of steps."""
    ends = x | y
    joined = _component(graph, x)
    if joined.isdisjoint(y):
        return
    near = cache(lambda node: tuple(_neighbours(graph, node)))
    steps = 0
    for start in sorted(x, key=str):
        path, stack = {start: None}, [iter(near(start))]
        while stack:
            node = next(stack[-1], None)
            steps += 1
            if steps > MOST_STEPS:
                yield None
                return
            if node is None:
                stack.pop()
                path.popitem()
            elif node in y:
                yield (*path, node)
            elif node not in path and node not in ends:
                path[node] = None
                stack.append(iter(near(node)))


def _neighbours(graph: nx.Graph, node: Node) -> Iterator[Node]:
    if beside := spouses(graph):
        return iter(dict.fromkeys(chain(nx.all_neighbors(graph, node), beside[node])))
    return nx.all_neighbors(graph, node) if graph.is_directed() else iter(graph[node])


def _component(
    graph: nx.Graph, start: Iterable[Node], cut: frozenset[Node] = frozenset()
) -> set[Node]:
    """Every node joined to the start by a path of the skeleton that avoids the cut."""
    return reach(partial(_neighbours, graph), start, cut)


# --- A cut --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Certificate:
    """A cut that separates x from y.

    Attributes:
        graph: of a DAG the moral graph of the ancestors of x, y and the observed nodes, of an
            undirected graph the graph itself.
        x, y: the two sets.
        side: the nodes joined to x once the observed nodes are taken away, x among them.
        cut: the observed nodes next to ``side``.
    """

    graph: nx.Graph
    x: frozenset[Node]
    y: frozenset[Node]
    side: frozenset[Node]
    cut: frozenset[Node]

    def verify(self, model: Model, given: Iterable[Node]) -> bool:
        """Whether the cut proves that the model separates x from y given ``given``.

        Looks only at edges: those that leave ``side`` must end in observed nodes, y must lie
        beyond, and the graph must join what the model joins or marries.
        """
        source = as_graph(model, any_member=True)
        observed = determined(source, frozenset(given))
        nodes, has_edge = set(self.graph), self.graph.has_edge
        faithful = {*self.x, *self.y, *observed} <= nodes
        if source.is_directed():
            closed = ancestors(source, nodes) == nodes
            faithful = faithful and closed
            joined = families(source, nodes) if closed else ()
            pairs = chain.from_iterable(combinations(family, 2) for family in joined)
        else:
            pairs = source.edges
        return (
            faithful
            and all(has_edge(*pair) for pair in pairs)
            and self.x <= self.side
            and self.side.isdisjoint(self.y | observed)
            and all(v in self.side or v in observed for u in self.side for v in self.graph[u])
        )


def certify(
    graph: nx.Graph, x: frozenset[Node], y: frozenset[Node], given: frozenset[Node]
) -> Certificate:
    """The certificate of an independence that holds."""
    moral = moral_ancestral(graph, x | y | given) if graph.is_directed() else graph
    side = frozenset(_component(moral, x, given))
    cut = frozenset(v for v in given if not side.isdisjoint(moral[v]))
    return Certificate(moral, x, y, side, cut)


# --- English ------------------------------------------------------------------------------------


def explain(answer: Independence) -> str:
    """The reason in a few lines."""
    if answer.trail is not None:
        lines = _active(answer, answer.trail)
    elif answer.trails is None:
        assert answer.certificate is not None
        lines = _cut(answer, answer.certificate)
    else:
        lines = _blocked(answer, answer.trails)
    return "\n".join(chain(lines, _class_note(answer)))


def _class_note(answer: Independence) -> Iterator[str]:
    if answer.graph.graph.get("partially_directed"):
        yield "The arrows are those of one DAG of the equivalence class; all give the same answer."


def _verdict(answer: Independence) -> str:
    sets = (answer.x, answer.y, answer.given)
    statement = statement_text(*sets, answer.negated, MOST_NAMES)
    return f"{statement} {'holds' if answer.holds else 'does not hold'}"


def _active(answer: Independence, trail: Trail) -> Iterator[str]:
    yield f"{_verdict(answer)}: a path is active."
    yield f"  {_drawn(trail)}"
    first, hidden, last = _ends(trail.junctions)
    yield from map(_opened, first)
    if hidden:
        yield f"  … {len(hidden):,} more nodes, {_summary(hidden)}: open."
    yield from map(_opened, last)
    if not trail.junctions:
        yield "  - An edge joins the two; no observation blocks it."
    yield from _common_causes((trail,))


def _common_causes(trails: Iterable[Trail]) -> Iterator[str]:
    """A line for every two-headed edge of the paths."""
    pairs = {frozenset(pair): pair for trail in trails for pair in trail.two_headed}
    for u, v in pairs.values():
        yield f"  - {text_name(u)} and {text_name(v)} share an unobserved common cause."


def _opened(junction: Junction) -> str:
    return f"  - {text_name(junction.node)} is {junction.reason}: open."


def _ends(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
    """The first, the hidden and the last of many items; all are the first of few."""
    if len(items) <= MOST_NAMES:
        return items, (), ()
    half = MOST_NAMES // 2
    return items[:half], items[half:-half], items[-half:]


def _drawn(trail: Trail) -> str:
    """The path with its arrows, of a long one both ends."""
    first, hidden, last = _ends(trail.nodes)
    if not hidden:
        return str(trail)
    start = Trail(tuple(first), trail.arrows[: len(first) - 1], ())
    end = Trail(tuple(last), trail.arrows[1 - len(last) :], ())
    before, after = trail.arrows[len(first) - 1], trail.arrows[-len(last)]
    return f"{start} {before} … {len(hidden):,} more nodes … {after} {end}"


def _summary(junctions: Sequence[Junction]) -> str:
    """What nodes have in common, ``each a chain node that is not observed``, or how many are so."""
    kinds = Counter(map(_reason, junctions))
    if len(kinds) == 1:
        return f"each {next(iter(kinds))}"
    return "; ".join(f"{count:,} times {state}" for state, count in kinds.most_common())


def _blocked(answer: Independence, trails: Sequence[Trail]) -> Iterator[str]:
    x, y, verdict = _brief(answer.x), _brief(answer.y), _verdict(answer)
    for ends, named in ((answer.x, x), (answer.y, y)):
        if ends <= answer.known:
            yield f"{verdict}: {named} is a function of what is observed."
            return
    if not trails:
        yield f"{verdict}: no path joins {x} and {y}."
        return
    every = "the only path" if len(trails) == 1 else f"each of the {len(trails)} paths"
    yield f"{verdict}: {every} between {x} and {y} is blocked."
    for trail in trails:
        first, hidden, last = _ends([j for j in trail.junctions if not j.open])
        reasons = [f"{text_name(j.node)}, {j.reason}" for j in first]
        reasons += [f"{len(hidden):,} more, {_summary(hidden)}"] if hidden else []
        reasons += [f"{text_name(j.node)}, {j.reason}" for j in last]
        yield f"  {_drawn(trail)}"
        yield f"  - blocked by {'; and by '.join(reasons)}."
    yield from _common_causes(trails)


def _brief(nodes: Iterable[Node]) -> str:
    return listing(nodes, MOST_NAMES)


def _cut(answer: Independence, proof: Certificate) -> Iterator[str]:
    x, y, verdict = _brief(answer.x), _brief(answer.y), _verdict(answer)
    where = "the graph"
    if answer.graph.is_directed():
        asked = _brief(answer.x | answer.y | answer.given)
        where = f"the moral graph of {asked} and their ancestors"
        if spouses(answer.graph):
            where += ", in which variables joined by ↔ and all their parents are adjacent,"
    size = f"{len(proof.graph)} nodes, {proof.graph.number_of_edges()} edges"
    yield f"{verdict}: the paths between {x} and {y} are too many to list, but a cut ends all."
    yield f"  Take {where} ({size})."
    beyond = proof.side - proof.x
    if beyond:
        yield f"  - Without passing an observed node, {x} reaches {_brief(beyond)}, but not {y}."
    inside = f"{x} or these" if beyond else x
    if proof.cut:
        yield f"  - Every edge that leaves {inside} ends in the observed {_brief(proof.cut)}."
    else:
        yield f"  - No edge leaves {inside}."
