r"""Exact inference: partition functions, marginals, the best assignment, samples.

A discrete model is a product of tables, :math:`P(x) = \frac{1}{Z} \prod_k T_k(x_{C_k})`; in a
Bayesian network they are the conditional distributions and :math:`Z = 1`. With evidence :math:`e`,
:math:`Z(e) = \sum_{x \sim e} \prod_k T_k`, so that :math:`P(e) = Z(e)/Z`. Everything here is a sum
of products, done by the contractions of :mod:`graphs.inference.contraction` in an order from
:mod:`graphs.inference.elimination` (Lauritzen and Spiegelhalter 1988; Koller and Friedman 2009,
chapter 10).

On the CPU rows of evidence run through compiled code, in blocks that stay in the cache. The first
half second of a process's work, counted in cells and not by the clock, runs in plain numpy instead,
so that a small question does not wait for numba; the answers agree to 1e-12. On other devices,
where a gradient is wanted, and for rows whose numbers span more than a float can hold, the same
program runs in logarithms on torch.

A tree too large for the memory allowed is conditioned on a cutset (Pearl 1988, section 4.3): with
the variables :math:`C` fixed to each of their states in turn the rest is easier, and :math:`Z =
\sum_c Z(c)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.inference.assignments import MAXIMISE, SAMPLE
from graphs.inference.engine import Engine
from graphs.inference.evidence import Evidence, read_evidence
from graphs.inference.potentials import LogPotentials
from graphs.inference.queries import (
    MAX_BYTES,
    Queries,
    checked_settings,
    model_tables,
    require_possible,
)
from graphs.inference.representation import tree_table
from graphs.inference.routing import Cost
from graphs.language.notation import Node
from graphs.structure.models import Model


class JunctionTree(Queries):
    """Exact answers about a discrete model, for many rows of evidence at once.

    Args:
        model: a pgmpy Bayesian network, Markov network or factor graph, or a pair of a
            :class:`graphs.Factorization` and its tables in the order of its factors.
        evidence_variables: nodes that will be observed. They are left out when the tree is built,
            which makes it smaller; evidence on other nodes, or missing on these, works too.
        dtype: of the answers; sums on the CPU are in double precision.
        device: where tensors live. Another device than the CPU runs in logarithms in ``dtype``.
        max_bytes: memory for tables while computing. A tree that needs more is conditioned on a
            cutset, and refused if that takes too long.
        order_seconds: the longest search for an elimination order; below it the order depends on
            the model alone.
        progress: whether to show a progress bar over rows of evidence.

    Attributes:
        states: for each node the names of its states, in the order of the columns of all answers.
        factors: the scopes of the model's factors, in order: a Bayesian network has one per node,
            the parents and then the node itself, with the axes of its table in that order.
        cost: the :class:`Cost` predicted.

    Evidence is a dict from nodes to one state, or to a sequence of one state per row, or a
    DataFrame. A state is given by its name; an integer that is no name is an index where no state
    is a number or the text of one, and what may mean two states is refused
    (:mod:`graphs.parameters.states`). Missing values are None or NaN. Without rows, answers have no
    leading axis of rows. Natural logarithms throughout.

    What has been seen of a node may also be only likely: ``likelihoods`` is a dict from nodes to
    the probability of what was seen given each state, (states,) or (rows, states), up to a factor
    (Pearl 1988, section 2.2.2). A row may be given by the names of states.

    >>> tables = [("A", (), [0.7, 0.3]), ("B", "A", [[0.9, 0.1], [0.2, 0.8]])]
    >>> model = graphs.bayesian_network(tables, states={"B": ("yes", "no")})
    >>> tree = graphs.JunctionTree(model, evidence_variables=["B"])
    >>> tree.marginals({"B": ["yes", "no"]})["A"]
    tensor([[0.9130, 0.0870],
            [0.2258, 0.7742]], dtype=torch.float64)
    >>> tree.marginals(likelihoods={"B": {"yes": 0.8, "no": 0.2}})["A"]
    tensor([0.8436, 0.1564], dtype=torch.float64)

    Raises:
        ValueError: tables that do not fit the model (:mod:`graphs.parameters.tables`), unknown
            nodes, a device that is not there.
    """

    def __init__(
        self,
        model: Model,
        evidence_variables: Any = (),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        order_seconds: float = 2.0,
        progress: bool = False,
    ):
        where = checked_settings(dtype, device, max_bytes, order_seconds)
        tables = model_tables(model)
        super().__init__(tables, dtype, where)
        self._engine = Engine(
            names=self._nodes,
            sizes=[len(names) for names in self.states.values()],
            scopes=[tuple(self._numbers[v] for v in scope) for scope in self.factors],
            tables=[table for _, table in tables.factors],
            hint=frozenset(self._named(evidence_variables, "evidence_variables")),
            dtype=dtype,
            device=self.device,
            max_bytes=max_bytes,
            order_seconds=order_seconds,
            progress=progress,
        )

    def __repr__(self) -> str:
        cost = self.cost
        return (
            f"JunctionTree({len(self._nodes)} nodes, {len(self.factors)} factors, "
            f"treewidth {cost.treewidth}, {Decimal(cost.cells):.3g} cells, "
            f"{Decimal(cost.bytes):.3g} bytes)"
        )

    def _repr_html_(self) -> str:
        headline = f"JunctionTree of {len(self._nodes)} nodes and {len(self.factors)} factors"
        return tree_table(headline, self.cost, self.states)

    @cached_property
    def cost(self) -> Cost:
        """The cost predicted for all marginals given the evidence variables."""
        return self._engine.cost()

    # --- Queries --------------------------------------------------------------------------------

    def log_partition(
        self,
        evidence: Any = None,
        log_potentials: LogPotentials = None,
        *,
        likelihoods: Any = None,
    ) -> Tensor:
        r"""log Z(e); for a Bayesian network log P(e).

        Args:
            evidence: observed states.
            log_potentials: tensors to use in place of the logarithms of the factors, and to
                differentiate through: one per factor in the order and with the axes of
                ``tree.factors``, or a dict from positions in that order to tensors. The derivative
                of log Z in an entry is the marginal probability of that entry.
            likelihoods: of what is not certain, a factor of Z each; positive tensors may be
                differentiated through.

        Returns:
            A scalar, or (rows,); minus infinity where the evidence is impossible, as that is its
            log-probability. What is conditional on such evidence is refused.

        Raises:
            ValueError: unknown nodes or states, or what :meth:`with_potentials` refuses.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        if log_potentials is not None or observed.differentiable:
            log_z = self._engine.log_partition(observed, self.with_potentials(log_potentials))
        else:
            log_z = torch.from_numpy(self._engine.solve(observed).log_z)
        log_z = log_z.to(self.device, self.dtype)
        return log_z[0] if observed.single else log_z

    def marginals(self, evidence: Any = None, *, likelihoods: Any = None) -> dict[Node, Tensor]:
        """The distribution of every node that is not observed in every row.

        Returns:
            For each node a tensor (states,), or (rows, states).

        Raises:
            ValueError: impossible evidence, naming the row.
        """
        return self._marginals(read_evidence(evidence, self.states, likelihoods))

    def _marginals(self, observed: Evidence) -> dict[Node, Tensor]:
        result = self._engine.solve(observed, marginals=True)
        require_possible(result.log_z, observed, self.states)
        columns = self._tensor(result.columns)
        answers: dict[Node, Tensor] = {}
        start = 0
        for v in observed.missing_somewhere(len(self._nodes)):
            node = self._nodes[v]
            column = columns[:, start : start + len(self.states[node])]
            start += len(self.states[node])
            answers[node] = column[0] if observed.single else column
        return answers

    def map(
        self, evidence: Any = None, nodes: Any = None, *, likelihoods: Any = None
    ) -> dict[Node, Any]:
        r"""The most probable states of the unobserved nodes together, or of some of them.

        For some nodes :math:`A` it is :math:`\arg\max_a \sum_b P(a, b \mid e)`, with all others
        summed out first (Koller and Friedman 2009, section 13.2.3), which may take a far larger
        tree than the maximum over all nodes. Where several assignments are equally probable one of
        them is returned, always the same.

        Args:
            evidence: observed states.
            nodes: one node or several without evidence; by default all that are unobserved.
            likelihoods: of what is not certain.

        Returns:
            For each of these nodes the name of its state, or a list of one per row.

        Raises:
            ValueError: impossible evidence, naming the row; unknown, repeated or observed nodes,
                none; sums that do not fit ``max_bytes``, with what they take.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        free = observed.missing_somewhere(len(self._nodes))
        asked = free if nodes is None else self._unobserved(self._named(nodes, "nodes"), observed)
        only = () if set(asked) >= set(free) else asked
        chosen, values = self._engine.assign(observed, 1, MAXIMISE, self._engine.log_tables, only)
        require_possible(values, observed, self.states)
        answers: dict[Node, Any] = {}
        for v in asked:
            names = self.states[self._nodes[v]]
            row = [names[i] for i in chosen[v][0].tolist()]
            answers[self._nodes[v]] = row[0] if observed.single else row
        return answers

    def sample(
        self,
        n: int,
        evidence: Any = None,
        log_potentials: LogPotentials = None,
        *,
        likelihoods: Any = None,
    ) -> dict[Node, Tensor]:
        """Independent exact draws of the unobserved nodes given the evidence.

        Randomness comes from torch's global generator (``torch.manual_seed``).

        Returns:
            For each unobserved node the indices of its states, (n,) or (n, rows).

        Raises:
            ValueError: impossible evidence, naming the row.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise ValueError(f"expected a number of draws, got {n!r}")
        observed = read_evidence(evidence, self.states, likelihoods)
        tables = self.with_potentials(log_potentials)
        chosen, values = self._engine.assign(observed, max(int(n), 1), SAMPLE, tables)
        require_possible(values, observed, self.states)
        return {
            self._nodes[v]: chosen[v][:n, 0] if observed.single else chosen[v][:n]
            for v in observed.missing_somewhere(len(self._nodes))
        }

    def _joint(self, nodes: tuple[int, ...], observed: Evidence) -> Tensor:
        nodes = self._unobserved(nodes, observed)
        result = self._engine.solve(observed, keep=nodes)
        require_possible(result.log_z, observed, self.states)
        shape = [len(self.states[self._nodes[v]]) for v in nodes]
        joint = self._tensor(result.columns).reshape(observed.rows, *shape)
        return joint[0] if observed.single else joint

    @property
    def _logarithms(self) -> Sequence[Tensor]:
        return self._engine.log_tables

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device, self.dtype)
