from __future__ import annotations

from typing import Unpack

from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import GivenParts
from ppl_gen.zoo.variational.vae import vae


@named("Sohn, Lee and Yan, Learning Structured Output Representation", 2015)
def conditional_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    num_classes: int | None = None,
    num_covariates: int | None = None,
    **parts: Unpack[GivenParts],
) -> VAE:
    r"""The VAE given y: :math:`\log p(x|y) \ge E_q \log p(x|z, y) - KL(q(z|x, y) \| p(z))`.

    The condition y is a label, covariates, or both, given as a pair.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        num_classes: the number of labels, 0 for none; by default 10, or none beside covariates.
        num_covariates: the number of covariates, finite numbers of about unit size.
        parts: see :mod:`ppl_gen.zoo`.

    >>> named = {"classes": ("a", "b"), "num_covariates": 1}
    >>> model = ppl_gen.zoo.conditional_vae((4,), 2, hidden=8, **named)
    >>> model.sample(2, (["b", "a"], [[0.5], [-1.0]])).shape
    torch.Size([2, 4])
    """
    if num_classes is None:
        classes = parts.get("classes")
        num_classes = len(classes) if classes else 0 if num_covariates else 10
    if num_classes < 1 and not num_covariates:
        raise ValueError(f"expected at least one class or covariate, got {num_classes}")
    return vae(
        data_shape, latent_dim, num_classes=num_classes, num_covariates=num_covariates, **parts
    )
