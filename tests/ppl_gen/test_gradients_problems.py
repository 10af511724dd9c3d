"""Problems and comparisons: what they report, and what they refuse."""

import math

import pytest
import torch
from torch import distributions as dist

from ppl_gen import gradients

NORMAL = dist.Normal(torch.zeros(3), 1.0)


def test_the_frame_has_the_stated_columns():
    comparison = gradients.compare(gradients.bernoulli_quadratic(), draws=100)
    frame = comparison.to_frame()
    assert list(frame.columns) == [
        "estimator", "bias", "stderr", "variance", "snr", "cost", "seconds"
    ]  # fmt: skip
    assert list(frame["estimator"]) == [n for n in gradients.registry if n != "reparameterized"]
    assert (frame["seconds"] > 0).all()
    assert list(comparison.by_parameter().columns) == ["logits"]


def test_the_table_reads_the_same_in_text_and_html():
    comparison = gradients.compare(gradients.bernoulli_quadratic(), ["score", "disarm"], draws=100)
    lines = repr(comparison).splitlines()
    assert lines[0] == "bernoulli_quadratic(target=0.45, probability=0.5), 100 draws"
    columns = ["estimator", "bias", "stderr", "variance", "snr", "cost", "seconds", "note"]
    assert lines[1].split() == columns
    assert [line.split()[0] for line in lines[2:]] == ["score", "disarm"]
    assert comparison._repr_html_().count("<tr>") == 3


def test_notes_say_what_the_numbers_do_not():
    rows = gradients.compare(gradients.bernoulli_quadratic(), draws=50)
    notes = {row.estimator: row.note for row in rows.rows if row.note}
    assert notes == {
        "nvil": "no data to look at: as score_running",
        "vimco": "for the bound of 2 draws",
        "gumbel_softmax": "biased by design",
        "straight_through": "biased by design",
    }
    assert rows["nvil"].variance == rows["score_running"].variance
    assert "biased by design" in repr(rows)
    assert "biased by design" in rows._repr_html_()
    unknown = gradients.expectation(dist.Bernoulli(logits=torch.zeros(2)), torch.square)
    relaxed, score = gradients.compare(unknown, ["gumbel_softmax", "score"], 10).rows
    assert math.isnan(relaxed.bias)
    assert relaxed.note == "biased by design; no truth known"
    assert score.note == "no truth known"


def test_the_figure_has_one_bar_per_estimator():
    from matplotlib.figure import Figure

    comparison = gradients.compare(gradients.bernoulli_quadratic(), draws=100)
    ax = Figure().subplots()
    assert comparison.plot(ax) is ax
    assert len(ax.lines) == len(comparison.rows)
    assert ax.get_xscale() == "log"


