"""Labels partly missing: the objective against brute force over classes, and what users can do."""

import math

import numpy as np
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

import ppl_gen
from ppl_gen import metrics, zoo

pytestmark = pytest.mark.usefixtures("fresh_store")


def build(classes=3, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return zoo.ssvae((1, 2, 2), 2, num_classes=classes, hidden=8, **options)


def pixels(n, seed=0):
    return torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed)).round()


def of_class(model, x, k, noise):
    """L(x, k) of every datum from the networks alone, with the noise of the draw (B, Z)."""
    hot = torch.nn.functional.one_hot(torch.full((len(x),), k), model.num_classes).float()
    loc, raw = model.latents[1].encoder(x, hot).chunk(2, -1)
    q = Normal(loc, torch.nn.functional.softplus(raw) + 1e-5)
    logits = model.decoder(loc + q.scale * noise, hot)
    log_lik = Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    prior = Normal(torch.zeros_like(loc), torch.ones_like(loc))
    return log_lik - math.log(model.num_classes) - kl_divergence(q, prior).sum(-1)


def by_hand(model, x, y, noise):
    """Minus the objective of Kingma et al. (2014), class by class."""
    q = Categorical(logits=model.latents[0].encoder(x))
    values = torch.stack([of_class(model, x, k, noise[k]) for k in range(model.num_classes)])
    total = torch.zeros(())
    for i, label in enumerate(y.tolist()):
        if label < 0:
            total = total + (q.probs[i] * (values[:, i] - q.logits[i])).sum()
        else:
            total = total + values[label, i] + model.alpha * q.logits[i, label]
    return -total


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(-1, 3), min_size=1, max_size=5),
    st.floats(0, 20),
    st.integers(0, 1000),
)
def test_the_objective_is_the_sum_over_classes(labels, alpha, seed):
    model, x, y = build(4, seed, alpha=alpha), pixels(len(labels), seed), torch.tensor(labels)
    torch.manual_seed(seed)
    noise = torch.randn(4, len(y), 2)
    expected = by_hand(model, x, y, noise)
    torch.manual_seed(seed)
    loss, found = model.objective.loss_and_metrics(model.model, model.guide, x, y)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    bound = found["elbo"] - found["y_classification"]
    torch.testing.assert_close(-bound * len(y), loss.detach(), rtol=1e-5, atol=1e-4)
    assert found["elbo"].item() == pytest.approx((found["reconstruction"] - found["kl"]).item())


def test_labels_alone_leave_the_classifier_to_the_classification_loss():
    model, x, y = build(alpha=0.0), pixels(4), torch.tensor([0, 1, 2, 0])
    loss = model.objective.differentiable_loss(model.model, model.guide, x, y)
    classifier = list(model.latents[0].encoder.parameters())
    assert all(not g.any() for g in torch.autograd.grad(loss, classifier, retain_graph=True))
    loss = model.objective.differentiable_loss(model.model, model.guide, x, y.clone().fill_(-1))
    assert all(g.any() for g in torch.autograd.grad(loss, classifier))


def test_no_class_is_drawn(monkeypatch):
    model, x = build(), pixels(3)
    law = pyro.distributions.OneHotCategorical
    model.objective.differentiable_loss(model.model, model.guide, x)  # the trial of particles
    monkeypatch.setattr(law, "sample", lambda *_: pytest.fail("a class was drawn"))
    for y in (None, torch.tensor([0, -1, 2])):
        model.objective.differentiable_loss(model.model, model.guide, x, y)


def test_stock_enumeration_is_the_same_objective():
    model, x, y = build(alpha=2.0), pixels(4), torch.tensor([0, -1, 2, -1])
    stock = TraceEnum_ELBO(max_plate_nesting=1, num_particles=3000, vectorize_particles=True)
    own = build(alpha=2.0).objective
    own.num_particles = 3000
    guide = config_enumerate(model.guide, "parallel")
    torch.manual_seed(0)
    with torch.no_grad():
        expected = stock.loss(model.model, guide, x, y)
    assert own.loss(model.model, model.guide, x, y) == pytest.approx(expected, abs=0.15)
    single = TraceEnum_ELBO(max_plate_nesting=1)
    svi = SVI(model.model, guide, pyro.optim.Adam({"lr": 1e-2}), single)
    losses = [svi.step(x, y) for _ in range(60)]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_handlers_scale_the_objective_and_not_the_classes():
    model, x, y = build(), pixels(4), torch.tensor([0, -1, 2, -1])
    found = []
    for scale in (1.0, 0.25):
        programs = (pyro.poutine.scale(p, scale) for p in (model.model, model.guide))
        torch.manual_seed(0)
        loss, metrics_of = model.objective.loss_and_metrics(*programs, x, y)
        found.append((loss.item() / scale, metrics_of["elbo"].item()))
    assert found[0] == pytest.approx(found[1])


