"""A model as a table of its parts, for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from torch import nn


def parts_table(model: nn.Module, headline: str) -> str:
    """A table with a row for every part: its place, its kind, and how many parameters it has.

    >>> from ppl_gen.models.representation import parts_table
    >>> table = parts_table(ppl_gen.zoo.vae((4,), 2, hidden=8), "a VAE of tables")
    >>> "<td>z.prior</td><td>StandardNormal</td><td>0</td>" in table
    True
    """
    rows = "".join(
        f"<tr><td>{escape(place)}</td><td>{escape(kind)}</td><td>{size:,}</td></tr>"
        for place, kind, size in _parts(model)
    )
    head = "<tr><th>part</th><th>kind</th><th>parameters</th></tr>"
    return f"<table><caption>{escape(headline)}</caption>{head}{rows}</table>"


def _parts(model: nn.Module) -> Iterator[tuple[str, str, int]]:
    """The parts of a model; sites of a list by their own names, with their parts."""
    for name, part in model.named_children():
        if isinstance(part, nn.ModuleList):
            for rank, site in enumerate(part):
                own = str(getattr(site, "name", f"{name}[{rank}]"))
                yield from (_row(f"{own}.{place}", inner) for place, inner in site.named_children())
        else:
            yield _row(name, part)


def _row(place: str, part: nn.Module) -> tuple[str, str, int]:
    return place, type(part).__name__, sum(p.numel() for p in part.parameters())
