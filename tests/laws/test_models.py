"""Laws every named model keeps: one suite over the registry of constructors."""

import copy

import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO

import ppl_gen
from ppl_gen import metrics, zoo

SHAPE = (1, 8, 8)
NAMES = list(zoo.registry)
VAES = [name for name, entry in zoo.registry.items() if entry.family == "variational"]


def build(name, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.registry[name].build(SHAPE, latent_dim=3, hidden=16, **options)


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(20, 1, 2, 2, generator=generator).round()
    return torch.nn.functional.interpolate(coarse, scale_factor=4)


def labels(model, n):
    return torch.arange(n) % model.num_classes if model.num_classes else None


pytestmark = pytest.mark.usefixtures("fresh_store")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_from_a_data_shape_alone_and_samples_images(name):
    model = zoo.registry[name].build(data_shape=SHAPE)
    y = labels(model, 5)
    images = model.sample(5, y, seed=1)
    assert images.shape == (5, *SHAPE)
    assert images.isfinite().all()
    assert torch.equal(images, model.sample(5, y, seed=1))
    assert not torch.equal(images, model.sample(5, y, seed=2))


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
def test_its_pieces_are_distributions_over_the_right_shapes(name, x):
    model = build(name)
    y = labels(model, len(x))
    posterior = model.encode(x, y)
    assert isinstance(posterior, torch.distributions.Distribution)
    assert posterior.batch_shape == (len(x),)
    code = model.code(x, y)
    assert model.decode(posterior.sample(), y).event_shape == SHAPE
    likelihood = model.decode(code, y)
    assert isinstance(likelihood, torch.distributions.Distribution)
    assert likelihood.event_shape == SHAPE
    assert likelihood.log_prob(x).shape == (len(x),)
    assert model.reconstruct(x, y).shape == x.shape
    two = None if y is None else y[:2]
    assert model.traverse(x[:2], 0, [0.0, 1.0, 2.0], two).shape == (6, *SHAPE)


@pytest.mark.parametrize("local", [False, True], ids=["global store", "module-local"])
@pytest.mark.parametrize("stock", [False, True], ids=["own objective", "Trace_ELBO"])
@pytest.mark.parametrize("name", VAES)
def test_stock_svi_trains_it(name, stock, local, x):
    with pyro.settings.context(module_local_params=local):
        model = build(name)
        y = labels(model, len(x))
        objective = Trace_ELBO() if stock else model.objective
        svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-2}), objective)
        torch.manual_seed(0)
        before = [p.detach().clone() for p in model.parameters()]
        losses = [svi.step(x, y) for _ in range(60)]
        assert all(
            not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
        ), "a parameter was not trained"
        assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize("name", VAES)
def test_two_instances_share_nothing_in_the_parameter_store(name, x):
    first, second = build(name), build(name)
    third = copy.deepcopy(second)
    y = labels(first, len(x))
    for model in (first, second, third):
        before = [p.detach().clone() for p in model.parameters()]
        svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-2}), model.objective)
        svi.step(x, y)
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("name", VAES)
def test_the_model_draws_images_under_predictive(name):
    model = build(name)
    drawn = Predictive(model.model, num_samples=4)(y=labels(model, 3), size=3)
    assert drawn["x"].shape == (4, 3, *SHAPE)


class Coder(torch.nn.Module):
    def __init__(self, model, method="code"):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *batch):
        return getattr(self.model, self.method)(*batch)


@pytest.mark.parametrize("name", VAES)
def test_its_encoder_is_exported(name, x):
    model = build(name)
    batch = (x, labels(model, len(x))) if model.num_classes else (x,)
    exported = torch.export.export(Coder(model).eval(), batch).module()
    assert torch.equal(exported(*batch), model.code(*batch))


@pytest.mark.parametrize("name", VAES)
def test_its_reconstruction_is_exported_for_any_number_of_images(name, x):
    model = build(name)
    batch = (x, labels(model, len(x))) if model.num_classes else (x,)
    size = torch.export.Dim("size", min=2)
    whole = Coder(model, "reconstruct").eval()
    shapes = {"batch": tuple({0: size} for _ in batch)}
    exported = torch.export.export(whole, batch, dynamic_shapes=shapes).module()
    more = tuple(torch.cat([part, part[:3]]) for part in batch)
    torch.testing.assert_close(exported(*more), model.reconstruct(*more))


