"""What is written around the tutorials: their cards, and what stands below a title."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from prose import improved
from running import ROOT, minutes, tutorials

# Which tutorials belong together, by number; within a group one is better read after another.
GROUPS = {
    "Questions to graphs": "01 02 11 20 21",
    "Variational inference and its gradients": "03 04",
    "Variational autoencoders": "05 06 07 08 09 10 22",
    "Adversarial games": "12 13 14 15",
    "Diffusion": "16 17 18 19",
}
WORDS_A_MINUTE, CODE_LINES_A_MINUTE = 200, 20
LINES_SHOWN = 30  # longer cells are folded, so that a result stands near what is said of it
NUMBERS = r"^## What the numbers say$"
WHOLE = "*Those of a whole run, which differ from what a short one has shown above.*"
SHORT = """:::{{note}}
What the cells print and draw here is from a run with short settings, {seconds:.0f} s of a
processor. A whole run, whose numbers the text speaks of, is on the site of `make docs-full`.{more}
:::"""
HARDLY = """ Here models are hardly
trained: generated images may be noise, comparisons with a source may fail, and – stands for what
was left out."""


def cards(run: str | None = "smoke", seconds: dict[str, float] | None = None) -> str:
    """The page of all tutorials, a card each.

    Args:
        run: with which settings they were run.
        seconds: how long that took, by tutorial.
    """
    listed = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    sentences = dict(re.findall(r"^\| \[\d+\]\((\S+)\.py\) \| (.*?) \|$", listed, re.MULTILINE))
    parts = [
        "# Learn\n",
        f"{_source(listed)} What is shown here was run when this site was built, with "
        f"{'whole' if run == 'full' else 'short'} settings.\n",
        "Each can be read alone. Begin with 01 for graphs, with 11 if you have Pyro programs, with "
        "03 for variational inference and with 05 for deep generative models. Words that one does "
        "not explain are [explained on a page of their own](glossary).\n",
        "To run one, [install the library](start) and download the tutorial and "
        '<a href="downloads/_runner.py" download>_runner.py</a> into one folder. It runs as a '
        "script (`python 01_bayesian_networks.py`; short settings with `--smoke`) or as a notebook "
        "(short with the environment variable `TUTORIALS_SMOKE=1`). What `tutorial.section`, "
        "`tutorial.show` and `table` do is explained at the head of 01.\n",
    ]
    for title, paths in groups().items():
        parts.append(f"## {title}\n\n::::{{grid}} 1 2 3 3\n:gutter: 3\n")
        for path in paths:
            facts = [duration(path)]
            if run == "smoke" and path.stem in (seconds or {}):
                facts.append(f"short run {seconds[path.stem]:.0f} s")
            parts.append(_card(path, sentences[path.stem], ", ".join(facts)))
        parts.append("::::\n")
    names = "\n".join(f"tutorials/{p.stem}" for paths in groups().values() for p in paths)
    return "\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{names}\nglossary\n```\n"])


def groups() -> dict[str, list[Path]]:
    """The tutorials by what they are about.

    Raises:
        ValueError: a tutorial that is in no group, or in two.
    """
    found = {path.name[:2]: path for path in tutorials()}
    listed = [number for numbers in GROUPS.values() for number in numbers.split()]
    if sorted(listed) != sorted(found):
        missing = sorted({*found}.symmetric_difference(listed))
        raise ValueError(
            f"expected every tutorial in one group of docs/site/learn.py, got {missing}"
        )
    return {title: [found[n] for n in numbers.split()] for title, numbers in GROUPS.items()}


def _source(listed: str) -> str:
    """What the list of tutorials says of their sources."""
    (found,) = re.findall(r"^Every tutorial follows .*?(?=\n\n)", listed, re.MULTILINE | re.DOTALL)
    return found


def duration(path: Path) -> str:
    """How long a tutorial takes to read and, where that was measured, to run."""
    facts = [f"{reading_minutes(path)} min to read"]
    if path.stem in minutes():
        facts.append(f"{max(1, round(minutes()[path.stem]))} min to run")
    return ", ".join(facts)


def downloads(name: str, folder: str = "") -> str:
    """Links to a tutorial as a script and as a notebook."""
    return " · ".join(
        f'<a href="{folder}downloads/{name}{suffix}" download>{suffix}</a>'
        for suffix in (".py", ".ipynb")
    )


def _card(path: Path, sentence: str, facts: str) -> str:
    name, title = path.stem, title_of(path)
    picture = f'<img class="thumb" alt="" loading="lazy" src="thumbnails/{name}.png">'
    return (
        f":::{{grid-item-card}}\n\n{picture}\n\n"
        f"**[{name[:2]} {title}](tutorials/{name})**\n\n{_capitalized(sentence)}.\n\n"
        f'<p class="facts">{facts}<br>Download {downloads(name)}</p>\n:::\n'
    )


def _capitalized(sentence: str) -> str:
    """A sentence that begins with a capital, unless with a symbol: β is not written Β."""
    return sentence[0].upper() + sentence[1:] if sentence[0].isascii() else sentence


def title_of(path: Path) -> str:
    """The title of a tutorial, without its subtitle."""
    lines = path.read_text(encoding="utf-8").splitlines()
    heading = next(line for line in lines if line.startswith("# # "))
    return escape(heading.removeprefix("# # ").split(":")[0])


def reading_minutes(path: Path) -> int:
    """How long its text and code take to read."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = [line for line in lines if line.startswith("# ")]
    code = [line for line in lines if line.strip() and not line.startswith("#")]
    words = sum(len(line.split()) for line in text)
    return round(words / WORDS_A_MINUTE + len(code) / CODE_LINES_A_MINUTE)


