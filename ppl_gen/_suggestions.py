"""What somebody may have meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'vae'?)"``, or nothing where no known name is near.

    >>> from ppl_gen._suggestions import did_you_mean
    >>> did_you_mean("betavae", ["vae", "beta_vae"])
    " (did you mean 'beta_vae'?)"
    >>> did_you_mean("latent", ["latent_dim", "hidden"])
    " (did you mean 'latent_dim'?)"
    """
    lowered = {text.lower(): text for text in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    if not near and len(name) > 2:
        near = [text for text in lowered if text.startswith(name.lower())][:1]
    return f" (did you mean {lowered[near[0]]!r}?)" if near else ""


def no_attribute(module: str, name: str, known: Iterable[str]) -> str:
    """The message for an attribute that a module does not have."""
    return f"module {module!r} has no attribute {name!r}{did_you_mean(name, known)}"


def suggesting(module: str, known: Sequence[str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which is called for names that the module does not have."""

    def missing(name: str) -> Any:
        raise AttributeError(no_attribute(module, name, known))

    return missing
