"""Which modes of a known mixture a model has found, and how well it fills them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen._checks import is_positive

# How many standard deviations from a mean a sample of high quality may be.
RADIUS = 3.0
# The part of a fair share that a mode must have to count as balanced.
FAIR = 0.2


@dataclass(frozen=True)
class Modes:
    r"""How samples lie about the means of a mixture.

    Attributes:
        modes: the means with a sample within three standard deviations: one sample is enough.
        balanced: those with a fifth of a fair share of all samples there, or more.
        high_quality: the share of samples within three standard deviations of a mean. In two
            dimensions the mixture itself has 0.9889; more is a mode that has shrunk.
        kl: KL divergence of the histogram over nearest means from the uniform one, in nats: log K
            where a single mode of K is left.
        sd_ratio: the standard deviation of the samples of high quality about the mean of those of
            their own mode, over what it is in the mixture; NaN where no mode has two of them.
        num_samples: how many samples there were.

    >>> import ppl_gen.metrics as m
    >>> found = m.modes(torch.zeros(10, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0]]), 0.1)
    >>> found.modes, found.high_quality, round(found.kl, 4), found.sd_ratio
    (1, 1.0, 0.6931, 0.0)
    """

    modes: int
    balanced: int
    high_quality: float
    kl: float
    sd_ratio: float
    num_samples: int


def modes(samples: Any, means: Any, sd: float) -> Modes:
    """Count the modes of an equal mixture of round normals that samples cover.

    Args:
        samples: ``(N, D)``.
        means: ``(K, D)``, of the components.
        sd: their standard deviation in every direction.

    Raises:
        ValueError: samples or means that are no finite rows of one width, or a standard deviation
            that is not above zero.

    >>> angles = torch.arange(8) * torch.pi / 4
    >>> ring = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    >>> exact = ring.repeat(500, 1) + 0.02 * torch.randn(4000, 2)
    >>> found = ppl_gen.metrics.modes(exact, ring, 0.02)
    >>> found.modes, found.balanced, found.kl
    (8, 8, 0.0)
    """
    x, centres = _rows(samples, "samples"), _rows(means, "means")
    if x.shape[1] != centres.shape[1]:
        shapes = f"{tuple(x.shape)} and {tuple(centres.shape)}"
        raise ValueError(f"expected samples and means of one width, got {shapes}")
    if not is_positive(sd):
        raise ValueError(f"expected a standard deviation above zero, got {sd!r}")
    distance, nearest = torch.cdist(x, centres).min(1)
    near = distance <= RADIUS * sd
    counts = torch.bincount(nearest[near], minlength=len(centres))
    return Modes(
        int((counts > 0).sum()),
        int((counts >= FAIR * len(x) / len(centres)).sum()),
        near.double().mean().item(),
        _divergence_from_uniform(torch.bincount(nearest, minlength=len(centres))),
        _spread(x[near], nearest[near], counts) / (sd * _truncated_sd(x.shape[1])),
        len(x),
    )


def _rows(values: Any, what: str) -> Tensor:
    try:
        rows = torch.as_tensor(values).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected {what} as rows of numbers, got {error}") from error
    if rows.dim() != 2 or not math.prod(rows.shape):
        raise ValueError(f"expected {what} as rows of numbers, got shape {tuple(rows.shape)}")
    if not rows.isfinite().all():
        raise ValueError(f"expected finite {what}, got NaN or infinity")
    return rows


def _divergence_from_uniform(counts: Tensor) -> float:
    shares = counts.double() / counts.sum()
    return max(0.0, torch.xlogy(shares, shares * len(counts)).sum().item())


def _spread(x: Tensor, nearest: Tensor, counts: Tensor) -> float:
    """The standard deviation of a coordinate about the mean of each mode, pooled over modes."""
    free = int((counts - 1).clamp(min=0).sum())
    if not free:
        return math.nan
    sums = x.new_zeros(len(counts), x.shape[1]).index_add(0, nearest, x)
    rest = x - (sums / counts.clamp(min=1)[:, None])[nearest]
    return math.sqrt(rest.square().sum().item() / (free * x.shape[1]))


def _truncated_sd(dim: int) -> float:
    """The standard deviation of a coordinate of a standard normal within the radius."""
    half, end = torch.tensor(dim / 2, dtype=torch.float64), torch.tensor(RADIUS**2 / 2)
    shares = torch.special.gammainc(torch.stack([half + 1, half]), end.double())
    return math.sqrt(shares[0] / shares[1])
