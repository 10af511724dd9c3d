"""Running a function for its result alone: every tensor it writes to can be put back.

Staging runs a program several times where its user runs it once. Random states, running statistics
of batch normalisation and whatever else programs keep in tensors must come out as after one run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, cast

import numpy
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ppl_gen.staging.recording import storage_of, written_to


class Sandbox(TorchDispatchMode):
    """While active, remembers what tensors contained before they were first written to.

    Attributes:
        written: the tensors that existed before and were written to, each with its old contents.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[Tensor, Tensor]] = []
        self._seen: set[tuple[Any, ...]] = set()
        self._born: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in written_to(func, args, kwargs):
            storage = storage_of(tensor)
            region = (storage, tensor.storage_offset(), tensor.shape, tensor.stride())
            if storage not in self._born and region not in self._seen:
                self._seen.add(region)
                self.written.append((tensor, tensor.clone()))
        result = func(*args, **kwargs)
        old = {storage_of(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        new = {storage_of(leaf) for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}
        self._born |= new - old
        return result

    @torch.no_grad()
    def restore(self) -> None:
        """Put the old contents back."""
        for tensor, contents in reversed(self.written):
            tensor.copy_(contents)


class RandomState:
    """The states of torch's generators on some devices, and of those of Python and numpy."""

    def __init__(self, devices: Iterable[torch.device]):
        self.cpu = torch.get_rng_state()
        self.accelerators = [
            (device, torch.get_device_module(device).get_rng_state(device))
            for device in {d for d in devices if d.type != "cpu"}
        ]
        self.python, self.numpy = random.getstate(), _numpy_state()

    def restore(self) -> None:
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
    """The state of numpy's global generator, as what compares by value."""
    name, keys, *rest = cast(Any, numpy.random.get_state(legacy=True))  # noqa: NPY002
    return name, tuple(keys.tolist()), *rest
