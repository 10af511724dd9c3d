"""Data in another order: two sets without pairs, and one that is drawn from by weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ppl_gen.data.batches import Arranged, Batches, LoaderBatches, Make, Order, TensorBatches
from ppl_gen.data.reading import Batch, Reader
from ppl_gen.data.tensors import as_tensor


class Unpaired(Arranged):
    """Two sets of data that do not belong together row by row, such as those of a cycle.

    Each comes in a random order of its own. An epoch is one pass over the longer one, in which the
    shorter one starts again, in a new order, as often as it ends. A batch is as many data of one
    as of the other, followed by the labels and whatever else the first has and then the second.

    Args:
        a: the first set, anything :func:`ppl_gen.fit` takes that has a length.
        b: the second, with data of the same shape.

    Raises:
        ValueError: by :func:`ppl_gen.fit`, data of another shape, without a length or by name, or
            a model that takes one set.

    >>> both = ppl_gen.data.Unpaired(torch.zeros(50, 2), torch.ones(30, 2))
    >>> class Means:
    ...     def __init__(self):
    ...         self.value = torch.zeros(2, requires_grad=True)
    ...         self.players = {"means": [self.value]}
    ...     def loss(self, x, y):
    ...         apart = [(x - self.value[0]).square().sum(), (y - self.value[1]).square().sum()]
    ...         return sum(apart), {}
    >>> ppl_gen.fit(Means(), both, epochs=2, batch_size=10, staged=False, progress=False).steps
    10
    """

    def __init__(self, a: Any, b: Any):
        self.a, self.b = a, b

    @property
    def binarization(self) -> tuple[str | None, ...] | None:
        """How the pixels of both became 0 or 1, where it is known."""
        each = tuple(getattr(part, "binarization", None) for part in (self.a, self.b))
        return None if each == (None, None) else each

    def batches(self, make: Make, reader: Reader) -> Batches:
        if reader.vae is not None and reader.vae.streams < 2:
            raise ValueError(
                f"expected one set of data for this {type(reader.vae).__name__}, got two that are "
                "unpaired"
            )
        sides = []
        for i, part in enumerate((self.a, self.b)):
            try:
                sides.append(_with_order(make(part, i), "Unpaired"))
            except ValueError as error:
                which = ("first", "second")[i]
                raise ValueError(f"{error}, in the {which} set of Unpaired") from error
        if reader.names:
            raise ValueError("expected arrays or sets of data as Unpaired, got a dictionary")
        length = max(order.size for _, order in sides)
        orders = [Cycled(order, length) for _, order in sides]
        for (side, _), order in zip(sides, orders, strict=True):
            side.follow(order)
        in_memory = [side for side, _ in sides if isinstance(side, TensorBatches)]
        if len(in_memory) == 2:
            return TensorStreams(in_memory, orders[0])
        return Streams([side for side, _ in sides], orders[0])


class Weighted(Arranged):
    r"""Data drawn with replacement, each row i with a probability in proportion to its weight.

    An epoch is as many draws as there are rows.

    Args:
        data: anything :func:`ppl_gen.fit` takes that has a length.
        weights: ``(N,)``, of zero or more, one for each row.

    Raises:
        ValueError: weights that are no finite numbers of zero or more, or all zero; by
            :func:`ppl_gen.fit`, another number of them, or data without a length.

    >>> x = torch.arange(6.0)[:, None]
    >>> weighted = ppl_gen.data.Weighted(x, [0, 0, 0, 0, 1, 3])
    >>> vae = ppl_gen.zoo.vae((1,), 2, hidden=8, likelihood="gaussian")
    >>> ppl_gen.fit(vae, weighted, epochs=2, batch_size=3, staged=False, progress=False).steps
    4
    """

    def __init__(self, data: Any, weights: Any):
        found = as_tensor(weights).detach().cpu().double()
        if found.dim() != 1 or not len(found):
            raise ValueError(f"expected weights of shape (N,), got {tuple(found.shape)}")
        if not (found.isfinite().all() and (found >= 0).all() and found.sum() > 0):
            low, high = found.min().item(), found.max().item()
            raise ValueError(
                f"expected finite weights of zero or more, not all zero, got {low:g} to {high:g}"
            )
        self.data, self.weights = data, found

    @property
    def binarization(self) -> Any:
        """How pixels became 0 or 1, where it is known."""
        return getattr(self.data, "binarization", None)

    def batches(self, make: Make, reader: Reader) -> Batches:
        source, order = _with_order(make(self.data, 0), "Weighted")
        if len(self.weights) != order.size:
            raise ValueError(
                f"expected a weight for each of {order.size} data, got {len(self.weights)}"
            )
        source.follow(Drawn(order, self.weights))
        return source


class Drawn(Order):
    """Rows that are drawn by their weights instead of in another order."""

    places = False

    def __init__(self, order: Order, weights: Tensor):
        super().__init__(order.size, order.batch_size, order.seed, order.world, order.drop_last)
        self.rows = weights.nonzero()[:, 0]  # no rounding can draw a row of weight zero
        self.ends = (weights / weights.sum())[self.rows].cumsum(0)

    def draw(self) -> Tensor:
        places = torch.rand(self.size, generator=self.generator(0), dtype=torch.float64)
        found = torch.searchsorted(self.ends, places, right=True)
        return self.rows[found.clamp(max=len(self.rows) - 1)]


class Cycled(Order):
    """The rows of another order, which starts anew whenever it ends, until there are so many."""

    places = False

    def __init__(self, order: Order, length: int):
        super().__init__(length, order.batch_size, order.seed, order.world, order.drop_last)
        self.inner = order

    def draw(self) -> Tensor:
        times = -(-self.size // self.inner.size)
        passes = []
        for i in range(times):
            self.inner.number = self.number * times + i
            passes.append(self.inner.draw())
        return torch.cat(passes)[: self.size]


class Streams:
    """Batches of two streams side by side."""

    def __init__(self, sides: Sequence[TensorBatches | LoaderBatches], order: Order):
        self.sides, self.order = sides, order

    @property
    def length(self) -> int:
        return len(self.order)

    def is_last(self, number: int) -> bool:
        return number == len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        for x, y in zip(*(side.epoch(number) for side in self.sides), strict=True):
            yield _side_by_side(x, y)

    def in_order(self) -> Iterator[Batch]:
        self.order.require_all()
        return self.epoch(0)


class TensorStreams(Streams, TensorBatches):
    """Batches of two streams that are in memory."""

    def __init__(self, sides: Sequence[TensorBatches], order: Order):
        Streams.__init__(self, sides, order)
        self.tensors = _side_by_side(*(side.tensors for side in sides))


def _with_order(source: Batches, what: str) -> tuple[TensorBatches | LoaderBatches, Order]:
    """Batches and their order, if they have one that can be exchanged."""
    order = getattr(source, "order", None)
    if not isinstance(source, (TensorBatches, LoaderBatches)) or order is None:
        raise ValueError(f"expected data with a length as {what}, got ones that come as they come")
    if isinstance(source, Streams):
        raise ValueError(f"expected one set of data as {what}, got two that are unpaired")
    return source, order


def _side_by_side(x: Batch, y: Batch) -> Batch:
    if x[0].shape[1:] != y[0].shape[1:]:
        shapes = " and ".join(str(tuple(part[0].shape[1:])) for part in (x, y))
        raise ValueError(f"expected unpaired data of one shape, got {shapes}")
    return (x[0], y[0], *x[1:], *y[1:])
