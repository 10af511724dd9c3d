"""What is shipped, and what importing it costs."""

import datetime
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ppl_gen

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_the_two_packages_and_nothing_else(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(source)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from setuptools import build_meta as b; print(b.build_wheel({str(tmp_path)!r}))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    wheel = tmp_path / done.stdout.splitlines()[-1]
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "graphs",
        "ppl_gen",
    }
    expected = {n for n in tracked if n.startswith(("graphs/", "ppl_gen/"))}
    assert expected <= set(names)
    assert {"graphs/py.typed", "ppl_gen/py.typed", "ppl_gen/training/__init__.pyi"} <= set(names)
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    assert_readable_without_the_repository(zipfile.ZipFile(wheel).read(metadata).decode())


def assert_readable_without_the_repository(metadata: str) -> None:
    """The long description is there, and none of its pictures and links is a file beside it."""
    description = metadata.partition("\n\n")[2]
    assert "```python" in description
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert targets
    assert all(target.startswith("https://") for target in targets), targets


def test_the_example_of_the_long_description_runs(fresh_store, capsys):
    text = (ROOT / "docs" / "package" / "description.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(
        compile(example.replace("epochs=5", "epochs=1, progress=False"), "description", "exec"), {}
    )
    printed = capsys.readouterr().out
    assert "M → I → D ← T ← F" in printed
    assert "P(z) P(x | z)" in printed


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("graphs", ["pgmpy", "torch", "matplotlib", "numba", "pandas", "pyro"]),
        ("ppl_gen", ["torch", "pyro", "matplotlib", "pandas", "mlxtend", "numba", "graphs"]),
    ],
)
def test_importing_is_cheap_and_silent(package, heavy):
    code = f"import sys, {package}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("package", ["graphs", "ppl_gen"])
def test_every_public_name_resolves(package):
    module = __import__(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


# --- Beside the code ------------------------------------------------------------------------------


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([\w-]+): *(.*)$", text, re.MULTILINE))
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    asked = {"cff-version", "message", "title", "type", "license", "version", "date-released"}
    assert fields.keys() >= {*asked, "authors"}
    assert fields["version"] == ppl_gen.__version__
    assert fields["license"] == re.search(r"^license = (.*)$", setup, re.MULTILINE)[1]
    assert datetime.date.fromisoformat(fields["date-released"])
    assert re.findall(r"^  - (?:name|family-names): *(\S.*)$", text, re.MULTILINE)


def test_every_hook_is_local_and_installed():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    tools = re.findall(r"entry: \.venv/bin/python -m (\w+)", text)
    assert len(tools) == len(re.findall(r"- id: ", text)) == 3
    installed = re.search(r"^default_install_hook_types: \[(.*)\]$", text, re.MULTILINE)[1]
    stages = [name for line in re.findall(r" stages: \[(.*)\]", text) for name in line.split(", ")]
    assert set(installed.split(", ")) == {"pre-commit", *stages}
