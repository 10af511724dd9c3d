from __future__ import annotations

from typing import Unpack

from ppl_gen.codebook import AutoregressiveCodes, Codebook, CodePrior, Quantized, UniformCodes
from ppl_gen.models.vae import VAE
from ppl_gen.networks import Shape
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import CodeParts
from ppl_gen.zoo.variational.vae import vae


@named("van den Oord, Vinyals and Kavukcuoglu, Neural Discrete Representation Learning", 2017)
def vq_vae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 16,
    *,
    num_codes: int = 64,
    code_dim: int = 16,
    codebook: str = "ema",
    commitment: float = 0.25,
    learned_prior: bool = True,
    **parts: Unpack[CodeParts],
) -> VAE:
    r"""The VAE whose latents are vectors of a codebook, with a learned prior over the codes.

    The reported KL is :math:`-\log p(k_1, \dots, k_Z)`, which is :math:`Z \log K` under the uniform
    prior; codebook and commitment losses are auxiliary.

    Args:
        data_shape: ``(C, H, W)``.
        latent_dim: the number of positions ``Z``.
        num_codes: ``K``.
        code_dim: the dimension of a code.
        codebook: ``"ema"`` learns the codes as running means, ``"gradient"`` by gradients.
        commitment: the weight of the commitment loss.
        learned_prior: learn an autoregressive prior over codes; uniform otherwise.
        parts: see :mod:`ppl_gen.zoo`; not ``posterior`` or ``prior``.

    >>> model = ppl_gen.zoo.vq_vae((4,), 3, num_codes=8, code_dim=2, hidden=8)
    >>> ppl_gen.metrics.codebook_usage(model, torch.rand(20, 4)).counts.sum().item()
    60
    """
    if codebook not in ("ema", "gradient"):
        raise ValueError(f"expected codebook 'ema' or 'gradient', got {codebook!r}")
    codes = Codebook(num_codes, code_dim, 0.99 if codebook == "ema" else None)
    logits = AutoregressiveCodes(num_codes) if learned_prior else UniformCodes(num_codes)
    return vae(
        data_shape,
        latent_dim,
        posterior=Quantized(codes, commitment),
        prior=CodePrior(codes, latent_dim, logits),
        **parts,
    )
