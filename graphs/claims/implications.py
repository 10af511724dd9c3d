r"""What a graph implies, tested against data.

Every two nodes without an edge that some set of observed nodes separates are independent given a
minimal such set, see :func:`graphs.minimal_separator`, and data can contradict that. The tests are

- of tables, :math:`G^2 = 2 \sum_s \sum_{ij} n_{ijs} \log \frac{n_{ijs} n_{++s}}{n_{i+s} n_{+js}}`
  or Pearson's :math:`\chi^2`, summed over the strata s of what is given, with as many degrees of
  freedom as the rows and columns that occur in the strata leave (Agresti 2013, section 3.2);
- of numbers, Fisher's z of the partial correlation r given k others in n rows,
  :math:`\sqrt{n - k - 3} \operatorname{artanh} r \sim N(0, 1)` (Fisher 1924), exact in the limit
  and for normal data.

Many tests find something by chance: p-values are adjusted by Holm (1979), which bounds the
probability of any false rejection, and by Benjamini and Hochberg (1995), which bounds the expected
share of false ones among the rejections.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graphs.language.notation import Node
from graphs.separation.markov import minimal_separator
from graphs.structure.models import Model, as_graph
from graphs.structure.nodes import NodeSet, latent_nodes

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
TESTS = ("auto", "g", "chi2", "correlation")
MOST_STATES = 50  # of a column of whole numbers, beyond which it is no category


@dataclass(frozen=True)
class Implications:
    """The independences that a graph implies, each with its test.

    Attributes:
        table: a row for each test, the smallest p first: ``x``, ``y``, ``given``, ``test``,
            ``statistic``, ``dof``, ``p``, ``holm`` and ``bh``, the adjusted p-values, ``rows``, the
            number of complete rows it used, and ``sparse``, the share of expected counts below 5.
        alpha: the level of :meth:`rejected`.
        untestable: pairs without an edge that no observed set separates.
        without_column: the nodes that have no column, and so were taken as latent.

    True where nothing is rejected at ``alpha`` with Holm's correction.

    >>> import pandas as pd
    >>> coins = pd.DataFrame({"A": [0, 0, 1, 1] * 20, "B": [0, 1, 0, 1] * 20})
    >>> found = graphs.implications(graphs.parse("P(A) P(B)"), coins)
    >>> found
    <Implications: 1 tests, 0 rejected at 0.05 (Holm)>
    >>> found.table[["x", "y", "test", "dof", "p", "rows"]]
       x  y test  dof    p  rows
    0  A  B    g    1  1.0    80
    """

    table: pd.DataFrame
    alpha: float
    untestable: tuple[tuple[Node, Node], ...]
    without_column: tuple[Node, ...] = ()

    def __bool__(self) -> bool:
        return self.rejected("holm").empty

    def rejected(self, correction: str = "holm") -> pd.DataFrame:
        """The rows whose adjusted p-value is at most ``alpha``.

        Args:
            correction: ``"holm"``, ``"bh"``, or ``"p"`` for none.

        Raises:
            ValueError: another correction.
        """
        if correction not in ("holm", "bh", "p"):
            raise ValueError(f"expected 'holm', 'bh' or 'p', got {correction!r}")
        return self.table[self.table[correction] <= self.alpha]

    def explain(self) -> str:
        """What was tested, with what correction, and what the data contradict."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.without_column:
            yield f"Latent, without a column: {', '.join(map(str, self.without_column))}."
        lost, tests = self.rejected("holm"), len(self.table)
        if not tests:
            yield "The graph implies no independence of two observed nodes."
            return
        yield (
            f"The data contradict {len(lost)} of {tests} implied independences at "
            f"{self.alpha:g} by Holm's correction, {len(self.rejected('bh'))} by Benjamini and "
            f"Hochberg's, {len(self.rejected('p'))} without correction."
        )
        for row in lost.to_dict("records"):
            given = f" | {', '.join(map(str, row['given']))}" if row["given"] else ""
            yield (
                f"  {row['x']} ⟂ {row['y']}{given}: p = {row['p']:.3g}, "
                f"adjusted {row['holm']:.3g}, {row['rows']} rows"
            )
        if (sparse := int((self.table["sparse"] > 0.2).sum())) > 0:
            yield (
                f"In {sparse} tests more than a fifth of the expected counts are below 5, where "
                "p-values are rough."
            )

    def __repr__(self) -> str:
        lost = len(self.rejected("holm"))
        return f"<Implications: {len(self.table)} tests, {lost} rejected at {self.alpha:g} (Holm)>"

    def _repr_html_(self) -> str:
        from html import escape

        html: str = self.table.to_html(index=False)
        return f"<pre>{escape(self.explain())}</pre>{html}"


