"""Every named model keeps the laws of models: one suite over the registry of constructors."""

import pytest
import torch
from model_laws import (
    LAWS,
    VAE_LAWS,
    VAES,
    build,
    images,
    it_is_saved_and_loaded_equal,
    labels,
    stock_svi_trains_it,
)

import ppl_gen
from ppl_gen import metrics, zoo

NAMES = list(zoo.registry)

pytestmark = pytest.mark.usefixtures("fresh_store")


@pytest.fixture
def x():
    return images()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_law(name, law, x):
    law(name, x)


@pytest.mark.parametrize("law", VAE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", VAES)
def test_a_vae_keeps_the_law(name, law, x):
    law(name, x)


@pytest.mark.parametrize(
    ("stock", "local"),
    [(False, False), (True, True)],
    ids=["own objective, global store", "Trace_ELBO, module-local"],
)
@pytest.mark.parametrize("name", VAES)
def test_stock_svi_trains_it(name, stock, local, x):
    stock_svi_trains_it(name, x, stock, local)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_saved_and_loaded_equal(name, x, tmp_path):
    it_is_saved_and_loaded_equal(name, x, tmp_path / "model.pt")


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("name", VAES)
def test_its_programs_agree_for_every_network_and_likelihood(name, network, likelihood, x):
    model = build(name, network=network, likelihood=likelihood)
    y = labels(model, len(x))
    loss = model.objective.differentiable_loss(model.model, model.guide, x, y)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    for (parameter, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        assert gradient is not None, f"{parameter} has no gradient"
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0, f"{parameter} has a zero gradient"


@pytest.mark.parametrize("name", VAES)
def test_it_refuses_images_it_cannot_be_given(name, x):
    model = build(name)
    y = labels(model, len(x))
    for bad, match in [
        (x[:, :, :4], r"shape \(B, 1, 8, 8\), got \(20, 1, 4, 8\)"),
        (x * float("nan"), "without NaN"),
        (x * 2, r"pixels in \[0, 1\].*Bernoulli.*0 to 2"),
        ((x * 255).long(), "floating-point"),
        (x.double(), r"torch\.float32 images, like the weights, got torch\.float64"),
        (x[:0], "at least one image"),
        ("digits", "array, frame or list.* got str"),
    ]:
        with pytest.raises(ValueError, match=match):
            model.encode(bad, y)
    for program in (model.model, model.guide):
        with pytest.raises(ValueError, match=r"floating-point images, got torch\.int64"):
            program(x.long(), y)
    with pytest.raises(ValueError, match="at least one sample, got 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="dimension below"):
        model.traverse(x[:1], 99, [0.0], None if y is None else y[:1])


def test_labels_must_match_the_images(x):
    model = build("conditional_vae")
    y = labels(model, len(x))
    code = model.code(x, y)
    for wrong in (y[:5], y[:1], y[:0], torch.cat([y, y])):
        for call in (
            lambda y: model.encode(x, y),
            lambda y: model.code(x, y),
            lambda y: model.reconstruct(x, y),
            lambda y: model.traverse(x, 0, [0.0], y),
            lambda y: model.model(x, y),
            lambda y: model.guide(x, y),
            lambda y: metrics.elbo_terms(model, x, y),
            lambda y: metrics.log_likelihood(model, x, 2, y),
        ):
            with pytest.raises(ValueError, match=f"20 labels, .*, got {len(wrong)}"):
                call(wrong)
    for wrong in (y[:5], y[:0]):
        with pytest.raises(ValueError, match=f"labels for 20 codes, got {len(wrong)}"):
            model.decode(code, wrong)
    assert model.decode(code[:1], y[:10]).batch_shape == (10,)
    assert model.decode(code, y[:1]).batch_shape == (20,)
    for wrong in (y + 1, y > 4):
        with pytest.raises(ValueError, match=r"labels from 0 to 9|whole labels"):
            model.traverse(x, 0, [0.0], wrong)


def test_labels_must_be_known(x):
    model = build("conditional_vae")
    y = labels(model, len(x))
    for bad, match in [
        (None, "labels below 10 for y, got none"),
        (y + 1, "labels from 0 to 9, got 1 to 10"),
        (y.float(), r"whole labels of shape \(B,\)"),
    ]:
        for call in (
            lambda bad=bad: model.encode(x, bad),
            lambda bad=bad: model.sample(len(x), bad),
            lambda bad=bad: metrics.elbo_terms(model, x, bad),
        ):
            with pytest.raises(ValueError, match=match if bad is not None else "labels"):
                call()
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        ppl_gen.fit(model, (x, y + 1), epochs=1, staged=False, progress=False)
    with pytest.raises(ValueError, match="5 labels, one for each sample, got 20"):
        model.sample(5, y)
