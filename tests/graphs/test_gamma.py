"""Gamma variational inference against quadrature, the closed form and stock Pyro."""

import math

import matplotlib
import numpy as np
import pyro
import pyro.poutine as poutine
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.infer import SVI, Trace_ELBO
from scipy import integrate, stats

import graphs
from graphs import gamma

matplotlib.use("Agg")
positive = st.floats(-2, 2).map(lambda e: 10.0**e)


@pytest.fixture(autouse=True)
def own_parameters():
    with pyro.get_param_store().scope():
        yield


def integral(f, scale):
    """The integral over (0, inf), in units of the scale on which f varies."""
    return integrate.quad(lambda t: scale * f(scale * t), 0, np.inf, limit=200, epsabs=0)[0]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(x=positive, theta=positive)
def test_kl_and_evidence_equal_quadrature(x, theta):
    q = stats.gamma(2, scale=1 / theta)
    gap = integral(
        lambda z: q.pdf(z) * (q.logpdf(z) + z - math.log(z) + z * x) if z > 0 else 0.0, 1 / theta
    )
    assert gamma.kl(theta, x) == pytest.approx(gap, rel=1e-6, abs=1e-8)
    evidence = integral(lambda z: z * math.exp(-z * (1 + x)), 1 / (1 + x))
    assert gamma.log_evidence(x) == pytest.approx(math.log(evidence), rel=1e-8, abs=1e-9)


def test_numbers_give_floats_and_tensors_are_differentiable():
    assert type(gamma.kl(2.0, 1)) is float
    assert type(gamma.optimum(1.0)) is float
    theta = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([1.0, 3.0, 6.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: gamma.kl(t, x), theta)
    rates = np.array([0.5, 2.0])
    assert gamma.kl(rates, 1.0) == pytest.approx([gamma.kl(r, 1.0) for r in rates])


@pytest.mark.parametrize("x", [1e-3, 0.7, 3.0, 1e4])
def test_the_optimum_is_the_minimum_and_its_value_the_evidence(x):
    best = gamma.optimum(x)
    assert gamma.kl(best, x) == pytest.approx(-gamma.log_evidence(x), rel=1e-12)
    assert all(gamma.kl(best * f, x) > gamma.kl(best, x) for f in (0.5, 0.99, 1.01, 2))
    assert best == x + 1


@pytest.mark.parametrize("x", [1e-3, 0.7, 3.0, 1e4])
def test_every_single_sample_loss_is_the_evidence_at_the_optimum(x):
    pyro.param(
        "theta",
        torch.tensor(x + 1, dtype=torch.float64),
        constraint=torch.distributions.constraints.positive,
    )
    torch.manual_seed(0)
    losses = [Trace_ELBO().loss(gamma.model, gamma.guide, x) for _ in range(50)]
    np.testing.assert_allclose(losses, 2 * math.log1p(x), rtol=1e-12, atol=1e-13)
    pyro.get_param_store()["theta"] = torch.tensor(2 * x + 2, dtype=torch.float64)
    assert np.std([Trace_ELBO().loss(gamma.model, gamma.guide, x) for _ in range(50)]) > 0.1


def test_programs_hold_the_sites_the_mathematics_names():
    trace = poutine.trace(gamma.model).get_trace(2.5)
    assert trace.nodes["x"]["is_observed"]
    assert trace.nodes["x"]["value"] == 2.5
    z = trace.nodes["z"]["value"]
    expected = stats.expon.logpdf(z) + stats.expon.logpdf(2.5, scale=1 / z)
    assert trace.log_prob_sum().item() == pytest.approx(float(expected), rel=1e-12)
    trace = poutine.trace(gamma.guide).get_trace(2.5)
    z = trace.nodes["z"]["value"].item()
    assert trace.log_prob_sum().item() == pytest.approx(stats.gamma(2, scale=1).logpdf(z))


def test_stock_svi_runs_the_pair_and_keeps_float32():
    pyro.set_rng_seed(0)
    svi = SVI(
        gamma.model,
        gamma.guide,
        pyro.optim.Adam({"lr": 0.05}),
        Trace_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=0),
    )
    x = torch.tensor(3.0)
    for _ in range(200):
        svi.step(x)
    theta = pyro.param("theta")
    assert theta.dtype == torch.float32
    assert theta.item() == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(
    ("x", "start"), [(1e-3, 1e-3), (1e-3, 1e3), (1e4, 1e-3), (1e4, 1e3), (1.0, 1e3), (40.0, 1e-3)]
)
def test_fit_lands_on_the_optimum_from_far_starts(x, start):
    result = gamma.fit(x, start=start)
    assert result.theta == pytest.approx(x + 1, rel=1e-3)
    assert result.thetas[0] == pytest.approx(start)
    assert result.thetas[-1] == result.theta
    assert result.losses[-1] == pytest.approx(2 * math.log1p(x), rel=1e-6, abs=1e-9)
    assert f"optimum={x + 1:.6g}" in repr(result)


