"""Gradient estimators on Pyro programs: against eager stock Pyro, and against enumeration."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn

import ppl_gen
from ppl_gen import gradients, zoo
from ppl_gen._store import unregistered
from ppl_gen.estimators.families import leaves
from ppl_gen.gradients import comparison as comparison_module
from ppl_gen.gradients.pullback import LinearCalls, NetworkPullback

pytestmark = pytest.mark.usefixtures("fresh_store")


def images(n, side=6):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, side, side, generator=generator).round()


def small(build, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build((1, 6, 6), **options)


def eager(vae, x, draws, elbo):
    """Encoder gradients of eager steps of an objective, one row per step."""
    parameters = list(vae.latents[0].encoder.parameters())
    rows = []
    torch.manual_seed(1)
    with unregistered():
        for _ in range(draws):
            loss = elbo.differentiable_loss(vae.model, vae.guide, x)
            found = torch.autograd.grad(loss, parameters)
            rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows).double()


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
@pytest.mark.parametrize("name", ["reparameterized", "score"])
def test_vectorised_draws_have_the_moments_of_eager_pyro_steps(name, kl):
    x = images(9)
    if name == "score":
        vae = small(zoo.bernoulli_vae, latent_dim=3, hidden=8)
        problem = gradients.bernoulli_vae(vae, x, kl=kl)
    else:
        vae = small(zoo.vae, latent_dim=3, hidden=[8, 7])
        problem = gradients.gaussian_vae(vae, x, kl=kl)
    rows = eager(vae, x, 600, Trace_ELBO() if kl == "sampled" else ppl_gen.ELBO())
    row = gradients.compare(problem, name, 4000)[name]
    squares = (rows - rows.mean(0)).square().sum(1)
    error = squares.std().item() / math.sqrt(len(rows))
    assert abs(row.variance - squares.mean().item()) < 4 * math.hypot(error, row.variance_stderr)
    mean = torch.cat([g.flatten() for g in row.gradient.values()]).double()
    spread = math.hypot(row.stderr, math.sqrt(squares.mean().item() / len(rows)))
    assert (mean - rows.mean(0)).norm().item() < 3 * spread
    assert sum(row.by_parameter.values()) == pytest.approx(row.variance)
    assert all(name.startswith("latents.0.encoder.") for name in row.by_parameter)


def test_the_score_function_is_orders_of_magnitude_worse_on_a_gaussian_vae():
    vae = zoo.vae(latent_dim=5, hidden=20)
    problem = gradients.gaussian_vae(vae, images(8, 28))
    rows = gradients.compare(problem, ["score", "reparameterized"], draws=100)
    assert rows["score"].variance > 1e3 * rows["reparameterized"].variance
    assert math.isnan(rows["score"].bias)


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
def test_estimators_have_the_enumerated_mean_on_a_bernoulli_vae(kl, monkeypatch):
    monkeypatch.setattr(comparison_module, "ADAPTATION_STEPS", 40)
    vae = small(zoo.bernoulli_vae, latent_dim=3, hidden=5)
    problem = gradients.bernoulli_vae(vae, images(4), kl=kl)
    few = ["score", "disarm", "measure_valued", "gumbel_softmax", "enumerate"]
    comparison = gradients.compare(problem, None if kl == "sampled" else few, draws=3000)
    served = set(gradients.registry) - {"reparameterized"} if kl == "sampled" else set(few)
    assert {row.estimator for row in comparison.rows} == served
    assert comparison["enumerate"].bias < 1e-4
    for row in comparison.rows:
        kind = gradients.registry[row.estimator]
        if kind.biased:
            assert row.bias > 3 * row.stderr, row.estimator
        elif row.estimator != "vimco":
            assert row.bias < 3 * row.stderr + 1e-4, row.estimator
    score = comparison["score"].variance
    assert all(row.variance < score for row in comparison.rows if row.estimator != "score")


def test_a_model_with_many_latents_has_no_known_truth():
    vae = small(zoo.bernoulli_vae, latent_dim=40)
    problem = gradients.bernoulli_vae(vae, images(2))
    kinds = {name: kind() for name, kind in gradients.registry.items()}
    refused = {name for name, estimator in kinds.items() if problem.refusal(estimator)}
    assert refused == {"enumerate", "reparameterized"}
    row = gradients.compare(problem, "disarm", draws=20)["disarm"]
    assert row.variance > 0
    assert math.isnan(row.bias)


def test_conditional_and_hierarchical_models_are_problems_too():
    x = images(4)
    conditional = small(zoo.conditional_vae, latent_dim=2, num_classes=3, hidden=5)
    hierarchy = small(zoo.hierarchical_vae, latent_dim=2, hidden=5)
    for problem in (
        gradients.gaussian_vae(conditional, x, torch.tensor([0, 2, 1, 1])),
        gradients.gaussian_vae(hierarchy, x),
    ):
        score, path = gradients.compare(problem, ["score", "reparameterized"], 1000).rows
        gap = sum((score.gradient[n] - path.gradient[n]).square().sum() for n in score.gradient)
        assert gap.sqrt() < 3 * math.hypot(score.stderr, path.stderr)


class Tied(nn.Module):
    """A weight used by a linear layer and outside it, and one used by two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x):
        hidden = torch.tanh(self.first(self.first(x))) * self.second.weight.sum(0)
        return self.second(hidden) * self.scale


