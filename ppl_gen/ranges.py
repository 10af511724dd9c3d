"""Argument checks: booleans, text and NaN are no numbers."""

from __future__ import annotations

import math
from typing import Any


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is an integer by type, not below ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_positive(value: Any) -> bool:
    """Whether a value is a finite number above zero."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 < value < math.inf
