"""Losses of diffusions datum by datum, and the bound that they estimate."""

import itertools
import math

import pytest
import torch
import torch.distributions as dist
from diffusion_oracles import Ladder, closed_form, data_of, gaussian
from torch import nn

from ppl_gen.denoisers import Denoiser, Prediction, bound_weight, prediction_weight
from ppl_gen.noise import (
    EDM,
    Cosine,
    EvenTimes,
    Geometric,
    Importance,
    Linear,
    LogNormal,
    PowerGrid,
    TimeLaw,
    posterior,
    transition,
    uniform,
)
from ppl_gen.objectives.denoising import Denoising

SCHEDULES = {"linear": Linear(), "cosine": Cosine(), "geometric": Geometric(), "edm": EDM()}
KINDS = ("data", "noise", "velocity", "score")
DOUBLE = torch.float64


class Given(nn.Module):
    """A network that gives what it is told."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, x, u, y=None):
        return self.value


def draws(objective, x):
    """Every time with as many data, and noise."""
    t = torch.arange(len(x)) % objective.steps + 1
    return t, torch.randn_like(x), torch.full((len(x),), 1 / objective.steps, dtype=DOUBLE)


# --- Identities, datum by datum -------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predicts", KINDS)
def test_the_term_of_a_step_is_a_divergence_of_gaussians(name, predicts):
    noise, (torch_seed, size) = SCHEDULES[name], (0, 18)
    torch.manual_seed(torch_seed)
    x, value = torch.randn(2, size, 3, dtype=DOUBLE)
    denoiser = Denoiser(Given(value), noise, predicts)
    for variance in ("small", "large"):
        objective = Denoising(noise, 6, variance=variance)
        t, eps, _ = draws(objective, x)
        found = objective.predict(denoiser, x, None, t, eps)
        terms = objective.term(found, x, eps, t)
        for i in range(size):
            s, level = objective.table[t[i] - 1], objective.table[t[i]]
            q = posterior(s, level)
            large = transition(s, level).variance
            if t[i] == 1:
                clean = dist.Normal(found.data[i], large.sqrt())
                expected = -clean.log_prob(x[i]).sum()
            else:
                sd = (q.variance if variance == "small" else large).sqrt()
                back = dist.Normal(q.mean(found.x[i], found.data[i]), sd)
                truth = dist.Normal(q.mean(found.x[i], x[i]), q.variance.sqrt())
                expected = dist.kl_divergence(truth, back).sum()
            assert terms[i].item() == pytest.approx(expected.item(), rel=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predicts", KINDS)
def test_every_weighting_is_a_weight_on_the_squared_error_of_the_data(name, predicts):
    noise = SCHEDULES[name]
    torch.manual_seed(0)
    x, value = torch.randn(2, 12, 3, dtype=DOUBLE)
    denoiser = Denoiser(Given(value), noise, predicts)
    weights = {
        "simple": lambda s, t: t.snr,
        "data": lambda s, t: 1.0,
        "velocity": lambda s, t: t.snr + 1,
        "min_snr": lambda s, t: t.snr.clamp(max=5.0),
    }
    own = (lambda s, t: (t.snr - 0.5 * t.snr) * 3.0, lambda s, t: 1.5 * t.snr)
    for weighting, weight in (*weights.items(), own):
        objective = Denoising(noise, 4, weighting=weighting)
        t, eps, mass = draws(objective, x)
        found = objective.at(denoiser, x, None, t, eps, mass)
        level = objective.table[t]
        data = objective.predict(denoiser, x, None, t, eps).data
        expected = weight(objective.table[t - 1], level) * (x - data).square().sum(1)
        torch.testing.assert_close(found.loss, expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_simple_loss_is_the_error_of_the_noise_and_score_matching(name):
    noise = SCHEDULES[name]
    torch.manual_seed(0)
    x, value = torch.randn(2, 12, 3, dtype=DOUBLE)
    objective = Denoising(noise, 4)
    t, eps, mass = draws(objective, x)
    found = objective.at(Denoiser(Given(value), noise, "noise"), x, None, t, eps, mass)
    torch.testing.assert_close(found.loss, (eps - value).square().sum(1))
    torch.testing.assert_close(found.error, (eps - value).square().mean(1))
    level = objective.table[t].like(x)
    at = level.alpha * x + level.sigma * eps
    score = value + (at - level.alpha * x) / level.sigma**2
    scored = objective.at(Denoiser(Given(value), noise, "score"), x, None, t, eps, mass)
    torch.testing.assert_close(scored.loss, (level.sigma**2 * score.square()).sum(1))


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_weight_of_the_bound_on_noise_is_that_of_ho_and_its_gradient_follows(name):
    noise = SCHEDULES[name]
    table = uniform(noise, 50)
    s, t = table[1:-1], table[2:]
    beta = transition(s, t).variance
    small = posterior(s, t).variance
    ho = beta**2 / (2 * small * (1 - beta) * t.sigma**2)
    ours = bound_weight(s, t) / prediction_weight(t, "noise")
    torch.testing.assert_close(ours, ho, rtol=1e-9, atol=0)
    torch.manual_seed(0)
    x, value = torch.randn(2, 48, 2, dtype=DOUBLE)
    index = torch.arange(2, 50)
    eps, mass = torch.randn_like(x), torch.full((48,), 1 / 50, dtype=DOUBLE)
    gradients = []
    for weighting in ("simple", "bound"):
        denoiser = Denoiser(Given(value.clone()), noise, "noise")
        objective = Denoising(noise, 50, weighting=weighting)
        objective.at(denoiser, x, None, index, eps, mass).loss.sum().backward()
        gradients.append(denoiser.network.value.grad)
    torch.testing.assert_close(gradients[0] * 50 * ho[index - 2][:, None], gradients[1])


def test_the_hybrid_teaches_means_by_the_simple_loss_and_variances_by_the_bound():
    noise = Cosine()
    torch.manual_seed(0)
    x, value = torch.randn(6, 2, dtype=DOUBLE), torch.randn(6, 4, dtype=DOUBLE)
    grads = {}
    for weighting in ("hybrid", "simple", "bound"):
        denoiser = Denoiser(Given(value.clone()), noise, "noise", learned_variance=True)
        objective = Denoising(noise, 3, weighting=weighting, variance="learned")
        torch.manual_seed(1)
        objective.at(denoiser, x, None, *draws(objective, x)).loss.sum().backward()
        grads[weighting] = denoiser.network.value.grad.chunk(2, 1)
    torch.testing.assert_close(grads["hybrid"][0], grads["simple"][0])
    torch.testing.assert_close(grads["hybrid"][1], 1e-3 * grads["bound"][1])
    assert grads["simple"][1].abs().max() == 0
    assert grads["bound"][1].abs().min() > 0


def test_learned_variances_enter_the_bound_value_by_value():
    noise = Linear()
    torch.manual_seed(0)
    x, value = torch.randn(5, 2, dtype=DOUBLE), torch.randn(5, 4, dtype=DOUBLE).tanh()
    objective = Denoising(noise, 5, variance="learned")
    t, eps, _ = draws(objective, x)
    denoiser = Denoiser(Given(value), noise, "data", learned_variance=True)
    terms = objective.term(objective.predict(denoiser, x, None, t, eps), x, eps, t)
    table = objective.table
    for i in range(5):
        s, level = table[t[i] - 1], table[t[i]]
        q, large = posterior(s, level), transition(s, level).variance
        least = q.variance if t[i] > 1 else posterior(table[1], table[2]).variance
        share = (value[i, 2:] + 1) / 2
        sd = (share * large.log() + (1 - share) * least.log()).exp().sqrt()
        if t[i] == 1:
            expected = -dist.Normal(value[i, :2], sd).log_prob(x[i]).sum()
        else:
            at = level.alpha * x[i] + level.sigma * eps[i]
            truth = dist.Normal(q.mean(at, x[i]), q.variance.sqrt())
            back = dist.Normal(q.mean(at, value[i, :2]), sd)
            expected = dist.kl_divergence(truth, back).sum()
        assert terms[i].item() == pytest.approx(expected.item(), rel=1e-8)


# --- The bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variance", "published"), [("small", 4.9393), ("large", 2.6774), ("optimal", 2.5568)]
)
@pytest.mark.parametrize("law", ["even", "lognormal", "importance"])
def test_the_estimated_bound_has_the_expectation_of_the_closed_form(variance, published, law):
    noise = Ladder()
    data = gaussian(noise)
    exact = closed_form(data, noise, 4, variance)
    assert exact == pytest.approx(published, abs=5e-5)
    times = {"even": EvenTimes(), "lognormal": LogNormal(), "importance": Importance(4)}[law]
    objective = Denoising(noise, 4, variance=variance, times=times)
    x = data_of(data, 40_000)
    for _ in range(2 if law == "importance" else 1):
        found = objective(data, x)
    error = found.bound.std().item() / math.sqrt(len(x))
    assert found.bound.mean().item() == pytest.approx(exact, abs=4.5 * error)
    loss = Denoising(noise, 4, variance=variance, weighting="bound", times=times)(data, x).loss
    total = (loss + objective.prior_term(x)).mean().item()
    assert total == pytest.approx(exact, abs=4.5 * (loss.std().item() / math.sqrt(len(x)) + error))


class Remembering(TimeLaw):
    """A law of one's own, which keeps what it saw in no buffer."""

    def __init__(self):
        super().__init__()
        self.masses = [0.1, 0.3, 0.3, 0.3]

    def forward(self, table):
        return torch.tensor(self.masses, dtype=DOUBLE)

    def observe(self, t, losses):
        self.masses = [0.97, 0.01, 0.01, 0.01]