def convolutional():
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6)]
    return nn.Sequential(*layers), torch.randn(5, 1, 6, 6)


@pytest.mark.parametrize("case", ["mlp", "many rows", "convolution", "tied"])
def test_norms_without_gradients_are_the_norms_of_gradients(case):
    torch.manual_seed(0)
    if case == "convolution":
        network, x = convolutional()
    elif case == "tied":
        network, x = Tied(), torch.randn(5, 6)
    else:
        network = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 6))
        x = torch.randn(3 if case == "mlp" else 50, 4)
    with LinearCalls() as recorder:
        leaf = network(x)
    named = dict(network.named_parameters())
    pullback = NetworkPullback(
        {"out": leaf}, named | {"idle": nn.Parameter(torch.ones(2))}, recorder.calls
    )
    assert set(pullback.named) == set(named)
    draws = torch.randn(11, *leaf.shape)
    squares = pullback.square_norms({"out": draws})
    for s, g in enumerate(draws):
        found = torch.autograd.grad(leaf, list(named.values()), g, retain_graph=True)
        for name, gradient in zip(named, found, strict=True):
            assert squares[name][s].item() == pytest.approx(
                gradient.square().sum().item(), rel=1e-3
            )
    long = {name for name in named if name not in pullback._short}
    expected = {
        "tied": {"second.weight", "scale", "second.bias"},
        "convolution": {"0.weight", "0.bias"},
    }
    assert long - {"second.bias"} == expected.get(case, set()) - {"second.bias"}


# --- A program of the user's own --------------------------------------------------------------


DATA = torch.tensor([0.3, -0.8, 1.7, 2.2])


def model(x, subsample=None):
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    with pyro.plate("data", 4, subsample_size=subsample):
        on = pyro.sample("on", dist.Bernoulli(0.3))
        pyro.sample("x", dist.Normal(mean + on, 0.7), obs=x)


def guide(x, subsample=None):
    loc = pyro.param("loc", torch.tensor(0.2))
    logit = pyro.param("logit", torch.zeros(4) - 0.5)
    weight = pyro.param("weight", torch.tensor(0.4))
    mean = pyro.sample("mean", dist.Normal(loc, 0.5))
    with pyro.plate("data", 4, subsample_size=subsample):
        pyro.sample("on", dist.Bernoulli(logits=logit + weight * mean * x))


def exact_gradient():
    """By quadrature over the mean and enumeration of the switches, all differentiable."""
    parameters = [torch.tensor(0.2), torch.zeros(4) - 0.5, torch.tensor(0.4)]
    loc, logit, weight = (p.double().requires_grad_() for p in parameters)
    x = DATA.double()
    e = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    w = torch.softmax(-(e**2) / 2, 0)
    mean = (loc + 0.5 * e)[:, None]
    q = torch.sigmoid(logit + weight * mean * x)
    loss = -torch.distributions.Normal(0.0, 2.0).log_prob(mean[:, 0])
    for on, probability, prior in ((1.0, q, 0.3), (0.0, 1 - q, 0.7)):
        log_p = torch.distributions.Normal(mean + on, 0.7).log_prob(x) + math.log(prior)
        loss = loss + (probability * (probability.log() - log_p)).sum(1)
    return torch.autograd.grad((w * loss).sum(), (loc, logit, weight))


