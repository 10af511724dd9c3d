r"""Any model as a graph, and factorisations as they are written in textbooks.

A directed factorisation :math:`P(x) = \prod_i P(x_i \mid \mathrm{pa}_i)` is a DAG with an edge from
every conditioning variable to the variable it conditions. An undirected one
:math:`P(x) = \frac{1}{Z} \prod_k \phi_k(x_{C_k})` is the graph in which every scope :math:`C_k` is
complete (Koller and Friedman 2009, definitions 3.4 and 4.4). :func:`parse` reads both from text or
LaTeX, :func:`factorization` writes one for any model, :func:`as_graph` reduces whatever a user has
to the networkx graph the rest of the package reasons about.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from typing import Any, TypeAlias

import networkx as nx

from .foreign_graphs import marked
from .mixed import has_marks, one_member, refuse_bidirected, spouses, undirected_edges
from .notation import Node, ParseError, Reader, latex_name, text_name, unframed
from .signs import BAR, PRODUCT

Model: TypeAlias = Any  # a networkx graph, a pgmpy model or a Factorization


@dataclass(frozen=True)
class Factor:
    """One factor: a conditional ``P(variables | given)`` or a potential ``name(variables)``."""

    name: str
    variables: tuple[Node, ...]
    given: tuple[Node, ...] = ()

    @property
    def scope(self) -> tuple[Node, ...]:
        """Every variable the factor mentions."""
        return self.variables + self.given

    def __str__(self) -> str:
        bar = f" | {', '.join(map(text_name, self.given))}" if self.given else ""
        return f"{self.name}({', '.join(map(text_name, self.variables))}{bar})"

    def latex(self) -> str:
        """The factor as LaTeX, without dollar signs."""
        symbol = re.sub(r"^(φ|ψ|Φ|Ψ|f)(.*)$", _latex_potential, self.name)
        bar = rf" \mid {', '.join(map(latex_name, self.given))}" if self.given else ""
        return f"{symbol}({', '.join(map(latex_name, self.variables))}{bar})"


def _latex_potential(match: re.Match[str]) -> str:
    letter = {"φ": r"\phi", "ψ": r"\psi", "Φ": r"\Phi", "Ψ": r"\Psi"}.get(match[1], match[1])
    return letter + (f"_{{{match[2]}}}" if match[2] else "")


@dataclass(frozen=True, eq=False)
class Factorization:
    """A distribution written as a product of factors.

    Two are equal when their factors, nodes and constant are, whether or not a left-hand side was
    written.

    Attributes:
        factors: the factors in the order they were written.
        directed: whether they are conditional distributions (a Bayesian network) or potentials
            (a Markov network, normalised by 1/Z).
        nodes: the variables, in the order of the left-hand side, or of first appearance.
        constant: a positive number that multiplies the potentials, as in ``5 phi1(A,B)``; it
            multiplies Z by as much and leaves every probability as it was.
        graph: the networkx ``DiGraph`` or ``Graph`` the product implies; treat it as read-only.

    Raises:
        ValueError: a variable with two conditionals or none, a repeated variable in a scope, a
            directed cycle, no factor at all, or a constant that is not positive or stands before
            conditionals, which already sum to one.
    """

    factors: tuple[Factor, ...]
    directed: bool
    order: tuple[Node, ...] = ()
    constant: float = 1.0

    def __post_init__(self) -> None:
        _validate(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factorization) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.factors, self.directed, self.nodes, self.constant

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return self.order or tuple(dict.fromkeys(v for f in self.factors for v in f.scope))

    @cached_property
    def graph(self) -> nx.DiGraph | nx.Graph:
        graph = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(self.nodes)
        for factor in self.factors:
            if self.directed:
                graph.add_edges_from(chain_rule_edges(factor))
            else:
                graph.add_edges_from(combinations(factor.variables, 2))
        return graph

    @property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        return tuple(self.graph.edges)

    @property
    def scopes(self) -> tuple[frozenset[Node], ...]:
        """The scope of every factor, as sets."""
        return tuple(frozenset(f.scope) for f in self.factors)

    def __str__(self) -> str:
        constant = "" if self.directed else f"{_plain(self.constant)}/Z "
        left = f"P({', '.join(map(text_name, self.nodes))})"
        return f"{left} = {constant}{' '.join(map(str, self.factors))}"

    def latex(self) -> str:
        r"""The factorisation as LaTeX, without dollar signs; :func:`parse` reads it back."""
        constant = "" if self.directed else rf"\frac{{{_plain(self.constant)}}}{{Z}}\,"
        left = f"P({', '.join(map(latex_name, self.nodes))})"
        return f"{left} = {constant}" + r"\,".join(f.latex() for f in self.factors)

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"


def _plain(number: float) -> str:
    return short if float(short := f"{number:g}") == number else repr(number)


def chain_rule_edges(factor: Factor) -> Iterator[tuple[Node, Node]]:
    """Edges of P(a, b | c): c to each, and a to b, since it equals P(a | c) P(b | a, c)."""
    parents = list(factor.given)
    for variable in factor.variables:
        yield from ((parent, variable) for parent in parents)
        parents.append(variable)


def _validate(f: Factorization) -> None:
    if not f.factors:
        raise ValueError("expected at least one factor, got none")
    if not (0 < f.constant < math.inf and (f.constant == 1 or not f.directed)):
        allowed = "1 before conditional distributions" if f.directed else "a positive constant"
        raise ValueError(f"expected {allowed}, got {f.constant!r}")
    for factor in f.factors:
        if len(set(factor.scope)) < len(factor.scope):
            raise ValueError(f"expected distinct variables in a factor, got {factor}")
        if not factor.variables:
            raise ValueError(f"expected at least one variable in a factor, got {factor}")
    if f.directed:
        heads = Counter(v for factor in f.factors for v in factor.variables)
        for v, count in heads.items():
            if count > 1:
                twice = [str(factor) for factor in f.factors if v in factor.variables]
                raise ValueError(
                    f"expected one conditional distribution per variable, got {count} "
                    f"for {v!r}: {', '.join(twice)}"
                )
        for factor in f.factors:
            for v in factor.given:
                if v not in heads:
                    raise ValueError(
                        f"expected a factor P({v}) or P({v} | ...) because {factor} conditions "
                        f"on {v!r}, got none"
                    )
        require_acyclic(f.graph)
    mentioned = {v for factor in f.factors for v in factor.scope}
    if f.order and set(f.order) != mentioned:
        odd = sorted(map(str, set(f.order) ^ mentioned))
        raise ValueError(
            "expected the same variables on both sides of the factorisation, got "
            f"{', '.join(odd)} on one side only"
        )


_ACYCLIC = "graphs: acyclic"


def require_acyclic(graph: nx.DiGraph, within: Collection[Node] | None = None) -> None:
    """Raise ``ValueError`` naming a directed cycle, if there is one.

    Args:
        graph: the directed graph.
        within: a set of nodes that holds all its ancestors, to look at these alone.
    """
    # networkx empties this dictionary whenever the graph changes; a view of another graph it cannot
    remembered = {} if hasattr(graph, "_graph") else getattr(graph, "__networkx_cache__", {})
    if _ACYCLIC in remembered:
        return
    waiting = {v: len(graph._pred[v]) for v in (graph if within is None else within)}
    ready = [v for v, parents in waiting.items() if not parents]
    left = len(waiting)
    while ready:
        left -= 1
        for child in graph._succ[ready.pop()]:
            if child in waiting:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
    if left:
        cycle = [u for u, _ in nx.find_cycle(graph.subgraph(v for v in waiting if waiting[v]))]
        loop = " -> ".join(map(str, cycle + cycle[:1]))
        raise ValueError(f"expected an acyclic directed graph, got the cycle {loop}")
    if within is None:
        remembered[_ACYCLIC] = True


def ancestors(graph: nx.DiGraph, nodes: Iterable[Node]) -> set[Node]:
    """The nodes and everything with a directed path to one of them."""
    found = set(nodes)
    stack = list(found)
    while stack:
        for parent in graph._pred[stack.pop()]:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return found


# --- Text ---------------------------------------------------------------------------------------


_OPENING = r"(?=\s*(?:\\left)?\()"
_SYMBOL = re.compile(
    r"(?P<probability>(?:\\Pr|\\mathbb\s*\{?P\}?|Pr|P|p|q)(?:_(?:\{[^{}]*\}|\\?\w+))?"
    + _OPENING
    + r")|(?P<potential>\\?(?:phi|varphi|psi|Phi|Psi|φ|ϕ|ψ|Φ|Ψ|f)(?:_?\{[^{}]*\}|\w*)"
    + _OPENING
    + ")"
)
_PRODUCT_OVER = re.compile(r"(?:∏|\\prod(?![A-Za-z])|prod(?=_))")
_ENERGY = re.compile(r"\\?exp(?![A-Za-z])|\\?mathrm\{exp\}|e\^")
_NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PARTITION = re.compile(
    rf"{_NUMBER}\s*/\s*Z|\(\s*{_NUMBER}\s*/\s*Z\s*\)|\\t?d?frac\s*\{{?{_NUMBER}\}}?\s*\{{?Z\}}?|Z\^\{{?-1\}}?"
)
_OVER_PARTITION = re.compile(r"/\s*(?:\\mathcal\s*\{?Z\}?|Z)(?![\w(])")
_LINE_BREAK = re.compile(r"(?:\\\\(?:\[[^\]]*\])?|&)")
RELATION = re.compile(r"&?\s*(=|∝|\\propto(?![A-Za-z]))\s*&?")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LETTERS = {"phi": "φ", "varphi": "φ", "ϕ": "φ", "psi": "ψ", "Phi": "Φ", "Psi": "Ψ"}
_RATIO = re.compile(rf"{_NUMBER}(?:\s*/\s*{_NUMBER})?")


def read_factor(reader: Reader) -> tuple[Factor, bool]:
    """The factor that stands here, and whether it is a distribution and no potential."""
    if reader.accept(_PRODUCT_OVER):
        raise reader.error("factors written out one by one, since a product is not expanded")
    if reader.accept(_ENERGY):
        raise reader.error("potentials such as phi1(A,B), since energies are not read")
    match = reader.expect(_SYMBOL, "a factor such as P(A|B) or phi1(A,B)")
    directed = match["probability"] is not None
    name = "P" if directed else _potential_name(match["potential"])
    reader.expect("(", "'('")
    variables = reader.names()
    given: tuple[str, ...] = ()
    if directed and reader.accept(BAR):
        given = reader.names()
    closing = "',', '|' or ')'" if directed and not given else "',' or ')'"
    reader.expect(")", closing)
    return Factor(name, variables, given), directed


def _potential_name(symbol: str) -> str:
    """``φ1`` for any way of writing it: ``\\phi_{1}``, ``phi1``, ``φ_1``, ``φ₁``."""
    bare = re.sub(r"[^\w]", "", symbol).translate(_SUBSCRIPTS)
    letter, subscript = re.fullmatch(r"(varphi|phi|psi|Phi|Psi|\w)_?(.*)", bare).groups()  # type: ignore[union-attr]
    return _LETTERS.get(letter, letter) + subscript


def _constant(reader: Reader) -> float | None:
    """The numbers and 1/Z that stand here, multiplied, or ``None``."""
    constant = None
    while match := reader.accept(_PARTITION) or reader.accept(_RATIO):
        reader.accept(PRODUCT)
        top, *below = [float(number) for number in match.groups() if number is not None] or [1.0]
        if 0.0 in below:
            raise ParseError(reader.text, match.start(), "a quotient by a number other than 0")
        constant = (1.0 if constant is None else constant) * top / math.prod(below)
    return constant


def parse(text: str) -> Factorization:
    r"""Read a factorisation as it is written in a textbook or in LaTeX.

    Directed: ``P(M)P(S)P(F)P(I|M,S)``. Undirected: ``1/Z phi1(A,B) φ_2(B,C) \phi_{3}(C,D)``, with
    numbered, bare or repeated potentials, and numbers before them (``5 phi1(A,B)``, ``5/Z``).
    A left-hand side ``P(A,B,C) = ...`` is optional and fixes the order of the nodes; ``1/Z`` may
    stand first or ``/Z`` last, and any of ``⋅ · × ∗ *`` or nothing between factors. A graph as
    :func:`graphs.read_graph` reads it, such as ``dag { A -> B }``, gives its factorisation.

    Raises:
        ValueError: the text cannot be read (the message points at the character), mixes
            conditionals with potentials, or is no valid factorisation (:class:`Factorization`).
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a factorisation as text, got {type(text).__name__}")
    if states_graph(text):
        from .graph_texts import read_graph

        graph = read_graph(text)
        for hidden in (v for v, latent in graph.nodes(data="latent") if latent):
            raise ValueError(
                f"expected a graph without latent nodes to factorise, got {hidden!r}; "
                "graphs.read_graph keeps them"
            )
        return factorization(graph)
    reader = Reader(unframed(text))
    order: tuple[Node, ...] = ()
    left = _left_hand_side(reader)
    if left is not None:
        if left.name != "P" or left.given:
            raise ParseError(reader.text, 0, "a joint distribution such as P(A,B,C) before '='")
        order = left.variables
    factors: list[Factor] = []
    kinds: list[bool] = []
    constant = 1.0
    while True:
        scale = _constant(reader)
        reader.skip()
        start = reader.position
        factor, directed = read_factor(reader)
        if kinds and directed != kinds[0]:
            kind = "conditional distribution P(...)" if kinds[0] else "potential phi(...)"
            raise ParseError(reader.text, start, f"another {kind}, since the first factor is one")
        if directed and scale is not None:
            expected = "a potential such as phi1(A,B) after 1/Z or a constant"
            raise ParseError(reader.text, start, expected)
        constant *= 1.0 if scale is None else scale
        factors.append(factor)
        kinds.append(directed)
        if at_end(reader, directed):
            return Factorization(tuple(factors), kinds[0], order, constant)


