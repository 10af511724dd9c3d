"""The parts that constructors pass on, as types: what ``**parts`` may hold, for type checkers.

A variant takes the parts of its family but for those that it sets or lists itself, so each kind
below is put together of the parts that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from torch import nn

from ppl_gen.likelihoods.pixels import Likelihood
from ppl_gen.networks import Widths
from ppl_gen.noise import Noise
from ppl_gen.objectives.denoising import Weight
from ppl_gen.objectives.divergences import Divergence
from ppl_gen.objectives.elbo import Objective
from ppl_gen.posteriors import Family
from ppl_gen.regularizers import Regularizer
from ppl_gen.samplers import Sampler


class _Encoder(TypedDict, total=False):
    encoder: nn.Module | None


class _Coders(_Encoder, total=False):
    decoder: nn.Module | None


class _Sizes(TypedDict, total=False):
    hidden: Widths
    network: str


class _Data(TypedDict, total=False):
    likelihood: str | tuple | list | Likelihood


class _Prior(TypedDict, total=False):
    prior: nn.Module | None


class _Posterior(TypedDict, total=False):
    posterior: Family | None


class _Objective(TypedDict, total=False):
    objective: Objective | None


class _Classes(TypedDict, total=False):
    classes: tuple | list | None


class _Conditions(_Classes, total=False):
    num_classes: int
    num_covariates: int | None


class _Built(_Coders, _Sizes, _Data, total=False):
    """Networks and the likelihood."""


class PointParts(_Built, _Prior, _Conditions, total=False):
    """Of a VAE with its own posterior and objective."""


class WeighedParts(PointParts, _Posterior, total=False):
    """Of a VAE with its own objective."""


class VAEParts(WeighedParts, _Objective, total=False):
    """Of a VAE with nothing of its own."""


class CodeParts(_Built, _Objective, _Conditions, total=False):
    """Of a VAE with its own posterior and prior."""


class LayeredCodeParts(_Coders, _Data, _Objective, _Conditions, total=False):
    """Of one whose hidden layers are listed as well."""

    network: str


class MixtureParts(_Built, _Posterior, _Objective, total=False):
    """Of a VAE with its own prior, which takes no conditions."""


class SparseParts(_Encoder, _Objective, total=False):
    """Of a VAE whose decoder, posterior and prior share a dictionary."""


class GivenParts(_Built, _Prior, _Posterior, _Objective, _Classes, total=False):
    """Of a VAE that lists its conditions."""


class LabelParts(_Coders, _Prior, _Posterior, _Objective, _Classes, total=False):
    """Of a VAE that learns classes."""


class CoderParts(_Coders, _Data, _Prior, _Posterior, _Objective, total=False):
    """Of the model and guide that play a game."""


class _Generator(TypedDict, total=False):
    generator: nn.Module | None


class _Critic(TypedDict, total=False):
    critic: nn.Module | None


class _Widths(TypedDict, total=False):
    hidden: Widths | None
    network: str


class _Loss(TypedDict, total=False):
    loss: str | Divergence


class _Rules(TypedDict, total=False):
    regularizer: Regularizer | None
    critic_steps: int


class _Wrap(TypedDict, total=False):
    wrap: Callable[[nn.Module], nn.Module] | None


class _Players(_Generator, _Critic, _Widths, total=False):
    """Generator and critic, or what they are built of."""


class LosslessParts(_Players, _Rules, _Wrap, total=False):
    """Of a game with its own loss."""


class UnwrappedParts(_Players, _Loss, _Rules, total=False):
    """Of a game with its own wrapper of the critic."""


class GameParts(UnwrappedParts, _Wrap, total=False):
    """Of a game with nothing of its own."""


class WassersteinParts(_Players, _Wrap, total=False):
    """Of a game with its own loss, regulariser and number of steps."""


class PackedParts(_Generator, _Loss, _Rules, _Wrap, total=False):
    """Of a game whose critic is built around several samples."""


class _Denoiser(TypedDict, total=False):
    predicts: str
    network: str | nn.Module
    hidden: int | None
    levels: int


class _Steps(TypedDict, total=False):
    steps: int


class _Schedule(TypedDict, total=False):
    noise: Noise | None


class _SampleSteps(TypedDict, total=False):
    sample_steps: int | None


class _Weighting(TypedDict, total=False):
    weighting: str | Weight
    sampler: str | Sampler


class _Variance(TypedDict, total=False):
    variance: str


class _Labels(TypedDict, total=False):
    num_classes: int
    drop: float


class GuidedParts(
    _Denoiser, _Steps, _Schedule, _SampleSteps, _Weighting, _Variance, _Classes, total=False
):
    """Of a diffusion that lists what it is told."""


class ImprovedParts(_Denoiser, _Steps, _Schedule, _SampleSteps, _Labels, _Classes, total=False):
    """Of a diffusion with its own weighting, variance and sampler."""


class LevelParts(_Denoiser, _Variance, _Labels, _Classes, total=False):
    """Of a diffusion over a few levels of noise, with its own sampler."""


class ContinuousParts(LevelParts, _Steps, total=False):
    """Of a diffusion in continuous time, with its own schedule and sampler."""
