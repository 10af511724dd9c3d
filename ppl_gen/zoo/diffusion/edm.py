from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ppl_gen.denoisers import Preconditioned, preconditioned_weight
from ppl_gen.models.base import require_shape
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.noise import EDM, Level, LogNormal
from ppl_gen.zoo.diffusion.common import diffusion_of, network_of
from ppl_gen.zoo.entries import named


@named("Karras et al., Elucidating the Design Space of Diffusion Models", 2022, "diffusion")
def edm(
    data_shape: Shape = (1, 28, 28),
    *,
    data_scale: float = 0.5,
    steps: int = 1000,
    network: str | nn.Module = "auto",
    hidden: int | None = None,
    sample_steps: int = 18,
    num_classes: int = 0,
    drop: float = 0.1,
    classes: tuple | list | None = None,
) -> Diffusion:
    """A preconditioned network, noise of lognormal scale, Heun's method on its own grid.

    Args:
        data_shape: as for :func:`ppl_gen.zoo.ddpm`.
        data_scale: the standard deviation of the data; of pixels, those from -1 to 1.
        steps: the number of noise levels that are trained.
        network: as there, and so is its width ``hidden``; it is told log(noise) / 4.
        sample_steps: Heun's steps, two calls of the network each but for the last.
        num_classes: the number of labels, 0 for none.
        drop: the share of labels left out in training.
        classes: the names of the labels.

    >>> ppl_gen.zoo.edm((2,), data_scale=1.0, hidden=16).sample(3, seed=0).shape
    torch.Size([3, 2])
    """
    data_shape = require_shape(data_shape)
    net = network_of(network, data_shape, hidden, 1, num_classes)

    def preconditioned(_: Level, t: Level) -> Tensor:
        return preconditioned_weight(t, data_scale)

    fixed: dict[str, Any] = {"weighting": preconditioned, "times": LogNormal(), "sampler": "heun"}
    fixed |= {"variance": "large", "steps": steps, "sample_steps": sample_steps}
    fixed |= {"num_classes": num_classes, "drop": drop, "classes": classes}
    return diffusion_of(Preconditioned(net, EDM(), data_scale), data_shape, **fixed)
