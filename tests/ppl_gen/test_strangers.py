"""Programs as strangers to this package write them, at parameters where the answer is known."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoHierarchicalNormalMessenger,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalMessenger,
    AutoRegressiveMessenger,
    init_to_value,
)
from torch.testing import assert_close

from ppl_gen.objectives import ELBO, IWAE

pytestmark = pytest.mark.usefixtures("fresh_store")
Y = torch.tensor([1.0, 2.0, 3.0])
EVIDENCE = dist.MultivariateNormal(torch.zeros(3), torch.eye(3) + 1).log_prob(Y).item()


def mean_model(y):
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(b, 1.0), obs=y)


def loss_and_metrics(objective, model, guide, *args):
    loss, metrics = objective.loss_and_metrics(model, guide, *args)
    return loss.item(), {name: value.item() for name, value in metrics.items()}


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_both_programs_see_the_subsample_that_the_guide_draws(kl):
    x = torch.arange(100.0)

    def model():
        with pyro.plate("data", 100, subsample_size=5) as index:
            z = pyro.sample("z", dist.Normal(x[index], 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=x[index])

    def posterior():
        with pyro.plate("data", 100, subsample_size=5) as index:
            pyro.sample("z", dist.Normal(x[index], 0.5**0.5))

    draws = torch.tensor([ELBO(kl=kl).loss(model, posterior) for _ in range(200)])
    tolerance = 1e-3 if kl == "sampled" else 5 * draws.std().item() / 200**0.5
    assert abs(draws.mean() - 50 * math.log(4 * math.pi)) < tolerance


@pytest.mark.parametrize("auto", [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal])
def test_a_change_of_variables_is_part_of_the_loss_and_of_its_gradient(auto):
    def model(y):
        s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", 1):
            pyro.sample("y", dist.Normal(s.log(), 1.0), obs=y)

    y = torch.tensor([2.0])
    start = init_to_value(values={"s": torch.tensor(math.e)})
    guide = auto(model, init_loc_fn=start, init_scale=0.5**0.5)
    for _ in range(3):
        loss, metrics = loss_and_metrics(ELBO(), model, guide, y)
        assert math.isclose(loss, 0.5 * math.log(4 * math.pi) + 1, rel_tol=1e-5)
        assert math.isclose(metrics["elbo"], -loss, rel_tol=1e-5)
    loss, _ = ELBO(num_particles=50_000).loss_and_metrics(model, guide, y)
    loss.backward()
    for parameter in guide.parameters():
        assert parameter.grad.abs().max() < 0.05


@pytest.mark.parametrize(
    "messenger", [AutoNormalMessenger, AutoHierarchicalNormalMessenger, AutoRegressiveMessenger]
)
def test_a_messenger_guide_does_not_count_the_observations_twice(messenger):
    # the last one scales what it starts from as well
    mean = 3.0 if messenger is AutoRegressiveMessenger else 1.5
    start = init_to_value(values={"b": torch.tensor(mean)})
    guide = messenger(mean_model, init_loc_fn=start, init_scale=0.5)
    for kl in ("analytic", "sampled"):
        for _ in range(3):
            loss = ELBO(kl=kl).loss(mean_model, guide, Y)
            assert math.isclose(loss, -EVIDENCE, rel_tol=1e-5)


def test_importance_weights_leave_the_size_of_the_data_set_outside_the_logarithm():
    y = torch.tensor([-1.0, 0.0])

    def model():
        with pyro.plate("data", 6, subsample=torch.arange(2)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide():
        with pyro.plate("data", 6, subsample=torch.arange(2)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.5))

    loss, metrics = loss_and_metrics(IWAE(num_particles=20_000), model, guide)
    evidence = 3 * dist.Normal(0.0, 2**0.5).log_prob(y).sum().item()
    assert abs(loss + evidence) < 0.1
    assert math.isclose(metrics["bound"], -loss / 6, rel_tol=1e-5)


def test_a_weight_reaches_the_entropy_of_a_guide_with_auxiliary_sites():
    start = init_to_value(values={"b": torch.tensor(6 / 7)})
    guide = AutoNormal(mean_model, init_loc_fn=start, init_scale=1.75**-0.5)
    for seed in range(3):
        torch.manual_seed(seed)
        loss = ELBO(weight=4.0).loss(mean_model, guide, Y)
        torch.manual_seed(seed)
        b = guide(Y)["b"]
        fit = dist.Normal(b, 1.0).log_prob(Y).sum()
        kl = dist.Normal(6 / 7, 1.75**-0.5).log_prob(b) - dist.Normal(0.0, 1.0).log_prob(b)
        assert_close(torch.tensor(loss), (4 * kl - fit).detach(), rtol=1e-4, atol=1e-4)
    objective = ELBO(weight=4.0, num_particles=100_000)
    objective.loss_and_metrics(mean_model, guide, Y)[0].backward()
    assert all(abs(p.grad.item()) < 0.1 for p in guide.parameters())


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (3, 2)])
def test_latents_in_a_plate_as_large_as_the_data_are_not_local(size):
    data, features = size
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(data, features, generator=generator)
    y = 2 * torch.randn(data, generator=generator)

    def model():
        with pyro.plate("features", features):
            w = pyro.sample("w", dist.Normal(torch.zeros(features), 1.0))
        with pyro.plate("data", data):
            pyro.sample("y", dist.Normal((w.unsqueeze(-2) * x).sum(-1), 1.0), obs=y)

    def guide():
        with pyro.plate("features", features):
            pyro.sample("w", dist.Normal(torch.zeros(features), 1.0))

    evidence = dist.MultivariateNormal(torch.zeros(data), torch.eye(data) + x @ x.T).log_prob(y)
    loss = IWAE(num_particles=200_000).loss(model, guide)
    assert abs(loss + evidence.item()) < 0.03


def test_the_metrics_of_a_guide_with_auxiliary_sites_are_finite_and_the_loss():
    loss, metrics = loss_and_metrics(ELBO(), mean_model, AutoNormal(mean_model), Y)
    assert math.isclose(3 * metrics["elbo"], -loss, rel_tol=1e-5)
    assert math.isclose(metrics["reconstruction"] - metrics["kl"], metrics["elbo"], rel_tol=1e-4)


@pytest.mark.parametrize(("around_z", "around_y"), [(1.0, 10.0), (0.1, 1.0), (3.0, 0.5)])
def test_metrics_are_those_of_the_model_whatever_handlers_scale(around_z, around_y):
    y = torch.tensor([0.0, 1.0])

    def model():
        with pyro.plate("data", 2):
            with poutine.scale(scale=around_z):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0))
            with poutine.scale(scale=around_y):
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide():
        with pyro.plate("data", 2), poutine.scale(scale=around_z):
            pyro.sample("z", dist.Normal(torch.ones(2), 1.0))

    loss, metrics = loss_and_metrics(ELBO(), model, guide)
    assert math.isclose(metrics["kl"], 0.5, rel_tol=1e-6)
    expected = -2 * (around_y * metrics["reconstruction"] - around_z * 0.5)
    assert math.isclose(loss, expected, rel_tol=1e-5)


def test_nested_plates_give_one_importance_weight_per_datum():
    x = torch.randn(50, 5)

    def model():
        with pyro.plate("documents", 50, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(50), 1.0))
            with pyro.plate("words", 5, dim=-2):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

    def guide():
        with pyro.plate("documents", 50, dim=-1):
            pyro.sample("z", dist.Normal(x.sum(1) / 6, 0.6))

    objective = IWAE(num_particles=10, max_plate_nesting=2)
    run = objective.runner(model, guide, (), {})
    t = run()
    z = t.values["z"].reshape(10, 50)
    weight = dist.Normal(z.unsqueeze(-1), 1.0).log_prob(x).sum(-1)
    weight += dist.Normal(0.0, 1.0).log_prob(z) - dist.Normal(x.sum(1) / 6, 0.6).log_prob(z)
    assert_close(objective.reduce(t, run), (math.log(10) - weight.logsumexp(0)).sum())


@pytest.mark.parametrize("objective", [ELBO, IWAE])
def test_a_program_that_takes_no_leading_dimension_has_its_particles_one_by_one(objective):
    x, y = torch.randn(5, 3), torch.randn(5)

    def model():
        b = pyro.sample("b", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", 5):
            pyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    covariance = torch.linalg.inv(torch.eye(3) + x.T @ x)

    def posterior():
        pyro.sample("b", dist.MultivariateNormal(covariance @ x.T @ y, covariance))

    options = {"kl": "sampled"} if objective is ELBO else {}
    evidence = dist.MultivariateNormal(torch.zeros(5), torch.eye(5) + x @ x.T).log_prob(y).item()
    with pytest.warns(UserWarning, match="one after the other"):
        loss = objective(num_particles=4, **options).loss(model, posterior)
    assert math.isclose(loss, -evidence, rel_tol=1e-4)
    one_by_one = objective(num_particles=4, vectorize_particles=False, **options)
    assert math.isclose(one_by_one.loss(model, posterior), -evidence, rel_tol=1e-4)
