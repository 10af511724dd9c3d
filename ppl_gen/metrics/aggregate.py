r"""The aggregate posterior :math:`q(z) = \frac1N \sum_n q(z \mid x_n)` of a data set.

It is a mixture with one component per image, so its log-density at S points takes S · N
evaluations; they are made in blocks of bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from ppl_gen.models.vae import VAE

Posterior = Callable[[Tensor], Distribution]

_CELLS = 2_000_000  # densities held at once


def log_aggregate(posterior: Posterior, components: Tensor, z: Tensor) -> Tensor:
    """The log-density of a mixture of posteriors.

    Args:
        posterior: ``posterior(rows)`` is :math:`q(z | x_n)` for the images n in ``rows``.
        components: the images ``(N,)`` to average over.
        z: points ``(S, *event_shape)``.

    Returns:
        ``(S,)``, or ``(S, Z)`` for posteriors with a batch dimension more, whose dimensions are
        then mixed one by one.
    """
    law = posterior(components)
    block = max(1, _CELLS // max(1, law.batch_shape.numel()))
    parts = [law.log_prob(some.unsqueeze(1)).logsumexp(1) for some in z.split(block)]
    return torch.cat(parts) - math.log(len(components))


def posterior_of(vae: VAE, parameters: Tensor) -> Posterior:
    """The posterior of a model's only latent from the outputs of its encoder, by row.

    Raises:
        ValueError: several latents, or a posterior that is no density independent over dimensions.
    """
    if len(vae.latents) > 1:
        names = ", ".join(latent.name for latent in vae.latents)
        raise ValueError(f"expected a model with one latent, got {names}")
    family = vae.latents[0].family
    law = family(parameters[:1])
    if not isinstance(law, Independent):
        raise ValueError(
            "expected a posterior with a density independent over dimensions, got "
            f"{type(law).__name__}"
        )
    return lambda rows: family(parameters[rows])
