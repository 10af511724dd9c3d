"""Random numbers that belong to a sample, not to the batch it is in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen._modes import seeded
from ppl_gen._random import stream
from ppl_gen.networks import Shape

# Numbers drawn ahead for each sample, which spares small data a call a step.
_AHEAD = 1024

Seed = int | Sequence[int] | None


class Streams:
    """Standard normal draws, one independent stream a sample.

    A stream is derived from a seed and an index (``numpy.random.SeedSequence``), so what a sample
    gets depends neither on the other samples nor on the device. The global generators are left
    alone.

    Args:
        keys: one key a sample, its seed and its index, whole numbers from 0.
        shape: the shape of a sample.
        like: a tensor of the type and on the device that draws have.

    >>> streams = ppl_gen.samplers.Streams([(0, 0), (0, 1)], (3,), torch.empty(0))
    >>> alone = ppl_gen.samplers.Streams([(0, 1)], (3,), torch.empty(0))
    >>> torch.equal(streams.normal()[1:], alone.normal())
    True
    """

    def __init__(self, keys: Sequence[tuple[int, int]], shape: Shape, like: Tensor):
        self.shape, self.like = tuple(shape), like
        self._generators = [numpy.random.default_rng(stream(*key)) for key in keys]
        self._ahead = max(1, _AHEAD // math.prod(shape))
        self._drawn = self._left = 0
        self._block = torch.empty(0)

    def normal(self) -> Tensor:
        """The next draw of every sample, ``(B, *shape)``."""
        if not self._left:
            self._refill()
        self._left -= 1
        return self._block[:, self._block.shape[1] - self._left - 1].to(self.like)

    def _refill(self) -> None:
        size = (self._ahead, *self.shape)
        block = numpy.empty((len(self._generators), *size))
        for generator, row in zip(self._generators, block, strict=True):
            generator.standard_normal(out=row)
        self._block, self._left = torch.from_numpy(block), self._ahead


def keys_of(seed: Seed, n: int) -> list[tuple[int, int]]:
    """The key of every sample: (seed, index), or where each has a seed of its own, (its seed, 0).

    Raises:
        ValueError: seeds that are no whole numbers from 0, or other than one for each sample.
    """
    if seed is None:
        with seeded(None):
            seed = int(torch.randint(2**62, ()))
    found = _plain(seed)
    if is_whole(found, 0):
        return [(found, index) for index in range(n)]
    seeds = [_plain(s) for s in found] if isinstance(found, Sequence) else []
    if len(seeds) != n or not all(is_whole(s, 0) for s in seeds):
        raise ValueError(f"expected a seed >= 0, or {n} of them, one a sample, got {seed!r}")
    return [(s, 0) for s in seeds]


def _plain(seed: Any) -> Any:
    """A whole number or a list of them in place of a tensor, an array or a NumPy scalar."""
    return seed.tolist() if isinstance(seed, (Tensor, numpy.ndarray, numpy.generic)) else seed
