"""Programs and guides named in text, as on a command line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from graphs.guides.gaps import GuideGaps, guide_gaps
from graphs.language.suggestions import did_you_mean


def named_gaps(model: str, guide: str, arguments: str | None = None) -> GuideGaps:
    """The gaps of a guide, all named as ``module:name``, in modules of the folder one works in.

    Args:
        model: a Pyro program.
        guide: another, or the name of a class such as ``AutoNormal`` of ``pyro.infer.autoguide``.
        arguments: what both are called with; a tuple, or a single argument.

    Raises:
        ValueError: a module that cannot be imported, a name that it does not have, what cannot be
            called, programs that fail; what :func:`graphs.guide_gaps` refuses.
    """
    program = _callable(model)
    given = () if arguments is None else named(arguments)
    other = _guide(guide, program)
    try:
        return guide_gaps(program, other, *(given if isinstance(given, tuple) else (given,)))
    except ValueError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ValueError(f"expected programs that run, got {reason}") from error


def named(text: str) -> Any:
    """What ``module:name`` stands for; importing the module runs it.

    Raises:
        ValueError: another text, a module that cannot be imported, a name that it does not have.
    """
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise ValueError(f"expected module:name, such as programs:model, got {text!r}")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"expected a module that can be imported, got {module!r}: {reason}"
        ) from error
    if not hasattr(found, name):
        raise ValueError(
            f"expected a name of module {module}, got {name!r}{did_you_mean(name, dir(found))}"
        )
    return getattr(found, name)


def _guide(text: str, program: Callable[..., Any]) -> Callable[..., Any]:
    from pyro.infer import autoguide

    if ":" in text:
        return _callable(text)
    kind = getattr(autoguide, text, None) if text.startswith("Auto") else None
    if kind is None:
        got = f"{text!r}{did_you_mean(text, dir(autoguide))}"
        raise ValueError(f"expected module:name or an autoguide such as AutoNormal, got {got}")
    return kind(program)


def _callable(text: str) -> Callable[..., Any]:
    found = named(text)
    if not callable(found):
        kind = type(found).__name__
        raise ValueError(f"expected a program, got {text!r}, which is of type {kind}")
    return found
