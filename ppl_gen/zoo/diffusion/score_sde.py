from __future__ import annotations

from typing import Any, Unpack

from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.noise import Geometric, Linear
from ppl_gen.zoo.diffusion.ddpm import ddpm
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import ContinuousParts

PAPER = "Song et al., Score-Based Generative Modeling through Stochastic Differential Equations"


@named(PAPER, 2021, "diffusion", ("noise", "weighting", "sampler"))
def score_sde(
    data_shape: Shape = (1, 28, 28),
    *,
    kind: str = "vp",
    sample_steps: int = 100,
    **parts: Unpack[ContinuousParts],
) -> Diffusion:
    """Scores along a diffusion in continuous time, sampled by a predictor and a corrector.

    ``log_likelihood`` is that of the probability flow.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.ddpm`.
        kind: ``"vp"``, where variance is preserved (linear rates), or ``"ve"``, where it explodes
            (geometric, from .01 to 50).
        sample_steps: the steps of a sample, each a prediction and a correction.
        parts: arguments of :func:`ppl_gen.zoo.ddpm` but for schedule, weighting and sampler.

    >>> ppl_gen.zoo.score_sde((2,), kind="ve", hidden=16).sample(3, steps=10, seed=0).shape
    torch.Size([3, 2])
    """
    kinds = {"vp": Linear, "ve": Geometric}
    if kind not in kinds:
        raise ValueError(f"expected a diffusion 'vp' or 've', got {kind!r}")
    fixed: dict[str, Any] = {"weighting": "simple", "sampler": "predictor_corrector"}
    return ddpm(data_shape, noise=kinds[kind](), sample_steps=sample_steps, **fixed, **parts)
