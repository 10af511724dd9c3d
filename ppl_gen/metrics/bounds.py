"""Bounds on the likelihood of images under the true, unweighted model, in nats per image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen.evaluation.batched import (
    batches_of,
    evaluation,
    is_binary,
    named_binarization,
    require_counts,
    require_density,
    terms_of,
)
from ppl_gen.models.vae import VAE
from ppl_gen.objectives.terms import Terms

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

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> terms = ppl_gen.metrics.elbo_terms(vae, torch.zeros(6, 4))
    >>> abs(terms.elbo - (terms.reconstruction - terms.kl)) < 1e-5
    True
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
        images: whatever :func:`ppl_gen.fit` takes, in its own order; what is not in memory is read
            as it is needed, with the same result.
        labels: ``(N,)``, for a conditional model.
        num_samples: draws of the posterior per image.
        batch_size: images at a time.
        seed: of the draws.

    Raises:
        ValueError: images the model cannot be given, or no samples.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> terms = ppl_gen.metrics.elbo_terms(vae, torch.zeros(6, 4), num_samples=8, seed=0)
    >>> terms.elbo < 0 <= terms.kl
    True
    >>> terms.num_images, terms.binarization
    (6, 'binary pixels')
    """
    require_counts(sample=num_samples)
    reconstruction = kl = 0.0
    count, binary = 0, True
    with evaluation(vae, seed):
        for x, y in batches_of(vae, images, labels, batch_size, seed):
            t = terms_of(vae, x, y, num_samples)
            count, binary = count + len(x), binary and is_binary(x)
            reconstruction += len(x) * t.per_datum(t.log_lik).item()
            kl += len(x) * sum(_kl(t, site) for site in t.log_p)
    reconstruction, kl = reconstruction / count, kl / count
    pixels = named_binarization(images, binary)
    return ELBOTerms(reconstruction - kl, reconstruction, kl, count, pixels)


def _kl(t: Terms, site: str) -> float:
    return math.inf if t.is_degenerate(site) else t.per_datum(t.kl_of(site)).item()


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
        images: whatever :func:`ppl_gen.fit` takes, in its own order; what is not in memory is read
            as it is needed, with the same result.
        num_samples: ``K`` per image; taken in chunks that bound memory.
        labels: ``(N,)``, for a conditional model.
        seed: of the draws.

    Raises:
        ValueError: images the model cannot be given, no samples, or a point posterior, which is no
            proposal distribution.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> ppl_gen.metrics.log_likelihood(vae, torch.zeros(6, 4), num_samples=100, seed=0).shape
    torch.Size([6])
    """
    require_counts(sample=num_samples)
    found = []
    with evaluation(vae, seed):
        for x, y in batches_of(vae, images, labels, 100, seed):
            cells = len(x) * math.prod(vae.data_shape)
            found.append(_log_mean_weight(vae, x, y, num_samples, max(1, _CELLS // cells)))
    return torch.cat(found)


def _log_mean_weight(vae: VAE, x: Tensor, y: Tensor | None, count: int, chunk: int) -> Tensor:
    """The estimate of a batch, ``(B,)``, from ``chunk`` draws at a time."""
    total = x.new_full((len(x),), -math.inf)
    for start in range(0, count, chunk):
        t = terms_of(vae, x, y, min(chunk, count - start))
        require_density(t)
        total = torch.logaddexp(total, t.log_weight().logsumexp(0))
    return total - math.log(count)
