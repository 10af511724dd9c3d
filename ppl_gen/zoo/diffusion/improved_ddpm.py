from __future__ import annotations

from typing import Any, Unpack

from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.zoo.diffusion.ddpm import ddpm
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import ImprovedParts

FIXED = ("weighting", "variance", "sampler")


@named("Nichol and Dhariwal, Improved DDPM", 2021, "diffusion", FIXED)
def improved_ddpm(data_shape: Shape = (1, 28, 28), **parts: Unpack[ImprovedParts]) -> Diffusion:
    """The DDPM with learned variances, which the bound teaches and the means do not see.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.ddpm`.
        parts: arguments of :func:`ppl_gen.zoo.ddpm` but for weighting, variance and sampler. A
            ``network`` of one's own gives twice as many channels.

    >>> model = ppl_gen.zoo.improved_ddpm((2,), hidden=16, steps=50)
    >>> model.objective.variance, model.sample(3, seed=0).shape
    ('learned', torch.Size([3, 2]))
    """
    fixed: dict[str, Any] = dict(
        zip(FIXED, ("hybrid", "learned", "ancestral_learned"), strict=True)
    )
    return ddpm(data_shape, **fixed, **parts)
