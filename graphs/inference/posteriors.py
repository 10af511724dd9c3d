r"""Posteriors for readers: the states of a node by name, with their probabilities.

The probability of evidence is a product of pruned marginals,
:math:`P(e_1, \dots, e_n) = \prod_i P(e_i \mid e_1, \dots, e_{i-1})`, so that networks whose tree is
too large for all marginals at once can answer too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphs.inference.pruning import marginal
from graphs.inference.queries import model_tables
from graphs.language.assignments import read_assignments
from graphs.language.notation import Node
from graphs.parameters.states import MISSING, StateNames
from graphs.parameters.tables import Tables
from graphs.structure.models import Model
from graphs.structure.nodes import find_nodes


@dataclass(frozen=True)
class Posterior:
    """The distribution of a node given what is observed.

    Attributes:
        node: the node.
        evidence: the observed nodes and their states.
        probabilities: of every state, in the order of the states.
        done: nodes that were set from outside, and to which states.
    """

    node: Node
    evidence: Mapping[Node, Hashable]
    probabilities: Mapping[Hashable, float]
    done: Mapping[Node, Hashable] = field(default_factory=dict)

    def __str__(self) -> str:
        known = [f"do({_listed(self.done)})"] * bool(self.done)
        known += [_listed(self.evidence)] * bool(self.evidence)
        bar = f" | {', '.join(known)}" if known else ""
        width = max(len(str(state)) for state in self.probabilities)
        rows = (f"  {state!s:<{width}}  {p:.6g}" for state, p in self.probabilities.items())
        return "\n".join([f"P({self.node}{bar})", *rows])


def posteriors(
    model: Model, nodes: Iterable[str] = (), evidence: str | Iterable[str] = ()
) -> Iterator[Posterior]:
    """The posteriors of nodes named in text, given evidence such as ``"smoke=yes, dysp=no"``.

    Args:
        model: any model with tables.
        nodes: names; those of all unobserved nodes by default.
        evidence: one text of assignments or several.

    Raises:
        ValueError: no tables, an unknown node or state, impossible evidence.

    >>> from graphs.inference.posteriors import posteriors
    >>> print(*posteriors(graphs.textbook.asia(), ["dysp"], "smoke=yes"))
    P(dysp | smoke = yes)
      yes  0.552808
      no   0.447192
    """
    tables = model_tables(model)
    seen = read_states(tables, evidence)
    names = tuple(nodes)
    if names:
        graph = tables.graph
        wanted = [v for name in names for v in find_nodes(graph, [name], "nodes")]
    else:
        wanted = [v for v in tables.states if v not in seen]
    for v in wanted:
        if v in seen:
            p = [float(state == seen[v]) for state in tables.states[v]]
        else:
            p = marginal(tables, v, seen).tolist()
        yield Posterior(v, seen, dict(zip(tables.states[v], p, strict=True)))


def read_states(model: Model, evidence: str | Iterable[str]) -> dict[Node, Hashable]:
    """The observed nodes and their states, of texts such as ``"smoke=yes"``.

    Raises:
        ValueError: an unknown node or state, two states of one node.
    """
    tables = model_tables(model)
    graph = tables.graph
    names = [str(v) for v in graph]
    seen: dict[Node, Hashable] = {}
    for text in [evidence] if isinstance(evidence, str) else evidence:
        for name, value in read_assignments(text, names).items():
            (node,) = find_nodes(graph, [name], "evidence")
            states = StateNames(node, tables.states[node])
            if (index := states.index(value)) == MISSING:
                raise ValueError(f"expected a state of {node!r}, got {value!r}")
            if seen.setdefault(node, tables.states[node][index]) != tables.states[node][index]:
                raise ValueError(f"expected one state of {node!r}, got {seen[node]!r} and {value}")
    return seen


def probability(model: Model, seen: Mapping[Node, Hashable]) -> float:
    """The probability of evidence; one of none.

    >>> from graphs.inference.posteriors import probability
    >>> round(probability(graphs.textbook.asia(), {"smoke": "yes", "dysp": "yes"}), 6)
    0.276404
    """
    tables: Tables = model_tables(model)
    product, before = 1.0, dict[Node, Hashable]()
    for node, state in seen.items():
        p = marginal(tables, node, before)
        product *= float(p[tables.states[node].index(state)])
        before[node] = state
        if not product:
            break
    return product


def _listed(evidence: Mapping[Node, Hashable]) -> str:
    return ", ".join(f"{v} = {state}" for v, state in evidence.items())
