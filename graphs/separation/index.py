r"""Many independence queries about one graph.

:class:`Separation` numbers the nodes and answers by Bayes-ball: the first questions of a process in
plain code (:mod:`graphs.separation.plain`), all others in compiled code on integer arrays
(:mod:`graphs.separation.kernels`), with the same answers. A query visits only ancestors of the
nodes it names, stops at the first active path, and gives a verdict without reasons;
:func:`graphs.independent` explains one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from graphs.language.notation import Node
from graphs.separation.plain import BUDGET, DEPENDENT, OVERLAP, QUERY, PlainBall
from graphs.structure.mixed import one_member, two_headed
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import (
    NodeSet,
    determined,
    latent_nodes,
    node_set,
    require_disjoint,
    require_some,
)
from graphs.structure.search import neighbours_of, parents_of

if TYPE_CHECKING:
    import networkx as nx
    import numpy as np
    import numpy.typing as npt

    from graphs.separation.batches import NodeSets, Numbers
    from graphs.separation.compiled import CompiledBall

_ROLES = ("x", "y", "given")


class Separation:
    """An index of a model's graph for many separation queries.

    Construction takes O(nodes + edges). Once a process has asked for about half a second of work,
    numba compiles, for some seconds on a machine's first use, and keeps the result on disk. An
    index has working memory of its own, so it serves one thread at a time.

    Args:
        model: a networkx graph, a pgmpy model or a :class:`graphs.Factorization`. Later changes to
            it are not seen.
        latent: nodes that can never be observed, besides those the model marks.

    Attributes:
        nodes: the nodes, in the order of the rows and columns of :meth:`dependence_matrix`.

    Raises:
        ValueError: not a model, an unknown latent node, a directed cycle.

    >>> index = graphs.Separation(graphs.parse("P(A) P(B|A) P(C|B)"))
    >>> index.independent("A", "C", ["B"])
    True
    >>> index.independent_many(["A", "A"], ["C", "C"], [[], ["B"]])
    array([False,  True])
    >>> index.dependence_matrix(["B"])
    array([[ True, False, False],
           [False, False, False],
           [False, False,  True]])
    """

    nodes: Sequence[Node]
    _functional: nx.DiGraph | None  # the graph, where there are functions in it

    def __init__(self, model: Model, *, latent: NodeSet | None = None):
        graph = one_member(as_graph(model, acyclic=False))
        nodes = tuple(graph)
        index = {v: i for i, v in enumerate(nodes)}
        near = parents_of(graph) if graph.is_directed() else neighbours_of(graph)
        tails = array("i", map(index.__getitem__, chain.from_iterable(near.values())))
        heads = array(
            "i", chain.from_iterable(map(repeat, range(len(nodes)), map(len, near.values())))
        )
        pairs = two_headed(graph)
        for cause, pair in enumerate(pairs, len(nodes)):  # a common cause for each, nowhere named
            tails.extend((cause, cause))
            heads.extend(index[v] for v in pair)
        hidden = latent_nodes(graph, latent)
        self._fill(nodes, index, tails, heads, graph.is_directed(), hidden, len(pairs))
        if any(attributes.get("deterministic") for _, attributes in graph.nodes(data=True)):
            self._functional = graph.copy()
            self._lists.clear()

    @classmethod
    def from_edges(
        cls, num_nodes: int, edge_array: npt.ArrayLike, *, directed: bool = True
    ) -> Separation:
        """The index of the graph on the nodes 0, ..., num_nodes - 1 with these edges.

        Args:
            num_nodes: how many nodes there are.
            edge_array: integers of shape (E, 2), a row (tail, head) for every edge.
            directed: whether the edges are arrows.

        Raises:
            ValueError: another shape or type, a number that is no node, a cycle or self-loop.
        """
        if num_nodes < 0:
            raise ValueError(f"expected a number of nodes of zero or more, got {num_nodes}")
        from graphs.separation.batches import edge_ends

        tails, heads = edge_ends(num_nodes, edge_array, directed)
        index = cls.__new__(cls)
        nodes = range(num_nodes)
        index._fill(nodes, {v: v for v in nodes}, tails, heads, directed, frozenset())
        return index

    def _fill(
        self,
        nodes: Sequence[Node],
        index: dict[Node, int],
        tails: Any,
        heads: Any,
        directed: bool,
        latent: frozenset[Node],
        causes: int = 0,
    ) -> None:
        self.nodes, self.directed, self._index = nodes, directed, index
        self.num_edges = len(tails) - causes if directed else len(tails) // 2
        self._size = len(nodes) + causes
        self._observable = {v: i for v, i in index.items() if v not in latent} if latent else index
        self._numbered = isinstance(nodes, range)
        # where a tuple may be a node it has to be looked up before it is taken for a list
        composite = not self._numbered and not {tuple, frozenset}.isdisjoint(map(type, nodes))
        self._lists: set[type] = {list, set} if composite else {list, set, tuple, frozenset}
        self._functional = None
        self._memory: npt.NDArray[np.int32] | None = None
        self._ball: PlainBall | CompiledBall
        self._answer_one: Callable[..., int]
        if BUDGET.allows(self._size + len(tails)):
            tails, heads = tails.tolist(), heads.tolist()
            self._ball = PlainBall(self._size, tails, heads, directed)
        else:
            self._compile(tails, heads)
        if directed and (cycle := self._ball.cycle()):
            loop = " -> ".join(str(nodes[i]) for i in (*cycle[::-1], cycle[-1]))
            raise ValueError(f"expected an acyclic directed graph, got the cycle {loop}")

    def _compile(self, tails: Any, heads: Any) -> None:
        """Answer in compiled code from now on."""
        from graphs.separation.compiled import ANSWER_ONE, CompiledBall

        self._ball = ball = CompiledBall(self._size, tails, heads, self.directed)
        self._memory, self._scratch, self._answer_one = ball.memory, ball.scratch, ANSWER_ONE

    def _ready(self, work: int) -> PlainBall | CompiledBall:
        """What answers questions that take so much work."""
        ball = self._ball
        if isinstance(ball, PlainBall) and not BUDGET.allows(work + ball.spent()):
            self._compile(ball.tails, ball.heads)
        return self._ball

    def __repr__(self) -> str:
        return f"<Separation of {len(self.nodes)} nodes, {self.num_edges} edges>"

    def independent(self, x: Any, y: Any, given: Any = None) -> bool:
        """Whether x and y are independent given ``given``, as :func:`graphs.independent` decides.

        Raises:
            ValueError: an unknown node, empty x or y, sets that overlap, a latent node in
                ``given``.
        """
        if given is None:
            given = []
        memory = self._memory
        if memory is None:
            return self._first(x, y, given)
        kind = type(given)
        if kind in self._lists:
            scratch, index, observable = self._scratch, self._index, self._observable
            try:
                scratch[0] = index[x]
                scratch[1] = index[y]
                end = 2
                for v in given:
                    scratch[end] = observable[v]
                    end += 1
            except (KeyError, TypeError, IndexError):  # sets, or something to refuse
                return self._decide(x, y, given)
            outcome = self._answer_one(memory, 1, 2, end)
            if outcome != OVERLAP:
                return outcome != DEPENDENT
        return self._decide(x, y, given)

    def _first(self, x: Any, y: Any, given: Any) -> bool:
        """:meth:`independent` in plain code."""
        if type(given) in self._lists:
            try:
                numbers = [self._index[x]], [self._index[y]], [self._observable[v] for v in given]
            except (KeyError, TypeError):  # sets, or something to refuse
                return self._decide(x, y, given)
            outcome = self._ready(QUERY).outcome(*numbers)
            if outcome != OVERLAP:
                return outcome != DEPENDENT
        return self._decide(x, y, given)

    def independent_many(
        self, xs: NodeSets, ys: NodeSets, givens: NodeSets | None = None
    ) -> npt.NDArray[np.bool_]:
        """The answers to many queries, ``xs[i] ⟂ ys[i] | givens[i]``.

        Args:
            xs, ys, givens: sequences of one length, of names or of node sets; nothing is observed
                where ``givens`` is omitted. An index from :meth:`from_edges` also takes integer
                arrays of shape (queries,) or (queries, nodes per set), without a copy into lists.

        Returns:
            Booleans of shape (queries,), true where independent.

        Raises:
            ValueError: sequences of several lengths; and what :meth:`independent` raises, with the
                number of the query.
        """
        import numpy as np

        from graphs.separation.batches import flattened

        if givens is None:
            givens = [[]] * len(xs)
        if not len(xs) == len(ys) == len(givens):
            raise ValueError(
                f"expected as many xs as ys and givens, got {len(xs)}, {len(ys)} and {len(givens)}"
            )
        if self._functional is not None:
            return self._one_by_one(xs, ys, givens)
        parts = [self._numbers(*part) for part in zip((xs, ys, givens), _ROLES, strict=True)]
        flat, sizes = flattened(parts)
        holds = np.empty(len(sizes), np.bool_)
        empty = (sizes[:, :2] == 0).any(axis=1)
        refused = int(empty.argmax()) if empty.any() else self._answer(flat, sizes.cumsum(), holds)
        if refused >= 0:
            try:
                self._decide(xs[refused], ys[refused], givens[refused])
            except ValueError as error:
                raise ValueError(f"{error} (query {refused})") from None
        return holds

    def _one_by_one(self, xs: NodeSets, ys: NodeSets, givens: NodeSets) -> npt.NDArray[np.bool_]:
        """:meth:`independent_many` where sets must be looked at before they are numbered."""
        import numpy as np

        holds = np.empty(len(xs), np.bool_)
        for i, sets in enumerate(zip(xs, ys, givens, strict=True)):
            try:
                holds[i] = self._decide(*sets)
            except ValueError as error:
                raise ValueError(f"{error} (query {i})") from None
        return holds

    def _answer(
        self,
        flat: npt.NDArray[np.int32],
        ends: npt.NDArray[np.int64],
        holds: npt.NDArray[np.bool_],
    ) -> int:
        """Fill ``holds``, some queries at a time; the first whose sets overlap, or -1."""
        first, work = 0, QUERY * len(holds)
        while first < len(holds):
            ball = self._ready(work)
            last = min(first + ball.at_once, len(holds))
            start = int(ends[3 * first - 1]) if first else 0
            some = ends[3 * first : 3 * last] - start
            refused = ball.answer_many(flat[start:], some, holds[first:last])
            if refused >= 0:
                return first + refused
            first, work = last, 0
        return -1

    def reachable(self, x: NodeSet, given: NodeSet | None = None) -> frozenset[Node]:
        """Every node that is not independent of x given ``given``, without x and ``given``.

        Raises:
            ValueError: as :meth:`independent` does.
        """
        start, observed = node_set(self._index, x, "x"), self._observed(given)
        require_some(start, "x")
        require_disjoint(start, "x", observed, "given")
        known = self._known(observed)
        ball = self._ready(QUERY)
        found = ball.reached(self._numbers_of(start - known), self._numbers_of(known))
        return frozenset(self.nodes[i] for i in found if i < len(self.nodes)) - start - known

    def dependence_matrix(self, given: NodeSet | None = None) -> npt.NDArray[np.bool_]:
        """Which pairs are dependent given ``given``: shape (nodes, nodes), ordered as ``nodes``.

        Symmetric. A node depends on itself; the rows and columns of observed nodes, and of
        functions of these, are false.

        Raises:
            ValueError: an unknown or a latent node.
        """
        words = 1 + self._size // 64
        ball = self._ready((self._size + self.num_edges) * words)
        matrix = ball.matrix(self._numbers_of(self._known(self._observed(given))))
        return matrix[: len(self.nodes), : len(self.nodes)]

    def _decide(self, x: NodeSet, y: NodeSet, given: NodeSet | None) -> bool:
        """The answer for sets, with every reason to refuse looked for."""
        sets = node_set(self._index, x, "x"), node_set(self._index, y, "y"), self._observed(given)
        require_some(sets[0], "x")
        require_some(sets[1], "y")
        for i, j in ((0, 1), (0, 2), (1, 2)):
            require_disjoint(sets[i], _ROLES[i], sets[j], _ROLES[j])
        known = self._known(sets[2])
        x, y, observed = map(self._numbers_of, (sets[0] - known, sets[1] - known, known))
        return not x or not y or self._ready(QUERY).outcome(x, y, observed) != DEPENDENT

    def _known(self, observed: frozenset[Node]) -> frozenset[Node]:
        return determined(self._functional, observed) if self._functional is not None else observed

    def _observed(self, given: NodeSet | None) -> frozenset[Node]:
        nodes = node_set(self._index, given, "given")
        for v in nodes:
            if v not in self._observable:
                raise ValueError(f"expected observable nodes for given, got the latent node {v!r}")
        return nodes

    def _numbers_of(self, nodes: Iterable[Node]) -> list[int]:
        return [self._index[v] for v in nodes]

    def _numbers(self, sets: NodeSets, role: str) -> Numbers:
        """The numbers of all nodes named, and how many each set has."""
        import numpy as np

        from graphs.separation.batches import gathered, numbered, numbered_range

        if (
            isinstance(sets, np.ndarray)
            and self._numbered
            and np.issubdtype(sets.dtype, np.integer)
        ):
            return numbered_range(sets, len(self.nodes), role)
        given = role == "given"
        found = numbered(sets, self._observable if given else self._index, self._lists)
        if found is not None:
            return found
        read = self._observed if given else lambda s: node_set(self._index, s, role)
        return gathered([self._numbers_of(read(s)) for s in sets])