@settings(max_examples=2, deadline=None, derandomize=True)
@given(x=positive, start=positive, seed=st.integers(0, 10**6))
def test_fit_lands_whatever_the_seed(x, start, seed):
    assert gamma.fit(x, start=start, seed=seed).theta == pytest.approx(x + 1, rel=1e-3)


def test_gradient_without_the_score_is_unbiased_and_less_noisy():
    x, theta = 3.0, 2.0

    def gradients(guide):
        found = []
        for _ in range(600):
            pyro.clear_param_store()
            pyro.param(
                "theta",
                torch.tensor(theta, dtype=torch.float64),
                constraint=torch.distributions.constraints.positive,
            )
            Trace_ELBO().loss_and_grads(gamma.model, guide, x)
            found.append(pyro.param("theta").unconstrained().grad.item())
        return np.array(found)

    torch.manual_seed(0)
    truth = 2 - 2 * (x + 1) / theta  # the derivative of kl in log theta
    path, usual = gradients(gamma._path_guide), gradients(gamma.guide)
    for draws in (path, usual):
        assert abs(draws.mean() - truth) < 4 * draws.std() / math.sqrt(len(draws))
    assert usual.var() == pytest.approx(2 * ((x + 1) / theta) ** 2, rel=0.2)
    assert path.var() == pytest.approx(2 * (1 - (x + 1) / theta) ** 2, rel=0.2)


def test_fit_leaves_the_callers_parameters_and_random_state_alone():
    kept = pyro.param("theta", torch.tensor(7.0))
    pyro.param("mine", torch.tensor(1.0))
    before = torch.get_rng_state()
    first, second = gamma.fit(2.0, steps=30, seed=4), gamma.fit(2.0, steps=30, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(pyro.get_param_store().keys()) == {"theta", "mine"}
    assert pyro.param("theta") is kept
    assert kept.item() == 7
    np.testing.assert_array_equal(first.losses, second.losses)
    assert not np.array_equal(first.losses, gamma.fit(2.0, steps=30, seed=5).losses)


@pytest.mark.parametrize(
    "x",
    [
        0,
        -1.0,
        math.nan,
        math.inf,
        "2",
        None,
        True,
        [1.0],
        1j,
        torch.tensor([1.0, 2.0]),
        torch.tensor(-1.0),
        torch.tensor(True),
    ],
)
def test_bad_data_are_refused(x):
    for call in (gamma.model, gamma.guide, gamma.fit):
        with pytest.raises(ValueError, match="expected a datum x that is"):
            call(x)
    if not (isinstance(x, torch.Tensor) and x.numel() == 2):
        for call in (gamma.optimum, gamma.log_evidence, lambda x: gamma.kl(1.0, x)):
            with pytest.raises(ValueError, match="expected x to be positive and finite, got"):
                call(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0.0}, "a start that is positive and finite, got 0.0"),
        ({"start": "far"}, "a start that is one positive number, got 'far'"),
        ({"steps": 0}, "positive number of steps, got 0"),
        ({"steps": 2.5}, "positive number of steps, got 2.5"),
        ({"lr": 0}, r"step size lr in \(0, 1\], got 0"),
        ({"lr": math.nan}, r"step size lr in \(0, 1\], got nan"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gamma.fit(1.0, **options)


@pytest.mark.parametrize("theta", [0.0, -2.0, math.nan, torch.tensor([1.0, -1.0]), np.zeros(2)])
def test_bad_rates_are_refused(theta):
    with pytest.raises(ValueError, match="expected theta to be positive and finite"):
        gamma.kl(theta, 1.0)


def test_plot_puts_the_fits_on_the_line():
    fits = [gamma.fit(x, steps=150) for x in (0.1, 10.0)]
    ax = gamma.plot(fits)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0.1, 1.1], [10, 11]], rtol=1e-3)
    line = ax.lines[0]
    np.testing.assert_allclose(line.get_ydata(), line.get_xdata() + 1)
    assert gamma.plot(fits[0], ax=ax) is ax
    for bad in ([], [1.0]):
        with pytest.raises(ValueError, match=r"expected results of graphs\.gamma\.fit"):
            gamma.plot(bad)
    matplotlib.pyplot.close("all")


def test_the_module_is_reached_from_the_package():
    assert graphs.gamma is gamma
