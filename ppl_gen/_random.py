"""The global random generators of torch, Python and NumPy, as one.

A model draws from torch, but what reads and augments its data may draw from any of them. What only
looks at a program, or draws from a seed of its own, puts all of them back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy
import torch

Drawn = TypeVar("Drawn")


class RandomState:
    """The states of torch's generators on some devices, and of those of Python and NumPy.

    Args:
        devices: whose generators count beside the processor's.
    """

    def __init__(self, devices: Iterable[torch.device]):
        self.cpu = torch.get_rng_state()
        self.accelerators = [
            (device, torch.get_device_module(device).get_rng_state(device))
            for device in {d for d in devices if d.type != "cpu"}
        ]
        self.python, self.numpy = random.getstate(), _numpy_state()

    def restore(self) -> None:
        """Continue from these states."""
        torch.set_rng_state(self.cpu)
        for device, state in self.accelerators:
            torch.get_device_module(device).set_rng_state(state, device)
        random.setstate(self.python)
        numpy.random.set_state(self.numpy)  # noqa: NPY002

    def foreign_drawn(self) -> str | None:
        """The generator outside torch that has been drawn from since, if any."""
        if random.getstate() != self.python:
            return "random"
        return None if _numpy_state() == self.numpy else "numpy.random"


def _numpy_state() -> tuple[Any, ...]:
    """The state of NumPy's global generator, as what compares by value."""
    name, keys, *rest = cast(Any, numpy.random.get_state(legacy=True))  # noqa: NPY002
    return name, tuple(keys.tolist()), *rest


@contextmanager
def preserved() -> Iterator[None]:
    """Restore all generators afterwards; those of accelerators that are in use, too."""
    before = RandomState(_accelerators())
    try:
        yield
    finally:
        before.restore()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Temporarily seed all generators; they are restored afterwards."""
    with preserved():
        seed_torch(seed)
        random.seed(seed)
        numpy.random.seed(seed % 2**32)  # noqa: NPY002
        yield


def seed_torch(seed: int) -> None:
    """Seed torch; of accelerators only those in use, since others would start from this seed.

    It is cheap: torch keeps a formatted stack for every seed of a CUDA that is not in use.
    """
    if torch.cuda.is_initialized() or (
        torch.accelerator.is_available() and not torch.cuda.is_available()
    ):
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def stream(seed: int, index: int) -> numpy.random.SeedSequence:
    """Where the random numbers of a sample start, whatever other samples there are."""
    # a spawn key, not a longer seed: large seeds would run into the index
    return numpy.random.SeedSequence(seed, spawn_key=(index,))


def one_by_one(draw: Callable[[], Drawn], seed: int, n: int) -> list[Drawn]:
    """Draws from torch, each in the stream of its index; all generators are restored afterwards."""
    found = []
    with preserved():
        for index in range(n):
            seed_torch(int(stream(seed, index).generate_state(1, numpy.uint64)[0]))
            found.append(draw())
    return found


def _accelerators() -> list[torch.device]:
    """The accelerators of this process, unless none has been initialised."""
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return []
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
