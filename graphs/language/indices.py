r"""Indices of products and sums: what :math:`x_{i-1}` is called while :math:`i = 3`.

An index stands in subscripts alone: ``x_i``, ``x_{i,j}``, ``z_{t-1}``, ``x_{2i+1}``, and in ranges
such as :math:`x_{1:t-1}`, which are several variables, or none. What could mean two things is
refused: :math:`x_{ij}` under i and j, an index that is also a variable, an index outside its
product.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from itertools import product

_SYMBOL = re.compile(r"[^\W\d_]+'*")
_TERM = re.compile(r"(\d*)([^\W\d_]*)")
_RANGE = re.compile(r"([^:]+):([^:]+)")
MOST_FACTORS = 20_000


class Unfit(ValueError):
    """An index that is used as none can be; the text is what was expected."""


class Indices:
    """The indices around a name.

    Attributes:
        values: what each stands for now, a number or a word.
        uses: how often each was used.
        free: symbols in subscripts that stood for themselves, and where.
        over: indices whose product has ended.
    """

    def __init__(self) -> None:
        self.values: dict[str, int | str] = {}
        self.uses: Counter[str] = Counter()
        self.free: dict[str, int] = {}
        self.over: set[str] = set()

    def number(self, text: str) -> int:
        """The number that an expression such as ``3``, ``i+1`` or ``2i`` stands for.

        Raises:
            Unfit: a symbol without a number, or another form.
        """
        total = 0
        for sign, term in re.findall(r"([+\-]?)([^+\-]*)", re.sub(r"\s", "", text))[:-1]:
            total += (-1 if sign == "-" else 1) * self._term(term)
        return total

    def _term(self, text: str) -> int:
        match = _TERM.fullmatch(text)
        if not match or not text:
            raise Unfit("sums of numbers and indices such as i-1, with a comma between two indices")
        if not match[2]:
            return int(match[1])
        value = self.values.get(match[2])
        if not isinstance(value, int):
            raise Unfit(
                f"a number in place of {match[2]}, which has none (graphs.parse and "
                f"graphs.check take it as bounds={{{match[2]!r}: 3}})"
            )
        self.uses[match[2]] += 1
        return int(match[1] or 1) * value

    def names(self, written: str, literal: int, position: int) -> tuple[str, ...]:
        """The names that a name with subscripts stands for: mostly one.

        Args:
            written: the name, with subscripts after underscores.
            literal: how much of it is not to be looked at.
            position: where it stands.

        Raises:
            Unfit: an index used as none can be.
        """
        if not self.values and "_" not in written[literal:]:
            return (written,)
        fixed, rest = written[:literal], written[literal:]
        base, *subscripts = rest.split("_")
        if self.values and not literal:
            base = self._based(base, bool(subscripts))
        choices = [self._choices(text, position) for text in subscripts]
        return tuple("_".join((fixed + base, *chosen)) for chosen in product(*choices))

    def _based(self, base: str, subscripted: bool) -> str:
        """What stands before the subscript, in which ``xᵢ`` has one of its own."""
        plain = base.rstrip("'")
        if plain in self.values and not subscripted:
            raise Unfit(f"a variable, not the index {plain} of a product")
        if len(plain) == 2 and plain[1] in self.values:
            raise Unfit(f"{plain[0]}_{plain[1]} for an index, or another name than {plain}")
        small = len(plain) - len(plain.rstrip(_small_characters(plain)))
        index = unicodedata.normalize("NFKC", plain[len(plain) - small :])
        if not small or not any(symbol in self.values for symbol in _SYMBOL.findall(index)):
            return base
        return plain[:-small] + _lowered(str(self.number(index))) + base[len(plain) :]

    def _choices(self, text: str, position: int) -> list[str]:
        parts = [self._part(part, position) for part in text.split(",")]
        return [",".join(chosen) for chosen in product(*parts)]

    def _part(self, text: str, position: int) -> list[str]:
        """One part between commas: itself, a number or word, or those of a range."""
        if ends := _RANGE.fullmatch(text):
            low, high = map(self.number, ends.groups())
            if high - low < -1 or high - low > MOST_FACTORS:
                raise Unfit(f"a range from the lower to the higher number, not {low}:{high}")
            return list(map(str, range(low, high + 1)))
        plain = text.rstrip("'")
        symbols = _SYMBOL.findall(plain)
        if not any(symbol in self.values for symbol in symbols):
            self._note(symbols, position)
            return [text]
        if isinstance(word := self.values.get(plain), str):
            self.uses[plain] += 1
            return [word + text[len(plain) :]]
        if plain.startswith("-"):
            raise Unfit(f"an index without a sign before it, since {plain} may mean all others")
        return [str(self.number(plain)) + text[len(plain) :]]

    def _note(self, symbols: list[str], position: int) -> None:
        for symbol in symbols:
            if len(symbol) > 1 and all(letter in self.values for letter in symbol):
                raise Unfit(f"{','.join(symbol)} with commas, since {symbol} may be another index")
            self.free.setdefault(symbol, position)

    def outside(self) -> tuple[str, int] | None:
        """An index that was used outside its product, and where, if one was."""
        return next(((i, at) for i, at in self.free.items() if i in self.over), None)


def _small_characters(text: str) -> str:
    """The characters that Unicode sets as subscripts."""
    return "".join(c for c in text if unicodedata.decomposition(c).startswith("<sub>"))


def _lowered(number: str) -> str:
    return number.translate(str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋"))


def preset(bounds: Mapping[str, int]) -> Indices:
    """Indices with the numbers that bounds stand for.

    Raises:
        ValueError: a bound that is not called by a word, or has no whole number.
    """
    indices = Indices()
    for name, value in bounds.items():
        if not isinstance(name, str) or not _SYMBOL.fullmatch(name):
            raise ValueError(f"expected names of bounds such as 'N', got {name!r}")
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ValueError(f"expected a whole number for the bound {name}, got {value!r}")
        indices.values[name] = value.__index__()
    return indices
