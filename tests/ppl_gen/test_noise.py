"""Schedules keep their formulas at every time, and the Gaussians between times compose."""

import math

import hypothesis.strategies as st
import pytest
import scipy.stats
import torch
from hypothesis import given, settings

from ppl_gen import noise as noises
from ppl_gen.denoisers import Denoiser
from ppl_gen.noise import (
    EDM,
    Cosine,
    EvenTimes,
    Geometric,
    Importance,
    Level,
    Linear,
    LogNormal,
    Noise,
    PowerGrid,
    Trailing,
    posterior,
    stratified,
    transition,
    uniform,
)
from ppl_gen.noise.grids import require_levels
from ppl_gen.noise.kinds import require_schedule
from ppl_gen.objectives.denoising import Denoising

SCHEDULES = {
    "linear": Linear(),
    "slow": Linear(0.3, 0.3),
    "cosine": Cosine(),
    "cosine to nothing": Cosine(floor=0.0),
    "geometric": Geometric(0.01, 50.0),
    "edm": EDM(),
}
PRESERVING = ["linear", "cosine", "cosine to nothing"]
REACHING_NOISE = [name for name in SCHEDULES if name != "slow"]
TIMES = torch.linspace(0, 1, 401, dtype=torch.float64)


@pytest.fixture(params=SCHEDULES)
def noise(request):
    return SCHEDULES[request.param]


def formula(name, u):
    """(alpha, sigma) as the papers write them, without care for rounding."""
    if name == "linear":
        alpha = math.exp(-0.5 * (0.1 * u + 0.5 * 19.9 * u**2))
        return alpha, math.sqrt(1 - alpha**2)
    if name.startswith("cosine"):
        f = math.cos(math.pi / 2 * (u + 0.008) / 1.008) / math.cos(math.pi / 2 * 0.008 / 1.008)
        floor = 3e-3 if name == "cosine" else 0.0
        return math.sqrt(floor**2 + (1 - floor**2) * f**2), math.sqrt((1 - floor**2) * (1 - f**2))
    if name == "geometric":
        return 1.0, 0.01 * 5000**u
    return 1.0, (0.002 ** (1 / 7) + u * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7


@pytest.mark.parametrize("name", REACHING_NOISE)
@pytest.mark.parametrize("u", [0.001, 0.03, 0.3, 0.6, 0.97, 1.0])
def test_the_scales_follow_the_published_formulas(name, u):
    alpha, sigma = SCHEDULES[name](u)
    assert (alpha.item(), sigma.item()) == pytest.approx(formula(name, u), rel=1e-11, abs=1e-15)


def test_the_cosine_hardly_differs_for_its_floor():
    floored, plain = Cosine()(TIMES)[0], Cosine(floor=0.0)(TIMES)[0]
    assert (floored**2 - plain**2).abs().max() <= 9e-6
    assert floored[-1].item() == pytest.approx(3e-3, rel=1e-12)
    assert plain[-1] == 0


def test_scales_and_log_snr_agree_and_variance_is_preserved_or_not(noise):
    level = noise.level(TIMES)
    torch.testing.assert_close(level.log_snr, noise.log_snr(TIMES), rtol=1e-12, atol=1e-12)
    total = level.alpha**2 + level.sigma**2 if noise.preserving else level.alpha
    torch.testing.assert_close(total, torch.ones_like(TIMES), rtol=1e-14, atol=0)
    assert bool((level.log_snr.diff() < 0).all())


def test_time_is_the_inverse_of_log_snr(noise):
    torch.testing.assert_close(noise.time(noise.log_snr(TIMES)), TIMES, rtol=1e-9, atol=1e-12)
    inside = TIMES[1:-1]
    bisected = Noise.inverse(noise, noise.log_snr(inside))
    torch.testing.assert_close(noise.time(noise.log_snr(inside)), bisected, rtol=1e-9, atol=1e-12)


def test_a_schedule_of_ones_own_is_its_log_snr():
    class Sigmoid(noises.VariancePreserving):
        def curve(self, u):
            return 8 - 16 * u

    assert Sigmoid().time(4.0).item() == pytest.approx(0.25, abs=1e-12)
    alpha, sigma = Sigmoid()(0.25)
    assert 2 * math.log(alpha / sigma) == pytest.approx(4.0)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 3, 40, 1000])
