"""Which digits are drawn, and how many of the images are digits at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen.metrics.features import DigitClassifier, digit_classifier, require_digits
from ppl_gen.metrics.samples import checked_images

CONFIDENT = 0.9  # a probability above which the classifier counts as sure
_BATCH = 500


@dataclass(frozen=True)
class DigitClasses:
    r"""What a classifier of digits says of generated and of real images.

    Attributes:
        kl: :math:`\mathrm{KL}(\text{generated} \,\|\, \text{real})` of the histograms of classes,
            in nats; infinite where a class is drawn that no real image has.
        confident: the share of generated images that are some digit with a probability above 0.9;
            real digits have about 0.95, so FID alone flatters what lies between two digits.
        confident_real: the same of real images.
        counts: generated images by digit.
        classifier: its name, with its accuracy on held-out digits.
        num_real: real images.
        num_fake: generated images.

    >>> x = ppl_gen.data.mnist().test.images[:100]
    >>> ppl_gen.metrics.digit_classes(x, x).kl
    0.0
    """

    kl: float
    confident: float
    confident_real: float
    counts: tuple[int, ...]
    classifier: str
    num_real: int
    num_fake: int


def digit_classes(real: Any, fake: Any) -> DigitClasses:
    """The classes of generated digits beside those of real ones.

    Args:
        real: ``(N, 1, 28, 28)``, or a data set with ``.images``.
        fake: ``(M, 1, 28, 28)``.

    Raises:
        ValueError: images of another shape, range or not finite, or fewer than two of them.

    >>> x = ppl_gen.data.mnist().test.images[:100]
    >>> found = ppl_gen.metrics.digit_classes(x, x[:1].repeat(50, 1, 1, 1))
    >>> max(found.counts), found.kl > 1
    (50, True)
    """
    classifier = digit_classifier()
    x, y = (checked_images(part, role) for part, role in ((real, "real"), (fake, "generated")))
    for part, role in ((x, "real"), (y, "generated")):
        require_digits(part, role)
    (sure, of_real), (drawn_sure, of_fake) = (_read(classifier, part) for part in (x, y))
    return DigitClasses(
        kl=histogram_kl(of_fake, of_real),
        confident=drawn_sure,
        confident_real=sure,
        counts=tuple(of_fake.tolist()),
        classifier=classifier.name,
        num_real=len(x),
        num_fake=len(y),
    )


def histogram_kl(counts: Tensor, reference: Tensor) -> float:
    r"""The KL divergence of two histograms, :math:`\sum_k p_k \log p_k / q_k`.

    >>> from ppl_gen.metrics.digit_classes import histogram_kl
    >>> round(histogram_kl(torch.tensor([4, 0]), torch.tensor([1, 1])), 4)
    0.6931
    """
    p, q = counts.double() / counts.sum(), reference.double() / reference.sum()
    if ((p > 0) & (q == 0)).any():
        return math.inf
    present = p > 0
    return max(0.0, (p[present] * (p[present] / q[present]).log()).sum().item())


@torch.no_grad()
def _read(classifier: DigitClassifier, images: Tensor) -> tuple[float, Tensor]:
    """The share of images that are some digit for sure, and how many there are of each."""
    logits = torch.cat([classifier.logits(part) for part in images.float().split(_BATCH)])
    sure, digits = logits.softmax(1).max(1)
    counts = torch.bincount(digits, minlength=logits.shape[1])
    return (sure > CONFIDENT).double().mean().item(), counts
