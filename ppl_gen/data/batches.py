"""Whatever a user trains on, as shuffled batches of tensors in an order fixed by a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler

from ppl_gen._checks import is_whole
from ppl_gen._processes import World
from ppl_gen._random import preserved
from ppl_gen.data.reading import Batch, Reader, pixels_or_cells, require_in_order


class Batches(Protocol):
    """A source of batches; each batch is the positional arguments of a model."""

    @property
    def length(self) -> int | None:
        """The number of batches in an epoch, where it is known before."""

    def is_last(self, number: int) -> bool:
        """Whether the current epoch has exactly this number of batches."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch, the same each time it is asked for."""

    def in_order(self) -> Iterator[Batch]:
        """All data as they are, in their own order."""


class Arranged:
    """Data in an order of their own, such as the classes of :mod:`ppl_gen.data.streams`."""

    def batches(self, make: Make, reader: Reader) -> Batches:
        """The batches, of parts that ``make(part, stream)`` makes; streams differ in their order.

        Raises:
            ValueError: parts of which there is no such order.
        """
        raise NotImplementedError


Make: TypeAlias = "Callable[[Any, int], Batches]"


class TensorBatches:
    """Batches of tensors in memory; the order depends on the seed and the epoch alone.

    Args:
        tensors: data with a common first dimension ``N``.
        order: of the rows.
    """

    def __init__(self, tensors: Sequence[Tensor], order: Order):
        self.tensors, self.order = tuple(tensors), order

    def __len__(self) -> int:
        return len(self.order)

    @property
    def length(self) -> int:
        return len(self.order)

    def is_last(self, number: int) -> bool:
        return number == len(self.order)

    def sizes(self) -> dict[int, int]:
        """How many batches of an epoch have how many rows."""
        return self.order.sizes()

    def follow(self, order: Order) -> None:
        """Come in another order from now on."""
        self.order = order

    def in_order(self) -> Iterator[Batch]:
        self.order.require_all()
        yield from zip(*(t.split(self.order.batch_size) for t in self.tensors), strict=True)

    def epoch(self, number: int) -> Iterator[Batch]:
        self.order.number = number
        generator = self.order.generator(1)
        for rows in self.order:
            yield self.rows(torch.tensor(rows), generator)

    def rows(self, rows: Tensor, generator: torch.Generator) -> Batch:
        return tuple(tensor[rows] for tensor in self.tensors)


class ImageBatches(TensorBatches):
    """Batches of an image set that draws each batch itself, to binarise it afresh for example."""

    def __init__(self, images: Any, tensors: Sequence[Tensor], order: Order):
        super().__init__(tensors, order)
        self.source = images

    def rows(self, rows: Tensor, generator: torch.Generator) -> Batch:
        drawn = self.source.batch(rows, generator).to(self.tensors[0])
        return (drawn, *(tensor[rows] for tensor in self.tensors[1:]))


class Order(Sampler[list[int]]):
    """The rows of every batch of an epoch, by seed and epoch, for one process of several.

    The last batch is short; with fewer rows than processes, or on request, it is left out.

    Attributes:
        number: the epoch.
        places: whether all rows that fit in one batch keep their places in it.
    """

    places = True

    def __init__(
        self, size: int, batch_size: int, seed: int, world: World, drop_last: bool = False
    ):
        self.size, self.batch_size, self.seed, self.world = size, batch_size, seed, world
        self.drop_last, self.number = drop_last, 0

    def __len__(self) -> int:
        full, rest = divmod(self.size, self.batch_size * self.world.size)
        return full + (rest >= self.world.size and not self.drop_last)

    def sizes(self) -> dict[int, int]:
        """How many batches of an epoch have how many rows, in this process."""
        full, rest = divmod(self.size, self.batch_size * self.world.size)
        sizes = {self.batch_size: full}
        if len(self) > full:
            rows = len(range(self.world.rank, rest, self.world.size))
            sizes[rows] = sizes.get(rows, 0) + 1
        return sizes

    def generator(self, stream: int) -> torch.Generator:
        """A generator of this epoch: stream 0 for the order, stream 1 for this process's draws."""
        seed = (self.seed * 1_000_003 + self.number) * 65_537 + stream * (1 + self.world.rank)
        return torch.Generator().manual_seed(seed % 2**64)

    def draw(self) -> Tensor:
        """The rows of this epoch in a random order."""
        return torch.randperm(self.size, generator=self.generator(0))

    def require_all(self) -> None:
        """Raise ``ValueError`` unless an epoch is all data, each once."""
        if not self.places:
            raise ValueError(
                "expected data in their own order, got Unpaired or Weighted ones: pass the data "
                "themselves"
            )

    def __iter__(self) -> Iterator[list[int]]:
        if self.places and self.size <= self.batch_size * self.world.size:
            order = torch.arange(self.size)  # programs may know latents by their position
        else:
            order = self.draw()
        for rows in order.split(self.batch_size * self.world.size)[: len(self)]:
            yield self.world.share(rows).tolist()


