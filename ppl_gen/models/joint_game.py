r"""Games of a model and a guide, which a critic compares on named sites.

The model draws a latent and its datum, :math:`z \sim p(z)`, :math:`x = G(z)`; the guide draws a
datum of the data and its latent, :math:`x \sim p_d`, :math:`z \sim q(z \mid x)`. Which of the two
sites the critic sees makes the system:

==============  ==================================================================================
sites           system
==============  ==================================================================================
``("x",)``      the GAN, whose guide is the data: :class:`ppl_gen.models.adversarial.Game`
``("x", "z")``  bidirectional GANs (Dumoulin et al. 2017; Donahue et al. 2017), and with the
                generator's latents reconstructed VEEGAN (Srivastava et al. 2017)
``("z",)``      with the likelihood of the model the adversarial autoencoder (Makhzani et al. 2016)
==============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_gen import critics
from ppl_gen._checks import is_finite
from ppl_gen._modes import evaluating, is_readable
from ppl_gen.models.adversarial import Game
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import Shared
from ppl_gen.objectives.divergences import Divergence
from ppl_gen.regularizers import Regularizer

ALLOWED = (("x", "z"), ("z",))


class Mean(nn.Module):
    """The generator that a VAE holds: from latents to the mean of its likelihood.

    >>> vae = ppl_gen.zoo.vae((1, 4, 4), 2, hidden=8)
    >>> generator = ppl_gen.models.joint_game.Mean(vae)
    >>> generator(torch.zeros(5, 2)).shape, len(list(generator.parameters()))
    (torch.Size([5, 1, 4, 4]), 0)
    """

    def __init__(self, vae: VAE):
        super().__init__()
        self._vae = Shared(vae)

    def forward(self, z: Tensor) -> Tensor:
        vae = self._vae.module
        return vae.likelihood.mean_image(vae.likelihood(vae.decoder(z)))


class JointGame(Game):
    r"""A game of the two programs of a VAE, which a critic compares on named sites.

    Data are a draw of the guide and fakes one of the model, but for ``("z",)``, where it is the
    latents of the model that do not move: there they are the data, and the guide's the fakes. On
    ``("x", "z")`` the generator's player also pays for latents that are not found again, on
    ``("z",)`` for data that are not,

    .. math::

        \lambda\, \mathbb{E}_{p(z)} \| z - \mathbb{E}_q[z \mid G(z)] \|^2, \qquad
        - \lambda\, \mathbb{E}_{p_d} \mathbb{E}_{q(z \mid x)} \log p(x \mid z).

    The generator is the VAE's decoder with the mean of its likelihood. There is no density of x
    under it; ``game.vae`` is the pair with the likelihood's own width, for which bounds are honest.

    Args:
        vae: of one latent, without conditions.
        critic: a module to logits ``(B, K)``, from latents ``(B, Z)`` where it compares these, else
            from rows ``(B, D + Z)`` of a flattened datum and its latent.
        divergence: the costs of both players.
        sites: what the critic sees.
        weight: :math:`\lambda`, zero or more.
        symmetric: whether on ``("x", "z")`` the guide is moved as well to deceive the critic, who
            is to take its draws for fakes; otherwise only what is found again moves it.
        regularizer: see :class:`ppl_gen.models.adversarial.Game`.
        critic_steps: see the same.
        pixels: see the same.

    Raises:
        ValueError: parts that do not fit, other sites, or a symmetric game of a divergence whose
            costs of data and fakes are not mirror images.

    >>> from ppl_gen.models.joint_game import JointGame
    >>> vae = ppl_gen.zoo.vae((3,), 2, hidden=8, likelihood="gaussian")
    >>> game = JointGame(vae, torch.nn.Linear(5, 1), ppl_gen.divergences.kl)
    >>> game.reconstruct(torch.zeros(4, 3)).shape
    torch.Size([4, 3])
    """

    instead = (
        ", whose data have no density, or none that training raises: compare its samples, or ask "
        "the VAE of its two programs, game.vae, whose likelihood has a width"
    )

    def __init__(
        self,
        vae: VAE,
        critic: nn.Module,
        divergence: Divergence,
        sites: Sequence[str] = ("x", "z"),
        weight: float = 1.0,
        symmetric: bool = False,
        regularizer: Regularizer | None = None,
        critic_steps: int = 1,
        pixels: bool = False,
    ):
        if tuple(sites) not in ALLOWED:
            raise ValueError(f"expected sites among {ALLOWED}, got {tuple(sites)}")
        if len(vae.latents) != 1 or vae.condition.size:
            raise ValueError(
                f"expected a VAE of one latent without conditions, got one of {len(vae.latents)} "
                f"given {vae.condition}"
            )
        if not is_finite(weight) or weight < 0:
            raise ValueError(f"expected a weight of zero or more, got {weight!r}")
        if symmetric and (tuple(sites) == ("z",) or not _mirrored(divergence)):
            raise ValueError(
                "expected a symmetric game on x and z of a divergence with mirrored costs, such as "
                f"non_saturating, got {divergence.name} on {', '.join(sites)}"
            )
        self.sites, self.weight, self.symmetric = tuple(sites), float(weight), symmetric
        (latent,) = vae.latents
        shape = vae.data_shape
        with evaluating(vae):
            _require_latent(latent, next(vae.parameters()).new_zeros(2, *shape))
            super().__init__(
                *(Mean(vae), critic, latent.prior, shape, divergence, regularizer),
                critic_steps,
                pixels,
            )
        self.vae = vae

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by player: the generator's are those of model and guide."""
        return {"generator": list(self.vae.parameters()), "critic": list(self.critic.parameters())}

    def look_ahead(self, steps: int, lr: float = 0.1) -> None:
        """No steps: the critic is answered as it is.

        Raises:
            ValueError: any steps ahead.
        """
        if steps:
            raise ValueError(
                f"expected no unrolled steps in a game of model and guide, got {steps!r}"
            )
        super().look_ahead(steps, lr)

    # --- Training -------------------------------------------------------------------------------

    def seen(self, x: Tensor, z: Tensor) -> Tensor:
        """The sites that are compared, as rows."""
        if self.sites == ("z",):
            return z
        return torch.cat([x.flatten(1), z], 1)

    def posed(self, x: Tensor) -> tuple[Any, ...]:
        """What the generator's turn is given: the last data that the critic saw, or their number.

        The number is enough where the guide does not deceive the critic.
        """
        return (x,) if self.symmetric or self.sites == ("z",) else (len(x),)

    def criticize(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's cost of draws of the guide and as many of the model."""
        with torch.no_grad():
            guide, model = self.seen(x, self.inferred(x)), self.seen(*self.drawn(len(x)))
        return self.contrast(model, guide) if self.sites == ("z",) else self.contrast(guide, model)

    def generate(self, given: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The cost of model and guide, given what :meth:`posed` says."""
        if self.sites == ("z",):
            x, z = given, self.inferred(given)
            likelihood = self.vae.likelihood(self.vae.decoder(z))
            lost = -likelihood.log_prob(x)
            cost = self.deceive(z)
        else:
            fakes, z = self.drawn(len(given) if self.symmetric else given)
            lost = (z - self.vae.latents[0].posterior(fakes).mean).square().flatten(1).sum(1)
            cost = self.deceive(self.seen(fakes, z))
            if self.symmetric:
                logits = self.critic(self.seen(given, self.inferred(given)))
                costs = self.divergence.generator(-logits)
                cost = cost + critics.total(self.critic, costs, "generator")
        return cost + self.weight * lost.sum(), {"reconstruction": lost.mean()}

    def drawn(self, size: int) -> tuple[Tensor, Tensor]:
        """Data and latents that the model draws."""
        z = self.prior().expand((size,)).sample()
        return self.generator(z), z

    def inferred(self, x: Tensor) -> Tensor:
        """The latents that the guide draws for data."""
        return self.vae.latents[0].posterior(x).rsample()

    @torch.no_grad()
    def evaluate(self, x: Tensor, *_: Tensor) -> dict[str, Tensor]:
        """The mean logit of held-out data with their latents, or of these alone."""
        with evaluating(self):
            return {"critic_guide": self.critic(self.seen(x, self.inferred(x))).mean()}

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data that the likelihood can score."""
        super().check(x)
        if is_readable(x):
            self.vae.likelihood.check(x)

    # --- Codes, which are those of the VAE ------------------------------------------------------

    def encode(self, x: Any) -> Distribution:
        """See :meth:`ppl_gen.VAE.encode`."""
        return self._coder().encode(x)

    def code(self, x: Any) -> Tensor:
        """See :meth:`ppl_gen.VAE.code`."""
        return self._coder().code(x)

    def reconstruct(self, x: Any, y: None = None) -> Tensor:
        """See :meth:`ppl_gen.VAE.reconstruct`."""
        return self._coder().reconstruct(x)

    def traverse(self, x: Any, dim: int, values: Sequence[float] | Tensor) -> Tensor:
        """See :meth:`ppl_gen.VAE.traverse`."""
        return self._coder().traverse(x, dim, values)

    def _coder(self) -> VAE:
        """The VAE, which reads tables as the game does."""
        if self.schema is not None:
            self.vae.schema = self.schema
        return self.vae


@torch.no_grad()
def _require_latent(latent: Latent, x: Tensor) -> None:
    """Raise ``ValueError`` unless a latent is one row of numbers that gradients flow through."""
    posterior = latent.posterior(x)
    if not posterior.has_rsample or len(posterior.event_shape) != 1:
        raise ValueError(
            f"expected a reparameterised posterior over rows, got {type(latent.family).__name__}"
        )


def _mirrored(divergence: Divergence) -> bool:
    """Whether the cost of data is that of fakes at minus the logit."""
    logits = torch.linspace(-3.0, 3.0, 13)
    return torch.allclose(divergence.real(logits), divergence.fake(-logits))
