r"""The mutual information gap: whether each factor has one latent dimension of its own.

.. math::

    \mathrm{MIG} = \frac{1}{F} \sum_k \frac{1}{H_k}
    \Big( I(z_{j_1}; v_k) - I(z_{j_2}; v_k) \Big), \qquad j_1, j_2 = \text{the two most informative}

There are two protocols, and their numbers must not be compared:

- ``"chen"`` (Chen et al. 2018, section 4.1): the information is in a sample of the posterior,
  :math:`I(z_j; v_k) = \mathbb{E}[\log q(z_j | v_k) - \log q(z_j)]`, where :math:`q(z_j)` averages
  :math:`q(z_j | x_n)` over all images and :math:`q(z_j | v_k)` over those with that value;
  the shape of dSprites is left out;
- ``"locatello"`` (Locatello et al. 2019, appendix C): the information is in the posterior mean of
  10,000 images, in 20 bins of equal width; all factors count.

:math:`H_k` is the entropy of the factor in the images drawn, or in the whole data set where that
states it as ``factor_entropies``. On a full grid, as in both papers, it is :math:`\log |v_k|`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen.evaluation.batched import evaluation, require_counts
from ppl_gen.metrics.aggregate import Posterior, log_aggregate, posterior_of
from ppl_gen.metrics.factors import (
    Factors,
    columns_of,
    encoded,
    entropies_of,
    factor_names,
    require_several_values,
)
from ppl_gen.models.vae import VAE

PROTOCOLS = ("chen", "locatello")


@dataclass(frozen=True)
class MIG:
    """A mutual information gap; ``float(mig)`` is its score.

    Attributes:
        score: the mean gap, in [0, 1].
        protocol: ``"chen"`` or ``"locatello"``.
        gaps: the normalised gap of each factor.
        mutual_information: in nats, ``(F, Z)``: factors by latent dimensions.
        entropies: what each factor's gap was divided by, in nats, ``(F,)``.
        num_images: how many images were encoded.

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> mig = ppl_gen.metrics.mig(exact, data, "locatello")
    >>> mig.mutual_information.shape, mig.entropies.shape
    (torch.Size([2, 2]), torch.Size([2]))
    >>> mig.protocol, mig.num_images
    ('locatello', 10000)
    """

    score: float
    protocol: str
    gaps: dict[str, float]
    mutual_information: Tensor
    entropies: Tensor
    num_images: int

    def __float__(self) -> float:
        return self.score

    def __repr__(self) -> str:
        gaps = ", ".join(f"{name} {gap:.3f}" for name, gap in self.gaps.items())
        return (
            f"MIG({self.score:.4f}, protocol={self.protocol!r}, {self.num_images:,} images; {gaps})"
        )


def mig(
    vae: VAE,
    dataset: Factors,
    protocol: str = "chen",
    *,
    factors: Sequence[str] | None = None,
    num_images: int | None = None,
    num_samples: int = 2_000,
    num_bins: int = 20,
    seed: int = 0,
) -> MIG:
    """The mutual information gap of a model's latent dimensions.

    Args:
        vae: the model.
        dataset: images with factors: ``ppl_gen.data.sprites()``, or :class:`FactorArrays` of one's
            own.
        protocol: ``"chen"`` or ``"locatello"``; numbers of one do not compare with the other's.
        factors: the names of those that count. By default all, except that Chen's protocol leaves
            out a factor named ``shape``. Those of a data set without ``factor_names`` are named by
            their position, ``"0"``, ``"1"``, ...
        num_images: drawn from the data set; 20,000 for Chen's protocol, in place of the
            whole grid, 10,000 for Locatello's.
        num_samples: Chen's: points at which the entropies are estimated.
        num_bins: Locatello's: bins per latent dimension.
        seed: of all draws.

    Raises:
        ValueError: an unknown protocol or factor, factors that do not match the images, a factor
            with a single value, fewer than two latent dimensions, or under Chen's protocol a
            posterior that is not independent over dimensions.

    Codes that are the factors themselves:

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> mig = ppl_gen.metrics.mig(exact, data, "locatello")
    >>> round(mig.score, 3), sorted(mig.gaps)
    (1.0, ['0', '1'])
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol among {', '.join(PROTOCOLS)}, got {protocol!r}")
    names = factor_names(vae, dataset, factors, leave_out="shape" if protocol == "chen" else None)
    num_images = (20_000 if protocol == "chen" else 10_000) if num_images is None else num_images
    with evaluation(vae, seed):
        outputs, classes = encoded(vae, dataset, num_images, seed, means=protocol != "chen")
        columns = columns_of(dataset, names)
        require_several_values(names, drawn := classes[:, columns])
        if protocol == "chen":
            information = chen_information(posterior_of(vae, outputs), drawn, num_samples)
        else:
            information = locatello_information(outputs.flatten(1), drawn, num_bins)
    known = getattr(dataset, "factor_entropies", None) if protocol == "chen" else None
    divisors = entropies_of(drawn) if known is None else known[columns]
    return gap(information, divisors, protocol, names, num_images)


