"""Products over an index are written out; exponentials of sums are potentials."""

import random

import pytest

import graphs

NAIVE = "P(y) P(x_1|y) P(x_2|y) P(x_3|y)"
SIGNS = [r"\prod_{%s}^{%s}", r"\prod\limits_{%s}^{%s}", "∏_{%s}^{%s}", "prod_{%s}^{%s}"]


@pytest.mark.parametrize(
    "text",
    [
        r"p(y)\prod_{i=1}^{3} p(x_i|y)",
        r"p(y)\prod_{i=1}^3 p(x_{i}|y)",
        r"p(y) \cdot \prod^{3}_{i=1} \left( p(x_i \mid y) \right)",
        r"p(y)\prod\nolimits_{i=1}^{3}{p(x_i|y)}",
        r"\[ p(y, x_{1:3}) = p(y)\,\prod_{i=1}^{3}\, p(x_i|y). \]",
        r"p(y, x_1, \dots, x_3) = p(y) \prod_{i=1}^{3} p(x_i|y)",
        r"P(y) ∏_{i=1}^{3} P(x_i|y)",
        "P(y) ∏ᵢ₌₁³ P(x_i|y)",
        "P(y) prod_{i=1}^3 P(x_i|y)",
        "P(y) prod_i=1^3 P(x_i|y)",
        "P(y) prod_{i=1..3} P(x_i|y)",
        r"P(y) \prod_{i=1,\dots,3} P(x_i|y)",
        r"P(y) \prod_{i \in \{1,2,3\}} P(x_i|y)",
        r"P(y) \prod_{i\in\{1, 2, \ldots, 3\}} P(x_i|y)",
        r"P(y) \prod_{1 \le i \leq 3} P(x_i|y)",
        r"P(y) \prod_{0<i<4} P(x_i|y)",
        r"P(y) \prod_{i=0}^{2} P(x_{i+1}|y)",
        r"P(y) \prod_{\ell=1}^{3} P(x_\ell|y)",
    ],
)
def test_bounds_in_every_notation(text):
    assert graphs.parse(text) == graphs.parse(NAIVE)


def test_a_product_extends_to_a_factor_without_its_index():
    chain = graphs.parse(r"p(z_1)\prod_{t=2}^{3} p(z_t|z_{t-1}) p(x_t|z_t) p(y)")
    assert str(chain).partition(" = ")[2] == (
        "P(z_1) P(z_2 | z_1) P(x_2 | z_2) P(z_3 | z_2) P(x_3 | z_3) P(y)"
    )
    twice = graphs.parse(
        r"p(z_1) \prod_{t=2}^{3} p(z_t|z_{t-1}) \prod_{t=1}^{3} p(x_t|z_t) \prod_{t=1}^2 p(y_t|z_t)"
    )
    assert [f.variables[0] for f in twice.factors] == [
        "z_1",
        "z_2",
        "z_3",
        "x_1",
        "x_2",
        "x_3",
        "y_1",
        "y_2",
    ]
    inner = graphs.parse(
        r"\prod_{i=1}^{2} f(a_i) \prod_{j=1}^{2} f(b_{i,j}) \prod_{i=1}^{2} f(c_i)"
    )
    assert [f.variables[0] for f in inner.factors[-3:]] == ["b_2,2", "c_1", "c_2"]
    grouped = graphs.parse(r"\prod_{t=1}^{2} [p(z_t) p(y_t|z_t)] p(w|y_1)")
    assert [f.variables for f in grouped.factors[-2:]] == [("y_2",), ("w",)]
    with pytest.raises(graphs.ParseError, match="the index t in the body of its product"):
        graphs.parse(r"\prod_{t=1}^{2} [p(z_t)] p(w|z_t)")
    with pytest.raises(graphs.ParseError, match="the index t in the body of its product"):
        graphs.parse(r"\prod_{t=1}^{2} p(z_t) p(y) p(x_t|z_t)")


