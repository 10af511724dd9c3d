"""Memory that steps free is there for the next one, and goes back when training ends.

Measured in a process of its own, as glibc gives back only what nothing else lies above.
"""

import ctypes
import json
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ppl_gen.training import memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")

BLOCK, COUNT = 2**24, 8  # together more than glibc keeps by itself
PAGE = resource.getpagesize()
MANY = 8 * COUNT * BLOCK / PAGE / 512  # even where pages are large


def faults(times):
    """How often a page was mapped while blocks were allocated, filled and freed."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        blocks = [library.malloc(BLOCK) for _ in range(COUNT)]
        for block in blocks:
            ctypes.memset(block, 1, BLOCK)
        for block in blocks:
            library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure():
    found = {}
    with memory.retained():
        faults(4)
        found["at first"] = resident()
        found["faults while kept"] = faults(8)
        found["at last"] = resident()
    found["after"] = resident()
    faults(1)
    found["faults after"] = faults(8)
    return found


@pytest.fixture(scope="module")
def found():
    ran = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def test_freed_memory_is_kept(found):
    assert found["faults while kept"] < MANY / 10
    assert found["at last"] - found["at first"] < BLOCK


def test_memory_goes_back_at_the_end_and_from_then_on(found):
    assert found["at last"] - found["after"] > 0.9 * COUNT * BLOCK
    assert found["faults after"] > MANY / 2


def test_without_glibc_the_body_runs_all_the_same(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    ran = []
    with memory.retained():
        ran.append(True)
    assert ran


def test_the_former_name_stays():
    assert memory.kept is memory.retained


if __name__ == "__main__":
    print(json.dumps(measure()))
