"""The thresholds by which glibc hands out and takes back large blocks, read and set.

They adapt to what a program frees until they are set. Where ours sets them, its peers are timed
with those that they had before.
"""

from __future__ import annotations

import ctypes

from ppl_gen.training.memory import LARGEST, MMAP_THRESHOLD, TRIM_THRESHOLD, _glibc

SMALLEST = 2**17  # from which to LARGEST glibc adapts
MAPPED = 2  # the bit in a block's header that says it has a mapping of its own


def threshold() -> int | None:
    """The size in bytes, to 4 KiB, from which a block gets a mapping of its own; for glibc only.

    The blocks tried are not freed, as that might change what is asked for, nor touched.
    """
    if _glibc() is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    allocate = ctypes.CDLL(None).malloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    low, high = SMALLEST, LARGEST
    while high - low > 4096:
        middle = (low + high) // 2
        header = ctypes.c_size_t.from_address(allocate(middle) - 8)
        low, high = (low, middle) if header.value & MAPPED else (middle, high)
    return high


def adapt(size: int | None) -> None:
    """Set the thresholds that glibc has after blocks of at most this size were freed."""
    if size is not None:
        library = _glibc()
        library.mallopt(MMAP_THRESHOLD, size)
        library.mallopt(TRIM_THRESHOLD, 2 * size)
