"""Three digits as the channels of one image: a thousand modes that can be counted."""

from __future__ import annotations

import os

import torch

from ppl_gen._checks import is_whole
from ppl_gen.data.digits import mnist
from ppl_gen.data.image_set import ImageSet, Split


def stacked_mnist(
    source: str | os.PathLike[str] = "embedded", *, size: int | None = None, seed: int = 0
) -> Split:
    """Stacked MNIST (Metz et al. 2017): three random digits as red, green and blue.

    Images are ``(N, 3, 28, 28)`` in [0, 1], labels 0 to 999, whose figures are the three digits.
    Digits of the training images are training digits, those of the test images test digits.

    Args:
        source: as for :func:`ppl_gen.data.mnist`.
        size: the number of training images; by default that of digits. There are as many test
            images as test digits.
        seed: of the split and of the digits that are drawn.

    Raises:
        ValueError: as :func:`ppl_gen.data.mnist`, and fewer images than one.

    >>> train, test = ppl_gen.data.stacked_mnist(size=500)
    >>> train.images.shape, int(train.labels.max()) < 1000
    (torch.Size([500, 3, 28, 28]), True)
    """
    if size is not None and not is_whole(size, 1):
        raise ValueError(f"expected one image or more, got {size!r}")
    train, test = mnist(source, seed=seed)
    return Split(
        _stacked(train, len(train) if size is None else size, 2 * seed),
        _stacked(test, len(test), 2 * seed + 1),
    )


def _stacked(digits: ImageSet, size: int, seed: int) -> ImageSet:
    assert digits.labels is not None
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(digits), (size, 3), generator=generator)
    labels = digits.labels[rows] @ torch.tensor([100, 10, 1])
    return ImageSet(digits.images[rows, 0], labels, f"stacked {digits.name}")
