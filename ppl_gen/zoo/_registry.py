"""The registry of named models: what the command line lists and the law tests run over."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from ppl_gen.vae import VAE, Recipe, is_plain

P = ParamSpec("P")


@dataclass(frozen=True)
class Entry:
    """A named model: its constructor, the paper it comes from, and the year."""

    name: str
    build: Callable[..., VAE]
    paper: str
    year: int


registry: dict[str, Entry] = {}


def named(paper: str, year: int) -> Callable[[Callable[P, VAE]], Callable[P, VAE]]:
    """Register a constructor under its own name; what it builds remembers its arguments.

    Arguments declared as whole numbers are checked to be.
    """

    def register(build: Callable[P, VAE]) -> Callable[P, VAE]:
        signature = inspect.signature(build)

        @functools.wraps(build)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> VAE:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            arguments |= arguments.pop("parts", {})
            for name, value in arguments.items():
                known = signature.parameters.get(name)
                if known and known.annotation == "int" and not isinstance(value, int):
                    raise ValueError(f"expected a whole number for {name}, got {value!r}")
            model = build(*args, **kwargs)
            odd = [name for name, value in arguments.items() if not is_plain(value)]
            model.recipe = Recipe(build.__name__, arguments, odd[0] if odd else None)
            return model

        registry[build.__name__] = Entry(build.__name__, wrapper, paper, year)
        return wrapper

    return register
