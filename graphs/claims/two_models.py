r"""Models in which a claim about an effect fails, found by numbers and verified.

One model in which both sides differ refutes an equality. Of a formula in what is observed, more can
be said where the graph leaves the effect open: two models :math:`\theta_1, \theta_2` with the same
:math:`P(o)` and different :math:`P(y \mid \mathrm{do}(x))`, so that no formula in :math:`P(o)`
whatever is the effect. Tables as functions of log-odds :math:`\theta`, the models with a given
:math:`P(o)` are a manifold; along its tangent, the kernel of the Jacobian :math:`J`, the effect
changes at the rate

.. math::  d = (I - J^{+} J)\, \nabla_\theta P(y \mid \mathrm{do}(x)),

which is zero at random :math:`\theta` if the effect is a function of :math:`P(o)`. Steps along d,
each followed by Newton's method back to the manifold, lead to the second model. Derivatives are
exact: :math:`\operatorname{Im} f(\theta + i h e_k) / h` with an h so small that its square is
nothing (Squire and Trapp 1998), for all k at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt
import opt_einsum

from graphs.claims.effect_texts import Formula, Symbol, Term
from graphs.inference.junction_tree import JunctionTree
from graphs.language.notation import Node, text_name
from graphs.language.statements import listing
from graphs.parameters.networks import bayesian_network
from graphs.structure.factorization import Factor, Factorization
from graphs.structure.search import ancestors

MOST_CELLS, MOST_OBSERVED, MOST_PARAMETERS, MOST_PARENTS = 1 << 20, 256, 400, 12
EQUAL, DIFFERENT = 1e-9, 1e-3
DRAWS, MOST_DRAWS, STEPS, APART, PLAIN = 3, 40, 60, 0.15, 0.03

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Disagreement:
    """One or two models, with tables over part of a graph, that refute a claim about an effect.

    Attributes:
        graph: the DAG, latent common causes included.
        part: the part of it whose arrows do something.
        tables: for every model the tables by node; other nodes are fair coins.
        observed: with two models, what they agree on.
        asked: the probability at which the sides differ, in words.
        effects: that probability in every model.
        claimed: what the claim says it is, in the first.
    """

    graph: nx.DiGraph
    part: nx.DiGraph
    tables: tuple[Mapping[Node, Array], ...]
    observed: tuple[Node, ...]
    asked: str
    effects: tuple[float, ...]
    claimed: float

    def networks(self) -> tuple[Any, ...]:
        """The models as pgmpy networks with a table for every node of the graph."""
        return tuple(
            bayesian_network((v, *self._table(v, tables)) for v in self.graph)
            for tables in self.tables
        )

    def _table(self, v: Node, tables: Mapping[Node, Array]) -> tuple[tuple[Node, ...], Any]:
        """The parents, those that v does not depend on first, and the table."""
        own = tables.get(v, np.full(2, 0.5))
        given = tuple(self.part.predecessors(v)) if v in self.part else ()
        inert = tuple(u for u in self.graph.predecessors(v) if u not in given)
        if len(inert) + len(given) > MOST_PARENTS:
            return given, own
        sizes = [tables[u].shape[-1] if u in tables else 2 for u in inert]
        return (*inert, *given), np.broadcast_to(own, (*sizes, *own.shape))

    def __str__(self) -> str:
        if len(self.tables) == 1:
            (effect,) = self.effects
            return (
                f"In a model of this graph {self.asked} is {effect:.4f}, where the formula gives "
                f"{self.claimed:.4f}."
            )
        first, second = self.effects
        return (
            f"Two models of this graph agree on P({listing(self.observed)}), and {self.asked} is "
            f"{first:.4f} in one and {second:.4f} in the other: no formula in these gives it."
        )


def single_model(
    graph: nx.DiGraph, part: nx.DiGraph, left: Term, right: Formula
) -> Disagreement | None:
    """A model in which the sides differ, or ``None`` if they are equal in all that are drawn.

    Both sides are rational functions of the tables, so that sides which are not equal differ at
    almost all (Schwartz 1980).

    Args:
        graph: the DAG.
        part: the part of it in which arrows do something.
        left, right: the sides.

    Raises:
        ValueError: too large a part to be summed.
    """
    best, found = EQUAL, None
    for draw in range(MOST_DRAWS):
        sizes = _sizes(part, 2 if found or draw < DRAWS else 3)
        parameters = _Parameters(part, sizes)
        tables = parameters.tables(parameters.random(draw)[None])
        ours, theirs = (
            _value(side, part, tables, sizes, left.symbols)[0] for side in (Formula((left,)), right)
        )
        gap = abs(ours - theirs)
        if gap.max() > best:
            best, cell = gap.max(), np.unravel_index(gap.argmax(), gap.shape)
            found = Disagreement(
                graph, part, (_row(tables, 0),), (), _asked(left, cell), (float(ours[cell]),),
                float(theirs[cell]),
            )  # fmt: skip
        if best > PLAIN or (found is None and draw == DRAWS):
            break
    return found


def two_models(
    graph: nx.DiGraph, part: nx.DiGraph, left: Term, right: Formula
) -> Disagreement | None:
    """Two models that agree on what the right side mentions and differ in the left side.

    ``None`` where none is found, which mostly means that the effect is known from these variables
    in another way.

    Args:
        graph: the DAG.
        part: the part of it in which arrows do something.
        left, right: the sides.
    """
    order = tuple(v for v in part if v in right.nodes | {s.node for s in left.symbols})
    sizes = _sizes(part, 2)
    parameters = _Parameters(part, sizes)
    if 2 ** len(order) > MOST_OBSERVED or parameters.count > MOST_PARAMETERS:
        return None
    cell = tuple(1 for _ in left.symbols)
    every: tuple[Any, ...] = (slice(None), *cell)

    def seen(theta: Array) -> Array:
        joint = _joint(part, parameters.tables(theta), sizes, order, ())
        return joint.reshape(len(theta), -1)

    def effect(theta: Array) -> Array:
        return _term(left, part, parameters.tables(theta), sizes)[every][:, None]

    for draw in range(DRAWS):
        first = parameters.random(draw)
        second = _along(first, seen, effect)
        if second is None:
            continue
        both = parameters.tables(np.stack([first, second]))
        claimed = _value(right, part, both, sizes, left.symbols)[(0, *cell)]
        effects = effect(np.stack([first, second]))[:, 0]
        found = Disagreement(
            graph, part, (_row(both, 0), _row(both, 1)), order, _asked(left, cell),
            (float(effects[0]), float(effects[1])), float(claimed),
        )  # fmt: skip
        if _verified(found, left, cell):
            return found
    return None


def _along(
    start: Array, seen: Callable[[Array], Array], effect: Callable[[Array], Array]
) -> Array | None:
    """Parameters with another effect and the same distribution of what is seen, or ``None``."""
    (same,), ((before,),) = seen(start[None]), effect(start[None])
    theta = start
    for _ in range(STEPS):
        (slope,), slopes = _jacobian(effect, theta), _jacobian(seen, theta)
        free = slope - np.linalg.pinv(slopes, rcond=1e-9) @ (slopes @ slope)
        if np.linalg.norm(free) < 1e-6:
            return None
        theta = theta + 0.3 * free / np.linalg.norm(free)
        for _ in range(8):
            miss = same - seen(theta[None])[0]
            if abs(miss).max() < 1e-14:
                break
            theta = theta + np.linalg.pinv(_jacobian(seen, theta), rcond=1e-9) @ miss
        if not np.isfinite(theta).all() or abs(same - seen(theta[None])[0]).max() > 1e-11:
            return None
        if abs(effect(theta[None])[0, 0] - before) > APART:
            break
    return theta


def _jacobian(function: Callable[[Array], Array], theta: Array) -> Array:
    """The derivatives of every output (a row) in every parameter."""
    tiny = 1e-40
    return function(theta + 1j * tiny * np.eye(len(theta))).imag.T / tiny


def _verified(found: Disagreement, left: Term, cell: Sequence[Any]) -> bool:
    """Whether exact inference sees the models agree and the effects differ."""
    observed, effects = [], []
    done = {s.node: cell[left.symbols.index(s)] for s in left.done}
    head = tuple(s.node for s in left.head)
    given = {s.node: cell[left.symbols.index(s)] for s in left.given}
    for tables in found.tables:
        observed.append(JunctionTree(_model(found.part, tables, {})).query(found.observed))
        tree = JunctionTree(_model(found.part, tables, done))
        effects.append(float(tree.query(head, given or None)[tuple(cell[: len(head)])]))
    agree = float((observed[0] - observed[1]).abs().max()) < EQUAL
    return agree and abs(effects[0] - effects[1]) > DIFFERENT


def _model(part: nx.DiGraph, tables: Mapping[Node, Array], done: Mapping[Node, int]) -> Any:
    """The part with these tables and nodes set, as :class:`graphs.JunctionTree` takes it."""
    factors, arrays = [], []
    for v in part:
        given = () if v in done else tuple(part.predecessors(v))
        factors.append(Factor("P", (v,), given))
        arrays.append(np.eye(tables[v].shape[-1])[done[v]] if v in done else tables[v])
    return Factorization(tuple(factors), True), arrays


def _asked(left: Term, cell: Iterable[Any]) -> str:
    """``P(Y = 1 | do(X = 1))``."""
    stated = [f"{text_name(s.node)} = {i}" for s, i in zip(left.symbols, cell, strict=True)]
    heads, dones = len(left.head), len(left.symbols) - len(left.done)
    after = [*stated[heads:dones], *(f"do({text})" for text in stated[dones:])]
    return f"P({', '.join(stated[:heads])} | {', '.join(after)})"


# --- Parameters ---------------------------------------------------------------------------------


def _sizes(part: nx.DiGraph, states: int) -> dict[Node, int]:
    """States of every node: of latent ones another, since they carry what nobody sees."""
    return {v: states + (states > 2 and bool(data.get("latent"))) for v, data in part.nodes.items()}


class _Parameters:
    """All tables over a DAG as one vector, of the log-odds of every state against the first."""

    def __init__(self, part: nx.DiGraph, sizes: Mapping[Node, int]):
        self.shapes = {v: [*(sizes[u] for u in part.predecessors(v)), sizes[v] - 1] for v in part}
        self.ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])
        self.count = int(self.ends[-1])
        if self.count > MOST_CELLS:
            raise ValueError(f"expected tables of at most {MOST_CELLS} cells, got {self.count}")

    def random(self, seed: int) -> Array:
        """Random parameters with which nodes copy the parity of their parents.

        They do so the more the more nodes there are, since a long path would carry nothing else.
        """
        strength = min(4.0, len(self.shapes) / 6)
        copied = np.concatenate([
            (2 * (np.indices(shape)[:-1].sum(0) % 2) - 1).ravel() * (len(shape) > 1)
            for shape in self.shapes.values()
        ])  # fmt: skip
        return strength * copied + np.random.default_rng(seed).normal(scale=1.5, size=self.count)

    def tables(self, theta: Array) -> dict[Node, Array]:
        """The table of every node, for every row of parameters."""
        parts = np.split(theta, self.ends[:-1], axis=1)
        tables = {}
        for (v, shape), part in zip(self.shapes.items(), parts, strict=True):
            odds = np.exp(part.reshape(-1, *shape))
            odds = np.concatenate([np.ones_like(odds[..., :1]), odds], -1)
            tables[v] = odds / odds.sum(-1, keepdims=True)
        return tables


def _row(tables: Mapping[Node, Array], row: int) -> dict[Node, Array]:
    return {v: table[row] for v, table in tables.items()}


# --- Values -------------------------------------------------------------------------------------
# All arrays have a first axis, the rows of parameters.

ROWS = 0


def _joint(
    part: nx.DiGraph,
    tables: Mapping[Node, Array],
    sizes: Mapping[Node, int],
    keep: Sequence[Node],
    done: Sequence[Node],
) -> Array:
    """P(keep | do(done)) with an axis for each of both."""
    cut = nx.DiGraph(part)
    cut.remove_edges_from([(u, v) for v in done for u in part.predecessors(v)])
    number = {v: i for i, v in enumerate(part, start=ROWS + 1)}
    operands: list[Any] = []
    for v in sorted(ancestors(cut, keep) - set(done), key=number.__getitem__):
        operands += [tables[v], [ROWS, *(number[u] for u in (*part.predecessors(v), v))]]
    for v in done:
        operands += [np.ones(sizes[v]), [number[v]]]
    return _contract(operands, [ROWS, *(number[v] for v in (*keep, *done))])


def _term(
    term: Term, part: nx.DiGraph, tables: Mapping[Node, Array], sizes: Mapping[Node, int]
) -> Array:
    """A distribution, with an axis for each of its symbols."""
    kept = tuple(s.node for s in (*term.head, *term.given))
    joint = _joint(part, tables, sizes, kept, tuple(s.node for s in term.done))
    return joint / joint.sum(tuple(range(1, len(term.head) + 1)), keepdims=True)


def _value(
    formula: Formula,
    part: nx.DiGraph,
    tables: Mapping[Node, Array],
    sizes: Mapping[Node, int],
    order: Sequence[Symbol],
) -> Array:
    """A formula as a function of the symbols in this order."""
    number: dict[Symbol, int] = {}

    def axes(symbols: Sequence[Symbol]) -> list[int]:
        return [number.setdefault(s, len(number) + ROWS + 1) for s in symbols]

    operands: list[Any] = []
    for term in formula.terms:
        operands += [_term(term, part, tables, sizes), [ROWS, *axes(term.symbols)]]
    for symbol in order:
        operands += [np.ones(sizes[symbol.node]), axes([symbol])]
    return _contract(operands, [ROWS, *axes(order)])


def _contract(operands: list[Any], out: Sequence[int]) -> Array:
    path, cost = opt_einsum.contract_path(*operands, out)
    if cost.largest_intermediate > MOST_CELLS:
        raise ValueError(
            f"expected a claim that sums over at most {MOST_CELLS} cells, got "
            f"{int(cost.largest_intermediate)}"
        )
    return opt_einsum.contract(*operands, out, optimize=path)
