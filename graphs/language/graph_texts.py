r"""Graphs as other programs write them: dagitty, DOT, GML, lists of edges, and tables of edges.

=============  ===================================================================
dagitty        ``dag { A -> C -> B; U [latent]; A <-> B }``, also ``pdag``, ``mag``
DOT            ``digraph { A -> {B; C} }``, ``graph { A -- B }`` (Graphviz)
GML            ``graph [ directed 1 node [ id 0 label "A" ] ... ]``
edges          ``A->C, C->B``, ``A -- B`` or ``$A \to B$``, separated by commas, semicolons
               or lines
table (CSV)    two columns of names, ``from,to`` or without a header; arrows go from
               the first to the second; a column ``type`` may say ``undirected``
=============  ===================================================================

Nothing in a text is run. Positions, colours and other attributes are kept on nodes and edges, but
mean nothing; those that mark a node as unobserved (``latent``, ``unobserved``, ``observed=no``) set
the node attribute ``latent``, which queries heed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import networkx as nx

from graphs.language.edge_texts import ARROW, COMMENT, HEADER, Edge, graph_of, read_edges
from graphs.language.frames import unframed
from graphs.language.scanning import Malformed, Scanner, blank_comments, is_number, line_of
from graphs.language.signs import ARROWS, any_of

_BRACED = re.compile(HEADER.pattern + r'\s*(?:"[^"]*"|[^\s{"\[]+)?\s*\{', re.IGNORECASE)
_GML = re.compile(r"\s*(?:[A-Za-z]\w*\s+(?:\"[^\"]*\"|[\w.]+)\s+)*graph\s*\[")
_QUOTES = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HEADERS = (
    ("from", "to"), ("source", "target"), ("parent", "child"), ("tail", "head"),
    ("cause", "effect"), ("start", "end"), ("src", "dst"), ("node1", "node2"), ("u", "v"),
)  # fmt: skip
_LATEX = re.compile(any_of(sign for sign in ARROWS if sign.startswith("\\")))
_KINDS = {"directed": "->", "undirected": "--", "bidirected": "<->", "forward": "->", **ARROWS}


def is_graph_text(text: str) -> bool:
    """Whether a text is one :func:`read_graph` reads, and no factorization or file name.

    Tables of edges are not told from other text, so they do not count.
    """
    blanked = blank_comments(_levelled(text), COMMENT)
    if _BRACED.match(blanked) or _is_gml(text):
        return True
    return ARROW.search(_QUOTES.sub('""', blanked)) is not None


def read_graph(text: str) -> nx.DiGraph | nx.Graph:
    r"""The graph of a text in the dagitty language, DOT, GML, or a list or table of edges.

    A byte order mark, any line ends and comments (``//``, ``/* */``, lines after ``#``) are passed
    over. Names are text, exactly as written.

    Returns:
        A ``Graph`` where all edges are undirected, unless a ``dag`` or ``pdag`` was announced; else
        a ``DiGraph``, in which an edge without arrow is one in either direction with the attribute
        ``directed=False``, as in :func:`graphs.essential_graph`, and
        :math:`A \leftrightarrow B`, an unobserved common cause of both, an edge in one of them with
        ``bidirected=True``.

    Raises:
        ValueError: a text in another notation, or one that cannot be read, with the line.

    >>> graphs.read_graph("dag { A -> C -> B }").edges
    OutEdgeView([('A', 'C'), ('C', 'B')])
    >>> graphs.read_graph("A <-> B").edges["A", "B"]
    {'bidirected': True}
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a graph as text, got {type(text).__name__}")
    text = _levelled(text)
    if _is_gml(text):
        return _gml(text)
    blanked = blank_comments(text, COMMENT)
    if _BRACED.match(blanked) or ARROW.search(_QUOTES.sub('""', blanked)):
        if not _BRACED.match(blanked) and _looks_tabular(blanked):
            return _table(blanked)
        found = read_edges(blanked)
        return graph_of(found.nodes, found.edges, found.kind, Scanner(blanked))
    return _table(blanked)


def _levelled(text: str) -> str:
    """The text with plain line ends, and without what stands around it in LaTeX."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return unframed(text) if _LATEX.search(_QUOTES.sub('""', text)) else text


# --- GML ----------------------------------------------------------------------------------------


def _is_gml(text: str) -> bool:
    return _GML.match(re.sub(r"(?m)^\s*#.*$", "", text)) is not None


def _gml(text: str) -> nx.DiGraph | nx.Graph:
    """By networkx's own reader, with labels as names, or numbers where nodes have no labels."""
    label = "label" if re.search(r"\blabel\b", _QUOTES.sub('""', text)) else "id"
    try:
        found = nx.parse_gml(text, label=label)
    except (nx.NetworkXException, ValueError, KeyError, RecursionError) as error:
        raise Malformed(f"expected a graph in GML, got {error}", _gml_line(error)) from None
    names = [str(v) for v in found]
    if len(set(names)) < len(names):
        raise Malformed("expected labels that differ as text in GML", 1)
    directed = found.is_directed()
    edges = []
    for u, v, data in found.edges(data=True):
        kind = "<->" if _one(data.get("bidirected")) else "->" if directed else "--"
        if directed and str(data.get("directed", "1")).lower() in ("0", "false"):
            kind = "--"
        edges.append(Edge(str(u), kind, str(v), 0, data))
    nodes = {str(v): dict(data) for v, data in found.nodes(data=True)}
    return graph_of(nodes, edges, "digraph" if directed else None, Scanner(text))


def _one(value: Any) -> bool:
    return str(value).lower() in ("1", "true", "yes")


def _gml_line(error: Exception) -> int:
    match = re.search(r"at \((\d+), \d+\)", str(error))
    return int(match[1]) if match else 1


# --- Tables -------------------------------------------------------------------------------------


def _looks_tabular(text: str) -> bool:
    """Whether an arrow stands alone in the field of a table."""
    arrows = "|".join(map(re.escape, ARROWS))
    return re.search(rf'(?m)^[^,;\t\n]+[,;\t]\s*"?(?:{arrows})"?\s*[,;\t]', text) is not None


def _table(text: str) -> nx.DiGraph | nx.Graph:
    scanner = Scanner(text)
    rows = list(_rows(text))
    if not rows or min(len(cells) for _, cells in rows) < 2:
        bad = next((at for at, cells in rows if len(cells) < 2), 0)
        raise scanner.malformed(
            "a graph: dag { A -> B }, digraph { A -> B }, GML, or edges such as A -> B", bad
        )
    header = [cell.lower() for cell in rows[0][1]]
    ends = next((pair for pair in _HEADERS if set(pair) <= set(header)), None)
    if ends is None:
        edges = [_plain_row(at, cells, scanner) for at, cells in rows]
        _require_names(rows, scanner)
    else:
        edges = [_row(at, cells, header, ends, scanner) for at, cells in rows[1:]]
    nodes: dict[str, dict[str, Any]] = {}
    for edge in edges:
        nodes |= {edge.tail: {}, edge.head: {}}
    return graph_of(nodes, edges, None if ends is None or edges else "digraph", scanner)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that has any, and the position where the row starts."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = next((mark for mark in "\t;" if mark in first), ",")
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    before = 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield starts[before], [cell.strip() for cell in cells]
            before = reader.line_num
    except csv.Error as error:
        raise Malformed(f"expected a table of edges, got {error}", before + 1) from None


def _plain_row(at: int, cells: Sequence[str], scanner: Scanner) -> Edge:
    """``A,B`` or ``A,->,B`` or ``A,B,0.5``."""
    if len(cells) == 3 and cells[1] in ARROWS:
        return Edge(cells[0], ARROWS[cells[1]], cells[2], at, {})
    if len(cells) == 2 or (len(cells) == 3 and is_number(cells[2])):
        attributes = {"weight": float(cells[2])} if len(cells) == 3 else {}
        return Edge(*_named(cells[:2], at, scanner), at, attributes)
    raise scanner.error("expected a row of two names, tail and head of an edge", at)


def _named(cells: Sequence[str], at: int, scanner: Scanner) -> tuple[str, str, str]:
    tail, head = cells
    if not tail or not head:
        raise scanner.error("expected two names in a row, got an empty one", at)
    return tail, "->", head


def _require_names(rows: Sequence[tuple[int, list[str]]], scanner: Scanner) -> None:
    """Refuse what is more likely a table of data: numbers below a header that has none."""
    below = [cell for _, cells in rows[1:] for cell in cells[:2]]
    if below and all(map(is_number, below)) and not any(map(is_number, rows[0][1][:2])):
        raise Malformed(
            "expected a table of edges with a header such as from,to, got numbers below "
            f"{','.join(rows[0][1])}, as in a table of data",
            line_of(scanner.text, rows[1][0]),
        )


def _row(
    at: int, cells: Sequence[str], header: Sequence[str], ends: Sequence[str], scanner: Scanner
) -> Edge:
    if len(cells) > len(header) or len(cells) <= max(map(header.index, ends)):
        raise scanner.error(f"expected {len(header)} cells in a row, got {len(cells)}", at)
    named = dict(zip(header, cells, strict=False))
    tail, kind, head = _named([named[end] for end in ends], at, scanner)
    for column in ("type", "arrow", "kind", "edge"):
        if named.get(column):
            if (word := named[column].lower()) not in _KINDS:
                raise scanner.error(f"expected directed or undirected, got {word!r}", at)
            kind = _KINDS[word]
    attributes = {k: v for k, v in named.items() if k not in ends}
    return (
        Edge(tail, kind, head, at, attributes) if kind != "<-" else Edge(head, "->", tail, at, {})
    )
