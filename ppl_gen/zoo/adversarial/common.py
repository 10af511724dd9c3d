"""What the games of the zoo share: how they are trained, and the VAE of a model and a guide."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ppl_gen import critics, likelihoods, networks, posteriors, priors
from ppl_gen.models.base import require_shape
from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape, Widths
from ppl_gen.training.players import adam
from ppl_gen.zoo.entries import refuse_conditions
from ppl_gen.zoo.variational.vae import vae

# Adam as in Radford et al. (2016), but for a larger rate, and averages of the generator.
FIT = {
    "lr": 5e-4,
    "optimizer": partial(adam, betas=(0.5, 0.999)),
    "ema": {"generator": 0.999, "critic": None},
}


def coder(
    data_shape: Shape, latent_dim: int, hidden: Widths | None, network: str, **parts: Any
) -> VAE:
    """A VAE with the networks of a game and, unless told otherwise, point posteriors."""
    refuse_conditions("a game of model and guide", parts)
    data_shape = require_shape(data_shape)
    parts.setdefault("prior", priors.StandardNormal(latent_dim))
    family = parts.setdefault("posterior", posteriors.Point())
    kind = parts.get("likelihood", "bernoulli" if len(data_shape) == 3 else "gaussian")
    likelihood = parts["likelihood"] = likelihoods.make(kind)
    likelihood.serve(data_shape)
    if "encoder" not in parts:
        body = critics.default(likelihood.features_shape(data_shape), hidden, network)
        head = nn.Linear(body.head.in_features, family.num_parameters(latent_dim))
        parts["encoder"] = nn.Sequential(body.body, head)
    if "decoder" not in parts:
        image = likelihood.output_shape(data_shape)
        parts["decoder"] = networks.growing(network, latent_dim, hidden, image)
    return vae(data_shape, latent_dim, **parts)
