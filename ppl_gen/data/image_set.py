"""A set of images in memory, with the name of its binarisation.

With grey levels p in [0, 1], binarisation replaces every pixel by x in {0, 1}:

- ``threshold``: x = 1[p >= 1/2];
- ``static``: one draw x ~ Bernoulli(p), made once (Larochelle and Murray, 2011);
- ``dynamic``: a fresh draw x ~ Bernoulli(p) for every batch (Salakhutdinov and Murray, 2008;
  Burda, Grosse and Salakhutdinov, 2016).

Fixed draws are easier to overfit and harder to score: log-likelihoods differ by about 2 nats on
MNIST, so a figure is only comparable together with ``binarization``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Binarization = Literal["none", "static", "dynamic", "threshold"]
BINARIZATIONS: tuple[str, ...] = get_args(Binarization)
Indices = Tensor | np.ndarray | Sequence[int] | slice


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(Dataset):
    """Images, their labels where there are any, and the name of their binarisation.

    Args:
        images: ``(N, C, H, W)``, float32 in [0, 1]. Under dynamic binarisation one fixed draw, so
            that scores of the whole set are reproducible.
        labels: ``(N,)``, int64, or ``None``.
        name: of the set.
        binarization: how pixels became 0 or 1.
        classes: the name of label k is ``classes[k]``.
        intensities: under dynamic binarisation the grey levels that :meth:`batch` draws from, else
            ``None``.

    Raises:
        ValueError: another shape or dtype, values that are not finite or not in [0, 1], or labels
            that do not match the images.

    >>> grey = ppl_gen.data.ImageSet(torch.full((5, 1, 2, 2), 0.5), torch.arange(5))
    >>> drawn = grey.binarize("dynamic", seed=0)
    >>> drawn.batch([0, 3]).shape, drawn.binarization
    (torch.Size([2, 1, 2, 2]), 'dynamic')
    """

    images: Tensor
    labels: Tensor | None = None
    name: str = "images"
    binarization: Binarization = "none"
    classes: tuple[str, ...] | None = None
    intensities: Tensor | None = None

    def __post_init__(self) -> None:
        _check_images(self.images)
        if self.binarization not in BINARIZATIONS:
            raise ValueError(
                f"expected a binarisation among {BINARIZATIONS}, got {self.binarization!r}"
            )
        if (self.binarization == "dynamic") != (self.intensities is not None):
            raise ValueError(
                "expected intensities with dynamic binarisation and no other, got "
                f"binarization={self.binarization!r} and intensities={type(self.intensities)}"
            )
        if self.intensities is not None:
            _check_images(self.intensities)
            if self.intensities.shape != self.images.shape:
                raise ValueError(
                    f"expected intensities of shape {tuple(self.images.shape)}, "
                    f"got {tuple(self.intensities.shape)}"
                )
        if self.labels is not None and (
            self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]
        ):
            raise ValueError(
                f"expected one int64 label for each of {len(self.images)} images, "
                f"got {self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, Tensor]:
        """One image, with its label where there is one: the items of a torch data set."""
        image = self.batch([index])[0]
        return image if self.labels is None else (image, self.labels[index])

    def __repr__(self) -> str:
        count, *shape = self.images.shape
        labels = "no labels" if self.labels is None else f"{len(self.labels.unique())} classes"
        return (
            f"ImageSet({self.name!r}: {count} images {'×'.join(map(str, shape))}, {labels}, "
            f"binarization={self.binarization!r})"
        )

    def batch(self, indices: Indices, generator: torch.Generator | None = None) -> Tensor:
        """The images at ``indices``, ``(B, C, H, W)``.

        Under dynamic binarisation every call draws them again from ``generator``, torch's default
        generator when ``None``.
        """
        if self.intensities is None:
            return self.images[indices]
        return torch.bernoulli(self.intensities[indices], generator=generator)

    def subset(self, indices: Indices) -> ImageSet:
        """The images at ``indices``, in that order, as a set of their own."""
        return replace(
            self,
            images=self.images[indices],
            labels=None if self.labels is None else self.labels[indices],
            intensities=None if self.intensities is None else self.intensities[indices],
        )

    def binarize(self, how: Binarization | None, seed: int = 0) -> ImageSet:
        """The set under a binarisation.

        Args:
            how: ``"static"``, ``"dynamic"`` or ``"threshold"``; ``None`` and ``"none"`` leave grey
                levels as they are.
            seed: of the static draw, and of the draw shown as ``images`` of a dynamic set.

        Raises:
            ValueError: an unknown name, or a set that is binarised already.
        """
        if how is None or how == "none":
            return self
        if how not in BINARIZATIONS:
            raise ValueError(f"expected binarize among {(None, *BINARIZATIONS)}, got {how!r}")
        if self.binarization != "none":
            raise ValueError(
                f"expected grey images to binarise, got a set under {self.binarization!r}"
            )
        if not isinstance(seed, int):
            raise ValueError(f"expected a whole seed, got {seed!r}")
        if how == "threshold":
            return replace(self, images=(self.images >= 0.5).float(), binarization=how)
        generator = torch.Generator(self.images.device).manual_seed(seed)
        return replace(
            self,
            images=torch.bernoulli(self.images, generator=generator),
            binarization=how,
            intensities=self.images if how == "dynamic" else None,
        )

    def split(self, test_fraction: float = 0.2, seed: int = 0) -> Split:
        """Disjoint, shuffled training and test sets that cover this one.

        With labels, the share of a class in the test set differs from that in the whole set by less
        than one image (systematic sampling along the shuffled images sorted by label).

        Args:
            test_fraction: the test set has this times N images, rounded.
            seed: of the order.

        Raises:
            ValueError: either set would be empty.
        """
        total = len(self)
        if not 0 < test_fraction < 1 or not 0 < (held_out := round(test_fraction * total)) < total:
            raise ValueError(
                "expected a test fraction that leaves images in both sets, "
                f"got {test_fraction} of {total}"
            )
        random = np.random.default_rng(seed)
        order = random.permutation(total)
        if self.labels is not None:
            order = order[np.argsort(self.labels.cpu().numpy()[order], kind="stable")]
        chosen = np.diff(np.arange(total + 1) * held_out // total) == 1
        train, test = (random.permutation(order[part]) for part in (~chosen, chosen))
        return Split(self.subset(train), self.subset(test))


class Split(NamedTuple):
    """A training and a test set.

    >>> split = ppl_gen.data.ImageSet(torch.zeros(10, 1, 2, 2)).split(test_fraction=0.2, seed=0)
    >>> len(split.train), len(split.test)
    (8, 2)
    """

    train: ImageSet
    test: ImageSet


def _check_images(images: Tensor) -> None:
    if images.dim() != 4 or images.numel() == 0 or images.dtype != torch.float32:
        raise ValueError(
            "expected float32 images of shape (N, C, H, W) with no empty dimension, "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )
    bad = int((~torch.isfinite(images)).sum())
    if bad:
        raise ValueError(f"expected finite pixels, got {bad} that are NaN or infinite")
    low, high = (value.item() for value in images.aminmax())
    if low < 0 or high > 1:
        raise ValueError(f"expected pixels in [0, 1], got values from {low:g} to {high:g}")
