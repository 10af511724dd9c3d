"""Spins on grids and tori."""

import itertools

import numpy as np

import graphs

SPIN = np.array([[1.0, -1.0], [-1.0, 1.0]])


def ising(sides, coupling, fields=None, wrapped=False):
    """With fields ``(rows, columns)``, none by default; on a torus where ``wrapped``."""
    rows, columns = sides
    edges = [
        ((i, j), ((i + di) % rows, (j + dj) % columns))
        for i, j in itertools.product(range(rows), range(columns))
        for di, dj in ((0, 1), (1, 0))
        if wrapped or (i + di < rows and j + dj < columns)
    ]
    factors = [(edge, np.exp(coupling * SPIN)) for edge in edges]
    for (i, j), h in np.ndenumerate(np.zeros(sides) if fields is None else fields):
        factors.append((((i, j),), np.exp([h, -h])))
    return graphs.markov_network(factors)
