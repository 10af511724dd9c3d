"""Estimators side by side on one problem: bias, variance, signal and cost, from vectorised draws.

Every draw has its own copy of the leaves of q, so that one backward pass gives the gradients of
many; the problem's pullback carries them on to the parameters.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ppl_gen._checks import is_whole, require_at_least_two
from ppl_gen._exclusive import exclusive
from ppl_gen._random import seeded
from ppl_gen.estimators.base import Cost, Estimator, Expectation
from ppl_gen.estimators.by_name import make, registry
from ppl_gen.gradients.problems import Problem
from ppl_gen.training import memory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ADAPTATION_STEPS = 200
ADAPTATION_DRAWS = 256
COLUMNS = ("estimator", "bias", "stderr", "variance", "snr", "cost", "seconds")
HEAD = (*COLUMNS, "note")


@dataclass(frozen=True)
class Row:
    r"""What one estimator gave.

    Attributes:
        estimator: its label.
        bias: mean estimate minus truth, for several parameters the norm of that; 0 within rounding,
            NaN where the truth is not known.
        stderr: standard error of the mean estimate, :math:`\sqrt{\text{variance} / n}`.
        variance: variance of one estimate, summed over parameters.
        snr: norm of the gradient over :math:`\sqrt{\text{variance}}`, its square estimated without
            bias and cut off at zero.
        cost: evaluations of the cost function per estimate.
        seconds: wall time per estimate.
        variance_stderr: standard error of the variance.
        by_parameter: the variance by parameter.
        gradient: the mean estimate by parameter.
        note: what a reader must know: a bias by design, why a bias is NaN, what was estimated.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> row = ppl_gen.gradients.compare(problem, "enumerate", draws=2).rows[0]
    >>> row.estimator, round(row.variance, 6), row.cost
    ('enumerate', 0.0, 2.0)
    >>> {name: round(value.item(), 4) for name, value in row.gradient.items()}
    {'logits': 0.025}
    """

    estimator: str
    bias: float
    stderr: float
    variance: float
    snr: float
    cost: float
    seconds: float
    variance_stderr: float
    by_parameter: dict[str, float]
    gradient: dict[str, Tensor]
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """The result of :func:`compare`: one :class:`Row` per estimator.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> comparison = ppl_gen.gradients.compare(problem, ["score", "arm"], draws=100)
    >>> [row.estimator for row in comparison.rows]
    ['score', 'arm']
    >>> comparison.to_frame().shape[0]
    2
    """

    problem: str
    draws: int
    rows: tuple[Row, ...]

    def __getitem__(self, estimator: str) -> Row:
        """The row of an estimator by its label."""
        for row in self.rows:
            if row.estimator == estimator:
                return row
        known = ", ".join(row.estimator for row in self.rows)
        raise ValueError(f"expected one of {known}, got {estimator!r}")

    def to_frame(self) -> pd.DataFrame:
        """One row per estimator: estimator, bias, stderr, variance, snr, cost, seconds."""
        import pandas as pd

        return pd.DataFrame([[getattr(r, c) for c in COLUMNS] for r in self.rows], columns=COLUMNS)

    def by_parameter(self) -> pd.DataFrame:
        """Variances, one row per estimator and one column per parameter."""
        import pandas as pd

        return pd.DataFrame({row.estimator: row.by_parameter for row in self.rows}).T

    def plot(self, ax: Axes | None = None) -> Axes:
        """Dots at the variance of one estimate, hollow for biased estimators, on a log axis."""
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(7, 0.4 * len(self.rows) + 1.2), layout="constrained")
        shown = [row for row in self.rows if row.variance > 0]
        floor = min((row.variance for row in shown), default=1.0) / 10
        for row in self.rows:
            biased = "biased" in row.note
            place, colour = max(row.variance, floor), "C1" if biased else "C0"
            ax.plot(place, row.estimator, "o", color=colour, mfc="none" if biased else colour)
            text = f"   {row.variance:.3g}" if row.variance > 0 else "   0"
            ax.annotate(text, (max(row.variance, floor), row.estimator), va="center", fontsize=8)
        ax.set(xscale="log", xlabel="variance of one estimate", title=self.problem)
        low, high = ax.get_xlim()
        ax.set_xlim(low, high * (high / low) ** 0.2)  # room for the numbers
        ax.margins(y=0.1 if len(self.rows) > 4 else 0.3)
        ax.grid(axis="y", alpha=0.3)
        ax.invert_yaxis()
        return ax

    def __repr__(self) -> str:
        cells = [HEAD, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        ends = (0, len(HEAD) - 1)
        lines = [
            "  ".join(
                c.ljust(w) if i in ends else c.rjust(w)
                for i, (c, w) in enumerate(zip(r, widths, strict=True))
            ).rstrip()
            for r in cells
        ]
        return "\n".join([f"{self.problem}, {self.draws:,} draws", *lines])

    def _repr_html_(self) -> str:
        import html

        head = "".join(f"<th>{name}</th>" for name in HEAD)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
            for row in self.rows
        )
        caption = f"<caption>{html.escape(self.problem)}, {self.draws:,} draws</caption>"
        return f"<table>{caption}<tr>{head}</tr>{body}</table>"


def _cells(row: Row) -> tuple[str, ...]:
    return (row.estimator, *(f"{getattr(row, name):.4g}" for name in COLUMNS[1:]), row.note)


def compare(
    problem: Problem,
    estimators: Iterable[str | Estimator] | str | Estimator | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Estimate the gradient of a problem many times with each estimator.

    Estimators with a state of their own (baselines, control variates) are first adapted to the
    problem, on a copy; the state then stands still. Every estimator starts from the same seed, and
    the global random state is left as it was.

    Args:
        problem: see :mod:`ppl_gen.gradients.problems` and :mod:`ppl_gen.gradients.programs`.
        estimators: names or :class:`Estimator` objects; all that serve the problem by default.
        draws: estimates per estimator, at least 2.
        seed: of the draws.

    Raises:
        ValueError: an unknown estimator, one that does not serve the problem's distribution, too
            few draws, or another thread that is training or comparing, with the same generators.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic(target=0.45)
    >>> comparison = ppl_gen.gradients.compare(problem, ["score", "disarm"], draws=500, seed=0)
    >>> score, disarm = comparison.rows
    >>> disarm.variance < score.variance
    True
    """
    if not isinstance(problem, Problem):
        raise ValueError(f"expected a problem of ppl_gen.gradients, got {type(problem).__name__}")
    require_at_least_two(draws, "at least 2 draws")
    if not is_whole(seed):
        raise ValueError(f"expected a whole number for the seed, got {seed!r}")
    if estimators is None:
        every = (kind() for kind in registry.values())
        chosen = [estimator for estimator in every if problem.refusal(estimator) is None]
    elif isinstance(estimators, (str, Estimator)):
        chosen = [make(estimators)]
    elif not isinstance(estimators, Iterable):
        raise ValueError(f"expected estimators or their names, got {estimators!r}")
    else:
        chosen = [make(estimator) for estimator in estimators]
    if not chosen:
        raise ValueError("expected at least one estimator, got none")
    for estimator in chosen:
        estimator.require(problem.distribution)
        if (reason := problem.refusal(estimator)) is not None:
            raise ValueError(f"{estimator.name!r} does not serve this problem: {reason}")
    rows = []
    for estimator in chosen:
        with exclusive("compare"), memory.retained(), seeded(seed):
            rows.append(_measure(problem, estimator, draws))
    return Comparison(repr(problem), draws, tuple(rows))


