r"""Factorizations as they are written in textbooks.

A directed factorization :math:`P(x) = \prod_i P(x_i \mid \mathrm{pa}_i)` is a DAG with an edge from
every conditioning variable to the variable it conditions. An undirected one
:math:`P(x) = \frac{1}{Z} \prod_k \phi_k(x_{C_k})` is the graph in which every scope :math:`C_k` is
complete (Koller and Friedman 2009, definitions 3.4 and 4.4).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import networkx as nx

from graphs.language.notation import Node, latex_name, text_name
from graphs.structure.search import require_acyclic


@dataclass(frozen=True)
class Factor:
    """One factor: a conditional ``P(variables | given)`` or a potential ``name(variables)``.

    >>> factor = graphs.parse("P(M) P(S) P(I|M,S)").factors[2]
    >>> factor.variables, factor.given
    (('I',), ('M', 'S'))
    >>> print(factor, graphs.Factor("φ1", ("A", "B")))
    P(I | M, S) φ1(A, B)
    """

    name: str
    variables: tuple[Node, ...]
    given: tuple[Node, ...] = ()

    @property
    def scope(self) -> tuple[Node, ...]:
        """Every variable the factor mentions."""
        return self.variables + self.given

    def __str__(self) -> str:
        bar = f" | {', '.join(map(text_name, self.given))}" if self.given else ""
        return f"{self.name}({', '.join(map(text_name, self.variables))}{bar})"

    def latex(self) -> str:
        """The factor as LaTeX, without dollar signs."""
        symbol = re.sub(r"^(φ|ψ|Φ|Ψ|f)(.*)$", _latex_potential, self.name)
        bar = rf" \mid {', '.join(map(latex_name, self.given))}" if self.given else ""
        return f"{symbol}({', '.join(map(latex_name, self.variables))}{bar})"


def _latex_potential(match: re.Match[str]) -> str:
    letter = {"φ": r"\phi", "ψ": r"\psi", "Φ": r"\Phi", "Ψ": r"\Psi"}.get(match[1], match[1])
    return letter + (f"_{{{match[2]}}}" if match[2] else "")


@dataclass(frozen=True, eq=False)
class Factorization:
    """A distribution written as a product of factors.

    Two are equal when their factors, nodes and constant are, whether or not a left-hand side was
    written.

    Attributes:
        factors: the factors in the order they were written.
        directed: whether they are conditional distributions (a Bayesian network) or potentials
            (a Markov network, normalised by 1/Z).
        nodes: the variables, in the order of the left-hand side, or of first appearance.
        constant: a positive number that multiplies the potentials, as in ``5 phi1(A,B)``; it
            multiplies Z by as much and leaves every probability as it was.
        graph: the networkx ``DiGraph`` or ``Graph`` the product implies; treat it as read-only.

    Raises:
        ValueError: a variable with two conditionals or none, a repeated variable in a scope, a
            directed cycle, no factor at all, or a constant that is not positive or stands before
            conditionals, which already sum to one.

    >>> chain = graphs.parse("P(A) P(B|A) P(C|B)")
    >>> chain.nodes, chain.edges
    (('A', 'B', 'C'), (('A', 'B'), ('B', 'C')))
    >>> chain == graphs.parse("P(A,B,C) = P(A) P(B|A) P(C|B)")
    True
    >>> print(graphs.parse("phi1(A,B) phi2(B,C) phi3(A,C)"))
    P(A, B, C) = 1/Z φ1(A, B) φ2(B, C) φ3(A, C)
    """

    factors: tuple[Factor, ...]
    directed: bool
    order: tuple[Node, ...] = ()
    constant: float = 1.0

    def __post_init__(self) -> None:
        _validate(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factorization) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.factors, self.directed, self.nodes, self.constant

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return self.order or tuple(dict.fromkeys(v for f in self.factors for v in f.scope))

    @cached_property
    def graph(self) -> nx.DiGraph | nx.Graph:
        graph = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(self.nodes)
        for factor in self.factors:
            if self.directed:
                graph.add_edges_from(chain_rule_edges(factor))
            else:
                graph.add_edges_from(combinations(factor.variables, 2))
        return graph

    @property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        return tuple(self.graph.edges)

    @property
    def scopes(self) -> tuple[frozenset[Node], ...]:
        """The scope of every factor, as sets."""
        return tuple(frozenset(f.scope) for f in self.factors)

    def __str__(self) -> str:
        constant = "" if self.directed else f"{_plain(self.constant)}/Z "
        left = f"P({', '.join(map(text_name, self.nodes))})"
        return f"{left} = {constant}{' '.join(map(str, self.factors))}"

    def latex(self) -> str:
        r"""The factorization as LaTeX, without dollar signs; :func:`graphs.parse` reads it."""
        constant = "" if self.directed else rf"\frac{{{_plain(self.constant)}}}{{Z}}\,"
        left = f"P({', '.join(map(latex_name, self.nodes))})"
        return f"{left} = {constant}" + r"\,".join(f.latex() for f in self.factors)

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"


def _plain(number: float) -> str:
    return short if float(short := f"{number:g}") == number else repr(number)


def chain_rule_edges(factor: Factor) -> Iterator[tuple[Node, Node]]:
    """Edges of P(a, b | c): c to each, and a to b, since it equals P(a | c) P(b | a, c)."""
    parents = list(factor.given)
    for variable in factor.variables:
        yield from ((parent, variable) for parent in parents)
        parents.append(variable)


def _validate(f: Factorization) -> None:
    if not f.factors:
        raise ValueError("expected at least one factor, got none")
    if not (0 < f.constant < math.inf and (f.constant == 1 or not f.directed)):
        allowed = "1 before conditional distributions" if f.directed else "a positive constant"
        raise ValueError(f"expected {allowed}, got {f.constant!r}")
    for factor in f.factors:
        if len(set(factor.scope)) < len(factor.scope):
            raise ValueError(f"expected distinct variables in a factor, got {factor}")
        if not factor.variables:
            raise ValueError(f"expected at least one variable in a factor, got {factor}")
    if f.directed:
        heads = Counter(v for factor in f.factors for v in factor.variables)
        for v, count in heads.items():
            if count > 1:
                twice = [str(factor) for factor in f.factors if v in factor.variables]
                raise ValueError(
                    f"expected one conditional distribution per variable, got {count} "
                    f"for {v!r}: {', '.join(twice)}"
                )
        for factor in f.factors:
            for v in factor.given:
                if v not in heads:
                    raise ValueError(
                        f"expected a factor P({v}) or P({v} | ...) because {factor} conditions "
                        f"on {v!r}, got none"
                    )
        require_acyclic(f.graph)
    mentioned = {v for factor in f.factors for v in factor.scope}
    if f.order and set(f.order) != mentioned:
        odd = sorted(map(str, set(f.order) ^ mentioned))
        raise ValueError(
            "expected the same variables on both sides of the factorization, got "
            f"{', '.join(odd)} on one side only"
        )
