"""Tables of several kinds of columns, as tensors that models take, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppl_gen.data.columns import Column, Kind, encode_column, fit_column, fit_labels, plain
from ppl_gen.data.csv_file import read_frame
from ppl_gen.data.tensors import is_frame


@dataclass(frozen=True)
class Schema:
    """What the columns of a table are, without its rows: all that takes rows to cells and back.

    A model that was trained on a :class:`Table` has its schema as ``vae.schema``, and its files
    have it too.

    Attributes:
        columns: name, kind and constants of every column.
        label: the name of the column of labels, if there is one beside them.
        classes: the names of its classes, by code.

    >>> train = ppl_gen.data.table({"weight": [4.0, 30.0], "sort": ["cat", "dog"]})
    >>> train.schema.transform({"weight": [17.0], "sort": ["dog"]}).tensor
    tensor([[0., 1.]])
    >>> train.schema.to_frame(torch.tensor([[1.0, 0.0]]))
       weight sort
    0    30.0  cat
    """

    columns: tuple[Column, ...]
    label: Any = None
    classes: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[Any, ...]:
        """What the columns are called."""
        return tuple(column.name for column in self.columns)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of the columns, as :class:`ppl_gen.likelihoods.Mixed` takes them."""
        return tuple(column.kind for column in self.columns)

    def transform(self, frame: Any) -> Table:
        """The rows of a frame with these columns, constants, categories and classes.

        Args:
            frame: a frame that has these columns, in any order, and labels or not.

        Raises:
            ValueError: a column that it lacks, or a category or class that is not known.
        """
        frame = _as_frame(frame)
        if absent := [name for name in self.names if name not in frame.columns]:
            raise ValueError(f"expected the columns {list(self.names)}, got none called {absent}")
        parts = [column.encode(frame[column.name]) for column in self.columns]
        cells = torch.from_numpy(np.stack(parts, 1)).to(torch.get_default_dtype())
        labels = None
        if self.classes is not None and self.label in frame.columns:
            labels = encode_column(frame[self.label], self.label, self.classes)
        return Table(cells, self, frame.index, labels)

    def to_frame(self, tensor: Any, labels: Tensor | None = None) -> Any:
        """Cells as a ``pandas.DataFrame`` in the original units and categories.

        Args:
            tensor: ``(N, D)``. A probability of a binary column becomes its more probable value.
            labels: codes of classes, ``(N,)``, for the column of labels.

        Raises:
            ValueError: another shape, or codes that stand for nothing.
        """
        import pandas as pd

        tensor = torch.as_tensor(tensor)
        if tensor.dim() != 2 or tensor.shape[1] != len(self.columns):
            raise ValueError(
                f"expected cells of shape (N, {len(self.columns)}), got {tuple(tensor.shape)}"
            )
        array = tensor.detach().cpu().double().numpy()
        parts = [column.decode(array[:, i]) for i, column in enumerate(self.columns)]
        frame = pd.concat(parts, axis=1)
        frame.columns = pd.Index(self.names)
        if labels is not None:
            names = [*(self.classes or ()), None]  # -1 is a missing one
            named = [names[code] for code in labels.tolist()]
            frame[self.label] = pd.Series(named, dtype=object)
        return frame

    def stored(self) -> dict[str, Any]:
        """The schema as plain data, for files."""
        return {
            "columns": [column.stored() for column in self.columns],
            "label": None if self.label is None else plain(self.label),
            "classes": None if self.classes is None else list(self.classes),
        }

    @staticmethod
    def restored(stored: Mapping[str, Any]) -> Schema:
        """What :meth:`stored` gave.

        Raises:
            ValueError: anything else.
        """
        try:
            columns = tuple(Column.restored(column) for column in stored["columns"])
            classes = stored["classes"]
            return Schema(columns, stored["label"], None if classes is None else tuple(classes))
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected the columns of a table, got others: {error}") from error

    def require_same(self, other: Schema) -> None:
        """Raise ``ValueError`` for another schema, whose cells mean something else."""
        if [*map(plain, self.names)] != [*map(plain, other.names)]:
            raise ValueError(
                f"expected a table with the columns {list(self.names)}, got {list(other.names)}"
            )
        for mine, its in zip(self.columns, other.columns, strict=True):
            told, given = mine.stored(), its.stored()
            for what in ("mean", "scale", "categories"):
                if told[what] != given[what]:
                    raise ValueError(
                        f"expected a table with the constants of the training, {what} "
                        f"{told[what]} in column {mine.name!r}, got {given[what]}: "
                        "vae.schema.transform(frame) makes one"
                    )


