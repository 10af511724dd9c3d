"""What kind of call it is: the structure of its arguments, the layout of tensors, plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import (
    TreeSpec,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_unflatten,
)

from ppl_gen.staging.recording import NotStageable

Key: TypeAlias = tuple[Any, ...]
PLAIN = (bool, int, str, bytes, type(None), torch.dtype, torch.device)


@dataclass(frozen=True)
class Call:
    """The arguments of one call, taken apart.

    Attributes:
        key: equal for calls that differ in the contents of tensors and the values of floats only.
        tensors: the tensors, in order.
        floats: the Python floats, in order.
    """

    key: Key
    tensors: Sequence[Tensor]
    floats: tuple[float, ...]
    leaves: Sequence[Any]
    spec: TreeSpec | None

    def arguments(
        self,
        tensors: Sequence[Tensor] | None = None,
        floats: Sequence[float | Tensor] | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with other tensors and floats in place of its own if given."""
        tensors = self.tensors if tensors is None else tensors
        floats = self.floats if floats is None else floats
        if self.spec is None:
            return tuple(tensors), {}
        new_tensors, new_floats = iter(tensors), iter(floats)
        leaves = [
            next(new_tensors)
            if isinstance(leaf, Tensor)
            else next(new_floats)
            if isinstance(leaf, float)
            else leaf
            for leaf in self.leaves
        ]
        args, kwargs = tree_unflatten(leaves, self.spec)
        return args, kwargs

    def names(self) -> list[str]:
        """What to call the tensors, in order: ``args[0]``, ``kwargs['y']``."""
        if self.spec is None:
            return [f"args[{i}]" for i in range(len(self.tensors))]
        args, kwargs = tree_unflatten(self.leaves, self.spec)
        leaves, _ = tree_flatten_with_path({"args": args, "kwargs": kwargs})
        titles = [(keystr(path), leaf) for path, leaf in leaves]
        return [
            title.replace("['args']", "args").replace("['kwargs']", "kwargs")
            for title, leaf in titles
            if isinstance(leaf, Tensor)
        ]


def flatten_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Take the arguments of a call apart.

    Raises:
        NotStageable: an argument is neither a tensor nor a plain value, or requires a gradient.
    """
    if not kwargs and all(type(arg) is Tensor and not arg.requires_grad for arg in args):
        return Call(tuple(map(_layout, args)), args, (), args, None)
    leaves, spec = tree_flatten((args, dict(kwargs)))
    key: list[Any] = [spec]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and not leaf.requires_grad:
            key.append(_layout(leaf))
        elif isinstance(leaf, (float, *PLAIN)):
            key.append((type(leaf), None if isinstance(leaf, float) else leaf))
        elif isinstance(leaf, Tensor):
            raise NotStageable("an argument requires a gradient; expected data")
        else:
            kind = f"{type(leaf).__module__}.{type(leaf).__qualname__}"
            raise NotStageable(f"an argument is a {kind}; expected tensors and plain values")
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    floats = tuple(leaf for leaf in leaves if isinstance(leaf, float))
    return Call(tuple(key), tensors, floats, leaves, spec)


def _layout(tensor: Tensor) -> Key:
    return type(tensor), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