def test_transitions_compose_to_the_marginal(name, steps):
    table = uniform(SCHEDULES[name], steps)
    step = transition(table[:-1], table[1:])
    scale, variance = 1.0, 0.0
    for a, b in zip(step.scale.tolist(), step.variance.tolist(), strict=True):
        assert b > 0
        scale, variance = a * scale, a**2 * variance + b
    assert scale == pytest.approx(table[-1].alpha.item(), rel=1e-12, abs=1e-15)
    assert variance == pytest.approx(table[-1].sigma.item() ** 2, rel=1e-12)
    if SCHEDULES[name].preserving:
        assert bool((step.variance <= 1).all())


@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_however_few_steps_the_data_are_lost_at_the_end(name, steps):
    assert uniform(SCHEDULES[name], steps)[-1].alpha.item() ** 2 < 1e-3


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(list(SCHEDULES)),
    ends=st.lists(st.integers(0, 100), min_size=2, max_size=2, unique=True),
    variance=st.floats(0.1, 10.0),
)
def test_the_posterior_is_that_of_the_joint_gaussian(name, ends, variance):
    s, t = (SCHEDULES[name].level(end / 100) for end in sorted(ends))
    q, scale = posterior(s, t), t.alpha / s.alpha
    # the covariance of (x_0, x_t), and that of x_s with both, for x_0 of any variance
    of_s, of_t = (v.alpha**2 * variance + v.sigma**2 for v in (s, t))
    joint = [[variance, variance * t.alpha], [variance * t.alpha, of_t]]
    cross = torch.stack([s.alpha * variance, scale * of_s])
    weights = torch.linalg.solve(torch.tensor(joint, dtype=torch.float64), cross)
    found = torch.stack([q.on_data, q.on_x])
    torch.testing.assert_close(found, weights, rtol=1e-8, atol=1e-9)
    left = (of_s - weights @ cross).item()
    assert q.variance.item() == pytest.approx(left, rel=1e-8, abs=1e-11 * of_s.item())


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 3, 17])
def test_posteriors_composed_backwards_give_the_marginal_given_the_data(name, steps):
    table, data = uniform(SCHEDULES[name], steps), 0.8
    mean, variance = table[-1].alpha * data, table[-1].sigma ** 2
    for i in range(steps, 0, -1):
        q = posterior(table[i - 1], table[i])
        mean, variance = q.mean(mean, data), q.on_x**2 * variance + q.variance
        assert mean.item() == pytest.approx(table[i - 1].alpha.item() * data, rel=1e-12)
        assert variance.item() == pytest.approx(table[i - 1].sigma.item() ** 2, rel=1e-11)


def test_three_rare_cases_of_a_posterior():
    table = uniform(Cosine(floor=0.0), 3)
    last = posterior(table[0], table[3])
    assert (last.on_x, last.on_data, last.variance) == (0, 1, 0)
    lost = posterior(table[2], table[3])
    assert lost.on_x == 0
    assert lost.on_data.item() == pytest.approx(table[2].alpha.item())
    with pytest.raises(ValueError, match="expected a time s with less noise than t"):
        posterior(table[2], table[2])
    with pytest.raises(ValueError, match="expected a time s with less noise than t"):
        transition(table[3], table[1])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("grid", [uniform, PowerGrid(), PowerGrid(math.inf), Trailing(50)])
def test_every_grid_ends_on_clean_data_and_loses_it_on_the_way(name, steps, grid):
    if name == "slow" and isinstance(grid, PowerGrid):
        grid = PowerGrid(grid.exponent, 0.002, 0.5)
    table = grid(SCHEDULES[name], steps)
    assert len(table) == steps + 1
    assert (table[0].u, table[0].alpha, table[0].sigma) == (0, 1, 0)
    assert bool((table.log_snr.diff() < 0).all())
    if not isinstance(grid, PowerGrid):
        assert table[-1].u == 1


