"""Observed values of many types, the containers they come in, and what they mean.

The meaning is that of :mod:`graphs.parameters.states`, written down a second time as a search over
all states.
"""

from __future__ import annotations

import math
from numbers import Number

import numpy as np
import pandas as pd
import torch

NAMES = [
    ("yes", "no"), ("no", "yes"), ("true", "false"), ("False", "True"), (True, False),
    (False, True), (1, 2, 3), (0, 1), (1, 0), ("1", "2", "3"), ("0", "1"), ("1", "0"),
    ("low", "mid", "high"), (0.5, 1.5), ("0.5", "1.5"), (2, 1, 0), ("a", "1"), (10, 20),
    ("a", 1), (2, "b", True), ("Yes", 0), (-1, 0, 1), ("-1", "1"), (0.1, 0.2, 0.3), ("1.0", "2"),
    (1.0, 2.0), ("01", "1"), ("nan", "b"), ("NA", "b"), ("None", "b"), (" yes", "no"),
    ("on", "off"), ("T", "F"), (True, "maybe"), (2, 3), ("2", "3"), ("1e0", "x"), (np.int64(2), 5),
    (np.True_, np.False_), ((0, 1), (1, 0)), ("one",), (1,), ("0",), ("low", "2", "high"),
]  # fmt: skip
OTHERS = [
    0, 1, 2, 3, -1, 10, 0.0, 1.0, 2.0, 0.5, 1.5, 0.3, True, False, "0", "1", "2", "1.0", "0.5",
    "yes", "no", "true", "False", "a", "", "nan", None, math.nan, pd.NA, pd.NaT, math.inf,
    np.int8(1), np.uint8(2), np.float32(0.1), np.float16(0.5), np.bool_(True), np.str_("yes"),
    np.float64("nan"), 2**53, 1j,
]  # fmt: skip
WORDS = {True: ("true", "yes"), False: ("false", "no")}
COMPLEX = (complex, np.complexfloating)
NOTHING = "no state, or several"


def typed(rng, names):
    """A value of some type: mostly one that stands for a state, as people type or compute it."""
    if rng.random() < 0.05:
        return OTHERS[rng.integers(len(OTHERS))]
    forms = values(names)
    return forms[rng.integers(len(forms))]


def values(names):
    """The values of all types that may stand for some of the states."""
    forms = []
    for index, state in enumerate(names):
        forms += [state, str(state), state, np.str_(state) if isinstance(state, str) else state]
        number = plain_number(state)
        if number is not None and abs(number) < 2**15:
            forms += [float(number), np.float64(number), np.float32(number)]
            forms += [int(number), np.int64(number), np.int16(number)] * (number == int(number))
        for truth, words in WORDS.items():
            if str(state).lower() in words or state is truth:
                forms += [truth, np.bool_(truth), str(truth).lower()]
        forms += [index, np.int32(index)]
    return forms


def plain_number(value):
    """The number that a value is or that its text is; booleans are none."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (np.float32, np.float16)):
        value = str(value)  # single precision means its shortest text
    try:
        number = float(value) if not isinstance(value, COMPLEX) else math.nan
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def meaning(value, names):
    """The index of the state that a value means, None if it is missing, else ``NOTHING``."""
    value = value.item() if isinstance(value, (np.bool_, np.integer, np.float64)) else value
    if value is None or value is pd.NA or value is pd.NaT or (value != value) is True:
        return None
    if isinstance(value, (np.float32, np.float16)):
        value = float(str(value))
        if math.isnan(value):
            return None
    found = candidates(value, names)
    return found[0] if len(found) == 1 else NOTHING


def candidates(value, names):
    """The indices of the states that a value may mean."""
    numbers = [plain_number(name) for name in names]
    bools = [bool(n) if isinstance(n, (bool, np.bool_)) else None for n in names]
    if isinstance(value, str):
        named = [i for i, name in enumerate(names) if isinstance(name, str) and name == value]
        return named or [i for i, name in enumerate(names) if str(name) == value]
    if isinstance(value, bool):
        if any(b is not None for b in bools):
            return [i for i, b in enumerate(bools) if b is value]
        words = [i for i, n in enumerate(names) if str(n).lower() in WORDS[value]]
        binary = len(names) == 2 and sorted(n for n in numbers if n is not None) == [0, 1]
        return words or ([numbers.index(int(value))] if binary else [])
    if isinstance(value, Number) and not isinstance(value, COMPLEX):
        found = {i for i, number in enumerate(numbers) if number == value}
        index = 0 <= value < len(names) and value == int(value)
        if any(b is not None for b in bools):  # True equals 1, and may be meant by its place too
            equal = {i for i, b in enumerate(bools) if b is not None and b == value and index}
            return sorted(found | equal | ({int(value)} if equal else set()))
        return [int(value)] if index and all(n is None for n in numbers) else sorted(found)
    return [i for i, name in enumerate(names) if type(name) is type(value) and name == value]


def evidence(rng, names):
    """Values of nodes with these states: one each, or a list of as many rows each."""
    rows = int(rng.integers(4))
    draw = {v: [typed(rng, states) for _ in range(max(rows, 1))] for v, states in names.items()}
    return {v: column if rows else column[0] for v, column in draw.items()}, rows


def contained(rng, given, rows):
    """The same evidence in some container that people use, as it comes out of it."""
    if not rows:
        kind = rng.integers(3)
        return dict(given) if kind else pd.Series(given, dtype=object if kind == 0 else None)
    columns = {v: column(rng, values) for v, values in given.items()}
    if rng.integers(3):
        return columns
    return pd.DataFrame({v: pd.Series(plain_list(c), dtype=dtype(c)) for v, c in columns.items()})


def dtype(column):
    """The pandas type of a column, object for what is not pandas'."""
    return column.dtype if isinstance(column, pd.Series) else object


def column(rng, values):
    """A list of values as a tuple, an array, a tensor or a Series, where one can hold it."""
    makers = [
        list, tuple, lambda v: pd.Series(v, dtype=object), pd.Series, pd.Categorical, np.array,
        lambda v: pd.Series(v, dtype="category"), lambda v: pd.Series(v, dtype="string"),
        lambda v: pd.Series(v, dtype="Int64"), lambda v: pd.Series(v, dtype="boolean"),
        lambda v: pd.Series(v, dtype="Float64"), torch.tensor, lambda v: np.array(v, dtype=object),
    ]  # fmt: skip
    try:
        made = makers[rng.integers(len(makers))](values)
    except (TypeError, ValueError, RuntimeError, OverflowError, IndexError):
        return values
    return made if getattr(made, "ndim", 1) == 1 else values


def plain_list(column):
    """The elements of a column as they come out of it, in the precision that it has."""
    if isinstance(column, torch.Tensor):
        column = column.numpy()
    single = isinstance(column, pd.Series) and column.dtype == np.float32
    return list(column.to_numpy() if single else column)


def elements(column, rows):
    """The values of a column, or the one value where there are no rows."""
    return plain_list(column) if rows else [column]
