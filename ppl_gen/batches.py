"""Whatever a user trains on, as shuffled batches of tensors in an order fixed by a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Batch = tuple[Tensor, ...]


class Batches(Protocol):
    """A source of batches; each batch is the positional arguments of a model."""

    def __len__(self) -> int:
        """The number of batches in an epoch, the last short one included."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch, the same each time it is asked for."""


class TensorBatches:
    """Batches of tensors in memory; the order depends on the seed and the epoch alone.

    Args:
        tensors: data with a common first dimension ``N``.
        batch_size: rows per batch.
        seed: of the order.
    """

    def __init__(self, tensors: Sequence[Tensor], batch_size: int, seed: int):
        self.tensors, self.batch_size, self.seed = tuple(tensors), batch_size, seed

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(len(self.tensors[0]), generator=generator)
        for rows in order.split(self.batch_size):
            yield self.rows(rows, generator)

    def rows(self, rows: Tensor, generator: torch.Generator) -> Batch:
        return tuple(tensor[rows] for tensor in self.tensors)


class ImageBatches(TensorBatches):
    """Batches of an image set that draws each batch itself, to binarise it afresh for example."""

    def __init__(self, images: Any, labelled: bool, batch_size: int, seed: int):
        tensors = [images.images, images.labels] if labelled else [images.images]
        super().__init__(tensors, batch_size, seed)
        self.source = images

    def rows(self, rows: Tensor, generator: torch.Generator) -> Batch:
        drawn = self.source.batch(rows, generator)
        return (drawn, *(tensor[rows] for tensor in self.tensors[1:]))


class LoaderBatches:
    """Batches of a torch ``DataLoader``, whose own settings decide size and order."""

    def __init__(self, loader: DataLoader[Any], seed: int):
        self.loader, self.seed = loader, seed

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        if self.loader.generator is not None:
            self.loader.generator.manual_seed(self.seed * 1_000_003 + number)
        for batch in self.loader:
            yield tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)


def as_batches(data: Any, batch_size: int, seed: int, *, labelled: bool = False) -> Batches:
    """Batches of any data :func:`ppl_gen.fit` accepts.

    Args:
        data: a tensor or array, a tuple of them, a data set with ``.images`` (and ``.labels``), a
            torch ``Dataset`` or a ``DataLoader``.
        batch_size: rows per batch; a ``DataLoader`` keeps its own.
        seed: of the order.
        labelled: whether to take the labels of a data set with ``.images`` too.

    Raises:
        ValueError: another type, no data, sizes that differ, or a batch size below one.
    """
    if batch_size < 1:
        raise ValueError(f"expected a batch size of at least one, got {batch_size}")
    if isinstance(data, DataLoader):
        return LoaderBatches(data, seed)
    if isinstance(getattr(data, "images", None), Tensor):
        if labelled and getattr(data, "labels", None) is None:
            raise ValueError("expected a data set with labels for a conditional model, got none")
        if hasattr(data, "batch"):
            return ImageBatches(data, labelled, batch_size, seed)
        data = (data.images, data.labels) if labelled else data.images
    if isinstance(data, Dataset):
        loader = DataLoader(data, batch_size, shuffle=True, generator=torch.Generator())
        return LoaderBatches(loader, seed)
    parts = data if isinstance(data, (tuple, list)) else (data,)
    if not all(isinstance(part, Tensor) or hasattr(part, "__array__") for part in parts):
        raise ValueError(
            "expected a tensor, a tuple of tensors, a data set with .images, a torch Dataset or a "
            f"DataLoader, got {type(data).__name__}"
        )
    tensors = [torch.as_tensor(part) for part in parts]
    sizes = [len(tensor) if tensor.dim() else 0 for tensor in tensors]
    if not sizes or min(sizes) == 0 or len(set(sizes)) > 1:
        raise ValueError(f"expected data of one common length above zero, got lengths {sizes}")
    return TensorBatches(tensors, batch_size, seed)
