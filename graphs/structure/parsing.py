r"""Factorizations from text or LaTeX, as they are written in textbooks.

A product over an index, :math:`\prod_{i=1}^{3} p(x_i \mid y)`, is written out. Its body is what
stands in brackets after the bounds, or else all that follows, up to the end of the term, to a
factor in which the index does not occur or to another product over the same index: in
:math:`\prod_{t=2}^{5} p(z_t \mid z_{t-1})\,p(x_t \mid z_t)\,p(y)` both conditionals are multiplied
four times, and :math:`p(y)` stands outside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphs.language.frames import unframed
from graphs.language.indices import MOST_FACTORS, preset
from graphs.language.notation import Node, ParseError, Reader
from graphs.language.products import PRODUCT_OVER, SUM_OVER, Rebound, for_each, read_index
from graphs.language.signs import BAR, DOTS, GREEK, PRODUCT, UNEQUAL
from graphs.structure.energies import ENERGY, read_energy
from graphs.structure.factorization import Factor, Factorization
from graphs.structure.models import factorization

_OPENING = r"(?=\s*(?:\\left\s*)?\()"
_PROBABILITY = (
    r"(?:\\Pr|ℙ|\\(?:math(?:rm|bf|bb|cal|sf|it|scr)|operatorname|text)\s*"
    r"(?:\{\s*(?:Pr(?:ob)?|[Ppq])\s*\}|[Ppq])|Prob|prob|Pr|P|p|q)(?:_(?:\{[^{}]*\}|\\?\w+))?"
)
_POTENTIAL = r"\\?(?:phi|varphi|psi|Phi|Psi|φ|ϕ|ψ|Φ|Ψ|f)(?P<subscript>_?\{[^{}]*\}|\w*)"
_SYMBOL = re.compile(
    rf"(?P<probability>{_PROBABILITY}(?=\s*(?:\\left\s*)?[(\[]))|(?P<potential>{_POTENTIAL}{_OPENING})"
)
PROBABILITY = re.compile(rf"{_PROBABILITY}(?=\s*(?:\\left\s*)?[(\[])")
_START = re.compile(rf"(?:{_PROBABILITY}|{_POTENTIAL}){_OPENING}")
_NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PARAMETER = rf"(?:\\(?:{'|'.join(GREEK)})|[α-ωΑ-Ω])"
_Z = (
    rf"(?:\\mathcal\s*\{{?Z\}}?|Z)(?:_(?:{_PARAMETER}|\{{{_PARAMETER}\}}))?"
    rf"(?:\(\s*{_PARAMETER}\s*\))?(?![\w(])"
)
_PARTITION = re.compile(
    rf"{_NUMBER}\s*/\s*{_Z}|\(\s*{_NUMBER}\s*/\s*{_Z}\s*\)"
    rf"|\\[td]?frac\s*(?:\{{\s*{_NUMBER}\s*\}}|{_NUMBER})\s*(?:\{{\s*{_Z}\s*\}}|Z)"
    rf"|\{{\s*{_NUMBER}\s*\\over\s*{_Z}\s*\}}|Z\^(?:\{{-1\}}|-1)|Z⁻¹"
)
_OVER_PARTITION = re.compile(rf"/\s*{_Z}")
_FRACTION = re.compile(r"\\[td]?frac\s*\{")
_DENOMINATOR = re.compile(rf"\{{\s*{_Z}\s*\}}")
_DOTS = re.compile(DOTS)
_LINE_BREAK = re.compile(r"(?:\\\\(?:\[[^\]]*\])?|&)")
_RELATION = r"(?::?==?|≔|≡|∝|\\(?:propto|equiv|coloneqq|triangleq)(?![A-Za-z]))"
RELATION = re.compile(rf"&?\s*{_RELATION}\s*&?")
_BARE_LEFT = re.compile(rf"(?:\\Pr|Pr|P|p|q)(?=\s*&?\s*{_RELATION})")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LETTERS = {"phi": "φ", "varphi": "φ", "ϕ": "φ", "psi": "ψ", "Phi": "Φ", "Psi": "Ψ"}
_RATIO = re.compile(rf"{_NUMBER}(?:\s*/\s*{_NUMBER})?")
_GROUP = re.compile(r"\\?\{|[(\[]")
_CLOSING = re.compile(r"\\?\}|[)\]]")
_CLOSINGS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_INTEGRAL = re.compile(r"∫|\\i*nt(?![A-Za-z])")
_PLATE = re.compile(r"plate\b|for\s*\(\s*\w+\s+in\b", re.IGNORECASE)


def read_factor(reader: Reader) -> tuple[Factor, bool]:
    """The factor that stands here, and whether it is a distribution and no potential."""
    match = reader.expect(_SYMBOL, "a factor such as P(A|B) or phi1(A,B)")
    directed = match["probability"] is not None
    name = "P" if directed else _potential_name(reader, match)
    closing = _CLOSINGS[reader.expect(_GROUP, "'('")[0]]
    variables = reader.names()
    given: tuple[str, ...] = ()
    if directed and reader.accept(BAR):
        given = reader.names()
    more = "',', '|'" if directed and not given else "','"
    reader.expect(closing, f"{more} or '{closing}'")
    return Factor(name, variables, given), directed


def _potential_name(reader: Reader, match: re.Match[str]) -> str:
    """``φ1`` for any way of writing it: ``\\phi_{1}``, ``phi1``, ``φ_1``, ``φ₁``."""
    bare = re.sub(r"[^\w]", "", match["potential"][: -len(match["subscript"]) or None])
    subscript = reader.indexed(match["subscript"], match.start())
    bare = re.sub(r"[^\w]", "", bare + subscript).translate(_SUBSCRIPTS)
    letter, rest = re.fullmatch(r"(varphi|phi|psi|Phi|Psi|\w)_?(.*)", bare).groups()  # type: ignore[union-attr]
    return _LETTERS.get(letter, letter) + rest


def _constant(reader: Reader) -> float | None:
    """The numbers and 1/Z that stand here, multiplied, or ``None``."""
    constant = None
    while match := reader.accept(_PARTITION) or reader.accept(_RATIO):
        reader.accept(PRODUCT)
        top, *below = [float(number) for number in match.groups() if number is not None] or [1.0]
        if 0.0 in below:
            raise ParseError(reader.text, match.start(), "a quotient by a number other than 0")
        constant = (1.0 if constant is None else constant) * top / math.prod(below)
    return constant


# --- Products -----------------------------------------------------------------------------------


@dataclass
class _Product:
    """A product as far as it was read.

    Attributes:
        reader: the cursor.
        factors: those read.
        directed: whether the first one is a conditional; ``None`` before it.
        constant: the numbers read, multiplied.
        scaled: whether there was a number or 1/Z before the factor that follows.
    """

    reader: Reader
    factors: list[Factor] = field(default_factory=list)
    directed: bool | None = None
    constant: float = 1.0
    scaled: bool = False

    def read(self) -> None:
        """All factors up to the end, a closing bracket, ``/Z`` or an equals sign."""
        self._item()
        while self._more():
            self._item()

    def _item(self) -> None:
        """A factor, a group in brackets, a product over an index or an exponential."""
        reader = self.reader
        scale = _constant(reader)
        self.constant *= 1.0 if scale is None else scale
        self.scaled |= scale is not None
        if reader.accept(PRODUCT_OVER):
            self._over()
        elif self.factors and scale is not None and self._ends():
            self.scaled = False
            if self.directed:
                raise reader.error("a potential such as phi1(A,B) before 1/Z or a constant")
        elif reader.accept(_FRACTION):
            self.read()
            reader.expect("}", "a factor or '}'")
            reader.expect(_DENOMINATOR, "{Z}")
        elif opening := reader.accept(_GROUP):
            self.read()
            reader.expect(_CLOSINGS[opening[0]], f"a factor or '{_CLOSINGS[opening[0]]}'")
        elif reader.accept(ENERGY):
            start = reader.position
            for factor in read_energy(reader):
                self._add(factor, False, start)
        else:
            self._factor()

    def _factor(self) -> None:
        self.reader.skip()
        start = self.reader.position
        if self.reader.match(SUM_OVER) or self.reader.match(_INTEGRAL):
            raise self.reader.error("a product, since no variable is summed out", start)
        if self.reader.match(_DOTS):
            raise self.reader.error(r"every factor, or a product such as \prod_{t=2}^{5}", start)
        if self.reader.match(_PLATE):
            raise self.reader.error(r"a product such as \prod_{i=1}^{3} for a plate", start)
        factor, directed = read_factor(self.reader)
        self._add(factor, directed, start)

    def _add(self, factor: Factor, directed: bool, start: int) -> None:
        if self.directed not in (None, directed):
            kind = "conditional distribution P(...)" if self.directed else "potential phi(...)"
            message = f"another {kind}, since the first factor is one"
            raise self.reader.error(message, start)
        if directed and self.scaled:
            message = "a potential such as phi1(A,B) after 1/Z or a constant"
            raise self.reader.error(message, start)
        if len(self.factors) >= MOST_FACTORS:
            raise self.reader.error(f"at most {MOST_FACTORS} factors", start)
        self.directed, self.scaled = directed, False
        self.factors.append(factor)

    def _over(self) -> None:
        """A product over an index, its body read once for each value."""
        index = read_index(self.reader)
        self.reader.accept(PRODUCT)
        parts = for_each(self.reader, index, lambda: self._body(index.names))
        self.factors += [factor for part in parts for factor in part.factors]
        for part in parts:
            self.constant *= part.constant
        if len(self.factors) > MOST_FACTORS:
            raise self.reader.error(f"at most {MOST_FACTORS} factors")

    def _body(self, indices: tuple[str, ...]) -> _Product:
        """The group here, or all items that mention an index."""
        reader, part = self.reader, _Product(self.reader, [], self.directed, scaled=self.scaled)
        reader.skip()
        bracketed = _GROUP.match(reader.text, reader.position) is not None
        part._item()
        while not bracketed:
            end, length, constant = reader.position, len(part.factors), part.constant
            if not part._more() or _rebinds(reader):
                reader.position = end
                break
            used = [reader.indices.uses[name] for name in indices]
            part._item()
            if [reader.indices.uses[name] for name in indices] == used:
                del part.factors[length:]
                reader.position, part.constant = end, constant
                break
        self.directed, self.scaled = part.directed, False
        return part

    def _more(self) -> bool:
        """Whether another item follows; passes the signs and line breaks before it."""
        reader = self.reader
        if self._ends():
            return False
        start = reader.position
        _pass_sign(reader)
        if reader.done():
            raise reader.error("another factor after the sign", start)
        return True

    def _ends(self) -> bool:
        """Whether the product ends here."""
        reader = self.reader
        stops = (_CLOSING, _OVER_PARTITION, UNEQUAL, RELATION)
        return reader.done() or any(stop.match(reader.text, reader.position) for stop in stops)


def _rebinds(reader: Reader) -> bool:
    """Whether a product follows over an index that has a value, which ends that one's product."""
    start = reader.position
    try:
        if reader.accept(PRODUCT_OVER):
            read_index(reader)
    except Rebound:
        return True
    except ParseError:
        pass  # told where the product itself is read
    finally:
        reader.position = start
    return False


