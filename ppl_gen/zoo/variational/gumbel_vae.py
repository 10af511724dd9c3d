from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.objectives.elbo import ELBO
from ppl_gen.posteriors import Categorical
from ppl_gen.priors import UniformCategorical
from ppl_gen.schedules import Exponential
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import CodeParts
from ppl_gen.zoo.variational.vae import vae


@named("Jang, Gu and Poole, Categorical Reparameterization with Gumbel-Softmax", 2017)
def gumbel_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 20,
    *,
    num_categories: int = 10,
    temperature: float = 1.0,
    annealing: float = 3e-4,
    final_temperature: float = 0.5,
    straight_through: bool = False,
    **parts: Unpack[CodeParts],
) -> VAE:
    r"""The VAE with categorical latents, trained through their Gumbel-Softmax relaxation.

    In training mode the latents are relaxed and the objective is that of the relaxation, with the
    KL of the categoricals; in evaluation mode everything is discrete, and so is the reported ELBO.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: the number of categorical variables.
        num_categories: the categories of each.
        temperature: :math:`\tau` at the start.
        annealing: its decay per step, :math:`\tau_t = \max(\tau e^{-rt}, \tau_{\min})`.
        final_temperature: :math:`\tau_{\min}`.
        straight_through: decode one-hot samples, with the gradient of the relaxed ones.
        parts: see :mod:`ppl_gen.zoo`; not ``posterior`` or ``prior``. The ``objective`` advances
            the temperature under any training loop, so each model needs its own.

    >>> model = ppl_gen.zoo.gumbel_vae((4,), 3, num_categories=5, hidden=8)
    >>> model.code(torch.zeros(2, 4)).shape
    torch.Size([2, 3, 5])
    """
    rates = {"temperature": temperature, "annealing": annealing}
    for name, value in (rates | {"final_temperature": final_temperature}).items():
        if not value > 0:
            raise ValueError(f"expected a positive {name}, got {value}")
    schedule = Exponential(temperature, annealing, final_temperature)
    family = Categorical(num_categories, schedule, straight_through=straight_through)
    objective = parts["objective"] = parts.get("objective") or ELBO()
    objective.adopt("temperature", schedule)
    return vae(
        data_shape,
        latent_dim,
        posterior=family,
        prior=UniformCategorical(latent_dim, family),
        **parts,
    )
