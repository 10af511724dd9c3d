# %% [markdown]
# # Missing cells, filled in with their uncertainty
#
# A table lacks cells. A VAE whose likelihood leaves them out is trained on what is known,
#
# $$\log p(x_{obs}) \ge E_{q(z \mid x_{obs})} \log p(x_{obs} \mid z)
#   - KL(q(z \mid x_{obs}) \| p(z)),$$
#
# right where cells are missing at random (Little and Rubin 2002; Nazábal et al. 2020). What is
# missing is then drawn from
#
# $$p(x_{miss} \mid x_{obs}) = \int p(x_{miss} \mid z)\, p(z \mid x_{obs})\, dz.$$
#
# The encoder only approximates $p(z \mid x_{obs})$. So codes are resampled with the weights
# $p(x_{obs} \mid z)\, p(z) / q(z \mid x_{obs})$ (Mattei and Frellsen 2019), which makes the draws
# exact for the *model* as proposals grow in number; how good the model is, held-back cells tell.

# %%
from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from torch import Tensor

import ppl_gen
from ppl_gen import zoo
from ppl_gen.data import Table, table

LEVELS = [0.5, 0.6, 0.7, 0.8, 0.9]

# %% [markdown]
# ## A table, and 30 % of it removed
#
# Ten measurements of cell nuclei in 569 tumours, and the diagnosis as text. `data.table` finds the
# kinds of the columns, standardises over the cells that are left, and codes the diagnosis.


# %%
def tumours() -> pd.DataFrame:
    """The ten mean measurements and the diagnosis."""
    source = load_breast_cancer(as_frame=True)
    frame = source.data.iloc[:, :10].rename(columns=lambda name: name.removeprefix("mean "))
    return frame.assign(diagnosis=[str(source.target_names[code]) for code in source.target])