def test_a_seed_is_a_result_and_the_global_state_is_untouched():
    problem = gradients.normal_cost("cos", k=2)
    state = torch.get_rng_state()
    one, two, other = (gradients.compare(problem, "score", 200, seed=s)["score"] for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert one.variance == two.variance != other.variance
    alone = gradients.compare(problem, "leave_one_out", 200)["leave_one_out"]
    among = gradients.compare(problem, ["score", "leave_one_out"], 200)["leave_one_out"]
    assert alone.variance == among.variance


def test_comparing_leaves_the_estimator_as_it_was():
    estimator = gradients.Rebar()
    before = {k: v.clone() for k, v in estimator.state_dict().items()}
    gradients.compare(gradients.bernoulli_quadratic(), estimator, 100)
    assert all(torch.equal(before[k], v) for k, v in estimator.state_dict().items())


def test_signal_to_noise_is_the_gradient_over_the_deviation():
    row = gradients.compare(gradients.normal_cost("square", k=3), "reparameterized", 50_000).rows[0]
    # gradient 2(1 − 3) = −4, deviation 2
    assert row.snr == pytest.approx(2.0, rel=0.02)
    assert row.stderr == pytest.approx(2 / math.sqrt(50_000), rel=0.02)


@pytest.mark.parametrize("cost", ["square", "exp", "cos"])
@pytest.mark.parametrize("wrt", ["loc", "scale"])
def test_the_truth_is_the_derivative_of_quadrature(cost, wrt):
    import numpy as np
    from gradient_oracles import cost_and_slope, normal_grid

    f, _ = cost_and_slope(cost, 0.7)
    e, w = normal_grid()

    def mean(loc, scale):
        return (w * f(loc + scale * e)).sum()

    h = 1e-5
    up, down = (
        (mean(1.2 + s * h, 0.8) if wrt == "loc" else mean(1.2, 0.8 + s * h)) for s in (1, -1)
    )
    truth = gradients.normal_cost(cost, 0.7, wrt, loc=1.2, scale=0.8).truth()
    assert list(truth) == [wrt]
    assert np.isclose(truth[wrt].item(), (up - down) / (2 * h), rtol=1e-6)


def test_any_distribution_and_cost_make_a_problem():
    # E x under Gamma(a, b) is a / b
    q = dist.Gamma(torch.tensor(3.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64))
    problem = gradients.expectation(
        q, lambda x: x, exact=lambda q, draws: q.mean if draws == 1 else None
    )
    assert problem.truth()["concentration"].item() == pytest.approx(0.5)
    assert problem.truth()["rate"].item() == pytest.approx(-0.75)
    rows = gradients.compare(problem, draws=20_000).rows
    assert {"score", "reparameterized", "leave_one_out"} <= {row.estimator for row in rows}
    for row in rows:
        if row.estimator != "vimco":
            assert row.bias < 4 * row.stderr
    unknown = gradients.expectation(q, torch.log)
    assert math.isnan(gradients.compare(unknown, "score", 10).rows[0].bias)


class Averaged(gradients.Estimator):
    """The mean of several scores: all that an estimator of one's own takes."""

    name = "averaged"

    def __init__(self, samples=4):
        super().__init__(samples=samples)
        self.samples = samples

    def surrogate(self, e):
        f, log_q = e.score(e.sample(self.samples))
        return (f + (f.detach() * (log_q - log_q.detach()))).mean(0)


def test_an_estimator_of_ones_own_is_one_class():
    rows = gradients.compare(gradients.bernoulli_quadratic(), [Averaged(8), "score"], 40_000)
    one, score = rows["averaged(samples=8)"], rows["score"]
    assert one.cost == 8
    assert abs(one.bias) < 4 * one.stderr
    assert one.variance == pytest.approx(score.variance / 8, rel=0.05)


def test_only_some_leaves_may_be_wanted():
    q = dist.Normal(torch.zeros(2), torch.ones(2))
    problem = gradients.expectation(q, torch.square, wrt=("scale",))
    row = gradients.compare(problem, "measure_valued", 10).rows[0]
    assert list(row.gradient) == ["scale"]
    assert row.cost == 2
    with pytest.raises(ValueError, match=r"expected wrt among \('loc', 'scale'\), got \['mean'\]"):
        gradients.expectation(q, torch.square, wrt=("mean",))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: gradients.bernoulli_quadratic(probability=0.0), r"probability in \(0, 1\), got 0"),
        (
            lambda: gradients.bernoulli_quadratic(probability=1.5),
            r"probability in \(0, 1\), got 1.5",
        ),
        (lambda: gradients.bernoulli_quadratic(target=float("inf")), "finite target, got inf"),
        (lambda: gradients.normal_cost("cube"), "cost among square, exp, cos, got 'cube'"),
        (lambda: gradients.normal_cost("cos", wrt="mean"), "wrt 'loc' or 'scale', got 'mean'"),
        (lambda: gradients.normal_cost("cos", scale=0.0), "positive scale, got"),
        (lambda: gradients.normal_cost("cos", k=float("nan")), "finite k"),
        (lambda: gradients.normal_cost("exp", k=-1.0), "k > -0.5, where .* has a mean, got -1.0"),
        (lambda: gradients.expectation("normal", torch.square), "a distribution, got str"),
        (
            lambda: gradients.expectation(dist.Normal(torch.zeros(3), 1.0), torch.sum),
            r"one number per draw, of shape \(2, 3\).*got \(\); does the distribution need",
        ),
        (lambda: gradients.compare("normal"), "expected a problem of ppl_gen.gradients, got str"),
        (lambda: gradients.compare(gradients.bernoulli_quadratic(), draws=1), "2 draws, got 1"),
        (lambda: gradients.compare(gradients.bernoulli_quadratic(), draws=2.5), "draws, got 2.5"),
        (lambda: gradients.compare(gradients.bernoulli_quadratic(), []), "at least one estimator"),
        (lambda: gradients.compare(gradients.bernoulli_quadratic(), 5), "or their names, got 5"),
        (lambda: gradients.compare(gradients.bernoulli_quadratic(), [5]), "one of score,.* got 5"),
        (
            lambda: gradients.compare(gradients.bernoulli_quadratic(), seed=1.5),
            "whole number for the seed, got 1.5",
        ),
        (lambda: gradients.bernoulli_quadratic("a"), "finite target, got a"),
        (lambda: gradients.bernoulli_quadratic(probability=None), "got None"),
        (lambda: gradients.normal_cost("cos", k="a"), "finite k and loc .* got a"),
        (lambda: gradients.normal_cost(["cos"]), r"cost among square, exp, cos, got \['cos'\]"),
        (lambda: gradients.expectation(NORMAL, 3), "functions for cost and exact, got 3 and None"),
        (
            lambda: gradients.expectation(NORMAL, torch.square, wrt=3),
            "names of leaves as wrt, got 3",
        ),
        (
            lambda: gradients.compare(gradients.bernoulli_quadratic(), ["scor"]),
            "did you mean 'score'",
        ),
        (
            lambda: gradients.compare(gradients.bernoulli_quadratic(), "reparameterized"),
            "got Bernoulli: it has no rsample; estimators that serve it: score",
        ),
        (
            lambda: gradients.compare(gradients.bernoulli_quadratic(), "score", 10)["arm"],
            "expected one of score, got 'arm'",
        ),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
