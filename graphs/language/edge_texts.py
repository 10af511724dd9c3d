r"""Edges as text, braces and arrows: dagitty, DOT and plain lists such as ``A->C, C->B``.

One grammar reads the three, since they differ in little: a statement is a node, or nodes and
braced groups joined by edges, with attributes in square brackets. In dagitty and in lists an edge
is one of ``->``, ``<-``, ``<->``, ``--`` (or → ← ↔ —, or such commands of LaTeX as ``\to``); in DOT
``->`` or ``--`` as the graph is a ``digraph`` or a ``graph``, with the heads that Graphviz draws:
``dir`` turns an arrow round, doubles it or takes its head, and ``arrowhead=none`` or
``arrowtail=none`` takes one (Textor et al. 2016 for dagitty; the Graphviz documentation for DOT).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import networkx as nx

from graphs.language.scanning import QUOTED, Malformed, Scanner, pattern, unquote
from graphs.language.signs import ARROWS, any_of

COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)|(?:(?<=\n)|(?<![\s\S]))[ \t]*\#[^\n]*"
ARROW = re.compile(any_of(ARROWS))
HEADER = re.compile(r"\s*(?:(strict)\s+)?(dag|pdag|mag|pag|digraph|graph)\b", re.IGNORECASE)
_CIRCLES = pattern(r"(?:@(?:-[->@]|->)|<?-[o@](?=\W)|o-[->o])")
_ARROW = pattern(f"({ARROW.pattern})")
_QUOTED = pattern(f"({QUOTED})")
_SEPARATOR, _BREAK = pattern(r"[;,]"), re.compile(r"[^\S\n]*[;,\n]|\s*\Z")
_OPEN, _CLOSE, _BRACKET, _END = map(pattern, (r"\{", r"\}", r"\[", r"\]"))
_EQUALS, _PLUS, _PORT = pattern("="), pattern(r"\+"), pattern(r":\s*(?:[\w]+|" + QUOTED + ")")
_NUMERAL = pattern(r"(-?(?:\.\d+|\d+(?:\.\d*)?))(?![\w.])")
_SUBGRAPH = pattern(r"subgraph\b(?=\s*[\w{\"])(?:\s*(?:" + QUOTED + r"|\w+))?(?=\s*\{)")
_DEFAULTS = pattern(r"(graph|node|edge)(?=\s*\[)")
_DIRECTIONS = {
    "forward": (False, True),
    "back": (True, False),
    "both": (True, True),
    "none": (False, False),
}
_ENDS = ("arrowtail", "arrowhead")
_KINDS = {(False, True): "->", (True, False): "<-", (True, True): "<->", (False, False): "--"}
MOST_NESTED, MOST_JOINED = 50, 1_000_000


class Edge(NamedTuple):
    """An edge as written, and where."""

    tail: str
    kind: str
    head: str
    position: int
    attributes: dict[str, Any]


class Text:
    """What a text says: nodes with their attributes in order, and edges."""

    def __init__(self, kind: str | None) -> None:
        self.kind = kind
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: list[Edge] = []


def read_edges(text: str) -> Text:
    """The nodes and edges of a text whose comments are blanked.

    Raises:
        Malformed: whatever cannot be read, with the line.
    """
    scanner = Scanner(text)
    header = HEADER.match(text)
    braced = header and re.compile(rf'\s*(?:{QUOTED}|[^\s{{"]+)?\s*\{{', re.DOTALL).match(
        text, header.end()
    )
    if not header or not braced:
        found = _Statements(scanner, Text(None))
        found.read(nested=0)
    else:
        scanner.position = braced.end()
        found = _Statements(scanner, Text(header[2].lower()))
        found.read(nested=1)
        scanner.expect(_CLOSE, "'}'")
    if not scanner.done():
        raise scanner.malformed("an edge such as A -> B" if not braced else "the end of the text")
    return found.text


class _Statements:
    """The statements of one text; ``defaults`` are the attributes of DOT's ``edge [...]``."""

    def __init__(self, scanner: Scanner, text: Text):
        self.scanner, self.text = scanner, text
        self.dot = text.kind in ("digraph", "graph")

    def read(self, nested: int, defaults: dict[str, Any] | None = None) -> list[str]:
        """The statements up to a closing brace, and the nodes they name."""
        if nested > MOST_NESTED:
            raise self.scanner.malformed(f"at most {MOST_NESTED} groups in each other")
        named: dict[str, None] = {}
        defaults = dict(defaults or {})
        while not self.scanner.done() and not self._ahead(_CLOSE):
            if self.scanner.accept(_SEPARATOR):
                continue
            if self.dot and (target := self.scanner.accept(_DEFAULTS)):
                attributes = self._attributes()
                if target[1] == "edge":
                    defaults |= attributes
                continue
            named |= dict.fromkeys(self._statement(nested, defaults))
            if not nested and not self._ahead(_BREAK):
                raise self.scanner.malformed("an edge, a comma or the end of the line")
        return list(named)

    def _statement(self, nested: int, defaults: dict[str, Any]) -> list[str]:
        start = self.scanner.position
        group, braced = self._group(nested, defaults)
        if not braced and self.scanner.accept(_EQUALS):  # bb="0,0,1,1", rankdir=LR
            if not self.text.kind:
                raise self.scanner.error(
                    "expected an edge such as A -> B, got an assignment", self.scanner.position
                )
            self._value()
            return []
        named, steps = self._known(group), []
        while arrow := self._arrow():
            following = self._known(self._group(nested, defaults)[0])
            steps.append((group, arrow, following))
            named += following
            group = following
        attributes = self._attributes()
        if not steps and not braced:
            self.text.nodes[named[0]] |= attributes
        for tails, arrow, heads in steps:
            self._join(tails, arrow, heads, {**defaults, **attributes}, start)
        return named

    def _known(self, names: list[str]) -> list[str]:
        for name in names:
            self.text.nodes.setdefault(name, {})
        return list(names)

    def _join(
        self, tails: list[str], kind: str, heads: list[str], attributes: dict[str, Any], at: int
    ) -> None:
        if self.dot:
            kind = self._turned(kind, attributes, at)
        if len(self.text.edges) + len(tails) * len(heads) > MOST_JOINED:
            raise self._here(f"expected at most {MOST_JOINED} edges, got more", at)
        for tail in tails:
            for head in heads:
                kept = {k: v for k, v in attributes.items() if not (self.dot and k == "dir")}
                self.text.edges.append(Edge(tail, kind, head, at, kept))

    def _turned(self, kind: str, attributes: dict[str, Any], at: int) -> str:
        """The edge as Graphviz draws it."""
        if "invis" in re.split(r"[\s,]+", str(attributes.get("style", ""))):
            raise self._here("expected edges that can be seen, got one with style=invis", at)
        if kind == "--":
            return kind
        direction = str(attributes.get("dir", "forward")).lower()
        if direction not in _DIRECTIONS:
            raise self._here(f"expected dir={'|'.join(_DIRECTIONS)}, got dir={direction}", at)
        tail, head = (
            wanted and str(attributes.get(end, "")).lower() != "none"
            for wanted, end in zip(_DIRECTIONS[direction], _ENDS, strict=True)
        )
        return _KINDS[tail, head]

    def _here(self, message: str, position: int) -> Malformed:
        gap = re.compile(r"\s*").match(self.scanner.text, position)
        return self.scanner.error(message, gap.end() if gap else position)

    def _arrow(self) -> str | None:
        if self._ahead(_CIRCLES):
            raise self.scanner.malformed(
                "edges with known ends (a partial ancestral graph stands for several)"
            )
        start = self.scanner.position
        if not (match := self.scanner.accept(_ARROW)):
            return None
        kind = ARROWS[match[1]]
        allowed = {"digraph": "->", "graph": "--"}.get(self.text.kind or "")
        if allowed and match[1] != allowed:
            raise self.scanner.malformed(f"{allowed!r} in a {self.text.kind} of DOT", start)
        return kind

    def _group(self, nested: int, defaults: dict[str, Any]) -> tuple[list[str], bool]:
        """One node, or those of a group in braces."""
        if self.dot:
            self.scanner.accept(_SUBGRAPH)
        if self.scanner.accept(_OPEN):
            nodes = self.read(nested + 1, defaults)
            self.scanner.expect(_CLOSE, "'}'")
            return nodes, True
        name = self._name()
        while self.dot and self.scanner.accept(_PORT):
            pass
        return [name], False

    def _name(self) -> str:
        if match := self.scanner.accept(_QUOTED):
            name = self._unquoted(match[1])
            while self.dot and self.scanner.accept(_PLUS):
                name += self._unquoted(self.scanner.expect(_QUOTED, "a quoted name")[1])
            return name
        if match := self.scanner.accept(_NUMERAL):
            return match[1]
        if word := self._word():
            return word
        raise self.scanner.malformed("the name of a node (in double quotes if it has signs)")

    def _unquoted(self, written: str) -> str:
        return unquote(written.replace("\\\n", "") if self.dot else written)

    def _word(self) -> str:
        text = self.scanner.text
        start = end = len(text) - len(text[self.scanner.position :].lstrip())
        while end < len(text) and _in_word(text[end]):
            end += 1
        if text[start:end].endswith("_") and text.startswith("{", end):
            raise self.scanner.malformed(
                "a name without braces (one with braces stands in double quotes)", start
            )
        self.scanner.position = end if end > start else self.scanner.position
        return text[start:end]

    def _attributes(self) -> dict[str, Any]:
        """The attributes in square brackets, if there are some; a bare one is true."""
        found: dict[str, Any] = {}
        while self.scanner.accept(_BRACKET):
            while not self.scanner.accept(_END):
                if self.scanner.accept(_SEPARATOR):
                    continue
                key = self._name()
                found[key] = self._value() if self.scanner.accept(_EQUALS) else True
        return found

    def _value(self) -> str:
        start = len(self.scanner.text) - len(self.scanner.text[self.scanner.position :].lstrip())
        if self.dot and self.scanner.text.startswith("<", start):
            return self._html(start)
        return self._name()

    def _html(self, start: int) -> str:
        depth, text = 0, self.scanner.text
        for match in re.compile("[<>]").finditer(text, start):
            depth += 1 if match[0] == "<" else -1
            if not depth:
                self.scanner.position = match.end()
                return text[start : match.end()]
        raise self.scanner.error("expected '>', got the end of the text", len(text.rstrip()))

    def _ahead(self, what: re.Pattern[str]) -> bool:
        return what.match(self.scanner.text, self.scanner.position) is not None


