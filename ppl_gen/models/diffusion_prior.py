r"""A diffusion model as the prior of a latent.

Codes are standardised, :math:`z = \mu + s \odot c`, and the diffusion is one of :math:`c`. It is
learned from the codes of a trained VAE, or together with the VAE (Vahdat et al. 2021).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_gen._checks import is_whole, require_shape
from ppl_gen._modes import evaluating
from ppl_gen.denoisers import Clipped, Denoiser
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import ResidualMLP, Shape
from ppl_gen.noise import Cosine
from ppl_gen.samplers import log_likelihood

# The least weight of a batch in the running moments of codes; at first later ones weigh more, since
# codes move while their encoder learns.
RATE = 0.01


class DiffusionPrior(nn.Module):
    r""":math:`p(z)` by a diffusion of standardised codes.

    Its density is that of the probability flow, see :func:`ppl_gen.samplers.log_likelihood`, a
    number and not an estimate up to 64 dimensions: importance weights may be made of it. (The
    bound that training minimises may not, its exponential does not average to :math:`p(z)`.) It is
    not differentiated; instead ``fit(prior.on(vae), images)`` trains it.

    Args:
        shape: of a code, ``Z`` or ``(Z,)``.
        diffusion: of the codes; by default a residual network of velocities on the cosine
            schedule.
        likelihood_steps: the noise levels ``n`` that a density visits. Its error falls as
            :math:`1 / n^4` and grows with the dimension: of a standard normal law in 40 it is too
            high by .2 nats for 12, .011 for 24 and .0007 for 48.

    Attributes:
        shift: :math:`\mu`, a running mean of the codes.
        scale: :math:`s`, their running standard deviation.

    Raises:
        ValueError: a diffusion of other codes, or of pixels, or whose denoiser clips; less than two
            levels.

    >>> prior = ppl_gen.priors.DiffusionPrior(2)
    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8, prior=prior)
    >>> stage = prior.on(vae)
    >>> history = ppl_gen.fit(stage, torch.rand(64, 4), epochs=2, staged=False, progress=False)
    >>> vae.sample(3, seed=0).shape, prior().log_prob(torch.zeros(5, 2)).shape
    (torch.Size([3, 4]), torch.Size([5]))
    """

    shift: Tensor
    scale: Tensor
    second: Tensor
    batches: Tensor

    def __init__(
        self, shape: int | Shape, diffusion: Diffusion | None = None, *, likelihood_steps: int = 24
    ):
        super().__init__()
        shape = require_shape((shape,) if is_whole(shape) else shape)
        self.diffusion = _default(shape) if diffusion is None else diffusion
        if self.diffusion.data_shape != shape:
            raise ValueError(
                f"expected a diffusion of codes {shape}, got {self.diffusion.data_shape}"
            )
        if self.diffusion.levels is not None:
            raise ValueError("expected a diffusion of numbers, levels=None: codes are not clipped")
        if any(isinstance(part, Clipped) for part in self.diffusion.denoiser.modules()):
            raise ValueError("expected a denoiser that clips nothing, codes are not clipped")
        if not is_whole(likelihood_steps, 2):
            raise ValueError(f"expected likelihood_steps >= 2, got {likelihood_steps!r}")
        self.likelihood_steps = likelihood_steps
        like = self.diffusion.denoiser.like
        self.register_buffer("shift", like.new_zeros(shape))
        self.register_buffer("scale", like.new_ones(shape))
        self.register_buffer("second", like.new_ones(shape))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @property
    def shape(self) -> Shape:
        """The shape of a code."""
        return self.diffusion.data_shape

    def forward(self, *parents: Tensor) -> dist.TorchDistribution:
        """The prior, the same whatever the parents are."""
        return _Codes(self, torch.Size())

    def standardize(self, z: Tensor) -> Tensor:
        """Codes as the diffusion sees them."""
        return (z - self.shift) / self.scale

    def spread(self, c: Tensor) -> Tensor:
        """The inverse of :meth:`standardize`."""
        return self.shift + self.scale * c

    def sample(self, n: int, y: Any = None, **how: Any) -> Tensor:
        """``(n, *shape)`` draws; see :meth:`Diffusion.sample` for the arguments."""
        return self.spread(self.diffusion.sample(n, y, **how))

    def log_prob(self, z: Tensor, y: Any = None) -> Tensor:
        r""":math:`\log p(z)` by the probability flow, ``(B,)``.

        Raises:
            ValueError: codes to be differentiated by, of another shape or type, or not finite.
        """
        self._require_codes(z)
        if torch.is_grad_enabled() and z.requires_grad:
            raise ValueError(
                "expected codes without gradients: log p(z) of a diffusion prior is a number, "
                "train it by fit(prior.on(vae), data), or jointly by prior.on(vae, jointly=True)"
            )
        c = self.standardize(z)
        found = log_likelihood(self.diffusion.denoiser, c, y, steps=self.likelihood_steps)
        return (found - self.scale.double().log().sum()).to(z)

    def _require_codes(self, z: Tensor) -> None:
        kind = self.shift.dtype
        if not isinstance(z, Tensor) or tuple(z.shape[1:]) != self.shape or z.dtype != kind:
            sizes = ", ".join(map(str, self.shape))
            got = f"{z.dtype} of shape {tuple(z.shape)}" if isinstance(z, Tensor) else repr(z)
            raise ValueError(f"expected codes (B, {sizes}) of {kind}, got {got}")

    # --- Training -------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, z: Tensor) -> None:
        """Take a batch of codes into the running moments."""
        self.batches.add_(1)
        rate = (2 / (self.batches + 1)).clamp(min=RATE).to(z)
        self.shift.lerp_(z.mean(0), rate)
        self.second.lerp_(z.square().mean(0), rate)
        variance = (self.second - self.shift.square()).clamp(min=1e-12)
        self.scale.copy_(variance.sqrt())

    def loss(self, z: Tensor, *labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the diffusion on codes, which are not differentiated by."""
        z = z.detach()
        if self.training:
            self.measure(z)
        return self.diffusion.loss(self.standardize(z), *labels)

    def bound(self, z: Tensor) -> Tensor:
        r"""An unbiased estimate of a lower bound of :math:`\log p(z)`, ``(B,)``.

        It can be differentiated, by the codes and by the weights. Never exponentiate it.
        """
        objective = copy.copy(self.diffusion.objective)
        objective.weighting = "bound"
        c = self.standardize(z)
        cost = objective(self.diffusion.denoiser, c).loss + objective.prior_term(c)
        return -cost - self.scale.log().sum()

    def on(self, vae: VAE, jointly: bool = False) -> CodesOf:
        r"""What :func:`ppl_gen.fit` trains: this prior on the codes of a VAE.

        Codes are drawn from :math:`q(z \mid x)` anew for every step. By itself the prior leaves
        the VAE as it is. Jointly, both learn by the bound

        .. math:: E_q[\log p(x \mid z)] + H(q(z \mid x)) + E_q[L(z)] \le \log p(x)

        with :meth:`bound` as :math:`L(z) \le \log p(z)`. Either way ``latent.prior = prior`` makes
        it the prior of the VAE.

        Args:
            vae: with one continuous latent of this shape, and no condition.
            jointly: whether the VAE learns too.

        Raises:
            ValueError: another latent, a point posterior to be trained jointly.
        """
        return CodesOf(self, vae, jointly)


