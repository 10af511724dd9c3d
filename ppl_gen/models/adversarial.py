r"""Games of a generator and a critic.

The generator maps :math:`z \sim p(z)` to fakes :math:`G(z)`, the critic tells them from data. A
cycle is k turns of the critic, each on a batch of its own, and one of the generator, all with fresh
latents:

.. math::

    \min_\phi\; \sum_i r(\ell_\phi(x_i)) + f(\ell_\phi(G(z_i))) + \Omega_i, \qquad
    \min_\theta\; \sum_i g(\ell_\phi(G_\theta(z_i))),

with the costs r, f, g of a :class:`ppl_gen.objectives.divergences.Divergence` and the cost
:math:`\Omega` of a regulariser (Goodfellow et al. 2014). Neither turn's gradient reaches the other
player, and the generator sees the critic as its last step, and what follows that, left it.
"""

from __future__ import annotations

import math
from typing import Any

import pyro
import torch
from pyro.distributions import Delta
from torch import Tensor, nn

from ppl_gen import critics
from ppl_gen._checks import is_positive, is_whole
from ppl_gen._modes import evaluating, is_readable, seeded
from ppl_gen._random import one_by_one, preserved
from ppl_gen.models.base import GenerativeModel, require_values
from ppl_gen.models.unrolling import Ahead
from ppl_gen.networks import Shape
from ppl_gen.objectives.divergences import Divergence
from ppl_gen.regularizers import Regularizer
from ppl_gen.schedules import Schedule

# Samples are drawn so many at a time, so that a sample does not depend on how many there are.
CHUNK = 64


