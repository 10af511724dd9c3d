from __future__ import annotations

from typing import Any

from ppl_gen.denoisers import Denoiser
from ppl_gen.models.base import require_shape
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.models.diffusion_prior import DiffusionPrior
from ppl_gen.models.latent_diffusion import LatentDiffusion
from ppl_gen.models.vae import VAE
from ppl_gen.networks import Captioned, ResidualMLP, Shape, TextEncoder, Widths
from ppl_gen.noise import Cosine
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.variational.autoencoder import autoencoder as plain_autoencoder


@named("Rombach et al., High-Resolution Image Synthesis with Latent Diffusion", 2022, "diffusion")
def latent_diffusion(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 20,
    *,
    autoencoder: VAE | None = None,
    num_classes: int = 0,
    tokens: int = 0,
    hidden: Widths = 400,
    width: int = 256,
    steps: int = 1000,
    drop: float = 0.15,
    classes: tuple | list | None = None,
) -> LatentDiffusion:
    """A diffusion of velocities in the codes of an autoencoder, on the cosine schedule.

    Args:
        data_shape: the shape of a datum.
        latent_dim: ``Z``, the dimension of the codes, or the positions of a VQ-VAE.
        autoencoder: a trained one, which stays as it is; by default one that learns meanwhile.
        num_classes: the number of labels, 0 for none.
        tokens: the number of words of captions, ``len(ppl_gen.data.VOCABULARY)``, 0 for none.
        hidden: the widths of an autoencoder that learns meanwhile.
        width: of the three blocks of the denoiser, a residual network.
        steps: the number of steps ``T``.
        drop: the share of labels or captions that are left out in training.
        classes: the names of the labels.

    >>> model = ppl_gen.zoo.latent_diffusion((4,), 2, hidden=8, width=16, num_classes=3)
    >>> model.sample(3, [0, 1, 2], steps=5, guidance=2.0, seed=0).shape
    torch.Size([3, 4])
    """
    shape, frozen = require_shape(data_shape), autoencoder is not None
    vae = autoencoder or plain_autoencoder(shape, latent_dim, hidden=hidden)
    code = vae.latents[-1].family.code_shape(latent_dim)
    if vae.data_shape != shape:
        raise ValueError(f"expected an autoencoder of data {shape}, got one of {vae.data_shape}")
    inner = ResidualMLP(code, width, num_classes=num_classes, token_dim=32 if tokens else 0)
    net = Captioned(TextEncoder(tokens, dim=32), inner) if tokens else inner
    denoiser = Denoiser(net, Cosine(), "velocity", data_shape=code)
    told: dict[str, Any] = {"num_classes": num_classes, "classes": classes, "num_words": tokens}
    diffusion = Diffusion(denoiser, code, steps=steps, weighting="velocity", drop=drop, **told)
    return LatentDiffusion(vae, DiffusionPrior(code, diffusion), frozen)
