"""Memory that one training step frees, kept for the next.

glibc returns large blocks to the operating system as soon as they are freed, so that every step
would have its pages mapped and cleared again: some 80 MiB for a small convolutional model, which on
a virtual machine can be a quarter of the step's time.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from graphs.language.suggestions import suggesting

# Parameters of mallopt(3). Blocks above 32 MiB, where glibc's adaptation of the thresholds ends,
# are mapped one by one as before: in one heap with the others, they would leave gaps that grow.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 32 * 2**20


@contextmanager
def retained() -> Iterator[None]:
    """Keep freed memory in the process, and give it back at the end.

    For a training loop of one's own; :func:`ppl_gen.fit` does it. Without glibc, or for blocks of
    other threads than the main one, nothing changes.

    >>> vae, x = ppl_gen.zoo.vae((4,), 2, hidden=8), torch.zeros(6, 4)
    >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), ppl_gen.ELBO())
    >>> with ppl_gen.training.memory.retained():
    ...     losses = [svi.step(x) for _ in range(3)]
    >>> len(losses)
    3
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(MMAP_THRESHOLD, LARGEST)
    library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(TRIM_THRESHOLD, 2 * LARGEST)
        library.malloc_trim(0)


kept = retained


@cache
def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