def test_a_law_of_ones_own_may_visit_the_first_time_more_than_it_did():
    data = gaussian(Ladder())
    objective = Denoising(Ladder(), 4, variance="large", times=Remembering())
    x = data_of(data, 40_000)
    objective(data, x)
    found = objective(data, x).bound
    error = found.std().item() / math.sqrt(len(x))
    assert found.mean().item() == pytest.approx(2.6774, abs=4.5 * error + 5e-5)


@pytest.mark.parametrize("weighting", ["bound", "simple"])
def test_a_law_sees_losses_before_they_are_divided_by_its_probabilities(weighting):
    data, law = gaussian(Ladder()), Importance(4, window=1, floor=0.5)
    objective = Denoising(Ladder(), 4, variance="large", weighting=weighting, times=law).double()
    law.observe(torch.arange(1, 5), torch.tensor([8.0, 1.0, 1.0, 1.0]))
    x, t = data_of(data, 4), torch.arange(1, 5)
    eps, mass = torch.randn(4, 2, dtype=DOUBLE), law(objective.table)
    found = objective.predict(data, x, None, t, eps)
    seen = objective.at(data, x, None, t, eps, mass)
    raw = objective.term(found, x, eps, t) if weighting == "bound" else 4 * mass * seen.loss
    torch.testing.assert_close(law.losses.flatten(), raw)


