"""Tables from a file of data, told with how sure one may be of them."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from graphs.app.data import doubtful_states, read_rows
from graphs.language.notation import Node
from graphs.parameters.tables import Tables
from graphs.structure.models import as_graph
from graphs.structure.nodes import find_nodes

Record = dict[str, Any]


def learned(
    model: Any, options: argparse.Namespace, say: Callable[[str], object]
) -> tuple[Record, bool]:
    """Learn the tables of a model as ``--learn`` and what goes with it say.

    Args:
        model: a structure, or a network with tables, whose states are kept.
        options: ``learn``, ``missing``, ``prior``, ``states``, ``latent``, ``restarts``, ``seed``
            and ``save`` of the command line.
        say: prints a text.

    Returns:
        What was found, and whether the search converged.

    Raises:
        ValueError: what :func:`graphs.learn` and :func:`graphs.save` refuse, before anything is
            written.
    """
    from graphs.files.load_save import require_network_file, save
    from graphs.learning.learn import learn
    from graphs.learning.structures import skeleton
    from graphs.parameters.bridge import tables_of

    graph = model.graph if isinstance(model, Tables) else as_graph(model)
    declared = _declared(options.states, graph)
    if options.save:
        require_network_file(options.save, graph.is_directed())
    rows = read_rows(options.learn, options.missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what they say is in the explanation
        found = learn(
            model,
            rows,
            prior=options.prior,
            states=declared or None,
            latent=find_nodes(graph, options.latent, "--latent") or None,
            restarts=options.restarts,
            seed=options.seed,
            progress=sys.stderr.isatty(),
        )
        table = found.table()
    states = tables_of(found.model).states
    own = skeleton(model, None).tables is not None
    doubts = doubtful_states(states, states if own else declared)
    for text in (
        found.explain(),
        *doubts,
        "",
        table.to_string(index=False, float_format="{:.5g}".format),
    ):
        say(text)
    record: Record = {
        "rows": len(rows),
        "log_likelihood": found.log_likelihood,
        "log_likelihoods": list(found.log_likelihoods),
        "converged": found.converged,
        "parameters": [_plain(row) for row in table.to_dict("records")],
        "explanation": "\n".join([found.explain(), *doubts]),
    }
    if options.save:
        save(found.model, options.save)
        say(f"\nWritten to {options.save}.")
        record["saved"] = options.save
    return record, found.converged


def _declared(texts: Sequence[str], graph: Any) -> dict[Node, list[Hashable]]:
    """The states of ``NODE=a,b,c``."""
    declared: dict[Node, list[Hashable]] = {}
    for text in texts:
        name, sign, listed = text.partition("=")
        (node,) = find_nodes(graph, [name.strip()], "--states")
        names = [part.strip() for part in listed.split(",")]
        if not sign or not all(names) or len(set(names)) < len(names):
            raise ValueError(f"expected --states NODE=a,b,c of distinct states, got {text!r}")
        whole = all(n.isdecimal() and str(int(n)) == n for n in names)
        declared[node] = [int(n) for n in names] if whole else list(names)
    return declared


def _plain(row: Mapping[Hashable, Any]) -> Record:
    """A row of a table as JSON holds it; what is no number becomes null."""
    found: Record = {}
    for name, value in row.items():
        key = str(name)
        if isinstance(value, float):
            found[key] = value if math.isfinite(value) else None
        elif isinstance(value, tuple):
            found[key] = [str(part) for part in value]
        else:
            found[key] = value if isinstance(value, (str, int)) else str(value)
    return found