def states_graph(text: str) -> bool:
    """Whether a text is a graph that :func:`graphs.read_graph` reads, and no factorisation."""
    from .graph_texts import is_graph_text

    reader = Reader(unframed(text))
    try:
        _constant(reader)
        return reader.accept(_SYMBOL) is None and is_graph_text(text)
    except ParseError:
        return False


def _left_hand_side(reader: Reader) -> Factor | None:
    """The distribution before an equals sign, or ``None`` without moving."""
    try:
        left, _ = read_factor(reader)
    except ParseError:
        left = None
    if left is not None and reader.accept(RELATION):
        return left
    reader.position = 0
    reader.fonts.clear()
    return None


def at_end(reader: Reader, directed: bool) -> bool:
    """Whether the product ends here, perhaps over Z; passes a sign or a line break otherwise."""
    reader.skip()
    start = reader.position
    if not directed and reader.accept(_OVER_PARTITION):
        if not reader.done():
            raise reader.error("the end of the text after /Z")
        return True
    if reader.done():
        return True
    while reader.accept(_LINE_BREAK):
        pass
    reader.accept(PRODUCT)
    while reader.accept(_LINE_BREAK):
        pass
    if reader.done():
        raise reader.error("another factor after the sign", start)
    return False


# --- Models -------------------------------------------------------------------------------------


