"""What exact and approximate inference in a discrete model have in common.

A model as checked tables, the settings of torch, the names of nodes and states, and every answer
that follows from marginals and joint distributions, however they are had.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.inference.evidence import MISSING, Evidence, read_evidence
from graphs.inference.potentials import LogPotentials, replaced
from graphs.language.notation import Node
from graphs.parameters.bridge import tables_of
from graphs.parameters.checking import checked
from graphs.parameters.tables import Tables
from graphs.structure.factorization import Factorization
from graphs.structure.models import Model
from graphs.structure.nodes import contains, unknown

MAX_BYTES = 1 << 31


def model_tables(model: Model) -> Tables:
    """The checked tables of a model, or of a pair of a factorization and its arrays.

    Raises:
        ValueError: another type, or tables that do not fit (:mod:`graphs.parameters.tables`).
    """
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Factorization):
        structure, arrays = model
        arrays = list(arrays)
        if len(arrays) != len(structure.factors):
            raise ValueError(
                f"expected one table for each of {len(structure.factors)} factors, "
                f"got {len(arrays)}"
            )
        if structure.directed and (joint := [f for f in structure.factors if len(f.variables) > 1]):
            raise ValueError(
                "expected tables of one variable each given others, got the joint distribution "
                f"{joint[0]}"
            )
        scopes = [
            (*f.given, *f.variables) if structure.directed else f.scope for f in structure.factors
        ]
        return checked(list(zip(scopes, arrays, strict=True)), None, structure.directed)
    return tables_of(model)


def checked_settings(
    dtype: torch.dtype,
    device: torch.device | str | None,
    max_bytes: int,
    order_seconds: float = 0.0,
) -> torch.device:
    """The device named, by default the CPU, after a look at all settings.

    Raises:
        ValueError: a type that is not of real numbers, a device that torch does not know or this
            machine does not have, no memory, a time that is no number.
    """
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"expected torch.float32 or torch.float64, got {dtype}")
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, (int, np.integer)) or max_bytes < 1:
        raise ValueError(f"expected a positive number of bytes, got {max_bytes!r}")
    if isinstance(order_seconds, bool) or not isinstance(order_seconds, (int, float)):
        raise ValueError(f"expected a number of seconds, got {order_seconds!r}")
    try:
        zero = torch.zeros((), device=device or "cpu")
        zero.item()
        return zero.device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"expected a torch device, got {device!r}: {reason}") from None


def require_possible(
    log_z: np.ndarray, evidence: Evidence, states: Mapping[Node, Sequence[Hashable]]
) -> None:
    """Raise ``ValueError`` naming the first row of evidence that has no probability, if any has."""
    bad = np.flatnonzero(np.isneginf(log_z))
    if not bad.size:
        return
    row, nodes = int(bad[0]), list(states)
    seen = {
        nodes[v]: states[nodes[v]][code[row]]
        for v, code in evidence.codes.items()
        if code[row] != MISSING
    }
    likely = {nodes[v]: f"likelihood {t[row].tolist()}" for v, t in evidence.soft.items()}
    if not seen and not likely:
        raise ValueError("expected a model with some possible assignment, got Z = 0")
    parts = [f"{node!r}: {state!r}" for node, state in seen.items()]
    parts += [f"{node!r}: {text}" for node, text in likely.items()]
    shown = ", ".join(parts[:12]) + (", ..." if len(parts) > 12 else "")
    where = "" if evidence.single else f" in row {row}"
    more = f" (and {bad.size - 1} other rows)" if bad.size > 1 else ""
    raise ValueError(
        f"expected evidence of positive probability, got impossible evidence{where}{more}: "
        f"{{{shown}}}"
    )


class Queries:
    """Questions about the nodes of a model, by name.

    Args:
        tables: of the model.
        dtype, device: of the answers.
    """

    def __init__(self, tables: Tables, dtype: torch.dtype, device: torch.device):
        self.dtype, self.device = dtype, device
        self.states: dict[Node, tuple[Hashable, ...]] = dict(tables.states)
        self.factors = tuple(scope for scope, _ in tables.factors)
        self._nodes = tuple(self.states)
        self._numbers = {node: i for i, node in enumerate(self._nodes)}

    @property
    @abstractmethod
    def _logarithms(self) -> Sequence[Tensor]:
        """Logarithms of the factors, on the device and in the precision of sums."""

    @abstractmethod
    def _marginals(self, observed: Evidence) -> dict[Node, Tensor]:
        """The distribution of every node that is not observed in every row."""

    @abstractmethod
    def _joint(self, nodes: tuple[int, ...], observed: Evidence) -> Tensor:
        """The joint distribution of some nodes, after an axis of rows unless there is one row."""

    # --- Answers --------------------------------------------------------------------------------

    def table(self, evidence: Any = None, *, likelihoods: Any = None) -> Any:
        """The marginals as a pandas ``DataFrame``, for reading.

        >>> graphs.JunctionTree(graphs.textbook.sprinkler()).table({"rain": "yes"}).head(2).round(3)
             node state  probability
        0  cloudy   yes          0.8
        1  cloudy    no          0.2

        Returns:
            Columns ``node``, ``state`` (its name) and ``probability``, in the order of
            ``tree.states``; for rows of evidence the index is the number of the row, named ``row``.

        Raises:
            ValueError: impossible evidence, naming the row.
        """
        import pandas as pd

        observed = read_evidence(evidence, self.states, likelihoods)
        answers = self._marginals(observed)
        rows = range(observed.rows)
        entries = [(v, s) for v in answers for s in self.states[v]]
        columns = [p.cpu().reshape(observed.rows, -1) for p in answers.values()]
        values = torch.cat(columns, 1) if columns else torch.empty(observed.rows, 0)
        frame = pd.DataFrame(
            {
                "node": _objects([v for v, _ in entries] * len(rows)),
                "state": _objects([s for _, s in entries] * len(rows)),
                "probability": values.reshape(-1).numpy(),
            }
        )
        if not observed.single:
            frame.index = pd.Index(np.repeat(rows, len(entries)), name="row")
        return frame

    def query(self, nodes: Any, evidence: Any = None, *, likelihoods: Any = None) -> Tensor:
        """The joint distribution of some nodes, whether or not a clique holds them all.

        Returns:
            A tensor with one axis of states per node in the order named, after one of rows.

        Raises:
            ValueError: unknown or repeated nodes, nodes that are observed, impossible evidence.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        return self._joint(self._named(nodes, "nodes"), observed)

    def entropy(self, nodes: Any, evidence: Any = None, *, likelihoods: Any = None) -> Tensor:
        r""":math:`H(A) = -\sum_a P(a) \log P(a)` in nats, of some nodes together.

        Returns:
            A scalar, or (rows,).

        Raises:
            ValueError: unknown, repeated or observed nodes, none, impossible evidence.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        joint = self._joint(self._named(nodes, "nodes"), observed)
        return torch.special.entr(joint).sum(tuple(range(0 if observed.single else 1, joint.dim())))

    def mutual_information(
        self, a: Any, b: Any, evidence: Any = None, *, likelihoods: Any = None
    ) -> Tensor:
        r""":math:`I(A; B) = H(A) + H(B) - H(A, B)` in nats, of two disjoint sets of nodes.

        Returns:
            A scalar, or (rows,).

        Raises:
            ValueError: as in :meth:`entropy`, or a node in both sets.
        """
        observed = read_evidence(evidence, self.states, likelihoods)
        first, second = self._named(a, "a"), self._named(b, "b")
        if not (first and second):
            raise ValueError(f"expected at least one node in each set, got {a!r} and {b!r}")
        if both := set(first) & set(second):
            names = ", ".join(repr(self._nodes[v]) for v in sorted(both))
            raise ValueError(f"expected disjoint sets of nodes, got {names} in both")
        joint = self._joint((*first, *second), observed)
        rows = 0 if observed.single else 1
        axes = range(rows, joint.dim())
        left, right = tuple(axes[: len(first)]), tuple(axes[len(first) :])
        product = joint.sum(right, keepdim=True) * joint.sum(left, keepdim=True)
        terms = torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, product)
        return terms.sum(tuple(axes)).clamp_min(0)

    def log_tables(self) -> list[Tensor]:
        """The logarithms of the factors, to start from: one tensor for each of ``tree.factors``."""
        return [table.to(self.dtype, copy=True) for table in self._logarithms]

    def with_potentials(self, log_potentials: LogPotentials = None) -> list[Tensor]:
        """The logarithms of the factors, with those given (:meth:`log_partition`) in their places.

        They are in the precision of sums and may be the tree's own: not to be written to.

        Raises:
            ValueError: another number of tensors, another shape, a position that is none, NaN or
                plus infinity.
        """
        return replaced(self._logarithms, self.factors, log_potentials)

    def _unobserved(self, nodes: tuple[int, ...], observed: Evidence) -> tuple[int, ...]:
        if not nodes:
            raise ValueError("expected at least one node, got none")
        for v in nodes:
            if v in observed.codes:
                raise ValueError(
                    f"expected nodes without evidence, got {self._nodes[v]!r}, which is observed"
                )
        return nodes

    # --- Names ----------------------------------------------------------------------------------

    def _named(self, nodes: Any, role: str) -> tuple[int, ...]:
        """Numbers of one node or an iterable of nodes, in their order."""
        if contains(self._numbers, nodes):
            return (self._numbers[nodes],)
        if isinstance(nodes, (str, int)) or not hasattr(nodes, "__iter__"):
            nodes = (nodes,)
        numbers = []
        for node in nodes:
            if not contains(self._numbers, node):
                raise ValueError(
                    f"expected nodes of the model for {role}, got {unknown(self._nodes, node)}"
                )
            if self._numbers[node] in numbers:
                raise ValueError(f"expected distinct nodes for {role}, got {node!r} twice")
            numbers.append(self._numbers[node])
        return tuple(numbers)


def _objects(values: Sequence[Any]) -> np.ndarray:
    """A column that keeps names of any type as they are, tuples too."""
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column
