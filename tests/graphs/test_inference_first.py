"""First answers come from plain code; compiled code takes over by counted work, and agrees."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from enumeration import random_bayesian, random_evidence, random_markov
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
from graphs.compiling import Budget
from graphs.inference import elimination, routing, work
from graphs.inference.elimination import constrained_order, elimination_order
from graphs.inference.greedy import FILL, WEIGHT, WEIGHTED_FILL, compiled_greedy, greedy
from graphs.inference.plans import Pattern

examples = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def problems(draw):
    """Sizes and scopes of tables, with many ties between small joins."""
    count = draw(st.integers(1, 40))
    sizes = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    scope = st.lists(st.integers(0, count - 1), min_size=1, max_size=4, unique=True)
    return sizes, draw(st.lists(scope, max_size=2 * count))


@examples
@given(problem=problems(), kind=st.sampled_from([FILL, WEIGHTED_FILL, WEIGHT]), seed=st.integers(0))
def test_greedy_elimination_is_the_same_plain_and_compiled(problem, kind, seed):
    sizes, scopes = problem
    counts = np.asarray(sizes, float)
    neighbours, degrees = elimination._neighbours(len(sizes), scopes)
    going = np.random.default_rng(seed).random(len(sizes)) < 0.9
    for ties in (
        np.arange(len(sizes), dtype=float),
        np.random.default_rng(seed).random(len(sizes)),
    ):
        arguments = neighbours, degrees, counts, np.log(counts), going, kind, ties
        (plain, *numbers), (fast, *others) = greedy(*arguments), compiled_greedy()(*arguments)
        assert plain.tolist() == fast.tolist()
        assert numbers == others


@examples
@given(problem=problems(), share=st.floats(0, 1))
def test_an_order_does_not_depend_on_where_the_search_changes_over(problem, share):
    sizes, scopes = problem
    budget, found = work.BUDGET.most, []
    expected = work.COMPARISON * 20 * len(sizes) ** 2
    try:
        for most in (1e18, -1, work.BUDGET.asked + share * expected):
            work.BUDGET.most = most
            found.append(elimination_order(sizes, scopes, rows=50))
            found.append(constrained_order(sizes, scopes, range(len(sizes) // 2)))
    finally:
        work.BUDGET.most = budget
    assert found[:2] == found[2:4] == found[4:]


def test_joins_beyond_floats_are_infinite_both_ways():
    sizes = np.full(60, 1e6)
    neighbours, degrees = elimination._neighbours(60, [range(60)])
    going, ties = np.ones(60, bool), np.arange(60.0)
    arguments = neighbours, degrees, sizes, np.log(sizes), going, WEIGHT, ties
    (plain, *numbers), (fast, *others) = greedy(*arguments), compiled_greedy()(*arguments)
    assert plain.tolist() == fast.tolist()
    assert numbers == others
    assert numbers[0] == math.inf


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("random_model", [random_bayesian, random_markov])
def test_sums_agree_to_rounding(random_model, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    dense = random_model(rng, zeros=0.3 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=7, missing=0.4)
    answers = []
    for most in (1e18, -1):
        monkeypatch.setattr(work.BUDGET, "most", most)
        tree = graphs.JunctionTree(dense.model)
        pair = [v for v in dense.nodes if v not in evidence][:2]
        joint = {"pair": tree.query(pair, evidence)} if pair else {}
        answers.append({**tree.marginals(evidence), "z": tree.log_partition(evidence), **joint})
    plain, fast = answers
    assert plain.keys() == fast.keys()
    for name, answer in plain.items():
        torch.testing.assert_close(answer, fast[name], rtol=1e-12, atol=1e-12)
        assert name == "z" or ((answer == 0) == (fast[name] == 0)).all()


def test_rows_and_questions_add_up_to_the_change(monkeypatch):
    """The last question that fits is answered plain, the next compiled, and so all that follow."""
    tree = graphs.JunctionTree(graphs.textbook.asia())
    pattern = Pattern(frozenset(), marginals=True)
    plan = tree._engine.plan(pattern)
    one = work.STEP * len(plan.program.steps) + work.CELL * plan.cells
    tree.marginals()  # with the search for an order, which is counted too
    ran = []
    run = graphs.inference.sums.Sums._run_plain
    monkeypatch.setattr(
        graphs.inference.sums.Sums,
        "_run_plain",
        lambda self, *rest: ran.append(1) or run(self, *rest),
    )
    monkeypatch.setattr(work.BUDGET, "asked", 0)
    monkeypatch.setattr(work.BUDGET, "most", 3 * one)
    answers = [tree.marginals()["dysp"] for _ in range(5)]
    assert len(ran) == 3
    assert all(torch.allclose(answers[0], answer, rtol=0, atol=1e-14) for answer in answers)
    work.BUDGET.asked = 0
    rows = {"dysp": ["yes"] * 1000}
    monkeypatch.setattr(work.BUDGET, "most", work.STEP * 100 + 999 * 20)
    tree.marginals(rows)
    assert len(ran) == 3


def test_tables_too_large_for_logarithms_are_left_to_compiled_code(monkeypatch):
    tree = graphs.JunctionTree(graphs.textbook.asia())
    pattern = Pattern(frozenset(), marginals=True)
    needed = tree._engine.plan(pattern).bytes(logarithms=True)
    monkeypatch.setattr(work.BUDGET, "asked", 0)
    monkeypatch.setattr(work.BUDGET, "most", 1e18)
    monkeypatch.setattr(routing, "LOG_BYTES", needed)
    assert tree._engine._plain(pattern, 1)
    monkeypatch.setattr(routing, "LOG_BYTES", needed - 1)
    assert not tree._engine._plain(pattern, 1)
    monkeypatch.setattr(routing, "LOG_BYTES", needed)
    assert not tree._engine._plain(pattern, 1)  # the code is there by now


def test_a_budget_is_closed_once_it_is_exceeded():
    budget = Budget(10)
    assert [budget.allows(k) for k in (4, 6, 0, 1, 0)] == [True, True, True, False, False]
    assert not Budget(-1).allows(0)


FIRST = """
import json, sys
import torch
from graphs import Factorization, JunctionTree, parse
structure = parse("P(a) P(b|a) P(c|a) P(d|b,c)")
given = [[.9, .1], [.2, .8]]
tables = [[.3, .7], given, given, [given, [[.5, .5], [1, 0]]]]
tree = JunctionTree((structure, tables))
answer = tree.marginals({"d": 1})["a"].tolist()
tree.map({"d": 1}), tree.query(["a", "b"])
print(json.dumps([answer, sorted({"numba", "pgmpy"} & {*sys.modules})]))
"""


def test_a_first_answer_neither_imports_numba_nor_compiles(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, env=environment
    )
    answer, heavy = json.loads(done.stdout)
    given = np.array([[0.9, 0.1], [0.2, 0.8]])
    last = np.array([given, [[0.5, 0.5], [1, 0]]])[..., 1]
    joint = np.einsum("a,ab,ac,bc->a", [0.3, 0.7], given, given, last)
    assert answer == pytest.approx((joint / joint.sum()).tolist(), abs=1e-14)
    assert heavy == []
    assert not list(tmp_path.iterdir())
