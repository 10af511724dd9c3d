"""Code kept between processes: only what this user wrote, whole, under everything it depends on."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ppl_gen.staging import kept_code

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="nothing is kept here")
KEY, OTHER = "a" * 64, "b" * 64
LIBRARY = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where code is kept in a test."""
    monkeypatch.setenv("PPL_GEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PPL_GEN_CODE_CACHE", raising=False)
    return Path(os.path.realpath(tmp_path)) / "cache" / "code"


@pytest.fixture
def made(tmp_path):
    """A library as a compiler leaves it."""
    path = tmp_path / "made.so"
    path.write_bytes(LIBRARY)
    path.chmod(0o755)
    return path


def test_what_is_kept_is_found_by_its_key_alone(folder, made):
    kept = kept_code.keep(KEY, made)
    assert kept is not None
    assert kept.read_bytes() == LIBRARY
    assert kept_code.find(KEY) == kept
    assert kept_code.find(OTHER) is None
    assert kept.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    kept_code.forget(OTHER)
    assert kept.exists()
    kept_code.forget(KEY)
    assert not kept.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda contents: contents[:-1],
        lambda contents: contents + b"\0",
        lambda contents: b"",
        lambda contents: contents[:99] + bytes([contents[99] ^ 1]) + contents[100:],
    ],
)
def test_damaged_code_is_removed(folder, made, damage):
    kept = kept_code.keep(KEY, made)
    kept.write_bytes(damage(LIBRARY))
    assert kept_code.find(KEY) is None
    assert not kept.exists()
    assert kept_code.keep(KEY, made) == kept
    assert kept_code.find(KEY) == kept


def test_code_kept_under_another_key_is_not_taken_for_it(folder, made):
    kept = kept_code.keep(KEY, made)
    kept.rename(kept.with_name(f"{KEY}-{'0' * 64}.so"))
    assert kept_code.find(KEY) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_code_that_others_can_write_is_not_loaded(folder, made, mode):
    kept = kept_code.keep(KEY, made)
    kept.chmod(mode)
    assert kept_code.find(KEY) is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_nothing_is_loaded_from_a_folder_that_others_can_write(folder, made, mode):
    assert kept_code.keep(KEY, made)
    folder.chmod(mode)
    assert kept_code.find(KEY) is None
    assert kept_code.keep(OTHER, made) is None
    folder.chmod(0o700)
    assert kept_code.find(KEY)
    assert kept_code.find(OTHER) is None


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o1777, True), (0o755, True)])
def test_nobody_else_can_replace_the_folder(folder, made, mode, safe):
    assert kept_code.keep(KEY, made)
    folder.parent.chmod(mode)
    assert (kept_code.find(KEY) is not None) == safe
    assert (kept_code.keep(OTHER, made) is not None) == safe


def test_a_folder_of_a_group_is_shared_unless_the_user_is_alone_in_it(folder, made, monkeypatch):
    assert kept_code.keep(KEY, made)
    folder.parent.chmod(0o770)
    for alone in (True, False):
        monkeypatch.setattr(kept_code, "_is_private_group", lambda group, alone=alone: alone)
        assert (kept_code.find(KEY) is not None) == alone


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("what", ["file", "folder", "above"])
def test_what_belongs_to_another_user_is_not_loaded(folder, made, what):
    kept = kept_code.keep(KEY, made)
    os.chown({"file": kept, "folder": folder, "above": folder.parent}[what], 12345, -1)
    assert kept_code.find(KEY) is None


def test_nor_is_anything_by_whom_it_does_not_belong_to(folder, made, monkeypatch):
    assert kept_code.keep(KEY, made)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert kept_code.find(KEY) is None
    assert kept_code.keep(OTHER, made) is None


def test_links_are_not_followed(folder, made, tmp_path):
    kept = kept_code.keep(KEY, made)
    kept.unlink()
    kept.symlink_to(made)
    assert kept_code.find(KEY) is None
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert kept_code.keep(KEY, made) is None


