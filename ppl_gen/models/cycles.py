r"""Two games that translate between two kinds of data of which no pairs are known.

The generator G turns x into fakes of y and F turns y into fakes of x; a critic of each kind tells
them from data. What has been there and back must be what it was (Zhu, Park, Isola and Efros 2017):

.. math::

    \min_{G, F}\; \sum_i g(\ell_Y(G(x_i))) + g(\ell_X(F(y_i)))
    + \lambda \big( \overline{|F(G(x_i)) - x_i|} + \overline{|G(F(y_i)) - y_i|} \big),

the mean absolute difference being that over pixels. Any map with its inverse has no cycle cost at
all, so it is the critics that say which map it is, and they look at one kind of data alone: where
another pairing of the two laws is as good, nothing tells them apart.
"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro.distributions import Distribution, Normal, Uniform
from torch import Tensor, nn

from ppl_gen._checks import is_finite
from ppl_gen._modes import evaluating, is_readable
from ppl_gen._random import preserved
from ppl_gen.models.adversarial import CHUNK, Game, require_range
from ppl_gen.models.base import GenerativeModel
from ppl_gen.networks import Shape

SIDES = ("x", "y")


class Given(nn.Module):
    """The law of data that a generator is given, of which no more is known than their range.

    Args:
        data_shape: the shape of a datum.
        pixels: whether they are in [0, 1], uniform then; otherwise standard normal.

    >>> from ppl_gen.models.cycles import Given
    >>> Given((1, 2, 2), pixels=True)().event_shape
    torch.Size([1, 2, 2])
    """

    def __init__(self, data_shape: Shape, pixels: bool):
        super().__init__()
        self.pixels = pixels
        self.zeros: Tensor
        self.register_buffer("zeros", torch.zeros(data_shape), persistent=False)

    def forward(self) -> Distribution:
        law = (Uniform if self.pixels else Normal)(self.zeros, self.zeros + 1)
        return law.to_event(self.zeros.dim())


class Cycle(GenerativeModel):
    r"""Generators both ways between two kinds of data of one shape, and a critic of each.

    The players are ``generators`` and ``critics``, each with one optimiser. In every batch the
    generators take their step first, as in the authors' code, and the critics see what they have
    become; there is no pool of earlier fakes.

    Args:
        there: the game whose generator maps x to y, and whose critic judges y.
        back: the game from y to x.
        cycle_weight: λ, of the mean absolute difference over pixels.
        identity_weight: of the mean absolute differences of G(y) from y and F(x) from x, in units
            of λ: colours then stay as they are; the authors take 0.5 for paintings.

    Raises:
        ValueError: games of different shapes, or weights below zero.

    >>> from ppl_gen.models.cycles import Cycle
    >>> cycle = ppl_gen.zoo.cycle_gan((2,), hidden=8)
    >>> list(cycle.players)
    ['generators', 'critics']
    >>> x, y = torch.randn(20, 2), torch.randn(30, 2) + 3
    >>> data = ppl_gen.data.Unpaired(x, y)
    >>> history = ppl_gen.fit(cycle, data, epochs=1, staged=False, progress=False)
    >>> sorted(history)
    ['critics_fake', 'critics_loss', 'critics_real', 'generators_cycle', 'generators_loss']
    >>> cycle.translate(x, to="y").shape
    torch.Size([20, 2])
    """

    streams = 2
    column_kinds = ("gaussian",)  # of the tables it can be given
    instead = (
        ", which maps data and has no density of them: compare what it translates with data of the "
        "other kind, ppl_gen.metrics.fid(y, cycle.translate(x, to='y')) for example"
    )

    def __init__(
        self, there: Game, back: Game, cycle_weight: float = 10.0, identity_weight: float = 0.0
    ):
        super().__init__(there.data_shape)
        if back.data_shape != there.data_shape:
            shapes = f"{there.data_shape} and {back.data_shape}"
            raise ValueError(f"expected games of one data shape, got {shapes}")
        for name, weight in (("cycle", cycle_weight), ("identity", identity_weight)):
            if not is_finite(weight) or weight < 0:
                raise ValueError(f"expected a weight of zero or more for {name}, got {weight!r}")
        self.there, self.back = there, back
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.fit_defaults: dict[str, Any] = {}

    def __repr__(self) -> str:
        name = (self.recipe and self.recipe.name) or type(self).__name__
        size = sum(p.numel() for p in self.parameters())
        shape = "×".join(map(str, self.data_shape))
        costs = f"{self.there.divergence.name} divergence, cycle weight {self.cycle_weight:g}"
        return f"<{name}: x ⇄ y, each {shape}, {costs}, {size:,} parameters>"

    # --- Training -------------------------------------------------------------------------------

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by player, for :func:`ppl_gen.fit`."""
        games = self.there, self.back
        return {
            "generators": [p for game in games for p in game.generator.parameters()],
            "critics": [p for game in games for p in game.critic.parameters()],
        }

    @property
    def fewest(self) -> int:  # type: ignore[override]
        """The smallest batch that it can learn from, that of its critics."""
        return max(self.there.fewest, self.back.fewest)

    @torch.no_grad()
    def prepare(self, *batch: Tensor) -> None:
        """Check a first batch, and that generators of images stay in the range of the other kind.

        See :meth:`ppl_gen.models.adversarial.Game.prepare`.
        """
        if len(batch) < 2:
            raise ValueError(
                "expected two sets of data, such as ppl_gen.data.Unpaired(x, y), got one"
            )
        x, y = batch[:2]
        for data in (x, y):
            self.check(data)
        if len(self.data_shape) != 3 or not is_readable(x):
            return
        with evaluating(self), preserved():
            require_range(y, self.there.generator(x[:CHUNK]))
            require_range(x, self.back.generator(y[:CHUNK]))

    def schedule(self, batch: tuple[Tensor, ...]) -> tuple[tuple[Any, ...], ...]:
        """The generators' turn and then the critics'; labels are not looked at."""
        x, y = batch[:2]
        return (
            ("generators", self.generate, (x, y)),
            ("critics", self.criticize, (x, y), self.after_critics),
        )

    def after_critics(self) -> None:
        """What follows the critics' step: regularisers, and schedules, which move on."""
        for game in (self.there, self.back):
            game.after_critic()
            game.after_generator()

    def generate(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generators' cost of both fakes and both ways there and back."""
        fake_y, fake_x = self.there.generator(x), self.back.generator(y)
        cost = self.there.deceive(fake_y) + self.back.deceive(fake_x)
        cycle = _apart(self.back.generator(fake_y), x) + _apart(self.there.generator(fake_x), y)
        cost = cost + self.cycle_weight * cycle
        if self.identity_weight:
            same = _apart(self.there.generator(y), y) + _apart(self.back.generator(x), x)
            cost = cost + self.cycle_weight * self.identity_weight * same
        return cost, {"cycle": cycle / (2 * len(x))}

    def criticize(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Half the critics' costs of data and fakes, and the means of their logits of both."""
        with torch.no_grad():
            fake_y, fake_x = self.there.generator(x), self.back.generator(y)
        of_y, seen = self.there.contrast(y, fake_y)
        of_x, also = self.back.contrast(x, fake_x)
        return (of_y + of_x) / 2, {name: (seen[name] + also[name]) / 2 for name in seen}

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor, *rest: Tensor) -> dict[str, Tensor]:
        """The mean absolute difference after a cycle, and the critics' mean logits of data."""
        with evaluating(self):
            _, found = self.generate(x, y)
            real = {"critic_x": self.back.critic(x).mean(), "critic_y": self.there.critic(y).mean()}
        return found | real

    # --- Translations ---------------------------------------------------------------------------

    @torch.no_grad()
    def translate(self, x: Tensor, to: str = "y") -> Tensor:
        """Data of one kind as the other, ``(B, *data_shape)``.

        Args:
            x: data of the kind that is not ``to``.
            to: ``"y"`` or ``"x"``.

        Raises:
            ValueError: another kind, or data that do not fit.
        """
        if to not in SIDES:
            raise ValueError(f"expected to be 'x' or 'y', got {to!r}")
        self.check(x)
        game = self.there if to == "y" else self.back
        with evaluating(self):
            return torch.cat([game.generator(part) for part in x.split(CHUNK)])

    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        """Refused: there is no law of x or y to draw from, only maps between them."""
        raise ValueError(
            "expected data to translate, got a number of samples: a cycle maps data to data, "
            "translate(x, to='y')"
        )

    def model(self, size: int = 1, x: Tensor | None = None) -> Tensor:
        """The program of a cycle: x, ``y`` as a function of it, and ``x_back`` as one of that.

        Args:
            size: how many; not looked at where x is given.
            x: the data ``(B, *data_shape)``. Without them they are drawn from :class:`Given`,
                which stands for the law of data.
        """
        dims = len(self.data_shape)
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            start = pyro.sample("x", self.there.prior(), obs=x)
            y = pyro.deterministic("y", self.there.generator(start), event_dim=dims)
            return pyro.deterministic("x_back", self.back.generator(y), event_dim=dims)

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data of either kind."""
        self.there.check(x)


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """The mean absolute difference of data, summed over the batch."""
    return (x - y).abs().flatten(1).mean(1).sum()
