"""The global random generators of torch, Python and NumPy, as one.

A model draws from torch, but what reads and augments its data may draw from any of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy
import pyro.util
import torch


def state() -> dict[str, Any]:
    """The states of all generators, as tensors, numbers and text."""
    found: dict[str, Any] = pyro.util.get_rng_state()
    name, keys, *rest = found["numpy"]
    found["numpy"] = [name, keys.tolist(), *rest]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def restore(found: Mapping[str, Any]) -> None:
    """Continue from states that :func:`state` gave."""
    pyro.util.set_rng_state(dict(found))
    if "cuda" in found:
        torch.cuda.set_rng_state_all(found["cuda"])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Temporarily seed all generators; they are restored afterwards."""
    before = state()
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        restore(before)
