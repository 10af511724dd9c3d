"""Comparisons that a recorded step takes for granted, since the eager step before it made them."""

from __future__ import annotations

import torch
from torch import Tensor


def is_same(first: Tensor, second: Tensor) -> bool:
    """Whether two terms are equal up to rounding."""
    return torch.allclose(first, second, rtol=1e-3, atol=1e-3, equal_nan=True)
