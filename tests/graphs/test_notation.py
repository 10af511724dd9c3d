"""Every name can be written, as text and as LaTeX, and read back; every sign has one meaning."""

import logging
import re

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

import graphs
from graphs.language.notation import Reader, latex_name, text_name
from graphs.language.signs import notations
from graphs.structure.factorization import Factor

examples = settings(max_examples=200, deadline=None, derandomize=True)
NAMES = st.one_of(
    st.text(max_size=8),
    st.text("abX1_-.'\"\\$%&#{}^~|,()*[] \u200d\u0301é\u0915\u094dα⟂<>=u", max_size=8),
    st.sampled_from(
        [
            "given",
            "not",
            "and",
            "by",
            "x_t-1",
            "x_1,2",
            "A_||_B",
            "x'_1",
            '""',
            "is",
            "not'",
            "not\u0301",
            "by-x",
        ]
    ),
)
CHAIN = nx.DiGraph([("A", "C"), ("C", "B")])


@examples
@given(NAMES)
def test_a_name_is_read_back_from_text_and_latex(name):
    for written in (text_name(name), latex_name(name)):
        reader = Reader(written)
        assert reader.name() == name
        assert reader.done()
    assert text_name(name).isprintable() or "\u200c" in name or "\u200d" in name


@examples
@given(NAMES)
def test_mathtext_reads_every_name(name):
    logging.getLogger("matplotlib.mathtext").setLevel(logging.ERROR)
    MathTextParser("path").parse(f"${latex_name(name)}$")


@examples
@given(st.text("-'`?!,<>|~^\\%#$&_{} ab", max_size=8))
def test_tex_sets_every_sign_as_it_is(name):
    """No ligature, no sign that a text font lacks, nothing that TeX takes for a command."""
    latex = latex_name(name)
    for content in re.findall(r"\\text\{((?:[^{}\\]|\\.)*)\}", latex):
        assert not any(pair in content for pair in ("--", "``", "''", "?`", "!`", ",,"))
    outside = re.sub(r"\\mathtt\{[<>|]\}|\\(?:[%&#$_{} ]|backslash|sim)|\\hat\{\\ \}", "", latex)
    assert not re.search(r"[<>|%&#$~^]", outside)
    assert set(re.findall(r"\\(\w+)", outside)) <= {"text", "mathrm"}


@examples
@given(st.lists(NAMES, min_size=3, max_size=4, unique=True))
def test_statements_and_products_are_read_back(names):
    a, b, *c = names
    graph = nx.DiGraph([(a, b), *((b, v) for v in c)])
    answer = graphs.independent(graph, a, c, b)
    for text in (str(answer), answer.latex()):
        assert graphs.query(graph, text) == answer
        assert graphs.check(graph, text)
    failing = graphs.independent(graph, a, c)
    assert graphs.query(graph, str(failing)) == failing
    assert graphs.query(graph, failing.latex())
    model = graphs.Factorization(
        tuple(Factor("P", (v,), tuple(graph.pred[v])) for v in graph), True, tuple(graph)
    )
    assert graphs.parse(str(model)) == graphs.parse(model.latex()) == model
    assert graphs.check(graph, str(model)).conditionals


def test_names_that_differ_are_never_merged():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    graph = nx.DiGraph([(composed, "Y")])
    graph.add_node(decomposed)
    assert not graphs.query(graph, f"{composed} ⟂ Y")
    assert graphs.query(graph, f"{decomposed} ⟂ Y")
    starred = nx.DiGraph([("X", "Y")])
    starred.add_node("X*")
    assert graphs.query(starred, '"X*" ⟂ Y')
    with pytest.raises(graphs.ParseError, match=r"got '\*'"):
        graphs.query(starred, "X* _||_ Y")
    with pytest.raises(graphs.ParseError, match=r"got '\*'"):
        graphs.parse("P(X)P(Y*|X)P(W|Y*)")
    with pytest.raises(graphs.ParseError, match="one font"):
        graphs.parse(r"P(x)P(\mathbf{x}|x)")
    with pytest.raises(ValueError, match="got '1' for 1 and '1'"):
        graphs.query(nx.DiGraph([(1, "1"), ("1", 2)]), "1 ⟂ 2")


