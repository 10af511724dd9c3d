r"""Claims about effects as text: :math:`P(y \mid \mathrm{do}(x)) = \sum_z P(y \mid x, z)\, P(z)`.

On either side stand sums of products of distributions, which may be those under an intervention. A
variable that is summed over twice, once as itself and once as a name with a prime, is two copies of
one variable, as in :math:`\sum_z P(z \mid x) \sum_{x'} P(y \mid x', z)\, P(x')`. Since sums
distribute over products, a side is one sum over all that is summed of one product.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from graphs.language.frames import unframed
from graphs.language.notation import Node, Reader
from graphs.language.products import SUM_OVER
from graphs.language.signs import BAR, DENIAL, PRODUCT, UNEQUAL
from graphs.structure.parsing import PROBABILITY, RELATION

_DO = re.compile(
    r"(?:\\(?:mathrm|operatorname|text|textrm|mathit)\s*\{\s*do\s*\}|(?<![\w\"])\\?do)"
    r"(?=\s*(?:\\left\s*)?[({\[])"
)
_BRACKETS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_OPEN = re.compile(r"\\?\{|[(\[]")


class Symbol(NamedTuple):
    """A variable in a formula: the one the formula is about, or a copy that is summed over."""

    node: Node
    copy: int = 0


@dataclass(frozen=True)
class Term:
    """A distribution P(head | do(done), given)."""

    head: tuple[Symbol, ...]
    given: tuple[Symbol, ...] = ()
    done: tuple[Symbol, ...] = ()

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        return (*self.head, *self.given, *self.done)


@dataclass(frozen=True)
class Formula:
    """A product of distributions, summed over copies of variables."""

    terms: tuple[Term, ...]
    over: frozenset[Symbol] = frozenset()

    @property
    def free(self) -> frozenset[Symbol]:
        """What it is a function of."""
        return frozenset(s for term in self.terms for s in term.symbols) - self.over

    @property
    def nodes(self) -> frozenset[Node]:
        return frozenset(s.node for term in self.terms for s in term.symbols)

    @property
    def observational(self) -> bool:
        """Whether no distribution in it is one under an intervention."""
        return not any(term.done for term in self.terms)


@dataclass(frozen=True)
class EffectClaim:
    """An equality about an effect that was read.

    Attributes:
        text: as it was written, evenly spaced.
        negated: whether it is stated not to hold.
        left: a distribution under an intervention.
        right: what it is said to be.
    """

    text: str
    negated: bool
    left: Term
    right: Formula


def states_effect(text: str) -> bool:
    """Whether a text mentions an intervention."""
    return bool(_DO.search(re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)))


def read_effect(text: str, node: Callable[[str], Node]) -> EffectClaim:
    """The claim about an effect that a text makes.

    Args:
        text: the claim.
        node: the node of the model that a name means.

    Raises:
        ValueError: text that is no such claim, an unknown name, an effect on no side that stands
            alone, a variable twice in a distribution, one summed over that occurs nowhere.
    """
    reader = Reader(unframed(text))
    negated = False
    while reader.accept(DENIAL):
        negated = not negated
    sides = _Sides(reader, node)
    first = sides.formula()
    unequal = bool(reader.accept(UNEQUAL))
    if not unequal:
        reader.expect(RELATION, "a distribution, '=' or '≠'")
    second = sides.formula()
    if not reader.done():
        raise reader.error("a distribution or the end of the text")
    written = " ".join(text.split())
    for left, right in ((first, second), (second, first)):
        if len(left.terms) == 1 and not left.over and left.terms[0].done:
            if not right.free <= left.free:
                names = ", ".join(sorted(str(s.node) for s in right.free - left.free))
                raise ValueError(
                    f"expected functions of the same variables on both sides, got {names} on one "
                    f"alone in {written}"
                )
            return EffectClaim(written, negated ^ unequal, left.terms[0], right)
    raise ValueError(f"expected a side that is one effect such as P(Y | do(X)), got {written}")


class _Sides:
    """Reads formulas; what is summed over is in ``scope`` from its sign to the end of the group."""

    def __init__(self, reader: Reader, node: Callable[[str], Node]):
        self.reader, self.node = reader, node
        self.scope: dict[str, Symbol] = {}
        self.copies = 0

    def formula(self) -> Formula:
        over: set[Symbol] = set()
        terms = self._product(over)
        return Formula(tuple(terms), frozenset(over))

    def _product(self, over: set[Symbol]) -> list[Term]:
        reader, terms, before = self.reader, list[Term](), self.scope
        self.scope = dict(before)
        while True:
            reader.skip()
            if terms and reader.accept(PRODUCT):
                reader.skip()
            if reader.match(SUM_OVER):
                terms += self._sum(over)
            elif reader.match(PROBABILITY):
                terms.append(self._term())
            elif opening := reader.match(_OPEN):
                terms += self._product(over)
                reader.expect(_BRACKETS[opening[0]], f"a distribution or '{_BRACKETS[opening[0]]}'")
            elif terms:
                self.scope = before
                return terms
            else:
                raise reader.error("a distribution such as P(Y | do(X)) or a sum such as Σ_Z")

    def _sum(self, over: set[Symbol]) -> list[Term]:
        reader, start = self.reader, self.reader.position
        reader.expect("_", "what is summed over, as in Σ_Z or Σ_{A,B}")
        if opening := reader.accept(_OPEN):
            names = reader.names()
            reader.expect(_BRACKETS[opening[0]], f"',' or '{_BRACKETS[opening[0]]}'")
        else:
            names = (reader.name(),)
        bound = []
        for name in names:
            self.copies += 1
            bound.append(Symbol(self._original(name), self.copies))
            self.scope[name] = bound[-1]
        terms = self._product(over)
        used = {s for term in terms for s in term.symbols}
        for name, symbol in zip(names, bound, strict=True):
            if symbol not in used:
                raise reader.error(f"{name} in a distribution after this sum", start)
        over.update(bound)
        return terms

    def _original(self, name: str) -> Node:
        """The node itself, or without a node of this name the one without its primes."""
        try:
            return self.node(name)
        except ValueError:
            if not name.rstrip("'") or not name.endswith("'"):
                raise
            return self.node(name.rstrip("'"))

    def _term(self) -> Term:
        reader, start = self.reader, self.reader.position
        closing = _BRACKETS[reader.expect(_OPEN, "'('")[0]]
        head = tuple(map(self._symbol, reader.names()))
        given: list[Symbol] = []
        done: list[Symbol] = []
        if reader.accept(BAR):
            self._condition(given, done)
            while reader.accept(","):
                self._condition(given, done)
        reader.skip()
        if reader.text.startswith("=", reader.position):
            raise reader.error("a variable and no value of it, since the claim is about all values")
        reader.expect(closing, f"',' or '{closing}'")
        term = Term(head, tuple(given), tuple(done))
        if len({s.node for s in term.symbols}) < len(term.symbols):
            raise reader.error("a variable once in a distribution", start)
        return term

    def _condition(self, given: list[Symbol], done: list[Symbol]) -> None:
        reader = self.reader
        if not reader.accept(_DO):
            given += map(self._symbol, reader.some())
            return
        closing = _BRACKETS[reader.expect(_OPEN, "'('")[0]]
        done += map(self._symbol, reader.names())
        reader.skip()
        if reader.text.startswith("=", reader.position):
            raise reader.error("a variable and no value of it, since the claim is about all values")
        reader.expect(closing, f"',' or '{closing}'")

    def _symbol(self, name: str) -> Symbol:
        return self.scope[name] if name in self.scope else Symbol(self.node(name))
