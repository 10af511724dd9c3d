from __future__ import annotations

from typing import Any

from ppl_gen.networks import Shape
from ppl_gen.vae import VAE
from ppl_gen.zoo._registry import named
from ppl_gen.zoo._vae import vae


@named("Sohn, Lee and Yan, Learning Structured Output Representation", 2015)
def conditional_vae(
    data_shape: Shape = (1, 28, 28), latent_dim: int = 10, *, num_classes: int = 10, **parts: Any
) -> VAE:
    r"""The VAE given a label: :math:`\log p(x|y) \ge E_q \log p(x|z, y) - KL(q(z|x, y) \| p(z))`.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: ``Z``.
        num_classes: the number of labels.
        parts: other arguments of :func:`ppl_gen.zoo.vae`: ``encoder``, ``decoder``, ``hidden``,
            ``network``, ``likelihood``, ``posterior``, ``prior``, ``objective``.
    """
    if num_classes < 1:
        raise ValueError(f"expected at least one class, got {num_classes}")
    return vae(data_shape, latent_dim, num_classes=num_classes, **parts)
