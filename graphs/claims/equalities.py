r"""Equalities between conditional distributions, as the independences that they state.

:math:`P(H \mid G) = \prod_i P(H_i \mid G_i)`, for a partition of H and an order in which every
:math:`G_i` lies in G and the :math:`H_j` before it, holds exactly where

.. math::

    H_i \perp (G \cup H_1 \cup \dots \cup H_{i-1}) \setminus G_i \mid G_i \quad\text{for every } i,

by the chain rule: summed over what comes later, both sides agree for the first i factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphs.language.frames import unframed
from graphs.language.indices import preset
from graphs.language.notation import Node, ParseError, Reader
from graphs.language.signs import DENIAL, UNEQUAL
from graphs.structure.factorization import Factor
from graphs.structure.parsing import RELATION, read_product


@dataclass(frozen=True)
class Equality:
    """An equality that was read.

    Attributes:
        text: as it was written, evenly spaced.
        negated: whether it is stated not to hold.
        left: the one conditional distribution on a side.
        right: the product on the other.
    """

    text: str
    negated: bool
    left: Factor
    right: tuple[Factor, ...]

    def statements(self) -> list[tuple[set[Node], set[Node], set[Node]]]:
        """The independences x ⟂ y | z it amounts to; none where the chain rule alone gives it.

        Raises:
            ValueError: sides of different variables, or conditions that do not follow the chain
                rule in any order.
        """
        heads = [set(factor.variables) for factor in self.right]
        if sum(map(len, heads)) != len(set(self.left.variables)) or set().union(*heads) != set(
            self.left.variables
        ):
            raise ValueError(
                f"expected the distribution of the same variables on both sides, got {self.text}"
            )
        known, rest, found = set(self.left.given), list(self.right), []
        while rest:
            following = [factor for factor in rest if known >= set(factor.given)]
            if not following:
                raise ValueError(
                    "expected conditionals that multiply to the other side by the chain rule, got "
                    f"{rest[0]} in {self.text}"
                )
            given = set(following[0].given)
            if known - given:
                found.append((set(following[0].variables), known - given, given))
            known |= set(following[0].variables)
            rest.remove(following[0])
        return found


def read_equality(text: str, bounds: Mapping[str, int] | None = None) -> Equality | None:
    """The equality of conditional distributions that a text states, or ``None`` for other text.

    Args:
        text: the equality.
        bounds: numbers for letters, as in :func:`graphs.parse`.

    Raises:
        ValueError: an equality whose second side cannot be read, or in which neither side is a
            single distribution.
    """
    reader = Reader(unframed(text), preset(bounds or {}))
    negated = False
    while reader.accept(DENIAL):
        negated = not negated
    left = _product(reader)
    unequal = bool(left and reader.accept(UNEQUAL))
    if not left or not (unequal or reader.accept(RELATION)):
        return None
    negated ^= unequal
    right = _product(reader, told=any(factor.given for factor in left))
    if not right or not reader.done() or _factorizes(left, right):
        return None
    sign = " ≠ " if negated else " = "
    written = sign.join(" ".join(map(str, side)) for side in (left, right))
    if len(left) > 1 or (len(right) == 1 and not _follows(left[0], right[0])):
        left, right = right, left
    if len(left) > 1:
        raise ValueError(f"expected a single distribution on one side, got {written}")
    return Equality(written, negated, left[0], tuple(right))


def _factorizes(left: Sequence[Factor], right: Sequence[Factor]) -> bool:
    """Whether a joint distribution stands on the left, and on the right its factorization."""
    joint = set(left[0].variables)
    return len(left) == 1 and not left[0].given and all(joint.issuperset(f.given) for f in right)


def _follows(left: Factor, right: Factor) -> bool:
    return set(left.given) >= set(right.given)


def _product(reader: Reader, told: bool = False) -> Sequence[Factor]:
    """The conditional distributions that stand here, up to an equals sign or the end.

    ``told`` is whether text that cannot be read is told, since it can be nothing else.
    """
    try:
        factors, directed, _ = read_product(reader)
    except (ValueError, RecursionError) as error:
        if told and isinstance(error, ParseError):
            raise
        return []
    return factors if directed else []
