"""Running a function for its result alone: every tensor it writes to can be put back.

Staging runs a program several times where its user runs it once. Random states, running statistics
of batch normalisation and whatever else programs keep in tensors must come out as after one run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ppl_gen.staging.recording import storage_of, written_to
from ppl_gen.staging.torch_internals import LeanMode


class Sandbox(LeanMode):
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
