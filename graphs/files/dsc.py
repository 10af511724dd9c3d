r"""DSC, the format of Microsoft's belief networks (MSBN), as bnlearn and GeNIe write it; read only.

::

    belief network "chest"
    node asia { name : "Visit to Asia"; type : discrete[2] = { "yes", "no" }; }
    node tub { type : discrete[2] = { "yes", "no" }; }
    probability (asia) { 0.01, 0.99; }
    probability (tub | asia) { (0) : 0.05, 0.95; (1) : 0.01, 0.99; }

A row is labelled by the number of each parent's state; ``default : p, q;`` stands for rows not
given. GeNIe labels every row (0, 0), whatever its parents: then the rows are taken in their order,
the last parent's states faster, as in its other formats; where that matters, a warning says so.
"""

from __future__ import annotations

import math
import re
from itertools import product

from graphs.files.bif import LARGEST_DEFAULT
from graphs.files.network import Found, Network
from graphs.files.rows import Policy
from graphs.language.scanning import (
    CLOSE,
    COMMENT,
    OPEN,
    QUOTED,
    Scanner,
    blank_comments,
    line_of,
    number_words,
    numbers_in,
    only_child,
    pattern,
    place,
    split_names,
    unquote,
)
from graphs.parameters.tables import label_of

_HEAD = pattern(rf"belief\s+network(?:\s+({QUOTED}|[\w.\-]+))?\s*;?")
_BLOCK = pattern(r"(node|probability)(?![\w.\-])")
_NAME = pattern(rf'({QUOTED}|[^\s"{{}}();:=]+)')
_TYPE = pattern(
    rf'type\s*:\s*discrete\s*\[\s*(\d{{1,9}})\s*\]\s*=?\s*\{{((?:[^{{}};"]|{QUOTED})*)\}}\s*;?'
)
_PROPERTY = pattern(rf'(?!type\b)[\w\-]+\s*:\s*(?:[^;"{{}}]|{QUOTED})*;')
_SCOPE = pattern(rf'\(((?:[^(){{}}"|]|{QUOTED})*)(?:\|((?:[^(){{}}"|]|{QUOTED})*))?\)')
_ROW = pattern(r"(?:(?:\(([\d\s,]*)\)|(default))\s*:?)?\s*([^;:(){}\"]*);")


def read(text: str, tables: bool, policy: Policy | None = None) -> Found:
    """The network of a DSC file, or only its graph.

    Raises:
        Malformed: with the line, whatever the text or the network lacks.
    """
    text = blank_comments(text, COMMENT)
    scanner = Scanner(text)
    network = Network(lambda position: line_of(text, position), policy=policy)
    head = scanner.expect(_HEAD, "'belief network'")
    network.name = unquote(head[1] or "")
    blocks: list[int] = []
    while not scanner.done():
        if scanner.expect(_BLOCK, "'node' or 'probability'")[1] == "node":
            _node(scanner, network)
            continue
        blocks.append(scanner.position)
        end = scanner.text.find("}", scanner.position)
        scanner.position = end if end >= 0 else len(text)
        scanner.expect(CLOSE, "'}' at the end of the block")
    for start in blocks:
        scanner.position = start
        _probability(scanner, network, tables)
    return network.found(tables)


def _node(scanner: Scanner, network: Network) -> None:
    name = scanner.expect(_NAME, "the name of a node")
    scanner.expect(OPEN, "'{'")
    while scanner.accept(_PROPERTY):
        pass
    states = scanner.expect(_TYPE, "'type : discrete[n] = { states };'")
    listed = split_names(states[2], whole=int(states[1]) == 1)
    network.declare(unquote(name[1]), listed, int(states[1]), states.start(2))
    while scanner.accept(_PROPERTY):
        pass
    scanner.expect(CLOSE, "'property : value;' or '}'")