def headed(made: Any, path: Path, run: str | None) -> Any:
    """A tutorial's notebook with, below its title, where to get it and with what it was run."""
    written = [cell for cell in made.cells if cell.cell_type == "markdown"]
    for cell, text in zip(written, improved([cell.source for cell in written]), strict=True):
        cell.source = text
    title, _, text = made.cells[0].source.partition("\n")
    facts = (
        f'<p class="facts">Tutorial {path.name[:2]} · {duration(path)} · '
        f'<a href="../learn.html">download</a> {downloads(path.stem, "../")} · '
        f'<a href="../glossary.html">words</a></p>'
    )
    parts = [title, facts, text.strip()]
    code = path.read_text(encoding="utf-8")
    if run == "smoke" and "tutorial.smoke" in code:
        more = HARDLY if "ppl_gen.fit(" in code else ""
        parts.insert(2, SHORT.format(seconds=made.metadata["cpu_seconds"], more=more))
        for cell in made.cells:
            cell.source = re.sub(NUMBERS, rf"\g<0>\n\n{WHOLE}", cell.source, flags=re.MULTILINE)
    made.cells[0].source = "\n\n".join(parts)
    _name_figures(made)
    _fold(made)
    return made


def _fold(made: Any) -> None:
    """Put long code behind a button that says how long it is."""
    for cell in made.cells:
        lines = len(cell.source.splitlines())
        if cell.cell_type == "code" and lines > LINES_SHOWN:
            cell.metadata["tags"] = ["hide-input"]
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {
                "code_prompt_show": f"Show the code, {lines} lines",
                "code_prompt_hide": "Hide the code",
            }


def _name_figures(made: Any) -> None:
    """Say for those who do not see a figure what it is about: its section and its name."""
    heading = ""
    for cell in made.cells:
        titles = re.findall(r"^#+ (.*)", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and titles:
            heading = titles[-1].replace("$", "")
        shown = [o["data"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        if shown:
            names = ", ".join(data["text/plain"] for data in shown)
            cell.metadata["mystnb"] = {"image": {"alt": f"{heading} ({names})"}}
