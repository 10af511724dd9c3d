r"""What stands around a text: dollars, environments and signs that other programs replace.

Outside quotes and ``\text{...}`` the entities of HTML are read as the characters they stand for
(``&perp;`` as ⊥), and full-width signs as the usual ones; letters are left as they are.
"""

from __future__ import annotations

import html
import re

_FRAMES = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_NAMES = "equation|align|alignat|flalign|gather|multline|displaymath|math|eqnarray|split|aligned"
_BEGIN = re.compile(rf"\\begin\{{((?:{_NAMES}|gathered|dmath)\*?)\}}(?:\{{\d\}})?")
_MARKUP = re.compile(
    r"(?<!\\)%[^\n]*(?=\n)|(?<!\\)&|\\(?:nonumber|notag)(?![A-Za-z])|\\(?:label|tag\*?)\{[^{}]*\}"
)
_LAST_BREAK = re.compile(r"\s*\\\\\s*\Z")
_FULL_WIDTH = {ord(c) + 0xFEE0: c for c in "!()*+,-./:;<=>[\\]^_{|}~"}
_LITERAL = r'"(?:[^"\\]|\\.)*"|“[^“”]*”|‘[^‘’]*’|\\(?:text|math)\w*\s*\{(?:[^{}\\]|\\.)*\}'
_ENTITY = r"(?<!\\)&(?:\w+|#\d+|#[xX][0-9A-Fa-f]+);"
_REPLACED = re.compile(f"({_LITERAL})|{_ENTITY}|[{''.join(map(chr, _FULL_WIDTH))}]", re.DOTALL)


def unframed(text: str) -> str:
    r"""The text without ``$ $``, ``\( \)``, ``\[ \]`` or an environment, and without full stop.

    What stood at the start is blanked, so that every other character keeps its place.
    """
    text = _REPLACED.sub(_usual, text)
    start = len(text) - len(text.lstrip())
    text = text.rstrip()
    inside = text.rstrip(" \t\r\n.,;")
    frames = list(_FRAMES)
    if begin := _BEGIN.match(text, start):
        frames = [(begin[0], rf"\end{{{begin[1]}}}")]
    for left, right in frames:
        if text.startswith(left, start) and inside[start + len(left) :].endswith(right):
            text = " " * (start + len(left)) + inside[start + len(left) : -len(right)]
            if begin:
                text = _LAST_BREAK.sub("", _MARKUP.sub(_blank, text))
            text = text.rstrip()
            if begin and _BEGIN.match(text.lstrip()):
                return unframed(text)
            break
    if text.endswith((".", ";")) and not text.endswith(("..", "\\;")):
        text = text[:-1].rstrip()
    return text


def _usual(match: re.Match[str]) -> str:
    """The usual signs for an entity or a full-width sign; what is literal as it is."""
    if match[1] is not None:
        return match[1]
    if len(match[0]) == 1:
        return _FULL_WIDTH[ord(match[0])]
    character = html.unescape(match[0])
    return character if len(character) == 1 else match[0]


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])
