r"""BIF, the Bayesian interchange format 0.15 (Cozman 1996), as bnlearn, JavaBayes, pgmpy and aGrUM
write it.

::

    network unknown { }
    variable tub { type discrete [ 2 ] { yes, no }; }
    probability ( tub | asia ) {
      (yes) 0.05, 0.95;
      (no) 0.01, 0.99;
    }

A row ``(a, b) p, q;`` is the distribution for one state of each parent; ``default p, q;`` stands
for the rows not given; ``table`` lists the child's first state for every state of the parents (the
last parent fastest), then its second. Commas are white space, and so is the bar: the first variable
is the child. Comments are ``//`` and ``/* */``, names may be quoted, properties are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import numpy as np

from graphs.files.network import Found, Network
from graphs.files.rows import Policy
from graphs.language.scanning import (
    CLOSE,
    COMMENT,
    OPEN,
    QUOTED,
    Malformed,
    Scanner,
    blank_comments,
    line_of,
    number_words,
    numbers_in,
    pattern,
    place,
    quote,
    split_names,
    unquote,
)
from graphs.parameters.tables import Tables, label_of

_BLOCK = pattern(r"(network|variable|probability)(?![\w.\-])")
_NAME = pattern(rf'({QUOTED}|[^\s"{{}}();]+(?:[ \t]+[^\s"{{}}();]+)*)(?=\s*\{{)')
_BODY = re.compile(rf'[^}}"]*(?:{QUOTED}[^}}"]*)*', re.DOTALL)
_PROPERTY = pattern(rf'property\b(?:[^;"{{}}]|{QUOTED})*;')
_TYPE = pattern(r"type\s+discrete\b\s*(?:\[\s*(\d{1,9})\s*\])?")
_STATES = pattern(rf'\{{((?:[^{{}};"]|{QUOTED})*)\}}\s*;?')
_SCOPE = pattern(rf'\(((?:[^(){{}}"]|{QUOTED})*)\)')
_BAR = re.compile(rf'((?:[^"|]|{QUOTED})*)\|?(.*)', re.DOTALL)
_ROW = pattern(rf'(?:\(([^()";]*(?:{QUOTED}[^()";]*)*)\)|(table|default)\b)([^;(){{}}"]*);')
_START = pattern(r"(?:\(|table\b|default\b)")
_LABELS = re.compile(rf'[^()";]*(?:{QUOTED}[^()";]*)*\)', re.DOTALL)
_NUMBERS = re.compile(r'[^;(){}"]*')
_BARE = re.compile(r"(?!.*(?://|/\*))[\w.\-+<>=/]+")

# rows listed in a file are bounded by its size; a default is not
LARGEST_DEFAULT = 2**24


def read(text: str, tables: bool, policy: Policy | None = None) -> Found:
    """The network of a BIF file, or only its graph.

    Raises:
        Malformed: with the line, whatever the text or the network lacks.
    """
    if "//" in text or "/*" in text:
        text = blank_comments(text, COMMENT)
    scanner = Scanner(text)
    network = Network(lambda position: line_of(text, position), policy=policy)
    blocks: list[int] = []
    while not scanner.done():
        kind = scanner.expect(_BLOCK, "'network', 'variable' or 'probability'")
        if kind[1] == "network":
            _network(scanner, network)
        elif kind[1] == "variable":
            _variable(scanner, network)
        else:
            blocks.append(scanner.position)
            _pass_block(scanner)
    for start in blocks:
        scanner.position = start
        _probability(scanner, network, tables)
    return network.found(tables)


def _network(scanner: Scanner, network: Network) -> None:
    name = scanner.accept(_NAME)
    network.name = unquote(name[1]) if name else ""
    scanner.expect(OPEN, "the network's name and '{'")
    while scanner.accept(_PROPERTY):
        pass
    scanner.expect(CLOSE, "'property ...;' or '}'")


def _variable(scanner: Scanner, network: Network) -> None:
    match = scanner.expect(_NAME, "the name of a variable and '{'")
    name, where = unquote(match[1]), match.start(1)
    scanner.expect(OPEN, "'{'")
    declared = False
    while not scanner.accept(CLOSE):
        if scanner.accept(_PROPERTY):
            continue
        if declared:
            raise scanner.malformed("'property ...;' or '}'")
        kind = scanner.expect(_TYPE, "'type discrete [ n ] { states };', 'property ...;' or '}'")
        count = int(kind[1]) if kind[1] else None
        states = scanner.expect(_STATES, "'{' and the states, separated by commas, and '}'")
        names = split_names(states[1], whole=count == 1)
        network.declare(name, names, count, states.start(1))
        declared = True
    if not declared:
        raise scanner.error(f"expected 'type discrete' in the variable {name!r}, got none", where)


def _pass_block(scanner: Scanner) -> None:
    start = scanner.position
    end = scanner.text.find("}", start)
    if end < 0 or scanner.text.find('"', start, end) >= 0:
        body = _BODY.match(scanner.text, start)
        end = body.end() if body else start
    scanner.position = end
    if not scanner.accept(CLOSE):
        begun = line_of(scanner.text, start)
        raise scanner.malformed(f"'}}' at the end of the block begun in line {begun}")


def _probability(scanner: Scanner, network: Network, tables: bool) -> None:
    header = scanner.expect(_SCOPE, "'(', the variable, its parents and ')'")
    child, parents = _scope(scanner, network, header)
    scope = network.define((*parents, child), header.start(1))
    scanner.expect(OPEN, "'{'")
    if tables:
        _Table(scanner, network, scope).read()


def _scope(scanner: Scanner, network: Network, header: re.Match[str]) -> tuple[str, list[str]]:
    split = _BAR.fullmatch(header[1])
    left, right = split.groups() if split else (header[1], "")
    names = [
        name
        for part in (left, right)
        for name in split_names(part, whole=part.strip() in network.states)
        if part.strip()
    ]
    if not names:
        raise scanner.malformed("the name of a variable", header.start(1))
    return names[0], names[1:]


class _Table:
    """The rows of one probability block, with their positions for the errors."""

    def __init__(self, scanner: Scanner, network: Network, scope: tuple[str, ...]):
        self.scanner, self.network, self.scope = scanner, network, scope
        self.size = len(network.states[scope[-1]])
        # the row of a configuration is the sum of its parents' offsets
        self.offsets: list[dict[str, int]] = []
        self.num_rows = 1
        for parent in reversed(scope[:-1]):
            states = list(map(str, network.states[parent]))
            self.offsets.insert(0, {state: i * self.num_rows for i, state in enumerate(states)})
            self.num_rows *= len(states)
        self.rows: dict[int, list[float]] = {}
        self.spans: dict[int, tuple[int, int]] = {}

    def read(self) -> None:
        scanner, start = self.scanner, self.scanner.position
        table: re.Match[str] | None = None
        default: re.Match[str] | None = None
        while True:
            match = scanner.accept(_ROW)
            if match is None:
                if scanner.accept(CLOSE):
                    break
                if not scanner.accept(_PROPERTY):
                    raise self.diagnosis()
                continue
            labels, keyword = match[1], match[2]
            if keyword and (table or (default and keyword == "default")):
                raise scanner.error(
                    f"expected one {keyword!r} at most, got another", match.start(2)
                )
            if keyword == "table":
                table = match
            elif keyword:
                default = match
            else:
                row = self.row(labels, match.start(1))
                if row in self.rows:
                    position = match.start(1)
                    raise scanner.error(f"expected every row once, got ({labels}) again", position)
                self.rows[row], self.spans[row] = self.values(match), match.span(3)
        if table and (self.rows or default):
            raise scanner.error("expected either 'table' or rows, got both", table.start(2))
        if table:
            self.fill_flat(table)
        else:
            self.fill_rows(start, default)

    def diagnosis(self) -> Malformed:
        scanner = self.scanner
        if not scanner.accept(_START):
            return scanner.malformed("a row '(states) numbers;', 'table', 'default' or '}'")
        if scanner.text[scanner.position - 1] == "(":
            scanner.expect(_LABELS, "the parents' states and ')'")
        number = scanner.expect(_NUMBERS, "numbers")
        error = scanner.malformed("numbers and ';'")
        return scanner.error(str(error), number.start() + len(number[0].rstrip()) - 1)

    def values(self, match: re.Match[str]) -> list[float]:
        values = numbers_in(self.scanner, match, 3)
        if len(values) != self.size:
            child = self.scope[-1]
            states = ", ".join(map(str, self.network.states[child]))
            raise self.scanner.error(
                f"expected {self.size} probabilities, one for each state ({states}) of "
                f"{child!r}, got {len(values)}",
                match.start(3) - 1,
            )
        return values

    def row(self, labels: str, position: int) -> int:
        names = split_names(labels, whole=len(self.offsets) == 1) if labels.strip() else []
        if len(names) != len(self.offsets):
            parents = ", ".join(self.scope[:-1]) or "no parents"
            raise self.scanner.error(
                f"expected {len(self.offsets)} states, of {parents}, got ({labels})", position
            )
        try:
            return sum(map(dict.__getitem__, self.offsets, names))
        except KeyError:
            pairs = zip(self.scope, self.offsets, names, strict=False)
            parent, known, name = next(p for p in pairs if p[2] not in p[1])
            raise self.scanner.error(
                f"expected a state of {parent!r} among {', '.join(known)}, got {name!r}", position
            ) from None

    def fill_rows(self, start: int, default: re.Match[str] | None) -> None:
        filled = default is not None or self.network.policy.normalize
        if len(self.rows) < self.num_rows and not filled:
            states = [list(offsets) for offsets in self.offsets]
            missing = next(c for row, c in enumerate(product(*states)) if row not in self.rows)
            wanted = f"the row ({', '.join(missing)})" if missing else "'table' and probabilities"
            raise self.scanner.error(
                f"expected {wanted} of {label_of(self.scope, True)}, got {len(self.rows)} of "
                f"{self.num_rows} rows; normalize=True fills such rows uniformly",
                start,
            )
        if len(self.rows) < self.num_rows and self.num_rows * self.size > LARGEST_DEFAULT:
            raise self.scanner.error(
                f"expected a default for at most {LARGEST_DEFAULT} cells, got "
                f"{self.num_rows * self.size}",
                default.start(2) if default else start,
            )
        array = np.full((self.num_rows, self.size), np.nan)
        if default:
            array[:] = self.values(default)
        if self.rows:
            array[list(self.rows)] = list(self.rows.values())

        def position(number: int) -> int:
            row, column = divmod(number, self.size)
            span = self.spans.get(row) or (default.span(3) if default else (start, start))
            return place(self.scanner, *span, column)

        def words(row: int) -> list[str]:
            span = self.spans.get(row) or (default.span(3) if default else (start, start))
            return number_words(self.scanner.text[slice(*span)])

        self.network.fill(array.ravel(), start, position, words)

    def fill_flat(self, table: re.Match[str]) -> None:
        array = np.array(numbers_in(self.scanner, table, 3))
        if array.size == self.size * self.num_rows:
            array = array.reshape(self.size, self.num_rows).T.ravel()

        def position(number: int) -> int:
            row, column = divmod(number, self.size)
            return place(self.scanner, *table.span(3), column * self.num_rows + row)

        listed = number_words(table[3])
        self.network.fill(array, table.start(2), position, lambda row: listed[row :: self.num_rows])


def write(tables: Tables) -> Iterator[str]:
    """The text of a Bayesian network in pieces; numbers in full precision."""
    yield f"network {_name(tables.name or 'unknown')} {{\n}}\n"
    states = {v: [_name(s) for s in names] for v, names in tables.states.items()}
    for v, names in states.items():
        yield (
            f"variable {_name(v)} {{\n"
            f"  type discrete [ {len(names)} ] {{ {', '.join(names)} }};\n}}\n"
        )
    for (*parents, child), array in tables.factors:
        if not parents:
            yield f"probability ( {_name(child)} ) {{\n  table {_numbers(array)};\n}}\n"
            continue
        yield f"probability ( {_name(child)} | {', '.join(map(_name, parents))} ) {{\n"
        rows = array.reshape(-1, array.shape[-1])
        for labels, row in zip(product(*(states[p] for p in parents)), rows, strict=True):
            yield f"  ({', '.join(labels)}) {_numbers(row)};\n"
        yield "}\n"


def _name(name: object) -> str:
    text = str(name)
    return text if _BARE.fullmatch(text) else quote(text)


def _numbers(row: np.ndarray) -> str:
    return ", ".join(map(repr, row.tolist()))
