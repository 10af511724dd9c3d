"""Numbers that sentences quote, read out of the files that hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOUR = ROOT / "tests" / "benchmarks" / "results" / "tour.json"
Quote = tuple[str, Callable[[], list[str]]]


def result_table(page: str, title: str) -> dict[str, dict[str, str]]:
    """The last table of a page of results whose first column has a title: row, column, cell.

    Raises:
        ValueError: no such table.
    """
    text = (ROOT / "docs" / "results" / page).read_text(encoding="utf-8")
    found = {}
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = (
            [c.strip() for c in line.strip()[1:-1].split("|")] for line in block.split("\n")[:-1]
        )
        if head[0] == title:
            found = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    if not found:
        raise ValueError(f"expected a table of {title!r} on docs/results/{page}, got none")
    return found


def short(value: float) -> str:
    """A measurement to two digits, or to the unit where it has more: 1.8, 18, 183."""
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def oldest_python() -> list[str]:
    """The oldest Python that the packages are installed on."""
    settings = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    return re.findall(r"^python_requires = >=(\S+)$", settings, re.MULTILINE)


def minutes_of_tour() -> list[str]:
    """What a tour takes on a processor of its own."""
    return [str(max(1, round(json.loads(TOUR.read_text())["cpu_seconds"] / 60)))]


def seconds_of_training() -> list[str]:
    """What a short and a long training of digits take from the call, beside Pyro's."""
    table = result_table("time_to_result.md", "`mlp`, epochs")
    cold, warm = table["default, empty"], table["default, full"]
    pyro = table["Pyro, `SVI` and `Trace_ELBO`"]
    cells = (cold["5"], cold["100"], warm["100"], pyro["5"], pyro["100"])
    return ["5", "100", *(short(float(cell)) for cell in cells)]


def factor_of_a_step() -> list[str]:
    """How many times as long as Pyro's a compiled step takes."""
    steps = result_table("training.md", "")
    rows = "`ppl_gen.fit`", "Pyro, `SVI` and `Trace_ELBO`"
    ours, theirs = (float(steps[row]["`mlp`"]) for row in rows)
    return [f"{ours / theirs:.1f}"]


def number_of_tutorials() -> list[str]:
    """How many tutorials there are."""
    return [str(len(list((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))))]


def pgmpy_on_link() -> list[str]:
    """How many times as long pgmpy takes to load a network, and to answer one question."""
    table = result_table("graphs.md", "question")
    rows = (
        "load a network from BIF (`link`, 724 nodes, to a pgmpy model)",
        "one query, nothing prepared, `link`",
    )
    return [re.search(r"pgmpy ([\d.,]+)", table[row]["peers"])[1].rstrip(",") for row in rows]


def first_marginals() -> list[str]:
    """Milliseconds to all marginals of alarm in a fresh process, here and by pgmpy."""
    row = result_table("first_answers.md", "question")["all marginals, `alarm`"]
    return [short(float(row["empty"])), short(float(row["pgmpy"]))]


def slower_steps_of_pyro() -> list[str]:
    """How many times as long as ours a step of Pyro takes."""
    steps = result_table("training.md", "")
    rows = "Pyro, `SVI` and `Trace_ELBO`", "`ppl_gen.fit`"
    theirs, ours = (float(steps[row]["`mlp`"]) for row in rows)
    return [short(theirs / ours)]


def short_training_beside_pyro() -> list[str]:
    """Epochs of a short training and the seconds it takes, Pyro's and ours."""
    _, _, ours, _, _, theirs, _ = seconds_of_training()
    return ["5", theirs, ours]


def long_training_beside_numpyro() -> list[str]:
    """Epochs of a long training and the seconds it takes NumPyro and us, compiling or not."""
    table = result_table("time_to_result.md", "`mlp`, epochs")
    rows = "NumPyro, `fori_loop`", "default, empty", "default, full"
    return ["100", *(short(float(table[row]["100"])) for row in rows)]


def vae_beside_pythae() -> list[str]:
    """Log-likelihoods and milliseconds a step of a VAE, here and by pythae."""
    row = result_table("mnist.md", "log-likelihood of test images, 500 samples")["VAE"]
    values = (*row["here"].split(" ± "), *row["pythae"].split(" ± "))
    return [*values, *row["ms a step, here and pythae"].split(", ")]


# Sentences with numbers: each group is what the function beside it finds.
README_QUOTES: tuple[Quote, ...] = (
    (r"They need Python (\S+) or later,", oldest_python),
    (r"tour/index\.html, about (\d+) minutes?", minutes_of_tour),
    (
        r"For (\d+)\s+and (\d+)\s+epochs\s+on\s+4,000\s+digits\s+`fit`\s+takes\s+([\d.]+)\s+and\s+"
        r"([\d.]+)\s+s\s.*?,\s+([\d.]+)\s+s\s+once\s+the\s+step\s+is\s+compiled\s+on\s+disk,\s+and"
        r"\s+Pyro\s+([\d.]+)\s+and\s+([\d.]+)\s+s",
        seconds_of_training,
    ),
    (r"compiled step\]\S* takes ([\d.]+) times as long as Pyro's", factor_of_a_step),
    (r"\[Tutorials\]\S+ (\d+) scripts", number_of_tutorials),
)
BESIDE_QUOTES: tuple[Quote, ...] = (
    (
        r"takes\s+pgmpy\s+([\d.,]+)\s+times\s+as\s+long,\s+one\s+question\s+to\s+it\s+([\d.,]+)\s",
        pgmpy_on_link,
    ),
    (r"of\s+`alarm`,\s+takes\s+([\d.]+)\s+ms\s+here\s+and\s+([\d.]+)\s+there", first_marginals),
    (r"step\s+of\s+`SVI`\s+takes\s+([\d.]+)\s+times\s+as\s+long", slower_steps_of_pyro),
    (
        r"call\]\S+\s+(\d+)\s+epochs\s+of\s+4,000\s+images\s+take\s+it\s+([\d.]+)\s+s\s+and\s+"
        r"`fit`\s+([\d.]+)\s+s",
        short_training_beside_pyro,
    ),
    (
        r"call\]\S+\s+(\d+)\s+epochs\s+take\s+its\s+`fori_loop`\s+([\d.]+)\s+s\s+and\s+`fit`\s+([\d.]+)"
        r"\s+s,\s+or\s+([\d.]+)\s+s",
        long_training_beside_numpyro,
    ),
    (
        r"VAE\s+has\s+(−?[\d.]+)\s±\s([\d.]+)\s+nats\s+here\s+and\s+(−?[\d.]+)\s±\s([\d.]+)\s+there,"
        r"\s+and\s+a\s+step\s+takes\s+([\d.]+)\s+and\s+([\d.]+)\s+ms",
        vae_beside_pythae,
    ),
)


def quoted(text: str, quotes: Iterable[Quote] = README_QUOTES) -> str:
    """A text with the numbers of its sentences as they are now.

    Raises:
        ValueError: a sentence that is not there.
    """
    for pattern, values in quotes:
        found = re.search(pattern, text, re.DOTALL)
        if found is None:
            raise ValueError(f"expected a sentence that matches {pattern}, got none")
        for group, value in reversed(list(enumerate(values(), start=1))):
            text = text[: found.start(group)] + value + text[found.end(group) :]
    return text
