"""A junction tree as a table, for notebooks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from html import escape

from graphs.inference.routing import Cost
from graphs.language.notation import Node

MOST_SHOWN = 20


def tree_table(headline: str, cost: Cost, states: Mapping[Node, Sequence[Hashable]]) -> str:
    """What a tree costs, and the names of the states of its nodes.

    >>> tree = graphs.JunctionTree(graphs.textbook.asia())
    >>> "<th>smoke</th><td>yes, no</td>" in tree._repr_html_()
    True
    """
    shown = list(states.items())[:MOST_SHOWN]
    rows = [
        ("treewidth", f"{cost.treewidth}"),
        ("cells", f"{Decimal(cost.cells):.3g}"),
        ("bytes for a row of evidence", f"{Decimal(cost.bytes):.3g}"),
        *((str(node), ", ".join(map(str, names))) for node, names in shown),
    ]
    if len(states) > len(shown):
        rows.append(("…", f"{len(states) - len(shown)} more nodes"))
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows
    )
    return f"<table><caption>{escape(headline)}</caption>{body}</table>"
