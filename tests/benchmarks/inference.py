"""Exact inference against pyAgrum and pgmpy, in one process, with the answers compared.

    OMP_NUM_THREADS=1 python tests/benchmarks/inference.py [NETWORK ...] [--rows 1000] [--pgmpy]

Five nodes are observed, in states drawn from the network; all other marginals are asked for.
pyAgrum is its LazyPropagation in a loop over rows, timed on as many as fit into a few seconds;
pgmpy is its VariableElimination, one node after the other. Ours is timed over all rows at once, for
one row with the tree at hand, and for one row with the tree's construction.

The physical limit is the time in which memory delivers the clique tables once: their bytes over the
bandwidth measured by copying an array larger than the caches. A block of rows that stays in the
cache may be faster than that.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphs
from graphs.pgmpy_bridge import tables_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from agrum import pyagrum
from agrum_networks import Peer, forward_sample

DATA = Path(
    os.environ.get(
        "PPL_GEN_REFERENCE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"
    )
)
# network: the ratio asked for over 1,000 rows, and for one row with and without construction
TARGETS = {
    "alarm": (100, 1.2, 4),
    "insurance": (40, 1.2, 4),
    "hailfinder": (100, 1.2, 4),
    "win95pts": (100, 1.2, 4),
    "water": (5, 2, 4),
    "mildew": (5, 2, 4),
    "pigs": (5, 2, 4),
}
PEER_SECONDS = 4.0


def best_time(function: Callable[[], Any], seconds: float = 1.0, most: int = 30) -> float:
    """The shortest of repeated calls."""
    times: list[float] = []
    while len(times) < most and (not times or sum(times) < seconds):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def bandwidth() -> float:
    """Bytes per second of reading memory and writing it."""
    source = np.ones(1 << 24)
    target = np.empty_like(source)
    return 2 * source.nbytes / best_time(lambda: np.copyto(target, source))


def measure(name: str, rows: int, bytes_per_second: float, with_pgmpy: bool) -> dict[str, float]:
    """All figures of one network, in milliseconds a row."""
    model = graphs.load(DATA / "bif" / f"{name}.bif.gz")
    tables = tables_of(model)
    peer = Peer(tables)
    rng = np.random.default_rng(0)
    nodes = list(tables.states)
    observed = [nodes[i] for i in rng.choice(len(nodes), 5, replace=False)]
    tree = graphs.JunctionTree(model, evidence_variables=observed)
    drawn = forward_sample(tables, rows, rng)
    evidence = {v: drawn[v] for v in observed}
    one = {v: int(states[0]) for v, states in evidence.items()}
    rest = [v for v in nodes if v not in observed]

    def lazy_propagation(row: int) -> dict[Any, np.ndarray]:
        return peer.marginals({v: states[row] for v, states in evidence.items()})

    lazy_propagation(0)
    theirs, started = [], time.perf_counter()
    while len(theirs) < rows and time.perf_counter() - started < PEER_SECONDS:
        theirs.append(lazy_propagation(len(theirs)))
    loop = (time.perf_counter() - started) / len(theirs)

    answers = tree.marginals(evidence)
    error = max(
        float(np.abs(answers[v][row].numpy() - theirs[row][v]).max())
        for row in range(len(theirs))
        for v in rest
    )
    assert error < 1e-10, f"{name}: answers differ by {error}"
    tracemalloc.start()
    tree.marginals(evidence)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    def built() -> dict[Any, Any]:
        return graphs.JunctionTree(model, evidence_variables=observed).marginals(one)

    def peer_built() -> dict[Any, np.ndarray]:
        peer.engine = pyagrum.LazyPropagation(peer.network)
        return peer.marginals(one)

    plain = graphs.JunctionTree(model)
    figures = {
        "peer": 1e3 * loop,
        "batch": 1e3 * best_time(lambda: tree.marginals(evidence), 2.0) / rows,
        "one": 1e3 * best_time(lambda: tree.marginals(one)),
        "unhinted": 1e3 * best_time(lambda: plain.marginals(one)),
        "built": 1e3 * best_time(built),
        "peer_one": 1e3 * best_time(lambda: lazy_propagation(0), 2.0),
        "peer_built": 1e3 * best_time(peer_built, 2.0),
        "limit": 1e3 * 8 * tree.cost.cells / bytes_per_second,
        "peak": peak / 2**20,
        "error": error,
    }
    if with_pgmpy:
        from pgmpy.inference import VariableElimination

        given = {v: tables.states[v][k] for v, k in one.items()}
        started = time.perf_counter()
        elimination = VariableElimination(model)
        for v in rest:
            elimination.query([v], given, show_progress=False)
        figures["pgmpy"] = 1e3 * (time.perf_counter() - started)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(TARGETS))
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--pgmpy", action="store_true", help="time pgmpy too (minutes)")
    options = parser.parse_args()
    speed = bandwidth()
    print(f"memory bandwidth {speed / 1e9:.1f} GB/s; ms per row; ratios to pyAgrum, (asked for)")
    print(
        f"{'network':<11}{'pyAgrum':>9}{'ours':>9}{'ratio':>12}{'limit':>9}{'peak MiB':>9}"
        f"{'one row':>16}{'unhinted':>9}{'built':>15}{'pgmpy':>9}{'error':>9}"
    )
    for name in options.networks:
        f = measure(name, options.rows, speed, options.pgmpy)
        many, one, built = TARGETS.get(name, (0, 2, 4))
        print(
            f"{name:<11}{f['peer']:>9.3f}{f['batch']:>9.4f}"
            f"{f['peer'] / f['batch']:>7.0f} ({many:>3}){f['limit']:>9.4f}{f['peak']:>9.1f}"
            f"{f['one']:>8.3f}{f['one'] / f['peer_one']:>5.2f}({one})"
            f"{f['unhinted'] / f['peer_one']:>9.2f}"
            f"{f['built']:>9.2f}{f['built'] / f['peer_built']:>5.2f}({built})"
            f"{f.get('pgmpy', float('nan')):>9.1f}{f['error']:>9.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
