"""How a model was built, for files that build it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppl_gen.data.tables import Schema


@dataclass(frozen=True)
class Recipe:
    """How a zoo constructor built a model: its name and arguments.

    Attributes:
        obstacle: the argument that cannot be written to a file, if any.
        schema: of the table that the model was trained on, if any.
    """

    name: str | None
    arguments: dict[str, Any]
    obstacle: str | None
    schema: Schema | None = None

    def __str__(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self.arguments.items() if is_plain(v))
        return f"{self.name}({shown})"


def is_plain(value: Any) -> bool:
    """Whether a value can be written to a file as it is: numbers, text, nothing, and tuples."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
