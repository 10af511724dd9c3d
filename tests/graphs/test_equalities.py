"""Equalities between conditionals, against enumeration of random tables."""

import itertools

import networkx as nx
import numpy as np
import pytest

import graphs

CHAIN = graphs.parse("P(C) P(A|C) P(B|C)")
NAMES = "ABCD"


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("P(A|B,C) = P(A|C)", True),
        ("P(A|C) = P(A|B,C)", True),
        ("P(A|B) = P(A)", False),
        ("P(A,B|C) = P(A|C) P(B|C)", True),
        (r"p(A,B \mid C) = p(A \mid C) \cdot p(B \mid C)", True),
        ("P(A|C)P(B|C) = P(A,B|C)", True),
        ("P(A,B|C) = P(A|B,C) P(B|C)", True),
        ("P(A,B|C) = P(A|C) P(B|A)", False),
        ("P(A) = P(A|B)", False),
        ("P(A)P(B) = P(A,B)", False),
        ("not not P(A|C) = P(A|B,C)", True),
    ],
)
def test_equalities_of_a_common_cause(claim, holds):
    verdict = graphs.check(CHAIN, claim)
    assert bool(verdict) is holds
    assert verdict.explain()
    if not holds:
        assert verdict.false_independencies
        assert verdict.counterexample is not None


@pytest.mark.parametrize("sign", ["≠", "!=", r"\neq", r"\ne", "=\u0338", r"\not="])
@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("P(A|B)", "P(A)", False),
        ("P(A)", "P(A|B)", False),
        ("P(A|B,C)", "P(A|C)", True),
        ("P(A,B|C)", "P(A|C) P(B|C)", True),
        ("P(A,B|C)", "P(A|B,C) P(B|C)", True),
    ],
)
def test_an_inequality_is_the_negation_of_an_equality(left, right, equal, sign):
    assert graphs.check(CHAIN, f"{left} = {right}").holds is equal
    for text in (f"{left} {sign} {right}", f"not {left} = {right}", f"¬ {left} = {right}"):
        verdict = graphs.check(CHAIN, text)
        assert verdict.holds is not equal
        assert "≠" in verdict.explain()
        assert graphs.check(CHAIN, f"~{text}").holds is equal
    with pytest.raises(graphs.ParseError):
        graphs.parse(f"{left} {sign} {right}")


def test_the_chain_rule_needs_no_independence():
    assert "every distribution" in graphs.check(CHAIN, "P(A,B|C) = P(A|B,C) P(B|C)").explain()


@pytest.mark.parametrize(
    ("claim", "match"),
    [
        ("P(A|C) = P(B|C)", "same variables on both sides"),
        ("P(A,B|C) = P(A|B) P(B|A)", "chain rule"),
        ("P(A|B) P(C|B) = P(A|B) P(C|A)", "single distribution on one side"),
        ("P(A|Q) = P(A)", "Q"),
        ("P(A,B) ≠ P(A) P(B)", "got '≠'"),
        ("not P(A,B) = P(A) P(B)", "expected"),
        ("P(A|B) ≠ φ(A)", "expected"),
        ("P(A|B) ≠", "expected"),
    ],
)
def test_other_equalities_are_refused(claim, match):
    with pytest.raises(ValueError, match=match):
        graphs.check(CHAIN, claim)


def conditional(joint, factor):
    """P(variables | given) over all axes, by summing the joint distribution."""
    variables, given = factor
    scope = [NAMES.index(v) for v in (*variables, *given)]
    top = joint.sum(tuple(i for i in range(4) if i not in scope), keepdims=True)
    return top / top.sum(tuple(NAMES.index(v) for v in variables), keepdims=True)


def test_random_equalities_agree_with_enumeration():
    """Random tables have just the independences of their structure."""
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(150):
        graph = nx.DiGraph()
        graph.add_nodes_from(NAMES)
        graph.add_edges_from(e for e in itertools.combinations(NAMES, 2) if rng.random() < 0.5)
        joint = np.ones((2,) * 4)
        for v in graph:
            scope = sorted([*graph.pred[v], v], key=NAMES.index)
            shape = [2 if name in scope else 1 for name in NAMES]
            table = rng.random(shape)
            joint = joint * table / table.sum(NAMES.index(v), keepdims=True)
        order = rng.permutation(list(NAMES))
        given, heads = order[: (k := int(rng.integers(0, 3)))], order[k : k + 2]
        right, known = [], list(given)
        for v in heads:
            right.append(([v], [w for w in known if rng.random() < 0.6]))
            known.append(v)
        if not len(given) and not any(g for _, g in right):
            continue
        text = " = ".join(
            " ".join(f"P({','.join(h)}" + (f"|{','.join(g)})" if len(g) else ")") for h, g in side)
            for side in ([(heads, given)], right)
        )
        product = conditional(joint, right[0]) * conditional(joint, right[1])
        holds = np.allclose(conditional(joint, (heads, given)), product, atol=1e-9)
        assert bool(graphs.check(graph, text)) == holds, text
        seen.add(holds)
    assert seen == {True, False}
