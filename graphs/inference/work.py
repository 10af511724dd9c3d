"""What inference does in plain code before compiled code takes over (:mod:`graphs.compiling`).

A unit is about ten nanoseconds. The orders found are the same either way; sums agree to 1e-12.
"""

from __future__ import annotations

from graphs.compiling import Budget

BUDGET = Budget(50_000_000)  # half a second: as long as reading compiled code from disk takes
COMPARISON = 100  # of two vertices while looking for an order
STEP = 1_500  # a contraction of tables, however small
CELL = 1  # a product in a contraction, for one row
