"""Bounds on the likelihood of images under the true, unweighted model, in nats per image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen.evaluation.batched import (
    binarization,
    evaluation,
    images_and_labels,
    require_counts,
    require_density,
    terms_of,
)
from ppl_gen.models.vae import VAE

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
    x, y = images_and_labels(vae, images, labels)
    require_counts(sample=num_samples, image_a_batch=batch_size)
    reconstruction = kl = 0.0
    with evaluation(vae, seed):
        for rows in torch.arange(len(x)).split(batch_size):
            t = terms_of(vae, x, y, rows, num_samples)
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
    x, y = images_and_labels(vae, images, labels)
    require_counts(sample=num_samples)
    batch_size = min(len(x), 100)
    chunk = max(1, min(num_samples, _CELLS // (batch_size * math.prod(vae.data_shape))))
    found = []
    with evaluation(vae, seed):
        for rows in torch.arange(len(x)).split(batch_size):
            total = x.new_full((len(rows),), -math.inf)
            for start in range(0, num_samples, chunk):
                t = terms_of(vae, x, y, rows, min(chunk, num_samples - start))
                require_density(t)
                total = torch.logaddexp(total, t.log_weight().logsumexp(0))
            found.append(total - math.log(num_samples))
    return torch.cat(found)
