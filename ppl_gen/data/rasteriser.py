"""Black-and-white pictures of a square, an ellipse and a heart, many at a time.

The canvas is the unit square, x to the right and y down. A sprite with centre (x, y), scale s and
orientation a covers the points whose body coordinates

    u = ( cos a (px - x) - sin a (py - y)) / (h s),      h = 0.15
    v = (-sin a (px - x) - cos a (py - y)) / (h s)

(u right, v up; growing a turns it anticlockwise on the screen) satisfy

    square:   |u| <= 1 and |v| <= 1
    ellipse:  (u / 1.33)^2 + (v / 0.751)^2 <= 1
    heart:    inside the curve  u = sin^3 t,
              v = 0.15 + (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) / 14.5

and a pixel is on iff its centre is covered. With c = cos t = +-sqrt(1 - |u|^(2/3)) the heart's
polynomial is 4 - 2c^2 - 8c^4 + c (19 - 8c^2), even in c plus odd in c; the two signs of c are its
upper and lower edge at u, so a point is inside iff it is no farther from the even part than the
odd part. The curve is the heart of Weisstein (MathWorld, "Heart Curve", the sixth); the numbers
were fitted to images of dSprites (Matthey, Higgins, Hassabis and Lerchner, 2017).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

HALF_SIDE = 0.15
# Pixels computed at once: they fit the cache, and torch splits no operation below 2^15 elements
# over threads, whose waiting for each other costs more than they save.
CHUNK = 2**15 - 1


def _square(u: Tensor, v: Tensor) -> Tensor:
    return (u.abs() <= 1) & (v.abs() <= 1)


def _ellipse(u: Tensor, v: Tensor) -> Tensor:
    return (u / 1.33) ** 2 + (v / 0.751) ** 2 <= 1


def _heart(u: Tensor, v: Tensor) -> Tensor:
    width = u.abs()
    square = (1 - width.pow(2 / 3)).clamp(min=0)
    middle = 0.15 + (4 - 2 * square - 8 * square**2) / 14.5
    # Squared, because torch spreads a root over threads however few its elements.
    squared_reach = square * ((19 - 8 * square) / 14.5) ** 2
    return (width <= 1) & ((v - middle) ** 2 <= squared_reach)


class Outline(NamedTuple):
    """A shape: its indicator in body coordinates, and the largest distance from its centre."""

    covers: Callable[[Tensor, Tensor], Tensor]
    radius: float


OUTLINES = (Outline(_square, math.sqrt(2)), Outline(_ellipse, 1.33), Outline(_heart, 1.18))


def render(
    shape: Tensor, scale: Tensor, orientation: Tensor, x: Tensor, y: Tensor, size: int
) -> Tensor:
    """B pictures ``(B, 1, size, size)``, float32 0 or 1, on the device of ``shape``.

    Only a patch around the sprite is computed; parts outside the canvas are cut off.

    Args:
        shape: ``(B,)``, like all but ``size``: 0 for a square, 1 for an ellipse, 2 for a heart.
        scale: in (0, 1].
        orientation: in radians.
        x: the column of the centre, in [0, 1].
        y: the row of the centre, in [0, 1].
        size: the side of a picture.
    """
    canvas = torch.zeros(len(shape) * size * size, device=shape.device)
    for kind, outline in enumerate(OUTLINES):
        half_patch = outline.radius * HALF_SIDE * size
        side = min(size, math.ceil(2 * half_patch) + 1)
        steps = torch.arange(side, device=shape.device)
        offsets = (steps[:, None] * size + steps).flatten()
        for rows in (shape == kind).nonzero().flatten().split(max(1, CHUNK // side**2)):
            left, across = _axis(x[rows] * size, half_patch, steps, size)
            top, down = _axis(y[rows] * size, half_patch, steps, size)
            unit = HALF_SIDE * size * scale[rows]
            cos = (orientation[rows].cos() / unit).float()[:, None]
            sin = (orientation[rows].sin() / unit).float()[:, None]
            u = (cos * across)[:, None, :] - (sin * down)[:, :, None]
            v = -(sin * across)[:, None, :] - (cos * down)[:, :, None]
            pixels = ((rows * size + top) * size + left)[:, None] + offsets
            canvas.scatter_(0, pixels.flatten(), outline.covers(u, v).flatten().float())
    return canvas.view(len(shape), 1, size, size)


def _axis(centre: Tensor, half_patch: float, steps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First pixel of each patch along an axis, and its pixel centres relative to the sprite."""
    first = (centre - half_patch).floor().clamp(0, size - len(steps)).long()
    return first, (first - centre).float()[:, None] + (steps + 0.5)
