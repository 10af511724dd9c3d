"""Distances between sets of images, against closed forms."""

import math
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from ppl_gen import data, metrics
from ppl_gen.data.cache import cache_folder
from ppl_gen.metrics import features


def draws(mean, deviation, n=4000, seed=0):
    """Images ``(n, 1, 1, 2)`` of independent normal pixels, with exactly these two moments."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    raw = raw - raw.mean(0)
    white = raw @ torch.linalg.inv(torch.linalg.cholesky(raw.T.cov())).T
    return (white * torch.tensor(deviation) + torch.tensor(mean)).reshape(n, 1, 1, 2)


@pytest.fixture(scope="module")
def digits():
    return data.mnist().test.images


@pytest.fixture
def own_cache(digits, tmp_path, monkeypatch):
    """A cache of the embedded digits alone, which take seconds to parse."""
    shutil.copy(cache_folder() / "mnist-embedded.npz", tmp_path)
    monkeypatch.setenv("PPL_GEN_CACHE", str(tmp_path))
    return tmp_path


def test_fid_is_the_squared_wasserstein_distance_of_gaussians():
    found = metrics.fid(
        draws([0.0, 1.0], [1.0, 2.0]), draws([3.0, 1.5], [0.5, 3.0], seed=1), "pixels"
    )
    assert found.value == pytest.approx(3.0**2 + 0.5**2 + 0.5**2 + 1.0**2, rel=1e-9)
    assert float(found) == found.value
    assert repr(found) == ("FID(10.5, extractor='pixels', 4,000 real and 4,000 generated images)")


def test_fid_knows_correlations():
    x, y = draws([0.0, 0.0], [1.0, 1.0]), draws([0.0, 0.0], [1.0, 1.0], seed=1)
    rho = 0.8
    factor = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64))
    found = metrics.fid(x, (y.reshape(-1, 2) @ factor.T).reshape(y.shape), "pixels").value
    expected = 4 - 2 * (math.sqrt(1 + rho) + math.sqrt(1 - rho))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("extractor", ["pixels", "digits"])
def test_fid_of_a_set_and_itself_is_zero(extractor, digits):
    images = digits if extractor == "digits" else digits[:, :, ::4, ::4]
    assert metrics.fid(images, images, extractor).value == pytest.approx(0, abs=1e-4)
    assert metrics.fid(images, images.flip(0), extractor).value == pytest.approx(0, abs=1e-4)


def test_distances_grow_with_noise(digits):
    real, fake = digits[:500], digits[500:]
    noisy = [(fake + noise * torch.rand_like(fake)).clamp(0, 1) for noise in (0.0, 0.3, 1.0)]
    for distance in (metrics.fid, metrics.kid):
        found = [distance(real, images).value for images in noisy]
        assert found == sorted(found)
        assert found[-1] > 10 * abs(found[0])


def test_kid_is_the_unbiased_estimate_over_the_whole_set():
    x, y = draws([0.0, 1.0], [1.0, 2.0], 30), draws([3.0, 1.5], [0.5, 3.0], 30, seed=1)
    found = metrics.kid(x, y, "pixels", subsets=1, subset_size=30)
    a, b = x.reshape(30, 2), y.reshape(30, 2)

    def kernel(u, v):
        return (u @ v.T / 2 + 1) ** 3

    off = ~torch.eye(30, dtype=torch.bool)
    expected = kernel(a, a)[off].mean() + kernel(b, b)[off].mean() - 2 * kernel(a, b).mean()
    assert found.value == pytest.approx(expected.item())


def test_kid_is_reproducible_and_leaves_the_generator_alone(digits):
    state = torch.get_rng_state()
    one, other = (metrics.kid(digits[:400], digits[400:], subsets=5) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert one == other
    assert abs(one.value) < 0.02
    assert "KID(" in repr(one)
    assert "±" in repr(one)


def test_the_digit_classifier_is_good_named_and_cached(digits):
    found = metrics.fid(digits[:500], digits[500:])
    classifier = features.digit_classifier()
    assert classifier.accuracy > 0.95
    labels = data.mnist().test.labels
    right = (classifier.logits(digits).argmax(1) == labels).double().mean().item()
    assert right == pytest.approx(classifier.accuracy.item())
    assert found.extractor == classifier.name
    assert found.extractor.startswith(f"digits-{features.fingerprint(classifier)} (accuracy 9")
    assert (found.num_real, found.num_fake) == (500, 500)
    assert features.digit_classifier().name == classifier.name
    spread = classifier(data.mnist().train.images).std(0)
    assert ((spread - 1).abs() < 0.2).float().mean() > 0.8


@pytest.mark.parametrize("other", [lambda x: 2 * x - 1, lambda x: 255 * x], ids=["-1", "255"])
@pytest.mark.parametrize("distance", [metrics.fid, metrics.kid, metrics.digit_classes])
def test_digits_of_another_range_are_refused(distance, other, digits):
    x = digits[:60]
    with pytest.raises(ValueError, match=r"real images of digits with pixels in \[0, 1\], got"):
        distance(other(x), x)
    with pytest.raises(ValueError, match=r"generated images of digits with pixels in \[0, 1\]"):
        distance(x, other(x))
    distance(x, 1.2 * x - 0.1)  # means of a normal likelihood may lie a little outside


def test_a_damaged_cache_is_trained_again(own_cache, monkeypatch):
    monkeypatch.setattr(features, "_EPOCHS", 0)
    first = features.digit_classifier()
    file = own_cache / "digit-classifier.npz"
    assert file.is_file()
    assert features.digit_classifier().name == first.name
    with np.load(file) as stored:
        arrays = dict(stored)
    arrays["head.bias"] = arrays["head.bias"][:5]
    np.savez(file, **arrays)
    assert features.digit_classifier().name == first.name
    file.write_bytes(b"no archive")
    assert features.digit_classifier().name == first.name


def test_the_classifier_does_not_depend_on_the_number_of_threads(own_cache, monkeypatch):
    monkeypatch.setattr(features, "_EPOCHS", 1)
    before, names = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            names.append(features.digit_classifier().name)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        (own_cache / "digit-classifier.npz").unlink()
    assert names[0] == names[1]


def test_training_the_classifier_disturbs_nothing(own_cache, monkeypatch):
    import pyro

    monkeypatch.setattr(features, "_EPOCHS", 0)
    state, names = torch.get_rng_state(), set(pyro.get_param_store())
    features.digit_classifier()
    assert torch.equal(state, torch.get_rng_state())
    assert set(pyro.get_param_store()) == names


def test_a_module_of_ones_own_is_named_by_its_weights():
    class Mean(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(factor))

        def forward(self, images):
            return images.mean((2, 3)) * self.factor

    x, y = torch.rand(20, 3, 4, 4), torch.rand(20, 3, 4, 4)
    one, other = (metrics.fid(x, y, Mean(f)) for f in (1.0, 2.0))
    assert one.extractor.startswith("Mean-")
    assert one.extractor != other.extractor
    assert other.value == pytest.approx(4 * one.value, rel=1e-4)


def test_bad_input(digits):
    few = digits[:5]
    for arguments, match in [
        ((few, few[:1]), "at least two generated images, got 1"),
        ((few * float("nan"), few), "finite real images"),
        ((few, few[:, :, :14]), r"one shape, got \(5, 1, 28, 28\) and \(5, 1, 14, 28\)"),
        ((few[:, 0], few), r"real images \(N, C, H, W\) of floats, got \(5, 28, 28\)"),
        ((few, few.numpy()), "generated images.*got ndarray"),
        ((few, few, "inception"), "extractor among digits, pixels or a module, got 'inception'"),
        ((few[:, :, :14], few[:, :, :14]), r"\(1, 28, 28\) for the extractor 'digits', got"),
        ((few, few, nn.Identity()), r"features \(B, F\), got \(5, 1, 28, 28\)"),
    ]:
        for distance in (metrics.fid, metrics.kid):
            with pytest.raises(ValueError, match=match):
                distance(*arguments)
    for options in ({"subset_size": 6}, {"subset_size": 1}, {"subsets": 0}):
        with pytest.raises(ValueError, match="subsets of 2 to 5 images"):
            metrics.kid(few, few, "pixels", **options)


def test_a_function_can_be_the_extractor():
    def flat(images):
        return images.flatten(1)

    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(40, 1, 2, 2, generator=generator) for _ in range(2))
    found, expected = metrics.fid(x, y, extractor=flat), metrics.fid(x, y, extractor="pixels")
    assert float(found) == float(expected)
    assert found.extractor == "flat"
