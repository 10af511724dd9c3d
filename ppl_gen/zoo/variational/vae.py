from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_gen import likelihoods, networks, posteriors, priors
from ppl_gen._checks import require_shape
from ppl_gen._modes import evaluating
from ppl_gen.likelihoods.base import encoded
from ppl_gen.likelihoods.pixels import Likelihood
from ppl_gen.models.conditions import Condition
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import Shape, Widths
from ppl_gen.objectives.elbo import Objective
from ppl_gen.posteriors import Family
from ppl_gen.zoo.entries import named


@named("Kingma and Welling, Auto-Encoding Variational Bayes", 2014)
def vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    hidden: Widths = 400,
    network: str = "mlp",
    likelihood: str | tuple | list | Likelihood = "bernoulli",
    posterior: Family | None = None,
    prior: nn.Module | None = None,
    objective: Objective | None = None,
    num_classes: int = 0,
    num_covariates: int | None = None,
    classes: tuple | list | None = None,
) -> VAE:
    r"""The VAE, :math:`\log p(x) \ge E_q \log p(x|z) - KL(q(z|x) \| p(z))`; its parts exchange.

    Args:
        data_shape: the shape of a datum: ``(C, H, W)`` of images, ``(D,)`` of the rows of a table.
        latent_dim: ``Z``.
        encoder: a module from ``(B, C, H, W)`` to ``(B, P·Z)``, the parameters of the posterior
            (of a diagonal normal: the means, then the raw scales). Instead of cells of a table it
            sees what the likelihood shows of them.
        decoder: a module from ``(..., Z)`` to the parameters of the likelihood, ``(..., C, H, W)``.
        hidden: the width, or widths, of the hidden layers of the networks built otherwise.
        network: ``"mlp"``, or ``"conv"`` for images.
        likelihood: a :class:`ppl_gen.likelihoods.Likelihood`, its name, or the kinds of the columns
            of a table, see :class:`ppl_gen.likelihoods.Mixed`. With a name or kinds, NaN in a table
            is a missing cell, see :class:`ppl_gen.likelihoods.Masked`.
        posterior: the family of :math:`q`, a diagonal normal by default.
        prior: a module of :mod:`ppl_gen.priors`, the standard normal by default.
        objective: what training minimises, the ELBO by default.
        num_classes: the number of labels that encoder and decoder are conditioned on, 0 for none.
        num_covariates: the number of covariates they are conditioned on too, at least one.
        classes: the names of the labels.

    Raises:
        ValueError: a part or size that does not fit; the message says which.

    >>> ppl_gen.zoo.vae((3,), 2, likelihood=("gaussian", "bernoulli", 4), hidden=8)
    <vae: data 3, z ~ StandardNormal, Masked(Mixed) likelihood, ...
    >>> vae = ppl_gen.zoo.vae((1, 8, 8), 2, hidden=(32, 16))
    >>> vae.reconstruct(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 1, 8, 8])
    """
    data_shape = require_shape(data_shape)
    if num_covariates == 0:
        raise ValueError("expected at least one covariate or None, got 0")
    condition = Condition(num_classes, num_covariates or 0)
    prior = priors.StandardNormal(latent_dim) if prior is None else prior
    posterior = posteriors.DiagonalNormal() if posterior is None else posterior
    likelihood = likelihoods.serving(likelihood, data_shape, show_mask=encoder is None)
    code = (posterior.num_parameters(latent_dim),)
    image = likelihood.output_shape(data_shape)
    label = [(condition.size,)] if condition.size else []
    if encoder is None:
        seen = likelihood.features_shape(data_shape)
        encoder = networks.encoder(network, [seen, *label], hidden, code)
    encoder = encoded(likelihood, encoder)
    if decoder is None:
        decoder = networks.decoder(
            network, [posterior.code_shape(latent_dim), *label], hidden, image
        )
    latent = Latent("z", prior, encoder, posterior)
    model = VAE(
        [latent],
        decoder,
        likelihood,
        data_shape,
        objective,
        num_classes,
        condition.num_covariates,
        classes,
    )
    _require_fit(model, code, posterior.code_shape(latent_dim), image)
    return model


@torch.no_grad()
def _require_fit(model: VAE, code: Shape, event: Shape, image: Shape) -> None:
    """Raise ``ValueError`` unless the parts take and give what each other gives and takes."""
    (latent,) = model.latents
    weight = next(model.parameters())
    x, z = (weight.new_zeros(2, *shape) for shape in (model.data_shape, event))
    label = [weight.new_zeros(2, model.condition.size)] if model.condition.size else []
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
        _require_event(model.likelihood, weight.new_zeros(2, *image), model.data_shape)


def _require_event(likelihood: Likelihood, output: Tensor, shape: Shape) -> None:
    try:
        found = tuple(likelihood(output).event_shape)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"expected a likelihood over data {shape}, got {error}") from error
    if found != shape:
        raise ValueError(f"expected a likelihood over data {shape}, got one over {found}")
