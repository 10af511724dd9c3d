"""Running a function for its result alone: every tensor it writes to is put back.

Staging runs a program several times where its user runs it once. Random states, running statistics
of batch normalisation and other state that programs keep in tensors must come out as after one run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ppl_gen.recording import storage_of, written_to


class Sandbox(TorchDispatchMode):
    """While active, remembers what tensors contained before they were first written.

    Attributes:
        before: pairs of a tensor that existed before and its old contents, in order of writing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: list[tuple[Tensor, Tensor]] = []
        self._seen: set[tuple[Any, ...]] = set()
        self._born: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = ...
        for tensor in written_to(func, args, kwargs):
            key = (storage_of(tensor), tensor.storage_offset(), tensor.shape, tensor.stride())
            if key[0] not in self._born and key not in self._seen:
                self._seen.add(key)
                self.before.append((tensor, tensor.clone()))
        return func(*args, **kwargs)
