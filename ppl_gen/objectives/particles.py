"""Several draws of a guide: at once where the programs allow it, else one after the other.

A plate of particles to the left of all others gives every latent value a leading dimension. Many
programs are right for any such value; others index or multiply the wrong dimension, with or without
an error. So a pair of programs is tried once: what two particles drawn at once come to must be what
each comes to by itself.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ppl_gen._modes import evaluating
from ppl_gen._random import RandomState
from ppl_gen.objectives.terms import Program, Terms, terms

_plans: weakref.WeakKeyDictionary[
    Any, weakref.WeakKeyDictionary[Any, dict[tuple[str, str], int | None]]
] = weakref.WeakKeyDictionary()


def plate_nesting(
    model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> int | None:
    """The plate dimensions two programs take, or None where they cannot be vectorised.

    The programs are tried the first time they are seen; what that changes is undone.
    """
    (owner, method), (other, name) = _identity(guide), _identity(model)
    found = _plans.setdefault(owner, weakref.WeakKeyDictionary()).setdefault(other, {})
    if (method, name) not in found:
        found[method, name] = _tried(model, guide, args, kwargs)
    return found[method, name]


def _identity(program: Program) -> tuple[Any, str]:
    """The object behind a program, and which of its methods the program is."""
    owner = getattr(program, "__self__", program)
    return owner, getattr(program, "__name__", "")


def _tried(
    model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> int | None:
    from ppl_gen.staging.sandbox import Sandbox  # staging is made of objectives

    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    random = RandomState(tensor.device for tensor in tensors)
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())
        stack.enter_context(torch.no_grad())
        for module in {_identity(program)[0] for program in (model, guide)}:
            if isinstance(module, nn.Module):
                stack.enter_context(evaluating(module))
        one = terms(model, guide, args, kwargs)
        try:
            reason = _difference(one, model, guide, args, kwargs)
        except Exception as error:  # whatever a program raises at values it was not given before
            reason = " ".join(str(error).split())[:200]
    sandbox.restore()
    random.restore()
    if reason is None:
        return one.nesting
    warnings.warn(
        "particles are drawn one after the other, since the programs do not accept a leading "
        f"dimension of them ({reason}); vectorize_particles=False says so without a warning",
        stacklevel=2,
    )
    return None


def _difference(
    one: Terms,
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str | None:
    """Where two particles drawn at once differ from each by itself, if anywhere."""
    both = terms(model, guide, args, kwargs, particles=2, max_plate_nesting=one.nesting)
    drawn = {s: v for s, v in both.values.items() if not both.is_point(s)}
    for k in range(2):
        values = {s: value[k].reshape(one.values[s].shape) for s, value in drawn.items()}
        alone = terms(model, guide, args, kwargs, values=values, subsamples=both.subsamples)
        for name in ("factors", "log_p", "log_q", "auxiliary"):
            for site, term in getattr(alone, name).items():
                if not _close(getattr(both, name)[site][k], term[0]):
                    return f"{site!r} has another density"
        if not _close(both.log_lik[k], alone.log_lik[0]):
            return "the observed sites have another density"
    return None


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True)