class CodesOf:
    """A prior and the VAE whose codes it learns, see :meth:`DiffusionPrior.on`.

    Args:
        prior: what is trained.
        vae: where its codes come from.
        jointly: whether the VAE learns too.

    >>> prior, vae = ppl_gen.priors.DiffusionPrior(2), ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> sorted(prior.on(vae).players), sorted(prior.on(vae, jointly=True).players)
    (['prior'], ['prior', 'vae'])
    """

    def __init__(self, prior: DiffusionPrior, vae: VAE, jointly: bool = False):
        self.prior, self.vae, self.jointly = prior, vae, bool(jointly)
        require_codes(vae, prior.shape)
        if prior.diffusion.num_classes:
            raise ValueError("expected a diffusion without labels as the prior of a VAE")
        if jointly and not _has_entropy(self.latent, vae):
            raise ValueError(
                "expected a posterior with an entropy to train jointly with its prior, got "
                f"{type(self.latent.family).__name__}"
            )
        self.fit_defaults: dict[str, Any] = {"ema": 0.999, "scheduler": "falling"}

    @property
    def latent(self) -> Latent:
        """Whose posterior gives the codes."""
        return self.vae.latents[0]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Training mode of what learns."""
        self.prior.train()
        if self.jointly:
            self.vae.train()
        yield

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of the denoiser, and those of the VAE where they learn jointly."""
        denoiser = list(self.prior.diffusion.denoiser.parameters())
        if not self.jointly:
            return {"prior": denoiser}
        own = {id(parameter) for parameter in self.prior.parameters()}
        parameters = (
            self.latent.encoder,
            self.latent.family,
            self.vae.decoder,
            self.vae.likelihood,
        )
        rest = [p for part in parameters for p in part.parameters() if id(p) not in own]
        return {"prior": denoiser, "vae": list({id(p): p for p in rest}.values())}

    def loss(self, x: Tensor, *labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; labels are not looked at."""
        if self.jointly:
            return self._joint_loss(x)
        with torch.no_grad(), evaluating(self.vae):
            z = self.latent.posterior(x).sample()
        return self.prior.loss(z)

    def _joint_loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        q = self.latent.posterior(x)
        z = q.rsample()
        if self.prior.training:
            self.prior.measure(z)
        reconstruction = self.vae.likelihood(self.vae.decoder(z)).log_prob(x)
        kl = -q.entropy() - self.prior.bound(z)
        found = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return (kl - reconstruction).sum(), {k: v.detach().mean() for k, v in found.items()}

    def prepare(self, x: Tensor, *labels: Tensor) -> None:
        """Check a first batch."""
        self.vae.check(x)

    @torch.no_grad()
    def evaluate(self, x: Tensor, *labels: Tensor) -> dict[str, Tensor]:
        """The means of held-out data, by draws of their own."""
        with evaluating(self.prior), evaluating(self.vae):
            loss, metrics = self.loss(x)
        return {"loss": loss / len(x), **metrics}


def require_codes(vae: VAE, shape: Shape | None = None) -> Latent:
    """The only latent of an unconditional VAE, or ``ValueError``.

    Args:
        vae: the model.
        shape: of its codes, where it is known.
    """
    if not isinstance(vae, VAE) or len(vae.latents) != 1:
        raise ValueError(f"expected a VAE with one latent, got {vae!r}")
    if vae.condition.size:
        raise ValueError("expected a VAE without labels: the diffusion is told them alone")
    (latent,) = vae.latents
    found = tuple(_posterior(latent, vae).event_shape)
    if shape is not None and found != shape:
        raise ValueError(f"expected codes of shape {shape}, got those of a VAE of shape {found}")
    return latent


@torch.no_grad()
def _posterior(latent: Latent, vae: VAE) -> dist.TorchDistribution:
    weight = next(vae.parameters())
    for name, p in vae.named_parameters():
        if not p.isfinite().all():
            raise ValueError(f"expected a VAE of finite weights, got NaN or infinity in {name}")
    with evaluating(vae):
        return latent.posterior(weight.new_zeros(1, *vae.data_shape))


def _has_entropy(latent: Latent, vae: VAE) -> bool:
    q = _posterior(latent, vae)
    try:
        return q.has_rsample and bool(q.entropy().isfinite().all())
    except NotImplementedError:
        return False


class _Codes(dist.TorchDistribution):
    """A diffusion prior as a distribution."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012

    def __init__(self, prior: DiffusionPrior, batch_shape: torch.Size):
        self.prior = prior
        super().__init__(batch_shape, torch.Size(prior.shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.prior.shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> _Codes:
        return _Codes(self.prior, torch.Size(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if tuple(value.shape[value.dim() - len(self.event_shape) :]) != self.event_shape:
            sizes = ", ".join(map(str, self.event_shape))
            raise ValueError(f"expected codes (..., {sizes}), got {tuple(value.shape)}")
        leading = value.shape[: value.dim() - len(self.event_shape)]
        found = self.prior.log_prob(value.reshape(-1, *self.event_shape)).reshape(leading)
        return found.expand(torch.broadcast_shapes(leading, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        leading = torch.Size(sample_shape) + self.batch_shape
        return self.prior.sample(math.prod(leading)).reshape(*leading, *self.event_shape)


def _default(shape: Shape) -> Diffusion:
    denoiser = Denoiser(ResidualMLP(shape), Cosine(), "velocity", data_shape=shape)
    return Diffusion(denoiser, shape, weighting="velocity")
