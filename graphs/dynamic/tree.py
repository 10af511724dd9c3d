r"""Exact inference along time in memory that does not grow with it.

Filtering holds one message over the interface (:mod:`graphs.dynamic.interface`) and yields each
slice as it comes. Smoothing, the most probable path and draws of paths need both sides of every
slice. They keep the message at every :math:`\lceil\sqrt T\rceil`-th slice on a first pass, and then
go back block by block, computing the messages of a block again: :math:`O(\sqrt T)` messages at
twice the forward work (checkpoints, as in the island algorithm of Binder, Murphy and Russell 1997,
with one level of islands). What they return grows with T, as does evidence given as a whole.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.dynamic.interface import Slice, unseen
from graphs.dynamic.messages import Messages
from graphs.dynamic.paths import paths
from graphs.dynamic.reading import two_slice
from graphs.dynamic.slices import read_slices
from graphs.dynamic.two_slice import Parent, TwoSlice
from graphs.inference import log_space
from graphs.inference.evidence import Evidence
from graphs.inference.log_space import log_sum
from graphs.inference.potentials import LogPotentials, replaced
from graphs.inference.queries import MAX_BYTES, checked_settings
from graphs.language.notation import Node

Answer = dict[Node, Tensor]


class DynamicTree:
    r"""Exact answers about a network that repeats in time, for many sequences at once.

    Args:
        model: a two-slice network with tables: whatever :func:`graphs.two_slice` reads, such as a
            pgmpy ``DynamicBayesianNetwork`` or a network with nodes ``X0`` and ``Xt``.
        dtype: of the answers; sums on the CPU are in double precision.
        device: where tensors live.
        max_bytes: memory for the tables of one slice, for all rows together.
        order_seconds: the longest search for an elimination order.

    Attributes:
        model: the :class:`graphs.TwoSlice`.
        states: for each variable the names of its states, in the order of the columns of answers.
        interface: the variables that a slice hands on, those without time among them. Messages have
            one cell for each of their joint states, however sparse the network is.
        factors: the scopes of the tables, first those of static variables and of the first slice,
            then those of all later slices together.
        bytes: memory that one row takes in a slice, about.

    Evidence is a mapping from variables to states, (T,) or (rows, T), or a DataFrame with one row a
    slice; or an iterable of slices, each a mapping as :class:`graphs.JunctionTree` takes it, which
    :meth:`filter` and :meth:`smooth` read as it comes. What is only likely, such as densities of
    what was measured, goes into ``likelihoods``, (T, states) or (rows, T, states). ``steps`` is
    how many slices there are where evidence does not tell, or tells of the first ones alone.
    Variables without time are observed once, with the first slice.

    >>> weather = graphs.bayesian_network([
    ...     ("R0", (), [0.5, 0.5]),
    ...     ("Rt", "R0", [[0.7, 0.3], [0.3, 0.7]]),
    ...     ("U0", "R0", [[0.8, 0.2], [0.1, 0.9]]),
    ...     ("Ut", "Rt", [[0.8, 0.2], [0.1, 0.9]]),
    ... ])
    >>> tree = graphs.DynamicTree(weather)
    >>> for beliefs in tree.filter({"U": [1, 1]}, steps=3):
    ...     print(beliefs["R"])
    tensor([0.1818, 0.8182], dtype=torch.float64)
    tensor([0.1166, 0.8834], dtype=torch.float64)
    tensor([0.3467, 0.6533], dtype=torch.float64)
    >>> tree.marginals({"U": [1, 1, 0, 1, 1]})["R"][:, 1]
    tensor([0.8673, 0.8204, 0.3075, 0.8204, 0.8673], dtype=torch.float64)
    >>> tree.map({"U": [1, 1, 0, 1, 1]})["R"]
    [1, 1, 0, 1, 1]

    Raises:
        ValueError: a model without tables, what :func:`graphs.two_slice` refuses, a device that is
            not there, tables that do not fit ``max_bytes``, with the interface.
    """

    def __init__(
        self,
        model: Any,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        order_seconds: float = 2.0,
    ):
        self.dtype, self.device = dtype, checked_settings(dtype, device, max_bytes, order_seconds)
        self.model = found = two_slice(model)
        if found.states is None or found.initial_tables is None or found.tables is None:
            raise ValueError(
                "expected a two-slice network with tables, got its structure alone; "
                "graphs.bayesian_network takes tables of nodes such as 'X0' and 'Xt'"
            )
        names = (*found.variables, *found.static)
        self.states: dict[Node, tuple[Hashable, ...]] = {v: found.states[v] for v in names}
        looked_at = {p.variable for ps in found.parents.values() for p in ps}
        self.interface = (*found.interface, *(v for v in found.static if v in looked_at))
        self._names, self._max_bytes = names, max_bytes
        self._number = {v: i for i, v in enumerate(names)}
        arrays = [*found.initial_tables.values(), *found.tables.values()]
        log_dtype = torch.float64 if self.device.type == "cpu" else dtype
        self._log_tables = [
            torch.from_numpy(np.asarray(t, float)).log().to(self.device, log_dtype) for t in arrays
        ]
        self.factors = (
            *(self._scope(v, ps, 0) for v, ps in found.initial.items()),
            *(self._scope(v, ps, None) for v, ps in found.parents.items()),
        )
        first, later = self._slices(found, order_seconds)
        self.bytes = max(first.bytes(), later.bytes())
        cells = math.prod(len(self.states[v]) for v in self.interface)
        self._messages = Messages(
            first, later, self._log_tables, self.states, cells, self._require_room
        )
        self._require_room(1)

    def _scope(self, node: Node, parents: Sequence[Parent], time: int | None) -> tuple[Node, ...]:
        """Names of a factor's variables, as ``("X_t-1", "X_t")``."""

        def named(p: Parent) -> Node:
            if p.variable in self.model.static:
                return p.variable
            return f"{p.variable}_" + ("0" if time == 0 else "t-1" if p.lag else "t")

        return tuple(map(named, (*parents, Parent(node, 0))))

    def _slices(self, model: TwoSlice, seconds: float) -> tuple[Slice, Slice]:
        """The first slice and any later one as networks of numbered variables."""
        sizes = [len(names) for names in self.states.values()]
        moving = [v for v in self.interface if v in model.interface]
        fixed = tuple(self._number[v] for v in self.interface if v not in model.interface)
        copies = {v: len(sizes) + i for i, v in enumerate(moving)}
        after = (*(self._number[v] for v in moving), *fixed)

        def scope(node: Node, parents: Sequence[Parent]) -> tuple[int, ...]:
            numbers = [
                copies[p.variable] if p.lag == 1 else self._number[p.variable] for p in parents
            ]
            return (*numbers, self._number[node])

        first = Slice(
            sizes,
            [scope(v, parents) for v, parents in model.initial.items()],
            range(len(sizes)),
            (),
            after,
            range(len(model.initial)),
            seconds,
        )
        later = Slice(
            [*sizes, *(len(self.states[v]) for v in moving)],
            [scope(v, parents) for v, parents in model.parents.items()],
            [*range(len(model.variables)), *fixed],
            (*copies.values(), *fixed),
            after,
            range(len(model.initial), len(self.factors)),
            seconds,
        )
        return first, later

    def _require_room(self, rows: int) -> None:
        if rows * self.bytes <= self._max_bytes:
            return
        cells = math.prod(len(self.states[v]) for v in self.interface)
        needed, names = Decimal(rows * self.bytes), ", ".join(map(str, self.interface[:30]))
        raise ValueError(
            f"expected tables that fit into max_bytes = {self._max_bytes:,}, got {needed:.3g} "
            f"bytes for {rows} row(s) of a slice, whose interface has {Decimal(cells):.3g} cells: "
            f"{names}"
        )

    def __repr__(self) -> str:
        cells = math.prod(len(self.states[v]) for v in self.interface)
        return (
            f"DynamicTree({len(self.model.variables)} variables a slice, interface of "
            f"{len(self.interface)} with {Decimal(cells):.3g} cells, {Decimal(self.bytes):.3g} "
            "bytes a row)"
        )

    # --- As slices come -------------------------------------------------------------------------

    @torch.no_grad()
    def filter(
        self, evidence: Any = None, *, likelihoods: Any = None, steps: int | None = None
    ) -> Iterator[Answer]:
        r"""Yield :math:`P(X_{t,i} \mid e_{0:t})` of every variable, slice by slice.

        The memory is that of one slice, whatever the number of slices. Slices without evidence at
        the end are a forecast.

        Yields:
            For each variable that is not observed in that slice in every row a tensor (states,) or
            (rows, states); rows from the first slice that tells of rows. Variables without time are
            among them as long as slices depend on them.

        Raises:
            ValueError: unknown variables or states, impossible evidence, each with the slice.
        """
        rows: int | None = None
        for _, observed, part, before in self._messages.forward(
            self._read(evidence, likelihoods, steps)
        ):
            rows = rows if observed.single else observed.rows
            asked = unseen(observed, part.members)
            program, slots = part.run(
                "both", observed, self._log_tables, [before, self._messages.end()], asked
            )
            yield self._named(part.marginals(program, slots), rows)

    @torch.no_grad()
    def smooth(
        self, evidence: Any, lag: int, *, likelihoods: Any = None, steps: int | None = None
    ) -> Iterator[Answer]:
        r"""Yield :math:`P(X_{t,i} \mid e_{0:t+\ell})`, each slice :math:`\ell` slices late.

        The memory is that of :math:`\ell + 1` messages, whatever the number of slices, and the work
        that of :math:`\ell` steps back a slice. The last slices see all evidence.

        Args:
            evidence: see the class.
            lag: how many slices :math:`\ell` to look ahead; zero is :meth:`filter`.
            likelihoods, steps: see the class.

        Yields:
            As :meth:`filter` does.

        Raises:
            ValueError: as :meth:`filter` does; a negative lag.
        """
        if isinstance(lag, bool) or not isinstance(lag, (int, np.integer)) or lag < 0:
            raise ValueError(f"expected a lag of zero or more slices, got {lag!r}")
        held: deque[tuple[Evidence, Slice, Tensor]] = deque()
        rows: int | None = None
        for _, observed, part, before in self._messages.forward(
            self._read(evidence, likelihoods, steps)
        ):
            rows = rows if observed.single else observed.rows
            held.append((observed, part, before))
            if len(held) > lag:
                *_, last = self._messages.back(list(held), self._messages.end())
                yield self._named(last, rows)
                held.popleft()
        answers = [*self._messages.back(list(held), self._messages.end())]
        yield from (self._named(answer, rows) for answer in reversed(answers))

    # --- Of whole sequences ---------------------------------------------------------------------

    def smooth_backwards(
        self, evidence: Any = None, *, likelihoods: Any = None, steps: int | None = None
    ) -> Iterator[Answer]:
        r"""Yield :math:`P(X_{t,i} \mid e_{0:T-1})` from the last slice to the first.

        Of T slices :math:`2\sqrt T` messages are kept, at twice the forward work.

        Yields:
            As :meth:`filter` does, in the reverse order.

        Raises:
            ValueError: as :meth:`filter` does, before the first slice is yielded.
        """
        whole, rows = self._whole(evidence, likelihoods, steps)
        for _, answer in self._messages.smoothed(whole):
            yield self._named(answer, rows)

    def marginals(
        self, evidence: Any = None, *, likelihoods: Any = None, steps: int | None = None
    ) -> Answer:
        r"""The smoothed distributions :math:`P(X_{t,i} \mid e_{0:T-1})` of all slices together.

        Returns:
            For each variable that is not observed throughout a tensor (T, states), or
            (rows, T, states); without the axis of time for variables that have none.

        Raises:
            ValueError: as :meth:`filter` does.
        """
        whole, rows = self._whole(evidence, likelihoods, steps)
        found: Answer = {}
        for v in self._free(whole):
            node = self._names[v]
            time = () if node in self.model.static else (len(whole),)
            found[node] = torch.empty(
                rows or 1, *time, len(self.states[node]), dtype=self.dtype, device=self.device
            )
        for t, answer in self._messages.smoothed(whole):
            for node, table in found.items():
                v = self._number[node]
                if node in self.model.static:
                    if t == 0:
                        table[:] = answer[v]
                elif v in answer:
                    table[:, t] = answer[v]
                else:
                    codes = torch.from_numpy(whole[t].codes[v]).to(self.device)
                    table[:, t] = torch.nn.functional.one_hot(codes, table.shape[-1]).to(table)
        return {v: table if rows else table[0] for v, table in found.items()}

    def log_partition(
        self,
        evidence: Any = None,
        log_potentials: LogPotentials = None,
        *,
        likelihoods: Any = None,
        steps: int | None = None,
    ) -> Tensor:
        r""":math:`\log P(e_{0:T-1})` of a sequence, or of each row.

        Args:
            evidence: see the class.
            log_potentials: tensors to use in place of the logarithms of the factors, and to
                differentiate through: one for each of ``tree.factors``, with its axes, or a dict
                from positions to tensors. The derivative in an entry of a factor of later slices is
                the expected number of slices in which it is used. Differentiating keeps all slices.
            likelihoods: positive tensors may be differentiated through.
            steps: see the class.

        Returns:
            A scalar, or (rows,); minus infinity where the evidence is impossible.

        Raises:
            ValueError: unknown variables or states, potentials that do not fit.

        >>> weather = [("R0", (), [0.5, 0.5]), ("Rt", "R0", [[0.7, 0.3], [0.3, 0.7]])]
        >>> tree = graphs.DynamicTree(graphs.bayesian_network(weather))
        >>> turn = tree.log_tables()[1].requires_grad_()
        >>> tree.log_partition({"R": [0, 0, 1, 1, 1]}, {1: turn}).backward()
        >>> turn.grad  # how often it went from each state to each
        tensor([[1., 1.],
                [0., 2.]], dtype=torch.float64)
        """
        whole, rows = self._whole(evidence, likelihoods, steps)
        tables = replaced(self._log_tables, self.factors, log_potentials)
        wanted = torch.is_grad_enabled() and any(
            [*(table.requires_grad for table in tables), *(e.differentiable for e in whole)]
        )
        with torch.set_grad_enabled(wanted):
            total = tables[0].new_zeros(rows or 1)
            message, log_total = self._messages.end(), None
            for t, observed in enumerate(whole):
                part = self._messages.later if t else self._messages.first
                program, slots = part.run("forward", observed, tables, [message])
                message, log_total = part.kept(program, slots, part.after, largest=False)
                total = total + log_total
        total = total.to(self.dtype)
        return total if rows else total[0]

    @torch.no_grad()
    def map(
        self, evidence: Any = None, *, likelihoods: Any = None, steps: int | None = None
    ) -> dict[Node, Any]:
        r"""The most probable path, :math:`\arg\max_x P(x_{0:T-1} \mid e_{0:T-1})` (Viterbi 1967).

        Returns:
            For each variable that is not observed throughout the names of its states, a list over
            time, or one such list per row; a state, or a list of one per row, of variables without
            time. Of equally probable paths always the same.

        Raises:
            ValueError: as :meth:`filter` does.
        """
        whole, rows = self._whole(evidence, likelihoods, steps)
        chosen = paths(self._messages, whole, rows, 1, log_space.maximum, log_space.best)
        answers: dict[Node, Any] = {}
        for v in self._free(whole):
            names = self.states[self._names[v]]
            codes = chosen[v].tolist()
            if self._names[v] in self.model.static:
                found = [names[row[0]] for row in codes]
            else:
                found = [[names[i] for i in row] for row in codes]
            answers[self._names[v]] = found if rows else found[0]
        return answers

    @torch.no_grad()
    def sample(
        self,
        n: int,
        evidence: Any = None,
        *,
        likelihoods: Any = None,
        steps: int | None = None,
    ) -> Answer:
        """Independent exact draws of paths given the evidence, by filtering and going back.

        Randomness comes from torch's global generator.

        Returns:
            For each variable that is not observed throughout the indices of its states, (n, T) or
            (n, rows, T); without the axis of time for variables that have none.

        Raises:
            ValueError: as :meth:`filter` does; a number of draws below one.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"expected a number of draws of at least one, got {n!r}")
        whole, rows = self._whole(evidence, likelihoods, steps)
        chosen = paths(self._messages, whole, rows, int(n), log_sum, log_space.draw)
        answers: Answer = {}
        for v in self._free(whole):
            drawn = chosen[v].reshape(int(n), rows or 1, -1)
            drawn = drawn if rows else drawn[:, 0]
            static = self._names[v] in self.model.static
            answers[self._names[v]] = drawn[..., 0] if static else drawn
        return answers

    def log_tables(self) -> list[Tensor]:
        """The logarithms of the factors, to start from: one tensor for each of ``tree.factors``."""
        return [table.to(self.dtype, copy=True) for table in self._log_tables]

    # --- Messages -------------------------------------------------------------------------------

    def _read(self, evidence: Any, likelihoods: Any, steps: int | None) -> Iterator[Evidence]:
        static = frozenset(self.model.static)
        return read_slices(evidence, likelihoods, steps, self.states, static)

    def _whole(
        self, evidence: Any, likelihoods: Any, steps: int | None
    ) -> tuple[list[Evidence], int | None]:
        """All slices, and how many rows they have."""
        whole = list(self._read(evidence, likelihoods, steps))
        if not whole:
            raise ValueError("expected at least one slice, got none")
        rows = next((e.rows for e in whole if not e.single), None)
        self._require_room(rows or 1)
        return whole, rows

    # --- Names ----------------------------------------------------------------------------------

    def _free(self, whole: Sequence[Evidence]) -> list[int]:
        """The variables that are not observed in every row of every slice where they are."""
        moving = range(len(self.model.variables))
        free = {v for e in whole for v in unseen(e, moving)}
        free.update(unseen(whole[0], range(len(moving), len(self._names))))
        return sorted(free)

    def _named(self, answer: dict[int, Tensor], rows: int | None) -> Answer:
        named: Answer = {}
        for v, table in answer.items():
            table = table.to(self.dtype)
            named[self._names[v]] = table.expand(rows, -1) if rows else table[0]
        return named
