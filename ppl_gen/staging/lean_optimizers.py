"""torch's optimisers without torch's compiler, whose import takes longer than many a short run.

The methods of :class:`torch.optim.Optimizer` keep themselves out of ``torch.compile`` and import it
for that: two seconds, where fifty steps take a tenth. What is recorded here is recorded by
:mod:`ppl_gen.staging`, so that the same steps, to the bit, are taken without.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])


def _lean(kind: Kind) -> Kind:
    """Take what the methods of a kind wrap, or the methods where they wrap nothing."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step"):
        method = inspect.unwrap(getattr(kind, name))
        setattr(kind, name, torch.no_grad()(method) if name == "step" else method)
    return kind


@_lean
class Adam(torch.optim.Adam):
    """Adam (Kingma and Ba 2015) as torch's, which it is in all but the time of its import."""


@_lean
class RMSprop(torch.optim.RMSprop):
    """RMSprop (Tieleman and Hinton 2012), likewise."""
