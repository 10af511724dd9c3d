"""Tables for a given structure, from data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphs.inference.fixed_points import ConvergenceWarning
from graphs.language.notation import Node
from graphs.learning import bayesian, information, markov
from graphs.learning.bayesian import Found
from graphs.learning.columns import Array, Rows, as_frame, distinct_rows, require_columns
from graphs.learning.information import Errors
from graphs.learning.learned import Learned
from graphs.learning.priors import pseudo_counts, require_number
from graphs.learning.structures import Skeleton, all_states, skeleton
from graphs.learning.sums import Inference
from graphs.parameters.bridge import to_pgmpy
from graphs.parameters.tables import States, Tables, label_of
from graphs.structure.models import Model
from graphs.structure.nodes import NodeSet

METHODS = ("auto", "mle", "em")
STARTS = ("data", "model", "random")
GAIN, MISMATCH = 1e-9, 1e-6  # tolerances of EM and of L-BFGS
FAR = 30.0  # between log-potentials that the data hold on to


def learn(
    model: Model,
    data: Any,
    *,
    prior: float | Mapping[Node, Any] = 0.0,
    equivalent_sample_size: float = 0.0,
    method: str = "auto",
    states: Mapping[Node, Sequence[Hashable]] | None = None,
    latent: NodeSet | None = None,
    start: str = "data",
    restarts: int = 1,
    seed: int = 0,
    iterations: int = 1000,
    tolerance: float | None = None,
    empty: str = "uniform",
    inference: Inference = None,
    progress: bool = False,
) -> Learned:
    r"""Learn the tables of a model from rows of data.

    A Bayesian network gets the shares of its counts (maximum likelihood), or with pseudo-counts the
    posterior means under Dirichlet priors, in closed form; where values are missing, by EM on the
    junction tree. A Markov network gets potentials by exact gradients of the log-likelihood, which
    is concave where no value is missing. Missing values are taken to be missing at random.

    Args:
        model: any directed or undirected model: a structure, or a network with tables, whose states
            are kept. A bare undirected graph gets a potential for each maximal clique.
        data: a data frame, or a dict of columns, with a column for each observed node; other
            columns are left out. A value is read as evidence is (:class:`graphs.JunctionTree`);
            None, NaN and NA are missing.
        prior: pseudo-counts: a number for every cell (1 is Laplace's rule, or K2), or for each node
            a number or an array with the axes of its table. Of Bayesian networks only.
        equivalent_sample_size: the number of pseudo-rows, spread evenly over the cells of each
            table (BDeu; Heckerman, Geiger and Chickering 1995), in addition to ``prior``.
        method: ``"mle"`` refuses missing values in a Bayesian network, ``"em"`` allows them, as
            ``"auto"`` does.
        states: of nodes; by default the model's, or the categories or values in the column.
        latent: nodes without a column, besides those the model marks; their states are declared.
        start: of a search: ``"data"``, the shares of what is seen, with random tables where nothing
            is (potentials start equal), ``"model"``, the model's own tables, or ``"random"``.
        restarts: the number of searches; all but the first start at random. The best is returned.
        seed: of what is random.
        iterations: of a search, at most.
        tolerance: EM ends when an iteration gains no more than this many nats a row (1e-9);
            gradients when no cell's probability is further off than this (1e-6).
        empty: what becomes of rows of a table whose parents' states no row of data has, where the
            maximum is any distribution: ``"uniform"``, with a warning, or ``"refuse"``.
        inference: makes an object with ``log_partition(evidence, log_potentials)`` from a network;
            :class:`graphs.JunctionTree`, which is exact, by default. What is only approximate
            makes the search approximate too.
        progress: whether to show a progress bar.

    Warns:
        ConvergenceWarning: a search that ended before it converged.

    Raises:
        ValueError: no model or data; a missing column, a value that is no state, no states for a
            latent node; pseudo-counts that are negative or of another shape; settings out of range;
            rows that are impossible under the tables to start from.

    >>> import pandas as pd
    >>> lawn = graphs.textbook.sprinkler()
    >>> drawn = graphs.JunctionTree(lawn).sample(2000)
    >>> data = pd.DataFrame({v: [lawn.states[v][i] for i in k] for v, k in drawn.items()})
    >>> learned = graphs.learn(lawn, data, prior=1)
    >>> learned.converged, learned.standard_errors["rain"].shape
    (True, (2, 2))

    EM, where a value is missing. The rows of A = 1 say B = 1 twice out of three times:

    >>> some = {"A": [0, 0, 1, 1, 1, 1], "B": [0, 1, 1, 1, 0, None]}
    >>> found = graphs.learn(graphs.parse("P(A) P(B|A)"), some)
    >>> graphs.marginal(found.model, "B", {"A": 1})
    tensor([0.3333, 0.6667], dtype=torch.float64)
    """
    _check(method, start, restarts, seed, iterations, tolerance, empty)
    what = skeleton(model, latent)
    frame = as_frame(data)
    require_columns(frame, what.nodes, what.latent)
    names = all_states(what, frame, states)
    rows = distinct_rows(frame, what.nodes, names)
    if start == "model" and what.tables is None:
        raise ValueError("expected a model with tables for start='model', got a structure")
    pseudo = pseudo_counts(what, names, prior, equivalent_sample_size)
    search = _Search(what, names, rows, inference, start, restarts, seed, iterations, progress)
    if what.directed:
        _require_method(method, rows)
        found, others, errors = search.directed(pseudo, GAIN if tolerance is None else tolerance)
        label = "EM" if len(found.log_likelihoods) > 1 else "Maximum likelihood"
        if any(a.any() for a in pseudo):
            label += " with pseudo-counts"
    else:
        if method == "em":
            raise ValueError("expected method 'auto' or 'mle' for a Markov network, got 'em'")
        size = float(equivalent_sample_size)
        found, others, errors = search.undirected(
            size, MISMATCH if tolerance is None else tolerance
        )
        label = "Gradients of the likelihood" + " with pseudo-rows" * (size > 0)
    tables = Tables(
        names, tuple(zip(what.scopes, found.tables, strict=True)), what.directed, what.name
    )
    lacking = _empty_rows(tables, found.counts, pseudo) if what.directed else ()
    if lacking:
        _tell(lacking, empty)
    if not found.converged:
        steps = len(found.log_likelihoods) - 1
        plural = "" if steps == 1 else "s"
        warnings.warn(
            f"the search did not converge in {steps} iteration{plural}",
            ConvergenceWarning,
            stacklevel=2,
        )
    seen = {v for v, column in zip(rows.nodes, rows.codes.T, strict=True) if (column >= 0).any()}
    return Learned(
        model=_same_kind(model, tables, what),
        log_likelihoods=found.log_likelihoods,
        objectives=found.objectives,
        converged=found.converged,
        counts={
            scope[-1] if what.directed else scope: n
            for scope, n in zip(what.scopes, found.counts, strict=True)
        },
        empty=lacking,
        latent=tuple(v for v in what.nodes if v not in seen),
        notes=tuple(_notes(frame, what, tables)),
        _tables=tables,
        _rows=_described(len(frame), rows),
        _method=label,
        _errors=errors,
        _others=others,
    )


class _Search:
    """One problem, searched from one start or several."""

    def __init__(
        self,
        what: Skeleton,
        states: States,
        rows: Rows,
        inference: Inference,
        start: str,
        restarts: int,
        seed: int,
        iterations: int,
        progress: bool,
    ):
        self.what, self.states, self.rows, self.inference = what, states, rows, inference
        self.start, self.restarts, self.iterations = start, restarts, iterations
        self.rng, self.progress = np.random.default_rng(seed), progress

    def directed(
        self, pseudo: list[Array], tolerance: float
    ) -> tuple[Found, tuple[float, ...], Callable[[], Errors]]:
        """Tables of a Bayesian network, the objectives of other starts, and the errors."""
        scopes, rows = self.what.scopes, self.rows
        if rows.complete.all():
            found = bayesian.from_counts([rows.counts(s, self.states) for s in scopes], pseudo)
            totals = [n + a for n, a in zip(found.counts, pseudo, strict=True)]
            return found, (), lambda: information.of_counts(found.tables, totals)
        expectation = bayesian.Expectation(rows, scopes, self.states, self.inference)
        runs = []
        for k in range(self.restarts):
            tables = self._own() if self.start == "model" and not k else None
            if tables is None:
                random = k > 0 or self.start == "random"
                tables = bayesian.start_tables(rows, scopes, self.states, self.rng, random)
            with self._bar("EM", self.iterations + 1, k) as report:
                gain = tolerance * rows.total
                runs.append(
                    bayesian.maximise(expectation, tables, pseudo, self.iterations, gain, report)
                )
        found, others = _best(runs)
        totals = [n + a for n, a in zip(found.counts, pseudo, strict=True)]

        def errors() -> Errors:
            with self._bar("information", sum(t.size for t in totals)) as advance:
                return information.of_conditionals(found.tables, totals, expectation.sums, advance)

        return found, others, errors

    def undirected(
        self, pseudo_rows: float, tolerance: float
    ) -> tuple[Found, tuple[float, ...], Callable[[], Errors]]:
        """Potentials of a Markov network, the objectives of other starts, and the errors."""
        scopes, rows = self.what.scopes, self.rows
        likelihood = markov.MarkovLikelihood(rows, scopes, self.states, pseudo_rows, self.inference)
        unseen = not rows.complete.all() and (rows.codes < 0).all(0).any()
        runs = []
        for k in range(self.restarts):
            if self.start == "model" and not k:
                with np.errstate(divide="ignore"):
                    start = [np.log(table) for table in self._own()]
            else:
                random = k > 0 or self.start == "random" or unseen
                start = [self.rng.normal(size=s) * random for s in likelihood.shapes]
            with self._bar("L-BFGS", self.iterations + 1, k) as report:
                runs.append(markov.climb(likelihood, start, self.iterations, tolerance, report))
        found, others = _best(runs)

        def errors() -> Errors:
            if rows.complete.all():
                counts = [n + a for n, a in zip(found.counts, likelihood.spread, strict=True)]
                flat = [n.ravel() / n.sum() for n in counts]
                arrays = [np.sqrt(p * (1 - p) / likelihood.total) for p in flat]
                shaped = [a.reshape(n.shape) for a, n in zip(arrays, counts, strict=True)]
                return Errors(shaped, [np.zeros(n.shape, bool) for n in counts])
            cells = sum(t.size for t in found.tables)
            with self._bar("information", 2 * cells) as advance:
                return information.of_moments(
                    found.tables, likelihood.total, likelihood.whole, likelihood.sums, advance
                )

        return found, others, errors

    def _own(self) -> list[Array]:
        assert self.what.tables is not None
        return [table for scope, table in self.what.tables.factors if scope]

    @contextmanager
    def _bar(self, what: str, total: int, run: int = 0) -> Iterator[Callable[[float], object]]:
        """A bar told log-likelihoods after iterations, or how much is done."""
        if not self.progress:
            yield lambda value: None
            return
        from tqdm.auto import tqdm

        name = what if self.restarts == 1 or what == "information" else f"{what} {run + 1}"
        with tqdm(total=total, desc=name) as bar:
            if what == "information":
                yield bar.update
                return

            def report(value: float) -> None:
                bar.set_postfix_str(f"log-likelihood {value:.6g}", refresh=False)
                bar.update()

            yield report


def _best(runs: list[Found]) -> tuple[Found, tuple[float, ...]]:
    best = max(range(len(runs)), key=lambda k: runs[k].objectives[-1])
    return runs[best], tuple(run.objectives[-1] for k, run in enumerate(runs) if k != best)


# --- Checks and words ----------------------------------------------------------------------------


def _check(
    method: str,
    start: str,
    restarts: int,
    seed: int,
    iterations: int,
    tolerance: float | None,
    empty: str,
) -> None:
    for value, known, role in (
        (method, METHODS, "method"),
        (start, STARTS, "start"),
        (empty, ("uniform", "refuse"), "empty"),
    ):
        if value not in known:
            raise ValueError(f"expected {role} to be one of {', '.join(known)}, got {value!r}")
    for number, least, role in (
        (restarts, 1, "restarts"),
        (iterations, 1, "iterations"),
        (seed, 0, "seed"),
    ):
        whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
        if not whole or number < least:
            raise ValueError(f"expected {role} >= {least}, got {number!r}")
    if tolerance is not None:
        require_number(tolerance, "tolerance")


def _require_method(method: str, rows: Rows) -> None:
    if method == "mle" and not rows.complete.all():
        lacking = [v for v, c in zip(rows.nodes, rows.codes.T, strict=True) if (c < 0).any()]
        raise ValueError(
            "expected complete rows for method='mle', got missing values of "
            f"{', '.join(map(repr, lacking[:8]))}; method='em' allows them"
        )


def _empty_rows(
    tables: Tables, counts: Sequence[Array], pseudo: Sequence[Array]
) -> tuple[tuple[Node, dict[Node, Hashable]], ...]:
    """Rows of tables without counts."""
    return tuple(
        (scope[-1], {v: tables.states[v][int(i)] for v, i in zip(scope, index, strict=False)})
        for (scope, _), n, a in zip(tables.factors, counts, pseudo, strict=True)
        for index in np.argwhere((n + a).sum(-1) == 0)
    )


def _tell(lacking: Sequence[tuple[Node, dict[Node, Hashable]]], empty: str) -> None:
    node, at = lacking[0]
    row = label_of((*(f"{v}={s}" for v, s in at.items()), node), True)
    more = f" and for {len(lacking) - 1} other rows of tables" if len(lacking) > 1 else ""
    if empty == "refuse":
        raise ValueError(
            f"expected rows of data for every row of the tables, got none for {row}{more}; "
            "pseudo-counts (prior=...) or empty='uniform' allow that"
        )
    warnings.warn(f"no row of data for {row}{more}: filled uniformly", stacklevel=3)


def _same_kind(model: Model, tables: Tables, what: Skeleton) -> Any:
    if isinstance(model, Tables):
        return tables
    network = to_pgmpy(tables)
    for node in what.latent:
        network.nodes[node]["latent"] = True
    return network


def _notes(frame: Any, what: Skeleton, tables: Tables) -> Iterator[str]:
    if others := [str(c) for c in frame.columns if c not in what.nodes]:
        yield f"Columns that are no nodes were left out: {', '.join(others)}."
    for v, names in tables.states.items():
        if len(names) == 1:
            yield f"{v} has the one state {names[0]!r}; declare states= if there are others."
    if what.directed:
        return
    zeros = sum(int((table == 0).sum()) for _, table in tables.factors)
    if zeros:
        yield f"{zeros} cells that no row is compatible with have potential 0."
    logs = [np.log(table[table > 0]) for _, table in tables.factors]
    if any(log.size and log.max() - log.min() > FAR for log in logs):
        yield "Some potentials grow without bound: no finite ones are best for these data."


def _described(count: int, rows: Rows) -> str:
    """``20000 rows (1203 with missing values, 412 of them distinct)``."""
    partial = rows.take(np.flatnonzero(~rows.complete))
    text = f"{count} row{'' if count == 1 else 's'}"
    if not len(partial.codes):
        return text
    blank = count - round(rows.total)
    nothing = f"; {blank} without any value left out" if blank else ""
    return (
        f"{text} ({math.floor(partial.total)} with missing values, {len(partial.codes)} of them "
        f"distinct{nothing})"
    )