@pytest.mark.parametrize("variance", ["small", "large", "optimal"])
def test_costs_at_given_times_are_the_terms_of_these_times_whatever_they_are(variance):
    data = gaussian(Ladder())
    objective = Denoising(Ladder(), 4, variance=variance, weighting="bound").eval()
    x, eps = data_of(data, 8), torch.randn(8, 2, dtype=DOUBLE)
    for t in (*torch.full((4, 8), 1) * torch.arange(1, 5)[:, None], torch.arange(8) % 2 + 1):
        mass = torch.rand(8, dtype=DOUBLE)
        found = objective.at(data, x, None, t, eps, mass)
        term = objective.term(objective.predict(data, x, None, t, eps), x, eps, t)
        torch.testing.assert_close(found.loss, term / mass)
        torch.testing.assert_close(found.bound, term / mass + objective.prior_term(x))


@pytest.mark.parametrize("grid", [PowerGrid(), PowerGrid(math.inf, 0.01, 20.0), uniform])
def test_fewer_times_are_those_of_the_grid(grid):
    whole = Denoising(Cosine(), 20, grid=grid)
    some = whole.respaced(4, Cosine())
    assert torch.equal(some.table.u, whole.table.u[[0, 5, 10, 15, 20]])
    assert torch.equal(some.table.sigma, whole.table.sigma[[0, 5, 10, 15, 20]])


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_terms_of_all_times_sum_to_the_closed_form(name, steps):
    noise = SCHEDULES[name]
    data = gaussian(noise)
    x = data_of(data, 20_000)
    for variance in ("small", "large", "optimal"):
        objective = Denoising(noise, steps, variance=variance)
        total = objective.prior_term(x)
        for i in range(1, steps + 1):
            t, eps = torch.full((len(x),), i), torch.randn_like(x)
            total = total + objective.term(objective.predict(data, x, None, t, eps), x, eps, t)
        error = total.std().item() / math.sqrt(len(x))
        exact = closed_form(data, noise, steps, variance)
        assert total.mean().item() == pytest.approx(exact, abs=4.5 * error)


@pytest.mark.parametrize("weighting", ["bound", "hybrid", "simple", "min_snr"])
@pytest.mark.parametrize("levels", [None, 256])
def test_gradients_are_finite_at_every_time_and_for_one_step(weighting, levels):
    for steps, predicts in itertools.product((1, 3, 1000), ("noise", "velocity")):
        torch.manual_seed(0)
        x = torch.rand(64, 2) * 2 - 1
        denoiser = Denoiser(Given(torch.randn(64, 2)), Cosine(), predicts)
        objective = Denoising(Cosine(), steps, weighting=weighting, levels=levels)
        found = objective(denoiser, x)
        found.loss.sum().backward()
        assert all(part.isfinite().all() for part in found)
        assert denoiser.network.value.grad.isfinite().all()
        assert found.loss.dtype == torch.float32


