from __future__ import annotations

from functools import partial

from torch import nn

from ppl_gen import networks
from ppl_gen.denoisers import Denoiser
from ppl_gen.models.base import require_shape
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import Shape
from ppl_gen.noise import Cosine, Noise
from ppl_gen.samplers import Sampler
from ppl_gen.training.players import adam
from ppl_gen.zoo.entries import named


@named("Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models", 2020, "diffusion")
def ddpm(
    data_shape: Shape = (1, 28, 28),
    *,
    steps: int = 1000,
    noise: Noise | None = None,
    predicts: str = "noise",
    weighting: str = "simple",
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
    r"""Noise predicted at random times of a cosine schedule; Adam at 1e-3, averaged weights.

    Args:
        data_shape: ``(C, H, W)`` of images with pixels in [0, 1], ``(D,)`` of rows.
        steps: the number of steps :math:`T`.
        noise: the schedule, :class:`ppl_gen.noise.Cosine` by default.
        predicts: ``"noise"``, ``"data"``, ``"velocity"`` or ``"score"``.
        weighting: of the loss, see :class:`ppl_gen.objectives.denoising.Denoising`.
        variance: of the steps back in the bound.
        network: a module as :class:`ppl_gen.denoisers.Denoiser` takes, or a name as
            :func:`ppl_gen.networks.denoising` does, a U-Net for images by default.
        hidden: the width of a named network.
        sampler: one, or its name, see :func:`ppl_gen.samplers.by_name`.
        sample_steps: how many of its steps, at most 50 by default.
        levels: the grey levels of images.
        num_classes: the number of labels, 0 for none.
        drop: the share of labels left out in training.
        classes: the names of the labels.

    >>> ppl_gen.zoo.ddpm((2,), hidden=16, steps=100).sample(3, seed=0).shape
    torch.Size([3, 2])
    """
    data_shape, learned = require_shape(data_shape), variance == "learned"
    if isinstance(network, str):
        network = networks.denoising(network, data_shape, hidden, 1 + learned, num_classes)
    schedule = Cosine() if noise is None else noise
    denoiser = Denoiser(network, schedule, predicts, learned_variance=learned)
    model = Diffusion(
        denoiser,
        data_shape,
        steps=steps,
        levels=levels if len(data_shape) == 3 else None,
        weighting=weighting,
        variance=variance,
        sampler=sampler,
        sample_steps=sample_steps,
        num_classes=num_classes,
        drop=drop,
        classes=classes,
    )
    model.fit_defaults = {"ema": 0.999, "optimizer": partial(adam, betas=(0.9, 0.99))}
    return model
