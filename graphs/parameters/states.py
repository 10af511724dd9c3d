"""What a value says about the state of a node.

A value is compared with the states by what it is:

* **text** is the state of that name, or else the one whose text it is (``"1"`` the state 1),
* a **number** is the state that is this number or the text of it (1.0 the states 1 and ``"1"``);
  a whole number is the *index* of a state where no state is a number or the text of one,
* a **boolean** is the state True or False, or else the word for it (true or yes, false or no, in
  any case), or else 1 or 0 where these are the two states,
* ``None``, NaN and pandas' NA and NaT are **missing**,
* anything else is the state equal to it.

So a state has one meaning before a network is written to a file, where all states become text, and
after. What could mean two states is refused: 1 for the states (True, False), where it is equal to
the first and the index of the second.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from graphs.language.notation import Node

MISSING = -1

_WORDS = {True: ("true", "yes"), False: ("false", "no")}
_MOST_EXACT = 2**53  # above it a float stands for several whole numbers


class StateNames:
    """The states of one node, to look values up in (see the module's text).

    Args:
        node: whose states they are, for messages.
        names: their names in order.
    """

    def __init__(self, node: Node, names: Sequence[Hashable]):
        self.node, self.names = node, tuple(names)
        plain = [simplified(name) for name in self.names]
        self._texts = {name: i for i, name in enumerate(plain) if isinstance(name, str)}
        self._bools = {name: i for i, name in enumerate(plain) if isinstance(name, bool)}
        self._written: dict[str, list[int]] = {}
        self._words: dict[str, list[int]] = {}
        self._numbers: dict[Any, list[int]] = {}
        self._others: dict[Any, list[int]] = {}
        self._nameless = any(is_missing(name) for name in plain)
        for i, name in enumerate(plain):
            if isinstance(name, str):
                self._words.setdefault(name.casefold(), []).append(i)
            else:
                self._written.setdefault(str(self.names[i]), []).append(i)
                if not isinstance(name, (Real, Decimal)):
                    self._others.setdefault(name, []).append(i)
            number = _number(name)
            if number is not None:
                self._numbers.setdefault(number, []).append(i)
        self.indexable = not self._numbers and not any(map(_stands_for_a_number, plain))

    def index(self, value: Any, where: str = "", indices: bool = True) -> int:
        """The index of the state that a value means, or -1 for a missing value.

        Args:
            value: what was observed.
            where: added to the node in messages.
            indices: whether a whole number may be an index.

        Raises:
            ValueError: no state, or more than one.
        """
        value = simplified(value)
        if is_missing(value):
            if self._nameless:
                raise self._refused(value, where, indices, ", which is missing or the state")
            return MISSING
        found = self._meant(value, indices)
        if len(found) == 1:
            return found[0]
        listing = " or ".join(repr(self.names[i]) for i in found)
        raise self._refused(value, where, indices, f", which may mean {listing}" if found else "")

    def _meant(self, value: Any, indices: bool) -> list[int]:
        if isinstance(value, str):
            known = self._texts.get(value)
            return self._written.get(value, []) if known is None else [known]
        if isinstance(value, bool):
            return self._of_bool(value)
        if isinstance(value, (Real, Decimal)):
            return self._of_number(value, indices)
        try:
            return self._others.get(value, [])
        except TypeError:
            return []

    def _of_bool(self, value: bool) -> list[int]:
        if self._bools:
            return [self._bools[value]] if value in self._bools else []
        words = [i for word in _WORDS[value] for i in self._words.get(word, ())]
        if words:
            return words
        binary = len(self.names) == 2 and set(self._numbers) == {0, 1}
        return self._numbers[int(value)] if binary else []

    def _of_number(self, value: Any, indices: bool) -> list[int]:
        found = self._numbers.get(value, [])
        if isinstance(value, float) and abs(value) >= _MOST_EXACT:
            return [i for i in found if not isinstance(_number(simplified(self.names[i])), int)]
        whole = indices and 0 <= value < len(self.names) and value == int(value)
        if self._bools and whole:  # True equals 1
            equal = [i for name, i in self._bools.items() if name == value]
            return sorted({*found, *equal, *((int(value),) if equal else ())})
        return [int(value)] if self.indexable and whole else found

    def _refused(self, value: Any, where: str, indices: bool, why: str) -> ValueError:
        listing = ", ".join(map(repr, self.names[:12])) + (", ..." if len(self.names) > 12 else "")
        index = f" or an index below {len(self.names)}" if indices and self.indexable else ""
        return ValueError(
            f"expected a state of {self.node!r}{where}, one of ({listing}){index}, "
            f"got {value!r}{why}"
        )


def simplified(value: Any) -> Any:
    """A scalar of numpy or torch as Python's own; single precision by its shortest text."""
    if hasattr(value, "detach") and getattr(value, "shape", None) == ():
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()[()]
    if getattr(value, "shape", None) == () and not isinstance(value, np.generic):
        value = np.asarray(value)[()]
    if isinstance(value, (np.float32, np.float16)):
        return float(str(value))
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
        return value.item()
    return value


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, (Real, Decimal)) and bool(value != value)


def _number(name: Any) -> Any:
    """The number that a state is, or that its text is; None for any other."""
    if isinstance(name, str):
        if "_" in name:  # Python reads 1_000 as a number, nobody writes a state so
            return None
        for read in (int, float):
            try:
                return None if (number := read(name)) != number else number
            except ValueError:
                continue
        return None
    real = isinstance(name, (Real, Decimal)) and not isinstance(name, bool)
    return name if real and not is_missing(name) else None


def _stands_for_a_number(name: Any) -> bool:
    """Whether a state is a boolean or an amount of time, which compare with numbers."""
    return isinstance(name, (bool, timedelta, np.timedelta64))
