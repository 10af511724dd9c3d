"""pythae's VAE, IWAE and VAMP on given networks: trained by its own trainer, then read as ours.

Its posterior is N(μ, diag e^v), and its decoder returns probabilities. ``as_vae`` puts the trained
networks into a :class:`ppl_gen.VAE` of the same densities, so that one estimator of the likelihood
serves both libraries; ``own_estimate`` is pythae's, to check that they are the same densities.

Needs ``pip install --no-deps pythae`` and ``pip install pydantic``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pythae.data.datasets import BaseDataset, DatasetOutput
from pythae.models import IWAE, VAE, VAMP, IWAEConfig, VAEConfig, VAMPConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import CallbackHandler, TrainingCallback
from torch import Tensor, nn
from torch.distributions import Distribution

import ppl_gen
from ppl_gen import zoo
from ppl_gen.networks import MLP
from ppl_gen.posteriors import Family

KINDS = ("VAE", "IWAE", "VAMP")


class Encoder(BaseEncoder):
    """Our network as pythae's encoder: means and log-variances."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        loc, log_variance = self.network(x).chunk(2, -1)
        return ModelOutput(embedding=loc, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Our network as pythae's decoder: probabilities of pixels."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z).sigmoid())


class Dynamic(BaseDataset):
    """Grey levels that are binarised afresh whenever an image is asked for."""

    def __getitem__(self, index: int) -> DatasetOutput:
        return DatasetOutput(data=torch.bernoulli(self.data[index]), labels=self.labels[index])


class Trainer(BaseTrainer):
    """pythae's trainer without a progress bar, like ours in benchmarks."""

    def _setup_callbacks(self) -> None:
        self.callback_handler = CallbackHandler(callbacks=self.callbacks, model=self.model)


def build(kind: str, latent_dim: int, hidden: int, particles: int, components: int) -> Any:
    """A model of pythae whose networks are those that ``zoo.vae`` builds for the same sizes."""
    shape = (1, 28, 28)
    encoder = Encoder(MLP([shape], [hidden], (2 * latent_dim,)))
    decoder = Decoder(MLP([(latent_dim,)], [hidden], shape))
    common = {"input_dim": shape, "latent_dim": latent_dim, "reconstruction_loss": "bce"}
    if kind == "IWAE":
        return IWAE(IWAEConfig(number_samples=particles, **common), encoder, decoder)
    if kind == "VAMP":
        return VAMP(VAMPConfig(number_components=components, **common), encoder, decoder)
    return VAE(VAEConfig(**common), encoder, decoder)


class _Each(TrainingCallback):
    def __init__(self, function: Callable[[], None]):
        self.function = function

    def on_train_step_end(self, training_config: Any, **_: Any) -> None:
        self.function()


def train(
    peer: Any,
    images: BaseDataset,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Train by pythae's trainer with its default optimiser, Adam."""
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=lr,
            seed=seed,
            no_cuda=True,
        )
        Trainer(peer, images, training_config=settings, callbacks=[_Each(after_step)]).train()
    logging.disable(logging.NOTSET)
    peer.eval()


class LogVariance(Family):
    r""":math:`q(z \mid x) = N(\mu, \mathrm{diag}\,e^v)`."""

    parameters_per_dim = 2

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_variance = parameters.chunk(2, -1)
        return dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1)


class Mixture(nn.Module):
    """The uniform mixture of posteriors at the pseudo-inputs of a trained VAMP."""

    def __init__(self, peer: VAMP):
        super().__init__()
        self._peer = (peer,)  # a tuple: its encoder belongs to the latent already

    def forward(self, *parents: Tensor) -> Distribution:
        (peer,) = self._peer
        inputs = peer.pseudo_inputs(peer.idle_input).reshape(-1, 1, 28, 28)
        components = LogVariance()(peer.encoder.network(inputs))
        weights = dist.Categorical(logits=torch.zeros(len(inputs)))
        return dist.MixtureSameFamily(weights, components)


def as_vae(peer: Any) -> ppl_gen.VAE:
    """A trained model of pythae as one of ours: the same networks and densities."""
    return zoo.vae(
        latent_dim=peer.latent_dim,
        encoder=peer.encoder.network,
        decoder=peer.decoder.network,
        posterior=LogVariance(),
        prior=Mixture(peer) if isinstance(peer, VAMP) else None,
    )


@torch.no_grad()
def own_estimate(peer: Any, images: Tensor, num_samples: int, seed: int = 0) -> float:
    """The mean log-likelihood of images as pythae estimates it by importance sampling."""
    with torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(seed)
        return float(peer.get_nll(images, n_samples=num_samples, batch_size=num_samples))
