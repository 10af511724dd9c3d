"""Estimators against closed forms: the mean, and the variance of one estimate."""

import functools

import numpy as np
import pytest
import torch
from gradient_oracles import bernoulli_moments, normal_moments

from ppl_gen import gradients

DRAWS = 60_000

BERNOULLI = {
    # (target, probability): variances of one estimate
    (0.45, 0.05): {
        "score": 4.204e-3,
        "leave_one_out": 2.149e-4,
        "arm": 2.033e-4,
        "disarm": 2.031e-4,
        "score_constant": 0.0,
        "enumerate": 0.0,
        "measure_valued": 0.0,
    },
    (0.45, 0.5): {
        "score": 1.594e-2,
        "leave_one_out": 6.25e-4,
        "arm": 2.083e-4,
        "disarm": 0.0,
        "score_constant": 0.0,
        "enumerate": 0.0,
        "measure_valued": 0.0,
    },
    (0.499, 0.5): {
        "score": 1.563e-2,
        "leave_one_out": 2.5e-7,
        "arm": 8.33e-8,
        "disarm": 0.0,
        "score_constant": 0.0,
        "enumerate": 0.0,
        "measure_valued": 0.0,
    },
}

FOUR = ("score", "score_constant", "reparameterized", "measure_valued")
NORMAL = {
    # (cost, k, wrt): variances of score, with the best constant, pathwise, coupled measure-valued
    ("square", 3, "loc"): (87, 38, 4, 4.37),
    ("square", -3, "loc"): (495, 134, 4, 17.5),
    ("exp", 0.1, "loc"): (0.5635, 0.0405, 0.0163, 0.0025),
    ("exp", 10, "loc"): (0.0769, 0.0602, 0.9416, 0.0207),
    ("cos", 0.5, "loc"): (0.4552, 0.1179, 0.0393, 0.0083),
    ("cos", 5, "loc"): (0.5, 0.5, 12.5, 0.2957),
    ("square", 3, "scale"): (346, 184, 24, 20),
    ("square", -3, "scale"): (1546, 664, 72, 68),
    ("exp", 0.1, "scale"): (0.9354, 0.1410, 0.0278, 0.0220),
    ("exp", 10, "scale"): (0.0090, 0.0087, 0.8920, 0.1167),
    ("cos", 0.5, "scale"): (0.7987, 0.4601, 0.0875, 0.0653),
    ("cos", 5, "scale"): (1, 1, 12.5, 1),
}
UNCOUPLED = {
    ("square", 3, "loc"): 3.459,
    ("square", -3, "loc"): 10.02,
    ("cos", 5, "loc"): 0.1605,
}


@functools.cache
def bernoulli(target, probability):
    problem = gradients.bernoulli_quadratic(target, probability)
    unbiased = [name for name, kind in gradients.registry.items() if not kind.biased]
    served = [n for n in unbiased if problem.refusal(gradients.make(n)) is None]
    return gradients.compare(problem, served, DRAWS)


@functools.cache
def normal(cost, k, wrt):
    problem = gradients.normal_cost(cost, k, wrt)
    names = [n for n in gradients.registry if problem.refusal(gradients.make(n)) is None]
    return gradients.compare(problem, [*names, gradients.MeasureValued(coupled=False)], DRAWS)


def assert_agrees(row, mean, variance, slack=0.0):
    """Both moments within four standard errors."""
    (estimate,) = row.gradient.values()
    assert abs(estimate.item() - mean) <= 4 * row.stderr + 1e-12
    assert abs(row.variance - variance) <= 4 * row.variance_stderr + slack + 1e-12


@pytest.mark.parametrize("case", BERNOULLI, ids=str)
def test_the_table_of_bernoulli_variances(case):
    for name, tabulated in BERNOULLI[case].items():
        mean, variance = bernoulli_moments(name, *case)
        assert variance == pytest.approx(tabulated, rel=1e-3, abs=1e-12), name
        # the best constant is estimated, from 51,200 draws
        fitted = BERNOULLI[case]["score"] / 20_000 if name == "score_constant" else 0.0
        assert_agrees(bernoulli(*case)[name], mean, variance, fitted)


