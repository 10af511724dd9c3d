r"""Named feature extractors for the distances between sets of images.

A distance of features means nothing without the name of what extracted them. The default for MNIST
is a small classifier of digits, trained on the 4,000 embedded training images when it is first
needed and kept in the cache folder; its name carries a fingerprint of its weights, because
distances under two trainings do not compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from ppl_gen._modes import seeded
from ppl_gen.data import ImageSet, mnist
from ppl_gen.data.batches import as_batches
from ppl_gen.data.cache import Arrays, cached_arrays
from ppl_gen.staging.lean_optimizers import Adam

_EPOCHS = 4
_SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))


class DigitClassifier(nn.Module):
    """A convolutional classifier of 28 × 28 digits; its features are the last hidden layer,
    standardised, so that distances have a scale: the training images have unit variance in each.

    Attributes:
        num_features: the width of that layer.
        accuracy: the share of the held-out digits it classifies correctly.

    Shapes: ``forward`` maps images ``(B, 1, 28, 28)`` to features ``(B, num_features)``, and
    ``logits`` to ``(B, 10)``.
    """

    data_shape = (1, 28, 28)
    num_features = 64
    accuracy: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, self.num_features),
            nn.ReLU(),
            nn.BatchNorm1d(self.num_features, affine=False),
        )
        self.head = nn.Linear(self.num_features, 10)
        self.register_buffer("accuracy", torch.tensor(0.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)

    def logits(self, images: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the digits."""
        return self.head(self.body(images))

    @property
    def name(self) -> str:
        """What a result calls this extractor: with the fingerprint of its weights and accuracy."""
        return f"digits-{fingerprint(self)} (accuracy {100 * self.accuracy.item():.1f} %)"


def digit_classifier() -> DigitClassifier:
    """The classifier from the cache folder, or trained now, in seconds, and put there.

    Training and test images are the 4,000 and 1,000 of ``ppl_gen.data.mnist()``, the former also
    moved by a pixel in each direction.
    """
    arrays = cached_arrays("digit-classifier", _train, _is_classifier)
    classifier = _untrained()
    classifier.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    return classifier.eval().requires_grad_(False)


def require_digits(images: Tensor, role: str) -> None:
    """Raise ``ValueError`` unless images are 28 × 28 and their pixels those of [0, 1].

    Pixels a little outside are left to pass, since means of a normal likelihood may lie there;
    images in [-1, 1] or of whole numbers to 255 have more than a tenth elsewhere.
    """
    if tuple(images.shape[1:]) != DigitClassifier.data_shape:
        raise ValueError(
            f"expected {role} images (1, 28, 28) of digits, got {tuple(images.shape[1:])}"
        )
    outside = (images < -0.1) | (images > 1.1)
    if outside.double().mean() > 0.1:
        raise ValueError(
            f"expected {role} images of digits with pixels in [0, 1], got {images.min():.3g} to "
            f"{images.max():.3g}"
        )


def _untrained() -> DigitClassifier:
    with seeded(0):
        return DigitClassifier()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that weights do not depend on how many threads there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train() -> Arrays:
    digits = mnist()
    classifier = _untrained()
    optimizer = Adam(classifier.parameters(), fused=True)
    batches = as_batches(_shifted(digits.train), 100, seed=0)
    with _one_thread():
        for epoch in range(_EPOCHS):
            for images, labels in batches.epoch(epoch):
                optimizer.zero_grad()
                likelihood = Categorical(logits=classifier.logits(images)).log_prob(labels)
                (-likelihood.sum()).backward()
                optimizer.step()
    classifier.eval()
    classifier.accuracy.fill_(_accuracy(classifier, digits.test))
    return {name: tensor.numpy() for name, tensor in classifier.state_dict().items()}


def _shifted(digits: ImageSet) -> tuple[Tensor, Tensor]:
    """Images where they are and moved by a pixel in each direction, with their labels."""
    assert digits.labels is not None
    moved = [digits.images.roll(shift, (2, 3)) for shift in _SHIFTS]
    return torch.cat(moved), digits.labels.repeat(len(_SHIFTS))


@torch.no_grad()
def _accuracy(classifier: DigitClassifier, digits: ImageSet) -> float:
    assert digits.labels is not None
    found = classifier.logits(digits.images).argmax(1)
    return (found == digits.labels).double().mean().item()


def _is_classifier(arrays: Arrays) -> bool:
    expected = _untrained().state_dict()
    return arrays.keys() == expected.keys() and all(
        arrays[name].shape == tuple(tensor.shape)
        and arrays[name].dtype == tensor.numpy().dtype
        and np.isfinite(arrays[name]).all()
        for name, tensor in expected.items()
    )


def fingerprint(module: nn.Module) -> str:
    """Six hexadecimal digits that depend on all weights of a module."""
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:6]


class Function(nn.Module):
    """Features by a function of the caller's."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


class Pixels(nn.Module):
    """The pixels themselves as features: no invariance, but nothing hidden either."""

    name = "pixels"

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)
