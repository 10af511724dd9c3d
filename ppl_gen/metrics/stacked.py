"""How many of the thousand modes of three stacked digits a model draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ppl_gen.metrics.digit_classes import histogram_kl
from ppl_gen.metrics.features import digit_classifier
from ppl_gen.metrics.samples import checked_images

MODES = 1_000
_BATCH = 500


@dataclass(frozen=True)
class StackedModes:
    r"""What a classifier reads in the three channels of images.

    Attributes:
        modes: how many of the 1,000 triples of digits occur.
        kl: KL divergence of their histogram from the uniform one, in nats: log 1000 = 6.9 where one
            triple is left. N perfect samples have about 999 / 2N, if that is small.
        misread: the share of triples with a digit that the classifier takes for another, from its
            accuracy a on held-out digits, :math:`1 - a^3`: so many land in other modes.
        classifier: its name.
        num_samples: how many images there were.

    >>> x = ppl_gen.data.stacked_mnist(size=2).train.images
    >>> found = ppl_gen.metrics.stacked_modes(x[:1].repeat(20, 1, 1, 1))
    >>> found.modes, round(found.kl, 2)
    (1, 6.91)
    """

    modes: int
    kl: float
    misread: float
    classifier: str
    num_samples: int


@torch.no_grad()
def stacked_modes(images: Any) -> StackedModes:
    """Count the triples of digits in images of three channels.

    Args:
        images: ``(N, 3, 28, 28)``, or a data set with ``.images``; papers take 26,000.

    Raises:
        ValueError: images of another shape or not finite, or fewer than two of them.

    >>> found = ppl_gen.metrics.stacked_modes(ppl_gen.data.stacked_mnist(size=800).train)
    >>> 450 < found.modes < 600
    True
    """
    x = checked_images(images, "stacked")
    if tuple(x.shape[1:]) != (3, 28, 28):
        raise ValueError(f"expected images (3, 28, 28) of three digits, got {tuple(x.shape[1:])}")
    classifier = digit_classifier()
    parts = x.float().split(_BATCH)
    read = [classifier.logits(part.flatten(0, 1)[:, None]).argmax(1).view(-1, 3) for part in parts]
    triples = torch.cat(read) @ torch.tensor([100, 10, 1])
    counts = torch.bincount(triples, minlength=MODES)
    return StackedModes(
        modes=int((counts > 0).sum()),
        kl=histogram_kl(counts, torch.ones(MODES)),
        misread=1 - classifier.accuracy.item() ** 3,
        classifier=classifier.name,
        num_samples=len(x),
    )
