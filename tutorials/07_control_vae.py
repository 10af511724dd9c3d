# %% [markdown]
# # A variational autoencoder on a control loop
#
# The β-VAE weighs the divergence of its codes from the prior,
#
# $$\mathcal{L}_\beta = \mathbb{E}_q[\log p(x \mid z)]
#   - \beta\,\mathrm{KL}(q(z \mid x) \,\|\, p(z)),$$
#
# and nobody knows beforehand which KL a given β leads to: if β is too large, the KL vanishes, and
# with it everything the code says. ControlVAE (Shao et al. 2020) asks for the KL itself. The set
# point $C$ in nats is the input, β the actuator, and a proportional–integral controller with gains
# $K_p$ and $K_i$ closes the loop on the error $e = C - \mathrm{KL}$ of every batch:
#
# $$P = \frac{K_p}{1 + \exp e}, \qquad I \leftarrow I - K_i\, e, \qquad
#   \beta = \mathrm{clip}(P + I + \beta_{\min},\ \beta_{\min},\ \beta_{\max}).$$
#
# Too much KL ($e < 0$) raises β. The integral has no steady state but $e = 0$, so if any β within
# the bounds gives the KL $C$, the loop settles there. At a bound the integral must not wind up: it
# ignores errors that push β further out of bounds, and only those.

# %%
from __future__ import annotations

import numpy as np
import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import metrics, plot, zoo
from ppl_gen.data import ImageSet, mnist
from ppl_gen.schedules import PIController

tutorial = Tutorial(__name__, "ControlVAE as a feedback loop.")
main = tutorial.main
SOURCE = {8.0: 80.65, 14.0: 136.79}  # the source's FID by set point

# %% [markdown]
# ## The controller alone
#
# Replace training by a first-order lag: the KL follows $20\,e^{-\beta}$ with a time constant of 20
# steps. The set point is then reached at $\beta = \log(20/C)$, which is known.


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


@tutorial.section
def control_the_lag(steps: int = 400) -> None:
    """Drive the lag to each set point."""
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    ax = figure.subplots()
    last, rows = {}, []
    for i, target in enumerate(SOURCE):
        kl, weight = lag(PIController(target), steps)
        ax.plot(kl, color=f"C{i}", label=f"set point {target:g}")
        ax.axhline(target, color=f"C{i}", lw=0.8, ls=":")
        last[target] = float(kl[-1])
        rows.append((f"{target:g}", last[target], float(weight[-1]), float(np.log(20 / target))))
    tutorial.keep(lag_kl=last)
    table(("set point", f"KL after {steps} steps", "β", "log(20 / C)"), rows)
    ax.set(xlabel="step", ylabel="KL in nats")
    ax.set_title(r"A plant whose KL lags behind $20 e^{-\beta}$", fontsize="medium")
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    tutorial.show(figure, "07_lag")


# %%
control_the_lag()

# %% [markdown]
# ## The loop around a VAE
#
# `zoo.control_vae` differs from `zoo.vae` in one part: the weight of its objective is the
# controller. A callback reads the weight after every step; the KL, in nats per image, is in the
# history.


# %%
Run = tuple[ppl_gen.VAE, ppl_gen.History, list[float]]


def train(target: float, data: ImageSet) -> Run:
    """A ControlVAE for one set point, its history, and its weight at every step."""
    torch.manual_seed(0)
    vae = zoo.control_vae(target_kl=target)
    weights: list[float] = []
    history = ppl_gen.fit(
        vae,
        data,
        epochs=30 if tutorial.smoke else 60,
        staged=not tutorial.smoke,
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
        ax.set(xlabel="optimizer step")
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)


def split() -> tuple[ImageSet, ImageSet]:
    """Training and test images."""
    digits = mnist()
    if tutorial.smoke:
        return digits.train.subset(slice(512)), digits.test.subset(slice(200))
    return digits.train, digits.test