def test_nested_products_and_ranges():
    tree = graphs.parse(r"\prod_{i=1}^{2} p(z_i) \prod_{j=1}^{2} p(x_{i,j}|z_i)")
    assert set(tree.edges) == {(f"z_{i}", f"x_{i},{j}") for i in (1, 2) for j in (1, 2)}
    pairs = graphs.parse(r"\frac{1}{Z} \prod_{i=1}^{3} \prod_{j=i+1}^{3} \phi_{i,j}(x_i, x_j)")
    assert pairs == graphs.parse("1/Z φ12(x_1,x_2) φ13(x_1,x_3) φ23(x_2,x_3)")
    full = graphs.parse(r"\prod_{t=1}^{3} p(x_t|x_{1:t-1})")
    assert full == graphs.parse("P(x_1) P(x_2|x_1) P(x_3|x_1,x_2)")
    edges = graphs.parse(r"\prod_{(i,j) \in \{(1,2), (2,3)\}} \psi(x_i, x_j) \psi(y)")
    assert edges == graphs.parse("ψ(x_1,x_2) ψ(x_2,x_3) ψ(y)")
    square = graphs.parse(r"\prod_{i,j=1}^{2} f_{i,j}(a_i, b_j)")
    assert square == graphs.parse("f11(a_1,b_1) f12(a_1,b_2) f21(a_2,b_1) f22(a_2,b_2)")
    listed = graphs.parse(r"\prod_{t=1}^{3} p(x_t|x_1, \dots, x_{t-1})")
    assert listed == full
    named = graphs.parse(r"\prod_{c \in \{a, b\}} p(x_c|y) p(y)")
    assert set(named.edges) == {("y", "x_a"), ("y", "x_b")}


def test_symbolic_bounds_take_a_number():
    text = r"p(x_1, \dots, x_n) = p(x_1)\prod_{t=2}^{n} p(x_t|x_{t-1})"
    chain = graphs.parse(text, bounds={"n": 4})
    assert chain == graphs.parse("P(x_1) P(x_2|x_1) P(x_3|x_2) P(x_4|x_3)")
    with pytest.raises(graphs.ParseError, match=r"the bound N has no number.*bounds=\{'N': 3\}"):
        graphs.parse(r"\prod_{i=1}^{N} p(x_i)")
    for bounds in ({"N": "3"}, {"N": 2.5}, {"N": True}, {1: 2}, {"": 2}):
        with pytest.raises(ValueError, match="expected"):
            graphs.parse("P(A)", bounds=bounds)


def test_claims_take_numbers_for_bounds():
    model = graphs.parse("P(y)P(x_1|y)P(x_2|y)")
    for text in (r"p(y) \prod_{n=1}^{N} p(x_n|y)", r"p(x_1, x_2 | y) = \prod_{n=1}^{N} p(x_n|y)"):
        assert graphs.check(model, text, bounds={"N": 2})
        with pytest.raises(graphs.ParseError, match=r"bounds=\{'N': 3\} to graphs\.parse or"):
            graphs.check(model, text)
    claim = r"p(x_1, x_2) = \prod_{n=1}^{N} p(x_n)"
    assert not graphs.check(model, claim, bounds={"N": 2})
    with pytest.raises(ValueError, match=r"for the bound N, got 2\.5"):
        graphs.check(model, "x_1 _||_ x_2 | y", bounds={"N": 2.5})


def test_products_in_claims_and_ranges_in_queries():
    model = graphs.parse(NAIVE)
    assert graphs.check(model, r"P(x_{1:3}|y) = \prod_{i=1}^{3} P(x_i|y)")
    assert not graphs.check(model, r"P(y, x_{1:3}) = P(y) \prod_{i=1}^{3} P(x_i)")
    assert graphs.query(model, "x_{1:2} ⟂ x_3 | y") == graphs.query(model, "x_1, x_2 ⟂ x_3 | y")


def _random_product(rng, depth, outer):
    """Text of a product, and its factors as pairs of names, expanded by loops of its own."""
    index = "ijk"[depth]
    low = rng.randint(0, 3)
    high = low + rng.randint(0, 2)
    shift, scale = rng.randint(-2, 2), rng.choice([1, 1, 2])
    step = f"{index}{shift:+d}" if shift else index
    step = f"{scale if scale > 1 else ''}{step}"
    used = [*outer, index]
    letter = rng.choice("abc")
    text = rng.choice(SIGNS) % (f"{index}={low}", high)
    text += f" f({letter}_{{{','.join(used)}}}, d_{{{step}}})"
    inner = _random_product(rng, depth + 1, used) if depth < 2 and rng.random() < 0.6 else None

    def factors(values):
        for value in range(low, high + 1):
            now = [*values, value]
            yield f"{letter}_{','.join(map(str, now))}", f"d_{scale * value + shift}"
            if inner:
                yield from inner[1](now)

    return text + (inner[0] if inner else ""), factors


