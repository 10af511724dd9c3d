"""Image sets, their binarisations and splits, and images of the user's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from ppl_gen import data


def grey_set(count=64, labels=None):
    images = torch.rand(count, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    return data.ImageSet(images, labels)


def test_static_binarisation_is_one_draw():
    grey = grey_set(2000)
    static = grey.binarize("static", seed=3)
    assert static.binarization == "static"
    assert set(static.images.unique().tolist()) == {0, 1}
    assert torch.equal(static.images, grey.binarize("static", seed=3).images)
    assert not torch.equal(static.images, grey.binarize("static", seed=4).images)
    assert torch.equal(static.batch([4, 2]), static.images[[4, 2]])
    error = (static.images - grey.images).mean()
    assert abs(error) < 4 * (grey.images * (1 - grey.images)).mean().sqrt() / 40_000**0.5


def test_dynamic_binarisation_draws_every_batch():
    grey = grey_set(10)
    dynamic = grey.binarize("dynamic")
    assert dynamic.binarization == "dynamic"
    assert torch.equal(dynamic.images, grey.binarize("static").images)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([dynamic.batch(torch.arange(10), generator) for _ in range(2000)])
    again = dynamic.batch(torch.arange(10), torch.Generator().manual_seed(0))
    assert torch.equal(draws[0], again)
    assert set(draws.unique().tolist()) == {0, 1}
    standard_error = (grey.images * (1 - grey.images) / 2000).sqrt()
    z = (draws.mean(0) - grey.images) / standard_error
    assert z.abs().max() < 4.5
    part = dynamic.subset([3, 1])
    assert part.binarization == "dynamic"
    assert torch.equal(part.intensities, grey.images[[3, 1]])


def test_threshold_and_no_binarisation():
    grey = grey_set()
    threshold = grey.binarize("threshold")
    assert threshold.binarization == "threshold"
    assert torch.equal(threshold.images == 1, grey.images >= 0.5)
    assert grey.binarize(None) is grey
    assert grey.binarize("none") is grey
    with pytest.raises(ValueError, match=r"expected grey images .*'threshold'"):
        threshold.binarize("static")


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=60),
    st.floats(0.1, 0.9),
    st.integers(0, 5),
    st.booleans(),
)
def test_splits_are_stratified_partitions(labels, fraction, seed, labelled):
    count = len(labels)
    identity = torch.arange(count) / count
    whole = data.ImageSet(
        identity[:, None, None, None].clone(), torch.tensor(labels) if labelled else None
    )
    if not 0 < round(fraction * count) < count:
        return
    split = whole.split(fraction, seed)
    assert len(split.test) == round(fraction * count)
    together = torch.cat([part.images.flatten() for part in split])
    assert together.sort().values.tolist() == identity.tolist()
    if labelled:
        for part in split:
            found = (part.images.flatten() * count).round().long()
            assert part.labels.tolist() == [labels[index] for index in found]
        for label in set(labels):
            share = (split.test.labels == label).sum() - labels.count(label) * len(
                split.test
            ) / count
            assert abs(share) < 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": torch.zeros(2, 3, 3)}, r"shape \(N, C, H, W\)"),
        ({"images": torch.zeros(0, 1, 3, 3)}, "no empty dimension"),
        ({"images": torch.zeros(2, 1, 3, 3).double()}, "float32 .*float64"),
        ({"images": torch.full((2, 1, 3, 3), float("nan"))}, "finite pixels, got 18"),
        ({"images": torch.full((2, 1, 3, 3), 1.5)}, r"\[0, 1\], got values from 1.5"),
        ({"labels": torch.zeros(3).long()}, "one int64 label for each of 2"),
        ({"labels": torch.zeros(2)}, "one int64 label"),
        ({"binarization": "some"}, "binarisation among .*'some'"),
        ({"binarization": "dynamic"}, "expected intensities with dynamic"),
        ({"intensities": torch.zeros(2, 1, 3, 3)}, "expected intensities with dynamic"),
        (
            {"binarization": "dynamic", "intensities": torch.zeros(1, 1, 3, 3)},
            "intensities of shape",
        ),
    ],
)
def test_bad_image_sets_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        data.ImageSet(**{"images": torch.zeros(2, 1, 3, 3), **fields})


def test_image_sets_are_torch_data_sets():
    labels = torch.arange(64)
    pairs = list(DataLoader(grey_set(labels=labels), batch_size=16))
    assert torch.equal(torch.cat([x for x, _ in pairs]), grey_set().images)
    assert torch.equal(torch.cat([y for _, y in pairs]), labels)
    assert torch.equal(next(iter(DataLoader(grey_set(), batch_size=64))), grey_set().images)
    assert torch.equal(grey_set().batch(slice(2, 5)), grey_set().images[2:5])


@pytest.mark.parametrize("wrap", [np.asarray, torch.as_tensor])
def test_arrays_become_images(wrap):
    bytes_ = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5) * 6
    own = data.images(wrap(bytes_), labels=[1, 0])
    assert own.images.shape == (2, 1, 4, 5)
    np.testing.assert_allclose(own.images[:, 0], bytes_ / 255, rtol=1e-6)
    assert own.labels.tolist() == [1, 0]
    colours = np.linspace(-1, 1, 2 * 3 * 16).reshape(2, 3, 4, 4)
    own = data.images(wrap(colours), value_range=(-1, 1), name="colours")
    np.testing.assert_allclose(own.images, (colours + 1) / 2, atol=1e-7)
    assert "colours" in repr(own)
    assert data.images(wrap(bytes_ > 100)).images.unique().tolist() == [0, 1]
    assert data.images(wrap(bytes_), binarize="threshold").binarization == "threshold"


def test_arrays_in_another_layout_of_memory_are_read_right():
    whole = np.random.default_rng(0).random((6, 4, 4))
    for array in (whole[::-2], np.asfortranarray(whole), whole.astype(">f8")):
        np.testing.assert_allclose(data.images(array).images[:, 0], array, rtol=1e-6)
    frozen = whole.copy()
    frozen.setflags(write=False)
    assert data.images(frozen).images.dtype == torch.float32


def test_resampling_keeps_what_is_constant_and_the_mean():
    pixels = np.random.default_rng(0).random((3, 2, 32, 32))
    pixels[:, 1] = 0.25
    small = data.images(pixels, (16, 8)).images
    assert small.shape == (3, 2, 16, 8)
    torch.testing.assert_close(small[:, 1], torch.full((3, 16, 8), 0.25))
    np.testing.assert_allclose(small[:, 0].mean((1, 2)), pixels[:, 0].mean((1, 2)), atol=0.01)
    assert data.images(pixels, 32).images.shape == (3, 2, 32, 32)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.full((2, 3, 3), np.nan), {}, "expected finite pixels"),
        (np.full((2, 3, 3), np.inf), {}, "expected finite pixels"),
        (np.full((2, 3, 3), 1.01), {}, r"\[0, 1\], got values from 1.01"),
        (np.full((2, 3, 3), -0.01), {}, r"got values from -0.01"),
        (np.full((2, 3, 3), 2), {}, "expected value_range with pixels of torch.int64"),
        (np.full((2, 3, 3), 9), {"value_range": (0, 8)}, r"expected pixels in \[0, 8\]"),
        (np.zeros((2, 3, 3)), {"value_range": (1, 1)}, "low < high"),
        (np.zeros((3, 3)), {}, r"got \(3, 3\)"),
        (np.zeros((0, 3, 3)), {}, "no empty dimension"),
        (np.zeros((2, 8, 8, 3)), {}, "channels before rows"),
        (np.zeros((2, 3, 3), complex), {}, "real numbers"),
        (torch.zeros((2, 3, 3), dtype=torch.complex64), {}, "real numbers"),
        (np.array([["a"]]), {}, "real numbers"),
        ([[0.0]], {}, "an array, a tensor or a folder, got list"),
        (np.zeros((2, 3, 3)), {"labels": [0]}, "one int64 label for each of 2"),
        (np.zeros((2, 3, 3)), {"labels": [0.0, 1.0]}, "expected integer labels"),
        (np.zeros((2, 3, 3)), {"labels": [0, -1]}, "labels of at least 0, got -1"),
        (np.zeros((2, 3, 3)), {"size": 0}, "positive size"),
        (np.zeros((2, 3, 3)), {"size": (4, 4, 4)}, "positive size"),
        (np.zeros((2, 3, 3)), {"size": 2.5}, "positive size"),
        (np.zeros((2, 3, 3)), {"size": True}, "positive size"),
        (np.zeros((2, 3, 3)), {"binarize": "static", "seed": None}, "whole seed, got None"),
        (np.zeros((2, 3, 3)), {"channels": 1}, "channels only with folders"),
    ],
)
def test_bad_arrays_are_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        data.images(source, **options)


def save_image(path, array):
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 6, 5), dtype=np.uint8)


def test_a_folder_of_files_becomes_images(tmp_path, pictures):
    for number, picture in enumerate(pictures):
        save_image(tmp_path / f"{number}.png", picture)
    (tmp_path / "notes.txt").write_text("not an image")
    own = data.images(tmp_path)
    np.testing.assert_allclose(own.images[:, 0], pictures / 255, rtol=1e-6)
    assert own.labels is None
    assert data.images(tmp_path, channels=3).images.shape == (3, 3, 6, 5)
    assert data.images(str(tmp_path), 4).images.shape == (3, 1, 4, 4)


def test_subfolders_become_classes(tmp_path, pictures):
    save_image(tmp_path / "dogs" / "0.png", pictures[0])
    save_image(tmp_path / "cats" / "0.png", np.stack([pictures[1]] * 3, axis=2))
    save_image(tmp_path / "cats" / "1.jpg", pictures[2])
    own = data.images(tmp_path)
    assert own.classes == ("cats", "dogs")
    assert own.labels.tolist() == [0, 0, 1]
    assert own.images.shape == (3, 3, 6, 5)
    np.testing.assert_allclose(own.images[0, 0], pictures[1] / 255, rtol=1e-6)
    np.testing.assert_allclose(own.images[2, 2], pictures[0] / 255, rtol=1e-6)


def test_bad_folders_of_images_are_refused(tmp_path, pictures):
    with pytest.raises(ValueError, match="which is not one"):
        data.images(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"expected files .png.*got none"):
        data.images(tmp_path)
    save_image(tmp_path / "a.png", pictures[0])
    with pytest.raises(ValueError, match="labels only with arrays"):
        data.images(tmp_path, labels=[0])
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        data.images(tmp_path, channels=2)
    save_image(tmp_path / "b.png", pictures[1, :4])
    with pytest.raises(ValueError, match=r"one size, \(6, 5\) as a.png, got \(4, 5\).*pass size="):
        data.images(tmp_path)
    assert len(data.images(tmp_path, 5)) == 2
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"readable image, got .*b\.png"):
        data.images(tmp_path)
    save_image(tmp_path / "b.png", pictures[0].astype(np.uint16))
    with pytest.raises(ValueError, match="expected 8 bits a channel"):
        data.images(tmp_path)
    (tmp_path / "b.png").unlink()
    save_image(tmp_path / "class" / "c.png", pictures[2])
    with pytest.raises(ValueError, match=r"got both, such as a\.png"):
        data.images(tmp_path)
