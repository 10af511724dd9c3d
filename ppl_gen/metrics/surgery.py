r"""What the ELBO pays for: rate and distortion, and the parts of the rate.

With the aggregate posterior :math:`q(z) = \frac1N \sum_n q(z | x_n)`,

.. math::

    \underbrace{\mathbb{E}_x \mathrm{KL}(q(z|x) \,\|\, p(z))}_{\text{rate}}
    = \underbrace{\mathbb{E}_x \mathrm{KL}(q(z|x) \,\|\, q(z))}_{I_q(n; z) \,\le\, \log N}
    + \mathrm{KL}(q(z) \,\|\, p(z)), \qquad
    \text{distortion} = -\mathbb{E}_x \mathbb{E}_q \log p(x|z)

(Alemi et al. 2018; Hoffman and Johnson 2016, "ELBO surgery"). The first part is what the code says
about which image it came from; the second is how far samples of the prior are from what the decoder
was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen.evaluation.batched import (
    batches_of,
    evaluation,
    is_binary,
    named_binarization,
    terms_of,
)
from ppl_gen.metrics.aggregate import log_aggregate, posterior_of
from ppl_gen.models.vae import VAE


@dataclass(frozen=True)
class RateDistortion:
    """Rate and distortion, means in nats per image; minus their sum is the ELBO.

    Attributes:
        rate: the KL to the prior.
        distortion: minus the reconstruction term.
        mutual_information: between the code and the index of the image, at most
            log ``num_images``.
        marginal_kl: from the aggregate posterior to the prior; the rest of the rate.
        active_units: dimensions with Var_x E_q[z] > 0.01.
        num_images: how many images make up the aggregate.
        binarization: how the pixels were made binary, or that they were not.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> found = ppl_gen.metrics.rate_distortion(vae, torch.rand(20, 4))
    >>> abs(found.rate - found.mutual_information - found.marginal_kl) < 1e-4
    True
    """

    rate: float
    distortion: float
    mutual_information: float
    marginal_kl: float
    active_units: int
    num_images: int
    binarization: str

    def __str__(self) -> str:
        return (
            f"rate {self.rate:.2f} = mutual information {self.mutual_information:.2f} + marginal "
            f"KL {self.marginal_kl:.2f}, distortion {self.distortion:.2f} nats per image, "
            f"{self.active_units} active units ({self.num_images:,} images, {self.binarization})"
        )


def rate_distortion(
    vae: VAE, images: Any, labels: Tensor | None = None, *, batch_size: int = 500, seed: int = 0
) -> RateDistortion:
    """Rate, distortion, the parts of the rate and active units, from one pass over images.

    Args:
        vae: a model with one latent.
        images: whatever :func:`ppl_gen.fit` takes, in its own order.
        labels: ``(N,)``, for a conditional model.
        batch_size: images at a time.
        seed: of the draws.

    Raises:
        ValueError: images the model cannot be given, several latents, or a posterior that is not
            a density independent over dimensions.

    >>> import math
    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> found = ppl_gen.metrics.rate_distortion(vae, torch.rand(20, 4), seed=0)
    >>> found.num_images, found.mutual_information <= math.log(20)
    (20, True)
    """
    rate, distortion, binary = 0.0, 0.0, True
    outputs, points = [], []
    with evaluation(vae, seed):
        for x, y in batches_of(vae, images, labels, batch_size, seed):
            t, binary = terms_of(vae, x, y, 1), binary and is_binary(x)
            for site in t.log_p:
                rate += t.kl_of(site).sum().item()
                points.append(t.values[site][0])
            distortion -= t.log_lik.sum().item()
            outputs.append(vae.latents[0].encoder(x, *vae.condition_inputs(y)))
        posterior, z = posterior_of(vae, torch.cat(outputs)), torch.cat(points)
        everything = torch.arange(count := len(z))
        rate, distortion = rate / count, distortion / count
        law = posterior(everything)
        information = (law.log_prob(z) - log_aggregate(posterior, everything, z)).mean().item()
        active = int((law.mean.flatten(1).var(0, correction=0) > 0.01).sum())
    pixels = named_binarization(images, binary)
    return RateDistortion(rate, distortion, information, rate - information, active, count, pixels)
