r"""Two-slice networks: what repeats in time.

A two-slice network says how a first slice :math:`X_0` is distributed and how every later slice
:math:`X_t` depends on the one before,

.. math::

    P(x_{0:T-1}, s) = P(s) \, \prod_i P(x_{0,i} \mid \mathrm{pa}_0(i))
        \prod_{t=1}^{T-1} \prod_i P(x_{t,i} \mid \mathrm{pa}(i)),

where the parents :math:`\mathrm{pa}(i)` lie in slice t, in slice t - 1, or among the *static*
variables s, which have no time (Dean and Kanazawa 1989; Murphy 2002, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from graphs.language.notation import Node


class Parent(NamedTuple):
    """A parent by its variable and how many slices before the child it lies; static has no lag."""

    variable: Node
    lag: int | None


@dataclass(frozen=True, eq=False, repr=False)
class TwoSlice:
    """A network that repeats in time; :func:`graphs.two_slice` reads one.

    Attributes:
        variables: those of a slice.
        static: variables without time, such as a parameter that all slices share.
        initial: the parents of each variable in the first slice, and of static variables. A
            variable that begins with the second slice is left out.
        parents: the parents of each variable in all later slices.
        states: the names of the states of every variable, or ``None`` without tables.
        initial_tables, tables: an array for each entry of ``initial`` and ``parents``, with axes as
            the parents and then the variable itself; ``None`` without tables.
        latent: variables that cannot be observed.
        first: the number of the first slice, zero unless the model counted from elsewhere.
        warnings: what was suspected when a program was read.

    >>> umbrella = graphs.two_slice(graphs.parse("P(R0) P(Rt|R0) P(U0|R0) P(Ut|Rt)"))
    >>> umbrella
    <TwoSlice R_t, U_t: R_t-1 → R_t, R_t → U_t>
    >>> umbrella.interface
    ('R',)
    """

    variables: tuple[Node, ...]
    static: tuple[Node, ...]
    initial: Mapping[Node, tuple[Parent, ...]]
    parents: Mapping[Node, tuple[Parent, ...]]
    states: Mapping[Node, tuple[Any, ...]] | None = None
    initial_tables: Mapping[Node, np.ndarray] | None = None
    tables: Mapping[Node, np.ndarray] | None = None
    latent: frozenset[Node] = frozenset()
    first: int = 0
    warnings: tuple[str, ...] = field(default=())

    @cached_property
    def interface(self) -> tuple[Node, ...]:
        """The variables that the next slice looks at; given them, the future is independent."""
        seen = {p.variable for parents in self.parents.values() for p in parents if p.lag == 1}
        return tuple(v for v in self.variables if v in seen)

    def node(self, variable: Node, slice_number: int) -> Node:
        """The name of a variable in a slice, counted from zero, of the unrolled network."""
        return variable if variable in self._static else f"{variable}_{slice_number + self.first}"

    @cached_property
    def _static(self) -> frozenset[Node]:
        return frozenset(self.static)

    def parents_at(self, variable: Node, slice_number: int) -> tuple[Parent, ...]:
        """The parents of a variable in a slice."""
        return (self.parents if slice_number else self.initial)[variable]

    def members(self, slice_number: int) -> Iterator[Node]:
        """The variables that a slice has; the first one may lack some."""
        return (v for v in self.variables if slice_number or v in self.initial)

    def __repr__(self) -> str:
        edges = [f"{self._relative(p)} → {v}_t" for v in self.variables for p in self.parents[v]]
        named = ", ".join([*map(str, self.static), *(f"{v}_t" for v in self.variables)])
        return f"<TwoSlice {named}: {', '.join(edges) or 'no edges'}>"

    def _relative(self, parent: Parent) -> str:
        suffix = {None: "", 0: "_t", 1: "_t-1"}[parent.lag]
        return f"{parent.variable}{suffix}"
