from __future__ import annotations

from typing import Unpack

from ppl_gen import likelihoods, networks
from ppl_gen._checks import require_shape
from ppl_gen.likelihoods.pixels import Likelihood
from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape, Widths
from ppl_gen.priors import Laplace
from ppl_gen.sparse_coding import LISTA, SparseCode, Synthesis
from ppl_gen.zoo.entries import named, refuse_conditions
from ppl_gen.zoo.parts import SparseParts
from ppl_gen.zoo.variational.vae import vae


@named("Xiao et al., SC-VAE: Sparse Coding-based VAE with Learned ISTA", 2023)
def sc_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 128,
    *,
    num_features: int = 32,
    penalty: float = 0.5,
    iterations: int = 8,
    hidden: Widths = 400,
    network: str = "mlp",
    likelihood: str | tuple | list | Likelihood = "bernoulli",
    **parts: Unpack[SparseParts],
) -> VAE:
    r"""The autoencoder whose code is sparse: a learned ISTA over a dictionary, a Laplace prior.

    The objective is :math:`-\log p(x|Dz) + \tfrac12 \|y - Dz\|^2 + \lambda \|z\|_1` with
    :math:`z` the code that LISTA infers for the encoder's features y.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: the number of atoms ``M``.
        num_features: the dimension ``F`` of the encoder's features.
        penalty: :math:`\lambda`, the rate of the Laplace prior.
        iterations: the unrolled steps of LISTA after the first.
        hidden: the width, or widths, of the hidden layers.
        network: ``"mlp"`` or ``"conv"``.
        likelihood: a :class:`ppl_gen.likelihoods.Likelihood` or its name.
        parts: see :mod:`ppl_gen.zoo`; not ``decoder``, ``posterior``, ``prior`` or
            those of conditions.

    >>> model = ppl_gen.zoo.sc_vae((4,), 16, num_features=3, hidden=8)
    >>> model.code(torch.rand(5, 4)).shape
    torch.Size([5, 16])
    >>> 0 <= ppl_gen.metrics.sparsity(model, torch.rand(5, 4)) <= 1
    True
    """
    data_shape = require_shape(data_shape)
    refuse_conditions("sparse codes", parts)
    likelihood = likelihoods.serving(likelihood, data_shape, show_mask="encoder" not in parts)
    image = likelihood.output_shape(data_shape)
    coder = LISTA(num_features, latent_dim, penalty, iterations)
    decoder = networks.decoder(network, [(num_features,)], hidden, image)
    return vae(
        data_shape,
        latent_dim,
        decoder=Synthesis(coder, decoder),
        posterior=SparseCode(coder),
        prior=Laplace(latent_dim, penalty),
        likelihood=likelihood,
        hidden=hidden,
        network=network,
        **parts,
    )