def implications(
    model: Model,
    data: pd.DataFrame,
    *,
    test: str = "auto",
    alpha: float = 0.05,
    latent: NodeSet | None = None,
) -> Implications:
    """Test every pairwise independence that a graph implies against a data frame.

    Nodes without a column are latent. Rows that lack a value that a test needs are left out of it.

    Args:
        model: any model.
        data: a column for each observed node, under its name.
        test: ``"g"`` or ``"chi2"`` of tables, ``"correlation"`` of numbers, or ``"auto"``: the
            first where both columns and what is given are categories (text, truth values, whole
            numbers of few values), the last where all are numbers.
        alpha: the level at which to reject.
        latent: further nodes that are not to be used.

    Raises:
        ValueError: no frame, a node with two columns, a column that no test fits, a level out of
            range, or no rows.

    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> a = rng.normal(size=500)
    >>> b = a + rng.normal(size=500)
    >>> frame = pd.DataFrame({"A": a, "B": b, "C": b + rng.normal(size=500)})
    >>> bool(graphs.implications(graphs.parse("P(A) P(B|A) P(C|B)"), frame))
    True
    >>> print(graphs.implications(graphs.parse("P(A) P(C) P(B|A,C)"), frame).explain())
    The data contradict 1 of 1 implied independences at 0.05 by Holm's correction, 1 by ...
      A ⟂ C: p = ..., adjusted ..., 500 rows
    """
    import pandas as pd

    graph = as_graph(model, any_member=True)
    if not isinstance(data, pd.DataFrame):
        raise ValueError(f"expected a pandas.DataFrame, got {type(data).__name__}")
    if test not in TESTS:
        raise ValueError(f"expected a test among {', '.join(TESTS)}, got {test!r}")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise ValueError(f"expected a level between 0 and 1, got {alpha!r}")
    if several := [v for v in graph if list(data.columns).count(v) > 1]:
        raise ValueError(f"expected one column for each node, got several for {several[0]!r}")
    missing = [v for v in graph if v not in data.columns]
    hidden = latent_nodes(graph, latent)
    without_column = tuple(v for v in missing if v not in hidden)
    hidden |= set(missing)
    observed = [v for v in graph if v not in hidden]
    if len(observed) < 2:
        raise ValueError(f"expected columns for at least two nodes, got {list(data.columns)}")
    rows, untestable = [], []
    for x, y in combinations(observed, 2):
        if graph.has_edge(x, y) or graph.has_edge(y, x):
            continue
        given = minimal_separator(graph, x, y, latent=hidden)
        if given is None:
            untestable.append((x, y))
            continue
        named = tuple(sorted(given, key=str))
        rows.append((x, y, named, *_tested(data, x, y, named, test)))
    columns = ["x", "y", "given", "test", "statistic", "dof", "p", "rows", "sparse"]
    table = pd.DataFrame(rows, columns=columns)
    p = table["p"].to_numpy(dtype=float)
    table.insert(7, "holm", holm(p))
    table.insert(8, "bh", benjamini_hochberg(p))
    table = table.sort_values("p", kind="stable", ignore_index=True)
    return Implications(table, float(alpha), tuple(untestable), without_column)


# --- Several tests -------------------------------------------------------------------------------


