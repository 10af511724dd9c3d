r"""A diffusion as a hierarchical VAE: a latent for every step, and a guide without parameters.

.. math::

    p(x_{0:T}) = p(x_T) \prod_{t=1}^T p(x_{t-1} \mid x_t), \qquad
    q(x_{1:T} \mid x_0) = q(x_T \mid x_0) \prod_{t=2}^T q(x_{t-1} \mid x_t, x_0).

The guide draws in the order of the model, so that objectives with closed divergences find each
:math:`\mathrm{KL}(q(x_{t-1} \mid x_t, x_0) \Vert p(x_{t-1} \mid x_t))` (Ho et al. 2020). The same
joint in the order of the forward chain, :meth:`Chain.forward_guide`, is a guide too, for objectives
that sample all terms: stock ``TraceMeanField_ELBO`` is wrong with it, and warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen.denoisers import Prediction, reverse_variance
from ppl_gen.likelihoods.base import Likelihood
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import Shape, Shared
from ppl_gen.noise import Level, posterior, transition
from ppl_gen.objectives.denoising import Denoising
from ppl_gen.posteriors import Family

if TYPE_CHECKING:
    from ppl_gen.models.diffusion import Diffusion

# More latents than this are no program to be run as one.
MOST = 50


class Chain(VAE):
    r"""The VAE with latents ``x_T`` to ``x_1``, named ``"x4"`` … ``"x1"``, and data ``"x0"``.

    Everything a :class:`ppl_gen.VAE` does, it does: its objectives are bounds of the diffusion.

    Args:
        diffusion: whose denoiser it shares.
        steps: the number of latents, at most 50.
        prior: the law of ``x_T``, a module of :mod:`ppl_gen.priors` over data of this shape; what
            samplers start from by default.

    Raises:
        ValueError: more steps than 50 or than the diffusion was trained for.

    >>> noise = ppl_gen.noise.Linear()
    >>> data = ppl_gen.denoisers.Gaussian(noise, torch.zeros(2), 1.0)
    >>> chain = ppl_gen.Diffusion(data, (2,), steps=4, variance="large").chain()
    >>> [latent.name for latent in chain.latents], chain.observed
    (['x4', 'x3', 'x2', 'x1'], 'x0')
    """

    observed = "x0"

    def __init__(self, diffusion: Diffusion, steps: int, prior: nn.Module | None = None):
        if not is_whole(steps, 1) or steps > MOST:
            raise ValueError(f"expected 1 to {MOST} steps as latents, got {steps!r}")
        if prior is not None and not isinstance(prior, nn.Module):
            raise ValueError(f"expected a module of ppl_gen.priors as the prior, got {prior!r}")
        if diffusion.condition.size > diffusion.num_classes:
            raise ValueError(f"expected a diffusion of labels or none, got {diffusion.condition}")
        objective = diffusion.objective.respaced(steps, diffusion.denoiser.noise)
        shape, table = diffusion.data_shape, objective.table
        start = diffusion.denoiser.noise.prior_scale(table[-1])
        latents = []
        for t in range(steps, 0, -1):
            if t == steps:
                above = _Start(diffusion.denoiser.like, start, shape) if prior is None else prior
                mean, sd = _Marginal(objective, t), table[t].sigma
            else:
                above = _Back(diffusion, objective, t + 1)
                mean, sd = _Between(objective, t), posterior(table[t], table[t + 1]).variance.sqrt()
            latents.append(Latent(f"x{t}", above, mean, _Fixed(sd, shape)))
        clean = _Clean(objective)
        super().__init__(
            latents,
            _Data(diffusion, objective),
            clean,
            shape,
            num_classes=diffusion.num_classes,
            classes=diffusion.classes,
        )
        self.denoiser, self.denoising = diffusion.denoiser, objective

    def __repr__(self) -> str:
        what = "images" if len(self.data_shape) == 3 else "data"
        return (
            f"<Chain: {what} {'×'.join(map(str, self.data_shape))}, "
            f"{self.denoising.steps} latents, {self.denoising.variance} variance, "
            f"{sum(p.numel() for p in self.parameters()):,} parameters>"
        )

    def forward_guide(self, x: Tensor, y: Tensor | None = None, size: int = 1) -> None:
        """The same guide in the order of the forward chain, from ``x1`` to ``x_T``."""
        objective = self.denoising
        size = self._require_shape(x).shape[0]
        table, now = objective.table, objective.from_data(x)
        with self._plate(size):
            for t in range(1, len(table)):
                step = transition(table[t - 1], table[t])
                law = _normal(step.scale * now, step.variance.sqrt(), len(self.data_shape))
                now = pyro.sample(f"x{t}", law)


def _normal(mean: Tensor, sd: Tensor, event_dim: int) -> dist.TorchDistribution:
    law = dist.Normal(mean, sd.to(mean).expand(mean.shape))
    return cast(dist.TorchDistribution, law.to_event(event_dim))


class _Start(nn.Module):
    """What samplers start from."""

    loc: Tensor

    def __init__(self, like: Tensor, scale: Tensor, shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("loc", like.new_zeros(shape), persistent=False)
        self.scale = scale

    def forward(self, *parents: Tensor) -> dist.Distribution:
        return _normal(self.loc, self.scale, self.loc.dim())


class _Step(nn.Module):
    """A step back, told by a denoiser that the chain owns."""

    def __init__(self, diffusion: Diffusion, objective: Denoising, t: int):
        super().__init__()
        self._denoiser, self._objective, self.t = Shared(diffusion.denoiser), Shared(objective), t
        self.shape, self.labelled = diffusion.data_shape, bool(diffusion.num_classes)

    @property
    def objective(self) -> Denoising:
        return self._objective.module

    @property
    def level(self) -> Level:
        return self.objective.table[self.t]

    def predicted(self, x: Tensor, *labels: Tensor) -> Prediction:
        """Of data with any leading dimensions, as one batch."""
        leading, y = x.shape[: x.dim() - len(self.shape)], None
        if self.labelled:
            y = labels[0].argmax(-1).expand(leading).reshape(-1)
        return self._denoiser.module(x.reshape(-1, *self.shape), self.level.u, y)


class _Back(_Step):
    r""":math:`p(x_s \mid x_t)`."""

    def forward(self, *parents: Tensor) -> dist.Distribution:
        x, (s, t) = parents[-1], (self.objective.table[self.t - 1], self.level)
        found = self.predicted(x, *parents)
        mean = posterior(s, t).mean(found.x, found.data)
        variance = reverse_variance(self.objective.variance, found, s, t)
        sd = variance.sqrt().to(mean).expand(mean.shape)
        law = dist.Normal(mean.reshape(x.shape), sd.reshape(x.shape))
        return law.to_event(len(self.shape))


class _Data(_Step):
    """Mean and scale of the data given the last latent."""

    def __init__(self, diffusion: Diffusion, objective: Denoising):
        super().__init__(diffusion, objective, 1)

    def forward(self, x: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = self.objective.clean_parameters(self.predicted(x, *labels))
        return mean.reshape(x.shape), scale.expand(mean.shape).reshape(x.shape)


class _Clean(Likelihood):
    r""":math:`p(x_0 \mid x_1)`, given its mean and scale."""

    def __init__(self, objective: Denoising):
        super().__init__()
        self._objective = Shared(objective)
        if objective.levels is not None:
            self.support = (0.0, 1.0)

    def forward(self, parameters: tuple[Tensor, Tensor]) -> dist.Distribution:
        law = self._objective.module.clean(*parameters)
        return dist.Independent(law, self.event_dim)


class _Marginal(nn.Module):
    r"""The mean of :math:`q(x_T \mid x_0)`."""

    def __init__(self, objective: Denoising, t: int):
        super().__init__()
        self._objective, self.t = Shared(objective), t

    def forward(self, x: Tensor, *parents: Tensor) -> Tensor:
        objective = self._objective.module
        return objective.table[self.t].alpha * objective.from_data(x)


class _Between(_Marginal):
    r"""The mean of :math:`q(x_t \mid x_{t+1}, x_0)`."""

    def forward(self, x: Tensor, *parents: Tensor) -> Tensor:
        objective = self._objective.module
        q = posterior(objective.table[self.t], objective.table[self.t + 1])
        return q.mean(parents[-1], objective.from_data(x))


class _Fixed(Family):
    """Normal distributions of one scale."""

    def __init__(self, sd: Tensor, shape: Shape):
        super().__init__()
        self.sd, self.shape = sd, shape

    def code_shape(self, latent_dim: int) -> Shape:
        return self.shape

    def forward(self, parameters: Tensor) -> dist.Distribution:
        return _normal(parameters, self.sd, len(self.shape))
