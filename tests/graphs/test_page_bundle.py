"""The front end that is shipped is the one whose sources are here, small, and with its licences."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES, SHIPPED = ROOT / "frontend", ROOT / "graphs" / "interactive" / "static"
MOST_BYTES = 150_000


def names():
    fixed = ["build.mjs", "package-lock.json", "package.json"]
    return fixed + sorted(f"src/{path.name}" for path in (SOURCES / "src").iterdir())


def test_the_bundle_names_the_digest_of_its_sources():
    digest = hashlib.sha256()
    for name in names():
        digest.update(f"{name}\0".encode() + (SOURCES / name).read_bytes())
    first = (SHIPPED / "page.js").read_text().split("\n", 1)[0]
    assert first == f"// sources {digest.hexdigest()}", "npm run build, in frontend, is due"


def test_the_bundle_is_built_from_its_sources_byte_for_byte(tmp_path):
    if shutil.which("npm") is None:
        test_the_bundle_names_the_digest_of_its_sources()
        return
    for name in names():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(SOURCES / name, tmp_path / name)
    (tmp_path / "out").mkdir()
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if re.search("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT", done.stderr):
        pytest.skip("the registry of npm cannot be reached; the digest alone was compared")
    assert done.returncode == 0, done.stderr
    subprocess.run(["node", "build.mjs", "out"], cwd=tmp_path, check=True)
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (SHIPPED / path.name).read_bytes(), path.name


def test_it_is_small_and_its_licences_are_beside_it():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= MOST_BYTES
    listed = set(
        re.findall(
            r"(?m)^([\w-]+) [\d.]+ \((?:ISC|BSD-3-Clause)\)$",
            (SHIPPED / "LICENSES.txt").read_text(),
        )
    )
    locked = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    needed = {
        path.removeprefix("node_modules/")
        for path, package in locked.items()
        if path and not package.get("dev")
    }
    assert listed == needed


def test_no_source_reads_text_as_markup_or_code():
    for path in (SOURCES / "src").glob("*.js"):
        text = path.read_text()
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "Function(",
            ".html(",
        ):
            assert word not in text, f"{path.name}: {word}"
