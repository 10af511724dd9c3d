"""Discrete models small enough to write out: the oracle of exact inference is the whole table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphs


@dataclass
class Dense:
    """A model and the product of its factors over all assignments, one axis per node."""

    model: Any
    nodes: tuple[str, ...]
    sizes: tuple[int, ...]
    factors: list[tuple[tuple[str, ...], np.ndarray]]

    @property
    def table(self) -> np.ndarray:
        operands: list[Any] = [np.ones(self.sizes), list(range(len(self.nodes)))]
        for scope, array in self.factors:
            operands += [array, [self.nodes.index(v) for v in scope]]
        return np.einsum(*operands, list(range(len(self.nodes))))

    def given(self, evidence: Mapping[str, Sequence[int | None]], row: int) -> np.ndarray:
        """The table with zeros where it contradicts a row of evidence."""
        keep = [slice(None)] * len(self.nodes)
        for v, column in evidence.items():
            if column[row] is not None:
                keep[self.nodes.index(v)] = slice(column[row], column[row] + 1)
        result = np.zeros(self.sizes)
        result[tuple(keep)] = self.table[tuple(keep)]
        return result


def random_markov(rng: np.random.Generator, most_nodes: int = 7, zeros: float = 0.0) -> Dense:
    """Random scopes of up to three nodes (a constant among them), random sizes from 1 to 3."""
    count = int(rng.integers(2, most_nodes + 1))
    nodes = tuple(f"v{i}" for i in range(count))
    sizes = tuple(int(k) for k in rng.integers(1, 4, count))
    factors = []
    for _ in range(int(rng.integers(1, 2 * count))):
        chosen = rng.permutation(count)[: int(rng.integers(0, min(3, count) + 1))]
        array = 10 * rng.random([sizes[i] for i in chosen])
        array = np.where(rng.random(array.shape) < zeros, 0.0, array)
        if array.any():
            factors.append((tuple(nodes[i] for i in chosen), array))
    states = {v: range(k) for v, k in zip(nodes, sizes, strict=True)}
    return Dense(graphs.markov_network(factors, states=states), nodes, sizes, factors)


def random_bayesian(rng: np.random.Generator, most_nodes: int = 7, zeros: float = 0.0) -> Dense:
    """A random DAG with up to three parents a node."""
    count = int(rng.integers(2, most_nodes + 1))
    nodes = tuple(f"v{i}" for i in range(count))
    sizes = tuple(int(k) for k in rng.integers(1, 4, count))
    factors = []
    for i in range(count):
        parents = rng.permutation(i)[: int(rng.integers(0, 4))]
        array = rng.random([*(sizes[p] for p in parents), sizes[i]]) + 0.01
        array *= rng.random(array.shape) >= zeros
        array[..., 0] += array.sum(-1) == 0
        factors.append(
            ((*(nodes[p] for p in parents), nodes[i]), array / array.sum(-1, keepdims=True))
        )
    model = graphs.bayesian_network([(scope[-1], scope[:-1], array) for scope, array in factors])
    return Dense(model, nodes, sizes, factors)


def random_evidence(
    rng: np.random.Generator, dense: Dense, rows: int, missing: float
) -> dict[str, list[int | None]]:
    """Values for some of the nodes, missing here and there, in an assignment that is possible."""
    flat = np.flatnonzero(dense.table.ravel())
    chosen = np.unravel_index(rng.choice(flat, rows), dense.sizes)
    return {
        dense.nodes[i]: [None if rng.random() < missing else int(k) for k in chosen[i]]
        for i in rng.permutation(len(dense.nodes))[: int(rng.integers(1, len(dense.nodes)))]
    }
