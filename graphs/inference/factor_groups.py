"""The factors of a model grouped by shape, so that one tensor operation serves all of a group.

Factors of one shape, up to the order of their axes, lie side by side in a tensor (states of each
axis, rows, factors); so do, for every number of states, the variables (states, rows, variables) and
the edges of the factor graph (states, rows, edges), one for each axis of each factor. Grouping the
factors is what lets large graphs run in array operations (Zhou et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from graphs.inference.evidence import MISSING, Evidence


@dataclass(frozen=True)
class Group:
    """Factors of one shape.

    Attributes:
        sizes: states of each axis, ascending.
        factors: their positions in the model.
        axes: for each of them, which of its axes lies at each place.
        spans: for each axis, where its edges lie among those of as many states.
        members: for each axis, the variables of the factors, by their places.
    """

    sizes: tuple[int, ...]
    factors: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]
    spans: tuple[tuple[int, int], ...]
    members: tuple[Tensor, ...]


@dataclass(frozen=True)
class Problem:
    """What is to be solved for some rows of evidence.

    Attributes:
        tables: for each group the logarithms of its factors (states..., 1, factors).
        unary: for each number of states the logarithm of the evidence (states, rows, variables).
        zeros: whether some table has a zero.
    """

    tables: tuple[Tensor, ...]
    unary: tuple[Tensor, ...]
    zeros: bool

    @property
    def rows(self) -> int:
        return self.unary[0].shape[1]

    def take(self, rows: Tensor) -> Problem:
        """Some of the rows."""
        return replace(self, unary=tuple(u[:, rows] for u in self.unary))


class FactorGroups:
    """The factor graph of a model of numbered variables.

    Args:
        sizes: states of each variable.
        scopes: variables of each factor, in the order of its axes.
        device: where tensors live.
    """

    def __init__(
        self, sizes: Sequence[int], scopes: Sequence[tuple[int, ...]], device: torch.device
    ):
        self.sizes, self.scopes, self.device = sizes, scopes, device
        self.kinds = sorted(set(sizes))  # the different numbers of states
        self.variables = [np.flatnonzero(np.array(sizes) == k) for k in self.kinds]
        self.place = np.empty(len(sizes), np.int64)  # of a variable among those of its kind
        for own in self.variables:
            self.place[own] = np.arange(len(own))
        self.kind = [self.kinds.index(k) for k in sizes]
        edges: list[list[Tensor]] = [[] for _ in self.kinds]
        count = [0] * len(self.kinds)
        shapes: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for k, scope in enumerate(scopes):
            axes = tuple(np.argsort([sizes[v] for v in scope], kind="stable").tolist())
            shapes.setdefault(tuple(sizes[scope[i]] for i in axes), []).append((k, axes))
        self.groups: list[Group] = []
        for shape, listed in shapes.items():
            spans, members = [], []
            for i, size in enumerate(shape):
                places = [self.place[scopes[k][axes[i]]] for k, axes in listed]
                found = torch.tensor(np.array(places), device=device)
                kind = self.kinds.index(size)
                spans.append((count[kind], count[kind] + len(listed)))
                count[kind] += len(listed)
                edges[kind].append(found)
                members.append(found)
            factors, orders = zip(*listed, strict=True)
            self.groups.append(Group(shape, factors, orders, tuple(spans), tuple(members)))
        nothing = torch.empty(0, dtype=torch.long, device=device)
        self.edges = [torch.cat([nothing, *parts]) for parts in edges]  # their variables' places

    @property
    def is_forest(self) -> bool:
        """Whether the factor graph has no cycle."""
        root = list(range(len(self.sizes)))

        def find(v: int) -> int:
            while root[v] != v:
                root[v] = root[root[v]]
                v = root[v]
            return v

        for scope in self.scopes:
            roots = {find(v) for v in scope}
            if len(roots) < len(scope):
                return False
            for v in roots:
                root[v] = find(scope[0])
        return True

    @property
    def cells(self) -> int:
        """Entries of the largest join, and of all messages, for one row."""
        joins = [int(np.prod(g.sizes, dtype=float)) * len(g.factors) for g in self.groups]
        messages = sum(k * len(e) for k, e in zip(self.kinds, self.edges, strict=True))
        return max(joins, default=1) + messages + sum(self.sizes)

    def stack(self, log_tables: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The tables of each group side by side."""
        return tuple(
            torch.stack(
                [log_tables[k].permute(axes) for k, axes in zip(g.factors, g.axes, strict=True)], -1
            ).unsqueeze(-2)
            for g in self.groups
        )

    def unstack(self, grouped: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One table (rows, states...) a factor, with its own order of axes."""
        tables: list[Tensor] = [grouped[0]] * len(self.scopes) if grouped else []
        for g, whole in zip(self.groups, grouped, strict=True):
            for table, k, axes in zip(whole.unbind(-1), g.factors, g.axes, strict=True):
                back = [axes.index(i) for i in range(len(axes))]
                tables[k] = table.permute(len(axes), *back)
        return tuple(tables)

    def unary(self, evidence: Evidence, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The logarithm of what is seen of every variable."""
        found = []
        for states, members in zip(self.kinds, self.variables, strict=True):
            table = torch.zeros(states, evidence.rows, len(members), dtype=dtype)
            seen = [v for v in members.tolist() if v in evidence.codes]
            if seen:
                codes = torch.from_numpy(np.stack([evidence.codes[v] for v in seen], -1))
                other = torch.arange(states)[:, None, None] != codes
                where = torch.from_numpy(self.place[seen])
                table[:, :, where] = table[:, :, where].masked_fill(
                    other & (codes != MISSING), -torch.inf
                )
            soft = [v for v in members.tolist() if v in evidence.soft]
            if soft:
                likely = torch.stack([evidence.soft[v].cpu() for v in soft], -1).transpose(0, 1)
                logs = torch.where(likely > 0, likely, 1.0).log().to(dtype)
                logs = logs.masked_fill(likely <= 0, -torch.inf)
                where = torch.from_numpy(self.place[soft])
                table = table.index_add(2, where, logs)
            found.append(table.to(self.device))
        return tuple(found)


def spread(table: Tensor, axis: int, axes: int) -> Tensor:
    """A table (states, rows, factors) as one of several axes, one state long along the others."""
    shape = [1] * axes
    shape[axis] = table.shape[0]
    return table.reshape(*shape, *table.shape[1:])


def log_sum(table: Tensor, axes: Sequence[int]) -> Tensor:
    """The logarithm of the sum of exponentials; zeros, throughout too, have derivative zero."""
    axes = tuple(axes)
    if not axes:
        return table
    if not torch.is_grad_enabled():
        return torch.logsumexp(table, axes)
    largest = table.detach().amax(axes, keepdim=True)
    largest = largest.masked_fill(largest == -torch.inf, 0.0)
    total = (table - largest).exp().sum(axes)
    positive = total > 0
    logs = torch.where(positive, total, 1.0).log() + largest.reshape(total.shape)
    return torch.where(positive, logs, -torch.inf)