def test_random_products_against_loops():
    rng = random.Random(0)
    for _ in range(300):
        text, factors = _random_product(rng, 0, [])
        model = graphs.parse(text + rng.choice(["", " f(w)", " / Z"]))
        expected = list(factors([]))
        assert [f.variables for f in model.factors][: len(expected)] == expected
        assert len(model.factors) == len(expected) + ("w" in model.nodes)
        assert graphs.parse(str(model)) == graphs.parse(model.latex()) == model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"\prod_{i} p(x_i)", "i has no bounds"),
        (r"\prod_{i<j} φ(x_i,x_j)", "i<j gives pairs"),
        (r"\prod_{(i,j) \in E} φ(x_i,x_j)", "members of E are not stated"),
        (r"\prod_{(i,j) \in \{(1,2),(3)\}} φ(x_i,x_j)", "tuples of 2"),
        (r"\prod_{(i,j) \in \{(1,2),(1,2)\}} φ(x_i,x_j)", "that differ"),
        (r"\prod_{(i,i) \in \{(1,2)\}} φ(x_i)", "an index other than i"),
        (r"\prod_{(i,j) \in \{(1,2)\}} φ(x_i)", "the index j in a subscript"),
        (r"\prod_{i \sim j} φ(x_i,x_j)", "gives pairs"),
        (r"\prod_{i=1, i \ne j}^{3} p(x_i)", "gives pairs or conditions"),
        (r"\prod_{i=3}^{1} p(x_i)", "a value between them"),
        (r"\prod_{i=1}^{3} p(x|y)", "the index i in a subscript"),
        (r"\prod_{i=1}^{3} p(xi|y) p(y)", "x_i for an index"),
        (r"\prod_{i=1}^{3} p(i)", "not the index i"),
        (r"\prod_{i=1}^{2} \prod_{j=1}^{2} p(x_{ij})", "i,j with commas"),
        (r"\prod_{i=1}^{2} \prod_{i=1}^{2} p(x_i)", "an index other than i"),
        (r"\prod_{i=1}^{2} p(x_{i+k})", "in place of k"),
        (r"\prod_{i=1}^{2} p(x_{i'})", "without a prime"),
        (r"\prod_{i=1}^{2} f(x_i, x_{-i})", "may mean all others"),
        (r"p(n) \prod_{n=1}^{2} p(x_n|n)", "not the index n"),
        (r"p(n) \prod_{n=1}^{2} p(x_n)", "an index that is no variable"),
        (r"p(y_i) \prod_{i=1}^{2} p(x_i|y_i)", "in the body of its product alone"),
        (r"\prod_{i=1}^{100000} p(x_i)", "at most 20000 factors"),
        (r"\prod_{i=1}^{9999} \prod_{j=1}^{9999} φ(x_{i,j})", "at most 20000 factors"),
        (r"\prod_{i=1}^{3", "bounds such as"),
        (r"\prod_{i=1}^{3}", "a factor such as"),
        (r"\sum_z p(z) p(x|z)", "no variable is summed out"),
        ("plate i=1..3 { p(x_i) }", "for a plate"),
        ("p(x_1, ..., x_n)", "a higher number after the dots"),
        ("p(x_{3:1})", "from the lower to the higher"),
        ("exp(A*B)", "nothing tells variables from parameters"),
        (r"\exp(\sum_{i=1}^{2} w_i x_i)", "nothing tells variables from parameters"),
        (r"\exp(-\sum_{i<j} J_{ij} x_i x_j)", "i<j gives pairs"),
        ("exp(-E(A) E(B))", "after a function"),
        (r"exp(-\theta E(A,\theta))", "theta is a variable"),
        ("P(A) exp(-E(A))", "another conditional"),
    ],
)
def test_what_is_not_read_is_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message):
        graphs.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "exp(-E1(A,B) - E2(B,C))",
        r"\exp\{-E_1(A,B) - E_2(B,C)\}",
        r"P(A,B,C) \propto \exp\left[ \log\phi_1(A,B) + \ln \phi_2(B,C) \right]",
        r"\frac{1}{Z} e^{-E_{1}(A,B) + \frac{1}{2} E_{2}(B,C)}",
        r"p ∝ exp(-\beta (E1(A,B) + E2(B,C)))",
        r"1/Z exp(-E1(A,B)) exp(-0.5*E2(B,C)/3)",
        "exp(−E1(A,B) − E2(B,C)) / Z",
        r"φ1(A,B) exp(-λ E2(B,C))",
    ],
)
def test_an_exponential_of_a_sum_is_a_product_of_potentials(text):
    assert graphs.parse(text) == graphs.parse("φ1(A,B) φ2(B,C)")


def test_sums_in_an_exponential():
    ising = graphs.parse(
        r"p \propto \exp\left( \sum_{i=1}^{3} \theta_i(x_i)"
        r" + \sum_{i=1}^{2} \theta_{i,i+1}(x_i,x_{i+1}) \right)"
    )
    assert ising == graphs.parse("φ1(x_1) φ2(x_2) φ3(x_3) φ12(x_1,x_2) φ23(x_2,x_3)")
    once = graphs.parse(r"\exp(\sum_{i=1}^{2} E(x_i) + F(y))")
    assert once == graphs.parse("φ(x_1) φ(x_2) φ(y)")
