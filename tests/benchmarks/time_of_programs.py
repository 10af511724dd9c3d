"""The tour and every tutorial as whole processes, without compiled code on disk and with it.

    python tests/benchmarks/time_of_programs.py [--programs tour] [--size full]

Seconds from the start of the process to its end, imports included: of the clock, and of the
processor, compilers included. Full caches are those that the run with empty ones left. Results are
kept in ``results/time_of_programs.json`` and not measured again without ``--again``; ``--write``
fills the table of ``docs/results/time_to_result.md`` with those of short settings.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from cells import FOLDER, Cell, Cells, fill, run, table

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted(path.stem for path in (ROOT / "tutorials").glob("[0-9]*.py"))
PROGRAMS = ["tour", *TUTORIALS]
SIZES = ("smoke", "full")
CACHES = ("empty", "filled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--size", choices=SIZES, default="smoke")
    parser.add_argument("--out", type=Path, default=FOLDER / "time_of_programs.json")
    parser.add_argument("--again", action="store_true", help="measure what is there again")
    parser.add_argument("--write", action="store_true", help="fill the table of the documentation")
    options = parser.parse_args()
    cells = Cells(options.out, options.again)
    size = options.size
    for program in options.programs:
        with tempfile.TemporaryDirectory() as folder:
            cells.measure(f"{program}/{size}", lambda p=program, f=folder: both(p, size, f))
    printed = table(
        ["program", "empty caches", "left by the first run"],
        [[program, *shown(cells, program, size)] for program in PROGRAMS],
    )
    print(f"\n{printed}")
    if options.write and size == "smoke":
        fill(ROOT / "docs" / "results" / "time_to_result.md", printed)


def both(program: str, size: str, folder: str) -> Cell:
    """A program with empty caches, and once more with what that has left there."""
    command = ["-m", "ppl_gen", "tour"] if program == "tour" else [f"tutorials/{program}.py"]
    command = [sys.executable, "-W", "ignore", *command, "--out", f"{folder}/out"]
    if size == "smoke":
        command.append("--smoke")
    env = {
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "PPL_GEN_CACHE": f"{folder}/ppl_gen",
        "NUMBA_CACHE_DIR": f"{folder}/numba",
        "PYTHONPATH": str(ROOT),
    }
    found: Cell = {}
    for cache in CACHES:
        started = time.perf_counter()
        _, seconds = run(command, env)
        clock = time.perf_counter() - started
        found[cache] = {"cpu": round(seconds, 1), "clock": round(clock, 1)}
    return found


def shown(cells: Cells, program: str, size: str = "smoke") -> list[str]:
    """The CPU seconds of a program, blank where they are not measured."""
    found = cells.get(f"{program}/{size}")
    return [f"{found[cache]['cpu']:.1f}" if found else "" for cache in CACHES]


if __name__ == "__main__":
    main()
