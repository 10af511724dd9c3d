"""What the README shows and quotes, made anew: ``python docs/site/readme.py [--text]``.

Its pictures are those of a tour and a screenshot of the page; its answer is asked; its table of
models is the registry's; the numbers in its sentences are read out of result files. ``--text``
leaves the pictures, and with them the time of the tour, as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import re
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TOUR = ROOT / "tests" / "benchmarks" / "results" / "tour.json"
PICTURES = {"1.png": "independence.png", "4.png": "samples.png"}  # of the tour, in the README


def result_table(page: str, title: str) -> dict[str, dict[str, str]]:
    """The last table of a page of results whose first column has a title: row, column, cell.

    Raises:
        ValueError: no such table.
    """
    text = (ROOT / "docs" / "results" / page).read_text(encoding="utf-8")
    found = {}
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = (
            [c.strip() for c in line.strip()[1:-1].split("|")] for line in block.split("\n")[:-1]
        )
        if head[0] == title:
            found = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    if not found:
        raise ValueError(f"expected a table of {title!r} on docs/results/{page}, got none")
    return found


# --- Numbers -------------------------------------------------------------------------------------


def short(value: float) -> str:
    """A measurement to two digits, or to the unit where it has more: 1.8, 18, 183."""
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def oldest_python() -> list[str]:
    """The oldest Python that the packages are installed on."""
    settings = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    return re.findall(r"^python_requires = >=(\S+)$", settings, re.MULTILINE)


def minutes_of_tour() -> list[str]:
    """What a tour takes on a processor of its own."""
    return [str(max(1, round(json.loads(TOUR.read_text())["cpu_seconds"] / 60)))]


def seconds_of_training() -> list[str]:
    """What a short and a long training of digits take from the call, beside Pyro's."""
    table = result_table("time_to_result.md", "`mlp`, epochs")
    cold, warm = table["default, empty"], table["default, full"]
    pyro = table["Pyro, `SVI` and `Trace_ELBO`"]
    cells = (cold["5"], cold["100"], warm["100"], pyro["5"], pyro["100"])
    return ["5", "100", *(short(float(cell)) for cell in cells)]


def factor_of_a_step() -> list[str]:
    """How many times as long as Pyro's a compiled step takes."""
    steps = result_table("training.md", "")
    rows = "`ppl_gen.fit`", "Pyro, `SVI` and `Trace_ELBO`"
    ours, theirs = (float(steps[row]["`mlp`"]) for row in rows)
    return [f"{ours / theirs:.1f}"]


def number_of_tutorials() -> list[str]:
    """How many tutorials there are."""
    return [str(len(list((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))))]


# Sentences with numbers: each group is what the function beside it finds.
QUOTES: tuple[tuple[str, Callable[[], list[str]]], ...] = (
    (r"They need Python (\S+?),", oldest_python),
    (r"tour/index\.html, about (\d+) minutes?", minutes_of_tour),
    (
        r"For (\d+)\s+and (\d+)\s+epochs\s+on\s+4,000\s+digits\s+`fit`\s+takes\s+([\d.]+)\s+and\s+"
        r"([\d.]+)\s+s\s.*?,\s+([\d.]+)\s+s\s+once\s+the\s+step\s+is\s+compiled\s+on\s+disk,\s+and"
        r"\s+Pyro\s+([\d.]+)\s+and\s+([\d.]+)\s+s",
        seconds_of_training,
    ),
    (r"compiled step\]\S* takes ([\d.]+) times as long as Pyro's", factor_of_a_step),
    (r"\[Tutorials\]\S+ (\d+) scripts", number_of_tutorials),
)


def quoted(text: str) -> str:
    """A README with the numbers of its sentences as they are now.

    Raises:
        ValueError: a sentence that is not there.
    """
    for pattern, values in QUOTES:
        found = re.search(pattern, text, re.DOTALL)
        if found is None:
            raise ValueError(f"expected a sentence in the README that matches {pattern}, got none")
        for group, value in reversed(list(enumerate(values(), start=1))):
            text = text[: found.start(group)] + value + text[found.end(group) :]
    return text


# --- Answer and table ----------------------------------------------------------------------------


def answered(text: str) -> str:
    """A README with the answer of the command that it shows."""
    from graphs.__main__ import main as ask

    def again(shown: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            ask(shlex.split(shown[1])[3:])
        return f"```\n$ {shown[1]}\n{printed.getvalue().strip()}\n```"

    return re.sub(r"```\n\$ (python -m graphs [^\n]*)\n.*?```", again, text, flags=re.DOTALL)


def listed(text: str) -> str:
    """A README with every model of the registry in its table; the order and tutorials stay."""
    from ppl_gen.zoo import registry

    head, rows = re.search(r"(\| model \| paper .*?\n\| --- .*?\n)((?:\|.*\n)+)", text).groups()
    known = dict(re.findall(r"^\| `(\w+)` \|.*\| *(\d*) *\|$", rows, re.MULTILINE))
    names = [*(n for n in known if n in registry), *(n for n in registry if n not in known)]
    fresh = "".join(
        f"| `{name}` | {registry[name].paper} | {registry[name].year} | {known.get(name, '')} |\n"
        for name in names
    )
    return text.replace(head + rows, head + fresh)


def regenerated(text: str) -> str:
    """A README whose answer, table and numbers are those of this tree."""
    return quoted(listed(answered(text)))


# --- Pictures ------------------------------------------------------------------------------------


def pictures(folder: Path) -> None:
    """Take the tour, and leave its pictures and the page's where the README shows them."""
    from PIL import Image

    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    python = [sys.executable, "-W", "ignore"]
    subprocess.run([*python, "-m", "ppl_gen", "tour", "--out", str(folder)], check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = {
        "cpu_seconds": round(spent, 1),
        "seconds": round(time.perf_counter() - began, 1),
        "date": datetime.date.today().isoformat(),
    }
    TOUR.write_text(json.dumps(took) + "\n", encoding="utf-8")
    for made, shown in PICTURES.items():
        picture = Image.open(folder / made).convert("RGB")
        picture.quantize(64).save(ROOT / "tutorials" / "figures" / shown, optimize=True)
    page = ["tests/benchmarks/page.py", "--screenshots", str(ROOT / "docs" / "figures")]
    subprocess.run([*python, *page], check=True, cwd=ROOT)


def main() -> int:
    """Make what the README shows and quotes anew."""
    parser = argparse.ArgumentParser(description="Make the README's pictures and numbers anew.")
    parser.add_argument("--text", action="store_true", help="leave the pictures as they are")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if not options.text:
        pictures(ROOT / "build" / "tour")
    before = README.read_text(encoding="utf-8")
    after = regenerated(before)
    README.write_text(after, encoding="utf-8")
    print("README.md is as it was" if after == before else "README.md has changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
