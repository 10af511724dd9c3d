"""Relaxed one-hot variables against quadrature, counts and the limit they tend to."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from torch.distributions import Independent, kl_divergence

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.distributions.relaxed import RelaxedOneHot, discrete, one_hot
from ppl_gen.objectives.terms import terms

LOGITS = torch.tensor([0.7, -0.4, 1.1, 0.0], dtype=torch.float64)


def test_the_largest_coordinate_is_a_draw_from_the_categorical():
    torch.manual_seed(0)
    for temperature in (0.1, 1.0, 5.0):
        draws = RelaxedOneHot(torch.tensor(temperature), logits=LOGITS).sample((20_000,))
        counts = torch.bincount(draws.argmax(-1), minlength=4)
        expected = 20_000 * LOGITS.softmax(0)
        chi2 = ((counts - expected) ** 2 / expected).sum().item()
        assert chi2 < 16.3  # the 99.9 % quantile with 3 degrees of freedom


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0, 2.0])
def test_the_density_integrates_to_one_on_the_simplex(temperature):
    # over t = log y1 - log y2, where dy1 = y1 y2 dt
    t = torch.linspace(-200, 200, 400_001, dtype=torch.float64)
    y = torch.stack([t.sigmoid(), (-t).sigmoid()], -1)
    law = RelaxedOneHot(torch.tensor(temperature).double(), logits=LOGITS[:2])
    density = law.log_prob(y) + y.log().sum(-1)
    assert torch.trapezoid(density.exp(), t).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("straight_through", [False, True])
def test_low_temperatures_tend_to_one_hot_with_a_finite_density(straight_through):
    torch.manual_seed(0)
    logits = torch.randn(500, 3, 10)
    law = one_hot(logits, 0.01, straight_through=straight_through)
    value = law.rsample()
    assert value.max(-1).values.mean() > 0.99
    assert law.log_prob(value).isfinite().all()
    stock = dist.RelaxedOneHotCategorical(torch.tensor(0.01), logits=logits, validate_args=False)
    assert not stock.log_prob(stock.sample()).isfinite().all(), "stock Pyro underflows here"


def test_densities_agree_with_stock_where_it_does_not_underflow():
    torch.manual_seed(0)
    ours, stock = (
        kind(torch.tensor(1.5).double(), logits=LOGITS)
        for kind in (RelaxedOneHot, dist.RelaxedOneHotCategorical)
    )
    value = ours.sample((100,))
    torch.testing.assert_close(ours.log_prob(value), stock.log_prob(value.clone()))
    torch.testing.assert_close(ours.log_prob(value.clone()), stock.log_prob(value.clone()))


def test_straight_through_goes_forward_hard_and_backward_soft():
    logits = LOGITS.clone().requires_grad_()
    torch.manual_seed(0)
    hard = one_hot(logits[None], 0.7, straight_through=True).rsample()
    (backward,) = torch.autograd.grad((hard * LOGITS).sum(), logits)
    torch.manual_seed(0)
    soft = one_hot(logits[None], 0.7).rsample()
    (expected,) = torch.autograd.grad((soft * LOGITS).sum(), logits)
    assert set(hard.detach().flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(backward, expected)


def test_what_is_relaxed_can_be_recovered():
    relaxed = one_hot(LOGITS.expand(5, 3, 4), 0.5)
    found = discrete(relaxed)
    assert isinstance(found, Independent)
    expected = one_hot(LOGITS.expand(5, 3, 4), None)
    uniform = one_hot(torch.zeros(3, 4).double(), None)
    torch.testing.assert_close(kl_divergence(found, uniform), kl_divergence(expected, uniform))
    normal = dist.Normal(0.0, 1.0)
    assert discrete(normal) is normal


def test_training_scores_the_relaxation_and_evaluation_the_discrete_bound():
    torch.manual_seed(0)
    model, x = zoo.gumbel_vae((1, 2, 2), 2, num_categories=3, hidden=8), torch.rand(6, 1, 2, 2)
    relaxed = terms(model.model, model.guide, (x,))
    assert 0 < relaxed.values["z"].max() < 1
    found = metrics.elbo_terms(model, x, num_samples=4000)
    q = model.eval().encode(x).base_dist.probs
    reconstruction = 0.0
    for i in range(3):
        for j in range(3):
            z = torch.eye(3)[[i, j]]
            weight = q[:, 0, i] * q[:, 1, j]
            reconstruction += (weight * model.decode(z.expand(6, 2, 3)).log_prob(x)).mean().item()
    kl = torch.xlogy(q, 3 * q).sum((1, 2)).mean().item()
    assert found.kl == pytest.approx(kl, rel=1e-4)
    assert found.reconstruction == pytest.approx(reconstruction, rel=1e-3)
    assert relaxed.kl["z"].mean().item() == pytest.approx(kl, rel=1e-4)


def test_the_temperature_is_annealed_by_training():
    model, x = zoo.gumbel_vae((1, 2, 2), 2, annealing=0.1, hidden=8), torch.rand(6, 1, 2, 2)
    for _ in range(3):
        model.objective.loss_and_grads(model.model, model.guide, x)
    assert model.latents[0].family.temperature.value.item() == pytest.approx(0.7408, rel=1e-3)


def test_stock_svi_anneals_the_temperature():
    model, x = zoo.gumbel_vae((1, 2, 2), 2, annealing=0.1, hidden=8), torch.rand(6, 1, 2, 2)
    svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-3}), model.objective)
    for _ in range(3):
        svi.step(x)
    assert model.latents[0].family.temperature.value.item() == pytest.approx(0.7408, rel=1e-3)


def test_one_objective_does_not_anneal_two_models():
    objective = ppl_gen.ELBO()
    first = zoo.gumbel_vae((1, 2, 2), 2, hidden=8, objective=objective)
    assert objective.temperature is first.latents[0].family.temperature
    with pytest.raises(ValueError, match="an objective without a temperature"):
        zoo.gumbel_vae((1, 2, 2), 2, hidden=8, objective=objective)
    assert objective.temperature is first.latents[0].family.temperature


def test_a_straight_through_draw_is_scored_only_as_it_was_made():
    torch.manual_seed(0)
    q = one_hot(LOGITS.expand(6, 2, 4), 0.5, straight_through=True)
    draw = q.rsample()
    assert q.log_prob(draw).isfinite().all()
    for changed in (draw.clone(), draw[:3], draw.detach()):
        with pytest.raises(ValueError, match="a straight-through draw as it was made"):
            q.log_prob(changed)
    model = zoo.gumbel_vae(
        (1, 2, 2), 2, hidden=8, straight_through=True, objective=ppl_gen.objectives.DReG(2)
    )
    with pytest.raises(ValueError, match="a straight-through draw as it was made"):
        model.objective.loss_and_grads(model.model, model.guide, torch.rand(6, 1, 2, 2))


def test_bad_settings():
    with pytest.raises(ValueError, match="at least two categories, got 1"):
        zoo.gumbel_vae((1, 2, 2), 2, num_categories=1)
    with pytest.raises(ValueError, match="positive temperature, got 0"):
        zoo.gumbel_vae((1, 2, 2), 2, temperature=0)
    model = zoo.gumbel_vae((1, 2, 2), 2, num_categories=3, hidden=8)
    with pytest.raises(ValueError, match="categories below 3"):
        model.traverse(torch.rand(1, 1, 2, 2), 0, [0, 3])
