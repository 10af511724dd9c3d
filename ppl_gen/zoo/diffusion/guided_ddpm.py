from __future__ import annotations

from typing import Unpack

from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.zoo.diffusion.ddpm import ddpm
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import GuidedParts


@named("Ho and Salimans, Classifier-Free Diffusion Guidance", 2022, "diffusion")
def guided_ddpm(
    data_shape: Shape = (1, 28, 28),
    *,
    num_classes: int | None = None,
    drop: float = 0.15,
    **parts: Unpack[GuidedParts],
) -> Diffusion:
    """The DDPM given labels, some of which are left out in training: ``sample(n, y, guidance=w)``.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.ddpm`.
        num_classes: the number of labels, 10 by default or as many as have names.
        drop: the share of labels left out, below 1.
        parts: arguments of :func:`ppl_gen.zoo.ddpm`.

    >>> model = ppl_gen.zoo.guided_ddpm((2,), num_classes=3, hidden=16, steps=50)
    >>> model.sample(3, [0, 1, 2], guidance=2.0, seed=0).shape
    torch.Size([3, 2])
    """
    if num_classes is None:
        num_classes = len(parts.get("classes") or range(10))
    if num_classes < 1:
        raise ValueError(f"expected at least one class, got {num_classes}")
    return ddpm(data_shape, num_classes=num_classes, drop=drop, **parts)
