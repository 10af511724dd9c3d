r"""Diffusion models: data that noise destroys in steps, and a denoiser that takes them back.

.. math::

    q(x_t \mid x_0) = \mathcal N(\alpha_t x_0, \sigma_t^2 I), \qquad
    p(x_0) = \int p(x_T) \prod_{t=1}^T p(x_{t-1} \mid x_t)\, dx_{1:T}

(Sohl-Dickstein et al. 2015; Ho et al. 2020). Schedule, number of steps, what the network predicts
and the variances of the steps back belong to the model and to its file. A sampler chooses the times
it visits, its noise and the guidance, nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_finite, is_whole
from ppl_gen._modes import evaluating
from ppl_gen._random import preserved
from ppl_gen.denoisers import Clipped, DenoiserBase, Guided, Staged
from ppl_gen.denoisers.variances import require_known
from ppl_gen.models.base import require_values
from ppl_gen.models.chain import Chain
from ppl_gen.models.conditions import Captions
from ppl_gen.models.from_noise import FromNoise
from ppl_gen.networks import Shape
from ppl_gen.noise import TimeLaw, Trailing, uniform
from ppl_gen.objectives.denoising import Denoising, Weight
from ppl_gen.samplers import Sampler, by_name, log_likelihood
from ppl_gen.samplers.streams import Seed, Streams, keys_of


class Diffusion(FromNoise):
    r"""A denoiser with the chain of steps it was made for.

    Args:
        denoiser: what predicts data from noise, with its schedule; see :mod:`ppl_gen.denoisers`.
        data_shape: the shape of a datum.
        steps: the number of steps :math:`T`, at whose times it is trained.
        levels: the number of grey levels of pixels in [0, 1], which are diffused from -1 to 1 and
            kept there when sampling; ``None`` for data that are any numbers, standardised at best.
        weighting: of the loss, see :class:`ppl_gen.objectives.denoising.Denoising`.
        times: how often training visits each time, evenly by default; see :mod:`ppl_gen.noise`.
        variance: of the steps back in the bound, see :func:`ppl_gen.denoisers.reverse_variance`.
        sampler: how :meth:`sample` samples unless told, a :class:`ppl_gen.samplers.Sampler` or its
            name.
        sample_steps: in how many steps, all but at most 50 by default.
        num_classes: the number of labels of a conditional model, 0 for none. Its denoiser knows
            one more, ``num_classes``, that stands for none.
        drop: the share of labels that are left out in training, for guidance.
        classes: the names of the labels.
        num_words: the size of the vocabulary of captions, 0 for none. Its denoiser is told them,
            and the empty caption stands for none.

    Raises:
        ValueError: parts that do not fit each other, predicted noise where the schedule leaves no
            signal, variances of which the denoiser does not know enough, numbers out of range.

    >>> network = ppl_gen.networks.ResidualMLP((2,), hidden=16)
    >>> denoiser = ppl_gen.denoisers.Denoiser(network, ppl_gen.noise.Cosine(), "velocity")
    >>> model = ppl_gen.Diffusion(denoiser, (2,), steps=100)
    >>> ppl_gen.fit(model, torch.randn(64, 2), epochs=2, staged=False, progress=False).steps
    2
    >>> model.sample(3, steps=10, seed=0).shape
    torch.Size([3, 2])
    """

    column_kinds = ("gaussian",)  # of the tables it can be given

    def __init__(
        self,
        denoiser: DenoiserBase,
        data_shape: Shape,
        *,
        steps: int = 1000,
        levels: int | None = None,
        weighting: str | Weight = "simple",
        times: TimeLaw | None = None,
        variance: str = "small",
        sampler: str | Sampler = "ancestral",
        sample_steps: int | None = None,
        num_classes: int = 0,
        drop: float = 0.1,
        classes: Sequence[str] | None = None,
        num_words: int = 0,
    ):
        super().__init__(data_shape, num_classes, classes=classes)
        if num_words:
            if num_classes:
                raise ValueError("expected labels or captions, got both")
            self.condition = Captions(num_words=num_words)
        if not isinstance(denoiser, DenoiserBase):
            raise ValueError(f"expected a denoiser of ppl_gen.denoisers, got {denoiser!r}")
        self.denoiser = denoiser
        self.objective = Denoising(
            denoiser.noise,
            steps,
            weighting=weighting,
            times=times,
            variance=variance,
            levels=levels,
        )
        if not (is_finite(drop) and 0 <= drop < 1):
            raise ValueError(f"expected a share of labels in [0, 1) for drop, got {drop!r}")
        self.drop, self.sampler = float(drop), by_name(sampler)
        self.sample_steps = min(steps, 50) if sample_steps is None else sample_steps
        self._require_steps(self.sample_steps)
        self.fit_defaults: dict[str, Any] = {}
        self._require_fit()

    def __repr__(self) -> str:
        name = (self.recipe and self.recipe.name) or type(self).__name__
        what = "images" if len(self.data_shape) == 3 else "data"
        given = f" given {self.condition}" if self.condition.size else ""
        return (
            f"<{name}: {what} {'×'.join(map(str, self.data_shape))}{given}, {self.steps} steps of "
            f"{self.denoiser.noise}, predicts {self._predicts}, "
            f"{_word(self.objective.weighting)} loss, {self.objective.variance} variance, "
            f"{sum(p.numel() for p in self.parameters()):,} parameters>"
        )

    @property
    def steps(self) -> int:
        """The number of steps :math:`T`."""
        return self.objective.steps

    @property
    def levels(self) -> int | None:
        """The number of grey levels of pixels, ``None`` for data that are any numbers."""
        return self.objective.levels

    @property
    def _predicts(self) -> str:
        return getattr(self.denoiser, "predicts", type(self.denoiser).__name__.lower())

    # --- Training -------------------------------------------------------------------------------

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of the denoiser that are trained."""
        return {"denoiser": [p for p in self.denoiser.parameters() if p.requires_grad]}

    def loss(self, x: Tensor, *labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, the bound estimated from the same draws, and the squared error."""
        y = labels[0] if self.condition.size else None
        if y is not None and self.training:
            null = torch.as_tensor(self.condition.null, device=y.device)
            left_out = torch.rand(len(y), device=y.device) < self.drop
            y = torch.where(left_out.reshape(-1, *[1] * null.dim()), null, y)
        found = self.objective(self.denoiser, self.objective.from_data(x), y)
        return found.loss.sum(), {"elbo": -found.bound.mean(), "error": found.error.mean()}

    @torch.no_grad()
    def evaluate(self, x: Tensor, *labels: Tensor) -> dict[str, Tensor]:
        """The means of held-out data, by draws of their own."""
        with evaluating(self):
            loss, metrics = self.loss(x, *labels)
        return {"loss": loss / len(x), **metrics}

    # --- Samples --------------------------------------------------------------------------------

    def _draw(self, n: int, y: Any, **how: Any) -> Any:
        if not is_whole(n, 1):
            raise ValueError(f"expected at least one sample, got {n!r}")
        steps, sampler, guidance = (how.pop(name) for name in ("steps", "sampler", "guidance"))
        how["steps"] = self.sample_steps if steps is None else self._require_steps(steps)
        how["shape"] = self.data_shape
        chosen = self._chosen(self.sampler if sampler is None else by_name(sampler))
        denoiser = self._guided(guidance)
        denoiser = Staged(denoiser) if how.pop("staged") else denoiser
        found: Any = chosen.sample(denoiser, n, self._labels(y, n, guidance), **how)
        if not how["frames"]:
            return self._shown(found)
        x, seen = found
        to_data = self.objective.to_data
        return self._shown(x), replace(seen, x=to_data(seen.x), data=to_data(seen.data))

    def _shown(self, x: Tensor) -> Tensor:
        found = self.objective.to_data(x)
        return found if self.levels is None else found.clamp(0, 1)

    def _chosen(self, sampler: Sampler) -> Sampler:
        """The sampler, at trained times if it would visit others out of no choice of its own."""
        if sampler.grid is not uniform:
            return sampler
        chosen = copy.copy(sampler)
        chosen.grid = Trailing(self.steps)
        return chosen

    def _guided(self, guidance: float) -> DenoiserBase:
        if not (is_finite(guidance) and guidance >= 0):
            raise ValueError(f"expected a guidance weight of 0 or more, got {guidance!r}")
        found = self.denoiser
        if self.condition.size:
            found = Guided(found, guidance, self.condition.null)
        elif guidance != 1:
            raise ValueError(f"expected no guidance for a model without labels, got {guidance!r}")
        return found if self.levels is None else Clipped(found)

    def _labels(self, y: Any, n: int, guidance: float) -> Tensor | None:
        if not self.condition.size:
            _require_no_labels(y)
            return None
        if y is None and guidance == 0:
            return None
        y = self.condition.tensor([y] * n if is_whole(y) or isinstance(y, str) else y)
        self.check_labels(y, n)
        return y

    # --- Data -----------------------------------------------------------------------------------

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data of this shape, type and range."""
        super().check(x)
        require_values(x, "pixels in [0, 1]" if self.levels is not None else None)

    # --- Likelihoods ----------------------------------------------------------------------------

    def chain(self, steps: int | None = None, *, prior: nn.Module | None = None) -> Chain:
        """The diffusion as a hierarchical VAE, a Pyro model and guide; see :class:`Chain`.

        Args:
            steps: the number of latents, at most 50, spread over the trained times; all by default.
            prior: the law of the noisiest, what samplers start from by default.

        Raises:
            ValueError: more steps than 50 or than ``T``.

        >>> noise = ppl_gen.noise.Linear()
        >>> data = ppl_gen.denoisers.Gaussian(noise, torch.zeros(2), 1.0)
        >>> chain = ppl_gen.Diffusion(data, (2,), variance="large").chain(4)
        >>> loss = pyro.infer.TraceMeanField_ELBO(num_particles=8).loss
        >>> _ = torch.manual_seed(0)
        >>> round(loss(chain.model, chain.guide, torch.zeros(500, 2)) / 500, 1)
        1.8
        """
        return Chain(self, self.steps if steps is None else self._require_steps(steps), prior)

    @torch.no_grad()
    def bound(
        self,
        x: Tensor,
        y: Any = None,
        *,
        steps: int | None = None,
        draws: int | None = None,
        seed: Seed = 0,
    ) -> Tensor:
        r"""A lower bound of :math:`\log p(x)` in nats, ``(B,)``: that of the chain of steps.

        The sum over all times, each with noise of its own, or over some that are drawn for each
        datum and weighed so that the expectation is the same. Of pixels it is a bound of the
        logarithm of a probability, of other data of a density.

        Args:
            x: data ``(B, *data_shape)``.
            y: the labels of a conditional model.
            steps: the number of steps of the chain, spread over the trained times; all by default.
            draws: how many times are drawn for each datum; all are visited by default.
            seed: of noise and times, as for :meth:`sample`; the bound of a datum does not depend on
                the others.

        Raises:
            ValueError: data or labels that do not fit; numbers below one.

        >>> noise = ppl_gen.noise.Linear()
        >>> data = ppl_gen.denoisers.Gaussian(noise, torch.zeros(2), 1.0)
        >>> model = ppl_gen.Diffusion(data, (2,), variance="large")
        >>> bool(-2 < model.bound(torch.zeros(500, 2), steps=40).mean() < -1.8)
        True
        """
        self.check(x)
        if draws is not None and not is_whole(draws, 1):
            raise ValueError(f"expected at least one draw of a time, got {draws!r}")
        steps = self.steps if steps is None else self._require_steps(steps)
        objective, y = self.objective.respaced(steps, self.denoiser.noise), self._given(y, len(x))
        x = objective.from_data(x)
        streams, total = _streams(seed, x), objective.prior_term(x)
        with evaluating(self):
            for t, mass in _visits(steps, streams, draws):
                noise = streams.normal()
                found = objective.predict(self.denoiser, x, y, t, noise)
                total = total + objective.term(found, x, noise, t) / mass
        return -total

    def log_likelihood(
        self,
        x: Tensor,
        y: Any = None,
        *,
        steps: int = 48,
        probes: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        r""":math:`\log p(x)` of the probability flow in nats, ``(B,)``.

        See :func:`ppl_gen.samplers.log_likelihood`. Pixels are spread evenly over their levels
        (uniform dequantisation) and the logarithm of the width of a level is added for each,
        :math:`D \log \frac{2}{L - 1}` where ``L`` levels are diffused from -1 to 1: in expectation
        a lower bound of the logarithm of their probability (Theis et al. 2016), to be compared with
        :meth:`bound` and other probabilities of ``L`` levels.

        Args:
            x: data ``(B, *data_shape)``.
            y: the labels of a conditional model.
            steps: the noise levels that are visited.
            probes: see there.
            seed: of the probes and of the dequantisation.

        Raises:
            ValueError: data or labels that do not fit.
        """
        self.check(x)
        y, offset = self._given(y, len(x)), 0.0
        if self.levels is not None:
            last = self.levels - 1
            spread = torch.special.ndtr(_streams(seed, x).normal()) - 0.5
            x = ((x * last).round() + spread) * 2 / last - 1
            offset = x[0].numel() * math.log(2 / last)
        found = log_likelihood(self.denoiser, x, y, steps=steps, probes=probes, seed=seed)
        return found + offset

    def bits_per_dim(self, nats: Tensor) -> Tensor:
        r"""Log-probabilities in nats as bits for each value, :math:`-\log_2 p / D`."""
        return -nats / (math.prod(self.data_shape) * math.log(2))

    def _given(self, y: Any, size: int) -> Tensor | None:
        if not self.condition.size:
            _require_no_labels(y)
            return None
        y = self.condition_of(y)
        self.check_labels(y, size)
        return y

    # --- Files ----------------------------------------------------------------------------------

    def get_extra_state(self) -> Tensor:
        """What weights are good for, as text: schedule, steps, prediction and range of the data."""
        return torch.tensor(list(self._described().encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raise ``ValueError`` for the weights of a diffusion of another kind."""
        stored = bytes(state.tolist()).decode()
        if stored != self._described():
            raise ValueError(f"expected weights of {self._described()}, got those of {stored}")

    def _described(self) -> str:
        noise = self.denoiser.noise
        told = ", ".join(f"{noise.log_snr(u).item():.4g}" for u in (0.25, 0.5, 0.75))
        return (
            f"{self.steps} steps of {noise} (log-SNR {told}), predicting {self._predicts} of "
            f"{'numbers' if self.levels is None else f'pixels at {self.levels} levels'}"
        )

    # --- Checks ---------------------------------------------------------------------------------

    def _require_steps(self, steps: Any) -> int:
        if not is_whole(steps, 1):
            raise ValueError(f"expected at least one step, got {steps!r}")
        if steps > self.steps:
            raise ValueError(f"expected at most {self.steps} steps, got {steps}")
        return steps

    @torch.no_grad()
    def _require_fit(self) -> None:
        """Raise ``ValueError`` unless the denoiser takes what it will be given."""
        if self._predicts in ("noise", "score") and not self.objective.table[-1].alpha > 0:
            raise ValueError(
                f"expected signal at the last step to predict {self._predicts} from, got none: "
                "predict data or velocity, or floor the schedule"
            )
        if self.denoiser.data_shape not in (None, self.data_shape):
            raise ValueError(
                f"expected a denoiser of data {self.data_shape}, got {self.denoiser.data_shape}"
            )
        x = self.denoiser.like.new_zeros(2, *self.data_shape)
        y = None
        if self.condition.size:
            null = torch.as_tensor(self.condition.null, device=x.device)
            y = torch.stack([torch.zeros_like(null), null])
        with evaluating(self), preserved():
            u = torch.full((2,), 0.5, dtype=torch.float64, device=x.device)
            try:
                found = self.denoiser(x, u, y)
            except (RuntimeError, TypeError, IndexError) as error:
                raise ValueError(
                    f"expected a denoiser of data {tuple(x.shape)}"
                    f"{' with ' + str(self.condition) if self.condition.size else ''}, got {error}"
                ) from error
        require_known(self.objective.variance, found)
        self.sampler.check(found)


def _require_no_labels(y: Any) -> None:
    if y is not None:
        raise ValueError(
            f"expected no labels, which this model does not know, got {type(y).__name__}"
        )


def _streams(seed: Seed, x: Tensor) -> Streams:
    """Random numbers of every datum, others than those of samples and probes of this seed."""
    keys = [(own, index + 2**32) for own, index in keys_of(seed, len(x))]
    return Streams(keys, tuple(x.shape[1:]), x)


def _visits(steps: int, streams: Streams, draws: int | None) -> Iterator[tuple[Tensor, float]]:
    """Times for every datum, and what the term of a time is to be divided by."""
    first = torch.special.ndtr(streams.normal().flatten(1)[:, 0].double())
    if draws is None:
        yield from ((torch.full_like(first, t).long(), 1.0) for t in range(1, steps + 1))
        return
    for draw in range(draws):
        share = (first + draw / draws) % 1
        yield (steps * share).long().clamp(max=steps - 1) + 1, draws / steps


def _word(weighting: str | Weight) -> str:
    return weighting if isinstance(weighting, str) else getattr(weighting, "__name__", "own")
