"""Put the sources of the site together, and build it: ``python docs/site/assemble.py [--full]``.

The pages of ``docs``, the changelog, the results and the tutorials keep their places, so that the
links between them hold; cards, downloads and the reference are generated. Everything is written
under ``build/site``; ``build/site/html`` is the site.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "site"
SOURCE, EXTRA, HTML = BUILD / "source", BUILD / "extra", BUILD / "html"
RUN_MINUTES = HERE / "minutes.json"  # of full runs, measured by `make docs-full`
PAGES = (
    "docs/*.md", "docs/figures/*", "docs/results/*.md", "docs/results/*.png", "CHANGELOG.md",
    # What benchmarks wrote; their readings and remarks are parts of pages of docs/results.
    "tests/benchmarks/results/*/README.md", "tests/benchmarks/results/*/table.md",
    "tests/benchmarks/results/*/*.png",
)  # fmt: skip
START_TIMEOUT = 600  # seconds, for machines with much else to do
WORDS_A_MINUTE, CODE_LINES_A_MINUTE = 200, 20


def tutorials() -> list[Path]:
    """The tutorials in order."""
    return sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))


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
    """Every page of results below the one that lists them."""
    others = sorted(p.relative_to(SOURCE) for p in SOURCE.glob("tests/benchmarks/results/*/*.md"))
    listing = "\n".join(f"/{path.with_suffix('')}" for path in others)
    page = SOURCE / "docs" / "results" / "README.md"
    text = page.read_text(encoding="utf-8")
    toctree = f"\n```{{toctree}}\n:hidden:\n:glob:\n\n[!R]*\n{listing}\n```\n"
    page.write_text(text + toctree, encoding="utf-8")


def notebook(text: str) -> Any:
    """A tutorial as a notebook for the Python that builds the site."""
    import jupytext

    found = jupytext.reads(text, fmt="py:percent")
    found.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    found.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return found


def _write_notebooks(run: str | None, jobs: int) -> None:
    """The tutorials as notebooks: to download as they are, and for the site with their results."""
    import nbformat

    for path in tutorials():
        made = notebook(path.read_text(encoding="utf-8"))
        for folder in (EXTRA / "downloads", SOURCE / "tutorials"):
            folder.mkdir(parents=True, exist_ok=True)
            nbformat.write(made, folder / f"{path.stem}.ipynb")
    if run is None:
        return
    store = BUILD / f"run-{run}"
    store.mkdir(parents=True, exist_ok=True)
    state = _digest(
        *sorted(p for name in ("graphs", "ppl_gen") for p in (ROOT / name).rglob("*.py"))
    )
    kept = {
        path: store / f"{path.stem}-{_digest(path, path.parent / '_runner.py', seed=state)}.ipynb"
        for path in tutorials()
    }
    waiting = [path for path in tutorials() if not kept[path].is_file()]
    waiting.sort(key=lambda path: path.stat().st_size, reverse=True)  # about the longest first
    with ProcessPoolExecutor(jobs) as pool:
        for path, result in zip(waiting, pool.map(executed, waiting), strict=True):
            nbformat.write(result, kept[path])
            took = result.metadata
            spent = f"{took['seconds']:.0f} s, {took['cpu_seconds']:.1f} s of CPU"
            print(f"{path.stem}: {spent}", flush=True)
    for path, target in kept.items():
        _copy(target, SOURCE / "tutorials" / f"{path.stem}.ipynb")
    for old in set(store.glob("*.ipynb")).difference(kept.values()):
        old.unlink()
    if run == "full":
        found = {p.stem: nbformat.read(n, 4).metadata["seconds"] / 60 for p, n in kept.items()}
        RUN_MINUTES.write_text(json.dumps({k: round(v, 1) for k, v in found.items()}, indent=1))


def _seconds(path: Path) -> float:
    """How long a tutorial that the site shows takes a processor of its own."""
    shown = json.loads((SOURCE / "tutorials" / f"{path.stem}.ipynb").read_text(encoding="utf-8"))
    return float(shown["metadata"]["cpu_seconds"])


def executed(path: Path) -> Any:
    """A tutorial as a notebook with its results, and what it took of clock and processor.

    Raises:
        RuntimeError: a cell that warns, which readers would see.
    """
    import nbclient

    found = notebook(path.read_text(encoding="utf-8"))
    where = {"metadata": {"path": str(path.parent)}}
    began, spent = time.perf_counter(), _cpu_of_children()
    client = nbclient.NotebookClient(
        found, timeout=None, startup_timeout=START_TIMEOUT, resources=where
    )
    manager = client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as sockets:
        # Files instead of ports that others could reach; named in full, since the kernel works in
        # another folder, and two kernels at a time must not share them.
        manager.transport, manager.ip = "ipc", str(Path(sockets) / "kernel")
        client.execute()
    for output in (o for cell in found.cells for o in cell.get("outputs", [])):
        if output.get("name") == "stderr":
            raise RuntimeError(f"expected no warning in {path.name}, got {output.text}")
    found.metadata["seconds"] = time.perf_counter() - began
    found.metadata["cpu_seconds"] = _cpu_of_children() - spent
    return found


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _digest(*paths: Path, seed: str = "") -> str:
    """A short digest of files: results of other code are not shown."""
    whole = hashlib.sha256(seed.encode())
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


# --- Learn ---------------------------------------------------------------------------------------


def cards(run: str | None = "smoke", seconds: dict[str, float] | None = None) -> str:
    """The page of all tutorials, a card each.

    Args:
        run: with which settings they were run.
        seconds: how long that took, by tutorial.
    """
    listed = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    sentences = dict(re.findall(r"^\| \[\d+\]\((\S+)\.py\) \| (.*?) \|$", listed, re.MULTILINE))
    whole = json.loads(RUN_MINUTES.read_text()) if RUN_MINUTES.is_file() else {}
    settings = "whole" if run == "full" else "short"
    parts = [
        "# Learn\n",
        "Every tutorial follows a source, lectures or a paper, and compares its numbers with those "
        "printed there; where they differ it says why. What is shown here was run "
        f"when this site was built, with {settings} settings. To run one yourself, download it "
        'with <a href="downloads/_runner.py" download>_runner.py</a> into one folder: as a script '
        "(`python 01_bayesian_networks.py`; short settings with `--smoke`) or as a notebook (short "
        "with the environment variable `TUTORIALS_SMOKE=1`).\n",
        "::::{grid} 1 2 3 3\n:gutter: 3\n",
    ]
    for path in tutorials():
        facts = [f"{reading_minutes(path)} min to read"]
        if path.stem in whole:
            facts.append(f"{max(1, round(whole[path.stem]))} min to run")
        if run == "smoke" and path.stem in (seconds or {}):
            facts.append(f"short run {seconds[path.stem]:.0f} s")
        parts.append(_card(path, sentences[path.stem], ", ".join(facts)))
    names = "\n".join(f"tutorials/{path.stem}" for path in tutorials())
    return "\n".join([*parts, "::::\n", f"```{{toctree}}\n:hidden:\n\n{names}\n```\n"])


def _card(path: Path, sentence: str, facts: str) -> str:
    name, title = path.stem, title_of(path)
    links = " · ".join(
        f'<a href="downloads/{name}{suffix}" download>{suffix}</a>' for suffix in (".py", ".ipynb")
    )
    picture = f'<img class="thumb" alt="" loading="lazy" src="thumbnails/{name}.png">'
    return (
        f":::{{grid-item-card}}\n\n{picture}\n\n"
        f"**[{name[:2]} {title}](tutorials/{name})**\n\n{_capitalized(sentence)}.\n\n"
        f'<p class="facts">{facts}<br>{links}</p>\n:::\n'
    )


def _capitalized(sentence: str) -> str:
    """A sentence that begins with a capital, unless with a symbol: β is not written Β."""
    return sentence[0].upper() + sentence[1:] if sentence[0].isascii() else sentence


def title_of(path: Path) -> str:
    """The title of a tutorial, without its subtitle."""
    lines = path.read_text(encoding="utf-8").splitlines()
    heading = next(line for line in lines if line.startswith("# # "))
    return escape(heading.removeprefix("# # ").split(":")[0])


def reading_minutes(path: Path) -> int:
    """How long its text and code take to read."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = [line for line in lines if line.startswith("# ")]
    code = [line for line in lines if line.strip() and not line.startswith("#")]
    words = sum(len(line.split()) for line in text)
    return round(words / WORDS_A_MINUTE + len(code) / CODE_LINES_A_MINUTE)


def thumbnails(app: Any, exception: Exception | None) -> None:
    """The first picture of every tutorial, small, once Sphinx has written the pages."""
    if exception is not None or app.builder.name != "html":
        return
    from PIL import Image

    out = Path(app.outdir)
    (out / "thumbnails").mkdir(exist_ok=True)
    for path in tutorials():
        page = (out / "tutorials" / f"{path.stem}.html").read_text(encoding="utf-8")
        found = re.search(r'src="\.\./(_images/[^"]+\.png)"', page)
        small = (
            Image.open(out / found[1]).convert("RGB")
            if found
            else Image.new("RGB", (8, 4), "white")
        )
        small.thumbnail((480, 480))
        small.save(out / "thumbnails" / f"{path.stem}.png", optimize=True)


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
