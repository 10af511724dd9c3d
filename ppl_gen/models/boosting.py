r"""Mixtures of generators, each trained on what those before it do not cover.

With :math:`P_g` the mixture so far, a new component of weight β should be

.. math::

    Q^* = \frac{1}{\beta} \big( \lambda P_d - (1 - \beta) P_g \big)_+ ,

which makes every f-divergence of the new mixture from the data smallest at once (Tolstikhin et al.
2017, AdaGAN, theorem 1). Data :math:`x_i` then have the weights

.. math::

    w_i = \frac{p_i}{\beta} \big( \lambda - (1 - \beta) h_i \big)_+, \qquad
    h_i = \frac{dP_g}{dP_d}(x_i) = e^{-\ell(x_i)},

with the logits ℓ of a fresh classifier of data against samples of the mixture. The smallest weight
with which one component makes the mixture the data is :math:`1 - \inf dP_d / dP_g`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import pyro
import torch
from pyro.distributions import Categorical, Delta
from torch import Tensor, nn
from torch.nn.functional import softplus

from ppl_gen._checks import is_finite, is_whole
from ppl_gen._modes import evaluating, seeded
from ppl_gen.data.streams import Unpaired
from ppl_gen.models.adversarial import Game
from ppl_gen.models.base import GenerativeModel

# How the classifier of data against samples is trained.
STEPS, BATCH = 400, 256

Fit: TypeAlias = Callable[..., Any]  # ppl_gen.fit, which knows models, not they it


def boosting_weights(
    ratios: Tensor, beta: float, shares: Tensor | None = None
) -> tuple[Tensor, float]:
    r"""The weights of data for a component that joins a mixture with the weight β, and λ.

    The k smallest ratios have weights above zero, where :math:`\lambda = \frac{\beta}{\sum_{i \le
    k} p_i} \big( 1 + \frac{1 - \beta}{\beta} \sum_{i \le k} p_i h_i \big)` lies between
    :math:`(1 - \beta) h_k` and :math:`(1 - \beta) h_{k+1}`.

    Args:
        ratios: ``(N,)``, :math:`h_i`, zero or more; infinite where there are no data.
        beta: β, above 0 and at most 1.
        shares: ``(N,)``, :math:`p_i`, of the data; 1/N each by default.

    Returns:
        The weights ``(N,)``, float64, which sum to one, and λ.

    Raises:
        ValueError: ratios that are no numbers or all infinite, shares that are none, or a β outside
            (0, 1]: no λ makes weights of these.

    >>> from ppl_gen.models.boosting import boosting_weights
    >>> boosting_weights(torch.tensor([0.0, 2.0]), beta=0.5)
    (tensor([1., 0.], dtype=torch.float64), 1.0)
    """
    h = torch.as_tensor(ratios).detach().double()
    p = torch.full_like(h, 1 / max(1, len(h))) if shares is None else shares.double()
    if h.dim() != 1 or not len(h) or p.shape != h.shape:
        shapes = f"{tuple(h.shape)} and {tuple(p.shape)}"
        raise ValueError(f"expected ratios and shares of shape (N,), got {shapes}")
    if not is_finite(beta) or not 0 < beta <= 1:
        raise ValueError(f"expected a weight in (0, 1] for the new component, got {beta!r}")
    if h.isnan().any() or (h < 0).any() or h.isinf().all():
        raise ValueError(
            "expected ratios of densities, zero or more and some finite, to find λ for, got "
            f"{h.min():g} to {h.max():g}: the classifier of data and samples has failed"
        )
    if not (p.isfinite().all() and (p > 0).all() and math.isclose(p.sum().item(), 1, abs_tol=1e-6)):
        raise ValueError(f"expected shares above zero that sum to one, got a sum of {p.sum():g}")
    covered = torch.zeros_like(h) if beta == 1 else (1 - beta) * h  # also where h is infinite
    order = covered.argsort()
    order = order[covered[order].isfinite()]
    mass, moment = p[order].cumsum(0), (p * covered)[order].cumsum(0)
    multipliers = (beta + moment) / mass
    above = covered[order] <= multipliers  # up to some k, and not after it
    multiplier = multipliers[int(above.sum()) - 1]
    weights = p / beta * (multiplier - covered).clamp(min=0)
    if not math.isclose(total := weights.sum().item(), 1, abs_tol=1e-6):
        raise ValueError(f"expected weights that sum to one, got {total:g} with λ = {multiplier:g}")
    return weights, multiplier.item()


class DensityRatio(nn.Module):
    r"""A classifier of data against samples, whose logits are :math:`\log p_d / p_g` in the end.

    Args:
        network: a module from data to logits ``(B, 1)``.

    >>> from ppl_gen.models.boosting import DensityRatio
    >>> ratio = DensityRatio(torch.nn.Linear(2, 1))
    >>> both = ppl_gen.data.Unpaired(torch.zeros(8, 2), torch.ones(8, 2))
    >>> ppl_gen.fit(ratio, both, epochs=3, staged=False, progress=False).steps
    3
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.fit_defaults = network, {"lr": 3e-3}

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """One, the classifier."""
        return {"classifier": list(self.parameters())}

    def loss(self, x: Tensor, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross entropy of data and samples, and the share that is told apart."""
        real, fake = self.network(x), self.network(samples)
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return softplus(-real).sum() + softplus(fake).sum(), {"accuracy": accuracy}


class Mixture(GenerativeModel):
    """A mixture of games of one shape and prior, which :func:`ppl_gen.fit` trains one by one.

    ``fit`` runs the rounds: each trains the next component for ``epochs`` epochs, on data that are
    drawn by their weights, and adds it with the weight 1/t in round t. Callbacks, validations and
    ``metrics`` are those of the component under way. See :mod:`ppl_gen.training.rounds`.

    Args:
        components: the games; their number is that of the rounds.
        classifier: makes a network from data to logits ``(B, 1)``, afresh for every round.
        ratio_steps: how many steps it is trained for.

    Attributes:
        shares: ``(T,)``, the weights of the components; zero for those to come.

    Raises:
        ValueError: no components, or ones of different shapes; fewer steps than one.

    >>> adagan = ppl_gen.zoo.adagan((2,), 4, rounds=2, hidden=8)
    >>> history = ppl_gen.fit(adagan, torch.randn(64, 2), epochs=1, staged=False, progress=False)
    >>> adagan.shares, history["round"]
    (tensor([0.5000, 0.5000]), [1.0, 2.0])
    >>> adagan.sample(5, seed=0).shape
    torch.Size([5, 2])
    """

    column_kinds = ("gaussian",)  # of the tables it can be given
    instead = (
        ", a mixture of games, whose data have no density: likelihoods and bounds are infinite. "
        "Compare its samples, by ppl_gen.metrics.fid for example"
    )

    def __init__(
        self,
        components: list[Game],
        classifier: Callable[[], nn.Module],
        ratio_steps: int = STEPS,
    ):
        if not components:
            raise ValueError("expected one component or more, got none")
        super().__init__(components[0].data_shape)
        if shapes := {c.data_shape for c in components} - {self.data_shape}:
            raise ValueError(f"expected components of one data shape, got also {shapes.pop()}")
        if not is_whole(ratio_steps, 1):
            raise ValueError(f"expected one step or more of the classifier, got {ratio_steps!r}")
        self.components, self.ratio_steps = nn.ModuleList(components), ratio_steps
        self.classifier = classifier
        self.shares: Tensor
        self.register_buffer("shares", torch.zeros(len(components)))

    def __repr__(self) -> str:
        name = (self.recipe and self.recipe.name) or type(self).__name__
        size = sum(p.numel() for p in self.parameters())
        trained = f"{self.rounds} of {len(self.components)} components trained"
        return f"<{name}: {trained}, each {self._games()[0]!r}, {size:,} parameters>"

    @property
    def rounds(self) -> int:
        """How many components have been trained."""
        return int((self.shares > 0).sum())

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """The parameters, for what saves them; each round has players of its own."""
        return {"components": list(self.parameters())}

    def schedule(self, *batches: tuple[Tensor, ...]) -> Any:
        """Refused: the components have turns, in the rounds of :func:`ppl_gen.fit`."""
        raise ValueError("expected ppl_gen.fit to train a mixture in rounds, got a batch for it")

    # --- Rounds ---------------------------------------------------------------------------------

    def add(self) -> None:
        """Give the next component its share, 1/t in round t."""
        index = self.rounds
        share = 1 / (index + 1)
        self.shares[:index] *= 1 - share
        self.shares[index] = share

    def weights(self, fit: Fit, x: Tensor, seed: int) -> tuple[Tensor, float]:
        """The weights of data for the next component, uniform for the first, and λ."""
        count = self.rounds
        if not count:
            return torch.full((len(x),), 1 / len(x), dtype=torch.float64), 1.0
        return boosting_weights(self.ratios(fit, x, seed), 1 / (count + 1))

    def ratios(self, fit: Fit, x: Tensor, seed: int) -> Tensor:
        """The density of the mixture over that of the data, at data, by a fresh classifier."""
        samples = self.sample(len(x), seed=seed)
        with seeded(seed):
            ratio = DensityRatio(self.classifier()).to(samples)
        epochs = math.ceil(self.ratio_steps / math.ceil(len(x) / BATCH))
        fit(ratio, Unpaired(x, samples), epochs=epochs, batch_size=BATCH, seed=seed)
        with torch.no_grad(), evaluating(ratio):
            logits = torch.cat([ratio.network(part) for part in x.split(1024)])
        return (-logits.double()).exp().flatten()

    # --- Samples --------------------------------------------------------------------------------

    def model(self, size: int = 1) -> Tensor:
        """The generative program: ``component``, ``z`` from the prior, and ``x`` of both."""
        games = self._games()[: max(1, self.rounds)]
        with pyro.plate("data", size, dim=-1):
            shares = self.shares[: len(games)] if self.rounds else torch.ones(1)
            chosen = pyro.sample("component", Categorical(shares))
            z = pyro.sample("z", games[0].prior())
            drawn = torch.stack([game.generator(z) for game in games])
            x = drawn[chosen, torch.arange(size)]
            return pyro.sample("x", Delta(x, event_dim=len(self.data_shape)))

    @torch.no_grad()
    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        """Draws ``(n, *data_shape)``; before any training, of the first component."""
        if not is_whole(n, 1):
            raise ValueError(f"expected at least one sample, got {n}")
        if y is not None:
            raise ValueError(f"expected no labels, which this model does not know, got {y!r}")
        with seeded(seed):
            first = int(torch.randint(2**31, ()))
            shares = self.shares if self.rounds else (torch.arange(len(self.shares)) == 0).float()
            places = torch.rand(n, dtype=torch.float64)
        ends = shares.double().cumsum(0)
        chosen = torch.searchsorted(ends, places * ends[-1], right=True)
        result = torch.empty(n, *self.data_shape, dtype=next(self.parameters()).dtype)
        for index in chosen.unique().tolist():
            rows, game = (chosen == index).nonzero()[:, 0], self._games()[index]
            result[rows] = game.sample(len(rows), seed=first + index)
        return result

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data the components can be given."""
        self._games()[0].check(x)

    def _games(self) -> list[Game]:
        return cast(list[Game], list(self.components))
