# %% [markdown]
# # A variational autoencoder on a control loop
#
# The β-VAE weighs the divergence of its codes from the prior,
#
# $$\mathcal{L}_\beta = \mathbb{E}_q[\log p(x \mid z)]
#   - \beta\,\mathrm{KL}(q(z \mid x) \,\|\, p(z)),$$
#
# and nobody knows beforehand what KL a given β leads to: too large a β, and the KL vanishes and
# with it everything the code says. ControlVAE (Shao et al. 2020) asks for the KL itself. The set
# point $C$ in nats is the input, β the actuator, and a proportional–integral controller closes the
# loop on the error $e = C - \mathrm{KL}$ of every batch:
#
# $$P = \frac{K_p}{1 + \exp e}, \qquad I \leftarrow I - K_i\, e, \qquad
#   \beta = \mathrm{clip}(P + I + \beta_{\min},\ \beta_{\min},\ \beta_{\max}).$$
#
# Too much KL ($e < 0$) raises β. The integral has no steady state but $e = 0$, so if any β within
# the bounds gives the KL $C$, the loop ends there. At a bound the integral must not go on winding
# up; it stops for errors that push further out, and only for those.

# %%
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import metrics, plot, zoo
from ppl_gen.data import mnist
from ppl_gen.schedules import PIController

# %% [markdown]
# ## The controller alone
#
# Take training away and put a first-order lag in its place: the KL follows $20\,e^{-\beta}$ with a
# delay of some steps. The set point is then reached at $\beta = \log(20/C)$, which is known.


