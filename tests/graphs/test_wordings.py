r"""Statements and factorizations as they are found in papers, on blackboards and in web pages.

Each is read with the one meaning it has, or refused with the reason.
"""

import random

import networkx as nx
import pytest

import graphs
from graphs.language.statements import read_statement

DIAMOND = nx.DiGraph([("A", "C"), ("C", "B"), ("A", "D"), ("D", "B")])
DIAMOND.add_node("E")

HOLDS = [
    r"(A ⊥ B | C, D)_G",
    r"(A \perp B \mid C, D)_{\mathcal{G}}",
    r"A \perp_{\mathcal{G}} B \mid C, D",
    r"A {\perp} B {\mid} \{C, D\}",
    r"A \perp B \mathbin{|} \lbrace C, D \rbrace",
    r"\left. A \perp B \right| C, D",
    r"\begin{align*} A &\perp B \mid C, D \end{align*}",
    "\\begin{align}\n A &\\perp B \\mid C, D % shielded\n \\nonumber \\\\\n\\end{align}",
    r"\begin{equation}\label{eq:1} A \perp B \mid C, D \tag{2} \end{equation}",
    r"\begin{equation} \begin{split} A &\perp B \mid C, D \end{split} \end{equation}",
    r"A \perp B \mid C, D\;",
    "A _||_ B | C, D;",
    "A ⊥ B | C, D?",
    "A &perp; B &mid; C, D",
    "A &#8869; B | C, D",
    "A &#x2AEB;&nbsp;B | C, D",
    "（A ⊥ B ｜ C，D）",
    "A ＿｜｜＿ B ｜ ｛C，D｝",
    "“A” ⊥ “B” | “C”, 'D'",
    "A ⊥ B ¦ C, D",
    "Ind(A; B | C, D)",
    "CI(A, B | C, D)",
    r"dsep_G(A; B | \{C, D\})",
    "d-sep(A; B | C, D)",
    "A, B indep | C, D",
    "A and B are indep. given C and D",
    "A indep B | C, D",
    "A ind. B | {C, D}",
    "A is cond. independent of B given C, D",
    "A and B are independent of each other given C and D",
    "A and B are d‑separated by C and D",
    "A and B are d separated given {C, D}",
    "C and D d-separate A and B",
    "{C, D} blocks all paths between A and B",
    "{C, D} screens off A from B",
    "Given C and D, A and B are conditionally independent",
    "Given {C, D}, A ⟂ B",
    "Conditional on (C, D), A is independent of B.",
    "Is A independent of B given C and D?",
    "Are A and B d-separated by C and D?",
    "A is not dependent on B given C, D",
]
FAILS = [
    "It is not the case that A ⊥ B | C, D",
    "not Ind(A; B | C, D)",
    "&not;(A ⊥ B | C, D)",
    "¬（A ⊥ B | C, D）",
    r"A \cancel{\perp\!\!\!\perp} B | C, D",
    r"A \not\perp\!\!\!\not\perp B | C, D",
    "A ⊥\u0338⊥\u0338 B | C, D",
    "Does A depend on B given C, D?",
    "Are A and B not independent given C and D?",
    "C and D do not d-separate A and B",
    "{C, D} doesn't block every path between A and B",
]


@pytest.mark.parametrize("text", HOLDS + FAILS)
def test_statements_that_are_read(text):
    answer = graphs.query(DIAMOND, text)
    assert (answer.x | answer.y, answer.given) == ({"A", "B"}, {"C", "D"})
    assert answer.negated == (text in FAILS)
    assert bool(answer) == bool(graphs.check(DIAMOND, text)) == (text in HOLDS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I(A,C,B)", "Pearl's order"),
        ("I(A; B | C)", "information"),
        ("dsep(A, B, C)", "the order of three differs"),
        ("A and B are conditionally independent", "said to be conditional"),
        ("A is cond. independent of B", "said to be conditional"),
        ("A and B are marginally independent given C", "said to be marginal"),
        ("Given C, D, A ⊥ B", "not clear which names are given"),
        ("Given C, A ⊥ B | D", "one conditioning set"),
        (r"A \not\not\perp B", "struck out once"),
        ("A not not ⊥ B", "struck out once"),
        ("A ⊥ B ⊥ E", "one statement at a time"),
        ("A ⊥ B | C, A ⊥ E", "one statement at a time"),
        ("A ⊥ B | C = c", "a variable and no value"),
        ("do(A) ⊥ B", "expected"),
        ("do A ⊥ B", "expected"),
        ("A is independent of B or C", "expected"),
        ("A is independent of B given C but not D", "expected"),
        ("(A ⊥ B | C)_P", "expected"),
        ("A ⊥ B | C % D", "expected"),
        ("A ⊥ B | C # D", "expected"),
        (r"\begin{align} A \perp B \mid C % , D \end{align}", "expected"),
        ("A ⊥ B | C D", "expected"),
        ("Ａ ⊥ B", "nodes of the graph"),
        (r"\begin{align*} A &\perp B", "expected"),
        ("(" * 5000 + "A ⊥ B", "fewer brackets"),
    ],
)
def test_statements_that_are_refused(text, reason):
    for ask in (graphs.query, graphs.check):
        with pytest.raises(ValueError, match=reason):
            ask(DIAMOND, text)


