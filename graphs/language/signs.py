r"""The one table of signs that statements, claims and factorizations are written with.

:func:`graphs.query`, :func:`graphs.check` and :func:`graphs.parse` read the same signs with one
meaning; :func:`notations` prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SYMBOLS = (
    "⟂", "⊥", "⫫", "╨", "⨿", "∐", r"\perp", r"\bot", r"\Perp", r"\Vbar", r"\amalg", r"\coprod",
    r"\unicode{x2AEB}", r"\unicode{x27C2}", r"\unicode{x22A5}", r"\unicode{10987}",
)  # fmt: skip
ASCII_SYMBOLS = ("_||_", "_|_", "_||", "||_", "||")
COMMANDS = (
    r"\indep", r"\independent", r"\Indep", r"\indept", r"\ind", r"\CI", r"\upvDash", r"\upmodels",
)  # fmt: skip
CROSSED_COMMANDS = (r"\nperp", r"\nindep", r"\nindependent", r"\nupvDash", r"\notindep")
CROSSINGS = (r"\not", r"\centernot", r"\cancel", r"\bcancel", r"\xcancel", r"\slashed", "!")
OVERLAYS = ("\u0338", "\u0337")
NEGATIONS = ("¬", "~", "!", r"\neg", r"\lnot")
INDEPENDENT = (
    "independent of", "independent from", "independent to", "independent with", "indep of",
    "indep. of", "ind. of", "d-separated from", "m-separated from", "separated from",
    "does not depend on", "do not depend on", "doesn't depend on", "don't depend on",
)  # fmt: skip
DEPENDENT = (
    "dependent on", "dependent upon", "depends on", "depend on", "d-connected to",
    "d-connected with", "m-connected to", "connected to",
)  # fmt: skip
BOTH_INDEPENDENT = (
    "independent", "independent of each other", "independent of one another", "indep", "indep.",
    "d-separated", "m-separated", "separated", "d-separated from each other", "ind.",
)  # fmt: skip
INFIX = ("ind", "ind.", "indep", "indep.")
FUNCTIONS = ("Ind", "Indep", "CI", "d-sep", "dsep", "m-sep", "msep", "sep")
BOTH_DEPENDENT = ("dependent", "d-connected", "m-connected", "connected")
SEPARATES = (
    "d-separates", "d-separate", "m-separates", "m-separate", "separates", "separate",
    "screens off", "screen off", "blocks all paths between", "block all paths between",
    "blocks every path between", "block every path between",
)  # fmt: skip
BARS = (
    "|", "∣", "｜", "│", "❘", "¦", r"\middle|", r"\mid", r"\vert", r"\given", r"{\mid}", "{|}",
    r"\mathbin{|}", r"\mathrel{|}", r"\mathrel{\mid}", r"\textbar",
)  # fmt: skip
GIVEN = ("given", "conditional on", "conditioned on", "conditioning on", "conditionally on")
NOTHING = ("∅", r"\emptyset", r"\varnothing")
PRODUCTS = ("⋅", "·", "×", "∗", "*", "∙", "•", "\u2062", r"\cdot", r"\times", r"\ast", r"\bullet")
ARROWS = {
    "<->": "<->", "↔": "<->", "⟷": "<->", "<-->": "<->",
    r"\leftrightarrow": "<->", r"\longleftrightarrow": "<->",
    "->": "->", "→": "->", "⟶": "->", "-->": "->",
    r"\to": "->", r"\rightarrow": "->", r"\longrightarrow": "->",
    "<-": "<-", "←": "<-", "⟵": "<-", "<--": "<-",
    r"\gets": "<-", r"\leftarrow": "<-", r"\longleftarrow": "<-",
    "--": "--", "—": "--", "–": "--", "---": "--", "─": "--",
}  # fmt: skip
DIFFERS = ("≠", "!=", "=\u0338", r"\neq", r"\ne", r"\not=")
GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta",
    "vartheta", "iota", "kappa", "varkappa", "lambda", "mu", "nu", "xi", "pi",
    "varpi", "rho", "varrho", "sigma", "varsigma", "tau", "upsilon", "phi", "varphi",
    "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi",
    "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell",
)  # fmt: skip

_EDGES = {
    "->": "A causes B", "<-": "B causes A", "<->": "  an unobserved common cause",
    "--": "  an edge without head",
}  # fmt: skip
_ROWS = (
    ("A is independent of B", (*SYMBOLS, *ASCII_SYMBOLS, *COMMANDS, *INDEPENDENT)),
    ("  two of them, kerned", (r"\perp\!\!\!\perp", r"\perp\mkern-9.5mu\perp", "⊥⊥")),
    ("  A and B are ...", BOTH_INDEPENDENT),
    ("  before (A; B | C)", FUNCTIONS),
    ("  C ... A and B", SEPARATES),
    ("A is not independent of B", (*CROSSED_COMMANDS, *DEPENDENT)),
    ("  before a sign", (*CROSSINGS, "not")),
    ("  over a sign", ("⟂\u0338", "⫫\u0338")),
    ("  A and B are ...", BOTH_DEPENDENT),
    ("it is not so that", ("not", *NEGATIONS)),
    ("the sides differ", DIFFERS),
    ("given", (*BARS, *GIVEN, "by (after d-separated)")),
    ("no variable", (*NOTHING, "{}", "()", "[]")),
    ("times", (*(p for p in PRODUCTS if p != "\u2062"), "nothing at all")),
    ("product over an index", (r"\prod_{i=1}^{3}", "∏_{i=1}^3", r"\prod_{i \in \{1,2,3\}}")),
    ("exponential of a sum", ("exp(-E1(A,B) - E2(B,C))", r"\exp\{...\}", "e^{...}")),
    ("normalised", ("1/Z", "(1/Z)", r"\frac{1}{Z}", "Z^{-1}", "... /Z", "∝", r"\propto")),
    *((name, tuple(s for s in ARROWS if ARROWS[s] == kind)) for kind, name in _EDGES.items()),
    (
        "names",
        ("x1", "wet_grass", "x_{t-1}", r"\mathrm{rain}", r"\text{wet grass}", '"50% \\"x\\""'),
    ),
)


def notations() -> str:
    """The table for a reader, a meaning a line."""
    width = max(len(meaning) for meaning, _ in _ROWS)
    return "\n".join(f"{meaning:{width}}  {'  '.join(signs)}" for meaning, signs in _ROWS)


def any_of(signs: Iterable[str]) -> str:
    """A pattern for any of the signs, the longest first; words in either case, any blanks."""
    return "(?:" + "|".join(map(_pattern, sorted(signs, key=len, reverse=True))) + ")"


def _pattern(sign: str) -> str:
    if re.fullmatch(r"\\[A-Za-z]+", sign):
        return re.escape(sign) + "(?![A-Za-z])"
    if re.fullmatch(r"[A-Za-z][A-Za-z' .\-]*", sign):
        words = r"\s+".join(map(re.escape, sign.split())).replace("'", "['’]")
        words = words.replace(r"\-", r"(?:[-‐‑–−]|\s+)?")
        return rf"(?i:{words})(?![\w\-])"
    return re.escape(sign).replace(r"\\middle", r"\\middle\s*")


KERN = (
    r"(?:\s|\\[!,;:> ]|\\(?:neg)?(?:thin|med|thick)space(?![A-Za-z])"
    r"|\\(?:mkern|kern|mskip|hskip)\s*-?[\d.]+\s*(?:mu|em|ex|pt)|\\(?:hspace|mspace)\*?\{[^{}]*\})"
)
DENIAL = re.compile(
    rf"(?:(?i:not|it\s+is\s+not\s+(?:the\s+case|true|so)\s+that)(?!\w)|{any_of(NEGATIONS)})"
)
UNEQUAL = re.compile(any_of(DIFFERS))
BAR = re.compile(any_of(BARS) + r"|\\[bB]igg?[mlr]?\s*\|")
PRODUCT = re.compile(any_of(PRODUCTS))
DOTS = r"(?:\\[lc]?dots[bcmio]?(?![A-Za-z])|…|⋯|\.\.\.)"
