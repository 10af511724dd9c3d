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


def test_every_link_and_picture_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