def _in_word(character: str) -> bool:
    """Letters, digits and what is joined to them: marks, joiners, underscores and points."""
    return (
        character.isalnum()
        or character in "_.\u200c\u200d"
        or unicodedata.category(character) in ("Mn", "Mc")
    )


# --- Graphs -------------------------------------------------------------------------------------

_RESERVED = {"directed", "bidirected", "observed", "latent", "roles", "plates", "distribution"}
_FALSE = {"no", "false", "0", ""}


def graph_of(
    nodes: dict[str, dict[str, Any]], edges: Iterable[Edge], kind: str | None, scanner: Scanner
) -> nx.DiGraph | nx.Graph:
    """The graph of the nodes and edges, undirected where all edges are and its kind lets them.

    Raises:
        Malformed: two edges between the same nodes that contradict each other.
    """
    edges = list(edges)
    if kind == "pag":
        raise scanner.error("expected a dag, pdag, mag or graph, got a pag, which is several", 0)
    directed = kind in ("dag", "pdag", "mag", "digraph") or any(e.kind != "--" for e in edges)
    if kind == "graph" and any(e.kind != "--" for e in edges):
        odd = next(e for e in edges if e.kind != "--")
        raise scanner.error(f"expected '--' in a graph, got {odd.kind!r}", odd.position)
    graph = nx.DiGraph() if directed else nx.Graph()
    for name, attributes in nodes.items():
        graph.add_node(name, **node_attributes(attributes))
    for edge in edges:
        for u, v, marks in _arcs(edge, directed):
            _add(graph, u, v, marks, edge, scanner)
    return graph


