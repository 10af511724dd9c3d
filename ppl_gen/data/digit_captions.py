r"""Captions of digits: "a thick seven, slanted left", by label and what is measured of the strokes.

Captions are texts of a small vocabulary. As numbers they are rows of the indices of their words,
filled up with zeros; a row of zeros is the empty caption.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ppl_gen._checks import is_finite

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOCABULARY = (
    "", "a", "an", "very", "thin", "thick", *DIGITS, "digit", ",", "slanted", "strongly",
    "left", "right", "upright",
)  # fmt: skip
LENGTH = 8

# Between neighbours: a tenth and three tenths of MNIST's digits lie beyond, on either side.
_WIDTHS = (1.9, 2.2, 2.8, 3.4)
_THICKNESS = ("very thin", "thin", "", "thick", "very thick")
_ANGLES = (-12.0, -1.0, 16.0, 27.0)
_SLANTS = ("strongly left", "left", "upright", "right", "strongly right")


def stroke(images: Tensor) -> tuple[Tensor, Tensor]:
    r"""The width of strokes in pixels and their slant in degrees, ``(N,)`` each.

    The width is twice the area over the length of the outline, :math:`2 \sum x / \sum \lVert
    \nabla x \rVert`; the slant :math:`\arctan(-\mu_{xy} / \mu_{yy})` by moments of the image,
    positive where the upper end is further right.

    Args:
        images: ``(N, C, H, W)`` with bright strokes on a dark ground.

    Raises:
        ValueError: images of another shape, or without a stroke.

    >>> bar = torch.zeros(1, 1, 28, 28)
    >>> bar[..., 4:24, 12:15] = 1
    >>> [found.round(decimals=1).item() for found in ppl_gen.data.stroke(bar)]
    [2.7, -0.0]
    """
    if not isinstance(images, Tensor) or images.dim() != 4 or min(images.shape[2:]) < 2:
        raise ValueError(f"expected images (N, C, H, W), got {getattr(images, 'shape', images)}")
    x = images.double().mean(1)
    # at the corners between pixels, so that no direction is favoured
    down, right = x[:, 1:] - x[:, :-1], x[..., 1:] - x[..., :-1]
    down, right = (down[..., 1:] + down[..., :-1]) / 2, (right[:, 1:] + right[:, :-1]) / 2
    outline = torch.hypot(down, right).sum((1, 2))
    mass = x.sum((1, 2))
    rows, columns = (torch.arange(size, dtype=x.dtype, device=x.device) for size in x.shape[1:])
    rows = rows[:, None] - ((x.sum(2) @ rows) / mass)[:, None, None]
    columns = columns - ((x.sum(1) @ columns) / mass)[:, None, None]
    steep = (x * rows.square()).sum((1, 2))
    if not bool(((mass > 0) & (outline > 0) & (steep > 0)).all()):
        raise ValueError("expected images with a stroke on a dark ground, got some without")
    slant = torch.atan(-(x * rows * columns).sum((1, 2)) / steep).rad2deg()
    return 2 * mass / outline, slant


def captions(images: Tensor, labels: Tensor, drop: float = 0.0, seed: int = 0) -> list[str]:
    """What digits look like, in words.

    Args:
        images: ``(N, C, H, W)``, see :func:`stroke`.
        labels: of the digits, ``(N,)`` from 0 to 9.
        drop: the probability with which each of thickness, digit and slant is left out, so that a
            model also learns what shorter captions mean.
        seed: of what is left out.

    Raises:
        ValueError: labels that are none of these, or other than one for each image; a probability
            outside [0, 1].

    >>> bar = torch.zeros(2, 1, 28, 28)
    >>> bar[0, :, 4:24, 12:15], bar[1, :, 4:24, 11:16] = 1, 1
    >>> ppl_gen.data.captions(bar, torch.tensor([1, 8]))
    ['a one, upright', 'a very thick eight, upright']
    """
    widths, slants = stroke(images)
    found = torch.as_tensor(labels)
    if found.shape != (len(images),) or not bool(((found >= 0) & (found < 10)).all()):
        raise ValueError(f"expected {len(images)} labels from 0 to 9, got {labels}")
    if not (is_finite(drop) and 0 <= drop <= 1):
        raise ValueError(f"expected a probability in [0, 1], got {drop!r}")
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(len(images), 3, generator=generator) >= drop
    thick = torch.bucketize(widths, widths.new_tensor(_WIDTHS))
    leaning = torch.bucketize(slants, slants.new_tensor(_ANGLES))
    rows = zip(thick.tolist(), found.tolist(), leaning.tolist(), kept.tolist(), strict=True)
    return [_caption(*row) for row in rows]


def _caption(thick: int, digit: int, leaning: int, kept: Sequence[bool]) -> str:
    if not any(kept):
        return ""
    adjective = _THICKNESS[thick] if kept[0] else ""
    noun = f"{adjective} {DIGITS[digit] if kept[1] else 'digit'}".strip()
    article = "an" if noun.startswith("eight") else "a"
    slant = _SLANTS[leaning] if _SLANTS[leaning] == "upright" else f"slanted {_SLANTS[leaning]}"
    return f"{article} {noun}, {slant}" if kept[2] else f"{article} {noun}"


def words(texts: str | Sequence[str]) -> Tensor:
    """Captions as rows of the indices of their words, ``(N, 8)``.

    Raises:
        ValueError: words that no caption has, or more than eight.

    >>> ppl_gen.data.words(["", "a thick seven"])
    tensor([[ 0,  0,  0,  0,  0,  0,  0,  0],
            [ 1,  5, 13,  0,  0,  0,  0,  0]])
    """
    rows = [_indices(text) for text in ([texts] if isinstance(texts, str) else texts)]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, LENGTH)


def _indices(text: str) -> list[int]:
    if not isinstance(text, str):
        raise ValueError(f"expected a caption as text, got {text!r}")
    found = re.findall(r"[^\s,]+|,", text.lower())
    if unknown := [word for word in found if word not in VOCABULARY]:
        known = " ".join(VOCABULARY[1:])
        raise ValueError(f"expected words among {known}, got {unknown[0]!r} in {text!r}")
    if len(found) > LENGTH:
        raise ValueError(f"expected at most {LENGTH} words and commas, got {len(found)}: {text!r}")
    return [VOCABULARY.index(word) for word in found] + [0] * (LENGTH - len(found))
