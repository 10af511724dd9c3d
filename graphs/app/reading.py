"""Models and questions as a command line names them."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from graphs import textbook
from graphs.app.opening import opened
from graphs.language.suggestions import did_you_mean
from graphs.structure.parsing import parse, states_graph

_FILE_NAME = re.compile(
    r"[^\s{}();,]+\.(?:bif|xmlbif|bifxml|xml|uai|net|xdsl|dsc"
    r"|dot|gv|gml|csv|tsv|edges|txt|dagitty)(?:\.gz)?"
)


def read_model(text: str, tables: bool = False) -> Any:
    """The model that a text names or states, with its tables where these are asked for.

    Raises:
        ValueError: a text that is none of these, a file that cannot be read as its format.
    """
    if os.path.isfile(text):
        from graphs.files.load_save import read_content

        return read_content(text, tables)
    if text in textbook.NAMES:
        return textbook.parameters(text) if tables else textbook.structure(text)
    if not _FILE_NAME.fullmatch(text):
        if states_graph(text):
            from graphs.language.graph_texts import read_graph

            return read_graph(text)
        if "(" in text:
            return parse(text)
    raise ValueError(
        "expected a file (.bif, .xmlbif, .uai, .net, .xdsl, .dsc, .dot, .gml, .csv, also .gz), a "
        "factorization such as P(A)P(B|A), a graph such as 'dag { A -> B }' or a textbook example "
        f"({', '.join(textbook.NAMES)}), got {text!r}"
        f"{did_you_mean(text, textbook.NAMES)}"
    )


def read_queries(texts: Sequence[str], path: str | None) -> list[str]:
    """The queries in order; those of a file or of standard input, one a line."""
    queries: list[str] = []
    for text in texts:
        queries += _lines(sys.stdin) if text == "-" else [text]
    if path is not None:
        with opened(path) as file:
            queries += _lines(file)
    return queries


def _lines(file: Iterable[str]) -> Iterator[str]:
    stripped = (line.removeprefix("\ufeff").strip() for line in file)
    return (line for line in stripped if line and not line.startswith("#"))


OTHERS = {
    "query": "a QUERY", "queries": "", "check": "", "blanket": "", "list": "", "latent": "",
    "marginals": "", "evidence": "", "adjust": "", "do": "", "approximate": "", "draw": "",
    "latex": "", "two_slice": "", "steps": "", "filter": "", "smooth": "", "path": "", "learn": "",
}  # fmt: skip


def require_alone(options: argparse.Namespace, what: str, allowed: set[str]) -> None:
    """Raise ``ValueError`` for questions that do not go with what is asked."""
    for name, shown in OTHERS.items():
        if getattr(options, name) and name not in allowed and name not in what:
            got = shown or "--" + name.replace("_", "-")
            raise ValueError(f"expected {what} without {got}, got both")


def require_used(options: argparse.Namespace) -> None:
    """Raise ``ValueError`` for options that say more about what is not asked for."""
    inferred = options.filter or options.smooth or options.path
    for given, needed, present in (
        (options.save is not None, "--save", options.learn),
        (bool(options.states), "--states", options.learn),
        (options.prior != 0, "--prior", options.learn),
        (options.restarts != 1, "--restarts", options.learn),
        (options.seed != 0, "--seed", options.learn),
        (bool(options.missing), "--missing", options.learn or inferred),
    ):
        if given and not present:
            what = " or a file of evidence" * (needed == "--missing")
            raise ValueError(f"expected {needed} with --learn{what}, got it alone")
    if options.approximate and not (options.marginals or options.evidence):
        raise ValueError("expected --approximate with --marginals or --evidence, got it alone")
    if options.two_slice and not inferred:
        for given, name in ((options.steps, "--steps"), (options.marginals, "--marginals")):
            if given:
                raise ValueError(
                    f"expected {name} of a --two-slice model with --filter, --smooth or --path, "
                    "got none of them"
                )
