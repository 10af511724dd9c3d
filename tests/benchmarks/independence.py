"""Independence queries: ours, pgmpy, pyAgrum and networkx in one process, answers compared.

    python tests/benchmarks/independence.py [--largest NODES]

One row a graph: microseconds of CPU per query with three observed nodes, the best of several
rounds in which the contestants take turns, and our factor over each. ``once`` is
``graphs.independent`` on a networkx graph, ``index`` and ``many`` are ``Separation.independent``
one at a time and ``independent_many``, both from names and compiled (``first_answers.py`` has what
comes before). Random DAGs give every node up to three parents among the earlier ones; slow
contestants answer the first few queries only.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

import graphs
from graphs.separation import plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyagrum
    from pgmpy.base import DAG

DATA = Path(__file__).resolve().parents[1] / "data"
ROUNDS = 5
PATIENCE = 2.0  # seconds a contestant may take for all rounds
WARM = 0.02  # seconds for which a fast one repeats its round
Query = tuple[Any, Any, list[Any]]


def edges_of(size: int, seed: int = 0) -> np.ndarray:
    """Distinct edges, shape (E, 2), to every node from up to three earlier ones."""
    chosen = np.random.default_rng(seed)
    heads = np.repeat(np.arange(1, size), 3)
    tails = (chosen.random(heads.size) * heads).astype(np.int64)
    return np.unique(np.stack([tails, heads], axis=1), axis=0)


def networks(largest: int) -> dict[str, nx.DiGraph]:
    found: dict[str, nx.DiGraph] = {"asia": graphs.textbook.structure("asia")}
    for name in ("alarm", "link"):
        path = DATA / "bif" / f"{name}.bif.gz"
        if path.exists():
            found[name] = graphs.load(path, tables=False)
    size = 1_000
    while size <= largest:
        graph = nx.DiGraph()
        graph.add_nodes_from(range(size))
        graph.add_edges_from(edges_of(size).tolist())
        found[f"random {size:,}"] = graph
        size *= 10
    return found


def _pgmpy(graph: nx.DiGraph) -> DAG:
    """pgmpy's graph, without the search for cycles it makes after every edge."""
    theirs = DAG()
    nx.DiGraph.add_nodes_from(theirs, graph)
    nx.DiGraph.add_edges_from(theirs, graph.edges)
    return theirs


def contestants(graph: nx.DiGraph, queries: list[Query]) -> dict[str, Callable[[int], Any]]:
    """Functions that answer the first n queries, each given in the form it likes best."""
    index, theirs = graphs.Separation(graph), _pgmpy(graph)
    xs, ys, givens = zip(*queries, strict=True)
    sets = [({x}, {y}, set(given)) for x, y, given in queries]
    found = {
        "once": lambda n: [bool(graphs.independent(graph, *q)) for q in queries[:n]],
        "index": lambda n: [index.independent(*q) for q in queries[:n]],
        "many": lambda n: index.independent_many(xs[:n], ys[:n], givens[:n]),
        "pgmpy": lambda n: [not theirs.is_dconnected(*q) for q in queries[:n]],
        "networkx": lambda n: [nx.is_d_separator(graph, *q) for q in sets[:n]],
    }
    if len(graph) <= 100_000:  # adding the arcs of a larger one takes hours
        peer = pyagrum.DAG()
        number = {v: i for i, v in enumerate(graph)}
        for i in number.values():
            peer.addNodeWithId(i)
        for u, v in graph.edges:
            peer.addArc(number[u], number[v])
        numbered = [(number[x], number[y], {number[v] for v in z}) for x, y, z in queries]
        found["pyAgrum"] = lambda n: [peer.dSeparation(*q) for q in numbered[:n]]
    return found


def compare(graph: nx.DiGraph) -> dict[str, float]:
    """Microseconds per query of every contestant, once they are seen to agree."""
    nodes = list(graph)
    chosen = np.random.default_rng(1)
    drawn = (chosen.choice(len(nodes), 5, replace=False).tolist() for _ in range(1_000))
    queries = [(nodes[a], nodes[b], [nodes[i] for i in rest]) for a, b, *rest in drawn]
    runs = contestants(graph, queries)
    asked: dict[str, int] = {}
    for name, run in runs.items():
        run(1)
        each = _seconds(lambda run=run: run(2)) / 2
        asked[name] = int(np.clip(PATIENCE / ROUNDS / max(each, 1e-9), 2, len(queries)))
    best: dict[str, float] = {}
    answers: dict[str, list[bool]] = {}
    for turn in range(ROUNDS):
        for name, run in runs.items():
            if turn and best[name] * asked[name] / 1e6 > PATIENCE:
                continue
            until = time.process_time() + WARM
            while True:
                start = time.process_time()
                given = run(asked[name])
                end = time.process_time()
                best[name] = min(best.get(name, np.inf), (end - start) / asked[name] * 1e6)
                if end > until:
                    break
            answers[name] = list(given)
    for name, given in answers.items():
        assert given == answers["many"][: len(given)], f"{name} disagrees"
    return best


