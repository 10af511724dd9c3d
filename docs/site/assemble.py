"""Put the sources of the site together, and build it: ``python docs/site/assemble.py [--full]``.

The pages of ``docs``, the changelog, the results and the tutorials keep their places, so that the
links between them hold; cards, downloads and the reference are generated. Everything is written
under ``build/site``; ``build/site/html`` is the site.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from learn import cards, headed
from running import notebook, tutorials, with_results

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "site"
SOURCE, EXTRA, HTML = BUILD / "source", BUILD / "extra", BUILD / "html"
PAGES = (
    "docs/*.md", "docs/figures/*", "docs/results/*.md", "docs/results/*.png", "CHANGELOG.md",
    # What benchmarks wrote; their readings and remarks are parts of pages of docs/results.
    "tests/benchmarks/results/*/README.md", "tests/benchmarks/results/*/table.md",
    "tests/benchmarks/results/*/*.png",
)  # fmt: skip


def assemble(run: str | None = "smoke", jobs: int = 2) -> None:
    """Write the sources of the site anew.

    Args:
        run: whether tutorials are run with ``"smoke"`` settings, ``"full"`` ones, or not at all.
        jobs: how many are run at once.
    """
    for folder in (SOURCE, EXTRA, HTML):
        shutil.rmtree(folder, ignore_errors=True)
    for page in HERE.rglob("*.md"):
        _copy(page, SOURCE / page.relative_to(HERE))
    for pattern in PAGES:
        for path in ROOT.glob(pattern):
            _copy(path, SOURCE / path.relative_to(ROOT))
    _copy(ROOT / "CONTRIBUTING.md", SOURCE / "CONTRIBUTING.md")
    _list_results()
    for path in [*tutorials(), ROOT / "tutorials" / "_runner.py"]:
        _copy(path, EXTRA / "downloads" / path.name)
    _write_notebooks(run, jobs)
    found = {} if run is None else {p.stem: _seconds(p) for p in tutorials()}
    (SOURCE / "learn.md").write_text(cards(run, found), encoding="utf-8")
    import reference

    reference.write(SOURCE / "reference")


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def _list_results() -> None:
    """Every page of results below the one that lists them, in its order, and what they rest on."""
    others = sorted(SOURCE.glob("tests/benchmarks/results/*/*.md"))
    for path in others:
        text = path.read_text(encoding="utf-8")
        if not text.startswith("# "):
            path.write_text(f"# All figures: {path.parent.name}\n\n{text}", encoding="utf-8")
    page = SOURCE / "docs" / "results" / "README.md"
    text = page.read_text(encoding="utf-8")
    listed = re.findall(r"\]\((\w+)\.md\)", text)
    listed += [f"/{path.relative_to(SOURCE).with_suffix('')}" for path in others]
    words = "\nFID, rate, distortion and other words are [explained](/glossary).\n"
    toctree = "\n".join(["\n```{toctree}", ":hidden:", "", *listed, "```\n"])
    page.write_text(text + words + toctree, encoding="utf-8")


def _write_notebooks(run: str | None, jobs: int) -> None:
    """The tutorials as notebooks: to download as they are, and for the site with their results."""
    import nbformat

    for folder in (EXTRA / "downloads", SOURCE / "tutorials"):
        folder.mkdir(parents=True, exist_ok=True)
    made = {path: notebook(path.read_text(encoding="utf-8")) for path in tutorials()}
    for path, found in made.items():
        nbformat.write(found, EXTRA / "downloads" / f"{path.stem}.ipynb")
    if run is not None:
        made = with_results(BUILD / f"run-{run}", jobs)
    for path, found in made.items():
        nbformat.write(headed(found, path, run), SOURCE / "tutorials" / f"{path.stem}.ipynb")


def _seconds(path: Path) -> float:
    """How long a tutorial that the site shows takes a processor of its own."""
    shown = json.loads((SOURCE / "tutorials" / f"{path.stem}.ipynb").read_text(encoding="utf-8"))
    return float(shown["metadata"]["cpu_seconds"])


# --- Building ------------------------------------------------------------------------------------


def main() -> int:
    """Assemble the sources and run Sphinx on them."""
    parser = argparse.ArgumentParser(description="Build the site under build/site/html.")
    parser.add_argument("--full", action="store_true", help="run the tutorials with full settings")
    parser.add_argument("--no-run", action="store_true", help="do not run the tutorials")
    parser.add_argument("--jobs", type=int, default=2, help="tutorials and pages built at once (2)")
    options = parser.parse_args()
    began = time.perf_counter()
    sys.path[:0] = [str(ROOT), str(HERE)]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "MPLBACKEND": "Agg",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, of a kernel without widgets
        "TUTORIALS_SMOKE": "" if options.full else "1",
    }
    run = None if options.no_run else "full" if options.full else "smoke"
    assemble(run, options.jobs)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    command += ["-j", str(options.jobs)]
    status = subprocess.run(
        [*command, "-c", str(HERE), str(SOURCE), str(HTML)], check=False
    ).returncode
    if status == 0:
        size = sum(path.stat().st_size for path in HTML.rglob("*") if path.is_file())
        spent = time.perf_counter() - began
        print(f"{HTML / 'index.html'}: {size / 1e6:.0f} MB in {spent:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
