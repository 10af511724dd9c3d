"""The transformer obeys scikit-learn, and says what the model says."""

import functools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ppl_gen
from ppl_gen.sklearn import Coder

SMALL = {"epochs": 1, "hidden": 4, "particles": 2, "staged": False, "random_state": 0}


@parametrize_with_checks([Coder(**SMALL)])
@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
def test_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 1)) @ rng.normal(size=(1, 4)) + 0.1 * rng.normal(size=(120, 4))


def test_codes_means_and_scores_are_those_of_the_model(rows):
    coder = Coder(**SMALL).fit(rows)
    x = torch.from_numpy(rows)
    code = coder.vae_.code(x)
    assert np.array_equal(coder.transform(rows), code.numpy())
    assert np.allclose(coder.inverse_transform(code), coder.vae_.reconstruct(x).numpy(), rtol=1e-12)
    one = ppl_gen.metrics.log_likelihood(coder.vae_, x[7:8], 2)
    assert coder.score_samples(rows)[7] == pytest.approx(one.item(), rel=1e-12)
    assert coder.score(rows) == pytest.approx(coder.score_samples(rows).mean())


def test_it_learns_a_line_better_than_noise(rows):
    settings = {"epochs": 200, "batch_size": 30, "lr": 1e-2}
    coder = Coder(**settings, hidden=16, staged=False, random_state=0)
    scores = cross_val_score(make_pipeline(StandardScaler(), coder), rows, cv=2)
    independent = -0.5 * 4 * (np.log(2 * np.pi) + 1)  # of standard normals at their own scale
    assert scores.min() > independent + 1


def test_a_builder_and_images_in_rows():
    build = functools.partial(ppl_gen.zoo.beta_vae, beta=2.0)
    pixels = np.random.default_rng(0).uniform(size=(12, 16))
    coder = Coder(build, data_shape=(1, 4, 4), likelihood="bernoulli", **SMALL)
    assert clone(coder).fit(pixels).vae_.objective.weight.value == 2.0
    assert coder.fit_transform(pixels).shape == (12, 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": "nosuch"}, "expected a model among vae, .*, got 'nosuch'"),
        ({"model": "betavae"}, r"got 'betavae' \(did you mean 'beta_vae'\?\)"),
        ({"model": "gan"}, "expected a model among vae, .*, got 'gan'"),
        ({"model": "ddpm"}, "expected a model among vae, .*, got 'ddpm'"),
        ({"data_shape": (1, 2, 3)}, r"columns for data of shape \(1, 2, 3\), got 4"),
    ],
)
def test_what_does_not_fit_is_refused(change, match, rows):
    with pytest.raises(ValueError, match=match):
        Coder(**(SMALL | change)).fit(rows)
