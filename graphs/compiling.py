"""Plain code first, compiled code once there is enough to do.

Importing numba takes a third of a second and compiling, once on a machine, seconds; a small
question is answered in milliseconds without. So every part that has compiled code has plain code
beside it, which a process uses until it has asked for a certain amount of work. The amount is
counted, in units that take about as long as one another. Neither the clock nor what earlier
processes left on disk decides, so that the same calls take the same way every time.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any


class Budget:
    """The work that a process does in plain code before compiled code takes over for good.

    Args:
        most: units of work.
    """

    def __init__(self, most: float):
        self.most = most
        self.asked = 0.0

    def allows(self, work: float) -> bool:
        """Whether plain code may do so much more; it is counted either way."""
        self.asked += work
        return self.asked <= self.most

    def end(self) -> None:
        """Leave everything to compiled code from now on."""
        self.asked = max(self.asked, self.most + 1)


def compiled(signature: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile at once for a signature, else on the first call; keep it on disk where possible."""
    from numba import njit

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, cache=True, **options)(function)
        except RuntimeError:  # no folder to cache in
            return njit(signature, **options)(function)

    return decorate


def compiled_together(*functions: Any, signature: str) -> Any:
    """The last of some plain functions, compiled for a signature with those it calls.

    The functions themselves stay as they are: copies of them find each other compiled.
    """
    names = dict(functions[0].__globals__)
    for function in functions:
        copy = FunctionType(function.__code__, names, function.__name__)
        copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
        last = function is functions[-1]
        names[function.__name__] = compiled(signature if last else None)(copy)
    return names[functions[-1].__name__]
