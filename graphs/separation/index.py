r"""Many independence queries about one graph.

:class:`Separation` numbers the nodes, lays the edges out as integer arrays and answers by compiled
Bayes-ball (:mod:`graphs.separation.kernels`). A query visits only ancestors of the nodes it names,
stops at the first active path, and gives a verdict without reasons; :func:`graphs.independent`
explains one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graphs.language.notation import Node
from graphs.separation import kernels
from graphs.structure.mixed import one_member, two_headed
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import NodeSet, latent_nodes, node_set, require_disjoint, require_some
from graphs.structure.search import neighbours_of, parents_of

_ROLES = ("x", "y", "given")

NodeSets: TypeAlias = Sequence[Any] | npt.NDArray[np.integer]

# called without numba's dispatcher, which would take longer to see that the types fit than a query
# of a small graph takes
_ANSWER_ONE = next(iter(kernels.answer_one.overloads.values())).entry_point


class Separation:
    """An index of a model's graph for many separation queries.

    Construction takes O(nodes + edges). The first import on a machine compiles for some seconds and
    keeps the result on disk. An index has working memory of its own, so it serves one thread at a
    time.

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

    def __init__(self, model: Model, *, latent: NodeSet | None = None):
        graph = one_member(as_graph(model, acyclic=False))
        nodes = tuple(graph)
        index = {v: i for i, v in enumerate(nodes)}
        near = parents_of(graph) if graph.is_directed() else neighbours_of(graph)
        counts = np.fromiter(map(len, near.values()), np.int32, len(nodes))
        links = map(index.__getitem__, chain.from_iterable(near.values()))
        tails = np.fromiter(links, np.int32, int(counts.sum()))
        heads = np.repeat(np.arange(len(nodes), dtype=np.int32), counts)
        pairs = two_headed(graph)
        if pairs:  # a common cause for each, numbered after the nodes and nowhere named
            causes = np.arange(len(nodes), len(nodes) + len(pairs), dtype=np.int32)
            children = np.array([index[v] for pair in pairs for v in pair], np.int32)
            tails = np.concatenate((tails, causes.repeat(2)))
            heads = np.concatenate((heads, children))
        hidden = latent_nodes(graph, latent)
        self._fill(nodes, index, tails, heads, graph.is_directed(), hidden, len(pairs))

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
        edges = np.asarray(edge_array)
        if edges.size == 0:
            edges = edges.reshape(0, 2).astype(np.int32)
        if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
            raise ValueError(
                "expected an integer array of shape (edges, 2), got shape "
                f"{edges.shape} and type {edges.dtype}"
            )
        if len(edges) and not 0 <= edges.min() <= edges.max() < num_nodes:
            raise ValueError(
                f"expected edges between nodes 0 to {num_nodes - 1}, got "
                f"{edges.min() if edges.min() < 0 else edges.max()}"
            )
        tails, heads = (np.ascontiguousarray(edges[:, i], dtype=np.int32) for i in (0, 1))
        if not directed:
            if (loops := tails[tails == heads]).size:
                raise ValueError(
                    f"expected a graph without self-loops, got {loops[0]} - {loops[0]}"
                )
            tails, heads = np.concatenate((tails, heads)), np.concatenate((heads, tails))
        index = cls.__new__(cls)
        nodes = range(num_nodes)
        index._fill(nodes, {v: v for v in nodes}, tails, heads, directed, frozenset())
        return index

    def _fill(
        self,
        nodes: Sequence[Node],
        index: dict[Node, int],
        tails: npt.NDArray[np.int32],
        heads: npt.NDArray[np.int32],
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
        self._memory = kernels.build(self._size, tails, heads, directed)
        end = int(self._memory[3]) + 4 * self._size
        self._scratch = memoryview(self._memory)[end - self._size : end]
        if directed and (cycle := kernels.find_cycle(self._memory)).size:
            loop = " -> ".join(str(nodes[i]) for i in (*cycle[::-1], cycle[-1]))
            raise ValueError(f"expected an acyclic directed graph, got the cycle {loop}")

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
            outcome = _ANSWER_ONE(self._memory, 1, 2, end)
            if outcome != kernels.OVERLAP:
                return outcome != kernels.DEPENDENT
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
        if givens is None:
            givens = [[]] * len(xs)
        if not len(xs) == len(ys) == len(givens):
            raise ValueError(
                f"expected as many xs as ys and givens, got {len(xs)}, {len(ys)} and {len(givens)}"
            )
        parts = [self._numbers(*part) for part in zip((xs, ys, givens), _ROLES, strict=True)]
        sizes = np.stack([counts for _, counts in parts], axis=1)
        ends = sizes.cumsum()
        starts = (ends - sizes.ravel()).reshape(sizes.shape)
        flat = np.empty(int(sizes.sum()), np.int32)
        for role, (nodes, counts) in enumerate(parts):
            shift = starts[:, role] - (counts.cumsum() - counts)
            flat[np.repeat(shift, counts) + np.arange(len(nodes))] = nodes
        holds = np.empty(len(sizes), np.bool_)
        empty = sizes[:, :2] == 0
        if empty.any():
            refused = int(empty.any(axis=1).argmax())
        else:
            refused = kernels.answer_many(self._memory, flat, ends, holds)
        if refused >= 0:
            try:
                self._decide(xs[refused], ys[refused], givens[refused])
            except ValueError as error:
                raise ValueError(f"{error} (query {refused})") from None
        return holds

    def reachable(self, x: NodeSet, given: NodeSet | None = None) -> frozenset[Node]:
        """Every node that is not independent of x given ``given``, without x and ``given``.

        Raises:
            ValueError: as :meth:`independent` does.
        """
        start, observed = node_set(self._index, x, "x"), self._observed(given)
        require_some(start, "x")
        require_disjoint(start, "x", observed, "given")
        rose, fell = np.zeros((2, self._size), np.int64)
        rose[self._array(start)] = 1
        kernels.spread(self._memory, self._array(observed), rose, fell)
        found = np.flatnonzero((rose | fell)[: len(self.nodes)]).tolist()
        return frozenset(self.nodes[i] for i in found) - start - observed

    def dependence_matrix(self, given: NodeSet | None = None) -> npt.NDArray[np.bool_]:
        """Which pairs are dependent given ``given``: shape (nodes, nodes), ordered as ``nodes``.

        Symmetric. A node depends on itself; the rows and columns of observed nodes are false.

        Raises:
            ValueError: an unknown or a latent node.
        """
        matrix = np.empty((self._size,) * 2, np.bool_)
        kernels.fill_matrix(self._memory, self._array(self._observed(given)), matrix)
        return matrix[: len(self.nodes), : len(self.nodes)]

    def _decide(self, x: NodeSet, y: NodeSet, given: NodeSet | None) -> bool:
        """The answer for sets, with every reason to refuse looked for."""
        sets = node_set(self._index, x, "x"), node_set(self._index, y, "y"), self._observed(given)
        require_some(sets[0], "x")
        require_some(sets[1], "y")
        for i, j in ((0, 1), (0, 2), (1, 2)):
            require_disjoint(sets[i], _ROLES[i], sets[j], _ROLES[j])
        nodes = self._array(chain.from_iterable(sets))
        holds = np.empty(1, np.bool_)
        kernels.answer_many(self._memory, nodes, np.cumsum([*map(len, sets)]), holds)
        return bool(holds[0])

    def _observed(self, given: NodeSet | None) -> frozenset[Node]:
        nodes = node_set(self._index, given, "given")
        for v in nodes:
            if v not in self._observable:
                raise ValueError(f"expected observable nodes for given, got the latent node {v!r}")
        return nodes

    def _array(self, nodes: Iterable[Node]) -> npt.NDArray[np.int32]:
        return np.array([self._index[v] for v in nodes], dtype=np.int32)

    def _numbers(
        self, sets: NodeSets, role: str
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The numbers of all nodes named, and how many each set has."""
        if (
            isinstance(sets, np.ndarray)
            and self._numbered
            and np.issubdtype(sets.dtype, np.integer)
        ):
            if sets.size and not 0 <= sets.min() <= sets.max() < len(self.nodes):
                wrong = sets.min() if sets.min() < 0 else sets.max()
                raise ValueError(
                    f"expected nodes 0 to {len(self.nodes) - 1} for {role}, got {wrong}"
                )
            if sets.ndim not in (1, 2):
                raise ValueError(
                    "expected integers of shape (queries,) or (queries, nodes per set) for "
                    f"{role}, got shape {sets.shape}"
                )
            width = 1 if sets.ndim == 1 else sets.shape[1]
            return sets.ravel().astype(np.int32), np.full(len(sets), width)
        index = self._observable if role == "given" else self._index
        kinds = set(map(type, sets))
        try:
            if kinds <= self._lists:
                counts = np.fromiter(map(len, sets), np.int64, len(sets))
                named = map(index.__getitem__, chain.from_iterable(sets))
                return np.fromiter(named, np.int32, int(counts.sum())), counts
            if kinds.isdisjoint(self._lists):
                named = map(index.__getitem__, sets)
                return np.fromiter(named, np.int32, len(sets)), np.ones(len(sets), np.int64)
        except (KeyError, TypeError):
            pass
        read = self._observed if role == "given" else lambda s: node_set(self._index, s, role)
        chosen = [read(s) for s in sets]
        counts = np.fromiter(map(len, chosen), np.int64, len(chosen))
        return self._array(chain.from_iterable(chosen)), counts
