r"""UAI, the format of the inference competitions (Gogate, UAI 2014), and its evidence files.

::

    MARKOV            or BAYES, where every scope is the parents and then the child
    3                 variables: var_0, var_1, var_2
    2 2 3             states of each, named 0, 1, ...
    2                 functions
    2 0 1             a scope: its size, then its variables
    2 1 2
    4                 a table: its size, then its numbers, the last variable of the scope fastest
     0.1 0.2 0.3 0.4
    6
     1 0 2 0 0 1

White space is free; ``#`` starts a comment. Equal functions are all kept, and a function of no
variables is a constant. A variable that no function mentions is free, and counts its states in Z:
it is given the function that is one everywhere, since pgmpy knows states through factors alone.
The format has no names: writing keeps the numbers of nodes called var_0, var_1, ... and numbers
others in the order of the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from graphs.files.network import Found, Network
from graphs.files.rows import Policy
from graphs.language.scanning import Malformed, blank_comments, is_number, line_of, numbers
from graphs.parameters.states import StateNames
from graphs.parameters.tables import Node, Tables, label_of

_WORD = re.compile(r"\S+")
_MOST_DIGITS = 18
_MOST_STATES = 2**16
_FACTORS = (
    "; a file whose tables are factors, and no distributions of each last variable given the "
    "others, begins with MARKOV (rescaled rows would be another distribution)"
)


class _Words:
    """The words of a file, one after the other; positions are looked up only for an error."""

    def __init__(self, text: str):
        self.text = blank_comments(text, r"#[^\n]*") if "#" in text else text
        self.words = self.text.split()
        self.next = 0

    def position(self, index: int) -> int:
        for i, word in enumerate(_WORD.finditer(self.text)):
            if i == index:
                return word.start()
        return len(self.text.rstrip())

    def line(self, index: int) -> int:
        return line_of(self.text, self.position(index))

    def malformed(self, expected: str, index: int) -> Malformed:
        got = repr(self.words[index]) if index < len(self.words) else "the end of the file"
        return Malformed(f"expected {expected}, got {got}", self.line(index))

    def word(self, expected: str) -> str:
        if self.next == len(self.words):
            raise self.malformed(expected, self.next)
        self.next += 1
        return self.words[self.next - 1]

    def integer(self, expected: str, low: int = 0, high: int | None = None) -> int:
        word = self.word(expected)
        if word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS:
            number = int(word)
            if number >= low and (high is None or number <= high):
                return number
        bounds = f" from {low} to {high}" if high is not None else f" of at least {low}"
        raise self.malformed(f"{expected}, an integer{bounds}", self.next - 1)

    def numbers(self, size: int, expected: str) -> list[float]:
        start, self.next = self.next, self.next + size
        words = self.words[start : self.next]
        try:
            values = numbers(words)
        except ValueError:
            values = []
        if len(values) != size:
            bad = next((i for i, word in enumerate(words) if not is_number(word)), len(words))
            raise self.malformed(expected, start + bad)
        return values

    def finish(self) -> None:
        if self.next < len(self.words):
            raise self.malformed("the end of the file", self.next)


def read(text: str, tables: bool, policy: Policy | None = None) -> Found:
    """The network of a UAI file, or only its graph.

    Raises:
        Malformed: with the line, whatever the text or the network lacks.
    """
    words = _Words(text)
    kind = words.word("'MARKOV' or 'BAYES'").upper()
    if kind not in ("MARKOV", "BAYES"):
        raise words.malformed("'MARKOV' or 'BAYES'", 0)
    network = Network(words.line, kind == "BAYES", policy, _FACTORS if kind == "BAYES" else "")
    names = _declare(words, network)
    scopes = []
    for _ in range(words.integer("the number of functions")):
        where = words.next
        size = words.integer("the number of variables of a function", low=int(network.directed))
        inside = [words.integer("a variable", high=len(names) - 1) for _ in range(size)]
        scopes.append(network.define(tuple(names[i] for i in inside), where))
    if tables:
        for scope in scopes:
            _table(words, network, scope)
        words.finish()
    return network.found(tables)


def _declare(words: _Words, network: Network) -> list[str]:
    for i in range(words.integer("the number of variables", low=1)):
        size = words.integer(f"the number of states of var_{i}", low=1, high=_MOST_STATES)
        network.declare(f"var_{i}", range(size), None, words.next - 1)
    return list(network.states)


def _table(words: _Words, network: Network, scope: tuple[str, ...]) -> None:
    name, cells = label_of(scope, network.directed), math.prod(network.shape(scope))
    start = words.next
    size = words.integer(f"the number of entries of {name}")
    if size != cells:
        raise words.malformed(f"the number of entries of {name}, {cells}", start)
    values = words.numbers(size, f"{cells} numbers of {name}")

    last = len(network.states[scope[-1]]) if scope else 1
    listed = words.words[start + 1 : words.next]
    network.fill(
        values,
        start,
        lambda number: start + 1 + number,
        lambda row: listed[row * last : (row + 1) * last],
    )


def write(tables: Tables) -> Iterator[str]:
    """The text of a Bayesian or Markov network in pieces; numbers in full precision."""
    nodes = list(tables.states)
    rank: dict[Node, int] = {f"var_{i}": i for i in range(len(nodes))}
    if set(nodes) != set(rank):
        rank = {v: i for i, v in enumerate(nodes)}
    else:
        _require_same_meaning(tables)
    nodes.sort(key=lambda v: rank[v])
    yield "BAYES\n" if tables.directed else "MARKOV\n"
    yield f"{len(nodes)}\n{' '.join(str(len(tables.states[v])) for v in nodes)}\n"
    yield f"{len(tables.factors)}\n"
    for scope, _ in tables.factors:
        yield " ".join(map(str, (len(scope), *(rank[v] for v in scope)))) + "\n"
    for _, array in tables.factors:
        yield f"\n{array.size}\n"
        for row in array.reshape(-1, array.shape[-1] if array.ndim else 1).tolist():
            yield f" {' '.join(map(repr, row))}\n"


def _require_same_meaning(tables: Tables) -> None:
    """Refuse nodes that keep their names while a value comes to mean another of their states."""
    for node, names in tables.states.items():
        states, later = StateNames(node, names), StateNames(node, range(len(names)))
        for value in (*range(len(names)), False, True):
            before, after = _meaning(states, value), _meaning(later, value)
            if before is not None and after is not None and before != after:
                raise ValueError(
                    "expected states that a .uai file can hold, which numbers them from 0: the "
                    f"value {value!r} of {node!r} would come to mean {names[after]!r} instead of "
                    f"{names[before]!r}"
                )


def _meaning(states: StateNames, value: object) -> int | None:
    """The index of the state that a value means, if it means one."""
    try:
        return states.index(value)
    except ValueError:
        return None


def read_evidence(text: str) -> dict[str, int]:
    """The observed states of an evidence file: their number, then pairs of variable and state.

    The older form with a leading count of samples is read too when that count is one.
    """
    words = _Words(text)
    count = words.integer("the number of observed variables")
    if len(words.words) != 1 + 2 * count:
        if count != 1:
            raise words.malformed(
                f"{2 * count} integers, a variable and a state in turn", 1 + 2 * count
            )
        count = words.integer("the number of observed variables")
    evidence: dict[str, int] = {}
    for _ in range(count):
        node = f"var_{words.integer('a variable')}"
        if node in evidence:
            raise words.malformed("every variable once", words.next - 1)
        evidence[node] = words.integer("a state")
    words.finish()
    return evidence
