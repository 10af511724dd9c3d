"""The columns of a table: what each holds, and how its values become numbers and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen.data.tensors import as_tensor, encode_labels, is_missing

Kind = str | int


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: what the frame calls it.
        kind: ``"gaussian"``, ``"bernoulli"`` or the number of categories.
        dtype: its type in the frame.
        mean: of the known values of a Gaussian column.
        scale: their standard deviation, 1 where they are all alike.
        categories: the values that codes stand for, by code, unless it is Gaussian.
    """

    name: Any
    kind: Kind
    dtype: Any
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[Any, ...] = ()

    def encode(self, series: Any) -> np.ndarray:
        """Standardised numbers or codes, ``(N,)``, with NaN for missing cells."""
        if self.kind == "gaussian":
            with np.errstate(over="ignore"):
                found = (_finite(series, self.name) - self.mean) / self.scale
            if np.isinf(found).any():
                raise ValueError(f"expected numbers of one scale in column {self.name!r}, got some")
            return found
        codes = {value: code for code, value in enumerate(self.categories)}
        if odd := sorted(_distinct(series, self.name) - codes.keys()):
            shown = ", ".join(map(repr, self.categories))
            raise ValueError(
                f"expected values among {shown} in column {self.name!r}, got {odd[0]!r}"
            )
        values = [math.nan if is_missing(v) else codes[v] for v in series.tolist()]
        return np.array(values, dtype=float)

    def decode(self, values: np.ndarray) -> Any:
        """A series in the units, or of the categories, of the frame."""
        import pandas as pd

        if self.kind == "gaussian":
            numbers = pd.Series(values * self.scale + self.mean)
            return numbers.astype(self.dtype) if self.dtype.kind == "f" else numbers
        codes = self._codes(values)
        cells = [None if code < 0 else self.categories[code] for code in codes]
        series = pd.Series(cells, dtype=object)
        plain = isinstance(self.dtype, np.dtype) and self.dtype.kind in "biu"
        if plain and (codes < 0).any():  # the type of the frame has no missing values
            return series if self.dtype.kind == "b" else series.astype(float)
        return series.astype(self.dtype)

    def _codes(self, values: np.ndarray) -> np.ndarray:
        """Whole codes, −1 for none; a probability is the code of the more probable value."""
        known = ~np.isnan(values)
        if self.kind == "bernoulli":
            good, what = (values >= 0) & (values <= 1), "probabilities"
            values = values >= 0.5
        else:
            what = f"codes from 0 to {len(self.categories) - 1}"
            good = (values == np.floor(values)) & (values >= 0) & (values < len(self.categories))
        if (known & ~good).any():
            raise ValueError(f"expected {what} in column {self.name!r}, got others")
        return np.where(known, values, -1).astype(int)

    def stored(self) -> dict[str, Any]:
        """The column as plain data, for files; what is neither text nor a number becomes text."""
        known = {} if self.dtype.name != "category" else _of_type(self.dtype)
        return {
            "name": plain(self.name),
            "kind": self.kind,
            "dtype": str(self.dtype),
            "mean": self.mean,
            "scale": self.scale,
            "categories": [plain(value) for value in self.categories],
            **known,
        }

    @staticmethod
    def restored(stored: Mapping[str, Any]) -> Column:
        """What :meth:`stored` gave.

        Raises:
            ValueError: anything else.
        """
        import pandas as pd

        try:
            dtype = pd.api.types.pandas_dtype(stored["dtype"])
            if "levels" in stored:
                dtype = pd.CategoricalDtype(stored["levels"], stored["ordered"])
            mean, scale = float(stored["mean"]), float(stored["scale"])
            categories = tuple(stored["categories"])
            return Column(stored["name"], stored["kind"], dtype, mean, scale, categories)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected a column of a table, got {stored!r}: {error}") from error


