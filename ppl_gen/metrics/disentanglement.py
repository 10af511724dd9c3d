r"""The mutual information gap: whether each factor has one latent dimension of its own.

.. math::

    \mathrm{MIG} = \frac{1}{F} \sum_k \frac{1}{H_k}
    \Big( I(z_{j_1}; v_k) - I(z_{j_2}; v_k) \Big), \qquad j_1, j_2 = \text{the two most informative}

There are two protocols, and their numbers must not be compared:

- ``"chen"`` (Chen et al. 2018, section 4.1): the information is in a sample of the posterior,
  :math:`I(z_j; v_k) = \mathbb{E}[\log q(z_j | v_k) - \log q(z_j)]`, where :math:`q(z_j)` averages
  :math:`q(z_j | x_n)` over all images and :math:`q(z_j | v_k)` over those with that value;
  :math:`H_k = \log |v_k|`; the shape of dSprites is left out;
- ``"locatello"`` (Locatello et al. 2019, appendix C): the information is in the posterior mean of
  10,000 images, in 20 bins of equal width; :math:`H_k` is the entropy of the factor in the sample;
  all factors count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ppl_gen.metrics.aggregate import Posterior, log_aggregate, posterior_of
from ppl_gen.metrics.evaluation import evaluation, require_counts
from ppl_gen.ranges import is_whole
from ppl_gen.vae import VAE

PROTOCOLS = ("chen", "locatello")
_BATCH = 500


class Factors(Protocol):
    """Images with known factors of variation, such as :class:`ppl_gen.data.Sprites`."""

    @property
    def factor_sizes(self) -> Sequence[int]:
        """The number of classes of each factor."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) drawn uniformly, and their integer classes (n, F)."""


class FactorArrays:
    """Images and factors held in memory, as a data set that :func:`mig` accepts.

    Args:
        images: ``(N, C, H, W)``.
        classes: integers ``(N, F)``, one row per image.
        factor_names: one per factor, by default their positions.

    Raises:
        ValueError: factors that do not match the images or are no integers from zero.
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        classes: Tensor | np.ndarray,
        factor_names: Sequence[str] | None = None,
    ) -> None:
        for part, role in ((images, "images"), (classes, "factors")):
            if not isinstance(part, (Tensor, np.ndarray)):
                raise ValueError(f"expected {role} as a tensor or array, got {type(part).__name__}")
        images, classes = torch.as_tensor(images), torch.as_tensor(classes)
        if classes.dim() != 2 or len(classes) != len(images) or not classes.numel():
            raise ValueError(
                f"expected one row of factors for each of {len(images)} images, got factors of "
                f"shape {tuple(classes.shape)}"
            )
        if classes.is_floating_point() or classes.min() < 0:
            raise ValueError(
                f"expected integer factors counted from 0, got {classes.dtype} from "
                f"{classes.min().item():g}"
            )
        width = classes.shape[1]
        self.factor_names = tuple(map(str, range(width) if factor_names is None else factor_names))
        if len(self.factor_names) != width:
            raise ValueError(f"expected {width} factor names, got {len(self.factor_names)}")
        self.images, self.classes = images, classes
        self.factor_sizes = tuple((classes.amax(0) + 1).tolist())

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw n images uniformly, with replacement, and their classes."""
        rows = torch.randint(len(self.images), (n,), generator=generator)
        return self.images[rows], self.classes[rows]


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
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol among {', '.join(PROTOCOLS)}, got {protocol!r}")
    if not isinstance(vae, VAE):
        raise ValueError(f"expected a ppl_gen.VAE to evaluate, got {type(vae).__name__}")
    if not hasattr(dataset, "factor_sizes"):
        raise ValueError(
            "expected images with factors, such as FactorArrays(images, classes), got "
            f"{type(dataset).__name__}"
        )
    names = _factor_names(dataset)
    if factors is None:
        factors = [name for name in names if protocol != "chen" or name != "shape"]
    unknown = [name for name in factors if name not in names]
    if unknown or not factors:
        raise ValueError(f"expected factors among {', '.join(names)}, got {list(factors)}")
    num_images = (20_000 if protocol == "chen" else 10_000) if num_images is None else num_images
    columns = [names.index(name) for name in factors]
    sizes = [dataset.factor_sizes[column] for column in columns]
    with evaluation(vae, seed):
        outputs, classes = _encoded(vae, dataset, num_images, seed, means=protocol != "chen")
        classes = classes[:, columns]
        if protocol == "chen":
            posterior = posterior_of(vae, outputs)
            information = chen_information(posterior, classes, num_samples)
            entropies = torch.tensor(sizes).double().log()
        else:
            information = locatello_information(outputs.flatten(1), classes, num_bins)
            entropies = _entropies(classes)
    return gap(information, entropies, protocol, factors, num_images)


def chen_information(posterior: Posterior, classes: Tensor, num_samples: int = 2_000) -> Tensor:
    r"""Estimates of :math:`I(z_j; v_k)` in nats, clamped at zero, ``(F, Z)``.

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
        for value in column[queries].unique():
            mine = column[queries] == value
            conditional[mine] = log_aggregate(marginals, everything[column == value], points[mine])
        information.append((conditional - unconditional).double().mean(0))
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


def _factor_names(dataset: Factors) -> list[str]:
    stated = getattr(dataset, "factor_names", None)
    return list(map(str, range(len(dataset.factor_sizes)) if stated is None else stated))


def _encoded(
    vae: VAE, dataset: Factors, num_images: int, seed: int, *, means: bool
) -> tuple[Tensor, Tensor]:
    """Codes, or else the outputs of the encoder, of images drawn from the data set; classes."""
    if not is_whole(num_images, 2):
        raise ValueError(f"expected at least two images, got {num_images}")
    if vae.num_classes:
        raise ValueError("expected a model without labels, got a conditional one")
    generator = torch.Generator().manual_seed(seed)
    outputs, classes = [], []
    for start in range(0, num_images, _BATCH):
        images, values = dataset.sample(min(_BATCH, num_images - start), generator)
        _check_classes(values, len(images), dataset.factor_sizes)
        vae.check(images)
        outputs.append(vae.code(images) if means else vae.latents[0].encoder(images))
        classes.append(values)
    return torch.cat(outputs), torch.cat(classes)


def _check_classes(classes: Tensor, count: int, sizes: Sequence[int]) -> None:
    """Raise ``ValueError`` unless factors are rows for so many images, each below its size."""
    if not isinstance(classes, Tensor) or classes.shape != (count, len(sizes)):
        got = tuple(classes.shape) if isinstance(classes, Tensor) else type(classes).__name__
        raise ValueError(
            f"expected factors of shape {(count, len(sizes))} for {count} images, got {got}"
        )
    if classes.is_floating_point():
        raise ValueError(f"expected integer factors, got {classes.dtype}")
    for position, (column, size) in enumerate(zip(classes.T, sizes, strict=True)):
        low, high = int(column.min()), int(column.max())
        if low < 0 or high >= size:
            raise ValueError(
                f"expected factor {position} from 0 to {size - 1}, got {low} to {high}"
            )


def _entropies(classes: Tensor) -> Tensor:
    """The entropy of each column of classes in nats, ``(F,)``."""
    shares = [column.unique(return_counts=True)[1].double() / len(column) for column in classes.T]
    return torch.stack([torch.special.entr(share).sum() for share in shares])
