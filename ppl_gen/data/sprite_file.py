"""The published dSprites file, read as data.

An ``.npz`` archive with ``imgs`` (N, 64, 64) uint8 0 or 1, ``latents_classes`` (N, 6) integers,
``latents_values`` (N, 6) floats, whose first column is the one colour, and a pickled ``metadata``
that is never opened. Unpacked the images take 3 GB, so they are kept as one bit a pixel, 377 MB.
"""

import os
import zipfile
import zlib
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ppl_gen.data.factors import FACTORS, SIZES, TOTAL, checked_rows, to_index

BLOCK = 4096


class StoredImages:
    """Images of a file, looked up by their classes.

    Attributes:
        size: the side of an image.
        index: the grid indices ``(N,)`` of the images, in the order of the file.

    Raises:
        ValueError: an array that is missing, damaged, of another type or shape, or that disagrees
            with the values of the grid.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                self.index = _index(
                    _array(archive, "latents_classes"), _array(archive, "latents_values")
                )
                with archive.open("imgs.npy") as stream:
                    self._bits, self.size = _packed_images(stream, len(self.index))
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"expected a dSprites .npz file, got {path}: {error}") from error
        self._position = torch.full((TOTAL,), -1)
        self._position[self.index] = torch.arange(len(self.index))

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``(B, 1, size, size)`` of valid classes ``(B, 5)``, if the file has them all."""
        position = self._position[to_index(rows.cpu())]
        if (position < 0).any():
            missing = rows[int((position < 0).nonzero()[0])].tolist()
            raise ValueError(f"expected classes of images in the file, got {missing}")
        pixels = np.unpackbits(self._bits[position.numpy()], axis=1, count=self.size**2)
        images = torch.from_numpy(pixels).view(-1, 1, self.size, self.size)
        return images.to(rows.device, torch.float32)


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _index(classes: np.ndarray, values: np.ndarray) -> Tensor:
    shape = (len(classes), 1 + len(SIZES))
    if classes.dtype.kind not in "iu" or classes.shape != shape or len(classes) == 0:
        raise ValueError(
            f"expected latents_classes as integers (N, {shape[1]}), "
            f"got {classes.dtype} of shape {classes.shape}"
        )
    if values.dtype.kind != "f" or values.shape != shape:
        raise ValueError(
            f"expected latents_values as floats {shape}, got {values.dtype} of shape {values.shape}"
        )
    rows = checked_rows(classes[:, 1:].astype(np.int64))
    for column, (name, table) in enumerate(FACTORS.items(), start=1):
        if not np.allclose(values[:, column], table[classes[:, column]], atol=1e-6):
            raise ValueError(
                f"expected latents_values of {name} among {np.round(table, 4).tolist()} as its "
                "classes say, got others"
            )
    index = to_index(rows)
    if len(index.unique()) < len(index):
        raise ValueError("expected every combination of latents_classes once, got duplicates")
    return index


def _packed_images(stream: IO[bytes], count: int) -> tuple[np.ndarray, int]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"expected imgs in .npy version 1 or 2, got {version}")
    shape, fortran_order, dtype = readers[version](stream)
    square = len(shape) == 3 and shape[0] == count and shape[1] == shape[2] > 0
    if not square or fortran_order or dtype != np.uint8:
        raise ValueError(
            f"expected imgs as uint8 of shape ({count}, size, size), got {dtype} of shape {shape}"
        )
    size = shape[1]
    bits = np.empty((count, -(-size * size // 8)), np.uint8)
    for start in range(0, count, BLOCK):
        block = bits[start : start + BLOCK]
        pixels = np.frombuffer(stream.read(len(block) * size * size), np.uint8)
        if len(pixels) != len(block) * size * size:
            raise ValueError(f"expected {count} images in imgs, got a truncated array")
        if pixels.max() > 1:
            raise ValueError(f"expected pixels 0 or 1 in imgs, got {pixels.max()}")
        block[:] = np.packbits(pixels.reshape(len(block), -1), axis=1)
    return bits, size
