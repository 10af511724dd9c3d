r"""Whether generated images lie among real ones, and real ones among them, by nearest neighbours.

The ball of an image reaches to its k-th nearest neighbour in its own set, in the features of a
network. With real images :math:`x_i` and generated ones :math:`y_j`,

============  ================================================================================
precision     the share of :math:`y_j` in the ball of any :math:`x_i`
recall        the share of :math:`x_i` in the ball of any :math:`y_j` (Kynkäänniemi et al. 2019)
density       the balls of :math:`x_i` that a :math:`y_j` is in, on average, over k
coverage      the share of balls of :math:`x_i` with a :math:`y_j` in them (Naeem et al. 2020)
============  ================================================================================

Balls are open, so copies of one image have none. Density alone rewards collapse: copies of one
typical image are in many balls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen._checks import is_positive, is_whole
from ppl_gen.metrics.samples import Extractor, features_of

_ROWS = 1_000  # whose distances from all others are held at a time


@dataclass(frozen=True)
class Neighbours:
    """How two sets of images lie among each other.

    Attributes:
        precision, recall, density, coverage: see :mod:`ppl_gen.metrics`.
        extractor: the name of the network whose features were compared.
        k: the neighbour that balls reach to, of precision and recall.
        wide_k: the same of density and coverage.
        num_real: real images.
        num_fake: generated images; figures at different counts do not compare.

    >>> x = torch.rand(50, 1, 2, 2)
    >>> found = ppl_gen.metrics.neighbours(x, x, "pixels")
    >>> found.precision, found.recall, found.coverage
    (1.0, 1.0, 1.0)
    """

    precision: float
    recall: float
    density: float
    coverage: float
    extractor: str
    k: int
    wide_k: int
    num_real: int
    num_fake: int


def neighbours(
    real: Any, fake: Any, extractor: Extractor = "digits", *, k: int = 3, wide_k: int = 5
) -> Neighbours:
    """Precision, recall, density and coverage of generated images.

    Args:
        real: as in :func:`ppl_gen.metrics.fid`.
        fake: as in :func:`ppl_gen.metrics.fid`.
        extractor: as in :func:`ppl_gen.metrics.fid`.
        k: the neighbour that the balls of precision and recall reach to.
        wide_k: the same of density and coverage.

    Raises:
        ValueError: as :func:`ppl_gen.metrics.fid`; a neighbour below one, or images too few to have
            it.

    >>> x = torch.rand(50, 1, 2, 2)
    >>> far = ppl_gen.metrics.neighbours(x, x + 5, "pixels")
    >>> far.precision, far.recall, far.density, far.coverage
    (0.0, 0.0, 0.0, 0.0)
    """
    for name, count in (("k", k), ("wide_k", wide_k)):
        if not is_whole(count, 1):
            raise ValueError(f"expected a neighbour {name} >= 1, got {count!r}")
    name, x, y = features_of(real, fake, extractor)
    for role, rows, needed in (("real", x, max(k, wide_k)), ("generated", y, k)):
        if len(rows) <= needed:
            raise ValueError(
                f"expected more than {needed} {role} images, so that each has so many neighbours, "
                f"got {len(rows)}"
            )
    own, theirs, wide = _radii(x, k), _radii(y, k), _radii(x, wide_k)
    precise = torch.zeros(len(y), dtype=torch.bool)
    recalled, covered, inside = [], [], 0
    for rows, balls, wider in zip(x.split(_ROWS), own.split(_ROWS), wide.split(_ROWS), strict=True):
        apart = _distances(rows, y)
        precise |= (apart < balls[:, None]).any(0)
        recalled.append((apart < theirs).any(1))
        held = apart < wider[:, None]
        covered.append(held.any(1))
        inside += int(held.sum())
    return Neighbours(
        precision=precise.double().mean().item(),
        recall=torch.cat(recalled).double().mean().item(),
        density=inside / (wide_k * len(y)),
        coverage=torch.cat(covered).double().mean().item(),
        extractor=name,
        k=k,
        wide_k=wide_k,
        num_real=len(x),
        num_fake=len(y),
    )


@dataclass(frozen=True)
class Nearest:
    """How far generated images are from the nearest of those trained on, and of others.

    Attributes:
        train: ``(M,)``, the distance from the nearest training image.
        test: ``(M,)``, from the nearest held-out image.
        indices: ``(M,)``, which training image that is, to be looked at.
        closer: the share of generated images nearer to a training image. Where there are as many
            of both, that is one half unless images are remembered.
        extractor: the name of the network whose features were compared.

    >>> x = torch.rand(20, 1, 2, 2)
    >>> ppl_gen.metrics.nearest(x[:10], x[10:], x[:10] + 1e-3, "pixels").closer
    1.0
    """

    train: Tensor
    test: Tensor
    indices: Tensor
    closer: float
    extractor: str


def nearest(train: Any, test: Any, fake: Any, extractor: Extractor = "pixels") -> Nearest:
    """The nearest training and held-out image of every generated one.

    Of more images of one kind as many are used as there are of the other, the first.

    Args:
        train: ``(N, C, H, W)``, or a data set with ``.images``.
        test: the same, not trained on.
        fake: ``(M, C, H, W)``, such as ``gan.sample(M)``.
        extractor: as in :func:`ppl_gen.metrics.fid`.

    Raises:
        ValueError: as :func:`ppl_gen.metrics.fid`.

    >>> x = torch.rand(20, 1, 2, 2)
    >>> ppl_gen.metrics.nearest(x[:10], x[10:], x[10:15], "pixels").test.max().item()
    0.0
    """
    name, known, drawn = features_of(train, fake, extractor)
    _, other, _ = features_of(test, fake, extractor)
    count = min(len(known), len(other))
    found = [_nearest(drawn, rows[:count]) for rows in (known, other)]
    (of_train, indices), (of_test, _) = found
    closer = (of_train < of_test).double().mean() + (of_train == of_test).double().mean() / 2
    return Nearest(of_train, of_test, indices, closer.item(), name)


@dataclass(frozen=True)
class Birthday:
    """How many samples it takes until two are alike (Arora and Zhang 2018).

    Attributes:
        batch: in half of all random orders, two samples among the first ``batch`` are alike;
            infinite where none are.
        support: how many equally likely outcomes would do the same, about batch² / (2 log 2).
        extractor: the name of the network whose features were compared.
        radius: the distance below which two samples were alike.
        num_samples: how many there were; a support above its square cannot be told.

    >>> found = ppl_gen.metrics.birthday(torch.zeros(10, 1, 2, 2), 0.1, "pixels")
    >>> found.batch
    2.0
    """

    batch: float
    support: float
    extractor: str
    radius: float
    num_samples: int


def birthday(
    samples: Any,
    radius: float,
    extractor: Extractor = "digits",
    *,
    orders: int = 1_000,
    seed: int = 0,
) -> Birthday:
    """The number of samples at which near-duplicates appear, and the support that this betrays.

    Args:
        samples: ``(N, C, H, W)``.
        radius: the distance below which two are alike, above zero: such as the smallest between
            two different real images.
        extractor: as in :func:`ppl_gen.metrics.fid`.
        orders: random orders to take the median over.
        seed: of the orders.

    Raises:
        ValueError: as :func:`ppl_gen.metrics.fid`; a radius that is not above zero, or no order.

    >>> places = torch.arange(10.0).repeat(50).reshape(-1, 1, 1, 1)
    >>> 4 <= ppl_gen.metrics.birthday(places, 0.1, "pixels").batch <= 6
    True
    """
    if not is_positive(radius) or not is_whole(orders, 1):
        raise ValueError(f"expected a radius and orders above zero, got {radius!r} and {orders!r}")
    name, x, _ = features_of(samples, samples, extractor)
    pairs = [
        torch.stack([rows + start, others])
        for start, part in zip(range(0, len(x), _ROWS), x.split(_ROWS), strict=True)
        for rows, others in [(_distances(part, x) < radius).nonzero(as_tuple=True)]
    ]
    alike = torch.cat(pairs, 1)
    alike = alike[:, alike[0] < alike[1]]
    first = torch.full((orders,), math.inf, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for i in range(orders if alike.shape[1] else 0):
        place = torch.randperm(len(x), generator=generator)
        first[i] = 1 + place[alike].max(0).values.min().item()
    batch = first.sort().values[orders // 2].item()
    return Birthday(batch, batch**2 / (2 * math.log(2)), name, radius, len(x))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(x: Tensor, k: int) -> Tensor:
    """The distance of every row from its k-th nearest other."""
    parts = [_distances(part, x).topk(k + 1, largest=False).values[:, k] for part in x.split(_ROWS)]
    return torch.cat(parts)


def _nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    found = [_distances(part, y).min(1) for part in x.split(_ROWS)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
