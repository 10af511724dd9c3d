from __future__ import annotations

from typing import Any

import torch

from ppl_gen.gradients.base import Estimator
from ppl_gen.gradients.objective import EstimatedELBO
from ppl_gen.networks import Shape, Widths
from ppl_gen.posteriors import Bernoulli
from ppl_gen.priors import Bernoulli as BernoulliPrior
from ppl_gen.vae import VAE
from ppl_gen.zoo._registry import named
from ppl_gen.zoo._vae import vae


@named("Mnih and Gregor, Neural Variational Inference and Learning in Belief Networks", 2014)
def bernoulli_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 200,
    *,
    estimator: str | Estimator = "disarm",
    hidden: Widths = (),
    **parts: Any,
) -> VAE:
    """The VAE with binary latents and a learned prior; the gradient estimator is a part of it.

    Without hidden layers it is the linear belief network on which estimators are compared.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        estimator: what estimates the encoder's gradient, see :mod:`ppl_gen.gradients`.
        hidden: the widths of the hidden layers of encoder and decoder.
        parts: the parts of :func:`ppl_gen.zoo.vae` to exchange.
    """
    objective = parts.pop("objective", None) or EstimatedELBO(estimator)
    model = vae(
        data_shape,
        latent_dim,
        hidden=hidden,
        posterior=Bernoulli(),
        prior=BernoulliPrior(latent_dim),
        objective=objective,
        **parts,
    )
    if isinstance(objective, EstimatedELBO):
        blank = torch.zeros(1, *model.data_shape)
        objective.prepare(model.encode(blank), blank)
    return model
