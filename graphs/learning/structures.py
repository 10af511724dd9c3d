"""What is to be learned: the scopes of a model, and the states of its nodes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphs.inference.junction_tree import model_tables
from graphs.language.notation import Node
from graphs.learning.columns import observed_states
from graphs.parameters.checking import state_names
from graphs.parameters.tables import Scope, States, Tables
from graphs.structure.factorization import Factorization
from graphs.structure.models import Model, as_graph, factorization
from graphs.structure.nodes import NodeSet, contains, latent_nodes, unknown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Skeleton:
    """A model without its numbers.

    Attributes:
        scopes: of every factor: in a Bayesian network the parents and then the node.
        nodes: in the order of the tables.
        directed: whether it is a Bayesian network.
        latent: nodes that no column observes.
        tables: the model's own, where it has some.
        name: the network's name.
    """

    scopes: tuple[Scope, ...]
    nodes: tuple[Node, ...]
    directed: bool
    latent: frozenset[Node]
    tables: Tables | None = None
    name: str = ""


def skeleton(model: Model, latent: NodeSet | None) -> Skeleton:
    """What a model says without numbers; its own tables where it has some.

    Raises:
        ValueError: no model, a cycle, joint conditionals P(A, B | C), unknown latent nodes.
    """
    tables = _own_tables(model)
    if tables is not None:
        graph = tables.graph if isinstance(model, (Tables, tuple)) else as_graph(model)
        scopes = tuple(scope for scope, _ in tables.factors if scope)
        nodes = tuple(tables.states)
        hidden = latent_nodes(graph, latent)
        return Skeleton(scopes, nodes, tables.directed, hidden, tables, tables.name)
    found = factorization(model)
    if not found.directed:
        scopes = tuple(factor.scope for factor in found.factors if factor.scope)
        covered = dict.fromkeys(v for scope in scopes for v in scope)
        alone = tuple((v,) for v in found.nodes if v not in covered)
        hidden = latent_nodes(as_graph(model), latent)
        return Skeleton((*scopes, *alone), tuple(found.nodes), False, hidden)
    if joint := [factor for factor in found.factors if len(factor.variables) > 1]:
        raise ValueError(
            "expected tables of one variable each given others, got the joint distribution "
            f"{joint[0]}"
        )
    scopes = tuple((*factor.given, *factor.variables) for factor in found.factors)
    nodes = tuple(scope[-1] for scope in scopes)
    return Skeleton(scopes, nodes, True, latent_nodes(as_graph(model), latent))


def _own_tables(model: Any) -> Tables | None:
    if isinstance(model, Tables):
        return model
    pair = isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Factorization)
    held = getattr(model, "cpds", None) or getattr(model, "factors", None)
    if pair or (held and not isinstance(model, Factorization)):
        return model_tables(model)
    return None


def all_states(
    what: Skeleton, data: pd.DataFrame, declared: Mapping[Node, Sequence[Hashable]] | None
) -> States:
    """The states of every node: those declared, the model's own, or those that occur.

    Raises:
        ValueError: states of an unknown node, or other ones than the model has; a node without
            states, because it is latent or no row observes it.
    """
    if not isinstance(declared, (Mapping, type(None))):
        raise ValueError(f"expected a dict from nodes to states, got {type(declared).__name__}")
    stated: States = {}
    for v, names in (declared or {}).items():
        if not contains(what.nodes, v):
            raise ValueError(f"expected states of nodes of the model, got {unknown(what.nodes, v)}")
        stated[v] = state_names(v, names)
        own = what.tables.states[v] if what.tables else stated[v]
        if stated[v] != own:
            raise ValueError(f"expected the states of {v!r} as in its table, {own}, got {names!r}")
    if what.tables is not None:
        return dict(what.tables.states)
    found: States = {}
    for v in what.nodes:
        found[v] = stated.get(v) or (observed_states(data[v], v) if v in data.columns else ())
        if not found[v]:
            raise ValueError(
                f"expected states for {v!r}, which no row observes, as states={{{v!r}: (0, 1)}}, "
                "got none"
            )
    return found
