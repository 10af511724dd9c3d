"""The page as HTML: served beside its script, or one file with everything in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from graphs.interactive.replies import Json

# Starts the front end: a server answers events where there is a token in the address.
_SERVED = """
import page from "/page.js";
page.serve(document.getElementById("page"));
"""
_SAVED = """
page.saved(
  document.getElementById("page"),
  JSON.parse(document.getElementById("replies").textContent),
);
"""


@cache
def asset(name: str) -> str:
    """The text of a file that is shipped beside the code."""
    return files("graphs.interactive").joinpath("static", name).read_text(encoding="utf-8")


def served(nonce: str) -> str:
    """The page that a server shows; it says nothing about the model before it has the token."""
    return _document(
        "graphs",
        '<link rel="stylesheet" href="/page.css">',
        f'<script type="module" nonce="{nonce}">{_SERVED}</script>',
    )


def leading(address: str) -> str:
    """A page that leads on to an address at once."""
    return (
        '<!doctype html>\n<meta charset="utf-8">\n<meta name="referrer" content="no-referrer">\n'
        f'<meta http-equiv="refresh" content="0; url={escape(address)}">\n<title>graphs</title>\n'
        f'<a href="{escape(address)}">The page</a>\n'
    )


def policy(nonce: str) -> str:
    """What the served page may load: its own script and style, and answers from its server."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}' 'self'; connect-src 'self'; "
        "style-src 'self'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def saved(replies: Sequence[Json], title: str, fallback: str) -> str:
    """One file that shows the replies without a server and without a network.

    Args:
        replies: of the steps in order; the last is shown first.
        title: of the document.
        fallback: what is shown where scripts are off, as HTML.
    """
    script = _module_as_script(asset("page.js")) + _SAVED
    style = asset("page.css")
    rules = (
        "default-src 'none'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
        f"script-src {_digest(script)}; style-src {_digest(style)}"
    )
    data = json.dumps(list(replies), allow_nan=False).replace("<", r"\u003c")
    return _document(
        title,
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n<style>{style}</style>',
        f'<script id="replies" type="application/json">{data}</script>\n'
        f'<script type="module">{script}</script>',
        fallback,
    )


def _document(title: str, head: str, scripts: str, fallback: str = "") -> str:
    missing = fallback or "This page needs JavaScript."
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
{head}
</head>
<body>
<main id="page"></main>
<noscript>{missing}</noscript>
{scripts}
</body>
</html>
"""


def _module_as_script(module: str) -> str:
    """The bundle with its export bound to a name instead."""
    body, mark, _ = module.rpartition("export{")
    exported = module[len(body) + len(mark) :].split(" as default", 1)[0]
    return f"{body}const page={exported};"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def as_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
