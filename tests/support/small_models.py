"""A generative adversarial network and a diffusion model of points in the plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


def moons(count: int, seed: int) -> Tensor:
    """Points on two interleaved half circles, ``(count, 2)``, centred, with noise."""
    generator = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(count, generator=generator)
    side = torch.arange(count) % 2
    x = torch.where(side == 0, angle.cos(), 1 - angle.cos()) - 0.5
    y = torch.where(side == 0, angle.sin(), 0.5 - angle.sin()) - 0.25
    return torch.stack([x, y], 1) + 0.08 * torch.randn(count, 2, generator=generator)


def energy_distance(a: Tensor, b: Tensor) -> float:
    r""":math:`2E|a - b| - E|a - a'| - E|b - b'|`, zero iff the distributions are equal."""
    within = sum(torch.cdist(s, s).sum() / (len(s) * (len(s) - 1)) for s in (a, b))
    return float(2 * torch.cdist(a, b).mean() - within)


def network(inside: int, out: int, hidden: int = 64) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inside, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, out),
    )


class Adversarial:
    """A non-saturating GAN (Goodfellow et al. 2014): an object of plain attributes and methods."""

    def __init__(self) -> None:
        self.generator, self.discriminator = network(4, 2), network(2, 1)

    @property
    def players(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.parameters(),
            "generator": self.generator.parameters(),
        }

    def losses(self, x: Tensor) -> Iterator[tuple[Any, ...]]:
        yield "discriminator", self.discrimination, (x, torch.randn(len(x), 4))
        yield "generator", self.generation, (torch.randn(len(x), 4),)

    def discrimination(self, x: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = self.discriminator(x), self.discriminator(self.generator(noise).detach())
        return (softplus(-real) + softplus(fake)).sum(), {"margin": (real - fake).mean()}

    def generation(self, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return softplus(-self.discriminator(self.generator(noise))).sum(), {}

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        return self.generator(torch.randn(count, 4))


class Diffusion(nn.Module):
    r"""A denoising diffusion model (Ho, Jain and Abbeel 2020, algorithms 1 and 2).

    With :math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon`, a network learns
    ε from :math:`x_t` and t.
    """

    def __init__(self, steps: int = 40) -> None:
        super().__init__()
        self.network = network(4, 2, hidden=96)
        beta = torch.linspace(1e-3, 0.25, steps)
        self.register_buffer("beta", beta)
        self.register_buffer("kept", (1 - beta).cumprod(0))

    @property
    def players(self) -> dict[str, Any]:
        return {"denoiser": self.parameters()}

    def losses(self, x: Tensor) -> Iterator[tuple[Any, ...]]:
        yield "denoiser", self.denoising, (x,)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        phase = math.pi / 2 * t / len(self.beta)
        return self.network(torch.cat([x, phase.cos(), phase.sin()], 1))

    def denoising(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        t = torch.randint(len(self.beta), (len(x), 1))
        kept, noise = self.kept[t], torch.randn_like(x)
        error = noise - self.denoise(kept.sqrt() * x + (1 - kept).sqrt() * noise, t)
        return error.square().sum(), {"error": error.square().mean()}

    def evaluate(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": self.denoising(x)[0] / len(x)}

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        x = torch.randn(count, 2)
        for t in reversed(range(len(self.beta))):
            beta, kept = self.beta[t], self.kept[t]
            noise = self.denoise(x, torch.full((count, 1), t))
            x = (x - beta / (1 - kept).sqrt() * noise) / (1 - beta).sqrt()
            if t:
                x = x + beta.sqrt() * torch.randn_like(x)
        return x


def breaking_pair() -> tuple[Callable[[Tensor], None], Callable[[Tensor], None]]:
    """A model and guide whose likelihood is NaN where a draw is large, which few are."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.where(z < 2.5, torch.nan), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc.expand(len(x)), 1.0))

    return model, guide
