r"""Products and sums over an index: their bounds, and their body once for every value.

The bounds are those of :math:`\prod_{i=1}^{3}`, :math:`\prod_{i \in \{1,2,3\}}`,
:math:`\prod_{1 \le i \le 3}`, :math:`\prod_{i,j=1}^{3}` or, for listed pairs,
:math:`\prod_{(i,j) \in \{(1,2),(2,3)\}}`, with or without LaTeX: ``\prod\limits_{i=1}^{3}``,
``∏_{i=1}^3``, ``prod_{i=1..3}``. Those of an inner product may mention outer indices. An index
takes its values in order, and the text of the body is read anew for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import NamedTuple, NoReturn, TypeVar

from graphs.language.indices import MOST_FACTORS, Unfit
from graphs.language.notation import ParseError, Reader
from graphs.language.signs import DOTS, GREEK, KERN

T = TypeVar("T")

PRODUCT_OVER = re.compile(r"∏|\\prod(?![A-Za-z])|prod(?=\s*[_^])")
SUM_OVER = re.compile(r"∑|Σ(?=\s*_)|\\sum(?![A-Za-z])|sum(?=\s*[_^])")
_LIMITS = re.compile(r"(?:\\(?:no|display)?limits(?![A-Za-z])|\s)*")
_SIDE = re.compile(
    r"(?P<side>[_^])\s*(?:\{(?P<braced>(?:[^{}]|\\[{}]|\{[^{}]*\})*)\}|\((?P<round>[^()]*)\)"
    r"|(?P<plain>[A-Za-z]\s*=\s*[A-Za-z0-9]|\d+|[^\W\d_]|\\[A-Za-z]+))"
)
_BELOW, _ABOVE = re.compile("[ᵢⱼₖₗₘₙₚₛₜₓ₀-₉₊₋₌]+"), re.compile("[⁰¹²³⁴-⁹⁺⁻ⁿ]+")
_SMALL = str.maketrans(
    "ᵢⱼₖₗₘₙₚₛₜₓ₀₁₂₃₄₅₆₇₈₉₊₋₌⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "ijklmnpstx0123456789+-=0123456789+-n"
)
_COMMAND = re.compile(rf"\\({'|'.join(GREEK)})(?![A-Za-z])")
_INDEX, _VALUE = r"([^\W\d_]+)", r"([\w+\-]+)"
_FROM = re.compile(rf"{_INDEX}={_VALUE}")
_FROM_TO = re.compile(rf"{_INDEX}={_VALUE}(?:,?(?:{DOTS}|\.\.),?|:){_VALUE}")
_LISTED = re.compile(rf"{_INDEX}(?:=|∈|\\in(?![A-Za-z])|\s+in\s)\s*(?:\\?\{{(.*?)\\?\}}|(.*))")
_SEVERAL = re.compile(r"((?:[^\W\d_]+,)+[^\W\d_]+)=([\w+\-]+)")
_TUPLES = re.compile(
    r"\(((?:[^\W\d_]+,)+[^\W\d_]+)\)(?:∈|\\in(?![A-Za-z])|\s*in\s*)\s*\\?\{(.*?)\\?\}"
)
_AT_MOST = r"(≤|⩽|<=|<|\\leq?(?:slant)?(?![A-Za-z])|\\lt(?![A-Za-z]))"
_BETWEEN = re.compile(rf"{_VALUE}{_AT_MOST}\s*{_INDEX}{_AT_MOST}\s*{_VALUE}")
_ORDERED = re.compile(r"[<>≤≥≠⩽⩾]|\\(?:n?[lg]eq?|neq?|[lg]t|sim)(?![A-Za-z])|∼|~")
_EXPECTED = r"bounds such as _{i=1}^{3} or _{i \in \{1,2,3\}}"


class Index(NamedTuple):
    """An index, or several that go through pairs or tuples, and what they take, in order."""

    names: tuple[str, ...]
    values: tuple[tuple[int | str, ...], ...]


class Rebound(ParseError):
    """An index that has a value already: a product over it does not stand inside another."""


class _Side(NamedTuple):
    text: str
    position: int


def read_index(reader: Reader) -> Index:
    """The bounds after the sign of a product or a sum.

    Raises:
        ParseError: bounds without numbers, pairs such as ``i<j``, another index of the same name.
    """
    below = above = None
    reader.match(_LIMITS)
    start = reader.position
    while side := _side(reader):
        below, above = (side[1], above) if side[0] == "_" else (below, side[1])
    if below is None:
        raise reader.error(_EXPECTED, start)
    index = _index(reader, below, above)
    for name in index.names:
        if name in reader.indices.values or index.names.count(name) > 1:
            raise Rebound(reader.text, start, f"an index other than {name}, which has a value here")
    if not index.values and not reader.indices.values:
        raise reader.error("bounds with a value between them", start)
    return index


def _side(reader: Reader) -> tuple[str, _Side] | None:
    reader.match(_LIMITS)
    start = reader.position
    if match := reader.match(_SIDE):
        group = next(name for name in ("braced", "round", "plain") if match[name] is not None)
        return match["side"], _Side(_plain(match[group]), match.start(group))
    if match := reader.match(_BELOW) or reader.match(_ABOVE):
        side = "_" if _BELOW.match(match[0]) else "^"
        return side, _Side(match[0].translate(_SMALL), start)
    return None


def _plain(text: str) -> str:
    """The bounds without spacing and with Greek letters by name; the blanks around words stay."""
    text = _COMMAND.sub(r"\1", re.sub(KERN, " ", text))
    return re.sub(
        r"\s*([^\w\s])\s*", r"\1", re.sub(r"\s+(?=\\)|\\(?:left|right)\b", "", text)
    ).strip()


def _index(reader: Reader, below: _Side, above: _Side | None) -> Index:
    if above is not None:
        if match := _SEVERAL.fullmatch(below.text):
            return _square(reader, match[1].split(","), (match[2], below), (above.text, above))
        match = _FROM.fullmatch(below.text)
        if not match:
            _refuse(reader, below)
        return _span(reader, match[1], (match[2], below), (above.text, above))
    if match := _FROM_TO.fullmatch(below.text):
        return _span(reader, match[1], (match[2], below), (match[3], below))
    if match := _BETWEEN.fullmatch(below.text):
        low, first, name, last, high = match.groups()
        return _span(reader, name, (low, below), (high, below), _strict(first), -_strict(last))
    if match := _TUPLES.fullmatch(below.text):
        return _tuples(reader, match[1].split(","), match[2], below)
    if (match := _LISTED.fullmatch(below.text)) and (listed := match[2] or match[3]):
        return _listed(reader, match[1], listed, below, braced=match[2] is not None)
    return _refuse(reader, below)


def _strict(sign: str) -> int:
    return sign in ("<", r"\lt")


def _span(
    reader: Reader,
    name: str,
    low: tuple[str, _Side],
    high: tuple[str, _Side],
    after: int = 0,
    before: int = 0,
) -> Index:
    first = _number(reader, *low) + after
    last = _number(reader, *high) + before
    if last - first >= MOST_FACTORS:
        raise reader.error(f"at most {MOST_FACTORS} factors", high[1].position)
    return Index((name,), tuple((value,) for value in range(first, last + 1)))


def _square(
    reader: Reader, names: list[str], low: tuple[str, _Side], high: tuple[str, _Side]
) -> Index:
    """``i,j=1`` up to 3: every pair."""
    values = _span(reader, names[0], low, high).values
    if len(values) ** len(names) > MOST_FACTORS:
        raise reader.error(f"at most {MOST_FACTORS} factors", high[1].position)
    every = product(*([value for (value,) in values] for _ in names))
    return Index(tuple(names), tuple(every))


def _tuples(reader: Reader, names: list[str], listed: str, side: _Side) -> Index:
    r"""``(i,j) \in \{(1,2),(2,3)\}``."""
    found = [text.split(",") for text in re.findall(r"\(([\w,]*)\)", listed)]
    if re.sub(r"\([\w,]*\)", "", listed) != "," * (len(found) - 1) or not found:
        _refuse(reader, side)
    if any(len(words) != len(names) or "" in words for words in found):
        raise reader.error(f"tuples of {len(names)}", side.position)
    values = tuple(tuple(_value(reader, word) for word in words) for words in found)
    if len(set(values)) < len(values):
        raise reader.error("values of an index that differ", side.position)
    return Index(tuple(names), values)


def _number(reader: Reader, text: str, side: _Side) -> int:
    try:
        return reader.indices.number(text)
    except Unfit:
        words = [w for w in re.findall(r"[^\W\d_]+", text) if w not in reader.indices.values]
        if not words:
            _refuse(reader, side)
        raise reader.error(
            f"a number: the bound {words[0]} has no number (write one in its place, or pass "
            f"bounds={{{words[0]!r}: 3}} to graphs.parse or graphs.check)",
            side.position,
        ) from None


def _listed(reader: Reader, name: str, listed: str, side: _Side, braced: bool) -> Index:
    r"""The values of ``i \in \{1,2,3\}``, ``i=1,2,3`` or ``i \in 1:3``, with dots for more."""
    values = [text.strip() for text in listed.split(",")]
    ends = re.fullmatch(rf"{_VALUE}(?:\.\.|:){_VALUE}", listed)
    if ends:
        return _span(reader, name, (ends[1], side), (ends[2], side))
    dots = [i for i, text in enumerate(values) if re.fullmatch(DOTS, text)]
    if dots and dots == [len(values) - 2] and len(values) > 2:
        found = _span(reader, name, (values[0], side), (values[-1], side))
        shown = tuple(_number(reader, text, side) for text in values[:-2])
        if found.values[: len(shown)] == tuple((value,) for value in shown):
            return found
        _refuse(reader, side)
    if dots or (not braced and len(values) < 2) or not all(re.fullmatch(r"\w+", v) for v in values):
        _refuse(reader, side)
    if len(set(values)) < len(values):
        raise reader.error("values of an index that differ", side.position)
    return Index((name,), tuple((_value(reader, text),) for text in values))


def _value(reader: Reader, text: str) -> int | str:
    try:
        return reader.indices.number(text)
    except Unfit:
        return text


def _refuse(reader: Reader, side: _Side) -> NoReturn:
    expected = _EXPECTED
    if _ORDERED.search(side.text):
        expected += f", since {side.text} gives pairs or conditions and no values to go through"
    elif match := re.search(r"(?:∈|\\in(?![A-Za-z])|\sin\s)\s*(\S+)", side.text):
        expected += f", since the members of {match[1]} are not stated"
    elif re.fullmatch(_INDEX, side.text):
        expected += f", since {side.text} has no bounds"
    raise reader.error(expected, side.position)


def for_each(reader: Reader, index: Index, read: Callable[[], T]) -> list[T]:
    """What is read of the same text for every value of an index, or every tuple.

    A product of no factors is one: then the text is read once, to pass it.
    """
    start, found, uses = reader.position, [], reader.indices.uses
    before = {name: uses[name] for name in index.names}
    for values in index.values or ((1,) * len(index.names),):
        reader.position = start
        reader.indices.values.update(zip(index.names, values, strict=True))
        found.append(read())
        if uses.total() > 5 * MOST_FACTORS:
            raise reader.error(f"at most {MOST_FACTORS} factors", start)
    for name in index.names:
        del reader.indices.values[name]
        reader.indices.over.add(name)
        if uses[name] == before[name]:
            raise reader.error(f"the index {name} in a subscript after its bounds", start)
    return found if index.values else []
