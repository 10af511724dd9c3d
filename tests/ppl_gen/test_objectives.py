"""Objectives against closed forms, enumeration, looped references and stock Pyro."""

import linear_gaussian
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import constraints, kl_divergence

from ppl_gen import zoo
from ppl_gen.objectives import ELBO, IWAE
from ppl_gen.objectives.closed_forms import closed_kl
from ppl_gen.objectives.terms import terms
from ppl_gen.schedules import Constant


def gradients(objective, model, guide, x, leaves, seed=0):
    torch.manual_seed(seed)
    loss = objective.differentiable_loss(model, guide, x)
    return loss.item(), torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("objective", [ELBO(kl="sampled"), IWAE(1), IWAE(7)])
def test_every_draw_equals_the_evidence_at_the_exact_posterior(objective):
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(5)
    truth = linear_gaussian.log_evidence(model, x).sum().item()
    for seed in range(5):
        torch.manual_seed(seed)
        loss = objective.loss(model.model, model.guide, x)
        assert -loss == pytest.approx(truth, rel=1e-12)


def test_the_analytic_kl_equals_the_evidence_in_expectation():
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(3)
    truth = linear_gaussian.log_evidence(model, x).sum().item()
    torch.manual_seed(0)
    t = terms(model.model, model.guide, (x,), particles=20_000)
    draws = (t.log_lik - t.kl["z"]).sum(1)
    assert (draws.mean() - truth).abs().item() < 4 * draws.std().item() / len(draws) ** 0.5


@pytest.mark.parametrize(
    ("ours", "stock"),
    [
        (ELBO(kl="sampled"), Trace_ELBO()),
        (ELBO(), TraceMeanField_ELBO()),
        (
            ELBO(kl="sampled", num_particles=4),
            Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=1),
        ),
    ],
)
def test_loss_and_gradients_equal_stock_pyro(ours, stock):
    torch.manual_seed(1)
    model, x = zoo.vae((1, 4, 4), 3, hidden=8), torch.rand(6, 1, 4, 4)
    leaves = [*model.latents.parameters(), *model.decoder.parameters()]
    expected, reference = gradients(stock, model.model, model.guide, x, leaves)
    found, mine = gradients(ours, model.model, model.guide, x, leaves)
    assert found == pytest.approx(expected, rel=1e-6)
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b)


def test_weight_one_is_the_vae_bit_for_bit():
    torch.manual_seed(1)
    model, x = zoo.vae((1, 4, 4), 3, hidden=8), torch.rand(6, 1, 4, 4)
    leaves = [*model.latents.parameters(), *model.decoder.parameters()]
    one, plain = (
        gradients(objective, model.model, model.guide, x, leaves)
        for objective in (ELBO(weight=Constant(1.0)), ELBO())
    )
    assert one[0] == plain[0]
    assert all(torch.equal(a, b) for a, b in zip(one[1], plain[1], strict=True))


def test_the_weight_scales_the_kl_and_nothing_else():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(4)
    losses, reported = [], []
    for weight in (0.0, 1.0, 3.0):
        torch.manual_seed(0)
        objective = ELBO(weight=weight)
        loss, metrics = objective.loss_and_metrics(model.model, model.guide, x)
        losses.append(loss.item())
        reported.append({name: value.item() for name, value in metrics.items()})
    assert reported[0] == reported[1] == reported[2]
    kl = reported[0]["kl"] * len(x)
    assert losses[1] - losses[0] == pytest.approx(kl)
    assert losses[2] - losses[0] == pytest.approx(3 * kl)


def test_iwae_equals_a_looped_reference():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(3)
    torch.manual_seed(3)
    found = -IWAE(5).loss(model.model, model.guide, x)
    torch.manual_seed(3)
    q = model.encode(x).expand((5, 3))
    z = q.sample()
    expected = 0.0
    for n in range(3):
        weights = []
        for k in range(5):
            log_p = dist.Normal(0.0, 1.0).log_prob(z[k, n]).sum()
            log_lik = model.decode(z[k, n]).log_prob(x[n])
            log_q = q.base_dist.log_prob(z)[k, n].sum()
            weights.append((log_lik + log_p - log_q).exp())
        expected += (sum(weights) / 5).log().item()
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_importance_weighted_bound_rises_with_the_number_of_particles():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(4)
    truth = linear_gaussian.log_evidence(model, x).sum().item()
    torch.manual_seed(0)
    means, errors = [], []
    for count in (1, 4, 16):
        draws = torch.tensor([-IWAE(count).loss(model.model, model.guide, x) for _ in range(300)])
        means.append(draws.mean().item())
        errors.append(draws.std().item() / 300**0.5)
    assert means[0] + 4 * errors[0] < means[1] - 4 * errors[1] < truth
    assert means[1] < means[2] < truth + 4 * errors[2]