def all_pairs(graph: nx.DiGraph) -> tuple[float, float]:
    """Milliseconds for the dependences of all pairs given three nodes: ours and pgmpy's."""
    nodes = list(graph)
    observed = nodes[::300][:3]
    index, theirs = graphs.Separation(graph), _pgmpy(graph)
    ours = min(_seconds(lambda: index.dependence_matrix(observed)) for _ in range(ROUNDS))
    free = [v for v in nodes if v not in observed]
    start = time.process_time()
    trails = theirs.active_trail_nodes(free, observed=observed)
    seconds = time.process_time() - start
    matrix = index.dependence_matrix(observed)
    for i, v in enumerate(nodes):
        assert {nodes[j] for j in np.flatnonzero(matrix[i])} == set(trails.get(v, ())), v
    return ours * 1e3, seconds * 1e3


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def resident() -> float:
    """MiB in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def indexing(size: int) -> None:
    """Time and memory to index a graph from an edge array and from networkx."""
    edges = edges_of(size)
    before = resident()
    start = time.process_time()
    index = graphs.Separation.from_edges(size, edges)
    print(
        f"\nIndexing {size:,} nodes and {len(edges):,} edges: from an array "
        f"{time.process_time() - start:.2f} s, {resident() - before:.0f} MiB",
        end="",
    )
    del index
    graph = nx.DiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(edges.tolist())
    before = resident()
    start = time.process_time()
    index = graphs.Separation(graph)
    print(
        f"; from networkx {time.process_time() - start:.2f} s, {resident() - before:.0f} MiB "
        f"({index})"
    )


def processes() -> None:
    """Wall seconds of whole processes that answer one query, import included."""
    edges = "[('a', 'b'), ('b', 'c'), ('c', 'd')]"
    programs = {
        "graphs.independent": "import networkx, graphs;"
        f"graphs.independent(networkx.DiGraph({edges}), 'a', 'd', ['b'])",
        "python -m graphs": "from graphs.__main__ import main;"
        "main(['P(a)P(b|a)P(c|b)P(d|c)', 'a _||_ d | b'])",
        "pgmpy is_dconnected": "from pgmpy.base import DAG;"
        f"DAG({edges}).is_dconnected('a', 'd', ['b'])",
        "graphs.Separation": "import networkx, graphs;"
        f"graphs.Separation(networkx.DiGraph({edges})).independent('a', 'd', ['b'])",
    }
    print("\nA whole process with one query (s):")
    for name, code in programs.items():
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            command = [sys.executable, "-W", "ignore", "-c", code]
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        print(f"  {name:36} {min(seconds):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000)
    largest = parser.parse_args().largest
    plain.BUDGET.most = -1  # steady figures: compiled code from the first query
    names = ["once", "index", "many", "pgmpy", "pyAgrum", "networkx"]
    ratios = [("once", "pgmpy"), ("index", "pyAgrum"), ("many", "pyAgrum"), ("many", "pgmpy")]
    print(f"{'µs per query':18}" + "".join(f"{name:>10}" for name in names), end="  ")
    print("".join(f"{f'{peer}/{ours}':>15}" for ours, peer in ratios))
    for label, graph in networks(largest).items():
        micros = compare(graph)
        cells = [f"{micros[n]:10,.2f}" if n in micros else f"{'-':>10}" for n in names]
        factors = [
            f"{micros[peer] / micros[ours]:15,.1f}" if peer in micros else f"{'-':>15}"
            for ours, peer in ratios
        ]
        print(f"{label:18}{''.join(cells)}  {''.join(factors)}", flush=True)
        if label == "link":
            ours, theirs = all_pairs(graph)
            pairs = f"{ours:.1f} ms, pgmpy {theirs:,.0f} ms, {theirs / ours:.0f}x"
    if "pairs" in locals():
        print(f"\nAll pairs given three nodes, link: {pairs}")
    indexing(largest)
    processes()


if __name__ == "__main__":
    main()