def test_a_table_of_levels_of_noise_ends_at_the_least_and_then_at_none():
    table = uniform(Geometric(0.01, 1.0), 3)
    torch.testing.assert_close(table.sigma, torch.tensor([0, 0.01, 0.1, 1.0], dtype=torch.float64))
    karras = (0.002 ** (1 / 7) + torch.arange(18) / 17 * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7
    torch.testing.assert_close(uniform(EDM(), 18).sigma[1:], karras.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", PRESERVING + ["geometric", "edm"])
def test_noise_grids_are_the_same_for_every_schedule(name):
    rho = PowerGrid(7.0, 0.05, 40.0)(SCHEDULES[name], 9).rho
    torch.testing.assert_close(rho, PowerGrid(7.0, 0.05, 40.0)(EDM(), 9).rho, rtol=1e-9, atol=0)
    even = PowerGrid(math.inf, 0.05, 40.0)(SCHEDULES[name], 9).rho[1:].log().diff()
    torch.testing.assert_close(even, even[:1].expand(8), rtol=1e-8, atol=0)


def test_trailing_times_include_both_ends_and_count_right():
    def visited(total, steps):
        return (Trailing(total)(Linear(), steps).u * total).round().long().tolist()

    assert visited(1000, 4) == [0, 250, 500, 750, 1000]
    assert visited(10, 4) == [0, 3, 5, 8, 10]
    for steps in range(1, 54):
        found = visited(53, steps)
        assert len(set(found)) == steps + 1
        assert found[0] == 0
        assert found[-1] == 53
    kept = Trailing(6)(Geometric(), 6)
    torch.testing.assert_close(kept.sigma, uniform(Geometric(), 6).sigma)
    with pytest.raises(ValueError, match="expected at most 53 steps"):
        Trailing(53)(Linear(), 54)


@pytest.mark.parametrize("noise", [EDM(), Linear(), Geometric(0.1, 1.0)])
def test_the_lognormal_law_is_that_of_the_noise(noise):
    table = uniform(noise, 1000)
    law, log_rho = LogNormal()(table), table[1:].rho.log()
    assert law.sum().item() == pytest.approx(1.0)
    middles = ((log_rho[1:] + log_rho[:-1]) / 2).numpy()
    expected = scipy.stats.norm(-1.2, 1.2).cdf(middles)
    assert law.cumsum(0)[:-1].tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_one_step_has_one_time_under_every_law():
    table = uniform(Cosine(), 1)
    for law in (EvenTimes(), LogNormal(), Importance(1)):
        assert law(table).tolist() == [1.0]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_stratified_times_follow_the_law_and_cover_it(size):
    law = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    torch.manual_seed(0)
    draws = [stratified(law, size) for _ in range(2000)]
    t, mass = (torch.stack(part) for part in zip(*draws, strict=True))
    counts = torch.stack([(t == i + 1).sum(1) for i in range(4)], 1)
    assert torch.equal(mass, law[t - 1])
    # each count is the expected one, rounded up or down
    assert bool(((counts - size * law).abs() < 1).all())
    shares = counts.double().mean(0) / size
    assert (shares - law).abs().max() < 4.5 * 0.5 / math.sqrt(2000) / size
    by_place = torch.stack([(t == i + 1).double().mean(0) for i in range(4)])
    assert (by_place - law[:, None]).abs().max() < 4.5 * 0.5 / math.sqrt(2000)


def test_importance_remembers_the_last_losses_of_every_time():
    law, table = Importance(3, window=2, floor=0.1), uniform(Linear(), 3)
    assert law(table).tolist() == pytest.approx([1 / 3] * 3)
    law.observe(torch.tensor([1, 1, 1, 2, 3]), torch.tensor([9.0, 2.0, 4.0, 1.0, 6.0]))
    assert law(table).tolist() == pytest.approx([1 / 3] * 3)
    law.observe(torch.tensor([2, 3]), torch.tensor([1.0, 8.0]))
    sizes = [math.sqrt((4 + 16) / 2), 1.0, math.sqrt((36 + 64) / 2)]
    expected = [0.9 * size / sum(sizes) + 0.1 / 3 for size in sizes]
    assert law(table).tolist() == pytest.approx(expected)


def test_float32_times_and_whole_tables_keep_float64():
    alpha, sigma = Linear()(torch.tensor([0.25], dtype=torch.float32))
    assert alpha.dtype == sigma.dtype == torch.float64
    assert Linear()(0.6)[0] == Linear()(torch.tensor(0.6, dtype=torch.float64))[0]


def test_a_level_is_shaped_to_the_data():
    level, x = Linear().level(torch.tensor([0.2, 0.4])), torch.zeros(2, 1, 3, 3)
    assert level.like(x).alpha.shape == (2, 1, 1, 1)
    assert level.like(x).alpha.dtype == torch.float32
    assert Linear().level(0.3).like(x).alpha.shape == ()
    with pytest.raises(ValueError, match="expected one time, or one a datum"):
        level.like(torch.zeros(3, 2))
    assert isinstance(level[0], Level)


class Wave(noises.VariancePreserving):
    """Less noise again in the middle."""

    def curve(self, u):
        return 5 - 10 * u + 4 * (9 * u).sin()


class Lost(noises.VariancePreserving):
    def curve(self, u):
        return torch.where(u < 0.5, 5 - u, torch.nan)


NO_COUNT = (0, -1, True, 2.5, math.nan)
TABLE = uniform(Linear(), 3)


class Curve(noises.VariancePreserving):
    def __init__(self, curve):
        super().__init__()
        self.curve = curve


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (lambda u: 5 + u, "expected noise to rise with time, got log-SNR 5 at 0"),
        (lambda u: 5 + 0 * u, "expected noise to rise with time"),
        (lambda u: u * math.nan, "expected noise to rise with time"),
        (lambda u: torch.where(u == 1, math.nan, -u), "got log-SNR -0.996094 at 0.996094 and nan"),
        (lambda u: 5 - 10 * u + 4 * (9 * u).sin(), "expected noise to rise with time"),
        (lambda u: torch.zeros(3), r"the log-SNR of 257 times from Curve\(\), got shape \(3,\)"),
        (lambda u: 1.0, "the log-SNR of 257 times from .*, got 1.0"),
        (lambda u: None, "the log-SNR of 257 times from .*, got None"),
    ],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_schedule_that_does_not_fall_is_refused_whatever_times_are_visited(curve, message, steps):
    noise = Curve(curve)
    for use in (
        lambda: Denoiser(torch.nn.Identity(), noise),
        lambda: Denoising(noise, steps),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_a_schedule_may_fall_in_steps():
    levels = torch.tensor([math.inf, 3.0, 0.0, -3.0], dtype=torch.float64)
    noise = Curve(lambda u: levels[(3 * u).round().long()])
    assert require_schedule(noise) is noise
    assert uniform(noise, 3).log_snr.tolist() == pytest.approx(levels.tolist())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform(Wave(), 20), "expected noise to rise with time, got log-SNR"),
        (lambda: Trailing(20)(Wave(), 5), "expected noise to rise with time"),
        (lambda: uniform(Lost(), 4), "expected noise to rise with time"),
        (lambda: Linear()(1.5), "expected times from 0"),
        (lambda: Linear()(torch.tensor([0.1, math.nan])), "expected times from 0"),
        (lambda: Linear(2.0, 1.0), "expected rates 0 < first <= last"),
        (lambda: Linear(0.0, 1.0), "expected rates"),
        (lambda: Cosine(floor=1.0), "expected a floor"),
        (lambda: Cosine(offset=0.0), "expected an offset above 0"),
        (lambda: Geometric(1.0, 0.5), "expected noise scales 0 < least < most"),
        (lambda: EDM(0.0, 1.0), "expected noise scales"),
        (lambda: EDM(exponent=0.0), "expected an exponent"),
        (lambda: Geometric(0.1, 0.5).time(9.0), "expected log-SNRs from 1.38"),
        (lambda: Linear().time(-math.inf), "expected log-SNRs"),
        (lambda: Linear().time(math.nan), "expected log-SNRs"),
        (lambda: uniform(Linear(), 0), "expected at least one step"),
        (lambda: uniform(Linear(), True), "expected at least one step"),
        (lambda: Trailing(0), "expected at least one step"),
        *((lambda n=n: PowerGrid()(Linear(), n), "expected at least one step") for n in NO_COUNT),
        (lambda: uniform("linear", 4), "expected a noise schedule"),
        (lambda: PowerGrid()(None, 4), "expected a noise schedule"),
        (lambda: Linear()("half"), "expected times from 0, data, to 1, noise, got 'half'"),
        (lambda: require_levels(uniform(Linear(), 3).u), "expected a grid of levels"),
        (lambda: require_levels(None), "expected a grid of levels"),
        (
            lambda: require_levels(uniform(Linear(), 3)[:1]),
            "a ppl_gen.noise.Level of at least two entries",
        ),
        (lambda: require_levels(uniform(Linear(), 3)[1:]), "expected clean data at entry 0"),
        *(
            (lambda order=order: require_levels(TABLE[torch.tensor(order)]), "noise to rise along")
            for order in ([0, 2, 1, 3], [0, 1, 1, 3], [0, 3, 2, 1])
        ),
        (lambda: PowerGrid(0.0), "expected an exponent above 0 or infinity"),
        (lambda: PowerGrid(7.0, 2.0, 1.0), "expected least < most"),
        (lambda: PowerGrid(7.0, -1.0), "expected noise above 0"),
        (lambda: PowerGrid(7.0, 1.0)(Linear(0.1, 0.1), 4), "expected noise to rise"),
        (lambda: PowerGrid(7.0, 0.1, 500.0)(Cosine(), 4), "expected log-SNRs"),
        (lambda: Importance(0), "expected at least one step"),
        (lambda: Importance(2, floor=1.0), "expected a share of even times"),
        (lambda: Importance(2)(uniform(Linear(), 3)), "expected a table of 2 steps, got 3"),
        (lambda: LogNormal(sd=0.0), "expected a finite mean and an sd above 0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
