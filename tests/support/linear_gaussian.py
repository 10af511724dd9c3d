"""A VAE whose evidence and posterior are known: probabilistic PCA with orthogonal loadings.

z ~ N(0, I), x = W z + b + s e. With orthogonal columns of W the posterior is a diagonal normal, so
a linear encoder represents it exactly (Tipping and Bishop 1999).
"""

import math

import torch
from torch import nn

from ppl_gen.likelihoods import Gaussian
from ppl_gen.models.vae import VAE
from ppl_gen.zoo import vae


def build(exact: bool, *, latent_dim: int = 2, noise: float = 0.7, seed: int = 0, **parts) -> VAE:
    """The model in float64; with ``exact`` its encoder gives the true posterior."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 2, 3)
    basis = torch.linalg.qr(torch.randn(6, latent_dim, generator=generator, dtype=torch.float64))[0]
    loadings = basis * torch.linspace(0.5, 1.5, latent_dim, dtype=torch.float64)
    offset = torch.randn(6, generator=generator, dtype=torch.float64)
    model = vae(
        shape,
        latent_dim,
        encoder=nn.Sequential(nn.Flatten(-3), nn.Linear(6, 2 * latent_dim)),
        decoder=nn.Sequential(nn.Linear(latent_dim, 6), nn.Unflatten(-1, shape)),
        likelihood=Gaussian(noise),
        **parts,
    ).double()
    model.likelihood.raw_scale.fill_(math.log(math.expm1(noise)))
    precision = 1 + loadings.square().sum(0) / noise**2
    to_mean = (loadings / (noise**2 * precision)).T
    scale = precision.rsqrt() - model.latents[0].family.floor
    with torch.no_grad():
        model.decoder[0].weight.copy_(loadings)
        model.decoder[0].bias.copy_(offset)
        linear = model.latents[0].encoder[1]
        linear.weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        linear.bias.copy_(torch.cat([-to_mean @ offset, torch.expm1(scale).log()]))
        if not exact:
            linear.bias += 0.3
    return model


def log_evidence(model: VAE, x: torch.Tensor) -> torch.Tensor:
    """log p(x) = log N(x; b, W Wᵀ + s² I), of shape ``(N,)``."""
    loadings, offset = model.decoder[0].weight, model.decoder[0].bias
    covariance = loadings @ loadings.T + model.likelihood.scale**2 * torch.eye(6).double()
    return torch.distributions.MultivariateNormal(offset, covariance).log_prob(x.flatten(1))


def data(n: int, seed: int = 1) -> torch.Tensor:
    """Images ``(n, 1, 2, 3)`` in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 2, 3, generator=generator, dtype=torch.float64)
