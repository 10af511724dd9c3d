r"""Independence statements as text: read from a keyboard, from LaTeX or from a sentence.

A statement is :math:`X \perp Y \mid Z`, or denies one. The signs are those of
:mod:`graphs.language.signs`; a set is a list of names, bare, in braces or in parentheses, or ``∅``;
a sentence is one such as ``A and B are conditionally independent given C``, ``Given C, A does not
depend on B`` or ``C d-separates A and B``; ``Ind(A; B | C)`` and :math:`(A \perp B \mid C)_G` are
read too. What has two meanings is refused: ``I(A, B, C)``, whose order differs between authors, a
sign that is struck out twice, sets that could be cut in several ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from graphs.language import signs
from graphs.language.frames import unframed
from graphs.language.notation import Node, ParseError, Reader, latex_name, text_name
from graphs.language.signs import BAR, KERN, any_of

_LABEL = r"(?:_(?:\{\s*(?:\\math\w+\s*\{?)?[GDdm]\}?\s*\}|\\math\w+\{?[GDdm]\}?|[GDdm](?!\w)))?"
_ATOM = re.compile(rf"{any_of(signs.SYMBOLS)}([{''.join(signs.OVERLAYS)}]?)")
_WHOLE = re.compile(any_of((*signs.ASCII_SYMBOLS, *signs.COMMANDS)))
_CROSSED = re.compile(any_of(signs.CROSSED_COMMANDS))
_CROSSING = re.compile(rf"{any_of(signs.CROSSINGS)}|not\b", re.IGNORECASE)
_KERNS = re.compile(f"{KERN}*")
_WRAPPER = re.compile(r"\\math(?:rel|bin|op|ord|inner)\s*\{|\{")
_SIGN_LABEL = re.compile(_LABEL)
_NOT = r"(?P<no>n['’]t|\s+not)?"
_BE = rf"(?:(?P<be>is|are|was|were){_NOT}\s+)?(?:(?P<bare>not)\s+)?"
_HOW = (
    r"(?:(?:conditionally|marginally|mutually|statistically|stochastically|cond\.|stat\.)\s+){0,2}"
)
_WORDS = re.compile(
    rf"{_BE}{_HOW}(?:(?P<free>{any_of(signs.INDEPENDENT)})|(?P<bound>{any_of(signs.DEPENDENT)}))"
    r"(?!\s+(?:each\s+other|one\s+another)(?!\w))",
    re.IGNORECASE,
)
_BOTH = re.compile(
    rf"{_BE}{_HOW}(?:(?P<free>{any_of(signs.BOTH_INDEPENDENT)})|"
    rf"(?P<bound>{any_of(signs.BOTH_DEPENDENT)}))(?!\s+(?:of|from|on)\b)",
    re.IGNORECASE,
)
_SEPARATES = re.compile(
    rf"(?P<no>does\s+not\s+|do\s+not\s+|doesn['’]t\s+|don['’]t\s+)?{any_of(signs.SEPARATES)}",
    re.IGNORECASE,
)
_GIVEN_WORDS = any_of(signs.GIVEN)
_GIVEN = re.compile(rf"{BAR.pattern}|,?\s*{_GIVEN_WORDS}")
_BY = re.compile(rf"{_GIVEN.pattern}|(?i:by)(?!\w)")
_BARRED = rf"{BAR.pattern}|{_GIVEN_WORDS}|(?i:by)(?!\w)"
_INFIX = re.compile(rf"{any_of(signs.INFIX)}(?!\s*(?:{_BARRED}|[)\]]|\Z))")
_FUNCTION = re.compile(rf"(?i:{'|'.join(signs.FUNCTIONS)}){_LABEL}\s*(?:\\left\s*)?(?=\()")
_INFORMATION = re.compile(r"I(?:_\w|_\{[^{}]*\})?\s*\(")
_QUESTION = re.compile(r"(?i:is|are|does)\s+(?![(\[{\\])")
_MARGINAL = re.compile(r"(?<!\w)marginally\s+(?:in)?dep", re.IGNORECASE)
_CONDITIONAL = re.compile(r"(?<!\w)cond(?:itionally|\.)\s+(?:in)?dep", re.IGNORECASE)
_LEADING = re.compile(rf"{_GIVEN_WORDS}")
_GRAPH_LABEL = re.compile(_LABEL.removesuffix("?"))
_AND = re.compile(r"(?i:and)(?![\w'])(?=\s*\S)")
_FROM = re.compile(r"(?i:from|and)(?!\w)")
_COMMA = re.compile(rf"[,，](?!\s*{_GIVEN_WORDS}\s*[^\s,)|⟂])")
_EMPTY = re.compile(any_of(signs.NOTHING))
_OPENINGS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lbrace": r"\rbrace"}
_OPEN, _BRACKET = re.compile(r"\\?\{|[(\[]|\\lbrace(?![A-Za-z])"), re.compile(r"[(\[]")
_END = re.compile(r"\Z")
_EXPECTED_SYMBOL = r"an independence sign such as ⟂, _||_ or \perp, as in M _||_ F | D"


class Statement(NamedTuple):
    """The names of the three sets, in the order written, and whether their independence is denied.

    ``not A ⟂ B | C``, ``A !⟂ B | C`` and ``A depends on B given C`` deny it.
    """

    x: tuple[str, ...]
    y: tuple[str, ...]
    given: tuple[str, ...]
    negated: bool = False


def read_statement(text: str) -> Statement:
    """The sets of names in a statement such as ``A, B ⟂ C | D``.

    Raises:
        ValueError: not a text; a :class:`graphs.ParseError` points at the character that does not
            fit.
    """
    if not isinstance(text, str):
        raise ValueError(f"expected an independence as text, got {type(text).__name__}")
    reader = Reader(unframed(text))
    if reader.text.endswith("?"):
        reader.text = reader.text[:-1]
    try:
        statement = _statement(reader)
    except RecursionError:
        raise ValueError("expected fewer brackets in each other, got too many to read") from None
    if not reader.done():
        raise _rest(reader, statement)
    if not statement.given and _CONDITIONAL.search(reader.text) and "∅" not in reader.text:
        raise reader.error("'given' and a set, since the statement is said to be conditional")
    if statement.given and _MARGINAL.search(reader.text):
        raise reader.error("nothing that is given, since the statement is said to be marginal")
    return statement


def _rest(reader: Reader, statement: Statement) -> ParseError:
    """What is wrong with more text after a statement."""
    start = reader.position
    if _sign(reader) is not None:
        return reader.error("one statement at a time, or sets that share no comma", start)
    if reader.text[start] in "=<>":
        return reader.error(
            "a variable and no value of it, since a graph tells of variables", start
        )
    more = "','" if statement.given else "',', '|'"
    return reader.error(f"{more} or the end of the text", start)


def _statement(reader: Reader) -> Statement:
    """A statement, its denials taken off and the brackets around it."""
    start = reader.position
    reader.skip()
    if (denial := reader.match(signs.DENIAL)) and not _sign_follows(reader):
        x, y, given, negated = _statement(reader)
        return Statement(x, y, given, not negated)
    reader.position = start
    if reader.accept(_LEADING) and not _sign_follows(reader):
        return _given_first(reader)
    reader.position = start
    if reader.accept(_QUESTION) and _sign_follows(reader):
        reader.position = start
    start = reader.position
    try:
        return _function(reader) or _bare(reader)
    except ParseError as error:
        reader.position = start
        if denial is not None or not (opening := reader.accept(_BRACKET)):
            raise
        return _bracketed(reader, opening[0], error)


def _sign_follows(reader: Reader) -> bool:
    """Whether what stands before is a name after all, as in ``not ⟂ B``."""
    position = reader.position
    reader.skip()
    found = _sign(reader) is not None or reader.match(_SEPARATES) is not None
    found = found or reader.match(_WORDS) is not None or reader.match(_COMMA) is not None
    reader.position = position
    return found


def _given_first(reader: Reader) -> Statement:
    """``Given C, A and B are independent``: the conditioning set up to the first comma."""
    given = [_set(reader)]
    while reader.accept(_AND):
        given.append(_set(reader))
    reader.expect(",", "',' after what is given")
    start = reader.position
    _set(reader)
    if reader.accept(_COMMA):
        expected = "sets in braces, since it is not clear which names are given"
        raise reader.error(expected, start)
    reader.position = start
    inner = _statement(reader)
    if inner.given:
        raise reader.error("one conditioning set", start)
    return inner._replace(given=_flat(given))


def _function(reader: Reader) -> Statement | None:
    """``Ind(A; B | C)`` or ``d-sep(A, B | C)``; ``None`` for other text."""
    reader.skip()
    if reader.match(_INFORMATION):
        raise reader.error(
            "a statement such as A ⟂ B | C, since I(X, Z, Y) is an independence in Pearl's order, "
            "I(X, Y, Z) one in another and I(X; Y | Z) information",
            reader.position - 1,
        )
    if not reader.match(_FUNCTION):
        return None
    reader.expect("(", "'('")
    x = _sets(reader)
    if reader.accept(";"):
        x, y = [_flat(x)], [_flat(_sets(reader))]
    elif len(x) == 2:
        x, y = x[:1], x[1:]
    else:
        raise reader.error("two sets and then '|', since the order of three differs")
    given = _flat(_sets(reader)) if reader.accept(_GIVEN) else ()
    reader.expect(")", "',' or ')' (what is given stands after '|')")
    return Statement(_flat(x), _flat(y), given)


def _bracketed(reader: Reader, opening: str, error: ParseError) -> Statement:
    """``(A ⟂ B | C)`` or ``(A ⟂ B) | C``."""
    try:
        inner = _statement(reader)
        more = "','" if inner.given else "',', '|'"
        closing = _OPENINGS[opening]
        reader.expect(closing, f"{more} or '{closing}'")
    except ParseError as within:
        raise max(error, within, key=lambda e: e.position) from None
    if not inner.given and reader.accept(_GIVEN):
        return inner._replace(given=_flat(_sets(reader)))
    reader.match(_GRAPH_LABEL)
    return inner


def _bare(reader: Reader) -> Statement:
    sets = _sets(reader)
    reader.skip()
    if separates := reader.match(_SEPARATES):
        return _separated_by(reader, _flat(sets), separates["no"] is not None)
    negated = _sign(reader)
    given = _GIVEN
    if negated is None and reader.match(_INFIX):
        negated = False
    elif negated is None and (words := reader.match(_WORDS)):
        negated, given = _denied(words), _BY
    if negated is not None:
        x, y = _flat(sets), _flat(_sets(reader))
    elif both := reader.match(_BOTH):
        if len(sets) != 2:
            reader.position = both.start()
            raise reader.error("two sets such as {A, B} and C before these words")
        (x, y), negated, given = sets, _denied(both), _BY
    else:
        raise reader.error(f"',' or {_EXPECTED_SYMBOL}")
    return Statement(x, y, _flat(_sets(reader)) if reader.accept(given) else (), negated)


def _separated_by(reader: Reader, given: tuple[str, ...], negated: bool) -> Statement:
    """``C d-separates A from B`` or ``C separates A and B``."""
    x = _set(reader)
    reader.expect(_FROM, "'from' or 'and'")
    return Statement(x, _set(reader), given, negated)


def _denied(words: re.Match[str]) -> bool:
    return (words["no"] is not None) ^ (words["bare"] is not None) ^ (words["bound"] is not None)


def _sign(reader: Reader) -> bool | None:
    """Pass an independence sign; whether it is crossed out, or ``None`` without one.

    Either half of a double sign may be struck, or both, as in ⊥̸⊥̸.
    """
    start = reader.position
    strokes, other = _strokes(reader), False
    if wrapper := reader.match(_WRAPPER):
        reader.match(_KERNS)
        inner = _sign(reader)
        reader.match(_KERNS)
        if inner is None or not reader.text.startswith("}", reader.position):
            reader.position = start
            return None
        reader.position += 1
        strokes += inner
    elif reader.match(_CROSSED):
        strokes += 1
    elif atom := reader.match(_ATOM):
        strokes += bool(atom[1])
        other = _second_atom(reader)
    elif not reader.match(_WHOLE):
        reader.position = start
        return None
    if wrapper is None and reader.text[reader.position - 1 : reader.position] == "{":
        reader.position = start
        return None
    reader.match(_SIGN_LABEL)
    return _once(reader, strokes, start) or other


def _strokes(reader: Reader) -> int:
    r"""Pass what strikes out the sign that follows, ``\not`` or ``!``; how often it does."""
    strokes = 0
    while reader.match(_CROSSING):
        strokes += 1
        reader.match(_KERNS)
    return strokes


def _once(reader: Reader, strokes: int, start: int) -> bool:
    """Whether a sign is struck out, at most once."""
    if strokes > 1:
        raise reader.error("a sign struck out once, since twice may mean once or not at all", start)
    return strokes == 1


def _second_atom(reader: Reader) -> bool:
    r"""Pass the other half of ``\perp\!\!\!\perp``; whether it is crossed out."""
    start = reader.position
    reader.match(_KERNS)
    strokes = _strokes(reader)
    if atom := reader.match(_ATOM):
        return _once(reader, strokes + bool(atom[1]), start)
    reader.position = start
    return False


# --- Sets ---------------------------------------------------------------------------------------


def _sets(reader: Reader) -> list[tuple[str, ...]]:
    """Sets separated by commas or ``and``; each one name, or several in brackets."""
    sets = [_set(reader)]
    while True:
        if reader.accept(_COMMA):
            reader.accept(_AND)
        elif not reader.accept(_AND):
            return sets
        sets.append(_set(reader))


def _set(reader: Reader) -> tuple[str, ...]:
    if reader.accept(_EMPTY):
        return ()
    if opening := reader.accept(_OPEN):
        closing = _OPENINGS[opening[0]]
        if reader.accept(closing):
            return ()
        names = [*reader.some()]
        while reader.accept(_COMMA):
            names += reader.some()
        reader.expect(closing, f"',' or '{closing}'")
        return tuple(names)
    return reader.some()


def _flat(sets: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for names in sets for name in names)


# --- Writing ------------------------------------------------------------------------------------


def listing(nodes: Iterable[Node], most: int | None = None) -> str:
    """Names in alphabetical order, separated by commas, quoted where :func:`graphs.query` asks.

    Of more than ``most`` names some are counted: ``A, B, C and 1,997 more``.
    """
    names = sorted(map(text_name, nodes))
    if most is None or len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def statement_text(
    x: Iterable[Node],
    y: Iterable[Node],
    given: Iterable[Node],
    negated: bool = False,
    most: int | None = None,
) -> str:
    """``A, B ⟂ C | D``, which :func:`read_statement` reads back unless names are left out."""
    bar = listing(given, most)
    text = f"{listing(x, most)} ⟂ {listing(y, most)}" + (f" | {bar}" if bar else "")
    return f"not {text}" if negated else text


def statement_latex(
    x: Iterable[Node], y: Iterable[Node], given: Iterable[Node], holds: bool = True
) -> str:
    r"""``A, B \perp C \mid D``, with ``\not`` before the sign of one that fails."""
    names = [", ".join(map(latex_name, sorted(nodes, key=str))) for nodes in (x, y, given)]
    bar = rf" \mid {names[2]}" if names[2] else ""
    return rf"{names[0]} {'' if holds else chr(92) + 'not'}\perp {names[1]}{bar}"
