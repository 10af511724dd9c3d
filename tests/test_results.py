"""Pages of results show what their result files hold."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests" / "benchmarks"), *sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(
            str(ROOT / "tests" / "bench")
        ):
            del sys.modules[name]


@pytest.mark.parametrize("job", ["tiny", "mlp", "conv"])
def test_times_to_a_result_are_those_kept(benchmarks, job, tmp_path, monkeypatch):
    import time_to_result
    from cells import FOLDER, Cells

    page = tmp_path / "docs" / "results" / "time_to_result.md"
    page.parent.mkdir(parents=True)
    page.write_bytes((RESULTS / page.name).read_bytes())
    monkeypatch.setattr(time_to_result, "ROOT", tmp_path)
    time_to_result.report(job, Cells(FOLDER / "time_to_result.json"), write=True)
    assert page.read_bytes() == (RESULTS / page.name).read_bytes(), "--write mends it"


def test_times_of_programs_are_those_kept(benchmarks):
    from cells import FOLDER, Cells
    from time_of_programs import PROGRAMS, shown

    cells = Cells(FOLDER / "time_of_programs.json")
    page = (RESULTS / "time_to_result.md").read_text(encoding="utf-8")
    for program in PROGRAMS:
        row = " | ".join([f"| {program}", *shown(cells, program)]) + " |"
        assert row in page or not cells.get(f"{program}/smoke"), program


def test_rows_without_end_are_those_kept():
    kept = json.loads((ROOT / "tests" / "benchmarks" / "results" / "rows.json").read_text())
    page = (RESULTS / "rows.md").read_text(encoding="utf-8")
    assert kept
    for name, cell in kept.items():
        numbers = f"{cell['cpu']:.0f} | {cell['cpu'] / int(name) * 1e6:.1f} | {cell['file']:.0f}"
        assert f"| {int(name):,} | {numbers} | {cell['memory']:.0f} |" in page


def test_every_page_is_listed():
    listed = set(
        re.findall(r"\]\((\w+\.md)\)", (RESULTS / "README.md").read_text(encoding="utf-8"))
    )
    assert listed == {path.name for path in RESULTS.glob("*.md")} - {"README.md"}