class LoaderBatches:
    """Batches of a torch ``DataLoader``, whose own settings decide size and order.

    A generator of the loader or its samplers is seeded for every epoch by the seed it came with,
    the seed of the run and the epoch, and is left as it was.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        reader: Reader,
        seed: int,
        order: Order | None = None,
    ):
        self.loader, self.reader, self.seed, self.order = loader, reader, seed, order
        self.iterable = isinstance(loader.dataset, IterableDataset)
        self._ended_after: int | None = None

    @property
    def length(self) -> int | None:
        try:
            return len(self.loader)
        except TypeError:
            return None

    def is_last(self, number: int) -> bool:
        return number == (self._ended_after if self.iterable else self.length)

    def epoch(self, number: int) -> Iterator[Batch]:
        if self.order is not None:
            self.order.number = number
        for part in self._parts():
            if hasattr(part, "set_epoch"):
                part.set_epoch(number)
        generators = {id(g): g for part in self._parts() if (g := _generator(part)) is not None}
        before = {key: generator.get_state() for key, generator in generators.items()}
        try:
            for generator in generators.values():
                generator.manual_seed(_mixed(generator.initial_seed(), self.seed, number))
            yield from self._looking_ahead() if self.iterable else self._read()
        finally:
            for key, generator in generators.items():
                generator.set_state(before[key])

    def follow(self, order: Order) -> None:
        """Come in another order from now on."""
        self.loader, self.order = DataLoader(self.loader.dataset, batch_sampler=order), order

    def in_order(self) -> Iterator[Batch]:
        if self.order is None:
            require_in_order(self.loader)
            yield from self._read()
            return
        self.order.require_all()
        plain: DataLoader[Any] = DataLoader(self.loader.dataset, self.order.batch_size)
        yield from map(self.reader.batch, plain)

    def _parts(self) -> list[Any]:
        """The loader and its samplers."""
        inner = getattr(self.loader.batch_sampler, "sampler", None)
        return [self.loader, self.loader.sampler, self.loader.batch_sampler, inner]

    def _read(self) -> Iterator[Batch]:
        yield from map(self.reader.batch, self.loader)

    def _looking_ahead(self) -> Iterator[Batch]:
        """The batches of data that alone know when they end; each is given out with the next."""
        self._ended_after = None
        count, held = 0, None
        for batch in self._read():
            if held is not None:
                yield held
            held, count = batch, count + 1
        if held is None:
            raise ValueError(
                "expected data in every epoch, got none: iterable data must start again"
            )
        self._ended_after = count
        yield held


def _generator(part: Any) -> torch.Generator | None:
    found = getattr(part, "generator", None)
    return found if isinstance(found, torch.Generator) else None


def _mixed(own: int, seed: int, epoch: int) -> int:
    """One seed of three numbers."""
    return ((own * 1_000_003 + seed) * 1_000_003 + epoch) % 2**63


def num_data(batches: Batches) -> int | None:
    """How many data an epoch is drawn from, where that is known."""
    if isinstance(order := getattr(batches, "order", None), Order):
        return order.size
    tensors, loader = getattr(batches, "tensors", None), getattr(batches, "loader", None)
    if tensors is not None:
        return len(tensors[0])
    chosen = getattr(getattr(loader, "sampler", None), "indices", None)  # of some of the data
    source: Any = getattr(loader, "dataset", None) if chosen is None else chosen
    return len(source) if hasattr(source, "__len__") else None


def batch_sizes(batches: Batches) -> list[int]:
    """How many rows a batch of an epoch may have, or nothing where that is not known."""
    if isinstance(order := getattr(batches, "order", None), Order):
        return [rows for rows, count in order.sizes().items() if count]
    sampler = getattr(getattr(batches, "loader", None), "batch_sampler", None)
    if type(sampler) is not BatchSampler or not isinstance(sampler.sampler, Sized):
        return []
    full, rest = divmod(len(sampler.sampler), sampler.batch_size)
    whole = [sampler.batch_size] if full else []
    return [*whole, rest] if rest and not sampler.drop_last else whole


def as_batches(
    data: Any,
    batch_size: int,
    seed: int,
    *,
    reader: Reader | None = None,
    world: World | None = None,
    drop_last: bool = False,
) -> Batches:
    """Batches of any data :func:`ppl_gen.fit` accepts.

    Args:
        data: a tensor, array, frame or list of numbers; a tuple or dictionary of these; a data set
            with ``.images`` or ``.cells`` (and ``.labels``); a torch ``Dataset``, iterable or not;
            a ``DataLoader``; or some of these in an order of their own, :class:`Arranged`.
        batch_size: rows per batch and process; a ``DataLoader`` keeps its own.
        seed: of the order.
        reader: turns what comes into the tensors a model takes.
        world: the processes that share each batch; this one alone by default.
        drop_last: whether to leave out a last batch that is short.

    Raises:
        ValueError: another type, no data, sizes that differ, or a batch size below one.
    """
    if not is_whole(batch_size, 1):
        raise ValueError(f"expected batch_size >= 1, got {batch_size!r}")
    world, reader = World() if world is None else world, reader or Reader()
    if isinstance(data, Arranged):

        def make(part: Any, stream: int) -> Batches:
            own = seed if stream == 0 else ~seed
            return as_batches(
                part, batch_size, own, reader=reader, world=world, drop_last=drop_last
            )

        return data.batches(make, reader)
    if isinstance(data, DataLoader):
        return _of_loader(data, seed, reader, world, drop_last)
    held = pixels_or_cells(data) is not None
    if isinstance(data, IterableDataset) and not held:
        _require_one_process(world, "an iterable data set", "a Dataset with a length")
        loader: DataLoader[Any] = DataLoader(data, batch_size, drop_last=drop_last)
        return LoaderBatches(loader, reader, seed)
    if isinstance(data, Dataset) and not held:
        if not hasattr(data, "__len__"):
            raise ValueError(
                f"expected a Dataset with a length or an IterableDataset, got {type(data).__name__}"
            )
        order = Order(len(data), batch_size, seed, world, drop_last)
        return LoaderBatches(DataLoader(data, batch_sampler=order), reader, seed, order)
    tensors = reader.tensors(data)
    sizes = [len(tensor) if tensor.dim() else 0 for tensor in tensors]
    if not sizes or min(sizes) == 0 or len(set(sizes)) > 1:
        raise ValueError(f"expected data of one common length above zero, got lengths {sizes}")
    order = Order(sizes[0], batch_size, seed, world, drop_last)
    if held and hasattr(data, "batch"):
        return ImageBatches(data, tensors, order)
    return TensorBatches(tensors, order)


def _of_loader(
    loader: DataLoader[Any], seed: int, reader: Reader, world: World, drop_last: bool
) -> LoaderBatches:
    _require_one_process(world, "a DataLoader", "its Dataset")
    if drop_last and not loader.drop_last:
        raise ValueError(
            "expected drop_last of the DataLoader itself, got it for one that keeps its last batch"
        )
    return LoaderBatches(loader, reader, seed)


def _require_one_process(world: World, got: str, instead: str) -> None:
    if world.size > 1:
        raise ValueError(f"expected data that processes can share, got {got}: pass {instead}")


def gathered(data: Any, reader: Reader) -> Batch:
    """All of some data, in their own order and one piece; the random generators are left alone.

    Raises:
        ValueError: what :func:`as_batches` refuses, or no data.
    """
    with preserved():
        found = tuple(as_batches(data, 1024, 0, reader=reader).in_order())
    if not found:
        raise ValueError("expected data, got none")
    return _joined(found)


def data_and_condition(model: Any, x: Any, y: Any) -> tuple[Tensor, Any]:
    """All data of a generative model and their condition, given apart or together, in one piece.

    Raises:
        ValueError: another model, or what :func:`as_batches` refuses.
    """
    reader = Reader(model)
    if reader.vae is None:
        instead = getattr(model, "instead", "")
        raise ValueError(f"expected a ppl_gen.VAE, got {type(model).__name__}{instead}")
    if y is not None and reader.conditional:
        return reader.condition_apart(x, y)
    parts = gathered(x, reader)
    return parts[0], parts[1] if reader.conditional and len(parts) > 1 else None


def regrouped(batches: Iterator[Batch], size: int) -> Iterator[Batch]:
    """The same rows in batches of another size, of which only the last is short."""
    held: list[Batch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += len(batch[0])
        while count >= size:
            joined = _joined(held)
            yield tuple(part[:size] for part in joined)
            count -= size
            held = [tuple(part[size:] for part in joined)] if count else []
    if held:
        yield _joined(held)


def _joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
