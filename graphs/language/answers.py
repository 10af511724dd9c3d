"""What all answers have in common: they explain themselves."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape


class Explained:
    """An answer that explains itself, on a console and in a notebook."""

    def _lines(self) -> Iterator[str]:
        raise NotImplementedError

    def explain(self) -> str:
        """Why, in English, with a reason a line."""
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.explain())}</pre>"
