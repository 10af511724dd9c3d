from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ppl_gen import likelihoods, posteriors, priors
from ppl_gen.likelihoods import Likelihood
from ppl_gen.networks import MLP, ConvDecoder, ConvEncoder, Shape
from ppl_gen.objectives import Objective
from ppl_gen.posteriors import Family
from ppl_gen.vae import VAE, Latent, require_image_shape
from ppl_gen.zoo._registry import named


@named("Kingma and Welling, Auto-Encoding Variational Bayes", 2014)
def vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    hidden: int | Sequence[int] = 400,
    network: str = "mlp",
    likelihood: str | Likelihood = "bernoulli",
    posterior: Family | None = None,
    prior: nn.Module | None = None,
    objective: Objective | None = None,
) -> VAE:
    r"""The VAE, :math:`\log p(x) \ge E_q \log p(x|z) - KL(q(z|x) \| p(z))`; its parts exchange.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        encoder: a module from ``(B, C, H, W)`` to ``(B, P·Z)``, the parameters of the posterior
            (of a diagonal normal: the means, then the raw scales).
        decoder: a module from ``(..., Z)`` to the parameters of the likelihood, ``(..., C, H, W)``.
        hidden: the width, or widths, of the hidden layers of the networks built otherwise.
        network: ``"mlp"`` or ``"conv"``.
        likelihood: a :class:`ppl_gen.likelihoods.Likelihood` or its name.
        posterior: the family of :math:`q`, a diagonal normal by default.
        prior: a module of :mod:`ppl_gen.priors`, the standard normal by default.
        objective: what training minimises, the ELBO by default.
    """
    depth, height, width = require_image_shape(data_shape)
    prior = priors.StandardNormal(latent_dim) if prior is None else prior
    posterior = posteriors.DiagonalNormal() if posterior is None else posterior
    likelihood = likelihoods.make(likelihood)
    widths = [hidden] if isinstance(hidden, int) else list(hidden)
    if min(widths, default=0) < 1:
        raise ValueError(f"expected positive hidden widths, got {hidden}")
    if network not in ("mlp", "conv"):
        raise ValueError(f"expected network 'mlp' or 'conv', got {network!r}")
    code = (posterior.parameters_per_dim * latent_dim,)
    image = (likelihood.parameters_per_value * depth, height, width)
    encoders, decoders = (MLP, MLP) if network == "mlp" else (ConvEncoder, ConvDecoder)
    encoder = encoders([data_shape], widths, code) if encoder is None else encoder
    decoder = decoders([(latent_dim,)], widths[::-1], image) if decoder is None else decoder
    latent = Latent("z", prior, encoder, posterior)
    return VAE([latent], decoder, likelihood, data_shape, objective)
