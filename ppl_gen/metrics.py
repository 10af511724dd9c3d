r"""How good a model is, in numbers that do not depend on how it was trained.

Every likelihood is in nats per image under the true, unweighted model, and names how the pixels
were binarised: numbers of different binarisations must not be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from ppl_gen.terms import Terms, terms
from ppl_gen.vae import VAE, evaluating, seeded, unregistered

_CELLS = 4_000_000  # numbers in the largest tensor of pixels held at once


@dataclass(frozen=True)
class ELBOTerms:
    """The evidence lower bound and its two parts: means in nats per image.

    Attributes:
        elbo: reconstruction − kl.
        reconstruction: :math:`E_q \\log p(x|z)`; its negative is the distortion.
        kl: :math:`KL(q(z|x) \\| p(z))`, the rate; infinite for a point posterior.
        num_images: how many images the means are over.
        binarization: how the pixels were made binary, or that they were not.
    """

    elbo: float
    reconstruction: float
    kl: float
    num_images: int
    binarization: str

    def __str__(self) -> str:
        return (
            f"ELBO {self.elbo:.2f} = reconstruction {self.reconstruction:.2f} − KL {self.kl:.2f} "
            f"nats per image ({self.num_images:,} images, {self.binarization})"
        )


def elbo_terms(
    vae: VAE,
    images: Any,
    labels: Tensor | None = None,
    *,
    num_samples: int = 1,
    batch_size: int = 500,
    seed: int = 0,
) -> ELBOTerms:
    """The ELBO, reconstruction term and KL of images, without any weight.

    The KL is analytic where it has a closed form.

    Args:
        vae: the model.
        images: ``(N, C, H, W)``, or a data set with ``.images``.
        labels: ``(N,)``, for a conditional model.
        num_samples: draws of the posterior per image.
        batch_size: images at a time.
        seed: of the draws.

    Raises:
        ValueError: images the model cannot be given, or no samples.
    """
    x, y = _images_and_labels(vae, images, labels)
    _require_samples(num_samples)
    reconstruction = kl = 0.0
    with _evaluation(vae, seed):
        for rows in torch.arange(len(x)).split(batch_size):
            t = _terms(vae, x, y, rows, num_samples)
            share = len(rows) / len(x)
            reconstruction += share * t.per_datum(t.log_lik).item()
            for site in t.log_p:
                kl += (
                    math.inf if t.is_degenerate(site) else share * t.per_datum(t.kl_of(site)).item()
                )
    return ELBOTerms(reconstruction - kl, reconstruction, kl, len(x), binarization(images))


def log_likelihood(
    vae: VAE,
    images: Any,
    num_samples: int = 1000,
    labels: Tensor | None = None,
    *,
    seed: int = 0,
) -> Tensor:
    r"""Importance-sampled :math:`\log \frac{1}{K}\sum_k p(x, z_k) / q(z_k|x)`, ``(N,)`` nats.

    A lower bound on :math:`\log p(x)` in expectation, tighter with ``K`` (Burda et al. 2016).

    Args:
        vae: the model.
        images: ``(N, C, H, W)``, or a data set with ``.images``.
        num_samples: ``K`` per image; taken in chunks that bound memory.
        labels: ``(N,)``, for a conditional model.
        seed: of the draws.

    Raises:
        ValueError: images the model cannot be given, no samples, or a point posterior, which is no
            proposal distribution.
    """
    x, y = _images_and_labels(vae, images, labels)
    _require_samples(num_samples)
    batch_size = min(len(x), 100)
    chunk = max(1, min(num_samples, _CELLS // (batch_size * math.prod(vae.data_shape))))
    found = []
    with _evaluation(vae, seed):
        for rows in torch.arange(len(x)).split(batch_size):
            total = x.new_full((len(rows),), -math.inf)
            for start in range(0, num_samples, chunk):
                t = _terms(vae, x, y, rows, min(chunk, num_samples - start))
                point = [site for site in t.log_p if t.is_degenerate(site)]
                if point:
                    raise ValueError(
                        "expected a posterior with a density as the proposal, got a point "
                        f"posterior at {', '.join(point)}: its ELBO is minus infinity"
                    )
                total = torch.logaddexp(total, t.log_weight().logsumexp(0))
            found.append(total - math.log(num_samples))
    return torch.cat(found)


def active_units(
    vae: VAE, images: Any, labels: Tensor | None = None, *, threshold: float = 0.01
) -> int:
    r"""How many dimensions of the last latent carry information: Var_x E_q[z] > threshold.

    Source: Burda et al. (2016), section 5.2.
    """
    x, y = _images_and_labels(vae, images, labels)
    with _evaluation(vae, 0):
        means = torch.cat(
            [
                vae.code(x[rows], None if y is None else y[rows])
                for rows in torch.arange(len(x)).split(500)
            ]
        )
    return int((means.flatten(1).var(0) > threshold).sum())


def binarization(images: Any) -> str:
    """How the pixels were made binary: what a data set says, or what the pixels show."""
    stated = getattr(images, "binarization", None)
    if stated is not None:
        return f"binarization: {stated}"
    binary = bool(((images == 0) | (images == 1)).all())
    return "binary pixels" if binary else "grey pixels"


def _terms(vae: VAE, x: Tensor, y: Tensor | None, rows: Tensor, particles: int) -> Terms:
    args = (x[rows], None if y is None else y[rows])
    return terms(vae.model, vae.guide, args, particles=particles)


@contextmanager
def _evaluation(vae: VAE, seed: int) -> Iterator[None]:
    with (
        torch.no_grad(),
        evaluating(vae),
        seeded(seed),
        unregistered(),
        pyro.validation_enabled(False),
    ):
        yield


def _images_and_labels(
    vae: VAE, images: Any, labels: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    x = images if isinstance(images, Tensor) else getattr(images, "images", images)
    vae.check(x)
    if not vae.num_classes:
        return x, None
    labels = getattr(images, "labels", None) if labels is None else labels
    if labels is None or len(labels) != len(x):
        found = "none" if labels is None else f"{len(labels)}"
        raise ValueError(f"expected {len(x)} labels for a conditional model, got {found}")
    return x, labels


def _require_samples(num_samples: int) -> None:
    if num_samples < 1:
        raise ValueError(f"expected at least one sample, got {num_samples}")
