from __future__ import annotations

from typing import Any

from torch import nn

from ppl_gen.denoisers import Denoiser
from ppl_gen.models.base import require_shape
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.noise import Cosine, Noise
from ppl_gen.objectives.denoising import Weight
from ppl_gen.samplers import Sampler
from ppl_gen.zoo.diffusion.common import diffusion_of, network_of
from ppl_gen.zoo.entries import named


@named("Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models", 2020, "diffusion")
def ddpm(
    data_shape: Shape = (1, 28, 28),
    *,
    steps: int = 1000,
    noise: Noise | None = None,
    predicts: str = "noise",
    weighting: str | Weight = "simple",
    variance: str = "large",
    network: str | nn.Module = "auto",
    hidden: int | None = None,
    sampler: str | Sampler = "ancestral",
    sample_steps: int | None = None,
    levels: int = 256,
    num_classes: int = 0,
    drop: float = 0.1,
    classes: tuple | list | None = None,
) -> Diffusion:
    """Noise predicted at random times of a cosine schedule; Adam at 2e-3, for rows 1e-3, falling.

    Args:
        data_shape: ``(C, H, W)`` of images with pixels in [0, 1], ``(D,)`` of rows.
        steps: the number of steps ``T``.
        noise: the schedule, :class:`ppl_gen.noise.Cosine` by default.
        predicts: ``"noise"``, ``"data"``, ``"velocity"`` or ``"score"``.
        weighting: as the further ones, see :class:`ppl_gen.Diffusion`.
        network: a module as :class:`ppl_gen.denoisers.Denoiser` takes, or a name as
            :func:`ppl_gen.networks.denoising` does, a U-Net for images by default.
        hidden: the width of a named network.

    >>> ppl_gen.zoo.ddpm((2,), hidden=16, steps=100).sample(3, seed=0).shape
    torch.Size([3, 2])
    """
    data_shape, learned = require_shape(data_shape), variance == "learned"
    told: dict[str, Any] = {"num_classes": num_classes, "drop": drop, "classes": classes}
    told |= {"steps": steps, "weighting": weighting, "variance": variance}
    told |= {"sampler": sampler, "sample_steps": sample_steps, "levels": levels}
    net = network_of(network, data_shape, hidden, 1 + learned, num_classes)
    denoiser = Denoiser(net, noise or Cosine(), predicts, learned_variance=learned)
    return diffusion_of(denoiser, data_shape, **told)
