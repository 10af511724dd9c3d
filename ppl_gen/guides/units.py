r"""Units of a program's sites, in which a guide reads and writes their values.

A site with support :math:`S` is measured in :math:`u = (T^{-1}(v) - m) / s`, with
:math:`T : \mathbb{R} \to S` for a latent of scalar support and the identity for all others. Of a
latent, m and s are the middle and the spread of its prior, the spread not beyond the magnitude of
the data: a vague prior says nothing of the scale of a posterior. Of an observed site they are the
mean and the standard deviation of every component over the members of its plates; where a component
does not vary, or is a single number, its magnitude and the likelihood's noise stand for the latter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import biject_to

from ppl_gen.guides.families import element, encode, is_scalar, states

LEAST_SPREAD = 1e-6  # of the magnitude: below, differences are rounding


class Units(nn.Module):
    """Where the values of a site are and how far they spread, by component."""

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor):
        super().__init__()
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)

    @property
    def magnitude(self) -> float:
        """How far from zero the values go."""
        return float((self.loc.abs() + self.scale).max())

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.loc) / self.scale


def features(value: Tensor, fn: Any, dtype: torch.dtype, observed: bool) -> Tensor:
    """A value as a vector, one with scalar constraints as unconstrained numbers if it is latent."""
    if not observed and is_scalar(fn) and not fn.support.is_discrete:
        inside = biject_to(element(fn.support)).inv(value.to(dtype))
        value = torch.nan_to_num(inside, 0.0, 100.0, -100.0) if _bounded(fn) else inside
    return encode(value, fn, dtype)


@torch.no_grad()
def units_of_data(value: Tensor, fn: Any, dtype: torch.dtype) -> Units:
    """The units of an observed site."""
    rows = encode(value, fn, dtype)
    rows = rows.reshape(-1, rows.shape[-1])
    if states(fn) is not None or not rows.isfinite().all():
        return Units(rows.new_zeros(1), rows.new_ones(1))
    loc, scale = rows.mean(0), rows.std(0, correction=0)
    magnitude = torch.hypot(loc, _noise(fn, dtype).expand_as(loc))
    magnitude = torch.where(magnitude > 0, magnitude, torch.ones_like(magnitude))
    alike = scale <= LEAST_SPREAD * magnitude
    return Units(loc, torch.where(alike, magnitude, scale))


@torch.no_grad()
def units_of_prior(sites: Sequence[Mapping[str, Any]], dtype: torch.dtype, most: float) -> Units:
    """The units of a latent, from draws of its prior.

    Args:
        sites: the site in several runs of the program.
        most: the magnitude of the data.
    """
    parts = [features(site["value"], site["fn"], dtype, observed=False) for site in sites]
    rows = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
    if not is_scalar(sites[0]["fn"]) or sites[0]["fn"].support.is_discrete:
        return Units(rows.new_zeros(1), rows.new_ones(1))
    centres = torch.cat([_centre(site, part) for site, part in zip(sites, parts, strict=True)])
    low, high = rows.nanquantile(0.25, 0), rows.nanquantile(0.75, 0)
    scale, loc = (high - low) / 1.349, centres.nanmedian(0).values
    usable = scale.isfinite() & (scale > 0)
    scale = torch.where(usable, scale, torch.ones_like(scale))
    if not _bounded(sites[0]["fn"]):
        scale = scale.clamp(max=max(1.0, most))
    return Units(torch.where(loc.isfinite(), loc, torch.zeros_like(loc)), scale)


def _centre(site: Mapping[str, Any], rows: Tensor) -> Tensor:
    """The prior mean of a real site, which no draw blurs; the draws of others."""
    if not _bounded(site["fn"]):
        try:
            mean = encode(site["fn"].mean.expand(site["value"].shape), site["fn"], rows.dtype)
        except NotImplementedError:
            mean = rows
        if mean.isfinite().all():
            rows = mean
    return rows.reshape(-1, rows.shape[-1])


def _bounded(fn: Any) -> bool:
    return element(fn.support) is not torch.distributions.constraints.real


def _noise(fn: Any, dtype: torch.dtype) -> Tensor:
    """The standard deviation of a likelihood in the middle of its members; 0 if it has none."""
    try:
        noise = fn.stddev.to(dtype)
    except (NotImplementedError, AttributeError):
        return torch.zeros((), dtype=dtype)
    rows = noise.reshape(-1, math.prod(fn.event_shape)).contiguous()  # torch misreads strides of 0
    noise = rows.median(0).values
    return torch.where(noise.isfinite(), noise, torch.zeros_like(noise))