def bernoulli_pair():
    """z ~ Bernoulli(0.3), x | z ~ N(2 z, 1), with a guide that ignores x."""
    logit = torch.tensor(0.4, requires_grad=True)

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(torch.tensor(0.3)))
            pyro.sample("x", dist.Normal(2 * z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Bernoulli(logits=pyro.param("logit", logit).expand(len(x))))

    return model, guide, logit


def exact_gradient(x, logit):
    """The gradient of the expected loss, by summing over the values of z of each datum."""
    p = torch.sigmoid(logit)
    log_joint = torch.stack(
        [
            dist.Bernoulli(0.3).log_prob(torch.tensor(z)) + dist.Normal(2 * z, 1.0).log_prob(x)
            for z in (0.0, 1.0)
        ]
    )
    log_q = torch.stack([(1 - p).log(), p.log()]).unsqueeze(1)
    elbo = (log_q.exp() * (log_joint - log_q)).sum()
    return -torch.autograd.grad(elbo, logit)[0].item()


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_discrete_sites_are_unbiased_by_the_score_function(kl):
    model, guide, logit = bernoulli_pair()
    x = torch.tensor([0.1, 1.7, 2.5])
    truth = exact_gradient(x, logit)
    torch.manual_seed(0)
    pyro.clear_param_store()
    draws = []
    for _ in range(40):
        loss = ELBO(kl=kl, num_particles=500).differentiable_loss(model, guide, x)
        draws.append(torch.autograd.grad(loss, logit)[0].item())
    draws = torch.tensor(draws)
    error = draws.std().item() / len(draws) ** 0.5
    assert abs(draws.mean().item() - truth) < 4 * error
    assert error < 0.05 * abs(truth)


def test_a_discrete_importance_weighted_bound_has_the_gradient_of_its_enumeration():
    model, guide, logit = bernoulli_pair()
    x = torch.tensor([1.2])
    p = torch.sigmoid(logit)
    log_joint = [
        dist.Bernoulli(0.3).log_prob(torch.tensor(z)) + dist.Normal(2 * z, 1.0).log_prob(x)
        for z in (0.0, 1.0)
    ]
    log_q = [(1 - p).log(), p.log()]
    log_w = [a - b for a, b in zip(log_joint, log_q, strict=True)]
    bound = sum(
        (log_q[i] + log_q[j]).exp()
        * torch.logaddexp(log_w[i], log_w[j]).sub(torch.tensor(2.0).log())
        for i in (0, 1)
        for j in (0, 1)
    )
    truth = -torch.autograd.grad(bound.sum(), logit)[0].item()
    torch.manual_seed(0)
    pyro.clear_param_store()
    big = torch.full((20_000,), 1.2)
    estimate = []
    for _ in range(80):
        loss = IWAE(2).differentiable_loss(model, guide, big)
        estimate.append(torch.autograd.grad(loss, logit)[0].item() / len(big))
    estimate = torch.tensor(estimate)
    error = estimate.std().item() / len(estimate) ** 0.5
    assert abs(estimate.mean().item() - truth) < 4 * error
    assert error < 0.02 * abs(truth)


def test_global_latents_count_once():
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(x):
        pyro.sample("loc", dist.Normal(pyro.param("m", torch.tensor(0.3)), 0.5))

    x = torch.randn(6)
    for objective, stock in ((ELBO(kl="sampled"), Trace_ELBO()), (ELBO(), TraceMeanField_ELBO())):
        pyro.clear_param_store()
        torch.manual_seed(0)
        expected = stock.loss(model, guide, x)
        torch.manual_seed(0)
        assert objective.loss(model, guide, x) == pytest.approx(expected, rel=1e-6)
    torch.manual_seed(0)
    evidence = dist.MultivariateNormal(torch.zeros(6), torch.eye(6) + 1).log_prob(x).item()
    assert -IWAE(20_000).loss(model, guide, x) == pytest.approx(evidence, abs=0.05)


def test_subsampling_scales_the_loss_but_not_the_metrics():
    def model(x):
        with pyro.plate("data", 60, subsample=torch.arange(len(x)), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", 60, subsample=torch.arange(len(x)), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))

    x = torch.randn(6)
    loss, metrics = ELBO(kl="sampled").loss_and_metrics(model, guide, x)
    evidence = dist.Normal(0.0, 2**0.5).log_prob(x)
    assert loss.item() == pytest.approx(-10 * evidence.sum().item(), rel=1e-5)
    kl = kl_divergence(dist.Normal(x / 2, 0.5**0.5), dist.Normal(0.0, 1.0)).mean().item()
    assert metrics["kl"].item() == pytest.approx(kl)


def test_a_guide_can_declare_an_auxiliary_loss():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    def guide(x):
        scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x / 2, scale))
            pyro.factor("extra", 3.0 + 0 * z, has_rsample=True)

    x = torch.randn(5)
    pyro.clear_param_store()
    torch.manual_seed(0)
    expected = Trace_ELBO().loss(model, guide, x)
    torch.manual_seed(0)
    loss, metrics = ELBO(kl="sampled").loss_and_metrics(model, guide, x)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert metrics["extra"].item() == 3.0


