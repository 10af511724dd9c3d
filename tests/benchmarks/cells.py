"""Measurements that are kept as they are made, and tables in the documentation filled from them."""

from __future__ import annotations

import datetime
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

FOLDER = Path(__file__).parent / "results"
Cell = dict[str, Any]


class Cells:
    """Measured cells by name, in a file that is replaced as a whole after each of them.

    Args:
        path: of the file.
        again: whether cells that are there are measured again, once.
    """

    def __init__(self, path: Path, again: bool = False):
        self.path = path
        self._found: dict[str, Cell] = json.loads(path.read_text()) if path.exists() else {}
        self._stale = set(self._found) if again else set()

    def get(self, name: str) -> Cell | None:
        return self._found.get(name)

    def measure(self, name: str, make: Callable[[], Cell], runs: int = 1) -> Cell:
        """The cell of this name, made where it is not there so often; the least of all runs.

        What else a machine does only adds to what a program takes, so the least is nearest to it.
        """
        known = self._found.get(name) if name not in self._stale else None
        taken = known.get("runs", 1) if known else 0
        if known and taken >= runs:
            return known
        load = os.getloadavg()[0]
        made = make() | {"load": round(load, 1)}
        made = least(known, made) if known else made
        made |= {"date": datetime.date.today().isoformat(), "runs": taken + 1}
        self._found[name] = made
        self._stale.discard(name)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        lines = (f"{json.dumps(k)}: {json.dumps(self._found[k])}" for k in sorted(self._found))
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        os.replace(temporary, self.path)
        shown = {key: value for key, value in made.items() if key not in ("choice", "date")}
        print(f"{name}: {json.dumps(shown)}", flush=True)
        return made


def least(known: Cell, made: Cell) -> Cell:
    """The smaller one of each number of two cells, within cells too, and else what was made."""
    found = dict(made)
    for key in known.keys() & made.keys():
        if isinstance(made[key], dict):
            found[key] = least(known[key], made[key])
        elif isinstance(made[key], (int, float)):
            found[key] = min(known[key], made[key])
    return found


def cpu(who: Iterable[int] = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) -> float:
    """User and system seconds of this process and of its children that have ended.

    Exact to microseconds, where ``os.times`` counts hundredths.
    """
    usages = list(map(resource.getrusage, who))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(command: Sequence[str], env: Mapping[str, str]) -> tuple[str, float]:
    """What a process prints, and the CPU seconds of all of it."""
    children = (resource.RUSAGE_CHILDREN,)
    before = cpu(children)
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout, cpu(children) - before


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill(page: Path, found: str) -> None:
    """Replace the table of the same first heading on a page, or add it at the end.

    Raises:
        ValueError: the page has several such tables.
    """
    first = found.split(" | ", 1)[0]
    lines = page.read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith(f"{first} |")]
    if len(starts) > 1:
        raise ValueError(f"expected one table that begins {first!r} in {page}, got {len(starts)}")
    start = starts[0] if starts else len(lines) + 1
    lines += [""] * (start - len(lines))
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    lines[start:end] = found.splitlines()
    page.write_text("\n".join(lines) + "\n")


def write_page(
    page: Path,
    title: str,
    script: str,
    about: str,
    dates: Sequence[str],
    found: str,
    drawn: Figure | None = None,
) -> None:
    """A page of a script's table and figure, and of what its docstring says after the commands.

    Where ``results/NAME/readings.md`` is beside the script, it says what the table shows.
    """
    if not dates:
        raise SystemExit("expected measured cells, found none")
    name = Path(script).stem
    days = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    how = (
        f"`python tests/benchmarks/{name}.py`, measured {days} with torch {version('torch')}, one "
        "core of a busy machine."
    )
    readings = FOLDER / name / "readings.md"
    said = [readings.read_text().strip()] if readings.exists() else []
    meant = [" ".join(part.split()) for part in about.split("\n\n")[2:]]
    page.parent.mkdir(parents=True, exist_ok=True)
    parts = [f"# {title}", how, *said, *meant, found]
    if drawn is not None:
        parts.append(f"![{title}]({page.stem}.png)")
        drawn.savefig(page.with_suffix(".png"), dpi=110)
    page.write_text("\n\n".join(parts) + "\n")
    print(f"wrote {page}")
