"""Guides whose order is not the model's: binary layers inferred from the image up."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppl_gen
from ppl_gen import gradients, metrics, zoo
from ppl_gen._store import unregistered
from ppl_gen.objectives.terms import terms

X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
WEIGHTS = torch.tensor([[1.0, -2.0, 0.5]])


def law(logits):
    return dist.Bernoulli(logits=logits).to_event(1)


def model(x):
    with pyro.plate("data", len(x)):
        top = pyro.sample("top", law(torch.tensor([0.4])))
        low = pyro.sample("low", law(3 * top - 1))
        pyro.sample("x", law(low @ WEIGHTS), obs=x)


def guide(x):
    a = pyro.param("a", torch.tensor(0.3))
    c = pyro.param("c", torch.tensor(2.0))
    with pyro.plate("data", len(x)):
        low = pyro.sample("low", law(a + 0.5 * x[:, :1]))
        pyro.sample("top", law(c * low - 0.5))


pytestmark = pytest.mark.usefixtures("fresh_store")


def exact():
    """Minus the ELBO and its gradient in a and c, by listing the values of both layers."""
    a, c = torch.tensor(0.3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    total = torch.tensor(0.0)
    for low, top in itertools.product(torch.tensor([[0.0], [1.0]]), repeat=2):
        log_q = law(a + 0.5 * X[:, :1]).log_prob(low.expand(2, 1)) + law(c * low - 0.5).log_prob(
            top
        )
        log_p = law(torch.tensor([0.4])).log_prob(top) + law(3 * top - 1).log_prob(low)
        log_p = log_p + law(low @ WEIGHTS).log_prob(X)
        total = total + (log_q.exp() * (log_q - log_p)).sum()
    return total.item(), torch.stack(torch.autograd.grad(total, [a, c]))


def parameters():
    guide(X)
    return [pyro.param(name).unconstrained() for name in ("a", "c")]


def test_a_kl_has_a_closed_form_only_after_what_its_prior_depends_on():
    t = terms(model, guide, (X,))
    assert t.upstream == {"low": frozenset({"top"}), "top": frozenset()}
    assert set(t.kl) == {"top"}
    loss = ppl_gen.ELBO(num_particles=100_000).loss(model, guide, X)
    assert loss == pytest.approx(exact()[0], abs=0.02)


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_enumerating_both_layers_is_exact(kl):
    value, gradient = exact()
    loss = gradients.EstimatedELBO("enumerate", kl=kl).differentiable_loss(model, guide, X)
    found = torch.stack(torch.autograd.grad(loss, parameters()))
    assert loss.item() == pytest.approx(value, rel=1e-5)
    assert torch.allclose(found, gradient, atol=1e-5)


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
@pytest.mark.parametrize("name", ["score", "nvil", "muprop", "rebar", "relax", "disarm"])
def test_layers_are_estimated_through_one_another(name, kl):
    torch.manual_seed(0)
    objective = gradients.EstimatedELBO(name, kl=kl, num_particles=2000)
    draws = []
    for _ in range(12):
        loss = objective.differentiable_loss(model, guide, X)
        draws.append(torch.stack(torch.autograd.grad(loss, parameters())))
    draws = torch.stack(draws)
    error = draws.std(0) / math.sqrt(len(draws)) + 1e-6
    assert ((draws.mean(0) - exact()[1]) / error).abs().max() < 5


def test_a_global_site_that_the_model_draws_after_the_data_is_refused():
    def backwards(x):
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", law(torch.zeros(1)))
            pyro.sample("x", law(low @ WEIGHTS), obs=x)
        pyro.sample("scale", dist.Normal(0.0, 1.0))

    def ordered(x):
        pyro.sample("scale", dist.Normal(pyro.param("m", torch.tensor(0.0)), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("low", law(pyro.param("l", torch.zeros(2, 1))))

    objective = gradients.EstimatedELBO("score", kl="sampled")
    with pytest.raises(ValueError, match="expected the model to draw 'scale' before 'low'"):
        objective.differentiable_loss(backwards, ordered, X)


# --- The belief network of two layers ---------------------------------------------------------


def two_layers(estimator="disarm", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.bernoulli_vae((1, 2, 3), 3, top_dim=2, estimator=estimator, **options)


def digits(n):
    return torch.rand(n, 1, 2, 3, generator=torch.Generator().manual_seed(1)).round()


@pytest.mark.parametrize("name", [n for n in gradients.registry if n != "reparameterized"])
def test_every_estimator_trains_two_layers_each_with_its_own_copy(name):
    vae = two_layers(name)
    assert vae.objective.sites == ("z1", "z2")
    before = {key: value.clone() for key, value in vae.named_parameters()}
    ppl_gen.fit(vae, digits(40), epochs=2, batch_size=8, staged=False, progress=False)
    still = [key for key, value in vae.named_parameters() if torch.equal(before[key], value)]
    assert still == []


def test_a_given_estimator_is_copied_for_every_layer():
    given = gradients.NVIL(decay=0.5)
    first, second = two_layers(given).objective.estimators
    assert len({id(given), id(first), id(second)}) == 3
    assert first.decay == second.decay == 0.5


def test_its_bound_is_that_of_its_joint_density():
    vae = two_layers()
    x = digits(3)
    low, top = (torch.tensor(list(itertools.product([0.0, 1.0], repeat=n))) for n in (3, 2))
    with torch.no_grad():
        upper, lower = vae.latents
        prior = lower.prior(top).log_prob(low.unsqueeze(1)) + upper.prior().log_prob(top)
        joint = vae.decode(low.unsqueeze(1)).log_prob(x).unsqueeze(2) + prior.unsqueeze(1)
        q_top = upper.posterior(low).log_prob(top.unsqueeze(1)).T
        log_q = vae.encode(x).log_prob(low.unsqueeze(1)).unsqueeze(2) + q_top.unsqueeze(1)
    assert log_q.shape == joint.shape == (8, 3, 4)
    assert torch.allclose(log_q.logsumexp((0, 2)), torch.zeros(3), atol=1e-5)
    bound, evidence = (log_q.exp() * (joint - log_q)).sum((0, 2)), joint.logsumexp((0, 2))
    estimate = metrics.elbo_terms(vae, x, num_samples=20_000).elbo
    assert estimate == pytest.approx(bound.mean().item(), abs=0.02)
    sampled = metrics.log_likelihood(vae, x, num_samples=200_000)
    assert torch.allclose(sampled, evidence, atol=0.02)


def test_it_is_a_vae_like_the_others():
    vae, x = two_layers(hidden=4), digits(5)
    assert vae.sample(3).shape == vae.reconstruct(x[:3]).shape == (3, 1, 2, 3)
    assert vae.code(x).shape == (5, 3)
    with unregistered():
        loss = pyro.infer.Trace_ELBO().loss(vae.model, vae.guide, x)
    assert math.isfinite(loss)
    with pytest.raises(ValueError, match="a second layer of zero or more, got -1"):
        zoo.bernoulli_vae((1, 2, 3), 3, top_dim=-1)
    with pytest.raises(ValueError, match="no labels with a second layer, got num_classes"):
        zoo.bernoulli_vae((1, 2, 3), 3, top_dim=2, num_classes=4)


def test_it_saves_and_loads(tmp_path):
    vae, x = two_layers("relax"), digits(5)
    ppl_gen.save(vae, tmp_path / "two.pt")
    again = ppl_gen.load(tmp_path / "two.pt")
    assert torch.equal(vae.code(x), again.code(x))


@pytest.mark.parametrize("name", ["nvil", "rebar"])
def test_a_staged_step_of_two_layers_is_the_eager_step(name):
    x, losses = digits(12), []
    for staged in (False, True):
        vae = two_layers(name)
        step = ppl_gen.stage(vae.model, vae.guide, vae.objective, staged=staged, backend="eager")
        torch.manual_seed(0)
        losses.append([step(x).item() for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_gradient_of_the_first_layer_drawn_is_a_problem():
    problem = gradients.bernoulli_vae(two_layers(), digits(4))
    assert set(problem.pullback.named) == {
        f"latents.1.encoder.layers.0.{kind}" for kind in ("weight", "bias")
    }
    rows = gradients.compare(problem, ["score", "disarm"], 2000)
    gap = sum(
        (rows["score"].gradient[n] - rows["disarm"].gradient[n]).square().sum()
        for n in problem.pullback.named
    )
    assert gap.sqrt() < 3 * math.hypot(rows["score"].stderr, rows["disarm"].stderr)