def chen_information(posterior: Posterior, classes: Tensor, num_samples: int = 2_000) -> Tensor:
    r"""Estimates of :math:`I(z_j; v_k)` in nats, clamped at zero, ``(F, Z)``.

    Points are weighted so that every class has the share it has among all images, not among points.

    Args:
        posterior: ``posterior(rows)`` is :math:`q(z | x_n)` for the images n in ``rows``, of batch
            shape ``(len(rows),)`` and independent over ``Z`` dimensions.
        classes: the integer value of each factor in each image, ``(N, F)``.
        num_samples: how many images to draw a point for.
    """
    require_counts(sample=num_samples)
    everything = torch.arange(len(classes))
    queries = torch.randperm(len(classes))[:num_samples]

    def marginals(rows: Tensor) -> Any:
        return posterior(rows).base_dist  # type: ignore[attr-defined]

    points = marginals(queries).sample()
    unconditional = log_aggregate(marginals, everything, points)
    information = []
    for column in classes.T:
        conditional = torch.empty_like(unconditional)
        weights = torch.empty(len(queries), 1, dtype=torch.float64)
        for value in column[queries].unique():
            mine, everyone = column[queries] == value, everything[column == value]
            conditional[mine] = log_aggregate(marginals, everyone, points[mine])
            weights[mine] = len(everyone) / int(mine.sum())
        gained = (conditional - unconditional).double() * weights
        information.append(gained.sum(0) / weights.sum())
    return torch.stack(information).clamp(min=0)


def locatello_information(codes: Tensor, classes: Tensor, num_bins: int = 20) -> Tensor:
    """Mutual information in nats of binned codes ``(N, Z)`` and classes ``(N, F)``, ``(F, Z)``."""
    from sklearn.metrics import mutual_info_score

    if not is_whole(num_bins, 2):
        raise ValueError(f"expected at least two bins, got {num_bins}")
    if len(codes) != len(classes):
        raise ValueError(
            f"expected one row of factors per image, got {len(classes)} for {len(codes)}"
        )
    binned = []
    for column in codes.cpu().double().numpy().T:
        edges = np.histogram_bin_edges(column, num_bins)
        binned.append(np.digitize(column, edges[:-1]))
    rows = [
        [mutual_info_score(factor, dimension) for dimension in binned]
        for factor in classes.cpu().numpy().T
    ]
    return torch.tensor(rows, dtype=torch.float64).clamp(min=0)


def gap(
    information: Tensor,
    entropies: Tensor,
    protocol: str,
    names: Sequence[str],
    num_images: int,
) -> MIG:
    """The gaps of a matrix of mutual informations ``(F, Z)`` over entropies ``(F,)``."""
    if information.shape[1] < 2:
        raise ValueError(f"expected at least two latent dimensions, got {information.shape[1]}")
    fixed = [name for name, entropy in zip(names, entropies, strict=True) if not entropy > 0]
    if fixed:
        raise ValueError(f"expected factors with several values, {', '.join(fixed)} has one")
    first, second = information.topk(2, dim=1).values.T
    gaps = (first - second) / entropies
    named = dict(zip(names, gaps.tolist(), strict=True))
    return MIG(gaps.mean().item(), protocol, named, information, entropies, num_images)
