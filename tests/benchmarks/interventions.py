"""Interventions against definitions: every DAG of up to five nodes, and 200 random models.

Run with ``python tests/benchmarks/interventions.py``; it takes minutes and ends with status 1 at a
disagreement.

*Sets*: of every DAG of 2 to 5 nodes up to names, and every ordered pair x, y in it, every set of
other nodes is judged as the generalised adjustment criterion says by all paths, and the minimal
sets are listed. *Effects*: of 200 random discrete models with latent nodes the effect by the
truncated factorization, by every minimal adjustment set and by every front door, beside
enumeration.
"""

from __future__ import annotations

import sys
from itertools import combinations, permutations
from pathlib import Path

import networkx as nx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import graphs
from tests.support.causal_oracles import (
    enumerated_effect,
    is_adjustment_set,
    minimal,
    random_network,
    random_question,
    subsets,
)

MOST_NODES, MODELS, CLOSE = 5, 200, 1e-9


def sets_of(size: int) -> tuple[int, int]:
    """How many sets of all DAGs of so many nodes were judged, and how many wrongly."""
    pairs, judged, wrong = list(combinations(range(size), 2)), 0, 0
    for present in range(1 << len(pairs)):
        dag = nx.DiGraph()
        dag.add_nodes_from(range(size))
        dag.add_edges_from(pair for i, pair in enumerate(pairs) if present >> i & 1)
        for x, y in permutations(range(size), 2):
            sets = subsets(set(dag) - {x, y})
            valid = {z for z in sets if is_adjustment_set(dag, {x}, {y}, z)}
            wrong += set(graphs.adjustment(dag, x, y).sets) != minimal(list(valid))
            wrong += sum(bool(graphs.adjustment(dag, x, y, z)) != (z in valid) for z in sets)
            judged += len(sets)
    return judged, wrong


def effects() -> tuple[int, float]:
    """How many effects were computed, and the largest difference from enumeration."""
    count, off = 0, 0.0
    for seed in range(MODELS):
        dag, x, y, latent = random_question(seed, most=5)
        network, tables = random_network(dag, seed)
        truth = enumerated_effect(dag, tables, {x: 1}, y)
        ways = [None, *graphs.adjustment(dag, x, y, latent=latent).sets]
        doors = graphs.front_door(dag, x, y, latent=latent).sets
        ways += [graphs.front_door(dag, x, y, given=z) for z in doors]
        for way in ways:
            found = np.asarray(graphs.effect(network, {x: 1}, y, by=way))
            off = max(off, float(np.abs(found - truth).max()))
            count += 1
    return count, off


def main() -> int:
    """Print both counts; 1 where something disagrees."""
    count, off = effects()
    print(f"{count} effects in {MODELS} models: at most {off:.1e} from enumeration", flush=True)
    failed = off > CLOSE
    for size in range(2, MOST_NODES + 1):
        judged, wrong = sets_of(size)
        print(f"all DAGs of {size} nodes: {judged} sets judged, {wrong} wrongly", flush=True)
        failed |= wrong > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
