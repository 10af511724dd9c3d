"""Curves: how far a search came, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphs.pictures.shapes import ASKED, FONT_SIZE, INK, PATH

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ascent(
    log_likelihoods: Sequence[float],
    objectives: Sequence[float],
    others: Sequence[float],
    converged: bool,
    ax: Axes | None = None,
) -> Axes:
    """Log-likelihoods by iteration, with what was raised where a prior makes that another curve.

    Args:
        log_likelihoods, objectives: at the start and after every iteration.
        others: where searches from other starts ended, as objectives.
        converged: whether the search ended by itself.
        ax: where to draw; a new figure when ``None``.
    """
    from matplotlib.ticker import MaxNLocator

    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    steps = range(len(log_likelihoods))
    mark = "o" if len(steps) <= 40 else ""
    if any(a != b for a, b in zip(objectives, log_likelihoods, strict=True)):
        label = "with the prior, which is raised"
        ax.plot(steps, objectives, color=INK, ls=(0, (3, 2)), lw=1.2, label=label)
    for rank, other in enumerate(others):
        label = "ends of other starts" if not rank else "_"
        ax.axhline(other, color=ASKED, lw=1.2, zorder=1, label=label)
    ax.plot(
        steps, log_likelihoods, color=INK, lw=1.8, marker=mark, markersize=3.5,
        label="log-likelihood",
    )  # fmt: skip
    if not converged:
        ax.plot(
            steps[-1:], log_likelihoods[-1:], "X", color=PATH, markersize=9, label="not converged"
        )
    ax.set(xlabel="iteration", ylabel="log-likelihood (nats)")
    if len(steps) > 1:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        ax.set_xticks([0])
    ax.ticklabel_format(axis="y", useOffset=False)
    plural = "" if len(steps) == 2 else "s"
    how = f"after {len(steps) - 1} iteration{plural}" if len(steps) > 1 else "in closed form"
    ax.set_title(f"{log_likelihoods[-1]:.6g} nats {how}", fontsize=FONT_SIZE, color=INK)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(frameon=False, fontsize=0.8 * FONT_SIZE, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
