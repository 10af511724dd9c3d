"""Diffusion in the codes of an autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ppl_gen._modes import evaluating
from ppl_gen._store import unregistered
from ppl_gen.models.diffusion_prior import DiffusionPrior, require_codes
from ppl_gen.models.from_noise import FromNoise
from ppl_gen.models.vae import VAE
from ppl_gen.schedules import PIController

# Codes are decoded so many at a time.
CHUNK = 500


class LatentDiffusion(FromNoise):
    r"""A diffusion of the standardised codes of an autoencoder (Rombach et al. 2022).

    Codes are draws of :math:`q(z \mid x)`, or the outputs of the encoder before they are quantised.
    Whoever samples draws a code from the diffusion, which alone knows of labels and captions, and
    decodes it.

    Args:
        autoencoder: a VAE of one continuous latent, or a VQ-VAE; without a condition.
        prior: the diffusion of its codes.
        frozen: whether the autoencoder stays as it is. Otherwise every batch is a turn of the
            autoencoder by its own objective, then one of the denoiser on the codes it gives now.

    The attribute ``autoencoder.latents[0].prior`` is left alone; with ``model.prior`` in its place,
    an unconditional VAE has this diffusion as its prior, with a likelihood.

    Raises:
        ValueError: an autoencoder with other codes than the prior's, several or discrete latents,
            or a condition.

    >>> from ppl_gen.models.latent_diffusion import LatentDiffusion
    >>> vae = ppl_gen.zoo.autoencoder((4,), 2, hidden=8)
    >>> model = LatentDiffusion(vae, ppl_gen.priors.DiffusionPrior(2))
    >>> x = torch.rand(64, 4)
    >>> _ = ppl_gen.fit(model, x, epochs=2, staged=False, progress=False)
    >>> model.sample(3, steps=5, seed=0).shape
    torch.Size([3, 4])
    """

    def __init__(self, autoencoder: VAE, prior: DiffusionPrior, frozen: bool = False):
        self._require_decoder(autoencoder, prior)
        super().__init__(autoencoder.data_shape)
        self.condition = prior.diffusion.condition
        self.autoencoder, self.prior, self.frozen = autoencoder, prior, bool(frozen)
        several = len(autoencoder.players) > 1 or type(autoencoder).losses is not VAE.losses
        if not frozen and several:
            raise ValueError(
                f"expected an autoencoder of one loss to be trained, got {autoencoder!r}: train it "
                "first, and pass it with frozen=True"
            )
        if not frozen and any(isinstance(m, PIController) for m in autoencoder.modules()):
            raise ValueError("expected an autoencoder without a controller, or frozen=True")
        rates = {"autoencoder": "constant", "denoiser": "falling"}
        rate = "falling" if frozen else rates  # an autoencoder still learns when training ends
        self.fit_defaults: dict[str, Any] = {"ema": 0.999, "scheduler": rate}
        self.train(self.training)

    def __repr__(self) -> str:
        name = (self.recipe and self.recipe.name) or type(self).__name__
        given = f" given {self.condition}" if self.condition.size else ""
        kind = (self.autoencoder.recipe and self.autoencoder.recipe.name) or "autoencoder"
        what = "images" if len(self.data_shape) == 3 else "data"
        article = "a frozen" if self.frozen else "an" if kind[0] in "aeiou" else "a"
        return (
            f"<{name}: {what} {'×'.join(map(str, self.data_shape))}{given}, codes "
            f"{'×'.join(map(str, self.prior.shape))} of {article} {kind}, "
            f"{self.prior.diffusion.steps} steps, "
            f"{sum(p.numel() for p in self.parameters()):,} parameters>"
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Training mode, without entries in Pyro's parameter store."""
        self.train()
        with unregistered():
            yield

    def train(self, mode: bool = True) -> LatentDiffusion:
        """Training mode, but for a frozen autoencoder."""
        super().train(mode)
        if self.frozen:
            self.autoencoder.eval()
        return self

    # --- Training -------------------------------------------------------------------------------

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """The denoiser, after the autoencoder unless that is frozen."""
        denoiser = {"denoiser": list(self.prior.diffusion.denoiser.parameters())}
        if self.frozen:
            return denoiser
        return {"autoencoder": list(self.autoencoder.parameters()), **denoiser}

    def schedule(self, batch: tuple[Tensor, ...]) -> tuple[tuple[Any, ...], ...]:
        """A turn of the autoencoder unless it is frozen, and one of the denoiser."""
        denoiser = ("denoiser", self.loss, batch)
        if self.frozen:
            return (denoiser,)
        return ("autoencoder", self.autoencode, batch[:1], self.after_autoencoder), denoiser

    def after_autoencoder(self) -> None:
        """What follows a step of the autoencoder: its schedules move on."""
        self.autoencoder.objective.update({})

    def autoencode(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the autoencoder by its own objective."""
        vae = self.autoencoder
        return vae.objective.loss_and_metrics(vae.model, vae.guide, x)

    def loss(self, x: Tensor, *labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The diffusion's loss on codes drawn for data, which it does not change."""
        loss, metrics = self.prior.loss(self.codes(x), *labels)
        return loss, {"error": metrics["error"]}

    @torch.no_grad()
    def evaluate(self, x: Tensor, *labels: Tensor) -> dict[str, Tensor]:
        """The loss and the squared error on held-out codes, by draws of their own."""
        with evaluating(self):
            loss, metrics = self.loss(x, *labels)
        return {"loss": loss / len(x), **metrics}

    # --- Codes ----------------------------------------------------------------------------------

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Codes of data as the diffusion learns them, ``(B, *prior.shape)``, drawn anew."""
        (latent,) = self.autoencoder.latents
        return latent.family.draw(latent.encoder(x))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Mean data of codes ``(B, *prior.shape)``."""
        (latent,) = self.autoencoder.latents
        likelihood = self.autoencoder.likelihood
        parts = (self.autoencoder.decode(latent.family.settle(part)) for part in z.split(CHUNK))
        return torch.cat([likelihood.mean_image(part) for part in parts])

    # --- Samples --------------------------------------------------------------------------------

    def _draw(self, n: int, y: Any, **how: Any) -> Any:
        found = self.prior.diffusion.sample(n, y, **how)
        if not how["frames"]:
            return self.decode(self.prior.spread(found))
        c, seen = found
        x, data = (self._decoded(part) for part in (seen.x, seen.data))
        return self.decode(self.prior.spread(c)), replace(seen, x=x, data=data)

    def _decoded(self, c: Tensor) -> Tensor:
        return self.decode(self.prior.spread(c).flatten(0, 1)).unflatten(0, c.shape[:2])

    # --- Checks ---------------------------------------------------------------------------------

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data the autoencoder can be given."""
        self.autoencoder.check(x)

    @staticmethod
    @torch.no_grad()
    def _require_decoder(autoencoder: VAE, prior: DiffusionPrior) -> None:
        latent = require_codes(autoencoder, prior.shape)
        weight = next(autoencoder.parameters())
        if weight.dtype != prior.shift.dtype:
            raise ValueError(f"expected a diffusion in {weight.dtype}, got {prior.shift.dtype}")
        with evaluating(autoencoder):
            parameters = latent.encoder(weight.new_zeros(1, *autoencoder.data_shape))
            try:
                latent.family.draw(parameters)
            except NotImplementedError as error:
                kind = type(latent.family).__name__
                raise ValueError(f"expected continuous codes, got a {kind} posterior") from error
