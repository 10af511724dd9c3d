"""A new variant needs one short file of parts, and keeps the laws of the named models."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pyro
import pytest
import scipy.stats
import torch
from model_laws import (
    LAWS,
    SHAPE,
    VAE_LAWS,
    build,
    images,
    it_is_saved_and_loaded_equal,
    stock_svi_trains_it,
)
from torch.nn.functional import softplus

import ppl_gen
from ppl_gen import metrics, zoo

FILE = Path(__file__).resolve().parents[1] / "support" / "robust_vae.py"
NAME = "robust_vae"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    return images()


@pytest.fixture
def model():
    return build(NAME)


def test_its_file_is_short():
    assert len(FILE.read_text().splitlines()) < 60


@pytest.mark.parametrize("law", LAWS + VAE_LAWS, ids=lambda law: law.__name__)
def test_it_keeps_the_laws_of_named_models(law, x):
    law(NAME, x)


def test_it_is_saved_and_loaded_equal(x, tmp_path):
    it_is_saved_and_loaded_equal(NAME, x, tmp_path / "model.pt")


@pytest.mark.parametrize("stock", [False, True])
def test_stock_svi_trains_it(stock, x):
    stock_svi_trains_it(NAME, x, stock, local=False)


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
