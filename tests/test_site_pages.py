"""The pages of the site say what is true: their examples run, and every name has its place."""

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"
MODEL = """
import torch

import ppl_gen

images = torch.rand(32, 1, 8, 8)
vae = ppl_gen.zoo.vae((1, 8, 8), 2, hidden=8)
"""
# Pages whose examples run, with what they say is there; the others need what an extra installs.
COMPLETE = {
    "index.md": "",
    "start.md": "",
    "howto/identify.md": "",
    "howto/adjust.md": "",
    "howto/own_data.md": "",
    "howto/implications.md": "",
    "howto/resume.md": MODEL,
    "howto/rows.md": """
from pathlib import Path

Path("patients.csv").write_text("smoke,dysp\\nyes,yes\\nno,\\n")
""",
}


def examples(page: str) -> list[tuple[str, str]]:
    """The examples of a page, each with the text below it where that is what it prints."""
    text = (SITE / page).read_text(encoding="utf-8")
    pattern = r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    return re.findall(pattern, text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", COMPLETE)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch, capsys, fresh_store):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(COMPLETE[page], namespace)
    blocks = examples(page)
    assert blocks
    for block, shown in blocks:
        capsys.readouterr()
        quick = re.sub(r"epochs=\d+", "epochs=1", block)
        exec(compile(quick, page, "exec"), namespace)
        printed = capsys.readouterr().out
        assert not shown or printed.strip() == shown.strip()
    plt.close("all")


@pytest.mark.parametrize("page", sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.md")))
def test_every_example_is_python(page):
    for block, _ in examples(page):
        compile(block, page, "exec")


def test_every_public_name_has_one_task(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import reference

    names = [name for *_, names in reference.tasks() for name in names]
    assert len(names) == len(set(names)) > 300
    for package in reference.TASKS:
        for name in reference.stub_names(package):
            known = f"{package}.{name}"
            within = any(listed.startswith(f"{known}.") for listed in names)
            assert known in names or within or name in reference.CONTAINERS, known
    del reference.TASKS["graphs"]["State a model"]
    with pytest.raises(
        ValueError, match=r"expected a task of docs/site/reference\.py for graphs\."
    ):
        list(reference.tasks())
    del sys.modules["reference"]


def test_every_tutorial_has_a_card(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import assemble

    page = assemble.cards()
    for path in assemble.tutorials():
        assert f"](tutorials/{path.stem})" in page
        for suffix in ("py", "ipynb"):
            assert f'href="downloads/{path.stem}.{suffix}"' in page
    assert page.count("min to read") == len(assemble.tutorials())
    del sys.modules["assemble"]


def test_a_card_says_how_long_the_run_took_that_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import assemble

    names = [path.stem for path in assemble.tutorials()]
    page = assemble.cards("smoke", dict.fromkeys(names, 7.2))
    assert page.count("short run 7 s") == len(names)
    assert "short run" not in assemble.cards(None)
    assert "\nβ-VAE on sprites" in page
    del sys.modules["assemble"]


def test_a_tutorial_is_run_where_it_lies(tmp_path, monkeypatch):
    """By a kernel that works in another folder than the one who asks it, in the same sockets."""
    pytest.importorskip(
        "nbclient", reason="no site is built here: make docs installs what it needs"
    )
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    monkeypatch.chdir(tmp_path)
    import assemble

    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = folder / "tutorial.py"
    path.write_text(
        "# %% [markdown]\n# # A title\n\n# %%\nfrom pathlib import Path\n\nPath.cwd().name"
    )
    found = assemble.executed(path)
    assert found.cells[1].outputs[0].data["text/plain"] == "'elsewhere'"
    assert found.metadata["cpu_seconds"] > 0
    assert not list(tmp_path.rglob("kernel*"))
    path.write_text("# %%\nimport warnings\n\nwarnings.warn('seen by readers')")
    with pytest.raises(
        RuntimeError, match=r"expected no warning in tutorial\.py, got .*seen by rea"
    ):
        assemble.executed(path)
    del sys.modules["assemble"]