SETS = ["{}", "{{{}}}", r"\{{{}\}}", "({})", "[{}]"]
RELATIONS = {
    " ⟂ ": 0, " _||_ ": 0, r" \perp\!\!\!\perp ": 0, r"\mathrel{\perp}": 0, " ⫫_G ": 0,
    " is independent of ": 0, " does not depend on ": 0, " are d-separated from ": 0,
    " !⟂ ": 1, " not _||_ ": 1, r" \not\!\perp\!\!\!\perp ": 1, r"\mathrel{\not\perp}": 1,
    " ⫫\u0338 ": 1, " ⊥⊥\u0338 ": 1, r"\perp\!\!\!\not\perp ": 1,
    " isn’t independent of ": 1, " depends on ": 1, " is not m-separated from ": 1,
}  # fmt: skip
BARS = [" | ", r" \mid ", " given ", ", given ", r" \,\middle|\, ", " ｜ "]
AROUND = {
    "({})": 0, "[{}]": 0, r"\left( {} \right)": 0, "({})_G": 0, r"\bigl[ {} \bigr]": 0,
    "not {}": 1, "¬({})": 1, r"\neg\, {}": 1, "it is not true that {}": 1,
}  # fmt: skip
FRAMES = ["{}", "$ {} $", r"\[ {}. \]", "{}.", r"\begin{{align*}} {} \nonumber \end{{align*}}"]


def _wording(rng):
    """A random statement, and the sets and the denial it stands for."""
    names = rng.sample("ABCDE", rng.randint(2, 5))
    cut = sorted(rng.sample(range(1, len(names)), min(len(names) - 1, rng.randint(1, 2))))
    parts = [names[i:j] for i, j in zip([0, *cut], [*cut, len(names)], strict=True)]
    written = [rng.choice(SETS).format(rng.choice([", ", ","]).join(part)) for part in parts]
    relation = rng.choice(list(RELATIONS))
    text, denials = written[0] + relation + written[1], RELATIONS[relation]
    if len(parts) == 3:
        text += rng.choice(BARS) + written[2]
    for around in rng.choices(list(AROUND), k=rng.randint(0, 3)):
        text, denials = around.format(text), denials + AROUND[around]
    return rng.choice(FRAMES).format(text), [*map(set, parts), set()][:3], denials % 2 == 1


def test_random_wordings_say_what_they_were_made_of():
    rng = random.Random(1)
    for _ in range(1000):
        text, sets, negated = _wording(rng)
        *found, denied = read_statement(text)
        assert (list(map(set, found)), denied) == (sets, negated), text


def test_what_is_quoted_stays_as_it_is():
    names = ["a &amp; b", "（x）", "50% | y", "A?", "given’s", "not'", "not\u0301", "Ind(A; B)"]
    graph = nx.DiGraph([(name, "Y") for name in names])
    graph.add_node("Z")
    for name in names:
        answer = graphs.independent(graph, name, "Z")
        for text in (str(answer), answer.latex()):
            assert graphs.query(graph, text) == answer
    hidden = nx.DiGraph([("A", "B")])
    hidden.add_node("A\u200b")
    with pytest.raises(graphs.ParseError):
        graphs.query(hidden, "A\u200b ⟂ B")


@pytest.mark.parametrize(
    "text",
    [
        r"\mathrm{P}(A)\,\mathrm{P}(B \mid A)",
        r"\operatorname{Pr}(A) \mathbb P(B|A)",
        r"\Pr[A] \Pr[B|A]",
        "ℙ(A)ℙ(B|A)",
        "Prob(A) Prob(B|A)",
        "P(A) &middot; P(B &mid; A)",
        "P（A）P（B｜A）",
        "P(A)P(B|A);",
        "P(A,B) := P(A)P(B|A)",
        r"P(A,B) \triangleq P(A)P(B|A)",
        r"\begin{eqnarray*} P(A,B) &=& P(A) P(B|A) \end{eqnarray*}",
        "\\begin{align}\n P(A,B) &= P(A) \\\\\n &\\quad\\times P(B|A) \\label{f}\n\\end{align}",
        r"\left( P(A) [P(B|A)] \right)",
    ],
)
def test_conditionals_that_are_read(text):
    assert graphs.parse(text) == graphs.parse("P(A)P(B|A)")


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{\phi(A,B) \phi(B,C)}{Z}",
        r"\frac{1}{\mathcal{Z}} \phi(A,B) \phi(B,C)",
        r"\frac{1}{Z(\theta)} \phi(A,B) \phi(B,C)",
        r"{1 \over Z} \phi(A,B) \phi(B,C)",
        "Z⁻¹ φ(A,B) φ(B,C)",
        "φ(A,B) φ(B,C) · 1/Z",
        "φ(A,B) φ(B,C) Z^{-1}",
        "[φ(A,B) φ(B,C)]/Z",
    ],
)
def test_potentials_that_are_read(text):
    assert graphs.parse(text) == graphs.parse("φ(A,B) φ(B,C)")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"P(x_1)P(x_2|x_1) \cdots P(x_n|x_{n-1})", "every factor, or a product"),
        ("1/Z(x) φ(x,y)", "expected"),
        ("P(A) P(B|A) · 1/Z", "potential"),
        ("P(A,B) ≠ P(A)P(B|A)", "expected"),
        ("P(A,B) = P(A)P(B|A) = P(B)P(A|B)", "the end of the text"),
        ("P(A)P(B|A)^2", "expected"),
        ("P(A)P(B|A;C)", "expected"),
        ("(" * 5000 + "P(A)", "fewer brackets"),
    ],
)
def test_factorizations_that_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        graphs.parse(text)


def test_a_node_called_p_before_a_bracket_is_a_graph():
    assert graphs.parse("dag { P -> Q }").edges == (("P", "Q"),)
    graph = graphs.parse("P [pos=1]; P -> Q")
    assert graph.edges == (("P", "Q"),)
