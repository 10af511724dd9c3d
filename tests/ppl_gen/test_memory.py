"""Memory that steps free is there for the next one, and goes back when training ends."""

import ctypes
import platform
import resource
from pathlib import Path

import pytest

from ppl_gen import memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")

BLOCK, COUNT = 2**24, 8  # together more than glibc keeps by itself
PAGE = resource.getpagesize()
LIBRARY = ctypes.CDLL(None)
LIBRARY.malloc.restype, LIBRARY.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
LIBRARY.free.argtypes = [ctypes.c_void_p]


def faults(times):
    """How often a page was mapped while blocks were allocated, filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        blocks = [LIBRARY.malloc(BLOCK) for _ in range(COUNT)]
        for block in blocks:
            ctypes.memset(block, 1, BLOCK)
        for block in blocks:
            LIBRARY.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_freed_memory_is_kept():
    many = 8 * COUNT * BLOCK / PAGE / 512  # even where pages are large
    with memory.kept():
        faults(4)
        held = resident()
        assert faults(8) < many / 10
        assert resident() - held < BLOCK
    faults(1)
    assert faults(8) > many / 2


def test_memory_goes_back_at_the_end():
    with memory.kept():
        faults(1)
        held = resident()
    assert held - resident() > 0.9 * COUNT * BLOCK


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with memory.kept():
        assert faults(2) >= 2 * COUNT * BLOCK / PAGE / 512
