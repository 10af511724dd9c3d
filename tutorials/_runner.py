"""Run a tutorial cell by cell: as a notebook, as a script, or from a test.

A tutorial is a file of ``# %%`` cells. Each of its sections is a function that computes, prints and
shows a result, and is called in the cell after its definition::

    tutorial = Tutorial(__name__, "Bayesian networks, step by step.")
    main = tutorial.main

    @tutorial.section
    def train():
        epochs = 5 if tutorial.smoke else 60
        ...

    # %%
    models = train()

In a notebook and in a script these calls run from top to bottom. When the file is imported they are
only recorded, and ``main(smoke, out)`` runs them. In a notebook the environment variable
``TUTORIALS_SMOKE`` selects the short settings.
"""

from __future__ import annotations

import argparse
import builtins
import io
import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure


class Pending(NamedTuple):
    """The result of the section call at a position, before it has run."""

    position: int


class Tutorial:
    """The sections of one tutorial and what they found.

    Attributes:
        smoke: whether to use short settings.
        results: the values kept, by name.
        options: further options of the command line, by name.
    """

    def __init__(self, name: str, summary: str, **options: int):
        self.smoke = bool(os.environ.get("TUTORIALS_SMOKE"))
        self.results: dict[str, Any] = {}
        self.options = options
        self._out: Path | None = None
        self._heading = ""
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._live = name == "__main__"
        if self._live and not in_notebook():
            self._read_command_line(summary)

    def _read_command_line(self, summary: str) -> None:
        parser = argparse.ArgumentParser(description=summary)
        parser.add_argument("--smoke", action="store_true", help="short settings, in seconds")
        parser.add_argument("--out", default="out", type=Path, help="folder for the figures")
        for name, value in self.options.items():
            parser.add_argument(f"--{name}", type=int, default=value)
        found = vars(parser.parse_args())
        self.smoke, self._out = found.pop("smoke"), found.pop("out")
        self.options = found

    def section(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Run calls of a function at once in a notebook or script, in ``main`` otherwise."""

        @wraps(function)
        def call(*args: Any) -> Any:
            if self._live:
                return self._run(function, args)
            self._calls.append((function, args))
            return Pending(len(self._calls) - 1)

        return call

    def main(
        self, smoke: bool = False, out: str | Path | None = None, **options: int
    ) -> dict[str, Any]:
        """Run all sections of an imported tutorial in order.

        Args:
            smoke: use short settings.
            out: folder for the figures; without it they are not written.
            **options: further options of the tutorial, as on its command line.

        Returns:
            What the sections kept, by name.
        """
        if self._live:
            raise RuntimeError("expected an imported tutorial, got one whose cells run themselves")
        self.smoke, self.results, self._heading = smoke, {}, ""
        self._out = None if out is None else Path(out)
        self.options = self.options | options
        found: list[Any] = []
        for function, args in self._calls:
            known = [found[a.position] if isinstance(a, Pending) else a for a in args]
            found.append(self._run(function, known))
        return self.results

    def keep(self, **values: Any) -> None:
        """Add values to the results."""
        self.results |= values

    def show(self, figure: Figure, name: str) -> None:
        """Display a figure in a notebook; elsewhere write ``NAME.png`` if there is a folder."""
        if in_notebook():
            _display(figure, name)
        elif self._out is not None:
            self._out.mkdir(parents=True, exist_ok=True)
            path = self._out / f"{name}.png"
            figure.savefig(path, dpi=130, bbox_inches="tight")
            print(f"\nFigure: {path}")

    def _run(self, function: Callable[..., Any], args: Sequence[Any]) -> Any:
        if not in_notebook():
            self._announce(function)
        return function(*args)

    def _announce(self, function: Callable[..., Any]) -> None:
        """Print the title and the heading above a function, once each."""
        above = _lines_above(function)
        heading = next((line for line in reversed(above) if line.startswith("# ## ")), "")
        if not self._heading:
            _underlined(above[1].removeprefix("# # "), "=")
        if heading != self._heading:
            _underlined(heading.removeprefix("# ## "), "-")
            self._heading = heading


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in aligned columns, numbers to three decimals and truth values as yes or no."""
    body = [list(row) for row in rows]
    numeric = [all(_is_number(row[i]) for row in body) for i in range(len(columns))]
    cells = [list(columns), *([as_text(value) for value in row] for row in body)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print()
    for rank, row in enumerate(cells):
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        )
        print("  ".join(padded).rstrip())
        if rank == 0:
            print("  ".join("-" * width for width in widths))


def as_text(value: Any) -> str:
    """A value in the form a reader wants."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.2g}"
    return str(value)


def in_notebook() -> bool:
    """Whether IPython runs the cells: it makes ``display`` a builtin."""
    return hasattr(builtins, "display")


def _display(figure: Figure, name: str) -> None:
    """Display a figure whichever backend matplotlib has."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    picture = {"image/png": buffer.getvalue(), "text/plain": f"Figure {name}"}
    vars(builtins)["display"](picture, raw=True)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _lines_above(function: Callable[..., Any]) -> list[str]:
    code = function.__code__
    return Path(code.co_filename).read_text(encoding="utf-8").splitlines()[: code.co_firstlineno]


def _underlined(text: str, line: str) -> None:
    print(f"\n{text}\n{line * len(text)}")
