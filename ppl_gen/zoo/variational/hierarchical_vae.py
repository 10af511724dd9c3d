from __future__ import annotations

from ppl_gen import likelihoods, networks, posteriors, priors
from ppl_gen._checks import require_shape
from ppl_gen.likelihoods.base import encoded
from ppl_gen.likelihoods.pixels import Likelihood
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import MLP, Shape, Widths
from ppl_gen.objectives.elbo import Objective
from ppl_gen.zoo.entries import named


@named("Sønderby et al., Ladder Variational Autoencoders", 2016)
def hierarchical_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    top_dim: int = 5,
    hidden: Widths = 400,
    network: str = "mlp",
    likelihood: str | tuple | list | Likelihood = "bernoulli",
    objective: Objective | None = None,
) -> VAE:
    r"""Two levels of latents: :math:`p(z_2) p(z_1|z_2) p(x|z_1)`, :math:`q(z_2|x) q(z_1|x, z_2)`.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: the dimension of :math:`z_1`, the lower level.
        top_dim: the dimension of :math:`z_2`.
        hidden: the width, or widths, of the hidden layers.
        network: ``"mlp"`` or ``"conv"`` for the networks that see or make images.
        likelihood: a :class:`ppl_gen.likelihoods.Likelihood` or its name.
        objective: what training minimises, the ELBO by default.

    >>> model = ppl_gen.zoo.hierarchical_vae((4,), 3, top_dim=2, hidden=8)
    >>> [latent.name for latent in model.latents]
    ['z2', 'z1']
    >>> trace = pyro.poutine.trace(model.guide).get_trace(torch.zeros(5, 4))
    >>> [tuple(trace.nodes[latent.name]["value"].shape) for latent in model.latents]
    [(5, 2), (5, 3)]
    """
    data_shape = require_shape(data_shape)
    if latent_dim < 1:
        raise ValueError(f"expected a latent of at least one dimension, got {latent_dim}")
    likelihood = likelihoods.serving(likelihood, data_shape)
    image, seen = likelihood.output_shape(data_shape), likelihood.features_shape(data_shape)
    family = posteriors.DiagonalNormal()
    top = Latent(
        "z2",
        priors.StandardNormal(top_dim),
        encoded(likelihood, networks.encoder(network, [seen], hidden, (2 * top_dim,))),
        family,
    )
    lower = Latent(
        "z1",
        priors.ConditionalNormal(MLP([(top_dim,)], networks.widths(hidden), (2 * latent_dim,))),
        encoded(
            likelihood,
            networks.encoder(network, [seen, (top_dim,)], hidden, (2 * latent_dim,)),
        ),
        family,
    )
    decoder = networks.decoder(network, [(latent_dim,)], hidden, image)
    return VAE([top, lower], decoder, likelihood, data_shape, objective)
