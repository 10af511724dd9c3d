"""A page of sections, each with a text, a table, a note and a picture: printed, and as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Section:
    """One stop: what was asked, what came out, and a picture.

    The first of the rows is the header of the table.
    """

    title: str
    text: str
    rows: list[tuple[str, ...]] = field(default_factory=list)
    note: str = ""
    picture: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd; }
pre { background: #f6f6f6; padding: .8rem 1rem; white-space: pre-wrap; border-radius: 4px; }
img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
nav li { margin: .2rem 0; }
@media (prefers-color-scheme: dark) {
  body { background: #16181b; color: #ddd; } a { color: #8ab4f8; }
  th, td { border-color: #444; } pre { background: #24272b; } img { background: #fff; }
}
"""


def to_html(title: str, sections: Sequence[Section], more: tuple[str, str] | None = None) -> str:
    """A self-contained page that shows the sections' pictures by their file names.

    Args:
        title: of the page.
        sections: in order.
        more: a file beside the page to go on with, and what it is.
    """
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
    ]
    listed = (
        f'<li><a href="#stop-{n}">{html.escape(s.title)}</a></li>'
        for n, s in enumerate(sections, start=1)
    )
    parts.append(f"<nav><ol>{''.join(listed)}</ol></nav>")
    for number, section in enumerate(sections, start=1):
        parts.append(f'<h2 id="stop-{number}">{number}. {html.escape(section.title)}</h2>')
        parts.append(f"<p>{html.escape(section.text)}</p>")
        parts.append('<div class="wide"><table>')
        for position, row in enumerate(section.rows):
            parts.append(_row(row, "td" if position else "th"))
        parts.append("</table></div>")
        if section.note:
            parts.append(f"<pre>{html.escape(section.note)}</pre>")
        if section.picture:
            parts.append(f'<img src="{section.picture}" alt="{html.escape(section.title)}">')
    if more:
        name, text = map(html.escape, more)
        parts.append(f'<p><a href="{name}">{text}</a></p>')
    return "\n".join([*parts, "</body></html>\n"])


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def to_text(number: int, section: Section) -> str:
    """One section as text for a terminal."""
    lines = [f"{number}. {section.title}", f"   {section.text}"]
    widths = [max(map(len, column)) for column in zip(*section.rows, strict=True)]
    for row in section.rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("   " + "  ".join(cells).rstrip())
    if section.note:
        lines.append("   " + section.note.replace("\n", "\n   "))
    return "\n".join(lines)
