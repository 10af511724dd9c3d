r"""Names and the text around them, as factorisations and independences are written.

A name is a word (``x1``, ``wet_grass``, ``var-3``), a letter with a LaTeX subscript (``x_{1}``), a
word set upright (``\mathrm{rain}``) or anything in double quotes. LaTeX spacing and product signs
count as white space.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TypeAlias

Node: TypeAlias = Hashable


def latex_name(name: Node) -> str:
    """The name as LaTeX: a letter is italic, ``x_1`` gets a subscript, words are upright."""
    text = str(name)
    if match := re.fullmatch(r"([^\W\d_])_([^\W_]+(?:,[^\W_]+)*)('*)", text):
        return f"{match[1]}_{{{match[2]}}}{match[3]}"
    if re.fullmatch(r"[^\W\d_]\d*'*", text):
        return text
    return r"\mathrm{" + text.replace("_", r"\_") + "}"


_PLAIN_NAME = re.compile(r"_?[^\W_]([\w.\-]*[\w.])?'*")


def text_name(name: Node) -> str:
    """The name as :func:`parse` and :func:`graphs.query` read it back: quoted where it must be."""
    text = str(name)
    return text if _PLAIN_NAME.fullmatch(text) else '"' + text + '"'


class ParseError(ValueError):
    """A text that cannot be read; the message shows the text with a caret under the character."""

    def __init__(self, text: str, position: int, expected: str):
        found = repr(text[position]) if position < len(text) else "the end of the text"
        start = max(0, position - 60)
        line = text[start : position + 20].replace("\n", " ")
        super().__init__(
            f"expected {expected}, got {found} at character {position + 1}\n"
            f"  {line}\n  {' ' * (position - start)}^"
        )
        self.text, self.position, self.expected = text, position, expected


_SPACING = re.compile(r"(?:\s|\\[,;:! ]|\\(?:quad|left|right|cdot|times)(?![A-Za-z])|[*·×&~])*")
BAR = re.compile(r"\||\\middle\s*\||\\mid(?![A-Za-z])|\\vert(?![A-Za-z])|∣")
_NAME = re.compile(
    r'"(?P<quoted>[^"]*)"'
    r"|\\(?:mathrm|text|mathit|mathsf|operatorname)\s*\{(?P<upright>[^{}]*)\}"
    r"|\\?(?P<plain>[^\W_](?:[\w.\-]|\\_)*?(?:_\{[\w,]+\}\w*)?'*)(?=[^\w.'\-\\]|\\(?!_)|$)"
    r"|(?P<underscored>_[\w.\-]+'*)"
)


class Reader:
    """A cursor over a text, shared by the readers of factorisations and of queries."""

    def __init__(self, text: str):
        self.text, self.position = text, 0

    def skip(self) -> None:
        """Pass white space, LaTeX spacing and product signs."""
        match = _SPACING.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def accept(self, pattern: re.Pattern[str] | str) -> re.Match[str] | None:
        """The match of a pattern here, passing it, or ``None`` without moving."""
        self.skip()
        if isinstance(pattern, str):
            pattern = re.compile(re.escape(pattern))
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def expect(self, pattern: re.Pattern[str] | str, expected: str) -> re.Match[str]:
        """Like :meth:`accept`, but a :class:`ParseError` says what was expected here."""
        match = self.accept(pattern)
        if match is None:
            raise ParseError(self.text, self.position, expected)
        return match

    def done(self) -> bool:
        self.skip()
        return self.position >= len(self.text)

    def name(self) -> str:
        """One variable name: a word, ``x_{1}``, an upright LaTeX word or a quoted string."""
        match = self.expect(_NAME, "the name of a variable")
        if match["quoted"] is not None:
            return match["quoted"]
        written = next(part for part in match.groups() if part is not None)
        return re.sub(r"[{}]", "", written.replace("\\_", "_"))

    def names(self) -> tuple[str, ...]:
        """One or more names separated by commas."""
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        return tuple(names)
