"""Which rows of zeros are possible, decided by supports, against the joint's enumeration."""

from itertools import product
from math import prod

import numpy as np
import pytest

from graphs.parameters.impossible import possible_zero_row, require_impossible, zero_rows
from graphs.parameters.tables import Tables


def sparse_network(rng):
    """Up to six nodes of one to three states and at most three parents, most entries zero."""
    size = int(rng.integers(2, 7))
    names = [f"v{i}" for i in range(size)]
    states = {v: tuple(range(rng.integers(1, 4))) for v in names}
    density = rng.uniform(0.2, 0.8)
    factors = []
    for i in rng.permutation(size):
        parents = rng.permutation(i)[: rng.integers(0, 4)]
        scope = (*(names[p] for p in parents), names[i])
        array = rng.random([len(states[v]) for v in scope])
        array *= rng.random(array.shape) < density
        if not parents.size and not array.any():
            array[0] = 1
        factors.append((scope, array / np.maximum(array.sum(axis=-1, keepdims=True), 1e-300)))
    return Tables(states, tuple(factors), True)


def ancestral_order(tables):
    return sorted(tables.factors, key=lambda factor: int(factor[0][-1][1:]))


def reached_rows(tables):
    """Rows of zeros that a draw, node after node, can come to: every prefix is enumerated."""
    prefixes, reached = [{}], set()
    for scope, array in ancestral_order(tables):
        following = []
        for prefix in prefixes:
            row = tuple(prefix[v] for v in scope[:-1])
            if not array[row].any():
                reached.add((scope, row))
            following += [{**prefix, scope[-1]: int(s)} for s in np.flatnonzero(array[row])]
        prefixes = following
    return reached


def probability_of_parents(tables, scope, row):
    """P(u) summed over every joint state, rows of zeros elsewhere as uniform."""
    filled = []
    for inside, array in tables.factors:
        zero = ~array.any(axis=-1)
        filled.append((inside, np.where(zero[..., None], 1 / array.shape[-1], array)))
    total = 0.0
    for joint in product(*tables.states.values()):
        at = dict(zip(tables.states, joint, strict=True))
        if tuple(at[v] for v in scope[:-1]) == row:
            total += prod(array[tuple(at[v] for v in inside)] for inside, array in filled)
    return total


def with_reached_rows_filled(tables):
    """How many rows of zeros are left, out of reach, once those that a draw comes to are uniform.

    The tables change in place.
    """
    arrays = dict(tables.factors)
    while reached := reached_rows(tables):
        for scope, row in reached:
            arrays[scope][row] = 1 / arrays[scope].shape[-1]
    return sum(len(rows) for _, rows in zero_rows(tables))


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_sparse_networks(block):
    rng = np.random.default_rng(block)
    refused = out_of_reach = 0
    for _ in range(20):
        tables = sparse_network(rng)
        found = possible_zero_row(tables)
        assert (found is not None) == bool(reached_rows(tables))
        if found is not None:
            refused += 1
            factor, row = found
            assert probability_of_parents(tables, tables.factors[factor][0], row) > 0
            with pytest.raises(ValueError, match="a sum of 0 in P"):
                require_impossible(tables)
        out_of_reach += with_reached_rows_filled(tables)
        require_impossible(tables)
    assert refused > 5
    assert out_of_reach > 5