def _probability(scanner: Scanner, network: Network, tables: bool) -> None:
    header = scanner.expect(_SCOPE, "'(', the node, '|', its parents and ')'")
    child = only_child(scanner, split_names(header[1]), header)
    scope = network.define((*split_names(header[2] or ""), child), header.start(1))
    scanner.expect(OPEN, "'{'")
    if tables:
        _table(scanner, network, scope)


def _table(scanner: Scanner, network: Network, scope: tuple[str, ...]) -> None:
    start, *sizes, size = scanner.position, *network.shape(scope)
    rows: list[tuple[re.Match[str], list[float]]] = []
    while not scanner.accept(CLOSE):
        match = scanner.expect(_ROW, "a row '(states) : numbers;', 'default : numbers;' or '}'")
        values = numbers_in(scanner, match, 3)
        if len(values) != size:
            wanted = f"expected {size} probabilities of {scope[-1]!r}, got {len(values)}"
            raise scanner.error(wanted, match.start(3))
        rows.append((match, values))
    found = _placed(scanner, network, scope, rows)
    default = found.pop(None, None)
    total = math.prod(sizes)
    filled = default is not None or network.policy.normalize
    if len(found) < total and not filled:
        missing = next(c for c in product(*map(range, sizes)) if c not in found)
        label = ", ".join(map(str, missing))
        raise scanner.error(
            f"expected the row ({label}) of {scope[-1]!r}, got {len(found)} of {total} rows; "
            "normalize=True fills such rows uniformly",
            start,
        )
    if total * size > LARGEST_DEFAULT and len(found) < total:
        raise scanner.error(
            f"expected a default for at most {LARGEST_DEFAULT} cells, got {total * size}", start
        )
    chosen = [found.get(c) or default for c in product(*map(range, sizes))]

    def position(number: int) -> int:
        row, column = divmod(number, size)
        listed = chosen[row]
        return place(scanner, *listed[0].span(3), column) if listed else start

    def words(row: int) -> list[str]:
        listed = chosen[row]
        return number_words(listed[0][3]) if listed else []

    missing_row = [math.nan] * size
    flat = [value for row in chosen for value in (row[1] if row else missing_row)]
    network.fill(flat, start, position, words)


def _placed(
    scanner: Scanner,
    network: Network,
    scope: tuple[str, ...],
    rows: list[tuple[re.Match[str], list[float]]],
) -> dict[tuple[int, ...] | None, tuple[re.Match[str], list[float]]]:
    """The rows by the numbers of the parents' states; the default under ``None``."""
    *sizes, _ = network.shape(scope)
    labels = [tuple(map(int, (m[1] or "").replace(",", " ").split())) for m, _ in rows]
    keys = labels
    if _by_order(labels, sizes):
        keys = list(product(*map(range, sizes)))
        if sum(size > 1 for size in sizes) > 1:
            what = "rows, all labelled (0, 0), taken with the last parent's states faster"
            network.changes.append(f"{label_of(scope, True)} {what}")
    found: dict[tuple[int, ...] | None, tuple[re.Match[str], list[float]]] = {}
    for (match, values), label, listed in zip(rows, labels, keys, strict=True):
        key = None if match[2] else listed
        if key is not None and (
            len(key) != len(sizes) or not all(s < n for s, n in zip(key, sizes, strict=True))
        ):
            bounds = ", ".join(f"0 to {n - 1}" for n in sizes) or "no numbers"
            got = f"({', '.join(map(str, label))})"
            raise scanner.error(
                f"expected the numbers of the parents' states ({bounds}) of {scope[-1]!r}, "
                f"got {got}",
                match.start(3),
            )
        if key in found:
            label_text = "default" if key is None else f"({', '.join(map(str, key))})"
            raise scanner.error(f"expected every row once, got {label_text} again", match.start(3))
        found[key] = match, values
    return found


def _by_order(labels: list[tuple[int, ...]], sizes: list[int]) -> bool:
    """Whether rows are listed in full and their labels, all (0, 0), tell nothing."""
    nothing = all(label == (0, 0) for label in labels)
    return bool(sizes) and nothing and len(labels) == math.prod(sizes)