@tutorial.section
def close_the_loop() -> dict[float, Run]:
    """Train at both set points, and compare the KL at the end with what was asked for."""
    runs = {target: train(target, split()[0]) for target in SOURCE}
    kls = {target: np.array(history["kl"]) for target, (_, history, _) in runs.items()}
    mean_kl = {target: float(kl[-len(kl) // 10 :].mean()) for target, kl in kls.items()}
    off_by = {target: abs(kl / target - 1) for target, kl in mean_kl.items()}
    tutorial.keep(mean_kl=mean_kl, off_by=off_by)
    table(
        ("set point", "mean KL of the last tenth", "off by", "β at the end"),
        [
            (f"{target:g}", mean_kl[target], f"{off_by[target]:.1%}", weights[-1])
            for target, (*_, weights) in runs.items()
        ],
    )
    figure = Figure(figsize=(11, 4), layout="constrained")
    draw_loop(figure.subplots(1, 2), runs)
    tutorial.show(figure, "07_control_vae")
    return runs


# %%
runs = close_the_loop()

# %% [markdown]
# ## What the set point buys
#
# The KL is the rate of the code, and the negative expected log-likelihood its distortion. A larger
# set point must lower the distortion. The source found the larger KL to have the better
# reconstruction and *worse* samples (FID 80.65 at 8 nats against 136.79 at 14). Its FIDs are of
# another feature network, so only the order can be compared. With the MLP, the 4,000 images and the
# one seed of a whole run here the first half is confirmed and the second is not: from 8 to 14 nats
# the distortion falls from 123 to 105 nats, and the FID falls with it, from 11.4 to 9.3.
#
# Three seeds on 8,000 images in 20 dimensions agree (`tests/benchmarks/mnist.py control`):
# FID 11.6 ± 0.5 at 8 nats and 8.7 ± 0.3 at 14. Further set points complete the picture: the FID is
# lowest at 20 nats (8.4 ± 0.3), is 8.8 at 26, where the controller ends at β = 1, and 9.4 at 32,
# where it ends at 0.6. Too little KL blurs the samples; with too much, draws from the prior fall
# between the codes. The source's order, better samples at the lower KL, holds on that second branch
# only.


# %%
@tutorial.section
def compare_set_points(runs: dict[float, Run]) -> None:
    """Rate, distortion and FID at both set points, beside the source's FID."""
    test = split()[1]
    found: dict[str, dict[float, float]] = {"rate": {}, "distortion": {}, "fid": {}}
    for target, (vae, *_) in runs.items():
        terms = metrics.elbo_terms(vae, test)
        found["rate"][target], found["distortion"][target] = terms.kl, -terms.reconstruction
        if not tutorial.smoke:
            distance = metrics.fid(test, vae.sample(len(test), seed=0))
            found["fid"][target] = distance.value
            tutorial.keep(extractor=distance.extractor)
    tutorial.keep(**found, fid_of_the_source=SOURCE)
    table(
        ("set point", "rate", "distortion", "FID, ours", "FID, the source"),
        [(f"{t:g}", *(found[name].get(t) for name in found), SOURCE[t]) for t in runs],
    )
    low, high = SOURCE
    claims = {
        "the larger KL has the lower distortion": found["distortion"][high]
        < found["distortion"][low]
    }
    if found["fid"]:
        claims["the larger KL has the worse samples"] = found["fid"][high] > found["fid"][low]
    table(
        ("claim", "ours", "the source", "agrees?"),
        [(text, holds, True, holds) for text, holds in claims.items()],
    )


@tutorial.section
def show_images(runs: dict[float, Run]) -> None:
    """Reconstructions and samples at both set points."""
    x = split()[1].images[:8]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    first, *others = figure.subplots(1, 3)
    recovered = [vae.reconstruct(x) for vae, *_ in runs.values()]
    plot.images(torch.cat([x, *recovered]), first, columns=8)
    first.set_title("Test images; reconstructed at 8, at 14", fontsize="medium")
    for ax, (target, (vae, *_)) in zip(others, runs.items(), strict=True):
        plot.images(vae.sample(40, seed=0), ax, columns=8)
        ax.set_title(f"Samples at {target:g} nats", fontsize="medium")
    tutorial.show(figure, "07_samples")


# %%
compare_set_points(runs)
show_images(runs)
