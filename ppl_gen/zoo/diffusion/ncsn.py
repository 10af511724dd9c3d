from __future__ import annotations

from typing import Any, Unpack

from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.noise import Geometric
from ppl_gen.samplers import AnnealedLangevin
from ppl_gen.zoo.diffusion.ddpm import ddpm
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import LevelParts

PAPER = "Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution"


@named(PAPER, 2019, "diffusion", ("noise", "weighting", "sampler", "sample_steps"))
def ncsn(
    data_shape: Shape = (1, 28, 28),
    *,
    steps: int = 30,
    least: float = 0.01,
    most: float = 30.0,
    per_level: int = 10,
    ratio: float = 0.3,
    **parts: Unpack[LevelParts],
) -> Diffusion:
    r"""Scores of data under a few levels of noise, matched and followed by Langevin dynamics.

    Denoising score matching with :math:`\lambda = \sigma^2` is the squared error of the noise.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.ddpm`.
        steps: the number of levels.
        least: the last, of pixels from -1 to 1 or of rows as they are.
        most: the first; at best the largest distance between data (Song and Ermon 2020).
        per_level: the steps of Langevin dynamics at each level.
        ratio: their size over :math:`\sigma^2`, below 4.
        parts: arguments of :func:`ppl_gen.zoo.ddpm` but for schedule, weighting and sampler.

    >>> ppl_gen.zoo.ncsn((2,), steps=5, hidden=16).sample(3, seed=0).shape
    torch.Size([3, 2])
    """
    noise, sampler = Geometric(least, most), AnnealedLangevin(per_level, ratio)
    fixed: dict[str, Any] = {"weighting": "simple", "sample_steps": steps}
    return ddpm(data_shape, steps=steps, noise=noise, sampler=sampler, **fixed, **parts)
