"""A picture as SVG text, for places without scripts: notebooks opened as files, documents, print.

The same boxes and lines as on the page (:mod:`graphs.pictures.scene`), in the colours of
:mod:`graphs.pictures.shapes`. Every name is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from graphs.pictures.shapes import ASKED, BLOCKER, FONT_SIZE, HEIGHT, INK, OBSERVED, PATH, PLAIN

_LEGEND = (
    ("asked", "asked about"),
    ("observed", "observed"),
    ("latent", "latent"),
    ("path", "active path"),
    ("blocker", "blocks"),
)
BAR, NAME, NUMBER, ROW, SIDE = "#0072B2", 42, 28, 13, 6


def svg(
    scene: Mapping[str, Any],
    roles: Mapping[str, Any],
    bars: Mapping[str, Any] | None = None,
    title: str = "",
) -> str:
    """The picture of a scene.

    Args:
        scene: boxes, lines and plates, as the page gets them.
        roles: ``nodes``, what each node is to the question, and ``active``, edges as triples.
        bars: of the nodes drawn with bars, their ``states``, ``p`` and ``prior``.
        title: read aloud in place of the picture.
    """
    left, top, width, height = scene["box"]
    named = {n["id"]: {*roles["nodes"].get(n["id"], ()), *_flags(n)} for n in scene["nodes"]}
    used = {role for found in named.values() for role in found}
    legend = list(_legend([entry for entry in _LEGEND if entry[0] in used], width))
    bottom = height + 16 * max((row + 1 for row, *_ in legend), default=0)
    active = {tuple(edge) for edge in roles["active"]}
    body = [
        *map(_plate, scene["plates"]),
        *(_edge(e, (e["tail"], e["sign"], e["head"]) in active) for e in scene["edges"]),
        *(_node(n, named[n["id"]], (bars or {}).get(n["id"])) for n in scene["nodes"]),
        *(_key(left + 8 + x, top + height + 16 * row + 6, *entry) for row, x, entry in legend),
    ]
    box = " ".join(f"{number:.1f}" for number in (left, top, width, bottom))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{1.3 * width:.0f}" '
        f'role="img" style="max-width:100%;height:auto;background:#fff" '
        f'font-family="sans-serif" font-size="{FONT_SIZE}">'
        f"<title>{_text(title)}</title>{''.join(body)}</svg>"
    )


def _flags(node: Mapping[str, Any]) -> Iterator[str]:
    yield from (flag for flag in ("latent", "faded", "randomised") if node.get(flag))


def _text(name: str) -> str:
    """Escaped, without the characters that XML has no way to write."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in name))


def _plate(plate: Mapping[str, Any]) -> str:
    x, y, w, h = (plate[key] for key in "xywh")
    return (
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="none" stroke="#666"/>'
        f'<text x="{x + w - 6}" y="{y + h - 5}" text-anchor="end" font-size="10" fill="#555">'
        f"{_text(plate['label'])}</text>"
    )


def _edge(edge: Mapping[str, Any], active: bool) -> str:
    colour, width = (PATH, 3) if active else (INK, 1.2)
    if edge["mark"] == "compelled":
        width = 2.6
    dashes = ' stroke-dasharray="4 3"' if edge["mark"] in ("added", "reversible") else ""
    heads = f'<path d="{"".join(edge["heads"])}" fill="{colour}"/>' if edge["heads"] else ""
    line = (
        f'<path d="{edge["line"]}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'
    )
    return line + heads


def _body(x: float, y: float, w: float, h: float, roles: set[str]) -> str:
    fill = OBSERVED if "observed" in roles else ASKED if "asked" in roles else PLAIN
    stroke, width = (PATH, 2.6) if "path" in roles else (INK, 1.2)
    dashes = ' stroke-dasharray="4 3"' if "latent" in roles else ""
    if "randomised" in roles:
        dashes, width = ' stroke-dasharray="1 2"', 3
    ring = ""
    if "blocker" in roles:
        ring = (
            f'<rect x="{x - 4}" y="{y - 4}" width="{w + 8}" height="{h + 8}" '
            f'rx="{min(h, HEIGHT) / 2 + 4}" fill="none" stroke="{BLOCKER}" stroke-width="2.6"/>'
        )
    return ring + (
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{min(h, HEIGHT) / 2}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="{width}"{dashes}/>'
    )


def _node(node: Mapping[str, Any], roles: set[str], bar: Mapping[str, Any] | None) -> str:
    x, y, w, h = (node[key] for key in "xywh")
    lines = node["lines"]
    small = ' font-size="8.25"' if len(lines) > 1 else ""
    middle = y - h / 2 + HEIGHT / 2 if h > HEIGHT else y
    offsets = (3.8,) if len(lines) == 1 else (-1.4, 8.4)
    names = "".join(
        f'<text x="{x}" y="{middle + dy:.1f}" text-anchor="middle"{small}>{_text(line)}</text>'
        for line, dy in zip(lines, offsets, strict=True)
    )
    faded = ' opacity="0.25"' if "faded" in roles else ""
    rows = "".join(_rows(x - w / 2, y - h / 2 + HEIGHT, w, bar)) if bar and h > HEIGHT else ""
    return f"<g{faded}>{_body(x - w / 2, y - h / 2, w, h, roles)}{names}{rows}</g>"


def _rows(left: float, top: float, width: float, bar: Mapping[str, Any]) -> Iterator[str]:
    order = range(len(bar["p"]))
    shown = sorted(sorted(order, key=lambda i: -bar["p"][i])[:4])
    room = width - 2 * SIDE - NAME - NUMBER
    for row, i in enumerate(shown):
        y, x = top + ROW * row, left + SIDE
        p, prior, state = bar["p"][i], bar["prior"][i], str(bar["states"][i])
        name = state if len(state) <= 7 else f"{state[:6]}…"
        yield (
            f'<text x="{x}" y="{y + 7.5}" font-size="8.5">{_text(name)}</text>'
            f'<rect x="{x + NAME}" y="{y}" width="{p * room:.1f}" height="8.5" fill="{BAR}"/>'
            f'<rect x="{x + NAME}" y="{y + 0.5}" width="{prior * room:.1f}" height="7.5" '
            f'fill="none" stroke="{INK}"/>'
            f'<text x="{left + width - SIDE}" y="{y + 7.5}" text-anchor="end" font-size="8.5">'
            f"{100 * p:.1f}%</text>"
        )


def _legend(
    entries: Sequence[tuple[str, str]], width: float
) -> Iterator[tuple[int, float, tuple[str, str]]]:
    """Row and place of every entry, as many in a row as there is room for."""
    row, x = 0, 0.0
    for entry in entries:
        size = 40 + 5.5 * len(entry[1])
        if x and x + size > width:
            row, x = row + 1, 0.0
        yield row, x, entry
        x += size


def _key(x: float, y: float, role: str, text: str) -> str:
    body = _body(x, y - 8, 18, 10, {role})
    return f'{body}<text x="{x + 24}" y="{y}" font-size="9" fill="#333">{text}</text>'
