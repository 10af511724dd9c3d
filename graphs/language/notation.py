r"""Names and the text around them, as factorizations and independences are written.

A name is a word of letters and digits of any script (``x1``, ``wet_grass``, ``var-3``), one with a
LaTeX subscript (``x_{t-1}``), a word set in a font (``\mathrm{rain}``, ``\text{wet grass}``), a
Greek letter (``\theta``) or anything in double quotes, where ``\"`` and ``\\`` stand for a quote
and a backslash and ``\u00e9`` or ``\u{1f600}`` for a character by its number. Names differ where
their characters do: no normal form is put in the place of another. What is not printable is always
written by its number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable
from typing import TypeAlias

from graphs.language.indices import MOST_FACTORS, Indices, Unfit
from graphs.language.signs import DOTS, GREEK, KERN

Node: TypeAlias = Hashable


# --- Writing ------------------------------------------------------------------------------------


def latex_name(name: Node) -> str:
    r"""The name as LaTeX math, which :func:`graphs.parse` reads back.

    A letter is italic, ``x_1`` gets a subscript, words are upright; other names are in ``\text``,
    their signs escaped and not joined to ligatures such as the dash of ``--``. LuaLaTeX, XeLaTeX
    and matplotlib's mathtext read every name; pdfLaTeX those of ASCII and of the letters that its
    encodings have.
    """
    text = str(name)
    if match := _LETTER.fullmatch(text):
        return match[1] + (f"_{{{match[2]}}}" if match[2] else "") + match[3]
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", text):
        return r"\mathrm{" + text.replace("_", r"\_") + "}"
    if not text or text.startswith('"') or not _printable(text):
        text = _quoted(text)
    return "".join(
        _PIECES[part] if part in _PIECES else rf"\text{{{_escaped(part)}}}"
        for part in _PARTS.split(text)
        if part
    )


_LETTER = re.compile(
    r"([A-Za-z][0-9]*(?!_)|[A-Za-z](?=_))(?:_([A-Za-z0-9]+(?:[,+\-][A-Za-z0-9]+)*))?('*)"
)
_PIECES = {
    "\\": r"\backslash", "~": r"\sim", "^": r"\hat{\ }",
    "<": r"\mathtt{<}", ">": r"\mathtt{>}", "|": r"\mathtt{|}",
}  # fmt: skip
_PARTS = re.compile(r"([\\^~<>|])|(?<=-)(?=-)|(?<=')(?=')|(?<=[`!?])(?=`)|(?<=,)(?=,)")
_SIGNS_IN_TEXT = re.compile(r"[%&#$_{}]|(?<= ) |\A | \Z")


def _escaped(text: str) -> str:
    return _SIGNS_IN_TEXT.sub(lambda m: "\\" + m[0], text)


_RESERVED = {
    "given", "not", "is", "are", "was", "were", "and", "or",
    "by", "from", "of", "on", "independent", "dependent", "conditional", "conditioned",
    "conditioning", "conditionally", "marginally", "mutually", "does", "do", "depends", "depend",
    "separates", "separate", "separated", "connected", "ind", "indep", "screens", "screen",
    "blocks", "block",
}  # fmt: skip
_RESERVED_WORD = re.compile(rf"(?:{'|'.join(_RESERVED)})(?![A-Za-z0-9_])", re.IGNORECASE)


def text_name(name: Node) -> str:
    """The name as :func:`parse` and :func:`graphs.query` read it back: quoted where it must be."""
    text = str(name)
    word, end = _word(text, 0)
    primes = text[end:]
    plain = bool(word) and word[0] != "_" and word[-1] != "_" and not primes.strip("'")
    if plain and "\\" not in text and not _RESERVED_WORD.match(text) and _printable(text):
        return text
    return _quoted(text)


def _printable(text: str) -> bool:
    """Whether a reader can see every character; joiners count between letters that they join."""
    return all(
        c.isprintable() or (c in _JOINERS and i and text[i - 1] > "\x7f" and i < len(text) - 1)
        for i, c in enumerate(text)
    )


def _quoted(text: str) -> str:
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    number = f"{ord(character):04x}"
    return f"\\u{number}" if len(number) == 4 else f"\\u{{{number}}}"


# --- Reading ------------------------------------------------------------------------------------


class ParseError(ValueError):
    """A text that cannot be read; the message shows the text with a caret under the character.

    >>> try:
    ...     graphs.parse("P(A) P(B|A")
    ... except graphs.ParseError as error:
    ...     print(error)
    expected ',' or ')', got the end of the text at character 11
      P(A) P(B|A
                ^
    """

    def __init__(self, text: str, position: int, expected: str):
        found = repr(text[position]) if position < len(text) else "the end of the text"
        start = max(0, position - 60)
        line = text[start : position + 20].replace("\n", " ")
        super().__init__(
            f"expected {expected}, got {found} at character {position + 1}\n"
            f"  {line}\n  {' ' * (position - start)}^"
        )
        self.text, self.position, self.expected = text, position, expected


_SPACING = re.compile(
    rf"(?:{KERN}|\\(?:left|right)\s*\.|\\(?:q?quad|left|right|displaystyle|nonumber|limits)(?![A-Za-z])"
    r"|\\[bB]igg?[lrm]?(?![A-Za-z])(?=\s*(?:\\?[{}]|[()\[\]|])))*"
)
_FONT_NAMES = {
    "plain": ("mathrm", "text", "mathit", "mathsf", "mathtt", "operatorname", "textrm", "mbox"),
    "bold": ("mathbf", "boldsymbol", "bm", "textbf", "mathbfit"),
    "script": ("mathcal", "mathscr"),
    "fraktur or blackboard": ("mathfrak", "mathbb"),
}
_FONTS = {command: font for font, commands in _FONT_NAMES.items() for command in commands}
_FONT = re.compile(
    rf"\\({'|'.join(_FONTS)})\*?\s*(?:\{{((?:[^{{}}\\]|\\.)*)\}}|(?<=[a-z])\s+([A-Za-z]))",
    re.DOTALL,
)
_PIECE = re.compile("|".join(map(re.escape, _PIECES.values())))
_PIECE_OF = {written: sign for sign, written in _PIECES.items()}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OTHER_QUOTES = re.compile(r"“([^“”\"]+)”|„([^„“”\"]+)[“”]|‘([^‘’]+)’|'([^']+)'(?!')")
_ESCAPE = re.compile(r'\\(?:(["\\])|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\})')
_COMMAND = re.compile(rf"\\({'|'.join(GREEK)})(?![A-Za-z])")
_SUBSCRIPT = re.compile(r"_\{((?:[^{}]|\{[^{}]*\})*)\}")
_SHORT_SUBSCRIPT = re.compile(rf"_(?:([A-Za-z0-9])|\\({'|'.join(GREEK)})(?![A-Za-z]))")
_UNDERSCORE_SIGN = re.compile(r"_\|(?:\||_)")
_IN_SUBSCRIPT = re.compile(r"\\(?:text|mathrm|mathit)\s*\{([^{}]*)\}")
_PRIMES = re.compile(r"'*")
_JOINERS = "\u200c\u200d"
_NAME = "the name of a variable"
_DOTS, _NUMBERED = re.compile(DOTS), re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)


def _joined(character: str) -> bool:
    """Letters and digits of any script, and the marks and joiners that belong to them."""
    return (
        character.isalnum()
        or character in _JOINERS
        or unicodedata.category(character) in ("Mn", "Mc")
    )


def _word(text: str, start: int) -> tuple[str, int]:
    """The word that starts here without its primes, and where it ends; empty without one."""
    parts, i = [], start
    if text.startswith("_", i) and i + 1 < len(text) and text[i + 1].isalnum():
        i += 1
    if i >= len(text) or not text[i].isalnum():
        return "", start
    begin = start
    while i < len(text):
        character = text[i]
        if _joined(character):
            i += 1
        elif character == "_":
            if text.startswith("_{", i) or _UNDERSCORE_SIGN.match(text, i):
                break
            i += 1
        elif text.startswith("\\_", i):
            parts.append(text[begin:i])
            begin, i = i + 1, i + 2
        elif character in ".-":
            after = i
            while after < len(text) and text[after] in ".-":
                after += 1
            if after == len(text) or not text[after].isalnum():
                break
            i = after
        else:
            break
    return "".join(parts) + text[begin:i], i


def _unquoted(text: str) -> str:
    """The name that stands in double quotes; other text as it is."""
    match = _QUOTED.fullmatch(text)
    return _ESCAPE.sub(_character, match[1]) if match else text


def _character(escape: re.Match[str]) -> str:
    number = int(escape[2] or escape[3] or "0", 16)
    return escape[1] or (chr(number) if number < 0x110000 else escape[0])


class Reader:
    """A cursor over a text, shared by the readers of factorizations and of queries."""

    def __init__(self, text: str, indices: Indices | None = None):
        self.text, self.position = text, 0
        self.fonts: dict[str, str] = {}
        self.parameters: dict[str, int] = {}
        self.indices = Indices() if indices is None else indices

    def skip(self) -> None:
        """Pass white space and LaTeX spacing."""
        match = _SPACING.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The match of a pattern right here, passing it, or ``None`` without moving."""
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def accept(self, pattern: re.Pattern[str] | str) -> re.Match[str] | None:
        """Like :meth:`match`, after white space."""
        self.skip()
        return self.match(re.compile(re.escape(pattern)) if isinstance(pattern, str) else pattern)

    def expect(self, pattern: re.Pattern[str] | str, expected: str) -> re.Match[str]:
        """Like :meth:`accept`, but a :class:`ParseError` says what was expected here."""
        match = self.accept(pattern)
        if match is None:
            raise self.error(expected)
        return match

    def error(self, expected: str, position: int | None = None) -> ParseError:
        """A :class:`ParseError` about this position, or another."""
        return ParseError(self.text, self.position if position is None else position, expected)

    def done(self) -> bool:
        self.skip()
        return self.position >= len(self.text)

    def name(self) -> str:
        """One variable name: a word, ``x_{1}``, a LaTeX word in a font or a quoted string.

        Raises:
            ParseError: none here; or one that was set in another font before, which would be
                another variable to a reader.
        """
        self.skip()
        start = self.position
        if len(names := self.some()) != 1:
            raise self.error(f"one variable, not the {len(names)} of a range", start)
        return names[0]

    def some(self) -> tuple[str, ...]:
        """One name, or those of a range such as ``x_{1:3}``, which may be none."""
        self.skip()
        start = self.position
        if self.text.startswith('"', start):
            return (self._quoted(),)
        if match := self.match(_OTHER_QUOTES):
            return (match[match.lastindex or 0],)
        written, literal, font = self._base(start)
        primes = self.match(_PRIMES)
        written += (primes[0] if primes else "") + self._subscript()
        try:
            names = self.indices.names(written, literal, start)
        except Unfit as error:
            raise self.error(str(error), start) from None
        for name in names:
            if self.fonts.setdefault(name, font) != font:
                raise self.error(
                    f"one font for {name!r}, since another may mean another variable", start
                )
        return names

    def indexed(self, subscript: str, position: int) -> str:
        """The subscript of a function, with the values of its indices."""
        inner = re.sub(r"\s", "", subscript.strip("_{}"))
        if not self.indices.values or not re.fullmatch(r"[\w,+\-]+", inner):
            return subscript
        try:
            return self.indices.names("_" + inner, 0, position)[0]
        except Unfit as error:
            raise self.error(str(error), position) from None

    def names(self) -> tuple[str, ...]:
        """Names separated by commas, with ranges and what dots stand for: ``x_1, ..., x_3``."""
        names = [*self.some()]
        while self.accept(","):
            if names and self.accept(_DOTS):
                self.expect(",", "',' after the dots")
                names = [*names[:-1], *self._filled(names[-1])]
            else:
                names += self.some()
        return tuple(names)

    def _filled(self, before: str) -> list[str]:
        """From ``x_1`` to ``x_3``, which follows the dots; within products perhaps none."""
        self.skip()
        start, last = self.position, self.name()
        first, end = _NUMBERED.fullmatch(before), _NUMBERED.fullmatch(last)
        least = -1 if self.indices.values else 1
        span = int(end[2]) - int(first[2]) if first and end and first[1] == end[1] else least - 1
        if not first or not end or not least <= span <= MOST_FACTORS:
            raise self.error(f"a name such as {before} with a higher number after the dots", start)
        return [f"{end[1]}{i}" for i in range(int(first[2]), int(end[2]) + 1)]

    def _base(self, start: int) -> tuple[str, int, str]:
        """A name up to its primes, how much of it was literal, and its font."""
        if piece := self.match(_PIECE):
            written = _PIECE_OF[piece[0]] + self._pieces()
            return written, len(written), "plain"
        if match := self.match(_FONT):
            inside = self._in_font(match)
            if match[1] == "text":
                inside = _unquoted(inside + self._pieces())
            return inside + self._short_subscript(), len(inside), _FONTS[match[1]]
        if command := self.match(_COMMAND):
            return command[1] + self._short_subscript(), len(command[1]), "plain"
        written, self.position = _word(self.text, start)
        if not written:
            raise self.error(_NAME)
        if written.endswith("_") and (command := self.match(_COMMAND)):
            written += command[1]
        return written, 0, "plain"

    def _quoted(self) -> str:
        match = self.match(_QUOTED)
        if match is None:
            raise self.error("a closing quote", len(self.text))
        return _unquoted(match[0])

    def _in_font(self, match: re.Match[str]) -> str:
        """What stands between the braces of a font command, its escapes resolved."""
        if match[2] is None:
            return match[3]
        if odd := re.search(r"\\(?![%&#$_{} ])", match[2]):
            raise self.error(r"an escaped sign such as \% or \_", match.start(2) + odd.start() + 1)
        return re.sub(r"\\(.)", r"\1", match[2])

    def _pieces(self) -> str:
        r"""More of a name that ``\text`` alone cannot hold, without a gap."""
        found = ""
        while self.text.startswith("\\", self.position):
            if piece := self.match(_PIECE):
                found += _PIECE_OF[piece[0]]
            elif self.text.startswith(r"\text{", self.position) and (match := self.match(_FONT)):
                found += self._in_font(match)
            else:
                break
        return found

    def _short_subscript(self) -> str:
        match = self.match(_SHORT_SUBSCRIPT)
        return f"_{match[1] or match[2]}" if match else ""

    def _subscript(self) -> str:
        match = self.match(_SUBSCRIPT)
        if match is None:
            return ""
        inner = _COMMAND.sub(r"\1", _IN_SUBSCRIPT.sub(r"\1", match[1]))
        inner = re.sub(r"\s*(?:\\[,;: ]|\s)*([,+\-:])(?:\\[,;: ]|\s)*", r"\1", inner).strip()
        if not re.fullmatch(r"[\w,+\-.:]+'*", inner) or inner.count(":") > inner.count(",") + 1:
            raise self.error("a subscript of letters, digits, commas and signs", match.start() + 1)
        if inner.endswith("'") and self.indices.values:
            raise self.error(
                "an index without a prime, since one with it has no value", match.start()
            )
        primes = self.match(_PRIMES)
        return f"_{inner}" + (primes[0] if primes else "")
