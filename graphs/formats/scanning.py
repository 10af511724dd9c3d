"""What the readers share: a cursor over a text, names and numbers, and errors with their line.

Readers blank comments in place, so that a position in the text they scan is a position in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

QUOTED = r'"(?:[^"\\]|\\.)*"'
_END = re.compile(r"\s*\Z")
_TOKEN = re.compile(rf"\s*({QUOTED}|[\w.+\-]+|\S|\Z)", re.DOTALL)
_WORD = re.compile(r"[^\s,]+")
_ITEM = re.compile(rf'({QUOTED})|([^\s,"][^,"]*)', re.DOTALL)


class Malformed(ValueError):
    """What a reader expected and what came, and the line of the file, counted from one."""

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


def decode(data: bytes) -> str:
    """Text from UTF-8, with or without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(f"expected UTF-8 text, got the byte {data[error.start]:#x}", line) from None


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def blank_comments(text: str, comment: str) -> str:
    """The text with every match of a pattern blanked, except inside quotes; newlines stay."""
    pattern = re.compile(rf'"(?:[^"\\]|\\.)*(?:"|\Z)|(?P<comment>{comment})', re.DOTALL)

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0]) if match["comment"] else match[0]

    return pattern.sub(blank, text)


class Scanner:
    """A cursor over a text; every pattern passes the white space before it."""

    def __init__(self, text: str, position: int = 0):
        self.text, self.position = text, position

    def accept(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def expect(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        match = self.accept(pattern)
        if match is None:
            raise self.malformed(expected)
        return match

    def malformed(self, expected: str, position: int | None = None) -> Malformed:
        """An error that names the token at a position, here unless told."""
        start = self.position if position is None else position
        match = _TOKEN.match(self.text, start)
        if match is None or not match[1]:
            end = len(self.text.rstrip())
            return self.error(f"expected {expected}, got the end of the file", end)
        return self.error(f"expected {expected}, got {match[1]!r}", match.start(1))

    def error(self, message: str, position: int) -> Malformed:
        return Malformed(message, line_of(self.text, position))

    def done(self) -> bool:
        return _END.match(self.text, self.position) is not None


def pattern(text: str) -> re.Pattern[str]:
    """A pattern for :class:`Scanner`, after any white space."""
    return re.compile(r"\s*" + text, re.DOTALL)


def unquote(name: str) -> str:
    r"""The name without its quotes; ``\"`` and ``\\`` stand for a quote and a backslash."""
    if len(name) > 1 and name[0] == name[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", name[1:-1])
    return name


def quote(name: str) -> str:
    r"""The name in quotes; :func:`unquote` reads it back."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_names(segment: str, whole: bool = False) -> list[str]:
    """Names between commas; without commas or quotes, words (or one name, if ``whole``)."""
    if '"' in segment:
        found = [
            (unquote(quoted) if quoted else bare.strip()) for quoted, bare in _ITEM.findall(segment)
        ]
        return found if not _ITEM.sub("", segment).strip(", \t\r\n") else []
    if "," in segment:
        return [name.strip() for name in segment.split(",")]
    return [segment.strip()] if whole else segment.split()


def numbers(segment: str) -> list[float]:
    """Numbers between white space or commas.

    Raises:
        ValueError: a word that is no number; :func:`not_a_number` finds it.
    """
    if "_" in segment:
        raise ValueError
    return list(map(float, segment.replace(",", " ").split()))


def is_number(word: str) -> bool:
    try:
        return len(numbers(word)) == 1
    except ValueError:
        return False


def words(text: str, start: int = 0, stop: int | None = None) -> Iterator[re.Match[str]]:
    """The words of a part of a text, between white space and commas."""
    return _WORD.finditer(text, start, len(text) if stop is None else stop)


def not_a_number(scanner: Scanner, start: int, stop: int) -> Malformed:
    """The error for the first word of a part of the text that is no number."""
    bad = next(word for word in words(scanner.text, start, stop) if not is_number(word[0]))
    return scanner.malformed("a number", bad.start())


def place(scanner: Scanner, start: int, stop: int, index: int) -> int:
    """The position of the number with an index in a part of the text."""
    word = next(islice(words(scanner.text, start, stop), index, None), None)
    return word.start() if word else start
