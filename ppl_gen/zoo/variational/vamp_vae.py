from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from ppl_gen.likelihoods.base import Featured
from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.priors import VampPrior
from ppl_gen.zoo.entries import named, refuse_conditions
from ppl_gen.zoo.parts import MixtureParts
from ppl_gen.zoo.variational.vae import vae


@named("Tomczak and Welling, VAE with a VampPrior", 2018)
def vamp_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    num_pseudo_inputs: int = 100,
    pseudo_inputs: Tensor | None = None,
    **parts: Unpack[MixtureParts],
) -> VAE:
    r"""The VAE whose prior is a mixture of its own posteriors at learned pseudo-inputs.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        num_pseudo_inputs: ``K``.
        pseudo_inputs: where they start, ``(K, C, H, W)`` inside the support of the likelihood;
            grey noise by default; training images are another start. Of a table they are the
            features that encoders see.
        parts: see :mod:`ppl_gen.zoo`; not ``prior`` or those of conditions.

    >>> images = torch.rand(20, 1, 4, 4)
    >>> model = ppl_gen.zoo.vamp_vae((1, 4, 4), 2, pseudo_inputs=images[:5], hidden=8)
    >>> model.sample(3, seed=0).shape
    torch.Size([3, 1, 4, 4])
    """
    if num_pseudo_inputs < 1:
        raise ValueError(f"expected at least one pseudo-input, got {num_pseudo_inputs}")
    refuse_conditions("pseudo-inputs", parts)
    model = vae(data_shape, latent_dim, prior=None, **parts)
    if pseudo_inputs is None:
        pseudo_inputs = 0.3 + 0.4 * torch.rand(num_pseudo_inputs, *data_shape)
    (latent,) = model.latents
    likelihood, encoder = model.likelihood, latent.encoder
    if tuple(pseudo_inputs.shape[1:]) != model.data_shape:
        expected = ", ".join(map(str, model.data_shape))
        raise ValueError(
            f"expected pseudo-inputs of shape (K, {expected}), got {tuple(pseudo_inputs.shape)}"
        )
    if isinstance(encoder, Featured):
        pseudo_inputs, encoder = likelihood.features(pseudo_inputs), encoder.network
    latent.prior = VampPrior(encoder, latent.family, pseudo_inputs, likelihood.support)
    return model
