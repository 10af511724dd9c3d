r"""What is independent of what: d-separation and separation, with reasons.

In a DAG a path between X and Y, of any arrow directions, is *active* given Z when every inner node
lets influence pass:

- a chain :math:`a \to b \to c` or a fork :math:`a \leftarrow b \to c` when :math:`b \notin Z`,
- a collider :math:`a \to b \leftarrow c` when b or a descendant of b is in Z.

Without an active path :math:`X \perp Y \mid Z` in every distribution that factorizes over the DAG;
with one, it fails in almost all of them (Pearl 1988; Koller and Friedman 2009, theorems 3.3 and
3.5). In an undirected graph a path is active when it avoids Z (their definition 4.8). An edge with
two heads, :math:`a \leftrightarrow b`, is a latent common cause of a and b; with a collider being a
node at which two heads meet, the definition is that of m-separation (Richardson 2003).

A node with the attribute ``deterministic``, as :func:`graphs.from_pyro` marks it, is a function of
its parents. When all of them are known it is, and blocks as if it were observed (D-separation;
Geiger, Verma and Pearl 1990); as x or y it is then a constant, independent of everything.

A breadth-first search over pairs of a node and the direction it was entered from, in which a
collider is open iff it is an ancestor of Z, finds a shortest active *walk* (Shachter 1998). Cutting
a loop out of an active walk leaves it active: where the cut makes a closed collider of a node, the
loop left that node along an arrow and came back against one, so it held an open collider below the
node, which opens the node too. Hence a shortest active walk visits no node twice and is a shortest
active path. Only ancestors of X, Y and Z can lie on one, so the search looks at no others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import networkx as nx

from graphs.language.answers import Explained
from graphs.language.notation import Node
from graphs.language.statements import read_statement, statement_latex, statement_text
from graphs.structure.mixed import has_marks, one_member, spouses
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import (
    NodeSet,
    determined,
    find_nodes,
    latent_nodes,
    node_set,
    observable,
    require_disjoint,
    require_some,
)
from graphs.structure.search import (
    ancestors,
    children_of,
    neighbours_of,
    parents_of,
    require_acyclic,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from graphs.separation.trails import Certificate, Trail

# Up to this size a graph is searched for cycles as a whole, which costs less than the query; above
# it only the ancestors of the query are, since nothing else bears on the answer.
CHECKED_WHOLE = 1_000


@dataclass(frozen=True, repr=False)
class Independence(Explained):
    """The statement x ⟂ y | given about a model, and whether its graph asserts it.

    ``bool()`` of it is ``holds``, ``str()`` is the statement as :func:`graphs.query` reads it.
    Reasons are worked out from the graph when they are asked for, so ask before changing it.

    Attributes:
        x, y, given: the three disjoint sets, as frozensets.
        holds: whether the statement is true: whether the graph asserts the independence, or, of a
            statement that denies it, does not.
        path: a shortest active path from x to y as a tuple of nodes; ``None`` when independent. A
            collider that an observed descendant opens stands for itself, without a detour to it.
        negated: whether the statement denies the independence, as ``not A ⟂ B`` does.
        latent: nodes that were said to be latent, besides those the graph marks.

    >>> answer = graphs.query(graphs.textbook.diagnosis(), "M _||_ F | D")
    >>> answer
    <Independence M ⟂ F | D: False>
    >>> answer.path
    ('M', 'I', 'D', 'T', 'F')
    >>> print(answer.explain())
    M ⟂ F | D does not hold: a path is active.
      M → I → D ← T ← F
      - I is a chain node that is not observed: open.
      - D is a collider (a common effect) that is observed: open.
      - T is a chain node that is not observed: open.
    """

    x: frozenset[Node]
    y: frozenset[Node]
    given: frozenset[Node]
    holds: bool
    path: tuple[Node, ...] | None = field(compare=False)
    graph: nx.DiGraph | nx.Graph = field(compare=False)
    negated: bool = False
    latent: frozenset[Node] = field(default=frozenset(), compare=False)

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        return statement_text(self.x, self.y, self.given, self.negated)

    @property
    def separated(self) -> bool:
        """Whether the graph asserts the independence, be it affirmed or denied."""
        return self.holds != self.negated

    def __repr__(self) -> str:
        return f"<Independence {self}: {self.holds}>"

    def latex(self) -> str:
        r"""The answer as LaTeX, without dollar signs, the sign struck out of a dependence."""
        return statement_latex(self.x, self.y, self.given, self.separated)

    def _repr_html_(self) -> str:
        from graphs.pictures.shown import answer_html

        return answer_html(self, self.explain())

    @cached_property
    def known(self) -> frozenset[Node]:
        """What is observed, and the functions of it."""
        return determined(self.graph, self.given)

    @cached_property
    def trail(self) -> Trail | None:
        """The active path with the reason each inner node is open; ``None`` when independent."""
        from graphs.separation.trails import read_trail

        return read_trail(self.graph, self.path, self.known) if self.path else None

    @cached_property
    def trails(self) -> tuple[Trail, ...] | None:
        """Every path between x and y, shortest first; ``None`` when that is too long a list."""
        from graphs.separation.trails import all_trails

        known = self.known
        return all_trails(one_member(self.graph), self.x - known, self.y - known, known)

    @cached_property
    def certificate(self) -> Certificate | None:
        """A cut that proves the independence, for graphs of any size; ``None`` when dependent."""
        from graphs.separation.trails import certify

        known = self.known
        ends = self.x - known, self.y - known
        return certify(self.graph, *ends, known) if self.separated else None

    @cached_property
    def blockers(self) -> frozenset[Node]:
        """The nodes that block a path between x and y; the cut where there are many paths."""
        if not self.separated:
            return frozenset()
        if self.trails is None:
            return self.certificate.cut if self.certificate else frozenset()
        return frozenset(v for trail in self.trails for v in trail.blockers)

    def explain(self) -> str:
        """Why, in English: the active path, or what blocks each path between x and y.

        Of long paths and lists the first and last are shown; ``path`` and ``trail`` have all.
        """
        from graphs.separation.trails import explain

        return explain(self)

    def draw(self, ax: Axes | None = None, **options: Any) -> Axes:
        """The graph with evidence, active path or blockers coloured; see :func:`graphs.draw`."""
        from graphs.pictures.drawing import draw

        return draw(self.graph, ax, answer=self, **options)


def independent(
    model: Model,
    x: NodeSet,
    y: NodeSet,
    given: NodeSet | None = None,
    *,
    latent: NodeSet | None = None,
) -> Independence:
    """Whether the model asserts that x and y are independent given ``given``.

    Args:
        model: a networkx graph, a pgmpy model or a :class:`graphs.Factorization`. In a ``DiGraph``
            an edge with the attribute ``directed=False`` has no head, one with ``bidirected=True``
            two.
        x, y, given: disjoint node sets, each one name or an iterable of names.
        latent: nodes that can never be observed, besides those the model marks: a true node
            attribute ``latent``, or pgmpy's ``latents``.

    Returns:
        An :class:`Independence`, which is true or false and explains itself.

    Raises:
        ValueError: an unknown node, empty x or y, sets that overlap, a latent node in ``given``, a
            directed cycle (in a graph of more than 1,000 nodes only among the ancestors of the
            query).

    >>> alarm = graphs.parse("P(burglary) P(earthquake) P(alarm | burglary, earthquake)")
    >>> bool(graphs.independent(alarm, "burglary", "earthquake"))
    True
    >>> print(graphs.independent(alarm, "burglary", "earthquake", given="alarm").explain())
    burglary ⟂ earthquake | alarm does not hold: a path is active.
      burglary → alarm ← earthquake
      - alarm is a collider (a common effect) that is observed: open.
    """
    graph = as_graph(model, acyclic=False)
    x, y, given = (
        node_set(graph, part, role) for part, role in ((x, "x"), (y, "y"), (given, "given"))
    )
    return _observed_answer(graph, x, y, given, latent)


def query(model: Model, text: str, *more: object, latent: NodeSet | None = None) -> Independence:
    r"""The answer to an independence written as text.

    ``M _||_ F | D``, ``M ⟂ F | D``, ``M ⊥ F``, ``M \Perp F``, ``M \perp F \mid D``,
    ``(A, B ⟂ C | D)``, ``A ⟂ B given {C, D}`` and the like. Names with spaces or signs in them are
    quoted: ``"wet grass" ⟂ x``. A name that is no node stands for the node that is written like it,
    so ``0 ⟂ 1`` is about the integers 0 and 1 in a graph of integers.

    The answer is about the statement as it stands: ``not A ⟂ B``, ``A !⟂ B``, ``A \not\perp B`` or
    ``A depends on B`` holds where the graph does not assert the independence, as for
    :func:`graphs.check`. :mod:`graphs.language.signs` has all signs and ``graphs --notations``
    prints them.

    Raises:
        ValueError: text that cannot be read (a :class:`graphs.ParseError` points at the character),
            and all that :func:`independent` raises.

    >>> chain = graphs.parse("P(A) P(B|A) P(C|B)")
    >>> graphs.query(chain, "A _||_ C | B")
    <Independence A ⟂ C | B: True>
    >>> bool(graphs.query(chain, "not A _||_ C"))
    True
    """
    if more:
        raise ValueError(
            f"expected one text such as 'M _||_ F | D', got {1 + len(more)} arguments; "
            "graphs.independent(model, x, y, given) takes sets of nodes"
        )
    graph = as_graph(model, acyclic=False)
    *named, negated = read_statement(text)
    x, y, given = (
        find_nodes(graph, *part) for part in zip(named, ("x", "y", "given"), strict=True)
    )
    answer = _observed_answer(graph, x, y, given, latent)
    return replace(answer, negated=True, holds=not answer.holds) if negated else answer


def reachable(
    model: Model, x: NodeSet, given: NodeSet | None = None, *, latent: NodeSet | None = None
) -> frozenset[Node]:
    """Every node that is not independent of x given ``given``, without x and ``given`` themselves.

    Raises:
        ValueError: as :func:`independent` does; directed cycles anywhere.
    """
    graph = as_graph(model, any_member=True)
    start, observed = node_set(graph, x, "x"), node_set(graph, given, "given")
    require_some(start, "x")
    require_disjoint(start, "x", observed, "given")
    known = determined(graph, observable(graph, observed, latent))
    return _search(graph, start - known, (), known)[1] - start


def independencies(
    model: Model, max_given: int = 2, *, latent: NodeSet | None = None
) -> Iterator[Independence]:
    """Every independence the model asserts between two nodes given at most ``max_given`` others.

    Sets that observe less come first. There are exponentially many in ``max_given``, hence an
    iterator. Pairs and conditioning sets follow the order of the model's nodes.

    Raises:
        ValueError: a negative ``max_given``, an unknown latent node, a directed cycle.

    >>> chain = graphs.parse("P(A) P(B|A) P(C|B) P(D|C)")
    >>> for statement in graphs.independencies(chain, max_given=1):
    ...     print(statement)
    A ⟂ C | B
    A ⟂ D | B
    A ⟂ D | C
    B ⟂ D | C
    """
    if max_given < 0:
        raise ValueError(f"expected max_given of zero or more, got {max_given}")
    graph = as_graph(model, any_member=True)
    return _independencies(graph, max_given, latent_nodes(graph, latent))


def _independencies(
    graph: nx.Graph, max_given: int, latent: frozenset[Node]
) -> Iterator[Independence]:
    nodes = list(graph)
    for size in range(min(max_given, len(nodes) - 2) + 1):
        for observed in combinations([v for v in nodes if v not in latent], size):
            given = frozenset(observed)
            known = determined(graph, given)
            free = [v for v in nodes if v not in given]
            for i, v in enumerate(free):
                x = frozenset((v,))
                dependent = _search(graph, x - known, (), known)[1]
                for w in free[i + 1 :]:
                    if w not in dependent:
                        yield Independence(
                            x, frozenset((w,)), given, True, None, graph, latent=latent
                        )


# --- Search -------------------------------------------------------------------------------------


def _observed_answer(
    graph: nx.Graph,
    x: frozenset[Node],
    y: frozenset[Node],
    given: frozenset[Node],
    latent: NodeSet | None,
) -> Independence:
    """The answer for nodes of which some are said to be latent, and none of these given."""
    answer = independence_of(graph, x, y, observable(graph, given, latent))
    return answer if latent is None else replace(answer, latent=node_set(graph, latent, "latent"))


def independence_of(
    graph: nx.Graph, x: frozenset[Node], y: frozenset[Node], given: frozenset[Node]
) -> Independence:
    """The answer for sets of nodes of the graph itself, once they are seen to be fit for one."""
    require_some(x, "x")
    require_some(y, "y")
    require_disjoint(x, "x", y, "y")
    require_disjoint(x, "x", given, "given")
    require_disjoint(y, "y", given, "given")
    within: Collection[Node] = graph
    known = determined(graph, given)
    if graph.is_directed():
        within = ancestors(graph, x | y | known)
        small = len(graph) <= CHECKED_WHOLE
        if has_marks(graph, None if small else within):
            return independence_of(one_member(graph), x, y, given)
        require_acyclic(graph, None if small else within)
    path, _ = _search(graph, x - known, y - known, known, within)
    return Independence(x, y, given, path is None, path, graph)


class _NoChildren:
    """The children in an undirected graph: there every neighbour is reached as a parent is."""

    def __getitem__(self, node: Node) -> tuple[Node, ...]:
        return ()


def _search(
    graph: nx.Graph,
    x: frozenset[Node],
    y: Collection[Node],
    given: frozenset[Node],
    within: Collection[Node] | None = None,
) -> tuple[tuple[Node, ...] | None, frozenset[Node]]:
    """A shortest active path from x to y, and the nodes reached before it was found.

    A state is a node with the table that records how it was entered: ``rising`` against an arrow
    (or as a start), ``falling`` along one. Each table maps to the state before.
    """
    directed = graph.is_directed()
    parents = parents_of(graph) if directed else neighbours_of(graph)
    children = children_of(graph) if directed else _NoChildren()
    beside = spouses(graph)
    opened = ancestors(graph, given) if directed and given else given
    within = graph if within is None else within
    rising: dict[Node, Any] = dict.fromkeys(x if len(x) < 2 else sorted(x, key=str))
    falling: dict[Node, Any] = {}
    layer = [(v, rising) for v in rising]
    while layer:
        deeper = []
        for state in layer:
            node, table = state
            if table is rising or node in opened:
                for v in parents[node]:
                    if v not in rising and v not in given:
                        rising[v] = state
                        if v in y:
                            return _trace((v, rising)), frozenset()
                        deeper.append((v, rising))
                for v in beside[node] if beside else ():
                    if v not in falling and v in within:
                        falling[v] = state
                        if v in y:
                            return _trace((v, falling)), frozenset()
                        deeper.append((v, falling))
            if node not in given:
                for v in children[node]:
                    if v not in falling and v in within:
                        falling[v] = state
                        if v in y:
                            return _trace((v, falling)), frozenset()
                        deeper.append((v, falling))
        layer = deeper
    return None, frozenset(rising.keys() | falling.keys()) - given - x


def _trace(state: Any) -> tuple[Node, ...]:
    nodes = []
    while state:
        node, table = state
        nodes.append(node)
        state = table[node]
    return tuple(reversed(nodes))
