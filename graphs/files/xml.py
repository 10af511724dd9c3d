"""XML documents as small trees with line numbers, for the formats that are written in XML.

Entities are refused rather than expanded, and nothing outside the document is read. Prefixes of
namespaces are dropped from tags and attributes, and blank lines before the declaration are passed
over, which the standard refuses and editors leave behind; so are comments that begin with one
hyphen instead of two, which some versions of aGrUM write.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from xml.parsers import expat

from graphs.files.network import Network
from graphs.language.scanning import Malformed, is_number, number_words, numbers, words

_COMMENTS = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|(?P<stray><!-\s[^<>]*>)", re.DOTALL)


@dataclass
class Element:
    """An element: its tag in capitals, its attributes, children and text."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    # the offset in the text at which each piece begins, and its line
    marks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def name(self) -> str:
        keep = self.attributes.get("space") == "preserve"
        return self.text if keep else self.text.strip()

    def all(self, *tags: str) -> list[Element]:
        return [child for child in self.children if child.tag in tags]

    def only(self, tag: str) -> Element:
        """The one child of a kind."""
        found = self.all(tag)
        if len(found) != 1:
            line = found[1].line if found else self.line
            raise Malformed(f"expected one <{tag}> in <{self.tag}>, got {len(found)}", line)
        return found[0]

    def attribute(self, name: str) -> str:
        if name not in self.attributes:
            raise Malformed(f"expected {name}='...' in <{self.tag}>, got none", self.line)
        return self.attributes[name]

    def line_at(self, offset: int) -> int:
        i = bisect_right(self.marks, (offset, self.line + 10**9)) - 1
        return self.marks[i][1] if i >= 0 else self.line


def parse(data: bytes) -> Element:
    """The root element.

    Raises:
        Malformed: what is no XML, or declares entities.
    """
    data = _COMMENTS.sub(_blanked, data.removeprefix(codecs.BOM_UTF8))
    blank = len(data) - len(data.lstrip())
    above = data.count(b"\n", 0, blank)
    parser = expat.ParserCreate()
    document = Element("document", {}, 1)
    stack, lengths = [document], [0]

    def line() -> int:
        return parser.CurrentLineNumber + above

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(_local(tag).upper(), {}, line())
        element.attributes = {_local(name): value for name, value in attributes.items()}
        stack[-1].children.append(element)
        stack.append(element)
        lengths.append(0)

    def end(tag: str) -> None:
        stack.pop()
        lengths.pop()

    def text(piece: str) -> None:
        stack[-1].marks.append((lengths[-1], line()))
        stack[-1].pieces.append(piece)
        lengths[-1] += len(piece)

    def refuse(name: str, *_: object) -> None:
        raise Malformed(f"expected no entities beyond XML's own, got {name!r}", line())

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(data[blank:], True)
    except expat.ExpatError as error:
        got = expat.ErrorString(error.code)
        raise Malformed(f"expected XML, got {got}", error.lineno + above) from None
    except Malformed:
        raise
    except (LookupError, ValueError) as error:
        raise Malformed(f"expected XML in a known encoding, got {error}", 1) from None
    return document.children[0]


def _blanked(match: re.Match[bytes]) -> bytes:
    return re.sub(rb"[^\n]", b" ", match[0]) if match["stray"] else match[0]


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def fill(network: Network, table: Element, child: str, order: Sequence[int] | None = None) -> None:
    """The next table of a network, from the numbers of an element.

    Args:
        network: where it goes.
        table: the element.
        child: the variable whose states vary fastest.
        order: the indices of the numbers in C order, where the file lists them otherwise; whole
            rows move.
    """
    text, size = table.text, len(network.states[child])
    listed = number_words(text)

    def line(number: int) -> int:
        at = number if order is None else order[number]
        word = next(islice(words(text), at, None), None)
        return table.line_at(word.start()) if word else table.line

    try:
        numbers(listed)
    except ValueError:
        bad = next(word for word in words(text) if not is_number(word[0]))
        raise Malformed(f"expected a number, got {bad[0]!r}", table.line_at(bad.start())) from None
    if order is not None and len(order) == len(listed):
        listed = [listed[i] for i in order]

    def row_words(row: int) -> list[str]:
        return listed[row * size : (row + 1) * size]

    network.fill(numbers(listed), table.line, line, row_words)
