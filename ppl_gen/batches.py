"""Whatever a user trains on, as shuffled batches of tensors in an order fixed by a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ppl_gen.processes import World
from ppl_gen.ranges import is_whole

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
        batch_size: rows per batch and process.
        seed: of the order.
        world: the processes that share each batch.
    """

    def __init__(self, tensors: Sequence[Tensor], batch_size: int, seed: int, world: World):
        self.tensors = tuple(tensors)
        self.order = Order(len(self.tensors[0]), batch_size, seed, world)

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        self.order.number = number
        generator = self.order.generator(1)
        for rows in self.order:
            yield self.rows(torch.tensor(rows), generator)

    def rows(self, rows: Tensor, generator: torch.Generator) -> Batch:
        return tuple(tensor[rows] for tensor in self.tensors)


class ImageBatches(TensorBatches):
    """Batches of an image set that draws each batch itself, to binarise it afresh for example."""

    def __init__(self, images: Any, labelled: bool, batch_size: int, seed: int, world: World):
        tensors = [images.images, images.labels] if labelled else [images.images]
        super().__init__(tensors, batch_size, seed, world)
        self.source = images

    def rows(self, rows: Tensor, generator: torch.Generator) -> Batch:
        drawn = self.source.batch(rows, generator)
        return (drawn, *(tensor[rows] for tensor in self.tensors[1:]))


class Order(Sampler[list[int]]):
    """The rows of every batch of an epoch, by seed and epoch, for one process of several.

    The last batch is short; with fewer rows than processes it is left out.

    Attributes:
        number: the epoch.
    """

    def __init__(self, size: int, batch_size: int, seed: int, world: World):
        self.size, self.batch_size, self.seed, self.world = size, batch_size, seed, world
        self.number = 0

    def __len__(self) -> int:
        full, rest = divmod(self.size, self.batch_size * self.world.size)
        return full + (rest >= self.world.size)

    def generator(self, stream: int) -> torch.Generator:
        """A generator of this epoch: stream 0 for the order, stream 1 for this process's draws."""
        seed = (self.seed * 1_000_003 + self.number) * 65_537 + stream * (1 + self.world.rank)
        return torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.size, generator=self.generator(0))
        for rows in order.split(self.batch_size * self.world.size)[: len(self)]:
            yield self.world.share(rows).tolist()


class LoaderBatches:
    """Batches of a torch ``DataLoader``, whose own settings decide size and order."""

    def __init__(self, loader: DataLoader[Any], order: Order | None = None):
        self.loader, self.order = loader, order

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        if self.order is not None:
            self.order.number = number
        for part in (self.loader, self.loader.sampler):
            if isinstance(generator := getattr(part, "generator", None), torch.Generator):
                generator.manual_seed(number)
        for batch in self.loader:
            yield tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)


def as_batches(
    data: Any,
    batch_size: int,
    seed: int,
    *,
    labelled: bool = False,
    world: World | None = None,
    dtype: torch.dtype | None = None,
) -> Batches:
    """Batches of any data :func:`ppl_gen.fit` accepts.

    Args:
        data: a tensor or array, a tuple of them, a data set with ``.images`` (and ``.labels``), a
            torch ``Dataset`` or a ``DataLoader``.
        batch_size: rows per batch and process; a ``DataLoader`` keeps its own.
        seed: of the order.
        labelled: whether to take the labels of a data set with ``.images`` too.
        world: the processes that share each batch; this one alone by default.
        dtype: what floating-point tensors are converted to.

    Raises:
        ValueError: another type, no data, sizes that differ, or a batch size below one.
    """
    if not is_whole(batch_size, 1):
        raise ValueError(f"expected a batch size of at least one, got {batch_size}")
    world = World() if world is None else world
    source = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(source, Dataset) and not hasattr(source, "__len__"):
        raise ValueError(f"expected data of a known length, got {type(source).__name__} without")
    if isinstance(data, DataLoader):
        if world.size > 1:
            raise ValueError(
                "expected data that processes can share, got a DataLoader: pass its Dataset"
            )
        return LoaderBatches(data)
    if isinstance(getattr(data, "images", None), Tensor):
        if labelled and getattr(data, "labels", None) is None:
            raise ValueError("expected a data set with labels for a conditional model, got none")
        if hasattr(data, "batch"):
            return ImageBatches(data, labelled, batch_size, seed, world)
        data = (data.images, data.labels) if labelled else data.images
    if isinstance(data, Dataset):
        order = Order(len(data), batch_size, seed, world)  # type: ignore[arg-type]
        return LoaderBatches(DataLoader(data, batch_sampler=order), order)
    parts = data if isinstance(data, (tuple, list)) else (data,)
    if not all(isinstance(part, Tensor) or hasattr(part, "__array__") for part in parts):
        raise ValueError(
            "expected a tensor, a tuple of tensors, a data set with .images, a torch Dataset or a "
            f"DataLoader, got {type(data).__name__}"
        )
    tensors = [torch.as_tensor(part) for part in parts]
    tensors = [t.to(dtype) if t.is_floating_point() else t for t in tensors]
    sizes = [len(tensor) if tensor.dim() else 0 for tensor in tensors]
    if not sizes or min(sizes) == 0 or len(set(sizes)) > 1:
        raise ValueError(f"expected data of one common length above zero, got lengths {sizes}")
    return TensorBatches(tensors, batch_size, seed, world)
