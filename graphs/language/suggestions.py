"""What somebody may have meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def no_attribute(module: str, name: str, known: Iterable[str]) -> str:
    """The message for an attribute that a module does not have.

    >>> from graphs.language.suggestions import no_attribute
    >>> no_attribute("graphs", "querry", graphs.__all__)
    "module 'graphs' has no attribute 'querry' (did you mean 'query'?)"
    """
    lowered = {text.lower(): text for text in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    hint = f" (did you mean {lowered[near[0]]!r}?)" if near else ""
    return f"module {module!r} has no attribute {name!r}{hint}"