class Game(GenerativeModel):
    """A generator and a critic that are trained against each other.

    Args:
        generator: a module from latents ``(B, Z)`` to data ``(B, *data_shape)``.
        critic: a module from data to logits ``(B, K)``, or ``(B // m, K)`` where it sees m at once;
            see :mod:`ppl_gen.critics`.
        prior: a module of :mod:`ppl_gen.priors`.
        data_shape: the shape of a datum.
        divergence: the costs of both players.
        regularizer: a further cost of the critic's turn, and what follows its steps.
        critic_steps: the critic's turns k in a cycle, which takes as many batches; what is left of
            an epoch makes a shorter cycle.
        pixels: whether the generator draws values in [0, 1], so that data must be there too.
        unroll: how many steps ahead of the critic the generator looks, see
            :mod:`ppl_gen.models.unrolling`.
        inner_lr: the learning rate of these steps, of the critic's mean cost.

    The generator's turn is as large as the last of the critic's. A step of :func:`ppl_gen.fit` and
    its history is a cycle, in which the metrics of the critic are means over its turns.

    Raises:
        ValueError: players that do not fit each other and the data, or fewer critic steps than one.

    >>> from ppl_gen.models.adversarial import Game
    >>> from ppl_gen import divergences, priors
    >>> game = Game(
    ...     torch.nn.Linear(2, 3),
    ...     torch.nn.Linear(3, 1),
    ...     priors.StandardNormal(2),
    ...     (3,),
    ...     divergences.hinge,
    ... )
    >>> list(game.players)
    ['generator', 'critic']
    >>> game.sample(5, seed=0).shape
    torch.Size([5, 3])
    >>> ppl_gen.fit(game, torch.zeros(6, 3), epochs=2, staged=False, progress=False).steps
    2
    """

    sites: tuple[str, ...] = ("x",)  # what the critic sees
    column_kinds = ("gaussian",)  # of the tables it can be given
    instead = (
        ", whose data have no density: likelihoods and bounds are infinite. Compare its samples, "
        "by ppl_gen.metrics.fid for example, or give its generator a width: "
        "ppl_gen.zoo.vae(data_shape, latent_dim, decoder=game.generator, likelihood='gaussian')"
    )

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        prior: nn.Module,
        data_shape: Shape,
        divergence: Divergence,
        regularizer: Regularizer | None = None,
        critic_steps: int = 1,
        pixels: bool = False,
        unroll: int = 0,
        inner_lr: float = 0.02,
    ):
        super().__init__(data_shape)
        if not is_whole(critic_steps, 1):
            raise ValueError(f"expected one critic step or more in a cycle, got {critic_steps!r}")
        self.generator, self.critic, self.prior = generator, critic, prior
        self.divergence, self.critic_steps, self.pixels = divergence, critic_steps, pixels
        self.regularizer = Regularizer() if regularizer is None else regularizer
        self.fit_defaults: dict[str, Any] = {}
        self.look_ahead(unroll, inner_lr)
        self._require_fit()

    def __repr__(self) -> str:
        name = (self.recipe and self.recipe.name) or type(self).__name__
        what = "images" if len(self.data_shape) == 3 else "data"
        penalty = type(self.regularizer).__name__
        return (
            f"<{name}: {what} {'×'.join(map(str, self.data_shape))}, "
            f"z ~ {type(self.prior).__name__}, {self.divergence.name} divergence, "
            f"{'' if penalty == 'Regularizer' else f'{penalty}, '}"
            f"{self.critic_steps} critic step{'s' * (self.critic_steps > 1)}, "
            f"{sum(p.numel() for p in self.parameters()):,} parameters>"
        )

    def look_ahead(self, steps: int, lr: float = 0.1) -> None:
        """Let the generator look so many steps ahead of the critic.

        Raises:
            ValueError: less than no step, a rate that is not above zero, or a regulariser that
                changes the critic's weights after its steps, which these steps would not.
        """
        if not is_whole(steps, 0):
            raise ValueError(f"expected no unrolled step or more, got {steps!r}")
        if not is_positive(lr):
            raise ValueError(f"expected an inner_lr above zero, got {lr!r}")
        if steps and type(self.regularizer).after is not Regularizer.after:
            raise ValueError(
                "expected a regularizer that leaves the weights alone after a step, so that steps "
                f"can be unrolled, got {type(self.regularizer).__name__}"
            )
        self.unroll, self.inner_lr = steps, float(lr)

    # --- Training -------------------------------------------------------------------------------

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by player, for :func:`ppl_gen.fit`."""
        return {
            "generator": list(self.generator.parameters()),
            "critic": list(self.critic.parameters()),
        }

    @property
    def batches_a_cycle(self) -> int:
        """How many batches a cycle takes, one for each turn of the critic."""
        return self.critic_steps

    @property
    def fewest(self) -> int:  # type: ignore[override]
        """The smallest batch that it can learn from, that of its critic."""
        return critics.fewest(self.critic)

    def schedule(self, *batches: tuple[Tensor, ...]) -> tuple[tuple[Any, ...], ...]:
        """The critic's turns and the generator's; labels are not looked at."""
        *_, last = batches
        return (
            *(("critic", self.criticize, (x,), self.after_critic) for x, *_ in batches),
            ("generator", self.generate, self.posed(last[0]), self.after_generator),
        )

    def after_critic(self) -> None:
        """What follows each of the critic's steps."""
        self.regularizer.after(self.critic)

    def after_generator(self) -> None:
        """What follows the generator's step: schedules, such as that of noise, move on."""
        for schedule in (each for each in self.modules() if isinstance(each, Schedule)):
            schedule.update({})

    def criticize(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's cost of data and as many fakes, and the means of its logits of both."""
        return self.contrast(x, self.draw(len(x)).detach())

    def contrast(self, x: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's cost of data and fakes."""
        critic, costs = self.critic, self.divergence
        real, fake = critic(x), critic(fakes)
        cost = critics.total(critic, costs.real(real), "critic")
        cost = cost + critics.total(critic, costs.fake(fake), "critic")
        for look, weight in critics.looks(critic):
            cost = cost + weight * self.regularizer(look, x, fakes).sum()
        cost = _plus(cost, critics.auxiliary(critic, x, "critic"))
        return cost, {"real": real.mean(), "fake": fake.mean()}

    def seen(self, x: Tensor, z: Tensor) -> Tensor:
        """What the critic sees of data and their latents: the data."""
        return x

    def posed(self, x: Tensor) -> tuple[Any, ...]:
        """What the generator's turn is given of the last data that the critic saw: their number."""
        return (x,) if self.unroll else (len(x),)

    def generate(self, data: Tensor | int) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's cost of so many fakes, or of as many as data that the critic saw last."""
        if isinstance(data, int):
            return self.deceive(self.draw(data)), {}
        fakes, ahead = self.draw(len(data)), Ahead(self)
        weights = ahead.weights(data, fakes, self.unroll, self.inner_lr)
        return ahead.call(weights, "deceive", fakes), {}

    def deceive(self, fakes: Tensor) -> Tensor:
        """The generator's cost of fakes."""
        costs = self.divergence.generator(self.critic(fakes))
        cost = critics.total(self.critic, costs, "generator")
        return _plus(cost, critics.auxiliary(self.critic, fakes, "generator"))

    def draw(self, size: int) -> Tensor:
        """So many fakes, to be differentiated in the generator's weights."""
        return self.generator(self.prior().expand((size,)).sample())

    def visit(self, x: Tensor, *_: Tensor) -> None:
        """Run the generator, whose statistics of batch normalisation are then known."""
        self.draw(len(x))

    @torch.no_grad()
    def evaluate(self, x: Tensor, *_: Tensor) -> dict[str, Tensor]:
        """The mean logit of held-out data; far below that of data, the critic knows these by heart.

        Shorter batches than the critic is shown at once are not for it.
        """
        with evaluating(self):
            return {"critic_real": self.critic(x).mean()}

    # --- Samples --------------------------------------------------------------------------------

    def model(self, size: int = 1) -> Tensor:
        """The generative program, ``z`` from the prior and then ``x``, which is a function of it.

        There is no density of x, so there is no guide, likelihood or bound to be had from it. With
        the generator as the decoder of a VAE whose likelihood has a width there are all three.
        """
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", self.prior())
            x = self.generator(z)
            return pyro.sample("x", Delta(x, event_dim=len(self.data_shape)))

    @torch.no_grad()
    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        """Fakes ``(n, *data_shape)``; under one seed, the first of many are those of few."""
        if not is_whole(n, 1):
            raise ValueError(f"expected at least one sample, got {n}")
        if y is not None:
            raise ValueError(f"expected no labels, which this model does not know, got {y!r}")
        with seeded(seed), evaluating(self):
            first = int(torch.randint(2**62, ()))
            padded = CHUNK * math.ceil(n / CHUNK)
            latents = self._latents(first, n, padded)
            return torch.cat([self.generator(z) for z in latents.split(CHUNK)])[:n]

    def _latents(self, first: int, n: int, padded: int) -> Tensor:
        """The latents of n samples, each drawn in a stream of its own, and zeros after them."""
        found = torch.stack(one_by_one(self.prior().sample, first, n))
        return torch.cat([found, found.new_zeros(padded - n, *found.shape[1:])])

    # --- What it is given -----------------------------------------------------------------------

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data the generator could have drawn."""
        super().check(x)
        like_fakes = "pixels in [0, 1], like those of the generator"
        require_values(x, like_fakes if self.pixels else None)

    @torch.no_grad()
    def prepare(self, x: Tensor, *_: Tensor) -> None:
        """Raise ``ValueError`` for a generator of images that leave the range of the data.

        Looked at are images in [0, 1] and in [-1, 1], which nothing else would keep there.
        """
        if len(self.data_shape) != 3 or "x" not in self.sites or not is_readable(x):
            return
        with evaluating(self), preserved():
            require_range(x, self.generator(self.prior().expand((CHUNK,)).sample()))

    @torch.no_grad()
    def _require_fit(self) -> None:
        """Raise ``ValueError`` unless generator and critic take what they are given."""
        with evaluating(self), preserved():
            z = self.prior().expand((CHUNK,)).sample()
            x = _tried("a generator", self.generator, z)
            if x.shape != (CHUNK, *self.data_shape):
                expected = (CHUNK, *self.data_shape)
                raise ValueError(
                    f"expected a generator from {tuple(z.shape)} to {expected}, got "
                    f"{tuple(x.shape)}"
                )
            seen = self.seen(x, z)
            critics.require(self.critic, seen)
            logits = _tried("a critic", self.critic, seen)
            if logits.dim() != 2 or not 1 <= len(logits) <= CHUNK:
                raise ValueError(
                    f"expected a critic from {tuple(seen.shape)} to logits (B, K), got "
                    f"{tuple(logits.shape)}"
                )


def require_range(x: Tensor, fakes: Tensor) -> None:
    """Raise ``ValueError`` for fakes that leave [0, 1] or [-1, 1], where data are there."""
    found, drawn = (tuple(bound.item() for bound in each.aminmax()) for each in (x, fakes))
    low, high = (0 if found[0] >= 0 else -1), 1
    inside = low <= found[0] <= found[1] <= high
    if inside and not low <= drawn[0] <= drawn[1] <= high:
        raise ValueError(
            f"expected a generator of images in [{low}, {high}], like the data, got "
            f"{drawn[0]:.3g} to {drawn[1]:.3g}: end it in {'a sigmoid' if low == 0 else 'tanh'}"
        )


def _plus(cost: Tensor, more: Tensor | None) -> Tensor:
    return cost if more is None else cost + more


def _tried(what: str, network: nn.Module, given: Tensor) -> Tensor:
    try:
        return network(given)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"expected {what} for inputs {tuple(given.shape)}, got {error}") from error
