"""Pictures of models: every function takes Axes or makes them, and returns them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_whole
from ppl_gen.models.base import GenerativeModel
from ppl_gen.models.cycles import Cycle
from ppl_gen.models.vae import VAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ppl_gen.samplers import Frames


def _axes(ax: Axes | None, width: float = 6, height: float = 4) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def images(pictures: Tensor, ax: Axes | None = None, *, columns: int | None = None) -> Axes:
    """Images ``(N, C, H, W)`` with 1 or 3 channels in [0, 1], as a grid filled row by row.

    Raises:
        ValueError: another shape.

    >>> ax = ppl_gen.plot.images(torch.zeros(6, 1, 8, 8), columns=3)
    >>> height, width = ax.images[0].get_array().shape[:2]
    >>> height < width
    True
    """
    if pictures.dim() != 4 or pictures.shape[1] not in (1, 3) or not len(pictures):
        raise ValueError(f"expected images of shape (N, 1 or 3, H, W), got {tuple(pictures.shape)}")
    number, depth, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    gap = max(1, height // 14)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, depth))
    for index, picture in enumerate(pictures.detach().cpu().clamp(0, 1).numpy()):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = picture.transpose(1, 2, 0)
    ax = _axes(ax, 0.6 * columns + 0.4, 0.6 * rows + 0.4)
    ax.imshow(canvas.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax


def samples(
    model: GenerativeModel,
    n: int = 64,
    ax: Axes | None = None,
    *,
    y: Any = None,
    seed: int = 0,
    **how: Any,
) -> Axes:
    """Images of ``n`` draws, or their means.

    Args:
        model: any model of images.
        n: how many.
        ax: Axes to draw on.
        y: what a conditional model is told, each label in turn by default.
        seed: of the draws.
        how: further arguments of its ``sample``.

    >>> vae = ppl_gen.zoo.vae((1, 8, 8), 2, hidden=8)
    >>> ax = ppl_gen.plot.samples(vae, 9, seed=0)
    >>> len(ax.images)
    1
    """
    told = model.condition.examples(n) if y is None else y
    return images(model.sample(n, told, seed=seed, **how), ax)


def frames(seen: Frames, ax: Axes | None = None, *, columns: int = 8) -> Axes:
    """How samples came about, a strip of two rows for each: noisy images, and those predicted.

    Args:
        seen: of images, as ``sample(n, frames=True)`` of a diffusion gives them.
        ax: Axes to draw on.
        columns: how many of the steps to show, evenly spaced, the last among them.

    Raises:
        ValueError: frames of something else than images, fewer columns than one.

    >>> model = ppl_gen.zoo.ddpm((1, 8, 8), hidden=16)
    >>> _, seen = model.sample(2, steps=6, seed=0, frames=True)
    >>> ax = ppl_gen.plot.frames(seen, columns=3)
    >>> ax.get_title()
    'noisy and predicted images at noise σ/α = 333, 1.75, 0.279'
    """
    if seen.x.dim() != 5:
        raise ValueError(f"expected frames of images, got samples {tuple(seen.x.shape[1:])}")
    if not is_whole(columns, 1):
        raise ValueError(f"expected at least one column, got {columns!r}")
    steps = len(seen.data)
    shown = torch.linspace(0, steps - 1, min(columns, steps)).round().long()
    pairs = torch.stack([seen.x[shown], seen.data[shown]])
    ax = images(pairs.permute(2, 0, 1, 3, 4, 5).flatten(0, 2), ax, columns=len(shown))
    levels = ", ".join(f"{rho:.3g}" for rho in seen.levels.rho[shown].tolist())
    ax.set_title(f"noisy and predicted images at noise σ/α = {levels}", fontsize=7)
    return ax


def reconstructions(vae: VAE, x: Tensor, y: Tensor | None = None, ax: Axes | None = None) -> Axes:
    """Images in the upper row, their reconstructions below.

    >>> vae = ppl_gen.zoo.vae((1, 8, 8), 2, hidden=8)
    >>> ax = ppl_gen.plot.reconstructions(vae, torch.zeros(5, 1, 8, 8))
    >>> len(ax.images)
    1
    """
    return images(torch.cat([x, vae.reconstruct(x, y)]), ax, columns=len(x))


def translations(cycle: Cycle, x: Tensor, to: str = "y", ax: Axes | None = None) -> Axes:
    """Images in the upper row, what they become as the other kind, and what that becomes, below.

    >>> cycle = ppl_gen.zoo.cycle_gan((1, 8, 8), channels=4)
    >>> ax = ppl_gen.plot.translations(cycle, torch.zeros(5, 1, 8, 8))
    >>> len(ax.images)
    1
    """
    there = cycle.translate(x, to)
    back = cycle.translate(there, "x" if to == "y" else "y")
    return images(torch.cat([x, there, back]), ax, columns=len(x))


def traversal(
    vae: VAE,
    x: Tensor,
    dims: Sequence[int] | None = None,
    values: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    ax: Axes | None = None,
    *,
    y: Tensor | None = None,
) -> Axes:
    """One image ``(1, C, H, W)`` with each latent dimension in turn (a row) set to each value.

    A conditional model needs the image's label ``y`` of shape ``(1,)``; the values of a discrete
    latent are indices.

    >>> vae, x = ppl_gen.zoo.vae((1, 8, 8), 2, hidden=8), torch.zeros(1, 1, 8, 8)
    >>> ax = ppl_gen.plot.traversal(vae, x, dims=[0, 1], values=(-2, 0, 2))
    >>> len(ax.images)
    1
    """
    if len(x) != 1:
        raise ValueError(f"expected one image to start from, got {len(x)}")
    dims = range(vae.code(x, y).shape[1]) if dims is None else dims
    rows = torch.cat([vae.traverse(x, dim, values, y) for dim in dims])
    ax = images(rows, ax, columns=len(values))
    ax.set_title(f"each row: one latent dimension from {values[0]:g} to {values[-1]:g}", fontsize=9)
    return ax


@torch.no_grad()
def latent_map(vae: VAE, x: Tensor, labels: Tensor | None = None, ax: Axes | None = None) -> Axes:
    """Posterior means in the plane of the two dimensions that vary most, coloured by label.

    A conditional model needs the labels.

    >>> vae, x = ppl_gen.zoo.vae((4,), 3, hidden=8), torch.eye(4)
    >>> ax = ppl_gen.plot.latent_map(vae, x, labels=torch.tensor([0, 0, 1, 1]))
    >>> len(ax.collections[0].get_offsets())
    2
    """
    if labels is not None and len(labels) != len(x):
        raise ValueError(f"expected {len(x)} labels, one for each image, got {len(labels)}")
    code = vae.code(x, labels).flatten(1).cpu()
    if code.shape[1] < 2:
        raise ValueError(f"expected a latent of two dimensions or more, got {code.shape[1]}")
    first, second = code.var(0, correction=0).argsort(descending=True)[:2].sort().values.tolist()
    ax = _axes(ax, 5, 4.5)
    if labels is None:
        ax.scatter(code[:, first], code[:, second], s=5, alpha=0.6)
    else:
        for rank, label in enumerate(labels.unique().tolist()):
            mine = code[(labels == label).cpu()]
            name, colour = str(label), f"C{rank % 10}"
            ax.scatter(mine[:, first], mine[:, second], s=5, alpha=0.6, label=name, color=colour)
        ax.legend(markerscale=2, fontsize=7, ncols=2, framealpha=0.8)
    ax.set(xlabel=f"mean of z[{first}]", ylabel=f"mean of z[{second}]")
    return ax


def curves(
    history: Mapping[str, list[float]], ax: Axes | None = None, names: Sequence[str] | None = None
) -> Axes:
    """Metrics against the optimiser step, with a running mean over 2 % of the run.

    Args:
        history: columns of numbers; gaps are NaN.
        ax: Axes to draw on.
        names: the metrics; those in nats per datum by default, or the losses where there are none.

    >>> history = {"elbo": [-9.0, -6.0, -5.0], "kl": [0.5, 0.8, 0.9]}
    >>> ax = ppl_gen.plot.curves(history, names=["elbo", "kl"])
    >>> ax.get_xlabel()
    'optimiser step'
    """
    ax = _axes(ax)
    if names is None:
        per_datum = ("elbo", "reconstruction", "kl", "bound")
        names = [name for name in history if name.removeprefix("val_") in per_datum]
        names = names or [name for name in history if name.endswith("loss")]
    for rank, name in enumerate(names):
        y = np.asarray(history[name], dtype=float)
        x = np.arange(1, len(y) + 1)
        known = np.isfinite(y)
        x, y = x[known], y[known]
        if not len(y):
            continue
        if name.startswith("val_"):
            ax.plot(x, y, "o-", markersize=3, color=f"C{rank}", label=name)
            continue
        ax.plot(x, y, color=f"C{rank}", alpha=0.25, linewidth=0.7)
        window = max(1, len(y) // 50)
        smooth = np.convolve(y, np.ones(window) / window, mode="valid")
        ax.plot(x[window - 1 :], smooth, color=f"C{rank}", label=name)
    unit = "loss" if all(name.endswith("loss") for name in names) else "nats per datum"
    ax.set(xlabel="optimiser step", ylabel=unit)
    if ax.lines:
        ax.legend(fontsize=8)
    return ax


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
