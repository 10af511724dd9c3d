"""Networks handed to pyAgrum, whose nodes are renamed to what it accepts: n0, n1, ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from agrum import pyagrum

from graphs.parameters.tables import Tables


class Peer:
    """A Bayesian network in pyAgrum, asked in the names and state indices of ours.

    Args:
        tables: the network's tables.
    """

    def __init__(self, tables: Tables):
        self.names = {node: f"n{i}" for i, node in enumerate(tables.states)}
        self.network = pyagrum.BayesNet()
        for node, states in tables.states.items():
            variable = pyagrum.RangeVariable(self.names[node], "", 0, len(states) - 1)
            self.network.add(variable)
        for scope, _ in tables.factors:
            for parent in scope[:-1]:
                self.network.addArc(self.names[parent], self.names[scope[-1]])
        for scope, table in tables.factors:
            cpt = self.network.cpt(self.names[scope[-1]])
            order = [self.names[node] for node in scope]
            axes = [order.index(name) for name in reversed(cpt.names)]
            cpt[:] = np.ascontiguousarray(table.transpose(axes))
        self.engine = pyagrum.LazyPropagation(self.network)

    def marginals(self, evidence: Mapping[Any, int]) -> dict[Any, np.ndarray]:
        """All marginals of the nodes that are not observed."""
        self.engine.setEvidence({self.names[v]: int(k) for v, k in evidence.items()})
        self.engine.makeInference()
        return {
            v: self.engine.posterior(name)[:] for v, name in self.names.items() if v not in evidence
        }

    def probability(self, evidence: Mapping[Any, int]) -> float:
        """The probability of the evidence."""
        self.engine.setEvidence({self.names[v]: int(k) for v, k in evidence.items()})
        return float(self.engine.evidenceProbability())


def forward_sample(tables: Tables, rows: int, rng: np.random.Generator) -> dict[Any, np.ndarray]:
    """Draws of every node, each given its parents."""
    drawn: dict[Any, np.ndarray] = {}
    waiting = list(tables.factors)
    while waiting:
        scope, table = waiting.pop(0)
        if any(parent not in drawn for parent in scope[:-1]):
            waiting.append((scope, table))
            continue
        weights = table[tuple(drawn[parent] for parent in scope[:-1])].cumsum(-1)
        weights = np.broadcast_to(weights, (rows, table.shape[-1]))
        level = rng.random((rows, 1)) * weights[:, -1:]
        drawn[scope[-1]] = (weights <= level).sum(-1)
    return drawn