def test_a_few_labels_teach_the_classes():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 2
    x = torch.where(y[:, None] > 0, 2.0, -2.0) + 0.5 * torch.randn(120, 3, generator=generator)
    told = [None if i >= 6 else ("low", "high")[int(k)] for i, k in enumerate(y)]
    model = zoo.ssvae((3,), 1, classes=("low", "high"), likelihood="gaussian", hidden=16)
    ppl_gen.fit(model, (x, told), epochs=40, batch_size=30, lr=1e-2, progress=False, staged=False)
    assert (model.classify(x).argmax(-1) == y).float().mean() > 0.95


def test_missing_labels_come_as_minus_one_nan_or_none(tmp_path):
    model, x = build(), pixels(4)
    forms = [
        torch.tensor([0, -1, 2, -1]),
        torch.tensor([0, math.nan, 2, math.nan]),
        np.array([0, np.nan, 2, np.nan]),
        [0, None, 2, None],
    ]
    found = [model.code(x, form) for form in forms]
    assert all(torch.equal(found[0], other) for other in found)
    bounds = [metrics.elbo_terms(model, x, form, num_samples=5).elbo for form in forms]
    assert len(set(bounds)) == 1
    assert torch.equal(model.code(x), model.code(x, [None] * 4))
    none = metrics.log_likelihood(model, x, 50)
    assert torch.equal(none, metrics.log_likelihood(model, x, 50, torch.full((4,), -1)))
    for data in (x, (x, forms[3]), ppl_gen.data.images(x)):
        ppl_gen.fit(model, data, epochs=1, progress=False, staged=False)
    ppl_gen.save(model, tmp_path / "model.pt")
    assert torch.equal(ppl_gen.load(tmp_path / "model.pt").classify(x), model.classify(x))


def test_a_missing_class_is_the_most_probable_one_or_a_draw_of_the_prior():
    model, x = build(), pixels(4)
    best = model.classify(x).argmax(-1)
    assert torch.equal(model.reconstruct(x), model.reconstruct(x, best))
    assert torch.equal(model.reconstruct(x, [0, None, 1, None])[1::2], model.reconstruct(x)[1::2])
    assert torch.equal(model.traverse(x, 0, [0.0, 1.0]), model.traverse(x, 0, [0.0, 1.0], best))
    assert model.sample(5, seed=0).shape == (5, 1, 2, 2)
    with pytest.raises(ValueError, match="a label for every code to decode, got a missing one"):
        model.decode(model.code(x), torch.tensor([0, -1, 1, 1]))


def test_the_model_draws_the_data_of_the_classes_given():
    model = build()
    trace = pyro.poutine.trace(model.model).get_trace(None, torch.tensor([2, 0, -1]), 3)
    assert trace.nodes["y"]["value"][:2].argmax(-1).tolist() == [2, 0]


def test_it_refuses_what_it_cannot_sum():
    for options, match in [
        ({"num_classes": 1}, "at least two classes, got 1"),
        ({"alpha": -1.0}, "alpha >= 0, got -1.0"),
        ({"num_covariates": 2}, "no covariates with partly missing labels"),
    ]:
        with pytest.raises(ValueError, match=match):
            zoo.ssvae((1, 2, 2), 2, **options)
    model, x = build(posterior=ppl_gen.posteriors.Bernoulli()), pixels(2)
    with pytest.raises(ValueError, match="reparameterised samplers with classes, got 'z'"):
        model.objective.loss(model.model, model.guide, x)
    for y in (torch.tensor([0, 3]), torch.tensor([-2, 0]), torch.tensor([0.5, math.nan])):
        with pytest.raises(ValueError, match=r"or -1 for a missing one|whole labels"):
            model.code(x, y)
