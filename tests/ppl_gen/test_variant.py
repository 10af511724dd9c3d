"""A new variant needs one short file of parts, and keeps the laws of the named models."""

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pyro
import pytest
import scipy.stats
import torch
from torch.nn.functional import softplus

import ppl_gen
from ppl_gen import metrics, zoo

TESTS = Path(__file__).resolve().parents[1]
FILE = TESTS / "support" / "robust_vae.py"
NAME = "robust_vae"
SHAPE = (1, 8, 8)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


laws = load(TESTS / "laws" / "test_models.py")


@pytest.fixture(autouse=True)
def registered():
    """The variant among the named models, for as long as a test runs."""
    load(FILE)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()
    del zoo.registry[NAME]


@pytest.fixture
def x():
    coarse = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(0)).round()
    return torch.nn.functional.interpolate(coarse, scale_factor=4)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.registry[NAME].build(SHAPE, latent_dim=3, hidden=16)


def test_its_file_is_short():
    assert len(FILE.read_text().splitlines()) < 60


@pytest.mark.parametrize(
    "law",
    [
        "test_it_is_built_from_a_data_shape_alone_and_samples_images",
        "test_its_pieces_are_distributions_over_the_right_shapes",
        "test_two_instances_share_nothing_in_the_parameter_store",
        "test_the_model_draws_images_under_predictive",
        "test_it_is_saved_and_loaded_equal",
        "test_training_is_reproducible_and_leaves_the_generators_alone",
        "test_the_elbo_is_below_the_importance_weighted_bound",
        "test_it_refuses_sizes_that_are_none",
        "test_it_refuses_values_it_cannot_traverse",
        "test_one_image_is_a_batch",
        "test_staged_training_is_the_eager_one_bit_for_bit",
    ],
)
def test_it_keeps_the_laws_of_named_models(law, x, tmp_path):
    check = getattr(laws, law)
    given = {"name": NAME, "x": x, "tmp_path": tmp_path}
    check(**{name: given[name] for name in inspect.signature(check).parameters})


@pytest.mark.parametrize("stock", [False, True])
def test_stock_svi_trains_it(stock, x):
    laws.test_stock_svi_trains_it(NAME, stock, False, x)


def test_its_densities_are_those_of_scipy(model, x):
    prior, likelihood = model.latents[0].prior, model.likelihood
    z = torch.randn(4, 3)
    with torch.no_grad():
        weights = prior.logits.softmax(0).numpy()
        normals = scipy.stats.norm(prior.loc.numpy(), softplus(prior.raw_scale).numpy())
        expected = np.log((weights * normals.pdf(z.numpy()[:, None]).prod(-1)).sum(-1))
        np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-4)
        student = scipy.stats.t(4, model.decoder(z).numpy(), softplus(likelihood.raw_scale).item())
        expected = student.logpdf(x[:4].numpy()).sum((1, 2, 3))
        np.testing.assert_allclose(model.decode(z).log_prob(x[:4]), expected, rtol=1e-4)


def test_one_odd_pixel_pulls_a_student_t_less_than_a_normal(x):
    pulls = []
    for likelihood in (load(FILE).StudentT(4.0), ppl_gen.likelihoods.Gaussian(0.1)):
        mean = torch.zeros(1, *SHAPE, requires_grad=True)
        odd = torch.zeros(1, *SHAPE)
        odd[..., 0, 0] = 5.0
        (-likelihood(mean).log_prob(odd).sum()).backward()
        pulls.append(mean.grad.abs().max().item())
    assert pulls[0] < 0.05 * pulls[1]


def test_it_learns_clusters_by_fit(model, x):
    before = metrics.log_likelihood(model, x, 50).mean()
    history = ppl_gen.fit(model, x, epochs=60, batch_size=20, lr=1e-2, staged=False, progress=False)
    assert history["elbo"][-1] > history["elbo"][0] + 50
    assert metrics.log_likelihood(model, x, 50).mean() > before + 50
