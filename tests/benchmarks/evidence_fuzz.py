"""Typed evidence over random networks against brute force, before and after every file format.

    python tests/benchmarks/evidence_fuzz.py --tries 100000

Every try observes some nodes of a small random network, in one row or several, by values of many
types in containers of many kinds. What a value means is decided here by a rule of its own
(:mod:`evidence_meaning`); the posterior is found by enumeration. Prints how many tries were
answered and refused, how many were refused although every value means one state, and every
disagreement: another posterior, an answer where some value means no state or several, or a value
that means different states before and after a file.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import evidence_meaning
import numpy as np

import graphs

FORMATS = (".bif", ".xmlbif", ".net", ".uai", ".bif.gz")
TRIES_PER_NETWORK = 400


class Model(NamedTuple):
    """A network with the names of its states, and its joint distribution."""

    tree: graphs.JunctionTree
    nodes: list[str]
    names: list[tuple]
    joint: np.ndarray


def network(rng):
    """A chain with extra parents, its names and its joint distribution."""
    count = int(rng.integers(2, 5))
    choices = evidence_meaning.NAMES
    names = [choices[rng.integers(len(choices))] for _ in range(count)]
    tables, joint = [], np.ones([len(n) for n in names])
    for i in range(count):
        parents = sorted(rng.choice(i, size=min(i, int(rng.integers(0, 3))), replace=False))
        shape = [len(names[p]) for p in parents] + [len(names[i])]
        table = rng.dirichlet(np.full(shape[-1], 2.0), shape[:-1]) * 0.9 + 0.1 / shape[-1]
        tables.append((f"n{i}", tuple(f"n{p}" for p in parents), table))
        full = np.ones(joint.shape)
        for where in itertools.product(*map(range, joint.shape)):
            full[where] = table[tuple(where[p] for p in parents) + (where[i],)]
        joint = joint * full
    nodes = [f"n{i}" for i in range(count)]
    return graphs.bayesian_network(tables, states=dict(zip(nodes, names, strict=True))), joint


def models(rng, folder):
    """A network and what its files hold, with what each calls nodes and states."""
    made, joint = network(rng)
    found = [(made, list(made.nodes))]
    for extension in FORMATS:
        path = folder / f"model{extension}"
        try:
            graphs.save(made, path)
        except ValueError:
            continue  # states that are the same text
        loaded = graphs.load(path)
        found.append((loaded, list(loaded.nodes)))
    return [
        Model(graphs.JunctionTree(m), nodes, [tuple(m.states[v]) for v in nodes], joint)
        for m, nodes in found
    ]


def posterior(joint, seen, target):
    """The distribution of a variable given the states of others."""
    index = tuple(seen.get(i, slice(None)) for i in range(joint.ndim))
    kept = [i for i in range(joint.ndim) if i not in seen]
    table = joint[index].sum(tuple(j for j, i in enumerate(kept) if i != target))
    return table / table.sum()


def attempt(rng, model):
    """One try: what became of it, and what was found and expected."""
    order = rng.permutation(len(model.names)).tolist()
    target, observed = order[-1], order[: rng.integers(1, len(order))]
    evidence, rows = evidence_meaning.evidence(rng, {i: model.names[i] for i in observed})
    given = evidence_meaning.contained(rng, {model.nodes[i]: v for i, v in evidence.items()}, rows)
    states = {}
    for i in observed:
        values = evidence_meaning.elements(given[model.nodes[i]], rows)
        states[i] = [evidence_meaning.meaning(value, model.names[i]) for value in values]
    meant = all(s is not evidence_meaning.NOTHING for row in states.values() for s in row)
    try:
        found = np.atleast_2d(np.asarray(model.tree.marginals(given)[model.nodes[target]]))
    except ValueError as error:
        return ("refused although meant" if meant else "refused"), given, str(error), None
    if not meant:
        return "wrong", given, found, "a refusal"
    expected = [
        posterior(model.joint, {i: s[row] for i, s in states.items() if s[row] is not None}, target)
        for row in range(rows or 1)
    ]
    right = len(found) == len(expected) and np.allclose(found, expected, atol=1e-9, rtol=0)
    return "answered" if right else "wrong", given, found, expected


def flips(before, after):
    """Values that mean one state before a file and another after it."""
    for i, (names, later) in enumerate(zip(before.names, after.names, strict=True)):
        if before.nodes != after.nodes:
            return  # other nodes
        for value in evidence_meaning.values(names):
            one = evidence_meaning.meaning(value, names)
            other = evidence_meaning.meaning(value, later)
            known = {one, other}.isdisjoint({None, evidence_meaning.NOTHING})
            if known and one != other:
                yield f"{value!r} of {before.nodes[i]}: {names[one]!r}, then {later[other]!r}"


def main() -> None:
    """Run the tries and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    counts, kinds = Counter(), Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        while counts.total() < options.tries:
            alternatives = models(rng, Path(name))
            for after in alternatives[1:]:
                for flip in flips(alternatives[0], after):
                    kinds[flip] += 1
            for _ in range(TRIES_PER_NETWORK):
                model = alternatives[rng.integers(len(alternatives))]
                what, given, found, expected = attempt(rng, model)
                counts[what] += 1
                if what in ("wrong", "refused although meant"):
                    shown = f"{given!r} of {model.names}: got {found}, expected {expected}"
                    kinds[f"{what}: {shown}"] += 1
    for kind, count in sorted(kinds.items())[:200]:
        print(f"{count} x {kind}")
    listed = ", ".join(f"{counts[k]:,} {k}" for k in ("answered", "refused"))
    listed += f", {counts['refused although meant']:,} refused although meant"
    print(f"{listed}, {counts['wrong']} wrong, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
