"""torch's optimisers without torch's compiler, whose import takes longer than many a short run.

They take the same steps to the bit, and are known to :mod:`ppl_gen.staging.optimizers`.
"""

from __future__ import annotations

import inspect

import torch

from ppl_gen.staging.torch_internals import without_compiler

_METHODS = "add_param_group", "zero_grad", "state_dict", "load_state_dict"


@without_compiler(*_METHODS)
class Adam(torch.optim.Adam):
    """Adam (Kingma and Ba 2015)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


@without_compiler(*_METHODS)
class RMSprop(torch.optim.RMSprop):
    """RMSprop (Tieleman and Hinton 2012)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.RMSprop.step))