def as_graph(model: Model, acyclic: bool = True, any_member: bool = False) -> nx.DiGraph | nx.Graph:
    """The graph over the variables of any supported model; never copied when it is one already.

    Args:
        model: a networkx graph, a pgmpy DAG, Bayesian network, Markov network or factor graph, a
            :class:`Factorization`, or a mixed graph as in :mod:`graphs.foreign_graphs`.
        acyclic: whether to refuse directed cycles, at a cost of O(nodes + edges); a caller that
            looks at a small part of a large graph checks that part instead, and edges that are no
            arrows are left as they are.
        any_member: whether a DAG of the class may stand for a partially directed graph, because
            every member gives the same answer, and a DAG whose :func:`graphs.mixed.spouses` the
            caller looks at for a graph with two-headed edges.

    Raises:
        ValueError: another type, a multigraph, an undirected self-loop, a directed cycle, edges
            with two heads where only a DAG will do, or a partially directed graph where its members
            differ.
    """
    if isinstance(model, Factorization):
        return model.graph
    model = marked(model)
    if not isinstance(model, nx.Graph):
        raise ValueError(
            "expected a networkx graph, a pgmpy model or a graphs.Factorization, got "
            f"{type(model).__name__}" + (" (use graphs.parse)" if isinstance(model, str) else "")
        )
    if model.is_multigraph():
        raise ValueError(
            "expected a graph without parallel edges, or a MultiDiGraph whose edges all have the "
            f"type 'directed' or 'bidirected', got {type(model).__name__}"
        )
    if hasattr(model, "get_factor_nodes"):
        return factorization(model).graph
    if not model.is_directed():
        for node in nx.nodes_with_selfloops(model):
            raise ValueError(f"expected a graph without self-loops, got {node!r} - {node!r}")
    elif acyclic:
        if any_member:
            model = one_member(model)
        elif spouses(model) or has_marks(model):
            refuse_bidirected(model)
            u, v = undirected_edges(model)[0]
            raise ValueError(
                "expected a DAG or an undirected graph, got a partially directed one with the edge "
                f"{u} - {v}, on whose direction the answer depends"
            )
        require_acyclic(model)
    return model