# %%
def lag(controller: PIController, steps: int, delay: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """KL and weight, step by step, of a plant that a controller drives."""
    kl, found = torch.tensor(0.0), []
    for _ in range(steps):
        kl = kl + (20 * torch.exp(-controller.value) - kl) / delay
        controller.update({"kl": kl})
        found.append((kl.item(), controller.value.item()))
    kls, weights = np.array(found).T
    return kls, weights


def draw_lag(ax: Axes, targets: tuple[float, ...] = (8.0, 14.0), steps: int = 400) -> list[float]:
    """The lag under control; the last KL at each set point."""
    last = []
    for i, target in enumerate(targets):
        kl, _ = lag(PIController(target), steps)
        ax.plot(kl, color=f"C{i}", label=f"set point {target:g}")
        ax.axhline(target, color=f"C{i}", lw=0.8, ls=":")
        last.append(float(kl[-1]))
    ax.set(xlabel="step", ylabel="KL in nats")
    ax.set_title(r"A plant whose KL lags behind $20 e^{-\beta}$", fontsize="medium")
    ax.legend(frameon=False)
    return last


# %% [markdown]
# ## The loop around a VAE
#
# `zoo.control_vae` differs from `zoo.vae` in one part: the weight of its objective is the
# controller. A callback reads the weight after every step; the KL is in the history. Both are nats
# per image of the true, unweighted model.


# %%
Run = tuple[ppl_gen.VAE, ppl_gen.History, list[float]]


def train(target: float, data: Any, smoke: bool) -> Run:
    """A ControlVAE for one set point, its history, and its weight at every step."""
    torch.manual_seed(0)
    vae = zoo.control_vae(target_kl=target)
    weights: list[float] = []
    history = ppl_gen.fit(
        vae,
        data,
        epochs=30 if smoke else 60,
        staged=not smoke,
        progress=False,
        callbacks=[lambda _: weights.append(vae.objective.weight.value.item())],
    )
    return vae, history, weights


def draw_loop(axes: list[Axes], runs: dict[float, Run]) -> None:
    """What is controlled, and what controls it."""
    for i, (target, (_, history, weights)) in enumerate(runs.items()):
        axes[0].plot(history["kl"], color=f"C{i}", lw=0.8, label=f"set point {target:g}")
        axes[0].axhline(target, color=f"C{i}", lw=0.8, ls=":")
        axes[1].plot(weights, color=f"C{i}", label=f"set point {target:g}")
    axes[0].set(ylabel="KL in nats per image")
    axes[0].set_title("The controlled variable: batch-mean KL", fontsize="medium")
    axes[1].set(ylabel=r"weight $\beta$")
    axes[1].set_title("The controller's output", fontsize="medium")
    for ax in axes:
        ax.set(xlabel="optimiser step")
        ax.legend(frameon=False)


# %% [markdown]
# ## What the set point buys
#
# The KL is the rate of the code, minus the expected log-likelihood its distortion. A larger set
# point must lower the distortion. The source document found the larger KL to have the better
# reconstruction and *worse* samples (FID 80.65 at 8 nats against 136.79 at 14). Its FIDs are of
# another feature network, so only the order can be compared. With the MLP, the 4,000 images and the
# one seed used here the first half is confirmed and the second is not: at 14 nats the distortion
# falls from 123 to 105 nats, and the FID falls with it, from 12.3 to 10.2.
#
# Three seeds on 8,000 images in 20 dimensions say the same (`tests/benchmarks/mnist.py control`):
# FID 11.6 ± 0.5 at 8 nats and 8.7 ± 0.3 at 14. Further set points show the whole of it: the FID is
# lowest at 20 nats (8.4 ± 0.3), is 8.8 at 26, where the controller ends at β = 1, and 9.4 at 32,
# where it ends at 0.6. Too little KL blurs the samples; too much leaves the prior's draws between
# the codes. The source's order, the lower KL with the better samples, holds on that second branch
# only.


# %%
SOURCE = {8.0: 80.65, 14.0: 136.79}  # the source document's FID by set point


def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        The KL of the lag at the end, and by set point: the mean KL of the last tenth of training,
        its relative distance from the set point, rate and distortion on test images, and, unless
        ``smoke``, the FID of samples with the name of its extractor; and the source's FID.
    """
    digits = mnist()
    train_set, test_set = digits.train, digits.test
    if smoke:
        train_set, test_set = train_set.subset(slice(512)), test_set.subset(slice(200))
    runs = {target: train(target, train_set, smoke) for target in SOURCE}

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    lags = draw_lag(axes[0, 0])
    draw_loop([axes[0, 1], axes[0, 2]], runs)
    results: dict[str, Any] = {"lag_kl": dict(zip(runs, lags, strict=True))}
    names = ("mean_kl", "off_by", "rate", "distortion", "fid", "fid_of_the_source")
    results |= {name: {} for name in names}
    for target, (vae, history, _) in runs.items():
        kl = np.array(history["kl"])
        results["mean_kl"][target] = float(kl[-len(kl) // 10 :].mean())
        results["off_by"][target] = abs(results["mean_kl"][target] / target - 1)
        terms = metrics.elbo_terms(vae, test_set)
        results["rate"][target], results["distortion"][target] = terms.kl, -terms.reconstruction
        results["fid_of_the_source"][target] = SOURCE[target]
        if not smoke:
            distance = metrics.fid(test_set, vae.sample(len(test_set), seed=0))
            results["fid"][target], results["extractor"] = distance.value, distance.extractor
    x = test_set.images[:8]
    recovered = [vae.reconstruct(x) for vae, *_ in runs.values()]
    plot.images(torch.cat([x, *recovered]), axes[1, 0], columns=8)
    axes[1, 0].set_title("Test images; reconstructed at 8, at 14", fontsize="medium")
    for ax, (target, (vae, *_)) in zip(axes[1, 1:], runs.items(), strict=True):
        plot.images(vae.sample(40, seed=0), ax, columns=8)
        ax.set_title(f"Samples at {target:g} nats", fontsize="medium")
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
    if out is not None:
        path = Path(out) / "07_control_vae.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        results["figure"] = path
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="ControlVAE as a feedback loop.")
    parser.add_argument("--smoke", action="store_true", help="few steps on few images, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figure")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