def _pass_sign(reader: Reader) -> None:
    while reader.accept(_LINE_BREAK):
        pass
    reader.accept(PRODUCT)
    while reader.accept(_LINE_BREAK):
        pass


def read_product(reader: Reader) -> tuple[tuple[Factor, ...], bool, float]:
    """The factors that stand here, whether they are conditionals, and their constant."""
    product = _Product(reader)
    product.read()
    return tuple(product.factors), bool(product.directed), product.constant


# --- Factorizations -----------------------------------------------------------------------------


def parse(text: str, *, bounds: Mapping[str, int] | None = None) -> Factorization:
    r"""Read a factorization as it is written in a textbook or in LaTeX.

    Directed: ``P(M)P(S)P(F)P(I|M,S)``. Undirected: ``1/Z phi1(A,B) φ_2(B,C) \phi_{3}(C,D)``, with
    numbered, bare or repeated potentials, and numbers before them (``5 phi1(A,B)``, ``5/Z``), or in
    exponential form, ``exp(-E1(A,B) - E2(B,C))``, a potential for each function in the sum.
    A left-hand side ``P(A,B,C) = ...`` is optional and fixes the order of the nodes; ``1/Z`` may
    stand first or ``/Z`` last, and any of ``⋅ · × ∗ *`` or nothing between factors. A graph as
    :func:`graphs.read_graph` reads it, such as ``dag { A -> B }``, gives its factorization.

    Products with numbers for bounds are written out: ``p(y) \prod_{i=1}^{3} p(x_i|y)`` has the
    nodes y, x_1, x_2 and x_3. A product extends over the brackets after it, or over all factors
    that follow up to the first that does not mention its index or another product over it.

    Args:
        text: the factorization.
        bounds: numbers for letters in bounds and subscripts, such as the N of
            ``\prod_{n=1}^{N}``.

    Raises:
        ValueError: the text cannot be read (the message points at the character), mixes
            conditionals with potentials, or is no valid factorization (:class:`Factorization`).

    >>> graphs.parse(r"p(y) \prod_{n=1}^{N} p(x_n|y)", bounds={"N": 2}).edges
    (('y', 'x_1'), ('y', 'x_2'))
    >>> print(graphs.parse("P(M)P(S)P(I|M,S)"))
    P(M, S, I) = P(M) P(S) P(I | M, S)
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a factorization as text, got {type(text).__name__}")
    if states_graph(text):
        return _of_graph(text)
    try:
        return _read(Reader(unframed(text), preset(bounds or {})))
    except RecursionError:
        raise ValueError("expected fewer brackets in each other, got too many to read") from None


def _read(reader: Reader) -> Factorization:
    order = _left_hand_side(reader)
    factors, directed, constant = read_product(reader)
    if not directed and reader.accept(_OVER_PARTITION) and not reader.done():
        raise reader.error("the end of the text after /Z")
    if not reader.done():
        raise reader.error("another factor or the end of the text")
    if stray := reader.indices.outside():
        raise reader.error(f"the index {stray[0]} in the body of its product alone", stray[1])
    found = Factorization(factors, directed, order, constant)
    for index in reader.indices.over.intersection(found.nodes):
        raise ValueError(f"expected an index that is no variable, got {index!r}, which is both")
    for letter in set(reader.parameters).intersection(found.nodes):
        at = reader.parameters[letter]
        raise reader.error(f"a number, since {letter} is a variable elsewhere", at)
    return found


def _of_graph(text: str) -> Factorization:
    from graphs.language.graph_texts import read_graph

    graph = read_graph(text)
    for hidden in (v for v, latent in graph.nodes(data="latent") if latent):
        raise ValueError(
            f"expected a graph without latent nodes to factorize, got {hidden!r}; "
            "graphs.read_graph keeps them"
        )
    return factorization(graph)


def states_graph(text: str) -> bool:
    """Whether a text is a graph that :func:`graphs.read_graph` reads, and no factorization."""
    from graphs.language.graph_texts import is_graph_text

    reader = Reader(unframed(text))
    try:
        _constant(reader)
        starts = (_START, PRODUCT_OVER, ENERGY, _BARE_LEFT)
        return not any(map(reader.accept, starts)) and is_graph_text(text)
    except ParseError:
        return False


def _left_hand_side(reader: Reader) -> tuple[Node, ...]:
    """The variables of the joint distribution before an equals sign; none without moving."""
    if reader.accept(_BARE_LEFT):
        reader.accept(RELATION)
        return ()
    try:
        left, _ = read_factor(reader)
    except ParseError:
        left = None
    if left is None or not reader.accept(RELATION):
        reader.position = 0
        reader.fonts.clear()
        return ()
    if left.name != "P" or left.given:
        raise reader.error("a joint distribution such as P(A,B,C) before '='", 0)
    return left.variables
