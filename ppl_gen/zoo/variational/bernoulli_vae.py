from __future__ import annotations

import copy
from typing import Any, Unpack

import torch
from torch import nn

from ppl_gen import networks
from ppl_gen.estimators.base import Estimator
from ppl_gen.estimators.by_name import make
from ppl_gen.models.belief_network import BeliefNetwork
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import MLP, Shape, Widths
from ppl_gen.objectives.estimated import EstimatedELBO
from ppl_gen.posteriors import Bernoulli
from ppl_gen.priors import Bernoulli as BernoulliPrior
from ppl_gen.zoo.entries import named, refuse_conditions
from ppl_gen.zoo.parts import LayeredCodeParts
from ppl_gen.zoo.variational.vae import vae


@named("Mnih and Gregor, Neural Variational Inference and Learning in Belief Networks", 2014)
def bernoulli_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 200,
    *,
    top_dim: int = 0,
    estimator: str | Estimator = "disarm",
    hidden: Widths = (),
    **parts: Unpack[LayeredCodeParts],
) -> VAE:
    """The VAE with binary latents and a learned prior; the gradient estimator is a part of it.

    Without hidden layers it is the linear belief network on which estimators are compared, of one
    layer of latents or two.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``, the size of the layer next to the image.
        top_dim: the size of a second layer above it, inferred from the first; 0 for none.
        estimator: what estimates the encoder's gradient, see :mod:`ppl_gen.gradients`; each layer
            has its own copy.
        hidden: the widths of the hidden layers of encoder and decoder, and between layers.
        parts: see :mod:`ppl_gen.zoo`; not ``posterior`` or ``prior``. A second layer takes no
            conditions.

    >>> model = ppl_gen.zoo.bernoulli_vae((4,), 3, estimator="arm")
    >>> ppl_gen.fit(model, torch.zeros(6, 4), epochs=2, staged=False, progress=False).steps
    2
    >>> model.code(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """
    if top_dim < 0:
        raise ValueError(f"expected a second layer of zero or more, got {top_dim}")
    if top_dim:
        refuse_conditions("a second layer", parts)
    chosen: Any = estimator
    if top_dim:
        chosen = {site: copy.deepcopy(make(estimator)) for site in ("z1", "z2")}
    objective = parts["objective"] = parts.get("objective") or EstimatedELBO(chosen)
    model = vae(
        data_shape,
        latent_dim,
        hidden=hidden,
        posterior=Bernoulli(),
        prior=BernoulliPrior(latent_dim),
        **parts,
    )
    if top_dim:
        model = _with_second_layer(model, latent_dim, top_dim, networks.widths(hidden))
    if isinstance(objective, EstimatedELBO):
        below = blank = torch.zeros(1, *model.data_shape)
        for latent in reversed(model.latents):
            q = latent.posterior(below)
            objective.prepare(q, blank, latent.name)
            below = q.mean
    return model


def _with_second_layer(model: VAE, dim: int, top_dim: int, hidden: list[int]) -> VAE:
    first = model.latents[0]
    above = BernoulliPrior(top_dim)
    prior = nn.Sequential(MLP([(top_dim,)], hidden[::-1], (dim,)), Bernoulli())
    top = Latent("z2", above, MLP([(dim,)], hidden, (top_dim,)), Bernoulli())
    lower = Latent("z1", prior, first.encoder, first.family)
    return BeliefNetwork(
        [top, lower], model.decoder, model.likelihood, model.data_shape, model.objective
    )