def sampled_gradients(objective, draws, **options):
    rows = []
    for seed in range(draws):
        torch.manual_seed(seed)
        pyro.get_param_store()
        with pyro.poutine.trace(param_only=True) as capture:
            loss = objective.differentiable_loss(model, guide, DATA, **options)
        found = {n: s["value"].unconstrained() for n, s in capture.trace.nodes.items()}
        wanted = [found[n] for n in ("loc", "logit", "weight")]
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, wanted)]))
    return torch.stack(rows).double()


@pytest.mark.parametrize(
    ("estimator", "particles"),
    [
        ({"mean": "reparameterized", "on": "enumerate"}, 400),
        ({"mean": "measure_valued", "on": "disarm"}, 400),
        ({"mean": "reparameterized", "on": "rebar"}, 400),
        ({"mean": "leave_one_out", "on": "leave_one_out"}, 1000),
        ({"on": "arm"}, 400),
        ({"mean": "score"}, 1000),
    ],
    ids=str,
)
@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_sites_are_estimated_through_one_another(estimator, particles, kl):
    objective = gradients.EstimatedELBO(estimator, kl=kl, num_particles=particles)
    rows = sampled_gradients(objective, 40)
    exact = torch.cat([g.reshape(-1) for g in exact_gradient()])
    error = rows.std(0) / math.sqrt(len(rows))
    assert ((rows.mean(0) - exact) / error).abs().max() < 4


def test_subsampling_scales_every_estimate():
    """A step on half of the data is an unbiased step on all of it."""

    def switches(x, subsample=None):
        with pyro.plate("data", 4, subsample_size=subsample) as index:
            on = pyro.sample("on", dist.Bernoulli(0.3))
            pyro.sample("x", dist.Normal(on, 0.7), obs=x[index])

    def guess(x, subsample=None):
        logit = pyro.param("logit", torch.zeros(4) - 0.5)
        with pyro.plate("data", 4, subsample_size=subsample) as index:
            pyro.sample("on", dist.Bernoulli(logits=logit[index]))

    def gradient(size, kl):
        objective = gradients.EstimatedELBO("enumerate", kl=kl)
        pyro.clear_param_store()
        loss = objective.differentiable_loss(switches, guess, DATA, size)
        return torch.autograd.grad(loss, pyro.param("logit").unconstrained())[0]

    for kl in ("analytic", "sampled"):
        torch.manual_seed(0)
        whole = gradient(None, kl)
        halves = torch.stack([gradient(2, kl) for _ in range(60)])
        assert torch.allclose(halves[halves != 0].unique(), (2 * whole).sort().values, atol=1e-5)


def test_a_problem_of_any_program_is_a_problem_of_one_site():
    with pytest.raises(ValueError, match=r"site= one of .*\['mean', 'on'\], got None"):
        gradients.program(model, guide, DATA)
    problem = gradients.program(model, guide, DATA, site="on")
    rows = gradients.compare(problem, ["score", "disarm", "enumerate"], 2000)
    assert rows["enumerate"].variance < 1e-9
    for row in rows.rows:
        assert row.bias < 3 * row.stderr + 1e-5
    above = gradients.program(model, guide, DATA, site="mean")
    rows = gradients.compare(above, ["score", "reparameterized"], 2000)
    assert set(rows["score"].gradient) == {"loc"}
    gap = rows["score"].gradient["loc"] - rows["reparameterized"].gradient["loc"]
    assert gap.abs() < 4 * math.hypot(rows["score"].stderr, rows["reparameterized"].stderr)


# --- Training ---------------------------------------------------------------------------------