class _Counted:
    """A cost that counts its evaluations, without a graph unless the estimator needs one."""

    def __init__(self, cost: Cost, differentiate: bool):
        self.cost, self.differentiate, self.values = cost, differentiate, 0

    def __call__(self, z: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.differentiate and torch.is_grad_enabled()):
            result = self.cost(z)
        self.values += result.numel() if isinstance(result, Tensor) else 0
        return result


class _Sampler:
    """Draws gradient estimates in the leaves of a problem."""

    def __init__(self, problem: Problem, estimator: Estimator):
        self.problem = problem
        self.cost = _Counted(problem.cost, estimator.differentiates)
        dtype = next(iter(problem.leaves().values())).dtype
        self.estimator = copy.deepcopy(estimator).to(dtype)
        self.batch = problem.distribution.batch_shape.numel()

    def expectation(self, draws: int) -> tuple[Expectation, dict[str, Tensor]]:
        leaves = self.problem.leaves(draws)
        return self.problem.expectation(leaves, self.cost), leaves

    def gradients(self, draws: int) -> dict[str, Tensor]:
        """One estimate per draw, ``(draws, *leaf)`` by leaf."""
        expectation, leaves = self.expectation(draws)
        surrogate = self.estimator.surrogate(expectation)
        if self.problem.regularizer is not None:
            surrogate = surrogate + self.problem.regularizer(expectation.distribution)
        wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        found = torch.autograd.grad(surrogate.sum(), list(wanted.values()), allow_unused=True)
        return {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(wanted.items(), found, strict=True)
        }

    def evaluations(self) -> float:
        """Evaluations per estimate, counted on one."""
        self.cost.values = 0
        self.gradients(1)
        return self.cost.values / self.batch

    def adapt(self) -> None:
        size = max(1, min(ADAPTATION_DRAWS, self.problem.rows // (8 * self.batch)))
        self.estimator.adapt(lambda: self.expectation(size)[0], ADAPTATION_STEPS)


def _measure(problem: Problem, estimator: Estimator, draws: int) -> Row:
    sampler = _Sampler(problem, estimator)
    sampler.adapt()
    sampler.estimator.requires_grad_(False)
    evaluations = sampler.evaluations()
    chunk = max(1, int(problem.rows / (sampler.batch * max(1.0, evaluations))))
    pullback = problem.pullback
    centre: dict[str, Tensor] = {}
    total: dict[str, Tensor] = {}
    squares: list[dict[str, Tensor]] = []
    started = time.perf_counter()
    for start in range(0, draws, chunk):
        gradients = sampler.gradients(min(chunk, draws - start))
        # moments about the mean of the first chunk, which loses no digits to a large gradient
        centre = centre or {name: g.mean(0) for name, g in gradients.items()}
        shifted = {name: g - centre[name] for name, g in gradients.items()}
        squares.append(pullback.square_norms(shifted))
        for name, g in shifted.items():
            total[name] = total.get(name, 0.0) + g.double().sum(0)
    seconds = (time.perf_counter() - started) / draws

    offset = {name: (total[name] / draws).to(centre[name]) for name in centre}
    moved = pullback.parameters(offset)
    gradient = pullback.parameters({name: centre[name] + offset[name] for name in centre})
    norms = {name: torch.cat([s[name] for s in squares]).double() for name in squares[0]}
    by_parameter = {
        name: max(0.0, (n.sum() - draws * moved[name].double().square().sum()).item() / (draws - 1))
        for name, n in norms.items()
    }
    variance = sum(by_parameter.values())
    size = sum(g.double().square().sum().item() for g in gradient.values())
    signal = math.sqrt(max(0.0, size - variance / draws))
    snr = signal / math.sqrt(variance) if variance > 0 else math.inf if signal > 0 else math.nan
    bias = _bias(problem, gradient, estimator.multi_sample or 1)
    return Row(
        estimator=estimator.label,
        bias=bias,
        stderr=math.sqrt(variance / draws),
        variance=variance,
        snr=snr,
        cost=evaluations,
        seconds=seconds,
        variance_stderr=_sum(norms.values()).std().item() / math.sqrt(draws),
        by_parameter=by_parameter,
        gradient=gradient,
        note=_note(problem, estimator, bias),
    )


def _bias(problem: Problem, gradient: Mapping[str, Tensor], draws: int) -> float:
    truth = problem.truth(draws)
    if truth is None:
        return math.nan
    known = problem.pullback.parameters(truth)
    flat = torch.cat([known[n].flatten() for n in gradient])
    error = torch.cat([gradient[n].flatten() for n in gradient]) - flat
    if error.norm() <= 256 * torch.finfo(flat.dtype).eps * flat.norm():
        return 0.0
    return error.item() if error.numel() == 1 else error.norm().item()


def _note(problem: Problem, estimator: Estimator, bias: float) -> str:
    notes = ["biased by design"] if estimator.biased else []
    if estimator.multi_sample:
        notes.append(f"for the bound of {estimator.multi_sample} draws")
    if math.isnan(bias):
        notes.append("no truth known")
    return "; ".join([*notes, *estimator.remarks(problem.context)])


def _sum(tensors: Iterable[Tensor]) -> Any:
    return torch.stack(list(tensors)).sum(0)
