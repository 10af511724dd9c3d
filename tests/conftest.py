"""Fixtures shared by every test."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("model_laws")

# Tests compile what they run, and leave their user's cache as it is.
os.environ.setdefault("PPL_GEN_CODE_CACHE", "0")
# They compile often enough to compile torch's headers first.
os.environ.setdefault("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "1")
ROOT = Path(__file__).resolve().parents[1]
# Until every module is imported there is little to collect.
gc.disable()


def pytest_collection_finish() -> None:
    """What was imported for the tests lives as long as they, and is not searched for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Public networks, answers and images; ``tests/data/README.md`` names their sources."""
    return ROOT / "tests" / "data"


@pytest.fixture
def compiled_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference in compiled code from the first question."""
    from graphs.inference import work

    monkeypatch.setattr(work.BUDGET, "most", -1)


@pytest.fixture
def plain_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums in plain code, whatever was asked before."""
    from graphs.inference.routing import Router

    monkeypatch.setattr(Router, "_plain", lambda self, pattern, rows: True)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are staged run as recorded, as where there is no compiler."""
    monkeypatch.setattr(
        "ppl_gen.staging.torch_internals.why_not_compiled", lambda devices: "none is wanted"
    )


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
