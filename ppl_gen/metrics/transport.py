r"""How far mass must be moved to turn one sample into another.

In one dimension the cheapest plan keeps the order, so that the distance is an area between
distribution functions,

.. math::

    W_1(u, v) = \inf_\pi \mathbb{E}_\pi |u - v| = \int |F_u(t) - F_v(t)|\, dt;

in more, its mean over directions is a distance too (Bonneel et al. 2015).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ppl_gen._checks import is_whole

# How many projected values are sorted at a time.
VALUES = 2**22


def wasserstein_1d(u: Any, v: Any) -> float:
    r"""The distance :math:`W_1` of two samples of numbers, every number of a sample weighing alike.

    Args:
        u: ``(N,)``, a tensor, array or list.
        v: ``(M,)``.

    Raises:
        ValueError: a sample that is empty, not of one dimension, or not finite.

    >>> ppl_gen.metrics.wasserstein_1d([0.0, 1.0, 3.0], [5.0, 6.0, 8.0])
    5.0
    >>> ppl_gen.metrics.wasserstein_1d([0.0], [1.0, 2.0])
    1.5
    """
    a, b = (_numbers(sample, "(N,)", 1) for sample in (u, v))
    return _areas(a, b).item()


def wasserstein(x: Any, y: Any) -> float:
    r"""The distance :math:`W_1` of two samples of as many points, by the cheapest assignment.

    Its time grows with the cube of the number, a few seconds for 2,000 points.

    Args:
        x: ``(N, ...)``, data of any shape.
        y: ``(N, ...)``, as many of the same shape.

    Raises:
        ValueError: samples that are empty, of different sizes or shapes, or not finite.

    >>> ppl_gen.metrics.wasserstein([[0.0, 0.0], [1.0, 0.0]], [[1.0, 2.0], [0.0, 2.0]])
    2.0
    """
    from scipy.optimize import linear_sum_assignment

    a, b = _flat(x, y)
    if len(a) != len(b):
        raise ValueError(f"expected samples of one size, got {len(a)} and {len(b)}")
    costs = _distances(a, b).numpy()
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].mean())


def energy_distance(x: Any, y: Any) -> float:
    r"""The energy distance of two samples (Székely and Rizzo 2013).

    It is :math:`\sqrt{2 \mathbb{E}|X - Y| - \mathbb{E}|X - X'| - \mathbb{E}|Y - Y'|}` with means
    over all pairs, those of a point with itself included, so zero for equal samples alone.

    Args:
        x: ``(N, ...)``, data of any shape.
        y: ``(M, ...)``, data of the same shape.

    Raises:
        ValueError: samples that are empty, of different shapes or not finite.

    >>> ppl_gen.metrics.energy_distance([0.0], [2.0])
    2.0
    """
    a, b = _flat(x, y)
    between, *within = (_distances(u, v).mean() for u, v in ((a, b), (a, a), (b, b)))
    return (2 * between - within[0] - within[1]).clamp(min=0).sqrt().item()


def sliced_wasserstein(x: Any, y: Any, num_directions: int = 128, *, seed: int = 0) -> float:
    r"""The mean :math:`W_1` of two samples along directions uniform on the sphere.

    For a shift by δ it is the mean of :math:`|u^\top \delta|`, :math:`2 \|\delta\| / \pi` in two
    dimensions; it shrinks like :math:`1/\sqrt{D}` and compares in equal dimensions alone.

    Args:
        x: ``(N, ...)``, data of any shape.
        y: ``(M, ...)``, data of the same shape.
        num_directions: how many directions to average over.
        seed: of the directions.

    Raises:
        ValueError: samples that are empty, of different shapes or not finite, or no direction.

    >>> x = torch.randn(100, 2)
    >>> found = ppl_gen.metrics.sliced_wasserstein(x, x + torch.tensor([3.0, 4.0]), 10_000)
    >>> abs(found - 2 * 5 / torch.pi) < 0.1
    True
    """
    if not is_whole(num_directions, 1):
        raise ValueError(f"expected one direction or more, got {num_directions!r}")
    a, b = _flat(x, y)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(num_directions, a.shape[1], generator=generator, dtype=a.dtype)
    directions /= directions.norm(dim=1, keepdim=True)
    several = max(1, VALUES // (len(a) + len(b)))
    areas = [_areas(part @ a.mT, part @ b.mT) for part in directions.split(several)]
    return torch.cat(areas).mean().item()


def _flat(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two samples of data of one shape as rows."""
    a, b = (_numbers(sample, "(N, ...)") for sample in (x, y))
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"expected data of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return a.reshape(len(a), -1), b.reshape(len(b), -1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _areas(a: Tensor, b: Tensor) -> Tensor:
    """The areas between the distribution functions of samples ``(..., N)`` and ``(..., M)``."""
    if a.shape == b.shape:
        return (a.sort().values - b.sort().values).abs().mean(-1)
    every = torch.cat([a, b], -1).sort().values
    below = every[..., :-1].contiguous()
    shares = [
        torch.searchsorted(part.sort().values, below, right=True).double() / part.shape[-1]
        for part in (a, b)
    ]
    return (every.diff() * (shares[0] - shares[1]).abs()).sum(-1)


def _numbers(sample: Any, shape: str, dims: int | None = None) -> Tensor:
    """A sample as float64 on the CPU."""
    try:
        found = torch.as_tensor(sample).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected a sample {shape} of numbers, got {error}") from error
    fits = found.dim() == dims if dims else found.dim() >= 1
    if not fits or found.is_complex() or not math.prod(found.shape):
        raise ValueError(f"expected a sample {shape} of numbers, got shape {tuple(found.shape)}")
    found = found.double()
    if not found.isfinite().all():
        raise ValueError("expected a sample of finite numbers, got NaN or infinity")
    return found
