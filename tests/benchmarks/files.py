"""Loading networks: ours, pgmpy's reader and pyAgrum's in one process, and the networks compared.

    python tests/benchmarks/files.py [NETWORK ...]

Each is timed from the file to a finished model, imports excluded. pgmpy is run once, the others
several times and their best is taken. Every table of ours must equal pgmpy's to the last bit.
"""

import gzip
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pgmpy.readwrite import BIFReader

import graphs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyagrum

DATA = Path(__file__).resolve().parents[1] / "data"
NETWORKS = ["asia", "alarm", "hailfinder", "win95pts", "pigs", "water", "link", "munin1", "mildew"]
REPEATS = 5


def best(run: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """The least seconds of several runs, and what the last returned."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two pgmpy networks have the same nodes, edges, states and numbers."""
    if set(ours.nodes) != set(theirs.nodes) or set(ours.edges) != set(theirs.edges):
        return False
    cpds = {cpd.variable: cpd for cpd in ours.get_cpds()}
    return all(
        cpds[cpd.variable].variables == cpd.variables
        and cpds[cpd.variable].state_names == cpd.state_names
        and np.array_equal(cpds[cpd.variable].values, cpd.values)
        for cpd in theirs.get_cpds()
    )


def peak(run: Callable[[], Any]) -> float:
    """MiB allocated at most while running."""
    tracemalloc.start()
    run()
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return highest / 2**20


def main(names: list[str]) -> None:
    print(
        f"{'network':<11}{'KiB':>7}{'ours ms':>10}{'structure':>11}{'save ms':>9}{'pgmpy ms':>10}"
        f"{'agrum ms':>10}{'pgmpy/ours':>12}{'agrum/ours':>12}{'equal':>7}{'peak MiB':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            text = gzip.decompress((DATA / "bif" / f"{name}.bif.gz").read_bytes())
            path = Path(folder) / f"{name}.bif"
            path.write_bytes(text)
            ours, model = best(lambda path=path: graphs.load(path))
            structure, _ = best(lambda path=path: graphs.load(path, tables=False))
            copy = path.with_name("copy.bif")
            save, _ = best(lambda model=model, copy=copy: graphs.save(model, copy))
            pgmpy, theirs = best(lambda path=path: BIFReader(str(path)).get_model(), 1)
            agrum, _ = best(lambda path=path: pyagrum.loadBN(str(path)))
            memory = peak(lambda path=path: graphs.load(path))
            print(
                f"{name:<11}{len(text) / 1024:>7.0f}{ours * 1e3:>10.1f}{structure * 1e3:>11.1f}"
                f"{save * 1e3:>9.1f}{pgmpy * 1e3:>10.0f}{agrum * 1e3:>10.1f}"
                f"{pgmpy / ours:>12.1f}{agrum / ours:>12.2f}{equal(model, theirs)!s:>7}"
                f"{memory:>10.1f}"
            )


if __name__ == "__main__":
    main(sys.argv[1:] or NETWORKS)
