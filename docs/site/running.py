"""The tutorials as notebooks, run once for every state of the code that they show and import.

What a run found is kept under ``build/site/run-smoke`` and ``run-full`` as soon as it ends, so that
a build that was stopped goes on with the tutorials that are left; text around the code, comments,
docstrings and modules that a tutorial does not import may change without a run.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUN_MINUTES = HERE / "minutes.json"  # of a processor, in full runs: written by `make docs-full`
START_TIMEOUT = 600  # seconds, for machines with much else to do
# Asked of the kernel, which may not have ended, and so not have been counted, when its cells have.
CPU_SECONDS_AND_MODULES = """
import json, resource, sys
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
modules = [name for name in sys.modules if name.split(".")[0] in ("graphs", "ppl_gen", "_runner")]
print(json.dumps([sum(u.ru_utime + u.ru_stime for u in used), sorted(modules)]))
"""


def tutorials() -> list[Path]:
    """The tutorials in order."""
    return sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))


def minutes() -> dict[str, float]:
    """How many minutes of a processor the full runs took that were measured, by tutorial."""
    return json.loads(RUN_MINUTES.read_text()) if RUN_MINUTES.is_file() else {}


def notebook(text: str) -> Any:
    """A tutorial as a notebook for the Python that builds the site."""
    import jupytext

    found = jupytext.reads(text, fmt="py:percent")
    found.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    found.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return found


def with_results(store: Path, jobs: int) -> dict[Path, Any]:
    """Every tutorial as a notebook with its results, run where no result of its code is kept.

    Args:
        store: the folder of results; its name ends in the settings, ``smoke`` or ``full``.
        jobs: how many are run at once.

    Raises:
        RuntimeError: tutorials that fail or warn, after all others were run and kept.
    """
    import nbformat

    store.mkdir(parents=True, exist_ok=True)
    state = modules()
    fresh = {path: notebook(path.read_text(encoding="utf-8")) for path in tutorials()}
    kept = {
        path: store / f"{path.stem}-{_digest(_code(made))}.ipynb" for path, made in fresh.items()
    }
    waiting = [path for path in fresh if not _holds(kept[path], state)]
    waiting.sort(key=lambda p: (minutes().get(p.stem, 0), p.stat().st_size), reverse=True)
    failures = []
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(executed, path): path for path in waiting}  # the longest first
        for task in as_completed(running):
            path = running[task]
            if task.exception() is not None:
                failures.append(f"{path.name}: {task.exception()}")
                continue
            result = task.result()
            imported = state.keys() & result.metadata["modules"]
            result.metadata["modules"] = {name: state[name] for name in sorted(imported)}
            _keep(result, path, kept[path], store.name.endswith("full"))
    if failures:
        raise RuntimeError("\n".join(failures))
    for old in set(store.glob("*.ipynb")).difference(kept.values()):
        old.unlink()
    return {path: _joined(made, nbformat.read(kept[path], 4)) for path, made in fresh.items()}


def modules() -> dict[str, str]:
    """The modules that tutorials may import, by name, with digests of their statements."""
    folders = (ROOT / "graphs", ROOT / "ppl_gen")
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in folders
        for path in folder.rglob("*.py")
    }
    found["_runner"] = ROOT / "tutorials" / "_runner.py"
    return {
        name: _digest([_statements(path.read_text(encoding="utf-8"))])
        for name, path in found.items()
    }


def _holds(kept: Path, state: dict[str, str]) -> bool:
    """Whether a run is kept and the modules that it imported are what they were."""
    import nbformat

    if not kept.is_file():
        return False
    imported = nbformat.read(kept, 4).metadata["modules"]
    return all(state.get(name) == digest for name, digest in imported.items())


def _keep(result: Any, path: Path, target: Path, full: bool) -> None:
    """Write what a run found and, of a full one, the minutes, as a whole or not at all."""
    import nbformat

    took = result.metadata
    print(f"{path.stem}: {took['seconds']:.0f} s, {took['cpu_seconds']:.1f} s of CPU", flush=True)
    begun = target.with_suffix(".begun")
    nbformat.write(result, begun)
    os.replace(begun, target)
    if full:
        known = {p.stem: minutes().get(p.stem) for p in tutorials()}
        known[path.stem] = round(took["cpu_seconds"] / 60, 1)
        text = json.dumps(
            {name: value for name, value in known.items() if value is not None}, indent=1
        )
        begun = RUN_MINUTES.with_suffix(".begun")
        begun.write_text(text + "\n")
        os.replace(begun, RUN_MINUTES)


def _statements(source: str) -> bytes:
    """A module without its comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, scope) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree).encode()


def _code(made: Any) -> Iterator[bytes]:
    return (cell.source.encode() for cell in made.cells if cell.cell_type == "code")


def _joined(fresh: Any, run: Any) -> Any:
    """The text of a notebook as it is now with the results of its code."""
    results = (cell for cell in run.cells if cell.cell_type == "code")
    for cell in fresh.cells:
        if cell.cell_type == "code":
            found = next(results)
            cell.outputs, cell.execution_count = found.outputs, found.execution_count
    fresh.metadata = run.metadata
    return fresh


def executed(path: Path) -> Any:
    """A tutorial as a notebook with its results, what it took of clock and processor, and imports.

    Raises:
        RuntimeError: a cell that warns, which readers would see.
    """
    import nbclient
    import nbformat

    found = notebook(path.read_text(encoding="utf-8"))
    found.cells.append(nbformat.v4.new_code_cell(CPU_SECONDS_AND_MODULES))
    where = {"metadata": {"path": str(path.parent)}}
    began = time.perf_counter()
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
    cpu_seconds, imported = json.loads(found.cells.pop().outputs[0].text)
    found.metadata |= {"cpu_seconds": cpu_seconds, "modules": imported}
    return found


def _digest(parts: Any) -> str:
    """A short digest: results of other code are not shown."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:16]
