"""The command line: questions about a model, answered with reasons.

``python -m graphs MODEL QUERY...`` where MODEL is a file (.bif, .xmlbif, .uai, .net, .xdsl,
.dsc, .dot, .gml, .csv, also .gz), a factorization such as "P(A)P(B|A)" or
"1/Z phi1(A,B) phi2(B,C)", a graph such as "dag { A -> B }" or "A->C, C->B", or the name of a
textbook example, and a QUERY is an independence such as "A _||_ C | B". Without a query the
factorization of the model is printed, or its edges where no single factorization states it.

``--marginals`` computes exactly what the tables of a model say, and ``--page`` shows a page to ask
on in the browser: it prints the address, which works on this machine alone, until Ctrl-C.

``--adjust X Y`` tells what to adjust for to see the effect of X on Y. With ``--do X`` questions are
about the graph in which X is set from outside, with ``--do X=yes`` marginals are too. ``--guide``
runs two Pyro programs, module:model and module:guide, and tells what the guide cannot say.

``--learn DATA.csv`` finds tables for the model, ``--save FILE`` writes them. ``--approximate``
answers where exact marginals would take too much memory. With ``--two-slice`` the model repeats in
time, its nodes named X0 and Xt: a QUERY such as "X[t] _||_ X[t-2] | X[t-1]" is about every t,
``--filter``, ``--smooth`` and ``--path`` read evidence of one slice a row; with ``--steps N`` alone
questions are about N slices, X_0, X_1 and so on.

The exit status is 0 when the one query or claim holds, 1 when it does not or when a search or an
iteration did not converge, 2 after any error; where several were asked it is 0 or 2. Questions read
only the structure: neither pgmpy nor torch is imported.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import networkx as nx

from graphs import textbook
from graphs.app.reading import read_model, read_queries, require_alone, require_used
from graphs.app.slices import OF_SLICES, asked_of_slices
from graphs.language.notation import Node, Reader
from graphs.language.signs import notations
from graphs.language.suggestions import did_you_mean
from graphs.separation.independence import Independence, independencies, query
from graphs.separation.markov import markov_blanket
from graphs.structure.edges import edges, edges_latex, edges_text, has_choices, kind_of
from graphs.structure.mixed import has_marks
from graphs.structure.models import as_graph, factorization
from graphs.structure.nodes import find_nodes

Record = dict[str, Any]
MOST_SETS = 9  # of minimal adjustment sets, the first that are listed


def main(argv: Sequence[str] | None = None) -> int:
    """Answer what the arguments ask; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        parser = _parser()
        options = parser.parse_intermixed_args(argv)
        if options.guide:
            return _guide(options)
        if options.model is None:
            parser.error(
                "the following arguments are required: MODEL (QUERY is optional), as in\n"
                '  python -m graphs "P(A)P(B|A)P(C|B)" "A _||_ C | B"'
            )
        return _run(options)
    except SystemExit as stop:
        return int(stop.code or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"graphs: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    usage = (__doc__ or "").split("\n\n", 1)[1]
    parser = _Parser(
        prog="graphs",
        description=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Textbook examples: {', '.join(textbook.NAMES)}.",
    )
    add = parser.add_argument
    what = "a file, a factorization, a graph or a textbook example"
    add("model", metavar="MODEL", nargs="?", help=what)
    add("query", metavar="QUERY", nargs="*", help='an independence; "-" reads standard input')
    add("--queries", metavar="FILE", help="read more queries, one a line; # starts a comment line")
    add("--check", metavar="CLAIM", action="append", default=[], help="check a stated claim")
    add("--blanket", metavar="NODE", action="append", default=[], help="list a Markov blanket")
    add("--list", action="store_true", help="list every independence of two nodes")
    add("--max-given", metavar="N", type=int, default=2, help="... given up to N others (2)")
    add("--latent", metavar="NODE", action="append", default=[], help="a node nobody observes")
    add("--marginals", metavar="NODES", action="append", default=[], help="posteriors; or all")
    add("--evidence", metavar="NODE=STATE", action="append", default=[], help="... given these")
    add(
        "--approximate",
        metavar="METHOD",
        nargs="?",
        const="bp",
        choices=("bp", "mean-field"),
        help="... by belief propagation (bp) or mean-field",
    )
    add("--learn", metavar="CSV", help="learn tables from rows under a line of names")
    words = "a word for a missing value in files of data, besides none (NA, NaN)"
    add("--missing", metavar="WORD", action="append", default=[], help=words)
    add("--prior", metavar="N", type=float, default=0.0, help="... with N pseudo-counts a cell")
    add("--states", metavar="NODE=A,B", action="append", default=[], help="... states of a node")
    add("--restarts", metavar="N", type=int, default=1, help="... the best of N searches (1)")
    add("--seed", metavar="N", type=int, default=0, help="... whose starts are random (0)")
    add("--save", metavar="FILE", help="... and write the network")
    add("--two-slice", action="store_true", help="the model repeats in time")
    add("--steps", metavar="N", type=int, help="how many slices there are")
    add("--filter", metavar="CSV", help="every slice given evidence up to it")
    add("--smooth", metavar="CSV", help="every slice given all evidence")
    add("--path", metavar="CSV", help="the most probable states of all slices together")
    adjust = "what to adjust for to see the effect of X on Y"
    add("--adjust", metavar=("X", "Y"), nargs=2, action="append", default=[], help=adjust)
    add("--do", metavar="NODE[=STATE]", action="append", default=[], help="set from outside")
    gaps = "a model, a guide and, if need be, what both are called with, each as module:name"
    add("--guide", metavar="PROGRAM", nargs="+", help=gaps)
    add("--page", action="store_true", help="show a page to ask on in the browser")
    add("--quiz", action="store_true", help="... which asks, and hides answers until you commit")
    add("--port", metavar="N", type=int, default=0, help="... on this port (any that is free)")
    add("--draw", metavar="PNG", help="draw the graph, with the answers coloured")
    add("--latex", action="store_true", help="print the factorization and the answers as LaTeX")
    add("--notations", action=_Notations, nargs=0, help="print the signs that are read, and exit")
    add("--version", action=_Version, nargs=0, help="print the version, and exit")
    add("--json", action="store_true", help="print one JSON document instead of text")
    return parser


class _Notations(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(notations())
        parser.exit()


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ppl_gen import __version__

        print(f"graphs {__version__}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Says of an option that there is not which one was meant."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            options = re.findall(r"--[a-z-]+", self.format_usage())
            message += did_you_mean(message.split()[2], options)
        super().error(message)


@dataclass
class _Session:
    """A model, and what was found out about it so far."""

    stated: Any
    graph: nx.Graph
    latent: frozenset[Node]
    answers: list[Any] = field(default_factory=list)
    verdicts: list[bool] = field(default_factory=list)

    def answer(self, text: str) -> Record:
        found = query(self.graph, text, latent=self.latent)
        self.answers.append(found)
        self.verdicts.append(found.holds)
        return {
            "statement": str(found),
            "latex": found.latex(),
            **_sets(found),
            "holds": found.holds,
            "independent": found.separated,
            "path": None if found.path is None else [_plain(v) for v in found.path],
            "blockers": sorted(map(_plain, found.blockers), key=str),
            "explanation": found.explain(),
        }

    def blanket(self, name: str) -> Record:
        nodes = find_nodes(self.graph, [name], "--blanket")
        blanket = sorted(map(_plain, markov_blanket(self.graph, nodes)), key=str)
        text = ", ".join(map(str, blanket)) or "empty"
        explanation = f"The Markov blanket of {name} is {text}."
        return {"node": name, "blanket": blanket, "explanation": explanation}

    def adjustment(self, pair: Sequence[str]) -> Record:
        from graphs.interventions.adjustment import adjustment
        from graphs.interventions.front_door import front_door

        x, y = (find_nodes(self.graph, Reader(text).names(), "--adjust") for text in pair)
        found = adjustment(self.graph, x, y, latent=self.latent)
        self.answers.append(found)
        self.verdicts.append(bool(found))
        lines = [found.explain()]
        sets = [sorted(map(_plain, z), key=str) for z in islice(found.sets, MOST_SETS)]
        if len(sets) > 1:
            others = "; ".join(", ".join(map(str, z)) for z in sets[1:])
            lines.append(f"Or for: {others}{' ...' * (len(sets) == MOST_SETS)}.")
        door = None if found else front_door(self.graph, x, y, latent=self.latent)
        if door:
            lines.append(door.explain())
        return {
            "effect": [sorted(map(_plain, nodes), key=str) for nodes in (x, y)],
            "holds": bool(found),
            "sets": sets,
            "front_door": sorted(map(_plain, door.first or ()), key=str) if door else None,
            "explanation": "\n".join(lines),
        }

    def claim(self, text: str) -> Record:
        from graphs.claims.verdicts import check

        verdict = check(self.stated, text)
        self.verdicts.append(bool(verdict))
        return {"claim": text, "holds": bool(verdict), "explanation": verdict.explain()}


def _run(options: argparse.Namespace) -> int:
    if options.page or options.quiz:
        return _page(options)
    require_used(options)
    if options.learn:
        return _learn(options)
    if asked_of_slices(options):
        return _slices(options)
    model = _unrolled(options, tables=False)
    as_graph(model, any_member=True)
    graph = as_graph(model, acyclic=False)
    if options.do:
        from graphs.interventions.cutting import do

        model = graph = do(graph, find_nodes(graph, _done(options.do, graph), "--do"))
    session = _Session(model, graph, find_nodes(graph, options.latent, "--latent"))
    jobs: list[tuple[str, Callable[[Any], Record], Sequence[Any]]] = [
        ("answers", session.answer, read_queries(options.query, options.queries)),
        ("blankets", session.blanket, options.blanket),
        ("adjustments", session.adjustment, options.adjust),
        ("claims", session.claim, options.check),
    ]
    report: Record = {"model": options.model, "directed": graph.is_directed()}
    say = (lambda *_: None) if options.json else print
    asked = options.list or options.marginals or options.evidence
    if options.latex or not (asked or any(texts for *_, texts in jobs)):
        structure, summary = _structure(model, graph)
        report |= structure
        say(structure["latex"] if options.latex else summary)
    failed, unsettled = False, False
    for section, job, texts in jobs:
        for text in texts:
            try:
                record = job(text)
                say(record["latex" if options.latex and "latex" in record else "explanation"])
            except ValueError as error:
                failed = True
                record = {"text": text, "error": str(error)}
                print(f"graphs: {error}", file=sys.stderr)
            report.setdefault(section, []).append(record)
    if options.marginals or options.evidence:
        ended = _posteriors(options, report, say)
        failed, unsettled = failed or ended == 2, ended == 1
    if options.list:
        report["independencies"] = []
        for found in independencies(graph, options.max_given, latent=session.latent):
            say(found.latex() if options.latex else found)
            if options.json:
                report["independencies"].append(_sets(found))
    if options.draw:
        from graphs.pictures.drawing import Picture

        _draw(session.answers or [Picture(graph)], Path(options.draw))
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    verdicts = session.verdicts
    return 2 if failed else int(not verdicts[0]) if len(verdicts) == 1 else int(unsettled)


def _posteriors(options: argparse.Namespace, report: Record, say: Callable[..., Any]) -> int:
    """Say or report posteriors; 2 after an error, 1 where an iteration did not converge."""
    from graphs.app.approximating import Approximate, approximate
    from graphs.inference.posteriors import posteriors, probability, read_states
    from graphs.inference.queries import model_tables
    from graphs.interventions.cutting import truncated

    tables = model_tables(_unrolled(options, tables=True))
    nodes = [name for text in options.marginals for name in Reader(text).names()]
    every = not nodes or nodes == ["all"]
    approximation: Approximate | None = None
    try:
        done = read_states(tables, options.do)
        tables = truncated(tables, done) if done else tables
        seen = read_states(tables, options.evidence)
        if both := [v for v in seen if v in done]:
            raise ValueError(f"expected a node to be set or seen, got both of {both[0]!r}")
        names = () if every else nodes
        if options.approximate:
            approximation = approximate(tables, options.approximate, names, seen)
            found = list(approximation.posteriors)
        else:
            found = list(posteriors(tables, names, options.evidence))
        found = [replace(p, done=done) for p in found if not (every and p.node in done)]
        if not approximation:
            report["probability"] = probability(tables, seen)
    except ValueError as error:
        hint = "; --approximate does so" * ("graphs.BeliefPropagation" in str(error))
        print(f"graphs: {error}{hint}", file=sys.stderr)
        report["error"] = str(error)
        return 2
    for posterior in found:
        say(posterior)
    if seen and not approximation:
        listed = ", ".join(f"{v} = {state}" for v, state in seen.items())
        under = f" | do({', '.join(f'{v} = {state}' for v, state in done.items())})" if done else ""
        say(f"P({listed}{under}) = {report['probability']:.6g}")
    if done:
        report["do"] = {str(v): str(state) for v, state in done.items()}
    report["evidence"] = {str(v): str(state) for v, state in seen.items()}
    report["marginals"] = {
        str(p.node): {str(state): value for state, value in p.probabilities.items()} for p in found
    }
    if approximation:
        say(approximation)
        report["approximation"] = approximation.record()
        return int(not approximation.converged)
    return 0


def _done(texts: Sequence[str], graph: nx.Graph) -> list[str]:
    """The nodes that are set, with or without a state."""
    known = {str(v) for v in graph}
    parts = [part for text in texts for part in ([text] if text in known else text.split(","))]
    return [part if part in known else part.partition("=")[0].strip() for part in parts]


def _unrolled(options: argparse.Namespace, tables: bool) -> Any:
    """The model, or its first slices where it repeats in time."""
    if options.steps is None:
        return read_model(options.model, tables)
    from graphs.dynamic.unrolling import unroll

    return unroll(read_model(options.model, tables), options.steps)


def _learn(options: argparse.Namespace) -> int:
    """Learn tables; 1 where a search did not converge."""
    from graphs.app.learning import learned

    require_alone(options, "--learn", {"learn", "latent"})
    say = (lambda *_: None) if options.json else print
    record, converged = learned(read_model(options.model, tables=True), options, say)
    if options.json:
        print(json.dumps({"model": options.model} | record, ensure_ascii=False, indent=2))
    return int(not converged)


def _slices(options: argparse.Namespace) -> int:
    """Answer about every slice of a model that repeats in time."""
    from graphs.app.slices import about_slices

    require_alone(options, "slices", OF_SLICES)
    say = (lambda *_: None) if options.json else print
    queries = read_queries(options.query, options.queries)
    inferred = any((options.filter, options.smooth, options.path))
    model = read_model(options.model, tables=inferred)
    record, verdicts, shown = about_slices(model, queries, options, say)
    if options.draw:
        _draw(shown, Path(options.draw))
    if options.json:
        print(json.dumps({"model": options.model} | record, ensure_ascii=False, indent=2))
    return int(not verdicts[0]) if len(verdicts) == 1 else 0


def _guide(options: argparse.Namespace) -> int:
    """Tell what a guide cannot say; whether its structure is sufficient."""
    from graphs.guides.naming import named_gaps

    if options.model is not None:
        raise ValueError(f"expected --guide without a MODEL of its own, got {options.model!r}")
    if len(options.guide) not in (2, 3):
        raise ValueError(
            "expected --guide module:model module:guide, and perhaps module:arguments, got "
            f"{len(options.guide)} names"
        )
    gaps = named_gaps(*options.guide)
    if options.draw:
        _draw([gaps], Path(options.draw))
    if options.json:
        record = {
            "sufficient": gaps.sufficient,
            "gaps": [_sets(gap) | {"path": list(map(_plain, gap.path or ()))} for gap in gaps],
            "spare": [list(map(_plain, edge)) for edge in gaps.spare],
            "summed": list(map(_plain, gaps.summed)),
            "warnings": list(gaps.warnings),
        }
        print(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        print(gaps.explain())
    return int(not gaps.sufficient)


def _page(options: argparse.Namespace) -> int:
    """Serve a page until interrupted; the address is printed at once."""
    from graphs.interactive.pages import page

    texts = read_queries(options.query, options.queries)
    model = read_model(options.model, tables=True)
    if options.adjust or options.do:
        raise ValueError("expected a page without --adjust and --do, got one of them")
    if len(texts) > 1 or len(options.check) > 1:
        raise ValueError("expected at most one query and one claim to begin a page with, got more")
    shown = page(
        model,
        query=texts[0] if texts else None,
        evidence=", ".join(options.evidence) or None,
        claim=options.check[0] if options.check else None,
        quiz=options.quiz,
    )
    if shown.answer is not None and not options.quiz:
        print(shown.answer.explain(), flush=True)
    shown.serve(port=options.port, open=False)
    return 0


# --- Writing ------------------------------------------------------------------------------------


def _structure(model: Any, graph: nx.Graph) -> tuple[Record, str]:
    """The factorization, or the edges where some are no arrows, and the same as a summary."""
    if graph.is_directed() and (has_marks(graph) or has_choices(graph)):
        size, kind = len(list(edges(graph))), kind_of(graph)
        stated, latex, key = edges_text(graph), edges_latex(graph), "structure"
    else:
        found = factorization(model)
        size, kind = graph.size(), "Bayesian" if graph.is_directed() else "Markov"
        kind, key = f"{kind} network", "factorization"
        stated, latex = str(found), found.latex()
    record = {"nodes": len(graph), "edges": size, key: stated, "latex": latex}
    return record, f"{kind} of {len(graph)} nodes and {size} edges\n{stated}"


def _sets(answer: Independence) -> Record:
    named = {"x": answer.x, "y": answer.y, "given": answer.given}
    return {role: sorted(map(_plain, nodes), key=str) for role, nodes in named.items()}


def _plain(node: Node) -> str | int:
    return node if isinstance(node, (str, int)) else str(node)


def _draw(answers: Sequence[Any], path: Path) -> None:
    """One picture of what was answered, written beside its target and then moved."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    if len(answers) < 2:
        figure = answers[0].draw().figure
    else:
        columns = min(3, len(answers))
        rows = math.ceil(len(answers) / columns)
        size = 4.5 * columns, 4.0 * rows
        figure, axes = plt.subplots(
            rows, columns, figsize=size, squeeze=False, layout="constrained"
        )
        for ax in axes.flat:
            ax.axis("off")
        for answer, ax in zip(answers, axes.flat, strict=False):
            answer.draw(ax)
    if not path.parent.is_dir():
        raise ValueError(f"expected an existing folder for {path.name}, got {path.parent}")
    kind = path.suffix[1:] or "png"
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(partial, format=kind, dpi=150)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