AFFIRMED = [
    r"\(A \perp B \mid C\)",
    r"\[ A \perp_{G} B \mid C. \]",
    r"$A \perp B | C$.",
    r"A \mathrel{\unicode{x2AEB}} B | C",
    r"A \perp\mkern-9.5mu\perp B | C",
    r"A {\perp\!\!\!\perp} B | C",
    r"A \amalg B | C",
    r"\mathbf{A} \perp B \mid C",
    "(A ⊥ B) | C",
    "[A ⊥⊥ B | C]",
    "((A ⟂ B) | C)",
    "A and B are conditionally independent given C",
    "A is conditionally independent of B given C",
    "A is independent of B, given C",
    "A does not depend on B given C.",
    "A is d-separated from B by C",
    "A and B are d-separated by C",
    "C d-separates A from B",
    "not not A ⟂ B | C",
]
DENIED = [
    "~A _||_ B | C",
    "A !⟂ B | C",
    "A not _||_ B | C",
    "A ⊥\u0338 B | C",
    r"A \not\perp B | C",
    r"A \not\upvDash B | C",
    r"A \perp\!\!\!\!\not\;\perp B | C",
    r"A \mathrel{\not\perp} B | C",
    r"\neg (A \perp B | C)",
    "A is not d-separated from B by C",
    "A isn't independent of B given C",
    "A and B are not independent given C",
    "A and B are dependent given C",
    "A depends on B given C",
]


@pytest.mark.parametrize("text", AFFIRMED + DENIED)
def test_a_statement_means_the_same_to_query_and_check(text):
    answer, verdict = graphs.query(CHAIN, text), graphs.check(CHAIN, text)
    assert bool(answer) == bool(verdict) == (text in AFFIRMED)
    assert (answer.separated, answer.negated) == (True, text in DENIED)
    assert (answer.x | answer.y, answer.given) == ({"A", "B"}, {"C"})
    assert graphs.query(CHAIN, str(answer)) == answer
    assert answer.latex() == r"A \perp B \mid C"
    assert answer.explain().startswith(f"{answer} {'holds' if answer else 'does not hold'}")
    claimed = graphs.check(CHAIN, answer)
    assert (claimed.holds, claimed.claim) == (answer.holds, str(answer))


@pytest.mark.parametrize("nothing", ["()", "{}", "[]", "∅", r"\emptyset"])
def test_a_condition_on_nothing(nothing):
    answer = graphs.query(CHAIN, f"A ⊥ B | {nothing}")
    assert answer.given == frozenset()
    assert not answer


@pytest.mark.parametrize(
    ("name", "latex"),
    [("wet grass", r"\text{wet grass}"), ("50%", r"\text{50\%}"), ("x_1", "x_{1}")],
)
def test_names_in_the_latex_of_a_factorization(name, latex):
    stated = graphs.factorization(nx.DiGraph([(name, "Y")])).latex()
    assert stated == rf"P({latex}, Y) = P({latex})\,P(Y \mid {latex})"


@pytest.mark.parametrize(
    "text",
    [
        "P(A)⋅P(B|A)",
        "P(A)·P(B|A)",
        "P(A) × P(B|A)",
        "P(A) ∗ P(B|A)",
        r"\[P(A) \cdot P(B|A)\]",
        r"\(P(A)\,P(B|A)\)",
        r"\begin{align*} P(A,B) &= P(A) \\ & P(B|A) \end{align*}",
    ],
)
def test_signs_between_factors(text):
    assert graphs.parse(text) == graphs.parse("P(A)P(B|A)")


def test_the_partition_function_last():
    expected = graphs.parse("P(A,B,C) = 1/Z φ(A,B)φ(B,C)")
    assert graphs.parse("P(A,B,C) = φ(A,B)φ(B,C)/Z") == expected
    for text in ("φ(A)/Z φ(B)", "P(A)/Z", "P(A)·", "P(A)**P(B)"):
        with pytest.raises(graphs.ParseError):
            graphs.parse(text)


def test_the_table_of_signs():
    table = notations()
    assert all(sign in table for sign in ("_||_", r"\perp", "⟂\u0338", "given", "⋅", "/Z"))
