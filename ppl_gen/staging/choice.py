"""Whether a function is staged for a kind of call, as its caller sees fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ppl_gen.staging.costs import Work

Measure = Callable[[], Work]


class Always:
    """Every kind of call is staged."""

    def __call__(self, leaves: Sequence[Any], measure: Measure) -> bool:
        """Whether to stage calls like this, whose eager work can be counted."""
        return True

    def count(self, leaves: Sequence[Any]) -> None:
        """Take note of an eager call."""

    def note(self, leaves: Sequence[Any], text: str) -> None:
        """Take note of why a kind of call that was to be staged is not."""

    def compiling(self, leaves: Sequence[Any]) -> AbstractContextManager[None]:
        """A context in which calls like this are compiled."""
        return nullcontext()
