"""The model on the page: its structure, its tables where it has any, and what is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import networkx as nx

from graphs.language.notation import Node
from graphs.pictures.scene import Layout, lay_out
from graphs.pictures.shown import induced, nearest
from graphs.structure.factorization import Factor, Factorization
from graphs.structure.mixed import has_marks
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import latent_nodes
from graphs.structure.search import require_acyclic

if TYPE_CHECKING:
    from graphs.inference.junction_tree import JunctionTree
    from graphs.parameters.tables import Tables

_SERIALS = count()
MOST_CELLS = 1 << 22  # of all cliques: about a tenth of a second
MOST_DRAWN, MOST_KEPT = 300, 32
MOST_NODES, MOST_EDGES = 5_000, 50_000  # of a model that is read from text


class Subject:
    """A structure with or without tables, in which some nodes are randomised.

    A randomised node has lost the arrows into it and is uniform: to observe it is then to set it
    (Pearl 2009, section 3.2).

    Attributes:
        structure: a factorization, or a graph, in which edges may be marked.
        tables: the parameters, or ``None``.
        without: why there are no tables, in words.
        randomised: nodes whose arrows are cut.
    """

    def __init__(
        self,
        structure: Factorization | nx.Graph,
        tables: Tables | None = None,
        without: str = "This model has no tables.",
        randomised: frozenset[Node] = frozenset(),
    ):
        self.structure, self.tables, self.without = structure, tables, without
        self.randomised = randomised
        self.serial = next(_SERIALS)
        self._layouts: dict[Any, Layout] = {}
        self._once: dict[str, Any] = {}
        self._lately: dict[tuple[str, Hashable], Any] = {}
        self.preparing = False

    def once(self, what: str, compute: Callable[[Subject], Any]) -> Any:
        """What a function says of this subject, worked out the first time it is wanted."""
        if what not in self._once:
            self._once[what] = compute(self)
        return self._once[what]

    def lately(self, what: str, key: Hashable, compute: Callable[[Subject], Any]) -> Any:
        """What a function says of this subject, with the last few answers remembered."""
        if (what, key) not in self._lately:
            found = compute(self)
            self._lately = dict([*self._lately.items()][1 - MOST_KEPT :]) | {(what, key): found}
        return self._lately[what, key]

    @cached_property
    def whole(self) -> nx.Graph:
        """The graph before arrows are cut."""
        return as_graph(self.structure, acyclic=False)

    @cached_property
    def graph(self) -> nx.Graph:
        """The graph that questions are about."""
        if not self.randomised:
            return self.whole
        cut = self.whole.copy()
        cut.remove_edges_from([(u, v) for u, v in self.whole.edges if v in self.randomised])
        for u, v, two in self.whole.edges(data="bidirected"):
            if two and u in self.randomised and cut.has_edge(u, v):
                cut.remove_edge(u, v)
        return cut

    @property
    def model(self) -> Model:
        """What claims are about: the structure as it was stated, unless arrows are cut."""
        return self.graph if self.randomised else self.structure

    @cached_property
    def named(self) -> dict[str, Node]:
        """Every node by its text."""
        return {str(v): v for v in self.whole}

    @property
    def states(self) -> Mapping[Node, tuple[Hashable, ...]]:
        return self.tables.states if self.tables else {}

    def randomise(self, nodes: frozenset[Node]) -> Subject:
        """The same model with these nodes randomised, and no others.

        Raises:
            ValueError: an undirected model, or one with edges without heads.
        """
        graph = self.whole
        if nodes and not graph.is_directed():
            raise ValueError("expected a directed model to cut arrows in, got an undirected one")
        if nodes and any(mark is False for *_, mark in graph.edges(data="directed")):
            raise ValueError("expected arrows alone to cut, got edges without heads")
        return Subject(self.structure, self.tables, self.without, nodes)

    @property
    def tree(self) -> JunctionTree | None:
        """The engine for exact answers; ``without`` says why there is none."""
        return None if self.tables is None else self._tree

    def prepare(self) -> None:
        """Have the engine ready, while :attr:`preparing` says so to other threads."""
        if not self.engine_known:
            self.preparing = True
            try:
                _ = self.tree
            finally:
                self.preparing = False

    @cached_property
    def _tree(self) -> JunctionTree | None:
        from graphs.inference.junction_tree import JunctionTree

        tree = JunctionTree(self.cut_tables)
        if tree.cost.cells > MOST_CELLS:
            self.without = (
                f"Exact marginals would take {tree.cost.cells:.3g} cells, more than the "
                f"{MOST_CELLS:.3g} that answer at once."
            )
            return None
        return tree

    @property
    def engine_known(self) -> bool:
        """Whether :attr:`tree` was asked for before."""
        return "_tree" in vars(self) or self.tables is None

    @property
    def cut_tables(self) -> Tables:
        assert self.tables is not None
        if not self.randomised:
            return self.tables
        import numpy as np

        from graphs.parameters.tables import Tables

        def own(v: Node) -> Any:
            return (v,), np.full(len(self.states[v]), 1 / len(self.states[v]))

        factors = tuple(
            own(scope[-1]) if scope[-1] in self.randomised else (scope, table)
            for scope, table in self.tables.factors
        )
        return Tables(self.tables.states, factors, True, self.tables.name)

    def layout(self, nodes: Iterable[Node], rows: bool) -> Layout:
        """Places for some of the nodes, worked out once."""
        shown = frozenset(nodes)
        if len(self._layouts) > MOST_KEPT:
            self._layouts.clear()
        if (shown, rows) not in self._layouts:
            part = self.whole if len(shown) == len(self.whole) else induced(self.whole, shown)
            states = {v: len(self.states[v]) for v in shown} if rows else None
            self._layouts[shown, rows] = lay_out(part, states)
        return self._layouts[shown, rows]

    def drawable(self, seeds: frozenset[Node]) -> tuple[list[Node], str]:
        """The nodes to draw, and of a model with more than 300 which these are, in words."""
        return self.lately("drawable", seeds, lambda own: nearest(own.whole, seeds, MOST_DRAWN))


def subject_of(
    model: Any,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    read: Callable[[str], Any] | None = None,
) -> Subject:
    """Any model, a Pyro program or a text as a subject.

    Raises:
        ValueError: another type, a directed cycle, two nodes that are written alike.
    """
    if isinstance(model, Subject):
        return model
    if isinstance(model, str):
        model = (read or read_text)(model)
    tables, without = None, "This model has no tables."
    if callable(model) and not isinstance(model, nx.Graph):
        from graphs.programs.reading import from_pyro

        model = from_pyro(model, *args, **(kwargs or {}))
        without = "A Pyro program has no tables."
    elif args or kwargs:
        raise ValueError("expected arguments for a Pyro program alone, got them with a model")
    if _may_have_tables(model):
        tables, without = _tables(model)
    structure: Any = model
    if tables is not None:
        structure = tables.graph if tables.directed else _product(tables)
    if not isinstance(structure, Factorization):
        structure = plain(as_graph(structure, acyclic=False))
    as_graph(structure, any_member=True)
    graph = as_graph(structure, acyclic=False)
    if graph.is_directed() and not has_marks(graph):
        require_acyclic(graph)
    texts: dict[str, Node] = {}
    for v in graph:
        if texts.setdefault(str(v), v) != v:
            raise ValueError(f"expected nodes that differ as text, got {texts[str(v)]!r} and {v!r}")
    return Subject(structure, tables, without)


def _may_have_tables(model: Any) -> bool:
    named = {kind.__name__ for kind in type(model).__mro__}
    pair = isinstance(model, tuple) and len(model) == 2
    return pair or "Tables" in named or hasattr(model, "cpds") or hasattr(model, "get_factors")


def _tables(model: Any) -> tuple[Tables | None, str]:
    """The tables of a model or, where those are missing or do not fit, why there are none."""
    from graphs.inference.queries import model_tables

    bare = not (isinstance(model, tuple) or type(model).__name__ == "Tables")
    if bare and not (getattr(model, "cpds", None) or getattr(model, "factors", None)):
        return None, "This model has no tables."
    try:
        return model_tables(model), ""
    except ValueError as error:
        if not bare:
            raise
        return None, f"The tables are not used: {error}"


def _product(tables: Tables) -> Factorization:
    scopes = [scope for scope, _ in tables.factors if scope]
    factors = [Factor(f"φ{i}", scope) for i, scope in enumerate(scopes, start=1)]
    return Factorization(tuple(factors), False, tuple(tables.states))


def plain(graph: nx.Graph) -> nx.Graph:
    """A networkx graph with the nodes, edges and marks of any graph, and what it knows of nodes."""
    copy: nx.Graph = nx.DiGraph() if graph.is_directed() else nx.Graph()
    copy.graph.update({k: v for k, v in graph.graph.items() if k in ("plates", "warnings")})
    latent = latent_nodes(graph)
    for v, data in graph.nodes(data=True):
        kept = {k: data[k] for k in ("observed", "plates", "distribution", "kind") if k in data}
        copy.add_node(v, **kept, **({"latent": True} if v in latent else {}))
    for u, v, data in graph.edges(data=True):
        marks = {k: data[k] for k in ("directed", "bidirected") if k in data}
        if "bidirected" in (data.get("type"), data.get("edge_type")):
            marks["bidirected"] = True
        copy.add_edge(u, v, **marks)
    return copy


def read_text(text: str) -> Any:
    """A model from text alone: a factorization, a graph, or the name of a textbook example.

    No file is opened, whatever the text says.

    Raises:
        ValueError: a text in no notation known; a :class:`graphs.ParseError` points at it.
    """
    from graphs import textbook
    from graphs.language.graph_texts import read_graph
    from graphs.structure.parsing import parse, states_graph

    if text.strip() in textbook.NAMES:
        return textbook.parameters(text.strip())
    model = read_graph(text) if states_graph(text) else parse(text)
    if isinstance(model, Factorization):
        nodes, pairs = len(model.order), sum(len(f.scope) ** 2 // 2 for f in model.factors)
    else:
        nodes, pairs = len(model), model.size()
    if nodes > MOST_NODES or pairs > MOST_EDGES:
        raise ValueError(
            f"expected at most {MOST_NODES} nodes and {MOST_EDGES} pairs of nodes that are joined, "
            f"got {nodes} and {pairs}"
        )
    return model