def plain(value: Any) -> Any:
    """A value as Python's own number or text, which any file can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _of_type(dtype: Any) -> dict[str, Any]:
    """What a type of pandas categories knows beside its name."""
    return {
        "levels": [plain(value) for value in dtype.categories.tolist()],
        "ordered": bool(dtype.ordered),
    }


def fit_column(series: Any, name: Any, kind: Any = None, rows: Any = None) -> Column:
    """The column of a series: its kind where none is told, its constants and categories.

    The constants are of all rows, or of some by position.
    """
    column = _fitted(series, name, kind)
    if column.kind != "gaussian" or rows is None:
        return column
    return _fitted(series.iloc[rows], name, "gaussian")


def _fitted(series: Any, name: Any, kind: Any) -> Column:
    if kind is None:
        kind = _inferred(series, name)
    if not _is_known(kind):
        raise ValueError(
            "expected 'gaussian', 'bernoulli', 'categorical', a number of categories from two or "
            f"their names for column {name!r}, got {kind!r}"
        )
    kind = int(kind) if is_whole(kind, 2) else kind
    if not series.notna().any():
        raise ValueError(f"expected a known cell in column {name!r}, got only missing ones")
    if kind == "gaussian":
        numbers = _finite(series, name)
        known = numbers[~np.isnan(numbers)]
        with np.errstate(over="ignore"):
            mean, scale = float(known.mean()), float(known.std())
        constant = known.min() == known.max()
        if not constant and not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"expected numbers of one scale in column {name!r}, got {known.max()}")
        if constant:
            return Column(name, kind, series.dtype, float(known[0]))
        return Column(name, kind, series.dtype, mean, scale)
    names = _categories(series, name, kind)
    size: Kind = "bernoulli" if kind == "bernoulli" else len(names)
    return Column(name, size, _type_for(series.dtype, names), categories=names)


def fit_labels(series: Any, name: Any) -> tuple[str, ...]:
    """The names of the classes of a column of labels: its values as text, in their order.

    Raises:
        ValueError: labels that are neither text nor whole numbers, or none at all.
    """
    if series.dtype.name == "category":
        return tuple(map(str, series.dtype.categories))
    found = sorted(_distinct(series, name))
    if not found:
        raise ValueError(f"expected labels in column {name!r}, got only missing ones")
    return tuple(_label(value, name) for value in found)


def encode_column(series: Any, name: Any, classes: tuple[str, ...]) -> Tensor:
    """Codes of labels, ``(N,)``, with −1 for a missing one."""
    values = [None if is_missing(v) else _label(v, name) for v in series.tolist()]
    return encode_labels(values, classes)[0]


def _label(value: Any, name: Any) -> str:
    if isinstance(value, float):
        if value != round(value):
            raise ValueError(f"expected text or whole numbers as labels in {name!r}, got {value}")
        value = int(value)
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_known(kind: Any) -> bool:
    if isinstance(kind, str):
        return kind in ("gaussian", "bernoulli", "categorical")
    return is_whole(kind, 2) or (
        isinstance(kind, Sequence) and len(kind) > 1 and len(set(kind)) == len(kind)
    )


def _inferred(series: Any, name: Any) -> str:
    """By type; numbers that are just 0 and 1 are binary."""
    dtype = series.dtype
    if dtype.name == "category":
        return "categorical"
    if dtype.kind == "b":
        return "bernoulli"
    if dtype.kind in "uif":
        return "bernoulli" if _distinct(series, name) == {0, 1} else "gaussian"
    if dtype.kind in "cmM":
        return "gaussian"  # refused as no real numbers
    found = _distinct(series, name)
    if found and all(isinstance(value, (bool, np.bool_)) for value in found):
        return "bernoulli"
    return "categorical" if any(isinstance(value, (str, bytes)) for value in found) else "gaussian"


def _finite(series: Any, name: Any) -> np.ndarray:
    try:
        numbers = as_tensor(series.to_numpy()).double().numpy()
    except ValueError as error:
        raise ValueError(f"expected numbers in column {name!r}: {error}") from error
    if np.isinf(numbers).any():
        raise ValueError(f"expected finite numbers in column {name!r}, got infinity")
    return numbers


def _distinct(series: Any, name: Any) -> set[Any]:
    """The known values, which must be of one sort: text, or numbers."""
    try:
        found = {value for value in series.tolist() if not is_missing(value)}
    except TypeError as error:
        raise ValueError(f"expected text or numbers in column {name!r}: {error}") from error
    sorts = {"number" if isinstance(v, (bool, int, float)) else type(v).__name__ for v in found}
    if len(sorts) > 1:
        raise ValueError(
            f"expected values of one type in column {name!r}, got {' and '.join(sorted(sorts))}"
        )
    return found


def _categories(series: Any, name: Any, kind: Any) -> tuple[Any, ...]:
    """The values of a column that codes stand for: told, of its type, or those that occur."""
    if not isinstance(kind, (str, int)):
        return tuple(kind)
    of_type = series.dtype.name == "category"
    found = series.dtype.categories.tolist() if of_type else sorted(_distinct(series, name))
    if kind == "categorical":
        if len(found) < 2:
            raise ValueError(f"expected two categories or more in column {name!r}, got {found}")
        return tuple(found)
    size = 2 if kind == "bernoulli" else int(kind)
    codes = (False, True) if all(isinstance(v, bool) for v in found) else tuple(range(size))
    if set(found) <= set(codes):  # codes already
        return codes
    if len(found) != size:
        raise ValueError(f"expected {size} categories in column {name!r}, got {len(found)}")
    return tuple(found)


def _type_for(dtype: Any, names: tuple[Any, ...]) -> Any:
    """The type of a column, of pandas categories one that knows all of the names."""
    if dtype.name != "category" or set(names) <= set(dtype.categories):
        return dtype
    return type(dtype)(names, dtype.ordered)
