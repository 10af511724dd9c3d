"""One thread at a time, where global state decides the result.

Pyro's effect handlers and parameter store and torch's random generator belong to the process. Two
threads that train at once would see each other's sample sites and draws, so the second is refused.
What only draws or evaluates is over soon: others wait for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()
_running: list[tuple[str, bool]] = []
POLL = 0.01  # seconds


@contextmanager
def exclusive(what: str, *, training: bool = True) -> Iterator[None]:
    """Run alone among the threads of this process; in one thread, calls may be nested.

    Args:
        what: is run, for the messages of others.
        training: whether others are refused meanwhile; they wait otherwise.

    Raises:
        ValueError: another thread is training.
    """
    while not _lock.acquire(timeout=POLL):
        if trainings := [name for name, trains in tuple(_running) if trains]:
            raise ValueError(
                f"expected no other training in this process, got {what} while another thread "
                f"runs {trainings[0]}: threads share Pyro's handlers, its parameter store and the "
                "random generators, so wait for it, or use a process of its own"
            )
    lock, running = _lock, _running
    running.append((f"{what} ({threading.current_thread().name})", training))
    try:
        yield
    finally:
        running.pop()
        lock.release()


def _reset() -> None:
    """A forked process has none of the other threads."""
    global _lock, _running
    _lock, _running = threading.RLock(), []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
