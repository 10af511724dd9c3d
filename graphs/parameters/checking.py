"""The one gate for tables that do not come from a file: arrays, labelled or not, become Tables."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphs.language.notation import Node
from graphs.parameters.impossible import require_impossible
from graphs.parameters.labels import Arranger, Axis, labelled
from graphs.parameters.tables import (
    Scope,
    States,
    Tables,
    as_array,
    find_fault,
    label_of,
    structure,
)
from graphs.structure.search import require_acyclic


def checked(
    entries: list[tuple[Scope, Any]],
    states: Mapping[Node, Sequence[Hashable]] | None,
    directed: bool,
    name: str = "",
) -> Tables:
    """Scopes and arrays as the tables of a model.

    Raises:
        ValueError: shapes, entries, states or scopes that no model may have.
    """
    known: States = {v: state_names(v, names) for v, names in dict(states or {}).items()}
    factors = []
    for scope, array in _arranged(entries, known, directed):
        for v, size in zip(scope, array.shape, strict=True):
            if not size:
                raise ValueError(f"expected at least one state of {v!r}, got shape {array.shape}")
            known.setdefault(v, tuple(range(size)))
        factors.append((scope, array))
    for scope, array in factors:
        shape = tuple(len(known[v]) for v in scope)
        if array.shape != shape:
            raise ValueError(
                f"expected shape {shape} for {label_of(scope, directed)}, since its variables have "
                f"{', '.join(f'{len(known[v])} ({v!r})' for v in scope)} states, got {array.shape}"
            )
        _check_entries(scope, array, known, directed)
    if directed:
        known = _check_nodes([scope for scope, _ in factors], known)
    else:
        covered = {v for scope, _ in factors for v in scope}
        factors += [((v,), np.ones(len(s))) for v, s in known.items() if v not in covered]
    if not known:
        raise ValueError("expected at least one node, got none")
    tables = Tables(known, tuple(factors), directed, name)
    require_impossible(tables)
    return tables


def _arranged(
    entries: list[tuple[Scope, Any]], states: States, directed: bool
) -> list[tuple[Scope, np.ndarray]]:
    """Arrays with one axis per variable; labels are read and may tell further states."""
    arrays: list[np.ndarray] = []
    axes: dict[int, list[Axis]] = {}
    sizes: dict[Node, int] = {}
    for k, (scope, table) in enumerate(entries):
        _check_scope(scope)
        what = label_of(scope, directed)
        found = labelled(table)
        array = as_array(table if found is None else found[0], what)
        if array.ndim != len(scope):
            raise ValueError(
                f"expected {len(scope)} axes for {what}, one per variable "
                f"in that order, got an array of shape {array.shape}"
            )
        arrays.append(array)
        if found is None:
            sizes.update(zip(scope, array.shape, strict=True))
        else:
            axes[k] = found[1]
    if axes:
        arranger = Arranger(states, sizes, (v for scope, _ in entries for v in scope))
        scopes = {k: entries[k][0] for k in axes}
        tables = [(scopes[k], arrays[k], axes[k], label_of(scopes[k], directed)) for k in axes]
        for k, array in zip(axes, arranger.arrange(tables), strict=True):
            arrays[k] = array
    return [(scope, array) for (scope, _), array in zip(entries, arrays, strict=True)]


def _check_nodes(scopes: list[Scope], states: States) -> States:
    """Refuse nodes with no table or two, and cycles; the states in the order of the tables."""
    nodes = [scope[-1] for scope in scopes]
    seen: set[Node] = set()
    for v in nodes:
        if v in seen:
            raise ValueError(f"expected one table per node, got two for {v!r}")
        seen.add(v)
    for v in states:
        if v not in seen:
            child = next((scope[-1] for scope in scopes if v in scope), None)
            why = f"a parent of {child!r}" if child is not None else "which has states"
            raise ValueError(f"expected a table for {v!r}, {why}, got none")
    require_acyclic(structure(nodes, scopes, True))
    return {v: states[v] for v in nodes}


def _check_scope(scope: Scope) -> None:
    for v in scope:
        if not isinstance(v, Hashable) or v is None:
            raise ValueError(f"expected names of variables, got {v!r}")
    if len(set(scope)) < len(scope):
        raise ValueError(f"expected distinct variables in a scope, got {scope!r}")


def state_names(node: Node, names: Any) -> tuple[Hashable, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"expected a sequence of state names for {node!r}, got {names!r}")
    result = tuple(names)
    if not result:
        raise ValueError(f"expected at least one state for {node!r}, got none")
    if not all(isinstance(s, Hashable) for s in result) or len(set(result)) < len(result):
        raise ValueError(f"expected distinct state names for {node!r}, got {result!r}")
    return result


def _check_entries(scope: Scope, array: np.ndarray, states: States, directed: bool) -> None:
    found = find_fault(array, directed, zero_rows=True)
    if found is not None:
        index, message = found
        at = ", ".join(f"{v}={states[v][i]!r}" for v, i in zip(scope, index, strict=False))
        raise ValueError(f"{message} in {label_of(scope, directed)}" + (f" at {at}" if at else ""))
