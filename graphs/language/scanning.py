"""What the readers share: a cursor over a text, names and numbers, and errors with their line.

Readers blank comments in place, so that a position in the text they scan is a position in the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from itertools import islice

QUOTED = r'"(?:[^"\\]|\\.)*"'
COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_END = re.compile(r"\s*\Z")
_TOKEN = re.compile(rf"\s*({QUOTED}|[\w.+\-]+|\S|\Z)", re.DOTALL)
_WORD = re.compile(r"[^\s,]+")
_ITEM = re.compile(rf'({QUOTED})|([^\s,"][^,"]*)', re.DOTALL)


class Malformed(ValueError):
    """What a reader expected and what came, and the line of the file, counted from one."""

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


def is_packed(name: str, start: bytes) -> bool:
    """Whether a file is compressed by gzip, by its name or its first bytes."""
    return name.lower().endswith(".gz") or start.startswith(b"\x1f\x8b")


def encoding_of(start: bytes) -> str:
    """What the byte order mark at the start of a text says, else UTF-8."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def decode(data: bytes) -> tuple[str, str]:
    """Text, from UTF-8 or what a byte order mark says, else from Latin-1; and what was assumed."""
    encoding = encoding_of(data)
    try:
        return data.decode(encoding), ""
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        got = f"{data[error.start]:#x} in line {line}"
    if encoding != "utf-8" or b"\0" in data:
        raise Malformed(f"expected text in {encoding}, got the byte {got}", line)
    return data.decode("latin-1"), f"expected UTF-8, got the byte {got}; read as Latin-1"


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


OPEN, CLOSE = pattern(r"\{"), pattern(r"\}")


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


def number_words(segment: str) -> list[str]:
    """What stands between white space and commas."""
    return segment.replace(",", " ").split()


def numbers(words: Sequence[str]) -> list[float]:
    """The numbers that words stand for.

    Raises:
        ValueError: a word that is no number; :func:`not_a_number` finds it.
    """
    # Python reads 1_000 and digits of any script
    joined = " ".join(words)
    if "_" in joined or not joined.isascii():
        raise ValueError
    return list(map(float, words))


def is_number(word: str) -> bool:
    try:
        return len(numbers([word])) == 1
    except ValueError:
        return False


def words(text: str, start: int = 0, stop: int | None = None) -> Iterator[re.Match[str]]:
    """The words of a part of a text, between white space and commas."""
    return _WORD.finditer(text, start, len(text) if stop is None else stop)


def numbers_in(scanner: Scanner, match: re.Match[str], group: int) -> list[float]:
    """The numbers of a group of a match.

    Raises:
        Malformed: a word that is no number.
    """
    try:
        return numbers(number_words(match[group]))
    except ValueError:
        raise not_a_number(scanner, *match.span(group)) from None


def only_child(scanner: Scanner, names: Sequence[str], header: re.Match[str]) -> str:
    """The one node before the bar of a header.

    Raises:
        Malformed: none or several.
    """
    if len(names) != 1:
        raise scanner.error(f"expected one node before '|', got {len(names)}", header.start(1))
    return names[0]


def not_a_number(scanner: Scanner, start: int, stop: int) -> Malformed:
    """The error for the first word of a part of the text that is no number."""
    bad = next(word for word in words(scanner.text, start, stop) if not is_number(word[0]))
    return scanner.malformed("a number", bad.start())


def place(scanner: Scanner, start: int, stop: int, index: int) -> int:
    """The position of the number with an index in a part of the text."""
    word = next(islice(words(scanner.text, start, stop), index, None), None)
    return word.start() if word else start