@pytest.mark.parametrize("case", NORMAL, ids=str)
def test_the_table_of_normal_variances(case):
    printed = dict(zip(FOUR, NORMAL[case], strict=True))
    for name, tabulated in printed.items():
        mean, variance = normal_moments(name, *case)
        assert variance == pytest.approx(tabulated, rel=5e-3, abs=6e-5), name
        assert_agrees(normal(*case)[name], mean, variance)


@pytest.mark.parametrize("case", NORMAL, ids=str)
def test_leave_one_out_and_uncoupled_measures_have_their_exact_variances(case):
    for name in ("leave_one_out", "measure_valued(coupled=False)"):
        mean, variance = normal_moments(name, *case)
        assert_agrees(normal(*case)[name], mean, variance)
    if case in UNCOUPLED:
        assert variance == pytest.approx(UNCOUPLED[case], rel=2e-3)


def test_the_score_function_wins_where_the_cost_varies_faster_than_the_noise():
    for cost, k in (("exp", 10), ("cos", 5)):
        rows = normal(cost, k, "loc")
        assert rows["score"].variance < rows["reparameterized"].variance / 10
    rows = normal("cos", 0.5, "loc")
    assert rows["reparameterized"].variance < rows["score"].variance / 10


@pytest.mark.parametrize("case", BERNOULLI, ids=str)
def test_unbiased_estimators_have_the_true_mean_on_bernoulli_problems(case):
    for row in bernoulli(*case).rows:
        assert abs(row.bias) <= 4 * row.stderr, row.estimator


@pytest.mark.parametrize("case", NORMAL, ids=str)
def test_unbiased_estimators_have_the_true_mean_on_normal_problems(case):
    for row in normal(*case).rows:
        assert abs(row.bias) <= 4 * row.stderr, row.estimator


ONE_PERCENT = [("bernoulli", *case) for case in BERNOULLI] + [("normal", *case) for case in NORMAL]
MOST = 5_000_000


@pytest.mark.parametrize("case", ONE_PERCENT, ids=str)
def test_one_percent_of_the_gradient_is_resolved(case):
    """With as many draws as that takes, told by the exact variance, unless it takes too many."""
    kind, *arguments = case
    if kind == "bernoulli":
        problem, moments = gradients.bernoulli_quadratic(*arguments), bernoulli_moments
        names = ["score", "leave_one_out", "muprop", "arm", "disarm", "measure_valued"]
    else:
        problem, moments = gradients.normal_cost(*arguments), normal_moments
        names = [*FOUR, "leave_one_out", "measure_valued(coupled=False)"]
    for name in names:
        mean, variance = moments(name, *arguments)
        draws = 100 + int(variance / (0.01 * mean) ** 2)
        if draws > MOST:
            continue
        coupled = name != "measure_valued(coupled=False)"
        estimator = name if coupled else gradients.MeasureValued(coupled=False)
        row = gradients.compare(problem, estimator, draws)[name]
        assert row.stderr < 0.011 * abs(mean), name
        assert abs(row.bias) <= 4 * row.stderr + 1e-12, name


@pytest.mark.parametrize("name", ["rebar", "relax", "nvil", "score_running"])
def test_adaptive_estimators_resolve_one_percent(name):
    row = gradients.compare(gradients.bernoulli_quadratic(0.45, 0.5), name, 300_000)[name]
    assert row.stderr < 0.0115 * (0.5 * 0.5 * 0.1)
    assert abs(row.bias) <= 4 * row.stderr + 1e-12


@pytest.mark.parametrize("case", BERNOULLI, ids=str)
@pytest.mark.parametrize("name", ["muprop", "vimco"])
def test_moments_by_listing_the_values(case, name):
    assert_agrees(bernoulli(*case)[name], *bernoulli_moments(name, *case))


