r"""What the codes of a model are like: which dimensions carry information, how they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen.codebook import Quantized
from ppl_gen.evaluation.batched import batches_of, evaluation
from ppl_gen.models.vae import VAE


def active_units(
    vae: VAE, images: Any, labels: Tensor | None = None, *, threshold: float = 0.01
) -> int:
    r"""How many dimensions of the last latent carry information: Var_x E_q[z] > threshold.

    Source: Burda et al. (2016), section 5.2.

    >>> identity = torch.nn.Flatten()
    >>> model = ppl_gen.zoo.autoencoder((3,), 3, encoder=identity, likelihood="gaussian")
    >>> ppl_gen.metrics.active_units(model, torch.tensor([[0.0, 1.0, 5.0], [1.0, 1.0, 2.0]]))
    2
    """
    return int((_codes(vae, images, labels).flatten(1).var(0, correction=0) > threshold).sum())


@dataclass(frozen=True)
class CodebookUsage:
    r"""How a codebook is used over a whole data set.

    Attributes:
        used: the number of codes that occur.
        fraction: ``used`` over the number of codes.
        perplexity: :math:`\exp H` of the frequencies: ``K`` when all occur equally often.
        counts: how often each code occurs, ``(K,)``.

    >>> model = ppl_gen.zoo.vq_vae((4,), 3, num_codes=8, code_dim=2, hidden=8)
    >>> usage = ppl_gen.metrics.codebook_usage(model, torch.rand(20, 4))
    >>> usage.fraction == usage.used / 8, 1 <= usage.perplexity <= usage.used + 1e-4
    (True, True)
    """

    used: int
    fraction: float
    perplexity: float
    counts: Tensor

    def __repr__(self) -> str:
        return f"CodebookUsage({self.used} of {len(self.counts)}, perplexity {self.perplexity:.1f})"


def codebook_usage(vae: VAE, images: Any, labels: Tensor | None = None) -> CodebookUsage:
    """Which codes a vector-quantised model uses for some images.

    Raises:
        ValueError: a model without a codebook.

    >>> model = ppl_gen.zoo.vq_vae((4,), 3, num_codes=8, code_dim=2, hidden=8)
    >>> usage = ppl_gen.metrics.codebook_usage(model, torch.rand(20, 4))
    >>> usage.counts.shape, usage.counts.sum().item()
    (torch.Size([8]), 60)
    """
    family = vae.latents[-1].family
    if not isinstance(family, Quantized):
        raise ValueError(f"expected a model with a codebook, got a {type(family).__name__} latent")
    codebook = family.codebook
    indices = codebook.nearest(_codes(vae, images, labels)).flatten()
    counts = torch.bincount(indices, minlength=codebook.num_codes)
    shares = counts / counts.sum()
    used = int((counts > 0).sum())
    perplexity = torch.special.entr(shares).sum().exp().item()
    return CodebookUsage(used, used / codebook.num_codes, perplexity, counts)


def sparsity(vae: VAE, images: Any, labels: Tensor | None = None) -> float:
    """The mean Hoyer sparsity of the codes of some images; see :func:`hoyer`.

    >>> identity = torch.nn.Flatten()
    >>> model = ppl_gen.zoo.autoencoder((4,), 4, encoder=identity, likelihood="gaussian")
    >>> ppl_gen.metrics.sparsity(model, torch.eye(4))
    1.0
    """
    return hoyer(_codes(vae, images, labels).flatten(1)).mean().item()


def hoyer(codes: Tensor) -> Tensor:
    r"""Hoyer's sparsity of codes ``(..., Z)``: 1 for one-hot, 0 for entries of equal magnitude.

    :math:`(\sqrt{Z} - \|z\|_1 / \|z\|_2) / (\sqrt{Z} - 1)` (Hoyer 2004); a code of zeros, the
    sparsest of all, counts as 1.

    Raises:
        ValueError: codes of one dimension, whose sparsity means nothing.

    >>> ppl_gen.metrics.hoyer(torch.tensor([[0.0, 3.0, 0.0, 0.0], [1.0, 1.0, -1.0, 1.0]]))
    tensor([1., 0.])
    """
    root = codes.shape[-1] ** 0.5
    if root == 1:
        raise ValueError("expected codes of at least two dimensions, got one")
    norm = codes.norm(dim=-1)
    ratio = codes.abs().sum(-1) / norm.clamp(min=torch.finfo(codes.dtype).tiny)
    return torch.where(norm > 0, (root - ratio) / (root - 1), torch.ones_like(norm))


def _codes(vae: VAE, images: Any, labels: Tensor | None) -> Tensor:
    """The last latent at the posterior means, ``(N, *code_shape)``."""
    with evaluation(vae, 0):
        return torch.cat([vae.code(x, y) for x, y in batches_of(vae, images, labels, 500, 0)])