def remove(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The frame without a share of its cells, each removed independently."""
    return frame.mask(np.random.default_rng(seed).random(frame.shape) < share)


# %% [markdown]
# ## Draws of what is missing
#
# Draws $(S, N, D)$ of every method: a normal per column, which is the column mean with the spread
# of the column; scikit-learn's `IterativeImputer`, which regresses every column on all others in
# turn, each draw a run of its own; and the VAE, with and without weights.


# %%
def column_draws(cells: Tensor, draws: int) -> Tensor:
    """Draws from a normal of every column, whose known cells have mean 0 and deviation 1."""
    drawn = torch.randn(draws, *cells.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(cells.isnan(), drawn, cells)


def iterative_draws(cells: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """Draws of the iterative imputer, and what it imputes where it does not draw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        point = IterativeImputer(max_iter=10).fit_transform(cells.numpy())
        drawn = [
            IterativeImputer(max_iter=5, sample_posterior=True, random_state=seed).fit_transform(
                cells.numpy()
            )
            for seed in range(draws)
        ]
    return torch.from_numpy(np.stack(drawn)).float(), torch.from_numpy(point).float()


def train(known: Table, epochs: int) -> ppl_gen.VAE:
    """A VAE on the cells that are known."""
    torch.manual_seed(0)
    vae = zoo.vae((len(known.kinds),), 4, hidden=32, likelihood=known.kinds)
    for lr in (3e-3, 1e-3):
        ppl_gen.fit(vae, known, epochs=epochs, batch_size=64, lr=lr, progress=False, staged=False)
    return vae


# %% [markdown]
# ## How good they are
#
# In the units of a column's standard deviation: the root mean square error of the mean of the
# draws, and of the 90 % interval between their quantiles how often it holds the truth, and how wide
# it is. Good is a small error, a share of 90 %, and narrow intervals.


# %%
def interval(drawn: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """The central interval of draws, cell by cell."""
    return drawn.quantile((1 - level) / 2, 0), drawn.quantile((1 + level) / 2, 0)


def coverage(drawn: Tensor, truth: Tensor, gone: Tensor, level: float) -> float:
    """The share of removed cells in their interval."""
    low, high = interval(drawn, level)
    return ((low <= truth) & (truth <= high))[gone].float().mean().item()


def scores(drawn: Tensor, point: Tensor, truth: Tensor, gone: Tensor) -> dict[str, float]:
    """Error, and coverage and width of 90 % intervals, over the removed cells."""
    low, high = interval(drawn, 0.9)
    return {
        "RMSE": (point - truth)[gone].square().mean().sqrt().item(),
        "coverage": coverage(drawn, truth, gone, 0.9),
        "width": (high - low)[gone].mean().item(),
    }


def draw_cells(ax: Axes, name: str, drawn: Tensor, truth: Tensor, point: Tensor) -> None:
    """The intervals of some removed cells of one column, in the order of the truth."""
    order = truth.argsort()[:: max(1, len(truth) // 40)]
    low, high = interval(drawn[:, order], 0.9)
    at = range(len(order))
    ax.vlines(at, low, high, color="C0", alpha=0.4, lw=3, label="90 % interval")
    ax.plot(at, point[order], "o", ms=3, color="C0", label="mean of the draws")
    ax.plot(at, truth[order], "k_", ms=7, label="removed cell")
    ax.set(xlabel="removed cells, sorted", ylabel=f"{name}, standardised")
    ax.set_title("The VAE's intervals", fontsize="medium")
    ax.legend(frameon=False, fontsize="small", loc="upper left")


def draw_errors(ax: Axes, names: list[str], errors: dict[str, list[float]]) -> None:
    """The error of every method by column."""
    at = np.arange(len(names))
    for rank, (method, values) in enumerate(errors.items()):
        ax.barh(at + 0.2 * (rank - 1.5), values, 0.2, label=method)
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.set(xlabel="RMSE, standardised", xlim=(0, 2))
    ax.set_title("Errors by column", fontsize="medium")
    ax.legend(frameon=False, fontsize="small", loc="center right")


def draw_calibration(ax: Axes, shares: dict[str, list[float]]) -> None:
    """How often intervals hold the truth, against how often they should."""
    ax.plot([0.5, 0.9], [0.5, 0.9], "k:", lw=1, label="as it should be")
    for method, found in shares.items():
        ax.plot(LEVELS, found, "o-", ms=3, label=method)
    ax.set(xlabel="level of the interval", ylabel="share of cells inside")
    ax.set_title("Are the intervals right?", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")


# %% [markdown]
# ## All together
#
# | 90 % intervals of 100 draws | RMSE | coverage | width |
# | --- | --- | --- | --- |
# | column mean | 1.030 | 0.896 | 3.19 |
# | `IterativeImputer` | 0.566 | 0.896 | 1.29 |
# | VAE, unweighted | 0.593 | 0.768 | 1.14 |
# | VAE | 0.553 | 0.878 | 1.24 |
#
# The two imputers are about as good: between errors of 0.55 and 0.57 a single table does not
# decide. At 90 % the regressions, which are linear, cover best and the VAE a little too little; at
# 50 % the intervals of both are too wide. The weights matter: without them the encoder's codes are
# too sure of themselves, and almost one 90 % interval in four misses. The VAE also draws diagnoses
# as such: of those removed the more frequent draw is right for 91 %, the usual diagnosis for 61 %.


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        The kinds of the columns; the share of cells removed; by method error, coverage and width of
        90 % intervals over the removed measurements; the share of removed diagnoses that the most
        frequent one and the VAE get right; whether known cells stayed as they were.
    """
    frame = tumours()
    draws, epochs = (10, 8) if smoke else (100, 150)
    known = table(remove(frame, 0.3, seed=0))
    truth, gone = known.transform(frame).tensor, known.missing
    vae = train(known, epochs)
    drawn = {"column mean": column_draws(known.tensor, draws)}
    drawn["IterativeImputer"], regressed = iterative_draws(known.tensor, draws)
    drawn["VAE, unweighted"] = ppl_gen.impute(vae, known, draws, importance=1)
    drawn["VAE"] = ppl_gen.impute(vae, known, draws)
    points = {name: found.mean(0) for name, found in drawn.items()}
    points["column mean"], points["IterativeImputer"] = known.tensor.nan_to_num(0.0), regressed

    measured = gone.clone()
    measured[:, -1] = False  # the diagnosis is no number
    ill = gone[:, -1]
    usual = known.tensor[:, -1].nanmedian()
    results: dict[str, Any] = {
        "kinds": known.kinds,
        "removed": gone.float().mean().item(),
        "scores": {n: scores(d, points[n], truth, measured) for n, d in drawn.items()},
        "diagnosis": {
            "most frequent": (truth[ill, -1] == usual).float().mean().item(),
            "VAE": (truth[ill, -1] == drawn["VAE"][:, ill, -1].mode(0).values)
            .float()
            .mean()
            .item(),
        },
        "known_cells_stay": bool((drawn["VAE"] == truth)[:, ~gone].all()),
    }

    figure = Figure(figsize=(15, 5), layout="constrained")
    axes = figure.subplots(1, 3)
    column = known.names.index("concavity")
    cells = measured[:, column]
    draw_cells(
        axes[0],
        "concavity",
        drawn["VAE"][:, cells, column],
        truth[cells, column],
        points["VAE"][cells, column],
    )
    errors = {
        name: [(point - truth)[measured[:, d], d].square().mean().sqrt().item() for d in range(10)]
        for name, point in points.items()
    }
    draw_errors(axes[1], list(known.names[:10]), {name: errors[name] for name in drawn})
    draw_calibration(
        axes[2],
        {n: [coverage(d, truth, measured, level) for level in LEVELS] for n, d in drawn.items()},
    )
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    if out is not None:
        target = Path(out) / "22_missing_cells.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=130)
        results["figure"] = target
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Missing cells of a table, imputed by a VAE.")
    parser.add_argument("--smoke", action="store_true", help="short training, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figure")
    options, _ = parser.parse_known_args()
    found = main(options.smoke, options.out)
    print(f"{found['removed']:.0%} of the cells removed; columns {found['kinds']}\n")
    print(pd.DataFrame(found["scores"]).T.round(3).to_string())
    print(f"\nremoved diagnoses told right: {pd.Series(found['diagnosis']).round(3).to_dict()}")
    print(f"figure: {found['figure']}")
