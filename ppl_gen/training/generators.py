"""The states of the global random generators as a checkpoint holds them: tensors and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro.util
import torch

from ppl_gen._random import seeded

__all__ = ["restore", "seeded", "state"]


def state() -> dict[str, Any]:
    """The states of all generators, as tensors, numbers and text."""
    found: dict[str, Any] = pyro.util.get_rng_state()
    name, keys, *rest = found["numpy"]
    found["numpy"] = [name, keys.tolist(), *rest]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def restore(found: Mapping[str, Any]) -> None:
    """Continue from states that :func:`state` gave."""
    pyro.util.set_rng_state(dict(found))
    if "cuda" in found:
        torch.cuda.set_rng_state_all(found["cuda"])