def pair(latents=4):
    weights = torch.randn(latents, 6, generator=torch.Generator().manual_seed(5))

    def generate(x):
        w = pyro.param("w", weights)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((latents,), 0.5)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=z @ w).to_event(1), obs=x)

    def recognise(x):
        v = pyro.param("v", torch.zeros(6, latents))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=x @ v).to_event(1))

    return generate, recognise


@pytest.mark.parametrize("name", [n for n in gradients.registry if n != "reparameterized"])
def test_stock_svi_trains_any_pair_with_it(name):
    generate, recognise = pair()
    x = (torch.rand(30, 6, generator=torch.Generator().manual_seed(1)) < 0.2).float()
    objective = gradients.EstimatedELBO(name)
    svi = pyro.infer.SVI(generate, recognise, pyro.optim.Adam({"lr": 0.05}), objective)
    torch.manual_seed(0)
    losses = [svi.step(x) for _ in range(40)]
    before = [p.detach().clone() for p in objective.parameters()]
    losses += [svi.step(x) for _ in range(40)]
    assert 0 < sum(losses[-20:]) < 0.8 * sum(losses[:20])
    assert all(
        not torch.equal(a, b) for a, b in zip(before, objective.parameters(), strict=True)
    ), "a parameter of the estimator was not trained"
    assert (name in ("nvil", "rebar", "relax")) == bool(before)
    assert isinstance(svi.evaluate_loss(x), float)


def test_schedules_and_baselines_advance_with_the_steps():
    from ppl_gen.schedules import Exponential

    generate, recognise = pair()
    x = images(8).flatten(1)[:, :6]
    cooling = gradients.EstimatedELBO(gradients.GumbelSoftmax(Exponential(1.0, 0.1, 0.5)))
    svi = pyro.infer.SVI(generate, recognise, pyro.optim.Adam({}), cooling)
    for _ in range(3):
        svi.step(x)
    assert cooling.estimators[0].temperature.value.item() == pytest.approx(math.exp(-0.3))
    running = gradients.EstimatedELBO("score_running")
    svi = pyro.infer.SVI(generate, recognise, pyro.optim.Adam({}), running)
    losses = [svi.step(x) for _ in range(5)]
    assert running.estimators[0].steps.item() == 5
    mean = running.estimators[0].mean.item()
    assert 0 < mean < max(losses)
    svi.evaluate_loss(x)
    assert running.estimators[0].mean.item() == mean


def test_the_metrics_are_those_of_the_discrete_model_whatever_the_loss():
    generate, recognise = pair()
    x = images(8).flatten(1)[:, :6]
    objective = gradients.EstimatedELBO(gradients.GumbelSoftmax(5.0), num_particles=20_000)
    torch.manual_seed(0)
    loss, metrics = objective.loss_and_metrics(generate, recognise, x)
    exact = gradients.EstimatedELBO("enumerate").differentiable_loss(generate, recognise, x)
    assert metrics["elbo"].item() == pytest.approx(-exact.item() / 8, abs=0.02)
    assert abs(loss.item() - exact.item()) > 0.5


def test_the_weight_scales_the_kl_alone():
    generate, recognise = pair()
    x = images(8).flatten(1)[:, :6]

    def loss(weight, kl):
        objective = gradients.EstimatedELBO("enumerate", weight=weight, kl=kl)
        return objective.differentiable_loss(generate, recognise, x).item()

    pyro.param("v", torch.randn(6, 4))
    for kl in ("analytic", "sampled"):
        zero, one, two = (loss(w, kl) for w in (0.0, 1.0, 2.0))
        assert two - one == pytest.approx(one - zero, rel=1e-4)
        assert one - zero > 0.1
    assert loss(1.0, "analytic") == pytest.approx(loss(1.0, "sampled"), rel=1e-5)


def test_vimco_bounds_more_tightly_with_more_samples():
    generate, recognise = pair()
    x = images(8).flatten(1)[:, :6]

    def loss(estimator):
        torch.manual_seed(0)
        objective = gradients.EstimatedELBO(estimator, num_particles=2000)
        return objective.differentiable_loss(generate, recognise, x).item()

    exact = loss("enumerate")
    two, ten = loss(gradients.VIMCO(2)), loss(gradients.VIMCO(10))
    assert ten < two < exact


