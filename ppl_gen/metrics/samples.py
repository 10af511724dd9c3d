r"""How far a set of generated images is from a set of real ones, in the features of a network.

With Gaussians fitted to the features, the Fréchet distance (Heusel et al. 2017, "FID" when the
network is Inception) is

.. math::

    \mathrm{FID} = \|\mu_1 - \mu_2\|^2
    + \mathrm{Tr}\big(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\big),

the *squared* 2-Wasserstein distance of the two Gaussians: zero if and only if the first two moments
agree. The kernel distance (Bińkowski et al. 2018) is an unbiased estimate of the squared maximum
mean discrepancy with the kernel :math:`(x^\top y / F + 1)^3`. Both are computed by torchmetrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ppl_gen._modes import evaluating, seeded
from ppl_gen.metrics.features import (
    DigitClassifier,
    Function,
    Pixels,
    digit_classifier,
    fingerprint,
    require_digits,
)

Extractor = str | nn.Module | Callable[[Tensor], Tensor]
_BATCH = 500


@dataclass(frozen=True)
class SampleDistance:
    """A distance between two sets of images; ``float(distance)`` is its value.

    Attributes:
        value: the distance.
        kind: ``"FID"`` or ``"KID"``.
        extractor: the name of the network whose features were compared.
        num_real: real images.
        num_fake: generated images; distances at different counts do not compare.
        spread: of a kernel distance, the standard deviation over its subsets.

    >>> x = torch.arange(40.0).reshape(10, 1, 2, 2) / 40
    >>> distance = ppl_gen.metrics.kid(x, x, "pixels", subsets=5)
    >>> distance.kind, distance.extractor, distance.num_real
    ('KID', 'pixels', 10)
    """

    value: float
    kind: str
    extractor: str
    num_real: int
    num_fake: int
    spread: float | None = None

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.2g}"
        return (
            f"{self.kind}({self.value:.4g}{spread}, extractor={self.extractor!r}, "
            f"{self.num_real:,} real and {self.num_fake:,} generated images)"
        )


def fid(real: Any, fake: Any, extractor: Extractor = "digits") -> SampleDistance:
    """The Fréchet distance of two sets of images, a squared 2-Wasserstein distance.

    Args:
        real: ``(N, C, H, W)``, or a data set with ``.images``.
        fake: ``(M, C, H, W)`` or a data set, such as ``vae.sample(M)``.
        extractor: ``"digits"``, a classifier of 28 × 28 digits that is trained on first use;
            ``"pixels"``; or a module or function from images to features ``(B, F)``, named in the
            result by its attribute ``name``, its class and a fingerprint of its weights, or its
            own name.

    Raises:
        ValueError: images that are no batches of one shape or not finite, fewer than two of them,
            an unknown extractor, or one that cannot be given these images, as ``"digits"`` cannot
            pixels far outside [0, 1].

    >>> x = torch.arange(40.0).reshape(10, 1, 2, 2) / 80
    >>> round(ppl_gen.metrics.fid(x, x + 0.5, "pixels").value, 3)
    1.0
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    network, x, y, a, b = _features(real, fake, extractor)
    metric = FrechetInceptionDistance(_Given(a.shape[1])).set_dtype(torch.float64)
    metric.update(a, real=True)
    metric.update(b, real=False)
    value = max(0.0, metric.compute().item())
    return SampleDistance(value, "FID", network, len(x), len(y))


def kid(
    real: Any,
    fake: Any,
    extractor: Extractor = "digits",
    *,
    subsets: int = 100,
    subset_size: int | None = None,
    seed: int = 0,
) -> SampleDistance:
    """The kernel distance of two sets of images; may be negative, being unbiased.

    Args:
        real: as in :func:`fid`.
        fake: as in :func:`fid`.
        extractor: as in :func:`fid`.
        subsets: random subsets to average over.
        subset_size: images in each; by default 1,000, or half of those there are.
        seed: of the subsets.

    Raises:
        ValueError: as :func:`fid`, and subsets that are no subsets.

    >>> x = torch.arange(40.0).reshape(10, 1, 2, 2) / 80
    >>> near = ppl_gen.metrics.kid(x, x + 0.1, "pixels", subsets=20)
    >>> far = ppl_gen.metrics.kid(x, x + 0.5, "pixels", subsets=20)
    >>> float(near) < float(far)
    True
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    network, x, y, a, b = _features(real, fake, extractor)
    available = min(len(x), len(y))
    size = max(2, min(1_000, available // 2)) if subset_size is None else subset_size
    if not 2 <= size <= available or subsets < 1:
        raise ValueError(
            f"expected one or more subsets of 2 to {available} images, got {subsets} of {size}"
        )
    with warnings.catch_warnings(), seeded(seed):
        warnings.filterwarnings("ignore", ".*Kernel Inception Distance.*")
        metric = KernelInceptionDistance(_Given(a.shape[1]), subsets=subsets, subset_size=size)
        metric.update(a, real=True)
        metric.update(b, real=False)
        mean, deviation = metric.compute()
    return SampleDistance(mean.item(), "KID", network, len(x), len(y), deviation.item())


class _Given(nn.Module):
    """Passes features through to torchmetrics, which would extract them."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _features(
    real: Any, fake: Any, extractor: Extractor
) -> tuple[str, Tensor, Tensor, Tensor, Tensor]:
    """The extractor's name, and the checked images and their features in float64."""
    x, y = checked_images(real, "real"), checked_images(fake, "generated")
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"expected real and generated images of one shape, got {tuple(x.shape)} and "
            f"{tuple(y.shape)}"
        )
    network = _extractor(extractor, x, y)
    name = getattr(network, "name", None) or f"{type(network).__name__}-{fingerprint(network)}"
    return name, x, y, _extract(network, x), _extract(network, y)


def features_of(real: Any, fake: Any, extractor: Extractor) -> tuple[str, Tensor, Tensor]:
    """The extractor's name and the features of both sets of images, as for :func:`fid`."""
    name, _, _, a, b = _features(real, fake, extractor)
    return name, a, b


def checked_images(images: Any, role: str) -> Tensor:
    """Images, or those of a data set, once there are two of them or more and all are finite."""
    x = images if isinstance(images, Tensor) else getattr(images, "images", images)
    if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point():
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"expected {role} images (N, C, H, W) of floats, got {found}")
    if len(x) < 2:
        raise ValueError(f"expected at least two {role} images, got {len(x)}")
    if not x.isfinite().all():
        raise ValueError(f"expected finite {role} images, got NaN or infinity")
    return x


def _extractor(extractor: Extractor, real: Tensor, fake: Tensor) -> nn.Module:
    if isinstance(extractor, nn.Module):
        return extractor
    if callable(extractor):
        return Function(extractor)
    if extractor == "pixels":
        return Pixels()
    if extractor != "digits":
        raise ValueError(
            f"expected an extractor among digits, pixels or a module, got {extractor!r}"
        )
    if tuple(real.shape[1:]) != DigitClassifier.data_shape:
        raise ValueError(
            f"expected images (1, 28, 28) for the extractor 'digits', got {tuple(real.shape[1:])}: "
            "name another"
        )
    require_digits(real, "real")
    require_digits(fake, "generated")
    return digit_classifier()


@torch.no_grad()
def _extract(network: nn.Module, images: Tensor) -> Tensor:
    with evaluating(network):
        features = torch.cat([network(batch) for batch in images.split(_BATCH)])
    if features.dim() != 2 or len(features) != len(images):
        raise ValueError(
            f"expected an extractor from images to features (B, F), got {tuple(features.shape)} "
            f"for {len(images)} images"
        )
    return features.double().cpu()
