"""Numbers and labels in whatever they come: arrays, frames, series and lists as tensors."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Classes = tuple[str, ...]


def as_tensor(part: Any) -> Tensor:
    """Numbers as a tensor: tensors as they are, arrays as they are but for what torch lacks.

    Frames, series and lists of floating-point numbers take torch's default type, frames always; a
    missing number, ``None`` or ``pandas.NA``, is NaN.

    Raises:
        ValueError: text, dates, complex numbers, rows of several lengths, or no numbers at all.

    >>> as_tensor([[1.5, None], [2.0, 3.0]])
    tensor([[1.5000,    nan],
            [2.0000, 3.0000]])
    """
    if isinstance(part, Tensor):
        return _dense(part)
    if is_frame(part):
        return _from_frame(part)
    if is_series(part):
        return _default(_numbers(_plain_array(part)))
    if isinstance(part, (list, tuple)):
        if part and all(isinstance(row, Tensor) for row in part):
            return _stacked(part)
        return _default(_numbers(_as_array(part)))
    if isinstance(part, np.ndarray) or hasattr(part, "__array__"):
        return _numbers(np.asanyarray(part))
    raise ValueError(f"expected numbers in a tensor, array, frame or list, got {_called(part)}")


def _dense(tensor: Tensor) -> Tensor:
    """A tensor with all its values in place."""
    if tensor.is_nested:
        raise ValueError("expected rows of one shape, got a nested tensor")
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def is_frame(part: Any) -> bool:
    """Whether something is a pandas ``DataFrame``, without importing pandas."""
    return _is_pandas(part) and hasattr(part, "columns")


def is_series(part: Any) -> bool:
    """Whether something is a pandas ``Series`` or ``Index``, without importing pandas."""
    return _is_pandas(part) and hasattr(part, "dtype") and not hasattr(part, "columns")


def is_text(part: Any) -> bool:
    """Whether something is a column of text, or of categories: labels that have names."""
    if isinstance(part, Tensor) or is_frame(part):
        return False
    if is_series(part):
        return part.dtype.kind not in "buifcMm" or part.dtype.name == "category"
    if isinstance(part, np.ndarray):
        values = part.ravel() if part.dtype.kind == "O" else ()
        return part.dtype.kind in "UST" or any(isinstance(v, str) for v in values)
    return isinstance(part, (list, tuple)) and any(isinstance(v, str) for v in part)


def as_column(labels: Any) -> Any:
    """Labels in a frame or an array of one column as a series or a vector; others as they are."""
    if is_frame(labels) and labels.shape[1] == 1:
        return labels.iloc[:, 0]
    single = isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.shape[1] == 1
    return labels[:, 0] if single else labels


def encode_labels(labels: Any, classes: Classes | None = None) -> tuple[Tensor, Classes]:
    """Codes of text labels, and the names of the classes, by code; a missing label is −1.

    Args:
        labels: a sequence of ``N`` names.
        classes: the names where they are known; the names that occur, sorted, otherwise. A
            categorical series brings its own.

    Raises:
        ValueError: a label outside the classes.

    >>> encode_labels(["dog", "cat", None])
    (tensor([ 1,  0, -1]), ('cat', 'dog'))
    """
    dtype: Any = getattr(labels, "dtype", None)
    if classes is None and getattr(dtype, "name", None) == "category":
        classes = tuple(map(str, dtype.categories))
    if getattr(labels, "ndim", 1) != 1:
        raise ValueError(f"expected one column of labels, got shape {tuple(labels.shape)}")
    values = [None if is_missing(v) else _name(v) for v in list(labels)]
    if classes is None:
        classes = tuple(sorted({v for v in values if v is not None}))
    codes = {name: code for code, name in enumerate(classes)}
    if odd := sorted({v for v in values if v is not None} - codes.keys()):
        raise ValueError(f"expected labels among {', '.join(classes)}, got {odd[0]!r}")
    found = [-1 if v is None else codes[v] for v in values]
    return torch.tensor(found, dtype=torch.int64), classes


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: ``None``, NaN, ``pandas.NA`` or ``NaT``."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def _name(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_pandas(part: Any) -> bool:
    return type(part).__module__.split(".")[0] == "pandas"


def _called(part: Any) -> str:
    return type(part).__name__


def _from_frame(frame: Any) -> Tensor:
    columns = []
    for i, name in enumerate(frame.columns):
        column = frame.iloc[:, i]
        try:
            columns.append(_numbers(_plain_array(column)).double())
        except ValueError as error:
            raise ValueError(
                f"expected numbers in every column, {name!r} has others: {error}; "
                "ppl_gen.data.table encodes text and categories"
            ) from error
    if not columns:
        raise ValueError(f"expected a frame with columns, got shape {frame.shape}")
    return torch.stack(columns, 1).to(torch.get_default_dtype())


def _plain_array(column: Any) -> np.ndarray:
    """A series as an array: one that has missing numbers with NaN for them."""
    if column.dtype.kind in "iufb" and not isinstance(column.dtype, np.dtype):
        lacks = bool(column.isna().any())
        return column.to_numpy(dtype=float, na_value=math.nan) if lacks else column.to_numpy()
    return column.to_numpy()


def _as_array(rows: Sequence[Any]) -> np.ndarray:
    try:
        masked = any(map(np.ma.is_masked, rows))
        return np.ma.stack(rows) if masked else np.array(rows)
    except ValueError as error:
        raise ValueError(f"expected rows of one length, got others: {error}") from error


def _numbers(array: np.ndarray) -> Tensor:
    if isinstance(array, np.ma.MaskedArray):
        array = _unmasked(array)
    if array.dtype.kind == "O":
        array = _from_objects(array)
    if array.dtype.kind in "UST":
        raise ValueError(f"expected numbers, got text such as {str(array.ravel()[0])!r}")
    if array.dtype.kind not in "buif":
        raise ValueError(f"expected real numbers, got {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy()).reshape(
        array.shape
    )


def _unmasked(array: Any) -> np.ndarray:
    """A masked array as a plain one, with NaN for what is masked."""
    if not np.ma.is_masked(array):
        return array.data
    if array.dtype.kind not in "buifO":
        raise ValueError(f"expected real numbers, got a masked array of {array.dtype}")
    return array.astype(array.dtype if array.dtype.kind in "fO" else float).filled(math.nan)


def _from_objects(array: np.ndarray) -> np.ndarray:
    """Objects that are numbers or missing as an array of numbers."""
    values = [math.nan if is_missing(v) else v for v in array.ravel().tolist()]
    for value in values:
        if isinstance(value, str):
            raise ValueError(f"expected numbers, got text such as {value!r}")
        if not isinstance(value, (int, float)):
            raise ValueError(f"expected numbers, got a {_called(value)} among them")
    return np.array(values).reshape(array.shape)


def _default(numbers: Tensor) -> Tensor:
    return numbers.to(torch.get_default_dtype()) if numbers.is_floating_point() else numbers


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    if len({row.shape for row in rows}) > 1:
        shapes = sorted({tuple(row.shape) for row in rows})
        raise ValueError(f"expected tensors of one shape in a list, got shapes {shapes}")
    return torch.stack(list(rows))


def is_batch_of_parts(data: Any) -> bool:
    """Whether a list is one of arrays and columns of text, rather than of rows or numbers."""
    arrays = [isinstance(p, (Tensor, np.ndarray)) or _is_pandas(p) for p in data]
    return any(arrays) and all(map(operator.or_, arrays, map(is_text, data)))


def parts_of(data: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The parts of data, with their names where it is a dictionary."""
    if isinstance(data, Mapping):
        odd = [key for key in data if not isinstance(key, str)]
        if odd or not data:
            raise ValueError(f"expected a dictionary of names to data, got keys {list(data)}")
        return tuple(data), tuple(data.values())
    if isinstance(data, tuple) or (isinstance(data, list) and is_batch_of_parts(data)):
        return (), tuple(data)
    return (), (data,)
