"""The user's cache folder, and arrays kept in it.

The folder is the operating system's (``~/.cache/ppl-gen`` on Linux) or the one named by the
environment variable ``PPL_GEN_CACHE``. Whatever is in it can be deleted at any time.
"""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def cache_folder() -> Path:
    """The folder for files that can be made again; it need not exist yet."""
    named = os.environ.get("PPL_GEN_CACHE")
    if named:
        return Path(named)
    import pooch

    return Path(pooch.os_cache("ppl-gen"))


def cached_arrays(
    name: str, build: Callable[[], Arrays], valid: Callable[[Arrays], bool]
) -> Arrays:
    """The arrays stored under ``name``; built and stored first where there are none.

    A stored file that cannot be read, or that ``valid`` refuses, is built again and replaced.
    Where the folder cannot be written the arrays are returned all the same.
    """
    path = cache_folder() / f"{name}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        if valid(arrays):
            return arrays
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error):
        pass
    arrays = build()
    with suppress(OSError):
        _write(path, arrays)
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