def holm(p: Array) -> Array:
    """Holm's adjusted p-values: :math:`\\max_{j \\le i} \\min(1, (m - j + 1) p_{(j)})`."""
    order, m = np.argsort(p, kind="stable"), len(p)
    scaled = np.maximum.accumulate(p[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted


def benjamini_hochberg(p: Array) -> Array:
    """Benjamini and Hochberg's: :math:`\\min_{j \\ge i} \\min(1, m p_{(j)} / j)`."""
    order, m = np.argsort(p, kind="stable"), len(p)
    scaled = p[order] * m / np.arange(1, m + 1)
    scaled = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted


# --- One test ------------------------------------------------------------------------------------


def _tested(
    data: pd.DataFrame, x: Node, y: Node, given: Sequence[Node], test: str
) -> tuple[str, float, int, float, int, float]:
    """Name, statistic, degrees of freedom, p-value, rows used and share of sparse cells."""
    complete = data[[x, y, *given]].dropna()
    if complete.empty:
        raise ValueError(f"expected rows with {x!r}, {y!r} and {list(given)}, got none")
    if test == "auto":
        test = _fitting(complete)
    if test == "correlation":
        return test, *correlation(_numbers(complete)), 0.0
    codes = [complete[name].factorize()[0] for name in complete]
    statistic, dof, p, sparse = contingency(codes[0], codes[1], codes[2:], pearson=test == "chi2")
    return test, statistic, dof, p, len(complete), sparse


def _fitting(frame: pd.DataFrame) -> str:
    """The test whose assumptions all columns meet."""
    kinds = {name: _is_category(frame[name]) for name in frame}
    if all(kinds.values()):
        return "g"
    if words := [name for name in frame if not _is_number(frame[name])]:
        numbers = [name for name, category in kinds.items() if not category]
        raise ValueError(
            f"expected columns that are all categories or all numbers, got {words[0]!r} beside "
            f"{numbers[0]!r}: cut the numbers into bins, or name the test"
        )
    return "correlation"


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "fiu"


def _is_category(column: pd.Series) -> bool:
    if column.dtype.kind in "mMc":  # of times, each its own, a table would say nothing
        raise ValueError(
            f"expected categories or numbers, got {column.name!r} of type {column.dtype}: cut it "
            "into bins, or name the test"
        )
    if not _is_number(column):
        return True
    return column.dtype.kind in "iu" and column.nunique() <= MOST_STATES


def _numbers(frame: pd.DataFrame) -> Array:
    try:
        values = frame.to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected numbers to correlate, got {error}") from None
    if not np.isfinite(values).all():
        raise ValueError("expected finite numbers to correlate, got infinity")
    return values


def contingency(
    x: NDArray[np.intp], y: NDArray[np.intp], given: Sequence[NDArray[np.intp]], *, pearson: bool
) -> tuple[float, int, float, float]:
    """:math:`G^2` or :math:`\\chi^2` of codes over the strata of others.

    Returns:
        The statistic, its degrees of freedom, the p-value (1 without any freedom) and the share of
        expected counts below 5.
    """
    from scipy.stats import chi2

    stratum = np.zeros(len(x), dtype=np.intp)
    if given:
        stratum = np.unique(np.stack(given, 1), axis=0, return_inverse=True)[1].reshape(-1)
    statistic, dof, few, cells = 0.0, 0, 0, 0
    for members in _groups(stratum):
        rows, i = np.unique(x[members], return_inverse=True)
        columns, j = np.unique(y[members], return_inverse=True)
        counts = np.zeros((len(rows), len(columns)))
        np.add.at(counts, (i, j), 1.0)
        expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
        freedom = (len(rows) - 1) * (len(columns) - 1)
        if not freedom:
            continue
        dof, few, cells = dof + freedom, few + int((expected < 5).sum()), cells + expected.size
        if pearson:
            statistic += float(((counts - expected) ** 2 / expected).sum())
        else:
            seen = counts > 0
            statistic += 2 * float((counts[seen] * np.log(counts[seen] / expected[seen])).sum())
    p = float(chi2.sf(statistic, dof)) if dof else 1.0
    return statistic, dof, p, few / cells if cells else 0.0


def _groups(codes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The positions of every code."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def correlation(values: Array) -> tuple[float, int, float, int]:
    """Fisher's z of the partial correlation of the first two columns given the others.

    Returns:
        The statistic, its degrees of freedom, the two-sided p-value and the number of rows.

    Raises:
        ValueError: too few rows.
    """
    from scipy.stats import norm

    n, k = len(values), values.shape[1] - 2
    freedom = n - k - 3
    if freedom < 1:
        raise ValueError(f"expected at least {k + 4} complete rows given {k} numbers, got {n}")
    # A large mean beside a small spread, as of times, would hide the spread from least squares.
    centred = values - values.mean(0)
    spread = np.linalg.norm(centred, axis=0)
    rounding = 8 * np.finfo(float).eps * np.linalg.norm(values, axis=0)
    unit = np.where(spread > rounding, centred / np.where(spread > rounding, spread, 1.0), 0.0)
    ends, others = unit[:, :2], unit[:, 2:]
    residuals = ends - others @ np.linalg.lstsq(others, ends, rcond=None)[0]
    scale = np.linalg.norm(residuals, axis=0)
    least = 1e-9 + rounding[:2] / np.where(spread[:2] > 0, spread[:2], 1.0)
    if (scale <= least).any():  # known from the others: no dependence
        return 0.0, freedom, 1.0, n
    r = float(residuals[:, 0] @ residuals[:, 1] / scale.prod())
    z = math.sqrt(freedom) * math.atanh(max(-1 + 1e-15, min(1 - 1e-15, r)))
    return z, freedom, float(2 * norm.sf(abs(z))), n