def test_the_masses_of_grey_levels_sum_to_one_and_reach_the_tails():
    objective = Denoising(Cosine(), 3, levels=256)
    grid = (torch.arange(256, dtype=DOUBLE) / 255)[:, None]
    mean = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.7, 1.0, 40.0], dtype=DOUBLE)
    for scale in (1e-3, 0.01, 0.3, 5.0):
        law = objective.clean(mean, torch.tensor(scale, dtype=DOUBLE))
        masses = law.log_prob(grid).exp()
        torch.testing.assert_close(masses.sum(0), torch.ones_like(mean), rtol=1e-9, atol=0)
        torch.testing.assert_close((grid * masses).sum(0), law.mean, rtol=1e-6, atol=1e-9)
        wide = dist.Normal((mean + 1) / 2, scale / 2)
        torch.testing.assert_close(masses[0], wide.cdf(torch.tensor(0.5 / 255, dtype=DOUBLE)))
        inner = wide.cdf(grid[40:42] + 0.5 / 255) - wide.cdf(grid[40:42] - 0.5 / 255)
        torch.testing.assert_close(masses[40:42], inner, rtol=1e-6, atol=1e-12)
    torch.manual_seed(0)
    law = objective.clean(torch.tensor([0.3]), torch.tensor(0.5))
    drawn = law.sample((20_000,))
    assert drawn.mean().item() == pytest.approx(law.mean.item(), abs=4.5 * 0.25 / math.sqrt(20_000))
    assert torch.equal((drawn * 255).round() / 255, drawn)


@pytest.mark.parametrize("weighting", ["simple", "min_snr", "hybrid"])
def test_losses_are_corrected_for_laws_that_are_no_part_of_them(weighting):
    torch.manual_seed(0)
    x, value = torch.randn(4, 3, dtype=DOUBLE), torch.randn(4, 6, dtype=DOUBLE)
    denoiser = Denoiser(Given(value), Linear(), "noise", learned_variance=True)
    t, eps = torch.arange(1, 5), torch.randn_like(x)
    mass, even = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=DOUBLE), torch.full((4,), 0.25)
    losses = {}
    for name, times in (("even", EvenTimes()), ("learned", Importance(4)), ("own", LogNormal())):
        objective = Denoising(Linear(), 4, weighting=weighting, times=times, variance="learned")
        shares = even.double() if name == "even" else mass
        losses[name] = objective.at(denoiser, x, None, t, eps, shares).loss
    torch.testing.assert_close(losses["learned"], losses["even"] * 0.25 / mass)
    if weighting != "hybrid":
        torch.testing.assert_close(losses["own"], losses["even"])


def test_evaluation_leaves_the_law_of_the_times_alone():
    data = gaussian(Ladder())
    objective = Denoising(Ladder(), 4, times=Importance(4)).eval()
    objective(data, data_of(data, 100))
    assert objective.times.counts.sum() == 0
    objective.train()(data, data_of(data, 100))
    assert objective.times.counts.sum() == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Denoising(Cosine(), 0), "expected at least one step, got 0"),
        (lambda: Denoising(Cosine(), weighting="snr"), "a weighting among simple, data"),
        (lambda: Denoising(Cosine(), variance="fixed"), "expected a variance among"),
        (lambda: Denoising("cosine"), "expected a noise schedule of ppl_gen.noise, got 'cosine'"),
        (lambda: Denoising(Cosine(), times="even"), "expected a law of times of ppl_gen.noise"),
        (lambda: Denoising(Cosine(), grid=5), "expected a grid of ppl_gen.noise or a function"),
        (lambda: Denoising(Cosine(), grid=lambda noise, n: None), "expected a grid of levels"),
        *(
            (lambda weight=weight: Denoising(Cosine(), 4, weighting=weight), message)
            for weight, message in (
                (lambda s, t: math.nan * t.sigma, "expected finite weights of 0 or more"),
                (lambda s, t: -t.sigma, "expected finite weights of 0 or more"),
                (lambda s, t: s.snr, "expected finite weights of 0 or more, got .inf"),
                (lambda s, t: t.sigma[:2], r"expected weights of 4 times, got shape \(2,\)"),
                (lambda s, t: "a", "expected weights of 4 times, got 'a'"),
                (lambda s, t: True, "expected weights of 4 times, got True"),
                (bound_weight, "expected noise at every time"),
            )
        ),
        (lambda: Denoising(Cosine(), levels=1), "at least two grey levels or None, got 1"),
        (lambda: Denoising(Cosine(), 4, times=Importance(3)), "expected a table of 3 steps"),
        (lambda: Denoising(Cosine(floor=0.0), 4, times=LogNormal(-30, 0.1)), "above 0 that sum"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_prediction_without_its_error_has_no_optimal_variance():
    x = torch.zeros(2, 2)
    objective = Denoising(Cosine(), 4, variance="optimal")
    with pytest.raises(ValueError, match="expected error="):
        objective(Denoiser(Given(x), Cosine()), x)
    assert isinstance(
        objective.predict(gaussian(Cosine()), x.double(), None, torch.tensor([1, 2]), x.double()),
        Prediction,
    )
