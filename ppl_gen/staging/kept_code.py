"""Compiled code kept between processes: shared objects in the user's cache folder.

A file is named by what its code depends on and by the digest of its contents, so that it needs no
record beside it. It is written under another name and renamed when complete, read as a whole and
compared with its name before use. Whoever can write to it could have this process run code of
theirs: it is used only where it, its folder and the folders above belong to this user (or, above,
to the system) and nobody else can write to them; elsewhere nothing is read or kept. What is lacking
or damaged is compiled again. The environment variable ``PPL_GEN_CODE_CACHE=0`` turns all this off,
``PPL_GEN_CACHE`` names another place than the operating system's folder for caches.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST_FILES, MOST_BYTES = 64, 2**29
ABANDONED = 3600.0  # seconds after which a file that is still being written never will be
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find(key: str) -> Path | None:
    """The file kept under a key, its contents and its permissions checked."""
    folder = _folder()
    for path in _by_age(folder, f"{key}-*.so") if folder and is_safe(folder) else ():
        contents = read_own(path)
        if contents is not None and path.name == _name(key, contents):
            with suppress(OSError):
                os.utime(path)
            return path
        _remove(path)
    return None


def keep(key: str, source: Path) -> Path | None:
    """Keep a copy of a shared object under a key, and as many others as there is room for.

    Returns:
        The copy, or ``None`` where nothing is kept: that is off, the folder is not this user's
        alone or cannot be written, or another user could have written the source.
    """
    folder, contents = _folder(), read_own(source)
    if folder is None or contents is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_safe(folder):
            return None
        path = folder / _name(key, contents)
        _write(path, contents)
        _make_room(folder, path)
    except OSError:
        return None
    return path


def forget(key: str) -> None:
    """Remove what is kept under a key."""
    folder = _folder()
    for path in _by_age(folder, f"{key}-*.so") if folder and is_safe(folder) else ():
        _remove(path)


def is_safe(folder: Path) -> bool:
    """Whether this user alone can write to a folder, or replace it or one above it."""
    try:
        own, *above = ((path, path.lstat()) for path in (folder, *folder.parents))
    except OSError:
        return False
    return (
        stat.S_ISDIR(own[1].st_mode)
        and own[1].st_uid == os.geteuid()
        and not own[1].st_mode & OTHERS_WRITE
        and all(_only_trusted_replace(status) for _, status in above)
    )


def _only_trusted_replace(status: os.stat_result) -> bool:
    """Whether in a folder others cannot rename what is not theirs."""
    if status.st_uid not in (0, os.geteuid()) or not stat.S_ISDIR(status.st_mode):
        return False
    if not status.st_mode & OTHERS_WRITE or status.st_mode & stat.S_ISVTX:
        return True
    return not status.st_mode & stat.S_IWOTH and _is_private_group(status.st_gid)


def _is_private_group(group: int) -> bool:
    """Whether a group has this user as its only member, as the first one of a user often does."""
    import grp
    import pwd

    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(entry.gr_mem) <= {user.pw_name}
    return alone and entry.gr_name == user.pw_name and user.pw_gid == group


def read_own(path: Path) -> bytes | None:
    """The contents of a regular file that only this user can write, or ``None``."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(handle)
            own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            return stream.read() if own and not status.st_mode & OTHERS_WRITE else None
    except OSError:
        return None


def _folder() -> Path | None:
    """Where code is kept, links resolved, or ``None`` where it is not."""
    if os.environ.get("PPL_GEN_CODE_CACHE") == "0" or not hasattr(os, "geteuid"):
        return None
    from ppl_gen.data.cache import cache_folder

    try:
        return Path(os.path.realpath(cache_folder())) / "code"
    except OSError:
        return None


def _name(key: str, contents: bytes) -> str:
    return f"{key}-{hashlib.sha256(contents).hexdigest()}.so"


def _by_age(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, last used first."""
    return [path for path, _ in sorted(_statuses(folder, pattern), key=_last_used, reverse=True)]


def _statuses(folder: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob(pattern):
        with suppress(OSError):  # another process has removed it
            yield path, path.lstat()


def _last_used(found: tuple[Path, os.stat_result]) -> float:
    return found[1].st_mtime


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _write(path: Path, contents: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(contents)
        os.replace(temporary, path)
    except BaseException:
        _remove(Path(temporary))
        raise


def _make_room(folder: Path, newest: Path) -> None:
    """Remove what was used longest ago, down to the bounds, and what was never finished."""
    files = size = 0
    for path, status in sorted(_statuses(folder, "*.so"), key=_last_used, reverse=True):
        files, size = files + 1, size + status.st_size
        if path != newest and (files > MOST_FILES or size > MOST_BYTES):
            _remove(path)
    for path, status in _statuses(folder, "*.part"):
        if time.time() - status.st_mtime > ABANDONED:
            _remove(path)
