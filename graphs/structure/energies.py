r"""Exponentials of sums, :math:`\exp(-E_1(A,B) - E_2(B,C))`, as potentials.

The exponential of a sum is a product, so every function in the sum is a potential on its variables:
:math:`\phi_1(A,B)\,\phi_2(B,C)` (Koller and Friedman 2009, section 4.4.1). Numbers and Greek
letters before a function scale it and change no scope. A product of variables such as
:math:`J x_1 x_2` is refused, since nothing tells its parameters from its variables.
"""

from __future__ import annotations

import re

from graphs.language.notation import Reader
from graphs.language.products import SUM_OVER, for_each, read_index
from graphs.language.signs import GREEK, PRODUCT
from graphs.structure.factorization import Factor

ENERGY = re.compile(
    r"(?:\\?exp|\\(?:mathrm|operatorname|text)\s*\{exp\})(?=\s*(?:\\left|\\[bB]igg?l?)?\s*(?:\\?\{|[(\[]))"
    r"|(?:e|\\(?:mathrm|text)\s*\{e\})\s*\^(?=\s*[{(])"
)
_OPEN = re.compile(r"\\?\{|[(\[]")
_CLOSINGS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_SIGN = re.compile(r"[+\-−–]")
_BREAK = re.compile(r"(?:\\\\|&)")
_LOG = re.compile(r"(?:\\?log|\\?ln)(?=[\s\\φϕψΦΨ])")
_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_SCALE = re.compile(
    rf"{_NUMBER}(?:\s*/\s*{_NUMBER})?|\\[td]?frac\s*\{{?{_NUMBER}\}}?\s*\{{?{_NUMBER}\}}?"
    rf"|(?:\\({'|'.join(GREEK)})(?![A-Za-z])|([α-ωΑ-Ω])(?![^\W_]))(?:_(?:\{{[^{{}}]*\}}|\w))?"
    r"(?=\s*(?:\\left\s*)?(?:\([^()]*\(|[^(_\s]))"
)
_OVER = re.compile(rf"/\s*{_NUMBER}")
_FUNCTION = "a function of variables such as E(A,B)"
_REASON = f"{_FUNCTION}, since in a product such as J x y nothing tells variables from parameters"


def read_energy(reader: Reader) -> list[Factor]:
    """The potentials of an exponential, whose sign was passed."""
    opening = reader.expect(_OPEN, "a bracket")
    return _sum(reader, _CLOSINGS[opening[0]])


def _sum(reader: Reader, closing: str) -> list[Factor]:
    """The terms up to a closing bracket."""
    reader.accept(_SIGN)
    found = _term(reader)
    while not reader.accept(closing):
        while reader.accept(_BREAK):
            pass
        reader.expect(_SIGN, f"'+', '-' or '{closing}' after a function")
        found += _term(reader)
    return found


def _term(reader: Reader) -> list[Factor]:
    """A function, or a sum over an index or in brackets, perhaps scaled."""
    while (scale := reader.accept(_SCALE)) or reader.accept(_BREAK):
        if scale and (letter := scale[1] or scale[2]):
            reader.parameters.setdefault(letter, scale.start())
        reader.accept(PRODUCT)
    if reader.accept(SUM_OVER):
        index = read_index(reader)
        found = [f for part in for_each(reader, index, lambda: _term(reader)) for f in part]
    elif opening := reader.accept(_OPEN):
        found = _sum(reader, _CLOSINGS[opening[0]])
    else:
        found = [_function(reader)]
    reader.accept(_OVER)
    return found


def _function(reader: Reader) -> Factor:
    reader.accept(_LOG)
    reader.skip()
    start = reader.position
    try:
        name = reader.name()
    except ValueError:
        raise reader.error(_REASON, start) from None
    if not reader.accept("("):
        raise reader.error(_REASON, start)
    variables = reader.names()
    reader.expect(")", "',' or ')'")
    return Factor("φ" + _number(name), variables)


def _number(name: str) -> str:
    """What tells a function from others of its letter: 1 for ``E_1``, ``E1`` and ``\\psi_1``."""
    subscript = name.partition("_")[2] or re.sub(r"^\D*", "", name)
    return re.sub(r"\W", "", subscript)
