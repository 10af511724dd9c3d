"""Approximate posteriors, told with how the iteration ended."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphs.inference.posteriors import Posterior
from graphs.language.notation import Node
from graphs.parameters.tables import Tables
from graphs.structure.nodes import find_nodes

METHODS = ("bp", "mean-field")


@dataclass(frozen=True)
class Approximate:
    """Posteriors of an iteration that need not be exact.

    Attributes:
        posteriors: of the nodes asked for.
        method: what was iterated.
        converged, iterations, residual: how it ended.
        log_value: the approximation of log Z, for a Bayesian network of log P(evidence).
        bound: whether that is a lower bound.
    """

    posteriors: tuple[Posterior, ...]
    method: str
    converged: bool
    iterations: int
    residual: float
    log_value: float
    bound: bool
    _of: str

    def record(self) -> dict[str, Any]:
        """How it ended, as JSON holds it."""
        return {
            "method": self.method.split(",")[0].lower(),
            "converged": self.converged,
            "iterations": self.iterations,
            "residual": self.residual,
            f"log_{'p_evidence' if '(' in self._of else 'z'}": self.log_value,
            "lower_bound": self.bound,
        }

    def __str__(self) -> str:
        end = "converged" if self.converged else "did NOT converge"
        plural = "" if self.iterations == 1 else "s"
        sign, what = (">=", "a lower bound") if self.bound else ("~", "the Bethe approximation")
        return (
            f"{self.method} {end} after {self.iterations} iteration{plural}, residual "
            f"{self.residual:.2g}.\nlog {self._of} {sign} {self.log_value:.6g}, {what}."
        )


def approximate(
    tables: Tables, method: str, names: Sequence[str], seen: Mapping[Node, Hashable]
) -> Approximate:
    """Posteriors by belief propagation or mean field.

    Args:
        tables: of the model.
        method: one of ``METHODS``.
        names: of the nodes asked for; of all that are not observed where there are none.
        seen: the evidence.

    Raises:
        ValueError: an unknown node, impossible evidence.
    """
    from graphs.inference.belief_propagation import BeliefPropagation
    from graphs.inference.fixed_points import ConvergenceWarning
    from graphs.inference.mean_field import MeanField

    wanted = [v for name in names for v in find_nodes(tables.graph, [name], "nodes")]
    loopy = method == "bp"
    engine = BeliefPropagation(tables) if loopy else MeanField(tables, starts=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the answer says it
        answers = engine.marginals(seen)
        log_value = float(engine.log_partition(seen))
    how = engine.convergence
    assert how is not None
    found = []
    for v in wanted or [v for v in tables.states if v not in seen]:
        states = tables.states[v]
        p = answers[v].tolist() if v in answers else [float(s == seen[v]) for s in states]
        found.append(Posterior(v, seen, dict(zip(states, p, strict=True))))
    return Approximate(
        tuple(found),
        "Belief propagation" if loopy else "Mean field, the best of three starts,",
        bool(how.converged),
        int(how.iterations),
        float(how.residual),
        log_value,
        not loopy,
        "P(evidence)" if tables.directed else "Z",
    )
