"""What somebody may have meant by a name that does not exist."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant, or ``None`` where none is near; case counts last.

    Of names that share enough letters in order, the one that the fewest slips of the keyboard
    lead to: a letter too many, missing, wrong, or changed over with the next.

    >>> from graphs.language.suggestions import nearest
    >>> nearest("vea", ["veegan", "vae", "wgan"])
    'vae'
    """
    written: dict[str, list[str]] = {}
    for text in known:
        written.setdefault(text.lower(), []).append(text)
    typed = name.lower()
    near = difflib.get_close_matches(typed, written, n=5)
    if not near and len(name) > 2:
        near = [text for text in written if text.startswith(typed)]
    if not near:
        return None
    meant = min(near, key=lambda text: _slips(typed, text))
    return min(written[meant], key=lambda text: _slips(name, text))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'vae'?)"``, or nothing where no known name is near.

    >>> from graphs.language.suggestions import did_you_mean
    >>> did_you_mean("betavae", ["vae", "beta_vae"])
    " (did you mean 'beta_vae'?)"
    >>> did_you_mean("latent", ["latent_dim", "hidden"])
    " (did you mean 'latent_dim'?)"
    """
    meant = nearest(name, known)
    return "" if meant is None else f" (did you mean {meant!r}?)"


def no_attribute(module: str, name: str, known: Iterable[str]) -> str:
    """The message for an attribute that a module does not have.

    >>> from graphs.language.suggestions import no_attribute
    >>> no_attribute("graphs", "querry", graphs.__all__)
    "module 'graphs' has no attribute 'querry' (did you mean 'query'?)"
    """
    return f"module {module!r} has no attribute {name!r}{did_you_mean(name, known)}"


def suggesting(module: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which is called for names that the module does not have."""

    def missing(name: str) -> Any:
        raise AttributeError(no_attribute(module, name, _public(module)))

    return missing


def _public(module: str) -> list[str]:
    """The names in a module's ``__all__``, or those that it defines without an underscore."""
    found = vars(sys.modules[module])
    if "__all__" in found:
        return list(found["__all__"])
    return [
        name
        for name, value in found.items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module
    ]


def _slips(a: str, b: str) -> int:
    """The restricted Damerau-Levenshtein distance of two texts."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
