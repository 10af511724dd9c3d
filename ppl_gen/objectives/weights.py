"""What the terms of a site are multiplied by: the scale and the mask of its plates and handlers.

Model and guide have each their own. They are compared without looking at values in Python, since
such a look would stop a program from being staged: where they are tensors, so is the answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from operator import and_
from typing import Any, TypeAlias

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppl_gen.objectives.closed_forms import closed_kl

Site: TypeAlias = Any  # a message of Pyro's
Scale: TypeAlias = float | Tensor
PRECISION = 1e-6


def ratio(frame: Any) -> float:
    """By what a plate scales its sites."""
    return 1.0 if frame.full_size is None else float(frame.full_size / frame.size)


def plate_scale(site: Site) -> float:
    return math.prod(map(ratio, site["cond_indep_stack"]))


def handler_scale(site: Site) -> Scale:
    """By what handlers scale a site, besides its plates."""
    plates, scale = plate_scale(site), site["scale"]
    if isinstance(scale, Tensor):
        return scale / plates
    return 1.0 if math.isclose(scale, plates, rel_tol=1e-9) else scale / plates


def weight_of(site: Site, scale: Scale) -> Scale:
    """A scale and the mask of a site together."""
    mask, device = site["mask"], site["value"].device
    one = 1.0 if mask is None else torch.ones(site["fn"].batch_shape, device=device)
    return scale_and_mask(one, scale, mask)


def equal(one: Scale, other: Scale) -> bool | Tensor:
    """Whether two scales are equal up to rounding: by element, unless both are numbers."""
    if one is other:
        return True
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        difference: Any = one - other
        return difference.abs() <= PRECISION * torch.as_tensor(other).abs()
    return math.isclose(one, other, rel_tol=PRECISION)


def masked_alike(site: Site, twin: Site) -> bool | Tensor:
    """Whether a site and its twin have the same mask: by element, unless both are no tensors."""
    one, other = (True if s["mask"] is None else s["mask"] for s in (site, twin))
    if one is other:
        return True
    answer: bool | Tensor = one == other
    return answer


def common(weights: Sequence[Scale | None]) -> Scale:
    """What all of some weights are, 1 where they differ; None differs from every weight."""
    if any(weight is None for weight in weights):
        return 1.0
    first, *rest = [weight for weight in weights if weight is not None] or [1.0]
    answers = [equal(first, other) for other in rest]
    if any(answer is False for answer in answers):
        return 1.0
    tensors = [answer.all() for answer in answers if isinstance(answer, Tensor)]
    return torch.where(functools.reduce(and_, tensors), first, 1.0) if tensors else first


def log_prob(site: Site) -> Tensor:
    """The log-density of a site, neither scaled nor masked; computed once."""
    if "unscaled_log_prob" not in site:
        try:
            log_p = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
        except ValueError as error:
            raise ValueError(f"site {site['name']!r}: {error}") from error
        site["unscaled_log_prob"] = log_p
    return site["unscaled_log_prob"]


def scaled(term: Tensor, site: Site, scale_of: Callable[[Site], Scale]) -> Tensor:
    return scale_and_mask(term, scale_of(site), site["mask"])


def weighted_kl(
    site: Site, twin: Site, scale_of: Callable[[Site], Scale]
) -> tuple[Tensor | None, bool]:
    """The weighted KL of a site by element, and whether some elements of it may be sampled.

    One KL stands for log q and log p where both are weighted alike.
    """
    alike = equal(scale_of(site), scale_of(twin)) & masked_alike(site, twin)
    divergence = None if alike is False else closed_kl(site["fn"], twin["fn"])
    if divergence is None or alike is True:
        return None if divergence is None else scaled(divergence, site, scale_of), False
    closed = scaled(divergence, site, scale_of)
    log_q, log_p = (scaled(log_prob(s), s, scale_of) for s in (site, twin))
    mixed = torch.where(torch.as_tensor(alike), closed, log_q - log_p)
    shapes = {closed.shape, log_q.shape, log_p.shape, mixed.shape}
    return (mixed, True) if len(shapes) == 1 else (None, False)
