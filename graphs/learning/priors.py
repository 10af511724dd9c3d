"""Pseudo-counts: what is known before the data, in rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphs.language.notation import Node
from graphs.learning.columns import Array
from graphs.learning.structures import Skeleton
from graphs.parameters.tables import States, as_array, label_of
from graphs.structure.nodes import contains, unknown


def require_number(value: Any, role: str) -> float:
    """A finite number of zero or more.

    Raises:
        ValueError: anything else.
    """
    number = isinstance(value, (int, float, np.integer, np.floating))
    if not number or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"expected {role} to be a finite number of zero or more, got {value!r}")
    return float(value)


def pseudo_counts(
    what: Skeleton,
    states: States,
    prior: float | Mapping[Node, Any],
    equivalent_sample_size: float,
) -> list[Array]:
    """The pseudo-counts of every cell of every table.

    Raises:
        ValueError: a number below zero, an unknown node, an array of another shape; a prior by
            cells for a Markov network, whose scopes overlap.
    """
    size = require_number(equivalent_sample_size, "equivalent_sample_size")
    by_node = isinstance(prior, Mapping)
    same = 0.0 if by_node else require_number(prior, "prior")
    if not what.directed and (by_node or same):
        raise ValueError(
            "expected equivalent_sample_size for a Markov network, whose scopes share their rows, "
            f"got prior={prior!r}"
        )
    given: dict[Node, Any] = dict(prior) if isinstance(prior, Mapping) else {}
    nodes = [scope[-1] for scope in what.scopes]
    for v in given:
        if not contains(nodes, v):
            raise ValueError(f"expected a prior of nodes of the model, got {unknown(nodes, v)}")
    result = []
    for scope in what.scopes:
        shape = tuple(len(states[v]) for v in scope)
        counts = np.full(shape, same + size / math.prod(shape))
        if what.directed and scope[-1] in given:
            counts += _array(given[scope[-1]], shape, label_of(scope, True))
        result.append(counts)
    return result


def _array(value: Any, shape: tuple[int, ...], label: str) -> Array:
    array = as_array(value, f"the pseudo-counts of {label}")
    if array.shape not in ((), shape):
        raise ValueError(
            f"expected a number or an array of shape {shape} as pseudo-counts of {label}, got "
            f"shape {array.shape}"
        )
    if not ((array >= 0) & (array < np.inf)).all():
        raise ValueError(f"expected pseudo-counts of zero or more of {label}, got {value!r}")
    return array
