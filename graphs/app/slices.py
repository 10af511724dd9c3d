"""Networks in time: claims about every slice, filtering, smoothing, the most probable path."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphs.app.data import read_slices
from graphs.language.notation import Node, Reader
from graphs.structure.nodes import unknown

if TYPE_CHECKING:
    from graphs.dynamic.tree import DynamicTree

Record = dict[str, Any]
TIMED = ("two_slice", "filter", "smooth", "path")  # options that ask of slices as such
OF_SLICES = {*TIMED, "query", "queries", "marginals", "steps", "draw"}
DRAWN = 3  # slices of a picture, unless a number of them is asked for
Say = Callable[[str], object]


def asked_of_slices(options: argparse.Namespace) -> bool:
    """Whether a question is about slices as such, and not about a network of some of them."""
    return any(getattr(options, name) for name in TIMED)


def about_slices(
    model: Any, queries: Sequence[str], options: argparse.Namespace, say: Say
) -> tuple[Record, list[bool], list[Any]]:
    """Answer what is asked of a network in time.

    Args:
        model: what :func:`graphs.two_slice` reads, with tables for all but claims.
        queries: claims about every t.
        options: ``filter``, ``smooth``, ``path``, ``steps``, ``marginals``, ``missing`` and
            ``draw`` of the command line.
        say: prints a text.

    Returns:
        What was found, the verdicts on the claims, and what to draw if that is asked for.

    Raises:
        ValueError: what :func:`graphs.two_slice`, :func:`graphs.always` and
            :class:`graphs.DynamicTree` refuse; a file that does not hold evidence.
    """
    from graphs.dynamic.reading import two_slice

    network = two_slice(model)
    report: Record = {}
    verdicts: list[bool] = []
    shown: list[Any] = []
    if queries:
        from graphs.dynamic.horizons import always

        report["answers"] = []
        for text in queries:
            answer = always(network, text)
            verdicts.append(bool(answer))
            shown.append(answer.counterexample or answer.at(answer.decided[-1]))
            say(answer.explain())
            report["answers"].append({
                "statement": str(answer), "holds": bool(answer), "failing": list(answer.failing),
                "explanation": answer.explain(),
            })  # fmt: skip
    files = {"filter": options.filter, "smooth": options.smooth, "path": options.path}
    if any(files.values()):
        from graphs.dynamic.tree import DynamicTree

        tree = DynamicTree(network)
        names = [name for text in options.marginals for name in Reader(text).names()]
        wanted = _wanted(tree, [] if names == ["all"] else names)
        for what, path in files.items():
            if path is None:
                continue
            slices = read_slices(path, list(tree.states), network.static, options.missing)
            if what == "filter":
                answers = _filtered(tree, slices, wanted, options.steps)
                report[what] = list(_told(tree, what, wanted, answers, say))
                continue
            rows = list(slices)
            value = float(tree.log_partition(rows, steps=options.steps))
            answers = (_smoothed if what == "smooth" else _path)(tree, rows, wanted, options.steps)
            report[what] = list(_told(tree, what, wanted, answers, say))
            say(f"log P(evidence) = {value:.6g}")
            report["log_probability"] = value
    elif not queries:
        say(f"{network!r}\nA slice hands on: {', '.join(map(str, network.interface)) or 'nothing'}")
        report |= {
            "variables": list(map(str, network.variables)),
            "static": list(map(str, network.static)),
            "interface": list(map(str, network.interface)),
        }
    if options.draw and not shown:
        from graphs.dynamic.unrolling import unrolled_graph
        from graphs.pictures.drawing import Picture

        shown.append(Picture(unrolled_graph(network, options.steps or DRAWN)))
    return report, verdicts, shown


def _wanted(tree: DynamicTree, names: Sequence[str]) -> list[Node]:
    known = {str(v): v for v in tree.states}
    for name in names:
        if name not in known:
            raise ValueError(f"expected variables of a slice, got {unknown(tree.states, name)}")
    return [known[name] for name in names] or list(tree.states)


# --- Answers, slice by slice --------------------------------------------------------------------

Row = dict[Node, Any]
Told = Mapping[Node, str]


def _filtered(
    tree: DynamicTree, slices: Iterator[Told], wanted: Sequence[Node], steps: int | None
) -> Iterator[Row]:
    """Distributions of every slice as its evidence is read."""
    seen: list[Told] = []

    def evidence() -> Iterator[Told]:
        for row in slices:
            seen[:] = [row]
            yield row

    fixed: Row = {}
    for answer in tree.filter(evidence(), steps=steps):
        told = seen.pop() if seen else {}
        known = {v: _certain(tree, v, told[v]) for v in told}
        fixed |= {v: p for v, p in known.items() if v in tree.model.static}
        given = {v: answer[v].tolist() for v in answer}
        yield {v: p for v, p in (fixed | known | given).items() if v in wanted}


def _certain(tree: DynamicTree, node: Node, value: str) -> list[float]:
    from graphs.parameters.states import StateNames

    states = tree.states[node]
    index = StateNames(node, states).index(value)
    return [float(i == index) for i in range(len(states))]


def _smoothed(
    tree: DynamicTree, rows: Sequence[Told], wanted: Sequence[Node], steps: int | None
) -> Iterator[Row]:
    """Distributions of every slice given all evidence."""
    found = tree.marginals(rows, steps=steps)
    for t in range(max(len(rows), steps or 0)):
        told = {**(rows[0] if rows else {}), **(rows[t] if t < len(rows) else {})}
        row: Row = {}
        for v in wanted:
            static = v in tree.model.static
            if v in found:
                row[v] = (found[v] if static else found[v][t]).tolist()
            else:
                row[v] = _certain(tree, v, told[v])
        yield row


def _path(
    tree: DynamicTree, rows: Sequence[Told], wanted: Sequence[Node], steps: int | None
) -> Iterator[Row]:
    """The states of the most probable path."""
    found = tree.map(rows, steps=steps)
    for t in range(max(len(rows), steps or 0)):
        row: Row = {}
        for v in wanted:
            if v in found:
                row[v] = found[v] if v in tree.model.static else found[v][t]
            else:
                row[v] = rows[0 if v in tree.model.static else t][v]
        yield row


def _told(
    tree: DynamicTree, what: str, wanted: Sequence[Node], rows: Iterator[Row], say: Say
) -> Iterator[Record]:
    """Print a line a slice under a line of names; each as JSON holds it."""
    if what == "path":
        heads = [str(v) for v in wanted]
    else:
        heads = [f"{v}={s}" for v in wanted for s in tree.states[v]]
    widths = [max(len(head), 8) for head in heads]
    say("  ".join(["     t", *(head.rjust(w) for head, w in zip(heads, widths, strict=True))]))
    for t, row in enumerate(rows, tree.model.first):
        if what == "path":
            cells = [str(row.get(v, "")) for v in wanted]
            record: Record = {str(v): str(state) for v, state in row.items()}
        else:
            numbers = [row.get(v, [None] * len(tree.states[v])) for v in wanted]
            cells = ["" if p is None else f"{p:.6f}" for part in numbers for p in part]
            record = {
                str(v): {str(s): p for s, p in zip(tree.states[v], part, strict=True)}
                for v, part in row.items()
            }
        say("  ".join([f"{t:6}", *(c.rjust(w) for c, w in zip(cells, widths, strict=True))]))
        yield {"slice": t} | record
