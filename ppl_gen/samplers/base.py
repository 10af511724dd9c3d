r"""The driver that all samplers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import torch
from torch import Tensor
from tqdm import tqdm

from ppl_gen._checks import is_whole, require_shape
from ppl_gen._modes import evaluating
from ppl_gen.denoisers import DenoiserBase, Prediction
from ppl_gen.networks import Shape
from ppl_gen.noise import Level, uniform
from ppl_gen.noise.grids import Grid, require_grid, require_levels
from ppl_gen.samplers.streams import Seed, Streams, keys_of

Predict = Callable[[Tensor, Level], Prediction]
Draw = Callable[[], Tensor]


@dataclass(frozen=True)
class Frames:
    """What a sampler passed through, noise first.

    Args:
        levels: the times with their scales, ``N + 1`` of them, falling.
        x: noisy samples, ``(N + 1, n, *data_shape)``; the last are the samples.
        data: the data predicted from each but the last, ``(N, n, *data_shape)``.

    >>> denoiser = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Cosine(), torch.zeros(2), 1.0)
    >>> x, frames = ppl_gen.samplers.DDIM().sample(denoiser, 3, steps=4, seed=0, frames=True)
    >>> frames.x.shape, frames.data.shape, torch.equal(frames.x[-1], x)
    (torch.Size([5, 3, 2]), torch.Size([4, 3, 2]), True)
    """

    levels: Level
    x: Tensor
    data: Tensor


@dataclass
class _Path:
    """The predictions of one run: what is asked, and what each step was told first."""

    denoiser: DenoiserBase
    y: Any
    told: list[Tensor] = field(default_factory=list)
    waiting: bool = True

    def predict(self, x: Tensor, level: Level) -> Prediction:
        found = self.denoiser(x, level.u.to(x.device), self.y)
        if self.waiting:
            self.told.append(found.data)
            self.waiting = False
        return found


class Sampler:
    r"""From noise to data, a :meth:`step` at a time.

    Args:
        grid: the levels to visit, a function of a schedule and a number of steps; see
            :mod:`ppl_gen.noise`.

    Raises:
        ValueError: a grid that is no function.

    >>> class Denoise(ppl_gen.samplers.Sampler):
    ...     def step(self, predict, x, t, s, draw):
    ...         return s.alpha * predict(x, t).data + s.sigma * draw()
    >>> denoiser = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Cosine(), torch.zeros(2), 1.0)
    >>> Denoise().sample(denoiser, 5, steps=3, seed=0).shape
    torch.Size([5, 2])
    """

    def __init__(self, grid: Grid | None = None):
        self.grid = self.default_grid() if grid is None else require_grid(grid)

    def default_grid(self) -> Grid:
        """The levels this sampler visits unless told otherwise."""
        return uniform

    def check(self, prediction: Prediction) -> None:
        """Raise ``ValueError`` unless predictions carry what steps are made of."""

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        r"""Samples at level ``s`` from samples ``x`` at the noisier ``t``.

        Args:
            predict: ``(x, level) -> Prediction``, a call of the denoiser.
            x: ``(B, *data_shape)``.
            t: the level of ``x``.
            s: the next; the last is clean, with :math:`\sigma = 0`.
            draw: standard normal numbers of the shape of ``x``, new ones each time.
        """
        raise NotImplementedError

    @overload
    def sample(
        self,
        denoiser: DenoiserBase,
        n: int,
        y: Any = None,
        *,
        steps: int = ...,
        shape: Shape | None = ...,
        seed: Seed = ...,
        start: Tensor | None = ...,
        batch_size: int | None = ...,
        frames: Literal[False] = ...,
        progress: bool = ...,
    ) -> Tensor: ...

    @overload
    def sample(
        self,
        denoiser: DenoiserBase,
        n: int,
        y: Any = None,
        *,
        steps: int = ...,
        shape: Shape | None = ...,
        seed: Seed = ...,
        start: Tensor | None = ...,
        batch_size: int | None = ...,
        frames: Literal[True],
        progress: bool = ...,
    ) -> tuple[Tensor, Frames]: ...

    @torch.no_grad()
    def sample(
        self,
        denoiser: DenoiserBase,
        n: int,
        y: Any = None,
        *,
        steps: int = 50,
        shape: Shape | None = None,
        seed: Seed = None,
        start: Tensor | None = None,
        batch_size: int | None = None,
        frames: bool = False,
        progress: bool = False,
    ) -> Tensor | tuple[Tensor, Frames]:
        r"""``(n, *data_shape)`` draws; every sample has a random stream of its own.

        Args:
            denoiser: what to ask, in evaluation mode meanwhile.
            n: how many.
            y: the condition of each, ``(n, ...)``, or one label for all.
            steps: how many steps from noise to data.
            shape: the shape of a datum, where the denoiser does not say.
            seed: a whole number, from which and its index every sample derives its stream, or
                ``n`` of them, one a sample; by default from torch's global generator.
            start: where to start, ``(n, *data_shape)`` at the noisiest level of the grid; by
                default Gaussian noise.
            batch_size: how many at a time; the samples do not depend on it.
            frames: whether to return what was passed through too.
            progress: whether to show a bar over the steps on standard error.

        Raises:
            ValueError: numbers below one, seeds, conditions or a start of which there are not
                ``n``, an unknown data shape, a grid whose noise does not rise from clean data;
                weights, a start or samples that are not finite.
        """
        _require_counts(n, batch_size)
        shape = _shape_of(denoiser, shape)
        _require_finite_weights(denoiser)
        keys, y = keys_of(seed, n), conditions_of(y, n)
        start = None if start is None else _require_start(start, (n, *shape))
        if not is_whole(steps, 1):
            raise ValueError(f"expected at least one step, got {steps!r}")
        levels = require_levels(self.grid(denoiser.noise, steps))
        parts = []
        with evaluating(denoiser), self._bar(_chunks(n, batch_size), levels, progress) as bar:
            for rows in _chunks(n, batch_size):
                streams = Streams(keys[rows], shape, denoiser.like)
                path = _Path(denoiser, None if y is None else y[rows].to(denoiser.like.device))
                x = _beginning(denoiser, levels[-1], streams, start, rows)
                parts.append(self._run(path, x, levels, streams, frames, bar))
                _require_finite(parts[-1][0][-1], self)
        return _joined(parts, levels, frames)

    def _bar(self, chunks: list[slice], levels: Level, progress: bool) -> Any:
        total = len(chunks) * (len(levels) - 1)
        return tqdm(total=total, desc=type(self).__name__, disable=not progress)

    def _run(
        self, path: _Path, x: Tensor, levels: Level, streams: Streams, frames: bool, bar: Any
    ) -> tuple[Tensor, Tensor]:
        """States kept and predictions told, both ``(steps, B, *shape)``."""
        states = [x]
        for i in range(len(levels) - 1, 0, -1):
            path.waiting = frames
            x = self.step(path.predict, x, levels[i], levels[i - 1], streams.normal)
            states = [*states, x] if frames else [x]
            bar.update()
        return torch.stack(states), torch.stack(path.told) if frames else x[None]


def _beginning(
    denoiser: DenoiserBase, level: Level, streams: Streams, start: Tensor | None, rows: slice
) -> Tensor:
    noise = denoiser.noise.prior_scale(level) * streams.normal()
    return noise if start is None else start[rows].to(noise)


def _joined(
    parts: list[tuple[Tensor, Tensor]], levels: Level, frames: bool
) -> Tensor | tuple[Tensor, Frames]:
    x, data = (torch.cat(found, 1) for found in zip(*parts, strict=True))
    if not frames:
        return x[-1]
    falling = levels[torch.arange(len(levels) - 1, -1, -1)]
    return x[-1], Frames(falling, x, data)


def _chunks(n: int, batch_size: int | None) -> list[slice]:
    size = batch_size or n
    return [slice(first, first + size) for first in range(0, n, size)]


def _require_counts(n: int, batch_size: int | None) -> None:
    if not is_whole(n, 1):
        raise ValueError(f"expected at least one sample, got {n!r}")
    if batch_size is not None and not is_whole(batch_size, 1):
        raise ValueError(f"expected batch_size >= 1, got {batch_size!r}")


def _require_finite_weights(denoiser: Any) -> None:
    for name, p in denoiser.named_parameters():
        if not p.isfinite().all():
            raise ValueError(
                f"expected finite weights to sample with, got NaN or infinity in {name}"
            )


def _require_finite(x: Tensor, sampler: Sampler) -> None:
    lost = int((~x.isfinite().flatten(1).all(1)).sum())
    if lost:
        raise ValueError(
            f"expected finite samples, got {lost} of {len(x)} that are not: the steps of "
            f"{type(sampler).__name__} are too large for this denoiser, or its values overflow"
        )


def _shape_of(denoiser: Any, shape: Shape | None) -> Shape:
    if not isinstance(denoiser, DenoiserBase):
        raise ValueError(f"expected a denoiser of ppl_gen.denoisers, got {denoiser!r}")
    known = denoiser.data_shape
    if shape is None and known is None:
        raise ValueError("expected shape=, the shape of a datum, which this denoiser does not know")
    found = known if shape is None else require_shape(shape)
    if known is not None and found != known:
        raise ValueError(f"expected data of shape {known}, like the denoiser's, got {shape}")
    assert found is not None
    return found


def conditions_of(y: Any, n: int) -> Tensor | None:
    """A condition a sample, ``(n, ...)``, or ``ValueError``."""
    if y is None:
        return None
    try:
        y = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected conditions as numbers, got {y!r}") from error
    if not y.dim():
        return y.expand(n)
    if len(y) != n:
        raise ValueError(f"expected {n} conditions, one a sample, got {len(y)}")
    return y


def _require_start(start: Tensor, shape: Shape) -> Tensor:
    if not isinstance(start, Tensor) or tuple(start.shape) != shape:
        found = tuple(start.shape) if isinstance(start, Tensor) else start
        raise ValueError(f"expected a start of shape {shape}, got {found}")
    if not start.is_floating_point():
        raise ValueError(f"expected a start in floating point, got {start.dtype}")
    if not start.isfinite().all():
        raise ValueError("expected a finite start, got NaN or infinity")
    return start
