"""Laws of a named model, built by its name: what users may rely on whatever its parts.

Each law takes the name and a batch of images, and passes or raises. ``LAWS`` hold for every
generative model, ``VAE_LAWS`` for those with an encoder.
"""

import copy
import inspect

import networkx as nx
import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO

import graphs
import ppl_gen
from ppl_gen import metrics, zoo

SHAPE = (1, 8, 8)


def has_latents(name):
    return "latent_dim" in inspect.signature(zoo.registry[name].build).parameters


def build(name, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.registry[name].build(SHAPE, **{"hidden": 16} | small(name) | options)


def small(name):
    """Options that make a model small enough to be tried."""
    if zoo.registry[name].family == "cycle":
        return {"channels": 4}
    few = {"rounds": 2, "ratio_steps": 3} if zoo.registry[name].family == "boosting" else {}
    return ({"latent_dim": 3} if has_latents(name) else {}) | few


VAES = [name for name, entry in zoo.registry.items() if entry.family == "variational"]


def images():
    """Twenty binary images of four blocks each."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(20, 1, 2, 2, generator=generator).round()
    return torch.nn.functional.interpolate(coarse, scale_factor=4)


def labels(model, n):
    return torch.arange(n) % model.num_classes if model.num_classes else None


def data_of(model, x):
    """What the model is trained on, from some images."""
    if model.streams > 1:
        return ppl_gen.data.Unpaired(x, 1 - x)
    return (x, labels(model, len(x))) if model.num_classes else x


def drawn(model, n, seed):
    """Samples of a model; of one that translates, translations of images of the seed.

    Those of a diffusion are drawn in two of its steps.
    """
    if model.streams > 1:
        given = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))
        return model.translate(given)
    steps = {"steps": 2} if isinstance(model, ppl_gen.Diffusion) else {}
    return model.sample(n, labels(model, n), seed=seed, **steps)


class Coder(torch.nn.Module):
    def __init__(self, model, method="code"):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *batch):
        return getattr(self.model, self.method)(*batch)


def it_is_built_from_a_data_shape_alone_and_samples_images(name, x):
    model = zoo.registry[name].build(data_shape=SHAPE)
    assert isinstance(model, ppl_gen.VAE) == (zoo.registry[name].family == "variational")
    images = drawn(model, 5, seed=1)
    assert images.shape == (5, *SHAPE)
    assert images.isfinite().all()
    assert torch.equal(images, drawn(model, 5, seed=1))
    assert not torch.equal(images, drawn(model, 5, seed=2))


def its_pieces_are_distributions_over_the_right_shapes(name, x):
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


def two_instances_share_nothing_in_the_parameter_store(name, x):
    first, second = build(name), build(name)
    third = copy.deepcopy(second)
    y = labels(first, len(x))
    for model in (first, second, third):
        before = [p.detach().clone() for p in model.parameters()]
        svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-2}), model.objective)
        svi.step(x, y)
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def the_model_draws_images_under_predictive(name, x):
    model = build(name)
    drawn = Predictive(model.model, num_samples=4)(y=labels(model, 3), size=3)
    assert drawn["x"].shape == (4, 3, *SHAPE)


def its_encoder_is_exported(name, x):
    model = build(name)
    batch = (x, labels(model, len(x))) if model.num_classes else (x,)
    exported = torch.export.export(Coder(model).eval(), batch).module()
    assert torch.equal(exported(*batch), model.code(*batch))


def its_reconstruction_is_exported_for_any_number_of_images(name, x):
    model = build(name)
    batch = (x, labels(model, len(x))) if model.num_classes else (x,)
    size = torch.export.Dim("size", min=2)
    whole = Coder(model, "reconstruct").eval()
    shapes = {"batch": tuple({0: size} for _ in batch)}
    exported = torch.export.export(whole, batch, dynamic_shapes=shapes).module()
    more = tuple(torch.cat([part, part[:3]]) for part in batch)
    torch.testing.assert_close(exported(*more), model.reconstruct(*more))


def its_codes_are_mapped_over_images_one_by_one(name, x):
    model = build(name)
    batch = (x, labels(model, len(x))) if model.num_classes else (x,)
    one = torch.func.vmap(lambda *datum: model.code(*(part[None] for part in datum))[0])
    torch.testing.assert_close(one(*batch), model.code(*batch))


def training_is_reproducible_and_leaves_the_generators_alone(name, x):
    results = []
    for _ in range(2):
        model = build(name)
        data = data_of(model, x)
        state = torch.get_rng_state()
        history = ppl_gen.fit(model, data, epochs=2, batch_size=8, staged=False, progress=False)
        assert torch.equal(state, torch.get_rng_state())
        results.append((dict(history), model.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(results[0][1][k], results[1][1][k]) for k in results[0][1])


def the_elbo_is_below_the_importance_weighted_bound(name, x):
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


def it_refuses_sizes_that_are_none(name, x):
    build_it = zoo.registry[name].build
    count = "channels" if zoo.registry[name].family == "cycle" else "latent_dim"
    for options, match in [
        ({count: 1.5}, f"whole number for {count}, got 1.5"),
        ({"hidden": "a"}, "hidden"),
        ({"data_shape": 28}, r"data shape \(C, H, W\), got 28"),
    ]:
        if "latent_dim" in options and not has_latents(name):
            continue
        with pytest.raises(ValueError, match=match):
            build_it(**{"data_shape": SHAPE} | options)


def it_refuses_values_it_cannot_traverse(name, x):
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


def one_image_is_a_batch(name, x):
    model = build(name)
    one, y = x[:1], labels(model, 1)
    data = one if y is None else (one, y)
    ppl_gen.fit(model, data, epochs=1, staged=False, progress=False)
    assert model.reconstruct(one, y).shape == one.shape
    assert metrics.active_units(model, one, y) == 0


def staged_training_is_the_eager_one_bit_for_bit(name, x):
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


def stock_svi_trains_it(name, x, stock, local):
    with pyro.settings.context(module_local_params=local):
        model = build(name)
        y = labels(model, len(x))
        objective = Trace_ELBO() if stock else model.objective
        svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-2}), objective)
        torch.manual_seed(0)
        before = [p.detach().clone() for p in model.parameters()]
        losses = [svi.step(x, y) for _ in range(30)]
        assert all(
            not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
        ), "a parameter was not trained"
        assert sum(losses[-5:]) < sum(losses[:5])


def it_is_saved_and_loaded_equal(name, x, path):
    model = build(name)
    ppl_gen.fit(model, data_of(model, x), epochs=1, staged=False, progress=False)
    assert all(isinstance(v, torch.Tensor) for v in model.state_dict().values())
    ppl_gen.save(model, path)
    loaded = ppl_gen.load(path)
    for (key, a), (other, b) in zip(
        model.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert key == other
        assert torch.equal(a, b)
    assert torch.equal(drawn(model, 4, seed=0), drawn(loaded, 4, seed=0))


def its_program_is_read_as_a_graph_and_left_as_it_was(name, x):
    """Whatever has a program; labels that are latent are read with the programs' own tests."""
    model = build(name)
    if not hasattr(model, "model") or model.condition.partial:
        return
    before = {key: value.clone() for key, value in model.state_dict().items()}
    given = {"y": labels(model, 1)} if model.num_classes else {}
    graph = graphs.from_pyro(model.model, size=1, **given)
    (last,) = (node for node in graph if not graph.succ[node])
    assert nx.ancestors(graph, last) == set(graph) - {last}
    assert len(graph) > 1
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


LAWS = (
    its_program_is_read_as_a_graph_and_left_as_it_was,
    it_is_built_from_a_data_shape_alone_and_samples_images,
    training_is_reproducible_and_leaves_the_generators_alone,
    it_refuses_sizes_that_are_none,
)
VAE_LAWS = (
    its_pieces_are_distributions_over_the_right_shapes,
    two_instances_share_nothing_in_the_parameter_store,
    the_model_draws_images_under_predictive,
    its_encoder_is_exported,
    its_reconstruction_is_exported_for_any_number_of_images,
    its_codes_are_mapped_over_images_one_by_one,
    the_elbo_is_below_the_importance_weighted_bound,
    it_refuses_values_it_cannot_traverse,
    one_image_is_a_batch,
    staged_training_is_the_eager_one_bit_for_bit,
)
