"""Tables of several kinds of columns, as tensors that models take, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppl_gen.data.columns import Column, Kind, fit_column
from ppl_gen.data.tensors import is_frame


@dataclass(frozen=True, repr=False, eq=False)
class Table:
    """The rows of a frame as numbers; made by :func:`table`.

    Attributes:
        cells: ``(N, D)`` in torch's default type: standardised numbers, codes of categories, and
            NaN where a cell is missing.
        columns: name, kind and constants of every column.
        index: the labels of the rows in the frame.
    """

    cells: Tensor
    columns: tuple[Column, ...]
    index: Any = None

    @property
    def tensor(self) -> Tensor:
        """The cells."""
        return self.cells

    @property
    def names(self) -> tuple[Any, ...]:
        """What the columns are called."""
        return tuple(column.name for column in self.columns)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of the columns, as :class:`ppl_gen.likelihoods.Mixed` takes them."""
        return tuple(column.kind for column in self.columns)

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
        """Other rows with the columns, constants and categories of this table.

        Args:
            frame: a frame that has these columns, in any order.

        Raises:
            ValueError: a column that it lacks, or a category that is not known.
        """
        frame = _as_frame(frame)
        if absent := [name for name in self.names if name not in frame.columns]:
            raise ValueError(f"expected the columns {list(self.names)}, got none called {absent}")
        return _encoded(frame, self.columns)

    def to_frame(self, tensor: Tensor | None = None) -> Any:
        """A ``pandas.DataFrame`` in the original units and categories.

        Args:
            tensor: ``(N, D)``, the cells by default. A probability of a binary column becomes its
                more probable value.

        Raises:
            ValueError: another shape, or codes that stand for nothing.
        """
        import pandas as pd

        tensor = self.cells if tensor is None else torch.as_tensor(tensor)
        if tensor.dim() != 2 or tensor.shape[1] != len(self.columns):
            raise ValueError(
                f"expected cells of shape (N, {len(self.columns)}), got {tuple(tensor.shape)}"
            )
        array = tensor.detach().cpu().double().numpy()
        parts = [column.decode(array[:, i]) for i, column in enumerate(self.columns)]
        frame = pd.concat(parts, axis=1)
        frame.columns = pd.Index(self.names)
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


def table(frame: Any, kinds: Mapping[Any, Any] | Sequence[Any] | None = None) -> Table:
    """A table as a tensor: numbers standardised, categories as codes, missing cells as NaN.

    Numbers become Gaussian columns, with mean 0 and standard deviation 1 over the known cells;
    Boolean columns, and numbers that are just 0 and 1, are Bernoulli; text and categorical columns
    have the codes of their categories, which are sorted unless their type orders them.

    Args:
        frame: a ``pandas.DataFrame``, or what makes one: a dictionary of columns or an array.
        kinds: of all columns in order, or of some by name: ``"gaussian"``, ``"bernoulli"``,
            ``"categorical"``, a number of categories, or their values by code. The rest are as
            their types say.

    Raises:
        ValueError: no rows or columns, names that repeat, a column that does not fit its kind, that
            has only missing cells, that mixes text and numbers, or that holds dates or infinity.

    >>> animals = table({"weight": [4.0, None, 30.0], "sort": ["cat", "cat", "dog"]})
    >>> animals.kinds
    ('gaussian', 2)
    >>> animals.tensor
    tensor([[-1.,  0.],
            [nan,  0.],
            [ 1.,  1.]])
    >>> import ppl_gen
    >>> ppl_gen.zoo.vae((2,), 1, likelihood=animals.kinds, hidden=8)
    <vae: data 2, z ~ StandardNormal, Masked(Mixed) likelihood, ...
    """
    frame = _as_frame(frame)
    told = _by_name(frame.columns.tolist(), kinds)
    found = [fit_column(frame[name], name, told.get(name)) for name in frame.columns]
    return _encoded(frame, tuple(found))


def _encoded(frame: Any, columns: tuple[Column, ...]) -> Table:
    parts = [column.encode(frame[column.name]) for column in columns]
    cells = torch.from_numpy(np.stack(parts, 1)).to(torch.get_default_dtype())
    return Table(cells, columns, frame.index)


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
