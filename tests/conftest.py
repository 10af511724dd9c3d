"""Fixtures shared by every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of public reference data; tests that need it skip where it is absent."""
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("PPL_GEN_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}; set PPL_GEN_REFERENCE_DATA")
    return folder


@pytest.fixture
def fresh_store() -> Iterator[None]:
    """No parameters in Pyro's store, before and after, and draws from a seed."""
    import pyro
    import torch

    pyro.clear_param_store()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    pyro.clear_param_store()
