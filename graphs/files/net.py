r"""NET, the network language of HUGIN (HUGIN API reference manual, "The NET language"), as GeNIe,
SamIam, aGrUM and pgmpy write it.

::

    net { name = "chest clinic"; }
    node tub { states = ("yes" "no"); }
    potential (tub | asia) { data = ((0.05 0.95) (0.01 0.99)); }

The numbers of ``data`` run over the parents in the order named, then over the node itself, whose
states vary fastest; parentheses group them. Comments start with ``%``; ``//`` and ``/* */`` are
passed over too. Decisions, utilities and continuous nodes are nodes of the structure alone. Names
may hold parentheses, as those of unrolled predicates do: ``node Owns(person1,car2)``. A name that
is no identifier is written in quotes, which this reader knows and other programs may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from graphs.files.network import CHANCE, Found, Network
from graphs.files.rows import Policy
from graphs.language.scanning import (
    CLOSE,
    COMMENT,
    OPEN,
    QUOTED,
    Scanner,
    blank_comments,
    line_of,
    not_a_number,
    number_words,
    numbers,
    only_child,
    pattern,
    place,
    quote,
    split_names,
    unquote,
)
from graphs.parameters.tables import Tables

_COMMENT = rf"%[^\n]*|{COMMENT}"
_BLOCK = pattern(
    r"(net|potential|(?:(?:discrete|continuous)\s+)?(?:node|decision|utility))(?![\w.\-])"
)
_CALLED = r'[^\s"{}()|=;]+\([^(){}"|;]*\)'
_NAME = pattern(rf'({QUOTED}|{_CALLED}|[^\s"{{}}()|=;]+)')
_LISTED = rf'(?:{QUOTED}|[^\s(){{}}"|]+(?:\([^(){{}}"|;]*\))?|\s)*'
_SCOPE = pattern(rf"\(({_LISTED})(?:\|({_LISTED}))?\)")
_WITH_CALLS = re.compile(rf"{QUOTED}|{_CALLED}|[^\s,]+")
_ATTRIBUTE = pattern(rf'([\w.\-]+)\s*=((?:[^;"{{}}]|{QUOTED})*);')
_UNGROUPED = str.maketrans("()", "  ")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read(text: str, tables: bool, policy: Policy | None = None) -> Found:
    """The network of a NET file, or only its graph.

    Raises:
        Malformed: with the line, whatever the text or the network lacks.
    """
    text = blank_comments(text, _COMMENT)
    scanner = Scanner(text)
    network = Network(lambda position: line_of(text, position), policy=policy)
    potentials: list[tuple[re.Match[str], dict[str, re.Match[str]]]] = []
    while not scanner.done():
        kind = scanner.expect(_BLOCK, "'net', 'node', 'decision', 'utility' or 'potential'")
        if kind[1] == "net":
            name = _attributes(scanner).get("name")
            network.name = unquote(name[2].strip()) if name else ""
        elif kind[1] == "potential":
            scope = scanner.expect(_SCOPE, "'(', the node, '|', its parents and ')'")
            potentials.append((scope, _attributes(scanner)))
        else:
            _node(scanner, network, kind[1].split())
    if tables:
        network.require_tables()
    for scope, attributes in potentials:
        _potential(scanner, network, scope, attributes if tables else None)
    return network.found(tables)


def _attributes(scanner: Scanner) -> dict[str, re.Match[str]]:
    scanner.expect(OPEN, "'{'")
    found = {}
    while not scanner.accept(CLOSE):
        match = scanner.expect(_ATTRIBUTE, "'name = value;' or '}'")
        found[match[1]] = match
    return found


def _node(scanner: Scanner, network: Network, words: list[str]) -> None:
    name = scanner.expect(_NAME, "the name of a node")
    states = _attributes(scanner).get("states")
    kind = CHANCE if words[-1] == "node" else words[-1]
    if kind != CHANCE or words[0] == "continuous":
        what = f"a {' '.join(words)}" + (" node" if kind != CHANCE else "")
        network.declare_untabled(unquote(name[1]), kind, what, name.start(1))
        return
    if states is None:
        raise scanner.error(f"expected 'states = (...);' of {name[1]}, got none", name.start(1))
    listed = states[2].strip()
    if not (listed.startswith("(") and listed.endswith(")")):
        raise scanner.malformed("'(', the states and ')'", states.start(2))
    network.declare(unquote(name[1]), split_names(listed[1:-1]), None, states.start(1))


def _potential(
    scanner: Scanner,
    network: Network,
    header: re.Match[str],
    attributes: dict[str, re.Match[str]] | None,
) -> None:
    where = header.start(1)
    child = only_child(scanner, _names(header[1]), header)
    network.define((*_names(header[2] or ""), child), where)
    if attributes is None:
        return
    if "data" not in attributes:
        raise scanner.error(f"expected 'data = (...);' of {child!r}, got none", where)
    data = attributes["data"]
    span = data.span(2)
    if data[2].count("(") != data[2].count(")"):
        raise scanner.error("expected as many '(' as ')' in the data", data.start(1))

    def flat() -> Scanner:
        return Scanner(scanner.text.translate(_UNGROUPED))

    listed = number_words(data[2].translate(_UNGROUPED))
    size = len(network.states[child])
    try:
        values = numbers(listed)
    except ValueError:
        raise not_a_number(flat(), *span) from None
    network.fill(
        values,
        data.start(1),
        lambda number: place(flat(), *span, number),
        lambda row: listed[row * size : (row + 1) * size],
    )


def _names(listed: str) -> list[str]:
    if "(" in listed:
        return [unquote(name) for name in _WITH_CALLS.findall(listed)]
    return split_names(listed)


def write(tables: Tables) -> Iterator[str]:
    """The text of a Bayesian network in pieces; numbers in full precision."""
    yield f"net\n{{\n  name = {quote(tables.name)};\n}}\n" if tables.name else "net\n{\n}\n"
    for v, states in tables.states.items():
        listed = " ".join(quote(str(s)) for s in states)
        yield f"node {_name(v)}\n{{\n  states = ({listed});\n}}\n"
    for (*parents, child), array in tables.factors:
        given = f" | {' '.join(map(_name, parents))}" if parents else ""
        yield f"potential ({_name(child)}{given})\n{{\n  data = "
        yield from _nested(array, "    ")
        yield ";\n}\n"


def _nested(array: np.ndarray, indent: str) -> Iterator[str]:
    if array.ndim == 1:
        yield f"({' '.join(map(repr, array.tolist()))})"
        return
    yield "("
    for i, part in enumerate(array):
        if i:
            yield "\n" + indent
        yield from _nested(part, indent + " ")
    yield ")"


def _name(name: object) -> str:
    text = str(name)
    return text if _IDENTIFIER.fullmatch(text) else quote(text)
