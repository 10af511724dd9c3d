"""Typed evidence over random networks against brute force, before and after a file.

    python tests/benchmarks/evidence_fuzz.py --tries 100000

Every try observes one or more nodes of a small random network by values of many types. What each
value means is decided here by a table of its own; the posterior is found by enumeration. A value
may also be refused. Prints how many tries were answered and refused, and every disagreement.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import graphs

NAMES = [
    ("yes", "no"), ("no", "yes"), ("true", "false"), ("False", "True"), (True, False),
    (False, True), (1, 2, 3), (0, 1), (1, 0), ("1", "2", "3"), ("0", "1"), ("1", "0"),
    ("low", "mid", "high"), (0.5, 1.5), ("0.5", "1.5"), (2, 1, 0), ("a", "1"), (10, 20),
]  # fmt: skip
WORDS = {"true": True, "yes": True, "false": False, "no": False}


def network(rng):
    """A chain with extra parents, its names and its joint distribution."""
    count = int(rng.integers(2, 5))
    names = [NAMES[rng.integers(len(NAMES))] for _ in range(count)]
    tables, joint = [], np.ones([len(n) for n in names])
    for i in range(count):
        parents = sorted(rng.choice(i, size=min(i, int(rng.integers(0, 3))), replace=False))
        shape = [len(names[p]) for p in parents] + [len(names[i])]
        table = rng.random(shape) + 0.05
        table = (table / table.sum(-1, keepdims=True)).round(12)
        table[..., -1] = 1 - table[..., :-1].sum(-1)
        tables.append((f"n{i}", tuple(f"n{p}" for p in parents), table))
        full = np.ones(joint.shape)
        for where in itertools.product(*map(range, joint.shape)):
            full[where] = table[tuple(where[p] for p in parents) + (where[i],)]
        joint = joint * full
    states = {f"n{i}": n for i, n in enumerate(names)}
    return graphs.bayesian_network(tables, states=states), names, joint


def typed(rng, state):
    """A value of some type that stands for a state, as people type, load or compute it."""
    forms = [state, str(state)]
    if isinstance(state, bool):
        forms += [np.bool_(state), str(state).lower()]
    elif isinstance(state, (int, float)):
        forms += [
            float(state),
            np.float64(state),
            np.int64(state) if state == int(state) else state,
        ]
    elif state.lower() in WORDS:
        forms += [WORDS[state.lower()], np.bool_(WORDS[state.lower()])]
    else:
        try:
            forms += [float(state), np.float32(state)]
        except ValueError:
            forms += [np.str_(state)]
    return forms[rng.integers(len(forms))]


def main() -> None:
    """Run the tries and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    answered = refused = wrong = 0
    started, folder = time.perf_counter(), Path(tempfile.mkdtemp())
    while answered + refused < options.tries:
        model, names, joint = network(rng)
        models = [model]
        path = folder / f"model{('.bif', '.xmlbif', '.net')[rng.integers(3)]}"
        try:
            graphs.save(model, path)
            models.append(graphs.load(path))
        except ValueError:
            pass
        trees = [graphs.JunctionTree(m) for m in models]
        for _ in range(100):
            nodes = rng.permutation(len(names))
            seen = {
                int(i): int(rng.integers(len(names[i])))
                for i in nodes[: rng.integers(1, len(names))]
            }
            evidence = {f"n{i}": typed(rng, names[i][k]) for i, k in seen.items()}
            target = int(nodes[-1])
            index = tuple(seen.get(i, slice(None)) for i in range(len(names)))
            kept = [i for i in range(len(names)) if i not in seen]
            expected = joint[index].sum(tuple(j for j, i in enumerate(kept) if i != target))
            expected = expected / expected.sum()
            rows = bool(rng.integers(2))
            given = pd.DataFrame({k: [v, v] for k, v in evidence.items()}) if rows else evidence
            for tree in trees:
                try:
                    found = np.asarray(tree.marginals(given)[f"n{target}"])
                except ValueError:
                    refused += 1
                    continue
                answered += 1
                if not np.allclose(found, expected, atol=1e-9):
                    wrong += 1
                    print(f"{evidence} of {names}: got {found}, expected {expected}")
    seconds = time.perf_counter() - started
    print(f"{answered:,} answered, {refused:,} refused, {wrong} wrong, {seconds:.0f} s")


if __name__ == "__main__":
    main()
