r"""Factorisations from text or LaTeX, as they are written in textbooks."""

from __future__ import annotations

import math
import re

from .notation import Node, ParseError, Reader, unframed
from .signs import BAR, PRODUCT
from .structure import Factor, Factorization, factorization

_OPENING = r"(?=\s*(?:\\left)?\()"
_SYMBOL = re.compile(
    r"(?P<probability>(?:\\Pr|\\mathbb\s*\{?P\}?|Pr|P|p|q)(?:_(?:\{[^{}]*\}|\\?\w+))?"
    + _OPENING
    + r")|(?P<potential>\\?(?:phi|varphi|psi|Phi|Psi|φ|ϕ|ψ|Φ|Ψ|f)(?:_?\{[^{}]*\}|\w*)"
    + _OPENING
    + ")"
)
_PRODUCT_OVER = re.compile(r"(?:∏|\\prod(?![A-Za-z])|prod(?=_))")
_ENERGY = re.compile(r"\\?exp(?![A-Za-z])|\\?mathrm\{exp\}|e\^")
_NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PARTITION = re.compile(
    rf"{_NUMBER}\s*/\s*Z|\(\s*{_NUMBER}\s*/\s*Z\s*\)|\\t?d?frac\s*\{{?{_NUMBER}\}}?\s*\{{?Z\}}?|Z\^\{{?-1\}}?"
)
_OVER_PARTITION = re.compile(r"/\s*(?:\\mathcal\s*\{?Z\}?|Z)(?![\w(])")
_LINE_BREAK = re.compile(r"(?:\\\\(?:\[[^\]]*\])?|&)")
RELATION = re.compile(r"&?\s*(=|∝|\\propto(?![A-Za-z]))\s*&?")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LETTERS = {"phi": "φ", "varphi": "φ", "ϕ": "φ", "psi": "ψ", "Phi": "Φ", "Psi": "Ψ"}
_RATIO = re.compile(rf"{_NUMBER}(?:\s*/\s*{_NUMBER})?")


def read_factor(reader: Reader) -> tuple[Factor, bool]:
    """The factor that stands here, and whether it is a distribution and no potential."""
    if reader.accept(_PRODUCT_OVER):
        raise reader.error("factors written out one by one, since a product is not expanded")
    if reader.accept(_ENERGY):
        raise reader.error("potentials such as phi1(A,B), since energies are not read")
    match = reader.expect(_SYMBOL, "a factor such as P(A|B) or phi1(A,B)")
    directed = match["probability"] is not None
    name = "P" if directed else _potential_name(match["potential"])
    reader.expect("(", "'('")
    variables = reader.names()
    given: tuple[str, ...] = ()
    if directed and reader.accept(BAR):
        given = reader.names()
    closing = "',', '|' or ')'" if directed and not given else "',' or ')'"
    reader.expect(")", closing)
    return Factor(name, variables, given), directed


def _potential_name(symbol: str) -> str:
    """``φ1`` for any way of writing it: ``\\phi_{1}``, ``phi1``, ``φ_1``, ``φ₁``."""
    bare = re.sub(r"[^\w]", "", symbol).translate(_SUBSCRIPTS)
    letter, subscript = re.fullmatch(r"(varphi|phi|psi|Phi|Psi|\w)_?(.*)", bare).groups()  # type: ignore[union-attr]
    return _LETTERS.get(letter, letter) + subscript


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


def parse(text: str) -> Factorization:
    r"""Read a factorisation as it is written in a textbook or in LaTeX.

    Directed: ``P(M)P(S)P(F)P(I|M,S)``. Undirected: ``1/Z phi1(A,B) φ_2(B,C) \phi_{3}(C,D)``, with
    numbered, bare or repeated potentials, and numbers before them (``5 phi1(A,B)``, ``5/Z``).
    A left-hand side ``P(A,B,C) = ...`` is optional and fixes the order of the nodes; ``1/Z`` may
    stand first or ``/Z`` last, and any of ``⋅ · × ∗ *`` or nothing between factors. A graph as
    :func:`graphs.read_graph` reads it, such as ``dag { A -> B }``, gives its factorisation.

    Raises:
        ValueError: the text cannot be read (the message points at the character), mixes
            conditionals with potentials, or is no valid factorisation (:class:`Factorization`).
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a factorisation as text, got {type(text).__name__}")
    if states_graph(text):
        from .graph_texts import read_graph

        graph = read_graph(text)
        for hidden in (v for v, latent in graph.nodes(data="latent") if latent):
            raise ValueError(
                f"expected a graph without latent nodes to factorise, got {hidden!r}; "
                "graphs.read_graph keeps them"
            )
        return factorization(graph)
    reader = Reader(unframed(text))
    order: tuple[Node, ...] = ()
    left = _left_hand_side(reader)
    if left is not None:
        if left.name != "P" or left.given:
            raise ParseError(reader.text, 0, "a joint distribution such as P(A,B,C) before '='")
        order = left.variables
    factors: list[Factor] = []
    kinds: list[bool] = []
    constant = 1.0
    while True:
        scale = _constant(reader)
        reader.skip()
        start = reader.position
        factor, directed = read_factor(reader)
        if kinds and directed != kinds[0]:
            kind = "conditional distribution P(...)" if kinds[0] else "potential phi(...)"
            raise ParseError(reader.text, start, f"another {kind}, since the first factor is one")
        if directed and scale is not None:
            expected = "a potential such as phi1(A,B) after 1/Z or a constant"
            raise ParseError(reader.text, start, expected)
        constant *= 1.0 if scale is None else scale
        factors.append(factor)
        kinds.append(directed)
        if at_end(reader, directed):
            return Factorization(tuple(factors), kinds[0], order, constant)


def states_graph(text: str) -> bool:
    """Whether a text is a graph that :func:`graphs.read_graph` reads, and no factorisation."""
    from .graph_texts import is_graph_text

    reader = Reader(unframed(text))
    try:
        _constant(reader)
        return reader.accept(_SYMBOL) is None and is_graph_text(text)
    except ParseError:
        return False


def _left_hand_side(reader: Reader) -> Factor | None:
    """The distribution before an equals sign, or ``None`` without moving."""
    try:
        left, _ = read_factor(reader)
    except ParseError:
        left = None
    if left is not None and reader.accept(RELATION):
        return left
    reader.position = 0
    reader.fonts.clear()
    return None


def at_end(reader: Reader, directed: bool) -> bool:
    """Whether the product ends here, perhaps over Z; passes a sign or a line break otherwise."""
    reader.skip()
    start = reader.position
    if not directed and reader.accept(_OVER_PARTITION):
        if not reader.done():
            raise reader.error("the end of the text after /Z")
        return True
    if reader.done():
        return True
    while reader.accept(_LINE_BREAK):
        pass
    reader.accept(PRODUCT)
    while reader.accept(_LINE_BREAK):
        pass
    if reader.done():
        raise reader.error("another factor after the sign", start)
    return False