@pytest.mark.parametrize("name", VAES)
def test_its_codes_are_mapped_over_images_one_by_one(name, x):
    model = build(name)
    batch = (x, labels(model, len(x))) if model.num_classes else (x,)
    one = torch.func.vmap(lambda *datum: model.code(*(part[None] for part in datum))[0])
    torch.testing.assert_close(one(*batch), model.code(*batch))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_saved_and_loaded_equal(name, tmp_path, x):
    model = build(name)
    ppl_gen.fit(
        model,
        (x, labels(model, len(x))) if model.num_classes else x,
        epochs=1,
        staged=False,
        progress=False,
    )
    assert all(isinstance(v, torch.Tensor) for v in model.state_dict().values())
    ppl_gen.save(model, tmp_path / "model.pt")
    loaded = ppl_gen.load(tmp_path / "model.pt")
    for (key, a), (other, b) in zip(
        model.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert key == other
        assert torch.equal(a, b)
    y = labels(model, 4)
    assert torch.equal(model.sample(4, y, seed=0), loaded.sample(4, y, seed=0))


@pytest.mark.parametrize("name", NAMES)
def test_training_is_reproducible_and_leaves_the_generators_alone(name, x):
    results = []
    for _ in range(2):
        model = build(name)
        data = (x, labels(model, len(x))) if model.num_classes else x
        state = torch.get_rng_state()
        history = ppl_gen.fit(model, data, epochs=3, batch_size=8, staged=False, progress=False)
        assert torch.equal(state, torch.get_rng_state())
        results.append((dict(history), model.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(results[0][1][k], results[1][1][k]) for k in results[0][1])


@pytest.mark.parametrize("name", VAES)
def test_the_elbo_is_below_the_importance_weighted_bound(name, x):
    model = build(name)
    y = labels(model, len(x))
    terms = metrics.elbo_terms(model, x, y, num_samples=200)
    if terms.kl == float("inf"):
        with pytest.raises(ValueError, match="point posterior"):
            metrics.log_likelihood(model, x, 10, y)
        return
    bound = metrics.log_likelihood(model, x, 500, y).mean().item()
    assert terms.elbo == pytest.approx(terms.reconstruction - terms.kl)
    assert terms.elbo < bound + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_it_refuses_sizes_that_are_none(name):
    build_it = zoo.registry[name].build
    for options, match in [
        ({"latent_dim": 1.5}, "whole number for latent_dim, got 1.5"),
        ({"hidden": "a"}, "hidden widths"),
        ({"data_shape": 28}, r"data shape \(C, H, W\), got 28"),
    ]:
        with pytest.raises(ValueError, match=match):
            build_it(**{"data_shape": SHAPE} | options)


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


@pytest.mark.parametrize("name", VAES)
def test_it_refuses_values_it_cannot_traverse(name, x):
    model = build(name)
    one, y = x[:1], labels(model, 1)
    for dim in (1.0, True, None, "0"):
        with pytest.raises(ValueError, match=r"dimension below .*, got"):
            model.traverse(one, dim, [0.0], y)
    for values in ([], 0.5, None, "a", [[0.0, 1.0]]):
        with pytest.raises(ValueError, match=r"sequence of (numbers|one number or more), got"):
            model.traverse(one, 0, values, y)
    for code in (None, [[0.0]], torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"codes as a torch\.float32 tensor"):
            model.decode(code, y)
    with pytest.raises(ValueError, match="at least one sample, got True"):
        model.sample(True)
    if name in ("vq_vae", "gumbel_vae"):
        for values in ([0.5], [-1], [99], [float("nan")]):
            with pytest.raises(ValueError, match=r"(indices|categories) below"):
                model.traverse(one, 0, values, y)


@pytest.mark.parametrize("name", VAES)
def test_one_image_is_a_batch(name, x):
    model = build(name)
    one, y = x[:1], labels(model, 1)
    data = one if y is None else (one, y)
    ppl_gen.fit(model, data, epochs=1, staged=False, progress=False)
    assert model.reconstruct(one, y).shape == one.shape
    assert metrics.active_units(model, one, y) == 0


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


@pytest.mark.parametrize("name", VAES)
def test_staged_training_is_the_eager_one_bit_for_bit(name, x):
    found = []
    for staged in (True, False):
        model = build(name)
        y = labels(model, len(x))
        step = ppl_gen.stage(
            model.model, model.guide, model.objective, staged=staged, backend="eager"
        )
        optimizer = torch.optim.Adam(step.parameters(), lr=0.01)
        torch.manual_seed(0)
        record = []
        for _ in range(4):
            record += [step(x, y), *step.terms.values(), torch.get_rng_state()]
            record += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.step()
        found.append([*record, *model.state_dict().values()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
