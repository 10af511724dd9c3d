r"""XMLBIF 0.3 (Cozman 1998), as JavaBayes, Weka, SamIam, aGrUM and pgmpy write it.

::

    <BIF VERSION="0.3"><NETWORK><NAME>asia</NAME>
    <VARIABLE TYPE="nature">
      <NAME>tub</NAME><OUTCOME>yes</OUTCOME><OUTCOME>no</OUTCOME>
    </VARIABLE>
    <DEFINITION>
      <FOR>tub</FOR><GIVEN>asia</GIVEN><TABLE>0.05 0.95 0.01 0.99</TABLE>
    </DEFINITION>
    </NETWORK></BIF>

The numbers of a table run over the given variables in their order, then over the variable itself,
whose states vary fastest. White space around a name is no part of it, unless the element says
``xml:space="preserve"``. A document type may declare elements and attributes; one that declares an
entity is refused, and nothing outside the file is ever read.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from xml.parsers import expat
from xml.sax.saxutils import escape

import networkx as nx

from ..tables import Tables
from .network import Network
from .scanning import Malformed, is_number, numbers, words

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[_Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    # the offset in the text at which each piece begins, and its line
    marks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def name(self) -> str:
        keep = self.attributes.get("xml:space") == "preserve"
        return self.text if keep else self.text.strip()

    def all(self, *tags: str) -> list[_Element]:
        return [child for child in self.children if child.tag in tags]

    def only(self, tag: str) -> _Element:
        """The one child of a kind."""
        found = self.all(tag)
        if len(found) != 1:
            line = found[1].line if found else self.line
            raise Malformed(f"expected one <{tag}> in <{self.tag}>, got {len(found)}", line)
        return found[0]

    def line_at(self, offset: int) -> int:
        i = bisect_right(self.marks, (offset, self.line + 10**9)) - 1
        return self.marks[i][1] if i >= 0 else self.line


def _parse(data: bytes) -> _Element:
    """The document as a tree; entities are refused rather than expanded."""
    parser = expat.ParserCreate()
    document = _Element("document", {}, 1)
    stack, lengths = [document], [0]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = _Element(tag.upper(), attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)
        lengths.append(0)

    def end(tag: str) -> None:
        stack.pop()
        lengths.pop()

    def text(piece: str) -> None:
        stack[-1].marks.append((lengths[-1], parser.CurrentLineNumber))
        stack[-1].pieces.append(piece)
        lengths[-1] += len(piece)

    def refuse(name: str, *_: object) -> None:
        line = parser.CurrentLineNumber
        raise Malformed(f"expected no entities beyond XML's own, got {name!r}", line)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise Malformed(
            f"expected XML, got {expat.ErrorString(error.code)}", error.lineno
        ) from None
    except Malformed:
        raise
    except (LookupError, ValueError) as error:
        raise Malformed(f"expected XML in a known encoding, got {error}", 1) from None
    return document


def read(data: bytes, tables: bool) -> Tables | nx.DiGraph:
    """The network of an XMLBIF file, or only its graph.

    Raises:
        Malformed: with the line, whatever the document or the network lacks.
    """
    root = _parse(data).children[0]
    if root.tag != "BIF":
        raise Malformed(f"expected <BIF>, got <{root.tag}>", root.line)
    body = root.only("NETWORK")
    network = Network(lambda line: line)
    network.name = next((child.name for child in body.all("NAME")), "")
    for variable in body.all("VARIABLE"):
        kind = variable.attributes.get("TYPE", "nature")
        if kind != "nature":
            raise Malformed(f"expected variables of type 'nature', got {kind!r}", variable.line)
        states = [outcome.name for outcome in variable.all("OUTCOME", "VALUE")]
        network.declare(variable.only("NAME").name, states, None, variable.line)
    for definition in body.all("DEFINITION", "PROBABILITY"):
        parents = [given.name for given in definition.all("GIVEN")]
        child = definition.only("FOR")
        network.define((*parents, child.name), child.line)
        if tables:
            _table(network, definition.only("TABLE"))
    return network.finish(tables)


def _table(network: Network, table: _Element) -> None:
    text = table.text

    def line(number: int) -> int:
        return table.line_at(next(islice(words(text), number, None)).start())

    try:
        values = numbers(text)
    except ValueError:
        bad = next(word for word in words(text) if not is_number(word[0]))
        line_of_bad = table.line_at(bad.start())
        raise Malformed(f"expected a number, got {bad[0]!r}", line_of_bad) from None
    network.fill(values, table.line, line)


def write(tables: Tables) -> Iterator[str]:
    """The text of a Bayesian network in pieces; numbers in full precision."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<BIF VERSION="0.3">\n<NETWORK>\n'
    yield f"{_element('NAME', tables.name)}\n"
    for v, states in tables.states.items():
        yield f'<VARIABLE TYPE="nature">\n  {_element("NAME", v)}\n'
        yield "".join(f"  {_element('OUTCOME', s)}\n" for s in states)
        yield "</VARIABLE>\n"
    for (*parents, child), array in tables.factors:
        yield f"<DEFINITION>\n  {_element('FOR', child)}\n"
        yield "".join(f"  {_element('GIVEN', p)}\n" for p in parents)
        yield "  <TABLE>\n"
        for row in array.reshape(-1, array.shape[-1]).tolist():
            yield f"    {' '.join(map(repr, row))}\n"
        yield "  </TABLE>\n</DEFINITION>\n"
    yield "</NETWORK>\n</BIF>\n"


def _element(tag: str, name: object) -> str:
    text = str(name)
    if _NOT_XML.search(text):
        raise ValueError(f"expected names of characters that XML can hold, got {text!r}")
    keep = ' xml:space="preserve"' if text != text.strip() else ""
    # a reader of XML turns other line ends into \n, and may fold white space
    escaped = escape(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})
    return f"<{tag}{keep}>{escaped}</{tag}>"
