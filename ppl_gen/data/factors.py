"""The five factors of dSprites: their values, classes and the index of a combination.

    shape        3   square, ellipse, heart (values 1, 2, 3)
    scale        6   0.5, 0.6, ..., 1
    orientation 40   0 to 2 pi, both ends included, so the last repeats the first
    posX        32   0 to 1, the column
    posY        32   0 to 1, the row

The classes (k_1, ..., k_5) of an image, each counted from 0, have the index
(((k_1 6 + k_2) 40 + k_3) 32 + k_4) 32 + k_5: posY varies fastest, as in the published file.
Source: Matthey, Higgins, Hassabis and Lerchner (2017), "dSprites: Disentanglement testing
Sprites dataset".
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

FACTORS = {
    "shape": np.array([1.0, 2.0, 3.0]),
    "scale": np.linspace(0.5, 1, 6),
    "orientation": np.linspace(0, 2 * math.pi, 40),
    "posX": np.linspace(0, 1, 32),
    "posY": np.linspace(0, 1, 32),
}
SIZES = tuple(len(values) for values in FACTORS.values())
TOTAL = math.prod(SIZES)
Rows = Tensor | np.ndarray | Sequence[Sequence[int]]


def to_index(rows: Tensor) -> Tensor:
    """Indices (B,) of valid classes (B, 5)."""
    index = torch.zeros_like(rows[:, 0])
    for column, size in zip(rows.T, SIZES, strict=True):
        index = index * size + column
    return index


def to_rows(index: Tensor) -> Tensor:
    """Classes (B, 5) of valid indices (B,)."""
    columns = []
    for size in reversed(SIZES):
        columns.append(index % size)
        index = index // size
    return torch.stack(columns[::-1], dim=1)


def entropies(rows: Tensor | None = None) -> Tensor:
    """Entropies in nats, float64 (5,), of the factors in classes (B, 5), or on the whole grid."""
    if rows is None:
        return torch.tensor(SIZES).double().log()
    shares = [column.bincount().double() / len(rows) for column in rows.T]
    return torch.stack([torch.special.entr(share).sum() for share in shares])


def checked_rows(rows: Rows) -> Tensor:
    """Classes as int64 ``(B, 5)``; ``ValueError`` for another type, shape or range."""
    try:
        tensor = rows if isinstance(rows, Tensor) else torch.as_tensor(np.asarray(rows))
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected integer classes of shape (B, 5), got {rows!r}") from error
    if tensor.dim() != 2 or tensor.shape[1] != len(SIZES) or not is_integer(tensor):
        raise ValueError(
            f"expected integer classes of shape (B, {len(SIZES)}): {', '.join(FACTORS)}; "
            f"got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )
    tensor = tensor.long()
    outside = (tensor < 0) | (tensor >= torch.tensor(SIZES, device=tensor.device))
    if outside.any():
        row, column = outside.nonzero()[0].tolist()
        raise ValueError(
            f"expected {tuple(FACTORS)[column]} in 0..{SIZES[column] - 1}, "
            f"got {int(tensor[row, column])} in row {row}"
        )
    return tensor


def checked_indices(indices: Tensor | np.ndarray | Sequence[int], total: int) -> Tensor:
    """Indices as int64 ``(B,)``; ``ValueError`` for another type, shape or range."""
    tensor = torch.as_tensor(indices)
    if tensor.dim() != 1 or not (is_integer(tensor) or tensor.numel() == 0):
        raise ValueError(
            f"expected integer indices (B,), got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )
    tensor = tensor.long()
    outside = tensor[(tensor < 0) | (tensor >= total)]
    if len(outside):
        raise ValueError(f"expected indices in 0..{total - 1}, got {int(outside[0])}")
    return tensor


def is_integer(tensor: Tensor) -> bool:
    """Whether the elements are whole numbers by type, bool excluded."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
