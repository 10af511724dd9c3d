"""Exact inference against pyAgrum and pgmpy, in one process, with the answers compared.

    OMP_NUM_THREADS=1 python tests/benchmarks/inference.py [NETWORK ...] [--rows 1000]

Five nodes are observed, in states drawn from the network; all other marginals are asked for.
pyAgrum is its LazyPropagation in a loop over rows, timed on as many as fit into a few seconds.
pgmpy is its VariableElimination, one node after the other for as long, extrapolated to all nodes.
Ours is timed over all rows at once; for one row, on a tree that was told which nodes will be
observed, on one that was not (unhinted), and with the tree's construction (built).

All of it runs in compiled code, from the first call; ``first_answers.py`` has what comes before.

Answers are compared to 1e-10: pyAgrum's with the tree's, pgmpy's with graphs.marginal's. Where rows
of a printed table miss the sum one (mildew, by 1e-7), leaving out the tables of barren nodes, as
both of the latter do, changes an answer in the ninth decimal.

The physical limit is the time in which memory delivers the clique tables once: their bytes over the
bandwidth measured by copying an array larger than the caches. A block of rows that stays in the
cache may be faster than that. The peak is what our call allocated over all rows, answers included.

Then single targets on networks whose whole tree is large, all marginals of those, and 100,000 rows
of incomplete evidence in one call.
"""

from __future__ import annotations

import argparse
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import graphs
from graphs.inference import work
from graphs.parameters.bridge import tables_of
from graphs.parameters.tables import Tables

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from agrum import pyagrum
from agrum_networks import Peer, forward_sample

DATA = Path(__file__).resolve().parents[1] / "data"
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


def measure(name: str, rows: int, bytes_per_second: float) -> dict[str, float]:
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
    figures["pgmpy"], difference = pgmpy_seconds(model, tables, one, rest)
    figures["pgmpy"] *= 1e3
    figures["error"] = max(error, difference)
    assert difference < 1e-10, f"{name}: answers differ from pgmpy's by {difference}"
    return figures


def pgmpy_seconds(
    model: Any, tables: Tables, one: dict[Any, int], rest: list[Any]
) -> tuple[float, float]:
    """Seconds for all marginals of one row, and the largest difference from ours."""
    from pgmpy.inference import VariableElimination

    given = {v: tables.states[v][k] for v, k in one.items()}
    elimination = VariableElimination(model)
    found, started = {}, time.perf_counter()
    for v in rest:
        found[v] = elimination.query([v], given, show_progress=False)
        if time.perf_counter() - started > PEER_SECONDS:
            break
    seconds = (time.perf_counter() - started) / len(found) * len(rest)
    error = 0.0
    for v, factor in found.items():
        order = [factor.name_to_no[v][name] for name in tables.states[v]]
        ours = graphs.marginal(model, v, one).numpy()
        error = max(error, float(np.abs(factor.values[order] - ours).max()))
    return seconds, error


def single_targets(name: str) -> None:
    """One node at a time on a network whose whole tree is large, and then all of them."""
    model = graphs.load(DATA / "bif" / f"{name}.bif.gz")
    nodes = list(model.nodes)
    rng = np.random.default_rng(0)
    drawn = forward_sample(tables_of(model), 1, rng)
    for count in (0, 5):
        times = []
        graphs.marginal(model, nodes[0])
        for target in nodes:
            others = [nodes[i] for i in rng.permutation(len(nodes))[:count]]
            evidence = {v: int(drawn[v][0]) for v in others if v != target}
            ask = partial(graphs.marginal, model, target, evidence)
            times.append(1e3 * timeit.timeit(ask, number=1))
        median, most, largest = np.quantile(times, [0.5, 0.95, 1.0])
        print(
            f"{name}, one target of {len(nodes)}, {count} observed: median {median:.1f} ms, "
            f"95 % below {most:.1f} ms, all below {largest:.1f} ms (asked for: 50)",
            flush=True,
        )
    started = time.perf_counter()
    tree = graphs.JunctionTree(model)
    tree.marginals()
    print(f"{name}, all marginals with construction: {time.perf_counter() - started:.2f} s, {tree}")


def stream(rows: int = 100_000) -> None:
    """Many rows with half of the values missing, in one call with a progress bar."""
    model = graphs.load(DATA / "bif" / "alarm.bif.gz")
    rng = np.random.default_rng(0)
    drawn = forward_sample(tables_of(model), rows, rng)
    evidence = {v: np.where(rng.random(rows) < 0.5, np.nan, k) for v, k in drawn.items()}
    tree = graphs.JunctionTree(model, progress=True)
    started = time.perf_counter()
    answers = tree.marginals(evidence)
    seconds = time.perf_counter() - started
    held = sum(answer.nbytes for answer in answers.values()) / 2**20
    tracemalloc.start()
    tree.marginals(evidence)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(
        f"alarm, {rows:,} rows, half of the values missing: {seconds:.1f} s, "
        f"peak {peak:.0f} MiB, of which the answers hold {held:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(TARGETS))
    parser.add_argument("--rows", type=int, default=1000)
    options = parser.parse_args()
    work.BUDGET.most = -1
    speed = bandwidth()
    print(f"memory bandwidth {speed / 1e9:.1f} GB/s; ms per row; ratios to pyAgrum, (asked for)")
    print(
        f"{'network':<11}{'pyAgrum':>9}{'ours':>9}{'ratio':>12}{'limit':>9}{'peak MiB':>9}"
        f"{'one row':>16}{'unhinted':>9}{'built':>15}{'pgmpy':>9}{'error':>9}"
    )
    for name in options.networks:
        f = measure(name, options.rows, speed)
        many, one, built = TARGETS.get(name, (0, 2, 4))
        print(
            f"{name:<11}{f['peer']:>9.3f}{f['batch']:>9.4f}"
            f"{f['peer'] / f['batch']:>7.0f} ({many:>3}){f['limit']:>9.4f}{f['peak']:>9.1f}"
            f"{f['one']:>8.3f}{f['one'] / f['peer_one']:>5.2f}({one})"
            f"{f['unhinted'] / f['peer_one']:>9.2f}"
            f"{f['built']:>9.2f}{f['built'] / f['peer_built']:>5.2f}({built})"
            f"{f['pgmpy']:>9.1f}{f['error']:>9.0e}",
            flush=True,
        )
    if options.networks == list(TARGETS):
        for name in ("link", "munin1"):
            single_targets(name)
        stream()


if __name__ == "__main__":
    main()
