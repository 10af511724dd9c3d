"""Modules in Pyro's parameter store, under names that no two instances share."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pyro
from pyro import poutine
from torch import Tensor, nn

_registering: ContextVar[bool] = ContextVar("registering", default=True)
_counter = itertools.count()
_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


def store_name(module: nn.Module) -> str:
    """A name for Pyro's parameter store that no other instance, copies included, will have."""
    if module not in _names:
        _names[module] = f"{type(module).__name__}_{next(_counter)}"
    return _names[module]


def register(module: nn.Module) -> None:
    """Enter a module's parameters in Pyro's store, unless :func:`unregistered` says not to."""
    if _registering.get():
        pyro.module(store_name(module), module)


@contextmanager
def unregistered() -> Iterator[None]:
    """Run the programs without entering their parameters in Pyro's parameter store.

    For callers that hold the parameters themselves, such as :func:`ppl_gen.fit`.
    """
    token = _registering.set(False)
    try:
        yield
    finally:
        _registering.reset(token)


def param_leaves(trace: poutine.Trace) -> dict[str, Tensor]:
    """The unconstrained parameters behind the ``pyro.param`` sites of a trace, by name."""
    sites: dict[str, Any] = trace.nodes
    return {n: s["value"].unconstrained() for n, s in sites.items() if s["type"] == "param"}
