"""The factor grid of dSprites, drawn when asked for: 3 x 6 x 40 x 32 x 32 = 737,280 images.

The five factors are described in :mod:`ppl_gen.data.factors`. In a canvas of side 1 a sprite has
its centre at column (1 + 2 posX) / 4 and row (1 + 2 posY) / 4: pixels 16 to 48 of 64.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ppl_gen._checks import is_whole
from ppl_gen.data.factors import (
    FACTORS,
    SIZES,
    TOTAL,
    Rows,
    checked_indices,
    checked_rows,
    entropies,
    to_rows,
)
from ppl_gen.data.image_set import Indices
from ppl_gen.data.rasteriser import render
from ppl_gen.data.sprite_file import StoredImages


class Sprites(Dataset):
    """Images of the factor grid, drawn or looked up on demand.

    ``factor_names``, ``factor_sizes`` and ``factor_values`` describe the five factors; ``size`` is
    the side of an image; ``len()`` the number of images. Pixels are 0 or 1 by nature, so
    ``binarization`` is "none". The items of the torch data set are images without their classes.

    >>> grid = ppl_gen.data.sprites(16)
    >>> dict(zip(grid.factor_names, grid.factor_sizes))
    {'shape': 3, 'scale': 6, 'orientation': 40, 'posX': 32, 'posY': 32}
    >>> grid.factors([0, 40])
    tensor([[0, 0, 0, 0, 0],
            [0, 0, 0, 1, 8]])
    >>> grid.batch([0, 40]).shape
    torch.Size([2, 1, 16, 16])
    """

    factor_names = tuple(FACTORS)
    factor_sizes = SIZES
    binarization: Literal["none"] = "none"

    def __init__(
        self, size: int, draw: Callable[[Tensor], Tensor], held: Tensor | None = None
    ) -> None:
        """``draw`` maps valid classes (B, 5) to images; ``held``: grid indices, None for all."""
        self.size = size
        self.factor_values = tuple(values.copy() for values in FACTORS.values())
        self._draw = draw
        self._held = held

    @classmethod
    def from_npz(cls, path: str | os.PathLike[str]) -> Sprites:
        """The images of the published dSprites ``.npz`` file, or of a part of it.

        Only ``imgs``, ``latents_classes`` and ``latents_values`` are read, and nothing is
        unpickled. The images are held in memory at one bit a pixel.

        Raises:
            ValueError: arrays that are missing, damaged, of another type or shape, or that disagree
                with the factor values of the grid.
        """
        stored = StoredImages(path)
        return cls(stored.size, stored, None if len(stored.index) == TOTAL else stored.index)

    def __len__(self) -> int:
        return TOTAL if self._held is None else len(self._held)

    def __getitem__(self, index: int) -> Tensor:
        return self.batch([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        """Items drawn together; torch's DataLoader calls this where it exists."""
        return list(self.batch(indices))

    def __repr__(self) -> str:
        return f"Sprites({len(self)} images 1×{self.size}×{self.size}, factors {self.factor_sizes})"

    def images(self, rows: Rows) -> Tensor:
        """Images ``(B, 1, size, size)``, float32 0 or 1, of integer classes ``(B, 5)``.

        Args:
            rows: shape, scale, orientation, posX (column) and posY (row), each counted from 0. The
                result is on the device of ``rows`` where that is a tensor.

        Raises:
            ValueError: another shape, numbers that are not integers, or classes out of range.
        """
        return self._draw(checked_rows(rows))

    def batch(self, indices: Indices, generator: torch.Generator | None = None) -> Tensor:
        """The images at ``indices``; nothing is random, so ``generator`` goes unused."""
        return self._draw(self.factors(indices))

    def factors(self, indices: Indices) -> Tensor:
        """The classes ``(B, 5)``, int64, of the images at ``indices``.

        Raises:
            ValueError: indices that are not integers from 0 to ``len(self) - 1``.
        """
        if isinstance(indices, slice):
            indices = range(len(self))[indices]
        index = checked_indices(indices, len(self))
        return to_rows(index if self._held is None else self._held.to(index.device)[index])

    @property
    def factor_entropies(self) -> Tensor:
        """The entropies of the five factors over all images, in nats, float64 (5,)."""
        return entropies(None if self._held is None else to_rows(self._held))

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw n images uniformly, with replacement: images (n, 1, size, size), classes (n, 5)."""
        if not is_whole(n, 1):
            raise ValueError(f"expected to sample at least 1 image, got {n}")
        device = None if generator is None else generator.device
        rows = self.factors(torch.randint(len(self), (n,), generator=generator, device=device))
        return self._draw(rows), rows

    def tensor(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n images uniformly, with replacement, without their classes."""
        return self.sample(n, generator)[0]


def sprites(size: int = 64) -> Sprites:
    """The dSprites factor grid drawn at ``size`` × ``size`` pixels, 64 in the published set.

    Other sizes show the same scenes at that resolution. The published file itself is read by
    :meth:`Sprites.from_npz`.

    Raises:
        ValueError: a size that is not an integer from 8 to 1024.

    >>> grid = ppl_gen.data.sprites(16)
    >>> len(grid)
    737280
    >>> images, classes = grid.sample(6, torch.Generator().manual_seed(0))
    >>> images.shape, classes.shape
    (torch.Size([6, 1, 16, 16]), torch.Size([6, 5]))
    """
    if not is_whole(size, 8) or size > 1024:
        raise ValueError(f"expected an integer size from 8 to 1024, got {size!r}")
    return Sprites(size, partial(_rendered, size=size))


def _rendered(rows: Tensor, size: int) -> Tensor:
    shape, *classes = rows.T
    _, *tables = FACTORS.values()
    scale, orientation, x, y = (
        torch.from_numpy(values).to(rows.device)[column]
        for values, column in zip(tables, classes, strict=True)
    )
    return render(shape, scale, orientation, (1 + 2 * x) / 4, (1 + 2 * y) / 4, size)
