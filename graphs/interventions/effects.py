r"""Effects in numbers: the distribution of y when x is set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.inference.junction_tree import JunctionTree
from graphs.interventions.adjustment import Adjustment, adjustment
from graphs.interventions.cutting import do, require_states, state_codes
from graphs.interventions.front_door import FrontDoor
from graphs.language.notation import Node
from graphs.language.statements import listing
from graphs.structure.models import Model
from graphs.structure.nodes import NodeSet, contains


def effect(
    model: Model,
    x: Mapping[Node, Any],
    y: Any,
    by: NodeSet | Adjustment | FrontDoor | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    r"""The distribution :math:`P(y \mid \mathrm{do}(x))`.

    Args:
        model: a Bayesian network with tables.
        x: the nodes that are set, and to which states.
        y: a node, or several for their joint distribution.
        by: how: by default from the whole network, by the truncated factorization; with an
            adjustment set, or an answer of :func:`graphs.adjustment` or
            :func:`graphs.front_door`, from what can be observed of it, which gives the same.
        dtype: of the result.

    Returns:
        A tensor (states of y,), or with several an axis for each.

    Raises:
        ValueError: unknown nodes or states, a set that is not an adjustment set (with the reason),
            an answer about other nodes or with no set, or :math:`P(x, z) = 0` where
            :math:`P(z) > 0`, so that observations do not tell.

    >>> lawn = graphs.textbook.sprinkler()
    >>> graphs.marginal(lawn, "rain", {"sprinkler": "yes"})  # seeing
    tensor([0.3000, 0.7000], dtype=torch.float64)
    >>> graphs.effect(lawn, {"sprinkler": "yes"}, "rain")  # doing
    tensor([0.5000, 0.5000], dtype=torch.float64)
    >>> graphs.effect(lawn, {"sprinkler": "yes"}, "wet_grass", by="cloudy")
    tensor([0.9450, 0.0550], dtype=torch.float64)
    """
    require_states(x)
    if by is None:
        return JunctionTree(do(model, x), dtype=dtype).query(y)
    tree = JunctionTree(model, dtype=dtype)
    codes = state_codes(tree.states, x)
    targets = (y,) if contains(tree.states, y) else tuple(y)
    z, through = _observed(model, frozenset(codes), frozenset(targets), by)
    joint = tree.query((*codes, *sorted(z, key=str), *targets))
    shape = joint.shape[joint.dim() - len(targets) :]
    causes = joint.shape[: len(codes)]
    cells = joint.reshape(math.prod(causes), -1, math.prod(shape))  # P(x, z, y)
    set_to = int(np.ravel_multi_index(tuple(codes.values()), causes))
    weights = through(cells.sum(-1), set_to)
    seen = cells.sum(-1)
    if ((weights > 0) & (seen <= 0)).any():
        raise ValueError(
            f"expected every state of {listing([*codes, *z])} that the sum needs to be possible, "
            "got one of probability zero, of which observations say nothing"
        )
    given = cells / torch.where(seen > 0, seen, 1).unsqueeze(-1)  # P(y | x, z)
    return (weights.unsqueeze(-1) * given).sum((0, 1)).reshape(shape)


def _back_door(seen: Tensor, set_to: int) -> Tensor:
    """The weight of every P(y | x, z): P(z) at the x that is set."""
    weights = torch.zeros_like(seen)
    weights[set_to] = seen.sum(0)
    return weights


def _front_door(seen: Tensor, set_to: int) -> Tensor:
    """The weight of every P(y | x', z): P(z | x) P(x')."""
    if not seen[set_to].sum() > 0:
        raise ValueError("expected a cause set to what can be observed, got probability zero")
    return seen.sum(1, keepdim=True) * seen[set_to] / seen[set_to].sum()


def _observed(
    model: Model, x: frozenset[Node], y: frozenset[Node], by: Any
) -> tuple[frozenset[Node], Callable[[Tensor, int], Tensor]]:
    """What is summed over, once it is seen to give the effect, and with which weights."""
    if not isinstance(by, (Adjustment, FrontDoor)):
        by = adjustment(model, x, y, given=by)
    elif (by.x, by.y) != (x, y):
        raise ValueError(f"expected an answer about {listing(x)} and {listing(y)}, got {by!r}")
    if by.first is None:
        raise ValueError(f"expected a set that gives the effect, got: {by.explain()}")
    return by.first, _front_door if isinstance(by, FrontDoor) else _back_door
