"""What is changed in the HTML of a page before it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

BREAKS = re.compile(r"(?<=[._])(?=\w)")  # where a dotted name may go on in the next line
# Links, headings and blocks of code stay as they are; what is left over is code within a line.
CODE = re.compile(
    r"<(a|h[1-6]|pre|dt)\b.*?</\1>"
    r'|<code class="docutils literal notranslate">(.*?)</code>',
    re.DOTALL,
)


def breaking(name: str) -> str:
    """A dotted name that breaks between its words, and other titles as they are."""
    return BREAKS.sub("<wbr>", name) if re.fullmatch(r"\w+(\.\w+)+", name) else name


def linked(body: str, address: Callable[[str], str | None]) -> str:
    """A page whose code within lines links to what it calls.

    Args:
        body: the page.
        address: where a public name is described, or None for what is no public name.
    """

    def with_link(found: re.Match[str]) -> str:
        code = unescape(re.sub("<[^>]*>", "", found[2] or ""))
        call = re.match(r"(?:not )?((?:graphs|ppl_gen)(?:\.\w+)+)", code)
        name = call[1] if call else ""
        while "." in name:
            if target := address(name):
                return f'<a class="reference internal" href="{target}">{found[0]}</a>'
            name = name.rpartition(".")[0]
        return found[0]

    return CODE.sub(with_link, body)


def sized(body: str, file: Callable[[str], Path | None]) -> str:
    """A page whose pictures say how large they are, so that the text below them stays in place.

    Args:
        body: the page.
        file: the picture that the page calls by a name, or None for what is none of its own.
    """
    from PIL import Image

    def with_size(found: re.Match[str]) -> str:
        path = file(found[1])
        if path is None or " width=" in found[0]:
            return found[0]
        with Image.open(path) as picture:
            width, height = picture.size
        return f'<img width="{width}" height="{height}"{found[0].removeprefix("<img")}'

    return re.sub(r'<img [^>]*?src="[^"]*?_images/([^"/]+\.png)"[^>]*>', with_size, body)


def finish(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Change a page of Sphinx's event ``html-page-context`` where it lies."""
    pictures = {name: Path(app.srcdir) / path for path, name in app.builder.images.items()}
    pages = {
        title.astext(): page
        for page, title in app.env.titles.items()
        if page.startswith("reference/") and page != pagename
    }

    def address(name: str) -> str | None:
        return app.builder.get_relative_uri(pagename, pages[name]) if name in pages else None

    if body := context.get("body"):
        body = re.sub(r"(?<=<h1>)[^<]+", lambda found: breaking(found[0]), body, count=1)
        body = re.sub(r"(?<=\d) ± (?=\d)", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", body)
        context["body"] = sized(linked(body, address), pictures.get)
    for side in ("prev", "next"):
        if there := context.get(side):
            context[side] = there | {"title": breaking(there["title"])}
