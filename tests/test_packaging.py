"""What is shipped, and what importing it costs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