def test_free_bits_stop_the_kl_from_pulling_below_the_floor():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(4)
    encoder = list(model.latents.parameters())
    kl = terms(model.model, model.guide, (x,)).kl["z"].mean().item()
    for floor, free in ((kl + 1, True), (kl - 0.01, False)):
        torch.manual_seed(0)
        objective = ELBO(free_bits=floor)
        loss = objective.differentiable_loss(model.model, model.guide, x)
        torch.manual_seed(0)
        plain = ELBO(weight=0.0 if free else 1.0)
        reference = plain.differentiable_loss(model.model, model.guide, x)
        for a, b in zip(
            torch.autograd.grad(loss, encoder), torch.autograd.grad(reference, encoder), strict=True
        ):
            torch.testing.assert_close(a, b)
        if free:
            assert loss.item() == pytest.approx(reference.item() + floor * len(x))


def test_given_values_are_scored_instead_of_drawn():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(4)
    z = torch.zeros(4, 2, dtype=torch.float64)
    t = terms(model.model, model.guide, (x,), values={"z": z})
    assert torch.equal(t.values["z"], z)
    torch.testing.assert_close(t.log_q["z"][0], model.encode(x).log_prob(z))
    torch.testing.assert_close(t.log_lik[0], model.decode(z).log_prob(x))


def test_the_schedule_advances_with_the_gradient_step_only():
    model, x = linear_gaussian.build(exact=False), linear_gaussian.data(4)
    objective = ELBO(weight=Constant(1.0))
    objective.loss(model.model, model.guide, x)
    assert objective.weight.steps == 0
    objective.loss_and_grads(model.model, model.guide, x)
    assert objective.weight.steps == 1


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: ELBO(kl="exact"), "analytic.*sampled.*'exact'"),
        (lambda: ELBO(free_bits=-1), "free_bits >= 0"),
        (lambda: ELBO(free_bits="a"), "free_bits >= 0, got 'a'"),
        (lambda: IWAE(2.0), "num_particles >= 1, got 2.0"),
        (lambda: ELBO(weight="heavy"), "number or a .*Schedule.*'heavy'"),
        (lambda: ELBO(weight=float("nan")), "finite number"),
        (lambda: ELBO(weight=-1.0), "weight of zero or more, got -1"),
        (lambda: IWAE(0), "num_particles >= 1, got 0"),
    ],
)
def test_bad_settings_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_a_guide_that_does_not_match_its_model_is_refused():
    def model(x):
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    with pytest.raises(ValueError, match=r"every latent site.*\['z'\]"):
        terms(model, lambda x: None, (torch.tensor(0.0),))
    with pytest.raises(ValueError, match="'w' in the model"):
        terms(model, lambda x: pyro.sample("w", dist.Normal(0.0, 1.0)), (torch.tensor(0.0),))


def test_a_density_that_is_replaced_later_has_no_closed_form_any_more(monkeypatch):
    class Own(dist.Normal):
        pass

    prior = dist.Normal(0.0, 1.0)
    assert closed_kl(Own(1.0, 1.0), prior) == 0.5
    changed = Own(1.0, 1.0)
    changed.log_prob = lambda value: torch.zeros(())
    assert closed_kl(changed, prior) is None
    with monkeypatch.context() as patch:
        patch.setattr(Own, "log_prob", lambda self, value: torch.zeros(()))
        assert closed_kl(Own(1.0, 1.0), prior) is None
        assert closed_kl(prior, Own(1.0, 1.0)) is None
    assert closed_kl(Own(1.0, 1.0), prior) == 0.5
