r"""Losses of a diffusion, and the bound on the evidence that they estimate.

With times :math:`1, \dots, T` of a schedule and :math:`x_t = \alpha_t x_0 + \sigma_t \epsilon`,

.. math::

    -\log p(x_0) \le \mathrm{KL}(q(x_T \mid x_0) \,\Vert\, p(x_T)) + \sum_{t=1}^T E\, \ell_t, \qquad
    \ell_1 = -\log p(x_0 \mid x_1), \quad
    \ell_t = \mathrm{KL}(q(x_s \mid x_t, x_0) \,\Vert\, p(x_s \mid x_t))

(Ho et al. 2020). A time drawn with probability :math:`\pi_t` makes :math:`\ell_t / \pi_t` an
unbiased estimate of the sum, for each datum from one call of the network. Training may weigh the
same squared error :math:`\lVert x_0 - \hat x_0 \rVert^2` otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
import torch.distributions as dist
from torch import Tensor, nn

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_finite, is_whole
from ppl_gen.denoisers import (
    DenoiserBase,
    Prediction,
    bound_weight,
    min_snr_weight,
    prediction_weight,
    reverse_variance,
)
from ppl_gen.denoisers.variances import require_variance
from ppl_gen.distributions.grey_levels import GreyNormal
from ppl_gen.noise import (
    EvenTimes,
    Level,
    Noise,
    TimeLaw,
    Trailing,
    posterior,
    stratified,
    transition,
    uniform,
)
from ppl_gen.noise.grids import Grid, require_grid, require_levels
from ppl_gen.noise.kinds import require_schedule

Weight: TypeAlias = Callable[[Level, Level], Tensor]

WEIGHTS: dict[str, Weight] = {
    "simple": lambda s, t: prediction_weight(t, "noise"),
    "data": lambda s, t: prediction_weight(t, "data"),
    "velocity": lambda s, t: prediction_weight(t, "velocity"),
    "min_snr": lambda s, t: min_snr_weight(t),
}


class Denoised(NamedTuple):
    """What a batch cost.

    Attributes:
        loss: what training minimises, ``(B,)``.
        bound: an estimate of the negative evidence bound in nats, ``(B,)``.
        error: the squared error of what the network predicts, a mean over the values, ``(B,)``.

    >>> ppl_gen.objectives.denoising.Denoised(torch.ones(2), torch.ones(2), torch.ones(2))._fields
    ('loss', 'bound', 'error')
    """

    loss: Tensor
    bound: Tensor
    error: Tensor


class Denoising(nn.Module):
    r"""Losses of a denoiser by the weight on its squared error, over ``T`` times.

    ==================  ========================================================================
    weighting           loss of a datum
    ==================  ========================================================================
    ``simple``          the squared error of the noise (Ho et al. 2020)
    ``data``            that of the data
    ``velocity``        that of the velocity (Salimans and Ho 2022)
    ``min_snr``         that of the data times :math:`\min(\mathrm{SNR}, 5)` (Hang et al. 2023)
    ``bound``           :math:`\ell_t / \pi_t`
    ``hybrid``          simple, plus .001 of the bound, through which only the variances learn
                        (Nichol and Dhariwal 2021)
    a function          of the levels s and t, the weight on :math:`\lVert x_0 - \hat x_0 \rVert^2`
    ==================  ========================================================================

    Args:
        noise: the schedule.
        steps: ``T``.
        weighting: one of these.
        times: how often each time is visited, :class:`ppl_gen.noise.EvenTimes` by default.
        variance: of the steps back, see :func:`ppl_gen.denoisers.reverse_variance`.
        levels: the number of grey levels of pixels between -1 and 1, whose probabilities
            :math:`p(x_0 \mid x_1)` then has; without, its density is that of a Gaussian.
        grid: the times, evenly spaced by default.

    Raises:
        ValueError: another weighting or variance, weights that are negative or not finite, fewer
            steps than one, fewer levels than two, noise that does not rise.

    >>> noise = ppl_gen.noise.Linear()
    >>> data = ppl_gen.denoisers.Gaussian(noise, torch.zeros(2), 1.0)
    >>> objective = ppl_gen.objectives.denoising.Denoising(noise, 100, variance="large")
    >>> found = objective(data, torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)))
    >>> entropy = 1 + torch.log(torch.tensor(2 * torch.pi))
    >>> bool((found.bound.mean() - entropy).abs() < 0.5)
    True
    """

    def __init__(
        self,
        noise: Noise,
        steps: int = 1000,
        *,
        weighting: str | Weight = "simple",
        times: TimeLaw | None = None,
        variance: str = "small",
        levels: int | None = None,
        grid: Grid = uniform,
    ):
        super().__init__()
        if weighting not in (*WEIGHTS, "bound", "hybrid") and not callable(weighting):
            names = ", ".join((*WEIGHTS, "bound", "hybrid"))
            raise ValueError(f"expected a function or a weighting among {names}, got {weighting!r}")
        if levels is not None and not is_whole(levels, 2):
            raise ValueError(f"expected at least two grey levels or None, got {levels!r}")
        self.weighting, self.levels, self.steps = weighting, levels, steps
        self.variance = require_variance(variance)
        self.table = require_levels(require_grid(grid)(require_schedule(noise), steps))
        if not isinstance(weighting, str):
            _require_weights(weighting(self.table[:-1], self.table[1:]), steps)
        last = self.table[-1]
        spread = noise.prior_scale(last).item()
        self._prior = (last.sigma.item() / spread) ** 2, last.alpha.item() / spread
        self.times = EvenTimes() if times is None else _require_times(times)
        law = self.times(self.table)
        _require_law(law, steps)
        seen = type(self.times).observe is not TimeLaw.observe
        varying = seen or any(True for _ in chain(self.times.buffers(), self.times.parameters()))
        self._share_of_first = 1.0 if varying else law[0].item()

    def forward(self, denoiser: DenoiserBase, x: Tensor, y: Any = None) -> Denoised:
        """The costs of data ``(B, *data_shape)`` at times drawn for them."""
        table = self._table(x.device)
        t, mass = stratified(self.times(table), len(x))
        return self._costs(denoiser, x, y, t, torch.randn_like(x), mass, self._share_of_first)

    def at(
        self, denoiser: DenoiserBase, x: Tensor, y: Any, t: Tensor, noise: Tensor, mass: Tensor
    ) -> Denoised:
        r"""The costs at given times and with given noise.

        Args:
            denoiser: what is trained.
            x: data ``(B, *data_shape)``.
            y: conditions, as the denoiser takes them.
            t: indices of times ``(B,)``, from 1 to ``T``.
            noise: :math:`\epsilon`, of the shape of ``x``.
            mass: the probability with which each of the times was drawn.
        """
        return self._costs(denoiser, x, y, t, noise, mass, 1.0)

    def _costs(
        self,
        denoiser: DenoiserBase,
        x: Tensor,
        y: Any,
        t: Tensor,
        noise: Tensor,
        mass: Tensor,
        share_of_first: float,
    ) -> Denoised:
        """The costs, where time 1 is at most ``share_of_first`` of the times, rounded up."""
        found = self.predict(denoiser, x, y, t, noise)
        squared = (_target(found, x, noise) - found.value).square().flatten(1)
        loss, raw = self._loss(found, x, squared, t, mass, share_of_first)
        with torch.no_grad():
            bound = self._bound(_fixed(found), x, squared.detach(), t, mass, share_of_first)
        if self.training:
            self.times.observe(t, (bound * mass.to(x) if raw is None else raw).detach())
        return Denoised(loss, bound + self.prior_term(x), squared.detach().mean(1))

    def predict(
        self, denoiser: DenoiserBase, x: Tensor, y: Any, t: Tensor, noise: Tensor
    ) -> Prediction:
        """What a denoiser says of data with noise at some times."""
        level = self._table(x.device)[t]
        at = level.like(x)
        return denoiser(at.alpha * x + at.sigma * noise, level.u, y)

    def _loss(
        self,
        found: Prediction,
        x: Tensor,
        squared: Tensor,
        t: Tensor,
        mass: Tensor,
        share_of_first: float,
    ) -> tuple[Tensor, Tensor | None]:
        """Losses ``(B,)``, and what they are before they are divided by probabilities."""
        if self.weighting == "bound":
            return self._bound(found, x, squared, t, mass, share_of_first), None
        table = self._table(x.device)
        named = "simple" if self.weighting == "hybrid" else self.weighting
        weight = WEIGHTS[named] if isinstance(named, str) else named
        share = weight(table[t - 1], table[t]) / prediction_weight(table[t], found.kind)
        raw = share.to(x) * squared.sum(1)
        loss = raw / (self.steps * mass).to(x) if self.times.corrected else raw
        if self.weighting == "hybrid":
            learning = replace(found, value=found.value.detach())
            bound = self._bound(learning, x, squared.detach(), t, mass, share_of_first)
            loss = loss + 1e-3 * bound
        return loss, raw

    def respaced(self, steps: int, noise: Noise) -> Denoising:
        """The same over some of the times alone, visited evenly.

        Raises:
            ValueError: more steps than there are.
        """
        if steps == self.steps:
            return self
        how: dict[str, Any] = {"weighting": self.weighting, "variance": self.variance}
        kept = Trailing(self.steps).indices(steps)
        grid = _Given(self.table[kept])
        return Denoising(noise, steps, levels=self.levels, grid=grid, **how).train(self.training)

    # --- The bound --------------------------------------------------------------------------------

    def _bound(
        self,
        found: Prediction,
        x: Tensor,
        squared: Tensor,
        t: Tensor,
        mass: Tensor,
        share_of_first: float,
    ) -> Tensor:
        r""":math:`\ell_t / \pi_t`."""
        return self._term(found, x, squared, t, share_of_first) / mass.to(x)

    def term(self, found: Prediction, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        r""":math:`\ell_t`, ``(B,)``, of a prediction by :meth:`predict`."""
        squared = (_target(found, x, noise) - found.value).square().flatten(1)
        return self._term(found, x, squared, t, 1.0)

    def _term(
        self, found: Prediction, x: Tensor, squared: Tensor, t: Tensor, share_of_first: float
    ) -> Tensor:
        rows = min(len(x), math.ceil(len(x) * share_of_first) + 1)
        first = t.topk(rows, largest=False).indices
        clean = torch.zeros_like(squared[:, 0])
        clean = clean.index_copy(0, first, self._clean_term(_rows(found, first), x[first]))
        return torch.where(t == 1, clean, self._divergence(found, squared, t))

    def _divergence(self, found: Prediction, squared: Tensor, t: Tensor) -> Tensor:
        """KL of the posterior from the step back; anything where that is to clean data."""
        if self.steps == 1:
            return torch.zeros_like(squared[:, 0])
        table, t = self._table(squared.device), t.clamp(min=2)
        s, level = (_shaped(table[index], found.value) for index in (t - 1, t))
        own = prediction_weight(_shaped(found.level, found.value), found.kind)
        if self.variance == "small":
            weight = bound_weight(s, level) / own
            return weight.flatten().to(squared) * squared.sum(1)
        q = posterior(s, level)
        variance = reverse_variance(self.variance, found, s, level).flatten(1)
        ratio = (q.variance.flatten(1) / variance).to(squared)
        share = ((q.on_data**2 / own).flatten(1) / variance).to(squared)
        return (ratio - 1 - ratio.log() + share * squared).sum(1) / 2

    def _clean_term(self, found: Prediction, x: Tensor) -> Tensor:
        likelihood = self.clean(*self.clean_parameters(found))
        return -likelihood.log_prob(self.to_data(x)).flatten(1).sum(1)

    def clean_parameters(self, found: Prediction) -> tuple[Tensor, Tensor]:
        r"""Mean and scale of :math:`p(x_0 \mid x_1)`, of a prediction at time 1.

        The scale is that of the transition for ``small`` variances too, whose own is 0 there;
        learned ones lie between it and the small one of time 2.
        """
        table = self._table(found.value.device)
        after = min(2, self.steps)
        second = posterior(table[after - 1], table[after]).variance
        smallest = second if after == 2 else transition(table[0], table[1]).variance
        kind = "large" if self.variance == "small" else self.variance
        variance = reverse_variance(kind, found, table[0], table[1], smallest=smallest)
        return found.data, variance.sqrt().to(found.value)

    def clean(self, mean: Tensor, scale: Tensor) -> dist.Distribution:
        r""":math:`p(x_0 \mid x_1)` of data in their own units, value by value."""
        if self.levels is None:
            return dist.Normal(mean, scale, validate_args=False)
        return GreyNormal((mean + 1) / 2, scale / 2, self.levels, validate_args=False)

    def to_data(self, x: Tensor) -> Tensor:
        """Diffused values in the units of the data: pixels lie in [0, 1] there."""
        return x if self.levels is None else (x + 1) / 2

    def from_data(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`to_data`."""
        return x if self.levels is None else 2 * x - 1

    def prior_term(self, x: Tensor) -> Tensor:
        """KL of the noisiest data from what samplers start with, ``(B,)``."""
        ratio, gain = self._prior
        mean = gain * x.flatten(1)
        return (ratio - 1 - math.log(ratio) + mean.square()).sum(1) / 2

    def _table(self, device: torch.device) -> Level:
        parts = self.table.u, self.table.alpha, self.table.sigma
        return Level(*(part.to(device) for part in parts))

    def extra_repr(self) -> str:
        return f"steps={self.steps}, weighting={self.weighting!r}, variance={self.variance!r}"