@pytest.mark.parametrize(("temperature", "scale"), [(0.5, 1.0), (1.0, 0.3), (2.0, 0.0)])
def test_rebar_has_the_variance_of_quadrature(temperature, scale):
    estimator = gradients.Rebar(temperature, scale, learn=False)
    row = gradients.compare(gradients.bernoulli_quadratic(0.45, 0.3), [estimator], DRAWS).rows[0]
    mean, variance = bernoulli_moments("rebar", 0.45, 0.3, temperature, scale)
    assert mean == pytest.approx(0.3 * 0.7 * 0.1, rel=1e-3)
    assert_agrees(row, mean, variance)


@pytest.mark.parametrize("case", BERNOULLI, ids=str)
def test_control_variates_are_no_worse_than_the_score_function_at_their_optimum(case):
    rows = bernoulli(*case)
    plain = bernoulli_moments("score", *case)[1]
    for name in ("rebar", "relax"):
        assert rows[name].variance <= plain * 1.01 + 4 * rows[name].variance_stderr
    assert rows["relax"].variance < plain / 1000


def test_the_relaxation_trades_bias_for_variance_as_it_cools():
    problem = gradients.bernoulli_quadratic(0.45, 0.2)
    temperatures = (0.5, 0.25, 0.1)
    found = gradients.compare(problem, [gradients.GumbelSoftmax(t) for t in temperatures], DRAWS)
    for temperature, row in zip(temperatures, found.rows, strict=True):
        mean, variance = bernoulli_moments("gumbel_softmax", 0.45, 0.2, temperature)
        assert_agrees(row, mean, variance)
    biases = [abs(row.bias) for row in found.rows]
    assert biases == sorted(biases, reverse=True)
    assert [row.variance for row in found.rows] == sorted(row.variance for row in found.rows)
    assert biases[0] > 10 * found.rows[0].stderr


class Tanh(torch.nn.Module):
    def forward(self, x):
        return 0.3 * torch.tanh(0.5 * x + 0.2)


def test_relax_has_the_variance_of_quadrature():
    estimator = gradients.Relax(Tanh(), 0.7, 0.4, learn=False)
    row = gradients.compare(gradients.bernoulli_quadratic(0.45, 0.3), [estimator], DRAWS).rows[0]

    def network(x):
        return 0.3 * np.tanh(0.5 * x + 0.2)

    mean, variance = bernoulli_moments("relax", 0.45, 0.3, 0.7, 0.4, network)
    assert mean == pytest.approx(0.3 * 0.7 * 0.1, rel=1e-3)
    assert_agrees(row, mean, variance)


def test_straight_through_is_biased_at_every_temperature():
    problem = gradients.bernoulli_quadratic(0.45, 0.05)
    for temperature in (1.0, 0.3):
        estimator = gradients.StraightThrough(temperature)
        row = gradients.compare(problem, [estimator], DRAWS).rows[0]
        assert_agrees(row, *bernoulli_moments("straight_through", 0.45, 0.05, temperature))
        assert abs(row.bias) > 10 * row.stderr


def test_costs_are_counted():
    rows = bernoulli(0.45, 0.5)
    expected = {"score": 1, "leave_one_out": 2, "vimco": 2, "arm": 2, "rebar": 3, "enumerate": 2}
    assert {name: rows[name].cost for name in expected} == expected
    five = gradients.compare(gradients.bernoulli_quadratic(), [gradients.LeaveOneOut(5)], 10)
    assert five["leave_one_out(samples=5)"].cost == 5


def test_vimco_follows_its_own_bound():
    row = bernoulli(0.45, 0.05)["vimco"]
    # E −log ½(e^{−f(a)} + e^{−f(b)}) by its four terms, differentiated numerically
    assert "bound of 2 draws" in row.note
    phi = torch.tensor(0.05, dtype=torch.float64).logit()

    def bound(phi):
        p = torch.sigmoid(phi)
        f, mass = torch.tensor([0.45**2, 0.55**2]).double(), torch.stack([1 - p, p])
        pair = -((torch.exp(-f)[:, None] + torch.exp(-f)) / 2).log()
        return (mass[:, None] * mass * pair).sum()

    slope = (bound(phi + 1e-5) - bound(phi - 1e-5)) / 2e-5
    assert abs(row.gradient["logits"].item() - slope.item()) <= 4 * row.stderr
