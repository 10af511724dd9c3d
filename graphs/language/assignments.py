"""Assignments as text: ``smoke=yes, dysp=no``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from graphs.language.notation import ParseError, Reader


def read_assignments(text: str, names: Collection[str] = ()) -> dict[str, str]:
    """The values that a text gives to names, in its order.

    A name or a value is a word or stands in double quotes; ``names`` may be longer, with signs in
    them, and are read as they are. Commas, semicolons or lines are between two assignments.

    Raises:
        ParseError: what is no assignment, or a name that has got a value before.

    >>> from graphs.language.assignments import read_assignments
    >>> read_assignments('smoke=yes, "wet grass" = no', ["smoke", "wet grass"])
    {'smoke': 'yes', 'wet grass': 'no'}
    """
    found: dict[str, str] = {}
    for position, name, value in _assignments(text, sorted(names, key=len, reverse=True)):
        if found.setdefault(name, value) != value:
            raise ParseError(text, position, f"one value for {name!r}")
    return found


def _assignments(text: str, names: list[str]) -> Iterator[tuple[int, str, str]]:
    reader = Reader(text)
    while not reader.done():
        start = reader.position
        known = (n for n in names if text.startswith(n, start))
        name = next((n for n in known if text[start + len(n) :].lstrip().startswith("=")), None)
        if name is None:
            name = _word(reader, "the name of a variable", "=,;\n")
        else:
            reader.position += len(name)
        reader.expect("=", "'=' and a value")
        yield start, name, _word(reader, "a value", ",;\n")
        end = reader.position
        if not reader.done():
            if text[reader.position] in ",;":
                reader.position += 1
            elif "\n" not in text[end : reader.position]:
                raise reader.error("',' between two assignments")


def _word(reader: Reader, expected: str, ends: str) -> str:
    """Text in double quotes, or all up to one of the ends."""
    reader.skip()
    if reader.text.startswith('"', reader.position):
        return reader.name()
    start = reader.position
    end = min((i for c in ends if (i := reader.text.find(c, start)) >= 0), default=len(reader.text))
    word = reader.text[start:end].strip()
    if not word:
        raise reader.error(expected)
    reader.position = end
    return word
