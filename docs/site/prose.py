"""What the site adds to the text of a tutorial: links, and units that stay beside their numbers."""

from __future__ import annotations

import re

from running import HERE, tutorials

# Terms of the glossary that tutorials explain themselves, or also use with a common meaning.
COMMON = {
    "latent, code", "evidence", "rate, distortion", "staged, eager", "site, plate", "guide",
    "modes, balanced, high quality", "KL of the modes", "generator, fake", "discriminator, critic",
    "turn, cycle", "denoiser", "schedule", "sampler", "score", "active path, collider", "particle",
}  # fmt: skip
SHORTER = {"ELBO, bound": "ELBO"}
# Headings, fences, code, formulas, links and tags, in which none begins.
KEPT = r"^#+ [^\n]*$|^:::[^\n]*$|\$\$.*?\$\$|`[^`]*`|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|<[^>]*>"


def words() -> dict[str, str]:
    """The words of the glossary that are linked, each with the term that explains it.

    Raises:
        ValueError: a term set apart here that the glossary does not have.
    """
    text = (HERE / "glossary.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    terms = {line for block in blocks for line in block.splitlines() if line and line[0] != " "}
    if unknown := (COMMON | {*SHORTER}) - terms:
        raise ValueError(f"expected terms of docs/site/glossary.md, got {sorted(unknown)}")
    return {w: term for term in terms - COMMON for w in SHORTER.get(term, term).split(", ")}


def improved(cells: list[str]) -> list[str]:
    """The text of a tutorial, cell by cell, as the site shows it.

    The first use of every word of the glossary is linked to its explanation, and "tutorial 12" to
    that tutorial; a number and its unit stay on one line.
    """
    left, names = words(), {path.name[:2]: path.stem for path in tutorials()}
    choices = "|".join(map(_pattern, sorted(left, key=len, reverse=True)))
    tutorial = r"(?P<other>[Tt]utorial\s(?P<number>\d\d))"
    pattern = re.compile(rf"{KEPT}|\b{tutorial}\b|\b(?P<word>{choices})s?(?!\w)", re.M | re.S)

    def link(found: re.Match[str]) -> str:
        shown = found[0].replace("\n", " ")
        if found["other"]:
            return f"[{shown}]({names[found['number']]}.ipynb)"
        word = found["word"] and next(
            (w for w in left if re.fullmatch(_pattern(w), found["word"])), ""
        )
        return f"{{term}}`{shown} <{left.pop(word)}>`" if word else found[0]

    return [unbroken(pattern.sub(link, text)) for text in cells]


def _pattern(word: str) -> str:
    """A word as it stands anywhere in a sentence, and on two lines."""
    first, rest = word[0], re.escape(word[1:]).replace(r"\ ", r"\s")
    return f"[{first.upper()}{first}]{rest}" if word[:2].islower() else first + rest


def unbroken(text: str) -> str:
    """A text whose per cents and products of numbers are not broken at the end of a line."""
    return re.sub(r"(?<=\d)\s(?=[%×])|(?<=×)\s(?=\d)", "\N{NO-BREAK SPACE}", text)