def node_attributes(written: dict[str, Any]) -> dict[str, Any]:
    """The attributes under names that mean nothing else here, with ``latent`` as a truth value."""
    flags = {key.lower(): _flag(value) for key, value in written.items()}
    hidden = any(flags.get(key, False) for key in ("latent", "unobserved", "l", "u"))
    hidden |= flags.get("observed") is False
    kept = {k: v for k, v in written.items() if isinstance(k, str) and k not in _RESERVED}
    return kept | ({"latent": True} if hidden else {})


def _flag(value: Any) -> bool:
    return str(value).strip().lower() not in _FALSE


def _arcs(edge: Edge, directed: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    tail, head = (edge.head, edge.tail) if edge.kind == "<-" else (edge.tail, edge.head)
    if edge.kind == "<->":
        yield tail, head, {"bidirected": True}
    elif edge.kind == "--" and directed:
        yield tail, head, {"directed": False}
        yield head, tail, {"directed": False}
    else:
        yield tail, head, {}


def _add(
    graph: nx.Graph, u: str, v: str, marks: dict[str, Any], edge: Edge, scanner: Scanner
) -> None:
    """Add an arc; a ↔ beside an arrow takes the place of the opposite arrow."""
    if u == v and marks:
        raise scanner.error(f"expected an edge between two nodes, got {u!r} twice", edge.position)
    if marks.get("bidirected"):
        if _marks(graph, u, v) == marks or _marks(graph, v, u) == marks:
            return
        if graph.has_edge(u, v):
            u, v = v, u
    elif _marks(graph, u, v) == {"bidirected": True} and not graph.has_edge(v, u):
        graph.remove_edge(u, v)
        graph.add_edge(v, u, bidirected=True)
    clash = graph.has_edge(u, v) and _marks(graph, u, v) != marks
    if clash or (marks.get("directed") is False and _marks(graph, v, u) not in (None, marks)):
        raise scanner.error(
            f"expected edges that agree, got several between {u!r} and {v!r}", edge.position
        )
    kept = {k: w for k, w in edge.attributes.items() if isinstance(k, str) and k not in _RESERVED}
    graph.add_edge(u, v, **kept, **marks)


def _marks(graph: nx.Graph, u: str, v: str) -> dict[str, Any] | None:
    if not graph.has_edge(u, v):
        return None
    return {k: w for k, w in graph.edges[u, v].items() if k in ("directed", "bidirected")}