def test_what_others_can_write_is_not_kept(folder, made):
    made.chmod(0o777)
    assert kept_code.keep(KEY, made) is None
    assert not folder.exists()


def test_it_can_be_turned_off(folder, made, monkeypatch):
    assert kept_code.keep(KEY, made)
    monkeypatch.setenv("PPL_GEN_CODE_CACHE", "0")
    assert kept_code.find(KEY) is None
    assert kept_code.keep(OTHER, made) is None
    kept_code.forget(KEY)
    assert [path.name[:64] for path in folder.iterdir()] == [KEY]


def test_a_place_that_cannot_be_written_keeps_nothing(made, monkeypatch):
    monkeypatch.setenv("PPL_GEN_CACHE", str(made / "below-a-file"))
    assert kept_code.keep(KEY, made) is None
    assert kept_code.find(KEY) is None
    kept_code.forget(KEY)


def used(folder, days):
    """Say how many days ago each key was used."""
    for path in folder.iterdir():
        when = time.time() - 86400 * days[path.name[0]]
        os.utime(path, (when, when))


@pytest.mark.parametrize(
    ("bound", "most"), [("MOST_FILES", 3), ("MOST_BYTES", 3 * len(LIBRARY) + 1)]
)
def test_room_is_bounded_and_what_was_used_longest_ago_goes(folder, made, monkeypatch, bound, most):
    for letter in "abcd":
        kept_code.keep(64 * letter, made)
    used(folder, {"a": 4, "b": 3, "c": 2, "d": 1})
    assert kept_code.find(64 * "a")  # which is a use
    monkeypatch.setattr(kept_code, bound, most)
    kept_code.keep(64 * "e", made)
    assert sorted(path.name[0] for path in folder.iterdir()) == ["a", "d", "e"]


def test_a_library_larger_than_the_room_is_kept_alone(folder, made, monkeypatch):
    kept_code.keep(KEY, made)
    monkeypatch.setattr(kept_code, "MOST_BYTES", 1)
    kept = kept_code.keep(OTHER, made)
    assert list(folder.iterdir()) == [kept]


def test_files_that_were_never_finished_are_removed(folder, made):
    kept_code.keep(KEY, made)
    old, new = folder / "old.part", folder / "new.part"
    for path in (old, new):
        path.write_bytes(b"half")
    used_at = time.time() - 2 * kept_code.ABANDONED
    os.utime(old, (used_at, used_at))
    kept_code.keep(OTHER, made)
    assert not old.exists()
    assert new.exists()


def test_an_interrupted_write_leaves_nothing_behind(folder, made, monkeypatch):
    def interrupted(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept_code.keep(KEY, made)
    assert not list(folder.iterdir())


AT_ONCE = """
import sys
from pathlib import Path
from ppl_gen.staging import kept_code
kept_code.MOST_FILES = 3
made, found = Path(sys.argv[1]), 0
print("ready", flush=True)
sys.stdin.readline()
for i in range(300):
    key = 64 * "abcdef"[i % 6]
    kept = kept_code.find(key)
    if kept is None:
        assert kept_code.keep(key, made)
    elif i % 50 == 49:
        kept_code.forget(key)
    else:
        found += 1
print(found)
"""


def test_processes_at_once_leave_whole_files(folder, made):
    arguments = [sys.executable, "-c", AT_ONCE, str(made)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    running = [subprocess.Popen(arguments, **pipes) for _ in range(2)]
    assert all(process.stdout.readline() == "ready\n" for process in running)
    for process in running:
        process.stdin.write("\n")
    assert all(process.communicate()[0].strip().isdigit() for process in running)
    assert not any(process.returncode for process in running)
    left = list(folder.iterdir())
    assert left
    for path in left:
        assert path.read_bytes() == LIBRARY
        assert path.stem.split("-")[1] == hashlib.sha256(LIBRARY).hexdigest()