@dataclass(frozen=True, repr=False, eq=False)
class Table:
    """The rows of a frame as numbers; made by :func:`table`.

    Attributes:
        cells: ``(N, D)`` in torch's default type: standardised numbers, codes of categories, and
            NaN where a cell is missing.
        schema: what the columns are.
        index: the names of the rows in the frame.
        labels: codes of classes, ``(N,)``, −1 for a missing one; ``None`` without labels.

    >>> animals = ppl_gen.data.table({"weight": [4.0, None, 30.0], "sort": ["cat", "cat", "dog"]})
    >>> animals
    <Table: 3 rows, 1 cells missing; weight: gaussian, sort: 2>
    >>> animals.categories
    {'sort': ('cat', 'dog')}
    >>> animals.missing.sum().item()
    1
    """

    cells: Tensor
    schema: Schema
    index: Any = None
    labels: Tensor | None = None

    @property
    def tensor(self) -> Tensor:
        """The cells."""
        return self.cells

    @property
    def columns(self) -> tuple[Column, ...]:
        """Name, kind and constants of every column."""
        return self.schema.columns

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, by code."""
        return self.schema.classes

    @property
    def names(self) -> tuple[Any, ...]:
        """What the columns are called."""
        return self.schema.names

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of the columns, as :class:`ppl_gen.likelihoods.Mixed` takes them."""
        return self.schema.kinds

    @property
    def categories(self) -> dict[Any, tuple[Any, ...]]:
        """The values that codes stand for, by code, of every column that is not Gaussian."""
        return {column.name: column.categories for column in self.columns if column.categories}

    @property
    def means(self) -> Tensor:
        """What was subtracted, ``(D,)`` in double precision: 0 unless a column is Gaussian."""
        return torch.tensor([column.mean for column in self.columns], dtype=torch.float64)

    @property
    def scales(self) -> Tensor:
        """What was divided by, ``(D,)`` in double precision: 1 unless a column is Gaussian."""
        return torch.tensor([column.scale for column in self.columns], dtype=torch.float64)

    @property
    def missing(self) -> Tensor:
        """Which cells are missing, ``(N, D)``."""
        return self.cells.isnan()

    def transform(self, frame: Any) -> Table:
        """Other rows in the same way, see :meth:`Schema.transform`."""
        return self.schema.transform(frame)

    def to_frame(self, tensor: Tensor | None = None) -> Any:
        """A ``pandas.DataFrame`` in the original units and categories; labels with its own rows.

        Args:
            tensor: ``(N, D)``, the cells by default, see :meth:`Schema.to_frame`.

        Raises:
            ValueError: another shape, or codes that stand for nothing.
        """
        own = tensor is None
        frame = self.schema.to_frame(
            self.cells if tensor is None else tensor, self.labels if own else None
        )
        if self.index is not None and len(self.index) == len(frame):
            frame.index = self.index
        return frame

    def __len__(self) -> int:
        return len(self.cells)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.cells.cpu().numpy(), dtype)

    def __repr__(self) -> str:
        missing = int(self.missing.sum())
        columns = ", ".join(f"{column.name}: {column.kind}" for column in self.columns)
        return f"<Table: {len(self):,} rows, {missing:,} cells missing; {columns}>"


def table(
    frame: Any,
    kinds: Mapping[Any, Any] | Sequence[Any] | None = None,
    *,
    labels: Any = None,
) -> Table:
    """A table as a tensor: numbers standardised, categories as codes, missing cells as NaN.

    Numbers become Gaussian columns, with mean 0 and standard deviation 1 over the known cells;
    Boolean columns, and numbers that are just 0 and 1, are Bernoulli; text and categorical columns
    have the codes of their categories, which are sorted unless their type orders them.

    Args:
        frame: a ``pandas.DataFrame``, or what makes one: a dictionary of columns or an array; or
            the path of a CSV file whose first line names the columns, see :func:`read_frame`.
        kinds: of all columns in order, or of some by name: ``"gaussian"``, ``"bernoulli"``,
            ``"categorical"``, a number of categories, or their values by code. The rest are as
            their types say.
        labels: the name of a column of labels, text or whole numbers, which is no cell of the
            table: conditional models are given them.

    Raises:
        ValueError: no rows or columns, names that repeat, a column that does not fit its kind, that
            has only missing cells, that mixes text and numbers, or that holds dates or infinity.

    >>> animals = ppl_gen.data.table({"weight": [4.0, None, 30.0], "sort": ["cat", "cat", "dog"]})
    >>> animals.kinds
    ('gaussian', 2)
    >>> animals.tensor
    tensor([[-1.,  0.],
            [nan,  0.],
            [ 1.,  1.]])
    >>> ppl_gen.zoo.vae((2,), 1, likelihood=animals.kinds, hidden=8)
    <vae: data 2, z ~ StandardNormal, Masked(Mixed) likelihood, ...
    """
    if isinstance(frame, (str, os.PathLike)):
        frame = read_frame(frame)
    frame = _as_frame(frame)
    return fit_schema(frame, kinds, labels).transform(frame)


def fit_schema(frame: Any, kinds: Any = None, label: Any = None, rows: Any = None) -> Schema:
    """The schema of a frame; means and scales are of all rows, or of some by position."""
    names = frame.columns.tolist()
    classes = None
    if label is not None:
        if label not in names:
            raise ValueError(f"expected a column of labels among {names}, got {label!r}")
        names.remove(label)
        classes = fit_labels(frame[label], label)
    if not names:
        raise ValueError(f"expected columns other than the labels {label!r}, got none")
    told = _by_name(names, kinds)
    columns = (fit_column(frame[name], name, told.get(name), rows) for name in names)
    return Schema(tuple(columns), label, classes)


def _as_frame(frame: Any) -> Any:
    import pandas as pd

    if not is_frame(frame):
        try:
            frame = pd.DataFrame(frame.numpy() if isinstance(frame, Tensor) else frame)
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected a pandas DataFrame, got {type(frame).__name__}") from error
    if not frame.shape[0] or not frame.shape[1]:
        raise ValueError(f"expected a frame with rows and columns, got shape {frame.shape}")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"expected columns of different names, got {twice!r} twice")
    return frame


def _by_name(names: list[Any], kinds: Mapping[Any, Any] | Sequence[Any] | None) -> dict[Any, Any]:
    if kinds is None:
        return {}
    if isinstance(kinds, Mapping):
        if odd := [name for name in kinds if name not in names]:
            raise ValueError(f"expected kinds of the columns {names}, got one of {odd[0]!r}")
        return dict(kinds)
    if isinstance(kinds, str) or not isinstance(kinds, Sequence) or len(kinds) != len(names):
        raise ValueError(f"expected the kinds of {len(names)} columns, got {kinds!r}")
    return dict(zip(names, kinds, strict=True))
