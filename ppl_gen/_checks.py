"""Argument checks: booleans, text and NaN are neither counts nor sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from torch import nn


def is_finite(*values: Any) -> bool:
    """Whether every value is a finite number."""
    numbers = (isinstance(v, Real) and not isinstance(v, bool) for v in values)
    return all(numbers) and all(map(math.isfinite, values))


def is_whole(value: Any, least: float = -math.inf) -> bool:
    """Whether a value is an integer by type, not below ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_positive(value: Any) -> bool:
    """Whether a value is a finite number above zero."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 < value < math.inf


def require_at_least_two(value: Any, what: str) -> int:
    """The number, or ``ValueError`` unless it is whole and at least 2."""
    if not is_whole(value, 2):
        raise ValueError(f"expected {what}, got {value!r}")
    return int(value)


def require_module(network: Any) -> nn.Module | None:
    """The network, or ``ValueError`` unless it is a module or None."""
    if network is not None and not isinstance(network, nn.Module):
        raise ValueError(f"expected a torch.nn.Module as the network, got {network!r}")
    return network


def require_shape(shape: Any) -> tuple[int, ...]:
    """The shape of a datum as a tuple of sizes, or ``ValueError``."""
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if not sizes or not all(is_whole(size, 1) for size in sizes):
        raise ValueError(
            f"expected a tuple of sizes, (D,) for rows or a data shape (C, H, W), got {shape}"
        )
    return sizes
