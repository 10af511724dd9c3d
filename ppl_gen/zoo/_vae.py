from __future__ import annotations

import torch
from torch import nn

from ppl_gen import likelihoods, networks, posteriors, priors
from ppl_gen.likelihoods import Likelihood
from ppl_gen.networks import Shape, Widths
from ppl_gen.objectives import Objective
from ppl_gen.posteriors import Family
from ppl_gen.vae import VAE, Latent, evaluating, require_image_shape
from ppl_gen.zoo._registry import named


@named("Kingma and Welling, Auto-Encoding Variational Bayes", 2014)
def vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    hidden: Widths = 400,
    network: str = "mlp",
    likelihood: str | Likelihood = "bernoulli",
    posterior: Family | None = None,
    prior: nn.Module | None = None,
    objective: Objective | None = None,
    num_classes: int = 0,
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
        num_classes: condition encoder and decoder on a label with so many values, 0 for none.

    Raises:
        ValueError: a part or size that does not fit; the message says which.
    """
    depth, height, width = require_image_shape(data_shape)
    if num_classes < 0:
        raise ValueError(f"expected no class or more, got {num_classes}")
    prior = priors.StandardNormal(latent_dim) if prior is None else prior
    posterior = posteriors.DiagonalNormal() if posterior is None else posterior
    likelihood = likelihoods.make(likelihood)
    code = (posterior.num_parameters(latent_dim),)
    image = (likelihood.parameters_per_value * depth, height, width)
    label = [(num_classes,)] if num_classes else []
    if encoder is None:
        encoder = networks.encoder(network, [data_shape, *label], hidden, code)
    if decoder is None:
        decoder = networks.decoder(
            network, [posterior.code_shape(latent_dim), *label], hidden, image
        )
    latent = Latent("z", prior, encoder, posterior)
    model = VAE([latent], decoder, likelihood, data_shape, objective, num_classes)
    _require_fit(model, code, posterior.code_shape(latent_dim), image)
    return model


@torch.no_grad()
def _require_fit(model: VAE, code: Shape, event: Shape, image: Shape) -> None:
    """Raise ``ValueError`` unless the parts take and give what each other gives and takes."""
    (latent,) = model.latents
    weight = next(model.parameters())
    x, z = (weight.new_zeros(2, *shape) for shape in (model.data_shape, event))
    label = model._label(torch.zeros(2, dtype=torch.int64)) if model.num_classes else []
    label = [part.to(weight.device) for part in label]
    with evaluating(model):
        found = latent.prior(*label).event_shape
        if tuple(found) != event:
            raise ValueError(f"expected a prior over {event}, got one over {tuple(found)}")
        for part, network, given, taken in (
            ("an encoder", latent.encoder, x, code),
            ("a decoder", model.decoder, z, image),
        ):
            try:
                shape = tuple(network(given, *label).shape)
            except (RuntimeError, TypeError) as error:
                raise ValueError(
                    f"expected {part} for inputs {tuple(given.shape)}, got {error}"
                ) from error
            if shape != (2, *taken):
                raise ValueError(
                    f"expected {part} from {tuple(given.shape)} to {(2, *taken)}, got {shape}"
                )
