r"""Independence statements as text: read from a keyboard or from LaTeX, and written back.

A statement is :math:`X \perp Y \mid Z`. The sign is any of ⟂ ⊥ ⫫ ⊥⊥, ``_||_``, ``_|_``,
``\perp``, ``\perp\!\!\!\perp``, ``\bot``, ``\indep``, ``\independent`` or the words ``independent
of``; the bar any of ``|``, ``\mid``, ``given``; a set is a list of names, bare, in braces or in
parentheses, or ``∅``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .notation import BAR, Node, ParseError, Reader, latex_name, text_name

_GLUE = r"(?:\s|\\[!,;: ])*"
_SYMBOL = re.compile(
    r'"[^"]*"|(?P<symbol>_\|\|_|_\|_|_\|\|(?!\w)|\|\|_?|'
    + rf"(?:⟂|⊥|⫫|\\(?:perp|bot|Perp)(?![A-Za-z]))(?:{_GLUE}(?:⟂|⊥|\\(?:perp|bot)(?![A-Za-z])))?|"
    + r"\\(?:indep|independent|Indep|CI|upvDash)(?![A-Za-z])|"
    + r"\b(?:is\s+|are\s+)?(?:independent\s+of|d-separated\s+from)\b)"
)
_GIVEN = re.compile(rf"{BAR.pattern}|given\b|conditional\s+on\b")
_EMPTY = re.compile(r"∅|\\emptyset(?![A-Za-z])|\\varnothing(?![A-Za-z])")
_OPEN, _CLOSE = re.compile(r"\\?\{|\["), re.compile(r"\\?\}|\]")
_END = re.compile(r"$")
_EXPECTED_SYMBOL = r"an independence sign such as ⟂, _||_ or \perp"


class Statement(NamedTuple):
    """The names of the three sets, in the order written."""

    x: tuple[str, ...]
    y: tuple[str, ...]
    given: tuple[str, ...]


def read_statement(text: str) -> Statement:
    """The sets of names in a statement such as ``A, B ⟂ C | D``.

    Raises:
        ValueError: not a text; a :class:`graphs.ParseError` points at the character that does not
            fit.
    """
    if not isinstance(text, str):
        raise ValueError(f"expected an independence as text, got {type(text).__name__}")
    stripped = text.strip().strip("$").strip()
    # the sign, of one character and otherwise blank, so that names end before _||_ and every
    # character keeps its place
    level = _SYMBOL.sub(lambda m: "⟂".ljust(len(m[0])) if m["symbol"] else m[0], stripped)
    try:
        return _statement(Reader(level))
    except ParseError as error:
        raise ParseError(stripped, error.position, error.expected) from None


def _statement(reader: Reader) -> Statement:
    wrapped = reader.accept("(")
    x = _names(reader)
    if wrapped and reader.accept(")"):
        wrapped = None
    reader.expect("⟂", f"',' or {_EXPECTED_SYMBOL}")
    y = _names(reader)
    given = _names(reader) if reader.accept(_GIVEN) else None
    more = "','" if given is not None else "',', '|'"
    if wrapped:
        reader.expect(")", f"{more} or ')'")
    reader.expect(_END, f"{more} or the end of the text")
    return Statement(x, y, given or ())


def _names(reader: Reader) -> tuple[str, ...]:
    if reader.accept(_EMPTY):
        return ()
    if reader.accept(_OPEN):
        if reader.accept(_CLOSE):
            return ()
        names = reader.names()
        reader.expect(_CLOSE, "',' or '}'")
        return names
    if reader.accept("("):
        names = reader.names()
        reader.expect(")", "',' or ')'")
        return names
    return reader.names()


def listing(nodes: Iterable[Node]) -> str:
    """Names in alphabetical order, separated by commas, quoted where :func:`graphs.query` asks."""
    return ", ".join(sorted(map(text_name, nodes)))


def statement_text(x: Iterable[Node], y: Iterable[Node], given: Iterable[Node]) -> str:
    """``A, B ⟂ C | D``, which :func:`read_statement` reads back."""
    bar = listing(given)
    return f"{listing(x)} ⟂ {listing(y)}" + (f" | {bar}" if bar else "")


def statement_latex(
    x: Iterable[Node], y: Iterable[Node], given: Iterable[Node], holds: bool = True
) -> str:
    r"""``A, B \perp C \mid D``, with ``\not`` before the sign of one that fails."""
    names = [", ".join(map(latex_name, sorted(nodes, key=str))) for nodes in (x, y, given)]
    bar = rf" \mid {names[2]}" if names[2] else ""
    return rf"{names[0]} {'' if holds else chr(92) + 'not'}\perp {names[1]}{bar}"
