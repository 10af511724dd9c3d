"""What happened during training, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class History(Mapping[str, list[float]]):
    """Metrics by name, one number per optimiser step; NaN where a step did not record one.

    ``history["elbo"]`` is a list; ``len(history)`` counts metrics and ``history.steps`` steps.
    ``history.staging`` says which steps :func:`ppl_gen.fit` compiled, and why.

    >>> history = ppl_gen.History()
    >>> history.record({"loss": 3.0})
    >>> history.record({"loss": 2.0, "kl": 0.5})
    >>> history["kl"], history.steps
    ([nan, 0.5], 2)
    >>> history
    History(steps=2, last: loss=2, kl=0.5)
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.steps = 0
        self.staging = ""

    def record(self, metrics: Mapping[str, float]) -> None:
        """Add one step."""
        for name, value in metrics.items():
            if name not in self._columns:
                self._columns[name] = [math.nan] * self.steps
            self._columns[name].append(float(value))
        self.steps += 1
        if len(metrics) < len(self._columns):
            for name in self._columns.keys() - metrics.keys():
                self._columns[name].append(math.nan)

    def amend(self, metrics: Mapping[str, float]) -> None:
        """Add metrics to the last step, such as those of a validation after it."""
        for name, value in metrics.items():
            self._columns.setdefault(name, [math.nan] * self.steps)[-1] = float(value)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            raise KeyError(f"expected a metric among {', '.join(self._columns)}, got {name!r}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={column[-1]:.4g}" for name, column in self._columns.items())
        return f"History(steps={self.steps}, last: {last or 'nothing'})"

    def _repr_html_(self) -> str:
        """The curve, and the last step as a table."""
        from html import escape

        if not self.steps:
            return f"<pre>{escape(repr(self))}</pre>"
        head = "".join(f"<th>{escape(name)}</th>" for name in self._columns)
        last = "".join(f"<td>{column[-1]:.4g}</td>" for column in self._columns.values())
        table = f"<table><tr><th>step</th>{head}</tr><tr><td>{self.steps}</td>{last}</tr></table>"
        return self._picture() + table

    def _picture(self) -> str:
        """The curves as SVG text, or nothing where no metric is one to draw."""
        from io import StringIO

        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.4, 3.0), layout="constrained")
        axes = self.plot(figure.subplots())
        if not axes.lines:
            return ""
        text = StringIO()
        figure.savefig(text, format="svg")
        return text.getvalue()[text.getvalue().index("<svg") :]

    def to_frame(self) -> pandas.DataFrame:
        """The metrics as a DataFrame indexed by step, counted from 1."""
        import pandas

        index = pandas.RangeIndex(1, self.steps + 1, name="step")
        return pandas.DataFrame(self._columns, index=index)

    def plot(self, ax: Axes | None = None, names: list[str] | None = None) -> Axes:
        """Curves of the metrics against the step, on Axes that are created if not given."""
        from ppl_gen.plot import curves

        return curves(self, ax=ax, names=names)

    def state(self) -> dict[str, Any]:
        """The history as tensors, for a checkpoint."""
        columns = {k: torch.tensor(v, dtype=torch.float64) for k, v in self._columns.items()}
        return {"steps": self.steps, "columns": columns}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        history = cls()
        columns: Mapping[str, Tensor] = state["columns"]
        history._columns = {name: column.tolist() for name, column in columns.items()}
        history.steps = state["steps"]
        return history
