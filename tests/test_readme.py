"""The README's example runs as printed, and its table names every model."""

import re
import subprocess
import sys
from pathlib import Path

from ppl_gen.zoo import registry

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_printed(tmp_path):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(example.strip().splitlines()) <= 24
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", example],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "M → I → D ← T ← F" in done.stdout
    assert "No claimed factor covers {I, M, S}" in done.stdout
    elbo = float(re.search(r"ELBO (-\d+\.\d+)", done.stdout)[1])
    assert -250 < elbo < -100
    assert "P(z) P(x | z)" in done.stdout


def test_the_shown_answer_is_the_answer():
    shown = re.search(r"```\n\$ python -m graphs (.*?)\n(.*?)```", README, re.DOTALL)
    arguments = re.findall(r'"([^"]+)"', shown[1])
    done = subprocess.run(
        [sys.executable, "-m", "graphs", *arguments], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == shown[2].strip()
    assert done.returncode == 1


def test_the_table_names_every_model_with_its_paper():
    for name, entry in registry.items():
        row = re.search(rf"^\| `{name}` \|(.*)\|$", README, re.MULTILINE)
        assert row, f"{name} is not in the table"
        assert entry.paper in row[1]
        assert str(entry.year) in row[1]


# --- Numbers quoted ---------------------------------------------------------------------------


def result_table(page: str, title: str) -> dict[str, dict[str, str]]:
    """The last table of a page of results whose first column has a title: row, column, cell."""
    text = (ROOT / "docs" / "results" / page).read_text(encoding="utf-8")
    found = {}
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = (
            [c.strip() for c in line.strip()[1:-1].split("|")] for line in block.split("\n")[:-1]
        )
        if head[0] == title:
            found = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    assert found, f"no table of {title!r} on {page}"
    return found


def as_quoted(measured: str, quoted: str) -> bool:
    """Whether a number was rounded to the digits that are quoted."""
    digits = len(quoted.partition(".")[2])
    return f"{float(measured):.{digits}f}" == quoted


def test_seconds_of_training_are_those_measured():
    quoted = re.search(
        r"For (\d+) and (\d+) epochs on 4,000 digits `fit` takes ([\d.]+) and ([\d.]+) s .*?, "
        r"([\d.]+) s once the step is compiled on disk, and Pyro ([\d.]+) and\s+([\d.]+) s",
        README,
        re.DOTALL,
    )
    short, long, *seconds = quoted.groups()
    table = result_table("time_to_result.md", "`mlp` without load, epochs")
    pyro = table["Pyro, `SVI` and `Trace_ELBO`"]
    empty, full = table["default, empty"], table["default, full"]
    measured = [empty[short], empty[long], full[long], pyro[short], pyro[long]]
    for cell, number in zip(measured, seconds, strict=True):
        assert as_quoted(cell, number), (cell, number)


def test_the_factor_of_a_compiled_step_is_that_measured():
    quoted = re.search(r"\[?compiled step\]\S* takes ([\d.]+) times as long as Pyro's", README)[1]
    steps = result_table("training.md", "")
    ours, theirs = steps["`ppl_gen.fit`"]["`mlp`"], steps["Pyro, `SVI` and `Trace_ELBO`"]["`mlp`"]
    assert as_quoted(str(float(ours) / float(theirs)), quoted)


def test_counts_are_those_of_the_tree():
    numbers = {"twenty": 20, "twenty-one": 21, "twenty-two": 22, "twenty-three": 23}
    quoted = re.search(r"\[Tutorials\]\S+ ([a-z-]+) scripts", README)[1]
    assert numbers[quoted] == len(list((ROOT / "tutorials").glob("[0-9][0-9]_*.py")))


def test_every_link_and_picture_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