def factorization(model: Model) -> Factorization:
    r"""The factorisation a model states.

    A DAG gives :math:`\prod_i P(x_i \mid \mathrm{pa}_i)`; a Markov network or factor graph with
    potentials gives one factor per potential; a bare undirected graph one per maximal clique (the
    Hammersley–Clifford form, most general for it).

    Raises:
        ValueError: not a model, a directed cycle, a partially directed graph, or an edge with two
            heads, whose latent common cause a factorisation would have to name.
    """
    if isinstance(model, Factorization):
        return model
    if hasattr(model, "get_factor_nodes"):
        scopes = _scopes(model.get_factors())
        covered = {v for scope in scopes for v in scope}
        # pgmpy's own list of variables refuses the factor graphs that its Markov networks make
        lone = [v for v in model if not model.degree(v) and not hasattr(v, "scope")]
        scopes += [(v,) for v in lone if v not in covered]
        return _undirected(scopes)
    graph = as_graph(model, acyclic=False)
    if graph.is_directed():
        refuse_bidirected(graph, "a DAG to factorise, in which every common cause is a node")
        as_graph(graph)
        factors = tuple(Factor("P", (v,), tuple(graph.predecessors(v))) for v in graph)
        return Factorization(factors, True, tuple(graph))
    rank = {v: i for i, v in enumerate(graph)}
    potentials = getattr(model, "factors", None)
    if potentials:
        scopes = _scopes(potentials)
        covered = {v for scope in scopes for v in scope}
        scopes += [(v,) for v in graph if v not in covered]
    else:
        cliques = [sorted(clique, key=rank.__getitem__) for clique in nx.find_cliques(graph)]
        scopes = [tuple(c) for c in sorted(cliques, key=lambda c: [rank[v] for v in c])]
    return _undirected(scopes, tuple(graph))