class _Given:
    """A grid that is there."""

    def __init__(self, table: Level):
        self.table = table

    def __call__(self, noise: Noise, n: int) -> Level:
        return self.table


def _require_times(times: Any) -> TimeLaw:
    if not isinstance(times, TimeLaw):
        raise ValueError(f"expected a law of times of ppl_gen.noise, got {times!r}")
    return times


def _require_weights(weights: Any, steps: int) -> None:
    """Raise ``ValueError`` unless a function gave weights of all times."""
    if not isinstance(weights, Tensor) and not is_finite(weights):
        raise ValueError(f"expected weights of {steps} times, got {weights!r}")
    found = torch.as_tensor(weights)
    if tuple(found.shape) not in ((), (steps,)):
        raise ValueError(f"expected weights of {steps} times, got shape {tuple(found.shape)}")
    if not bool(((found >= 0) & found.isfinite()).all()):
        raise ValueError(f"expected finite weights of 0 or more, got {found.tolist()}")


def _target(found: Prediction, x: Tensor, noise: Tensor) -> Tensor:
    """What a prediction should have been."""
    if found.kind == "data":
        return x
    if found.kind == "noise":
        return noise
    level = found.level.like(x)
    if found.kind == "score":
        return -noise / level.sigma
    return (level.alpha * noise - level.sigma * x) / level.scale


def _shaped(level: Level, x: Tensor) -> Level:
    """Levels of every datum of ``x``, shaped to be multiplied with it, in float64."""
    shape = (-1, *[1] * (x.dim() - 1))
    return Level(*(part.reshape(shape) for part in (level.u, level.alpha, level.sigma)))


def _rows(found: Prediction, rows: Tensor) -> Prediction:
    """Some rows of a prediction."""
    parts: dict[str, Any] = {
        "value": found.value[rows],
        "x": found.x[rows],
        "level": found.level[rows],
    }
    for name in ("fraction", "error"):
        part = getattr(found, name)
        parts[name] = part if part is None or part.dim() < 2 else part[rows]
    return replace(found, **parts)


def _fixed(found: Prediction) -> Prediction:
    fraction = None if found.fraction is None else found.fraction.detach()
    return replace(found, value=found.value.detach(), fraction=fraction)


def _require_law(law: Tensor, steps: int) -> None:
    if law.shape != (steps,) or not bool(((law >= 0) & law.isfinite()).all()):
        raise ValueError(f"expected probabilities of {steps} times, got {law}")
    if abs(law.sum().item() - 1) > 1e-6 or (law == 0).any():
        raise ValueError("expected times with probabilities above 0 that sum to 1, got others")


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
