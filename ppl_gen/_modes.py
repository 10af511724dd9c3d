"""Modes a model is put in for as long as something else runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import pyro
import torch
from torch import Tensor, nn

from ppl_gen import _random
from ppl_gen._exclusive import exclusive


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Temporarily switch to evaluation mode."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Temporarily draw from a seed, if given one; the global generators are restored afterwards.

    Raises:
        ValueError: another thread is training, whose draws these would change.
    """
    drawing = nullcontext() if seed is None else _random.seeded(seed)
    with exclusive("a draw", training=False), drawing:
        yield


_unreadable = ContextVar("unreadable", default=False)


@contextmanager
def unreadable() -> Iterator[None]:
    """Temporarily let no code look at values, which a recording would take for constants."""
    token = _unreadable.set(True)
    try:
        yield
    finally:
        _unreadable.reset(token)


def is_readable(tensor: Tensor) -> bool:
    """Whether code may look at values: not where it is exported or traced, nor under ``vmap``."""
    if torch.compiler.is_compiling() or _unreadable.get():
        return False
    try:
        tensor.flatten()[:1].sum().item()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def validation(values: Tensor) -> AbstractContextManager[None]:
    """Validation of distributions as it is set, but none where values cannot be looked at."""
    return nullcontext() if is_readable(values) else pyro.validation_enabled(False)