def _scopes(potentials: Iterable[Any]) -> list[tuple[Node, ...]]:
    """Of a model's potentials, less those that are constants."""
    return [scope for factor in potentials if (scope := tuple(factor.scope()))]


def _undirected(scopes: Sequence[tuple[Node, ...]], order: tuple[Node, ...] = ()) -> Factorization:
    factors = tuple(Factor(f"φ{i}", scope) for i, scope in enumerate(scopes, start=1))
    return Factorization(factors, False, order)


# --- Node sets ----------------------------------------------------------------------------------


def node_set(
    known: Collection[Node], nodes: Node | Iterable[Node] | None, role: str
) -> frozenset[Node]:
    """One name or an iterable of names as a set of nodes of the graph.

    A string or a tuple that is itself a node counts as one name.

    Raises:
        ValueError: an unknown node, with the nearest known name, or how to pass its parts where
            those are nodes.
    """
    if nodes is None:
        return frozenset()
    members: Iterable[Any] = (nodes,)
    if not _is_node(known, nodes) and isinstance(nodes, Iterable) and not isinstance(nodes, str):
        members = nodes
    result = set()
    for node in members:
        if not _is_node(known, node):
            got = _flat_list(known, node) or unknown(known, node)
            raise ValueError(f"expected nodes of the graph for {role}, got {got}")
        result.add(node)
    return frozenset(result)


def _flat_list(known: Collection[Node], node: Any) -> str | None:
    """What to write for a name that is several nodes in one, if it is."""
    parts = [part.strip() for part in node.split(",")] if isinstance(node, str) else node
    if not isinstance(parts, Collection) or len(parts) < 2:
        return None
    if not all(_is_node(known, part) for part in parts):
        return None
    return f"{node!r}, whose parts are nodes: pass several nodes as one flat list, {list(parts)!r}"


def find_nodes(graph: nx.Graph, names: Iterable[str], role: str) -> frozenset[Node]:
    """The nodes of the graph with these names, or else those that are written like them.

    Raises:
        ValueError: a name that fits no node, or several that are written alike.
    """
    names = tuple(names)
    written: dict[str, list[Node]] = {}
    if not all(name in graph for name in names) or any(type(v) is not str for v in graph):
        for v in graph:
            written.setdefault(str(v), []).append(v)
    for name in names:
        if len(alike := written.get(name, ())) > 1:
            several = " and ".join(map(repr, alike))
            raise ValueError(f"expected a name of one node for {role}, got {name!r} for {several}")
    return node_set(graph, [written.get(name, [name])[0] for name in names], role)


def _is_node(known: Collection[Node], node: Any) -> bool:
    try:
        return node in known
    except TypeError:
        return False


def contains(known: Container[Any], node: Any) -> bool:
    """Whether something is among the names known; what cannot be a name is not."""
    try:
        return node in known
    except TypeError:
        return False


def unknown(known: Iterable[Node], node: Any) -> str:
    """``'smok' (did you mean 'smoke'?)``, for error messages."""
    names = {str(name): name for name in islice(known, 10_000)}
    lowered = {text.lower(): name for text, name in names.items()}
    text = str(node)
    near = difflib.get_close_matches(text, names, n=1) or [
        str(lowered[m]) for m in difflib.get_close_matches(text.lower(), lowered, n=1)
    ]
    if near:
        return f"{node!r} (did you mean {names[near[0]]!r}?)"
    listing = ", ".join(list(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"{node!r}; the nodes are {listing}"