@pytest.mark.parametrize("name", ["disarm", "nvil", "relax", "score_running"])
def test_a_staged_step_is_the_eager_step(name):
    x, results = images(12), []
    for staged in (False, True):
        vae = small(zoo.bernoulli_vae, latent_dim=3, estimator=name)
        step = ppl_gen.stage(vae.model, vae.guide, vae.objective, staged=staged, backend="eager")
        torch.manual_seed(0)
        losses = [step(x).item() for _ in range(3)]
        results.append((losses, [p.grad for p in vae.parameters()], vae.objective.state_dict()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    for key, value in results[0][2].items():
        assert torch.allclose(value, results[1][2][key])


# --- What is refused --------------------------------------------------------------------------


def test_a_guide_without_such_a_site_is_refused():
    objective = gradients.EstimatedELBO({"z": "disarm"})
    with pytest.raises(ValueError, match=r"latent sites \['z'\], it has \['mean', 'on'\]"):
        objective.differentiable_loss(model, guide, DATA)


def test_a_site_that_is_not_served_is_refused():
    objective = gradients.EstimatedELBO("disarm")
    with pytest.raises(ValueError, match="'disarm' serves Bernoulli distributions, got Normal"):
        objective.differentiable_loss(model, guide, DATA)
    with pytest.raises(ValueError, match=r"'reparameterized' serves .*got Bernoulli"):
        zoo.bernoulli_vae((1, 6, 6), 3, estimator="reparameterized")


def test_local_sites_above_global_ones_are_refused():
    def backwards(x):
        logit = pyro.param("logit", torch.zeros(4))
        with pyro.plate("data", 4):
            pyro.sample("on", dist.Bernoulli(logits=logit))
        pyro.sample("mean", dist.Normal(0.0, 1.0))

    objective = gradients.EstimatedELBO("score")
    with pytest.raises(ValueError, match=r"expected sites \['mean'\] of no plate before 'on'"):
        objective.differentiable_loss(model, backwards, DATA)


def test_a_guide_without_parameters_is_refused():
    def fixed(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((4,), 0.5)).to_event(1))

    with pytest.raises(ValueError, match="a guide whose distribution depends on parameters"):
        gradients.program(pair()[0], fixed, torch.ones(3, 6))


def test_other_bad_input_is_refused():
    x = images(2)
    gaussian, binary = small(zoo.vae, latent_dim=2), small(zoo.bernoulli_vae, latent_dim=2)
    for make, match in [
        (lambda: gradients.gaussian_vae(binary, x), "Normal posterior for gaussian_vae, got Bern"),
        (lambda: gradients.bernoulli_vae(gaussian, x), "Bernoulli posterior .*, got Normal"),
        (lambda: gradients.gaussian_vae("vae", x), "expected a ppl_gen.VAE, got str"),
        (lambda: gradients.gaussian_vae(gaussian, x[:, :, :3]), r"shape \(B, 1, 6, 6\)"),
        (lambda: gradients.gaussian_vae(gaussian, x, kl="exact"), "'sampled' or 'analytic', got"),
        (lambda: gradients.program(model, guide, DATA, site="z"), r"\['mean', 'on'\], got 'z'"),
        (lambda: gradients.program(model, None, DATA), "a model and a guide to call, got .*None"),
        (lambda: gradients.EstimatedELBO({3: "score"}), "by the name of a site, got {3: 'score'}"),
        (lambda: gradients.EstimatedELBO("disarm", kl="none"), "'analytic' or 'sampled', got"),
        (lambda: gradients.EstimatedELBO("dysarm"), "did you mean 'disarm'"),
        (
            lambda: gradients.compare(gradients.bernoulli_vae(binary, x, kl="analytic"), "vimco"),
            "'vimco' does not serve this problem: .*kl='sampled'",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            make()


def test_leaves_keep_their_graph():
    probs = torch.tensor([0.2, 0.7], requires_grad=True)
    (gradient,) = torch.autograd.grad(leaves(dist.Bernoulli(probs))["logits"].sum(), probs)
    assert torch.allclose(gradient, 1 / (probs * (1 - probs)))
