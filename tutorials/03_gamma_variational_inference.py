# %% [markdown]
# # Variational inference where everything is known
#
# One latent variable, one datum, one parameter:
#
# $$Z \sim \mathrm{Exponential}(1), \qquad X \mid Z \sim \mathrm{Exponential}(Z), \qquad
#   q_\theta(z) = \theta^2 z\, e^{-\theta z} = \mathrm{Gamma}(2, \theta).$$
#
# Variational inference minimises the Kullback–Leibler divergence from the guide to the joint, which
# is the negative evidence lower bound. Here it can be integrated by hand. With
# $\mathbb{E}_q[z] = 2/\theta$ and the logarithms of $z$ cancelling,
#
# $$\mathrm{KL}(q_\theta(z) \,\|\, p(x, z))
#   = \mathbb{E}_q\!\left[\log \theta^2 z e^{-\theta z} - \log z e^{-z(1 + x)}\right]
#   = 2\log\theta - 2 + \frac{2(x+1)}{\theta}.$$
#
# Its derivative $2/\theta - 2(x+1)/\theta^2$ vanishes at $\theta^\star = x + 1$ only. The posterior
# $p(z \mid x) \propto z e^{-z(1+x)}$ is $\mathrm{Gamma}(2, x + 1)$, so there the guide *is* the
# posterior, and the bound is tight: $-\log p(x) = 2\log(1+x)$.

# %%
from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pyro.infer import SVI, Trace_ELBO
from scipy import integrate, stats
from torch.distributions.constraints import positive

from graphs import gamma

# %% [markdown]
# ## The bound, and a check of the algebra
#
# `gamma.kl` is the formula above. Numerical integration of the definition must give the same.


# %%
def kl_by_quadrature(theta: float, x: float) -> float:
    """The divergence from its definition, integrating over z."""
    guide = stats.gamma(2, scale=1 / theta)

    def integrand(z: float) -> float:
        log_joint = -z + math.log(z) - z * x
        return guide.pdf(z) * (guide.logpdf(z) - log_joint)

    value, _ = integrate.quad(integrand, 1e-12 / theta, 60 / theta, limit=200)
    return value


def draw_bound(ax: Axes, data: tuple[float, ...] = (0.5, 3.0, 20.0)) -> None:
    """The divergence as a function of the guide's parameter, for several data."""
    rates = np.geomspace(0.3, 300, 400)
    for i, x in enumerate(data):
        best = gamma.optimum(x)
        least = -gamma.log_evidence(x)
        text = rf"$x = {x:g}$: least $2\log {1 + x:g} = {least:.2f}$ at $\theta = {best:g}$"
        ax.plot(rates, gamma.kl(rates, x), color=f"C{i}", label=text)
        ax.plot(best, least, "o", color=f"C{i}")
    ax.set(xscale="log", ylim=(0, 20), xlabel=r"rate $\theta$ of the guide")
    ax.set_ylabel(r"$\mathrm{KL}(q_\theta \,\|\, p(x, z))$ in nats")
    ax.set_title(r"The bound touches the evidence at $\theta^\star = x + 1$", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")


# %% [markdown]
# ## The guide against the exact posterior
#
# Two guides that are off and the one that is not. What they lose is
# $\mathrm{KL}(q_\theta \,\|\, p(z \mid x)) = \mathrm{KL}(q_\theta \,\|\, p(x, z)) + \log p(x)$.


# %%
def draw_posterior(ax: Axes, x: float = 3.0) -> None:
    """Densities of the exact posterior and of three guides."""
    z = np.linspace(0, 2.2, 300)
    exact = stats.gamma(2, scale=1 / (x + 1)).pdf(z)
    ax.fill_between(z, exact, color="0.85", label=rf"posterior $p(z \mid x = {x:g})$")
    for i, theta in enumerate((2.0, x + 1, 8.0)):
        loss = gamma.kl(theta, x) + gamma.log_evidence(x)
        style = "--" if theta == x + 1 else "-"
        ax.plot(
            z,
            stats.gamma(2, scale=1 / theta).pdf(z),
            style,
            color=f"C{i}",
            label=rf"guide, $\theta = {theta:g}$: {abs(loss):.2f} nats lost",
        )
    ax.set(xlabel="latent $z$", ylabel="density", ylim=(0, None))
    ax.set_title(f"The guide is the posterior at $\\theta = {x + 1:g}$", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")


# %% [markdown]
# ## The sharpest test there is
#
# The loss of one sample is $\log q_\theta(z) - \log p(x, z) = 2\log\theta - (\theta - x - 1) z$. At
# $\theta^\star$ it does not depend on $z$: **every** single sample gives the evidence exactly. A
# loss that fluctuates there is wrong. Pyro's own `Trace_ELBO` passes on `gamma.model` and
# `gamma.guide`.


# %%
def loss_spread(theta: float, x: float, draws: int) -> tuple[float, float]:
    """Mean and standard deviation of single-sample losses at a fixed parameter."""
    with pyro.get_param_store().scope():
        pyro.param(
            "theta",
            torch.tensor(theta).double(),
            constraint=positive,
        )
        losses = [Trace_ELBO().loss(gamma.model, gamma.guide, x) for _ in range(draws)]
    return float(np.mean(losses)), float(np.std(losses))


# %% [markdown]
# ## Stochastic variational inference
#
# In practice nobody integrates: SVI follows a noisy gradient. With $z = g/\theta$ and
# $g \sim \mathrm{Gamma}(2, 1)$ the reparameterised gradient in $\log\theta$ is
#
# $$2 - g\,\theta^\star/\theta \quad\text{(usual)}, \qquad
#   g\,(1 - \theta^\star/\theta) \quad\text{(without the score of the guide)}.$$
#
# Both have the mean $2 - 2\theta^\star/\theta$. At the optimum the first still has variance 2, so
# it hovers; the second has none, so it lands (Roeder, Wu and Duvenaud 2017). `gamma.fit` uses the
# second, with steps that shrink, and clips the gradient, which is huge for
# $\theta \ll \theta^\star$.


# %%
def usual_svi(x: float, start: float, steps: int, seed: int = 0) -> np.ndarray:
    """The path of θ under stock Pyro: Adam with decaying steps and the usual gradient."""
    path = []
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]):
        pyro.set_rng_seed(seed)
        store = pyro.get_param_store()
        pyro.param(
            "theta",
            torch.tensor(start).double(),
            constraint=positive,
        )
        optimiser = pyro.optim.ClippedAdam(
            {"lr": 0.2, "lrd": 0.02 ** (1 / steps), "betas": (0.9, 0.99)}
        )
        svi = SVI(gamma.model, gamma.guide, optimiser, Trace_ELBO())
        for _ in range(steps):
            path.append(store["theta"].item())
            svi.step(x)
    return np.array(path)


def draw_paths(ax: Axes, fits: list[gamma.Fit], usual: np.ndarray) -> None:
    """How far θ is from the optimum, step by step."""
    for fit in fits:
        error = np.abs(fit.thetas / fit.optimum - 1)
        ax.plot(np.maximum(error, 1e-16), color="C3", lw=1, alpha=0.8)
    ax.plot([], [], color="C3", label="gamma.fit, four starts")
    ax.plot(np.abs(usual / fits[0].optimum - 1), color="C0", lw=1, label="stock gradient")
    ax.axhline(1e-3, color="0.5", lw=0.8, ls=":")
    ax.set(yscale="log", xlabel="step", ylabel=r"$|\theta / \theta^\star - 1|$")
    ax.set_title("Without the score there is nothing to hover on", fontsize="medium")
    ax.legend(frameon=False, loc="upper right")


# %% [markdown]
# ## All together
#
# Fits for several $x$ from starts six orders of magnitude apart must lie on the line $x + 1$.


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        The numbers a reader can compare: the largest difference of the closed form from quadrature,
        the single-sample spread at and beside the optimum, the fitted rates and their largest
        relative error, and the error the usual gradient is left with.
    """
    torch.manual_seed(0)
    steps = 150 if smoke else 600
    grid = [(theta, x) for x in (0.1, 3.0, 50.0) for theta in (0.2, 1.0, 10.0)]
    gap = max(abs(gamma.kl(t, x) - kl_by_quadrature(t, x)) / gamma.kl(t, x) for t, x in grid)

    x = 3.0
    at_optimum = loss_spread(gamma.optimum(x), x, draws=200)
    beside = loss_spread(1.1 * gamma.optimum(x), x, draws=200)

    data = (0.01, 1.0, 100.0) if smoke else (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
    fits = [gamma.fit(x, start=start, steps=steps) for x in data for start in (1e-3, 1e3)]
    starts = [gamma.fit(x, start=start, steps=steps) for start in (1e-3, 0.1, 30.0, 1e3)]
    usual = usual_svi(x, start=30.0, steps=steps)

    figure = Figure(figsize=(10.5, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_bound(axes[0, 0])
    draw_posterior(axes[0, 1], x)
    draw_paths(axes[1, 0], starts, usual)
    gamma.plot(fits, ax=axes[1, 1])
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    results = {
        "quadrature_gap": gap,
        "evidence": -gamma.log_evidence(x),
        "loss_at_optimum": at_optimum[0],
        "spread_at_optimum": at_optimum[1],
        "spread_beside": beside[1],
        "thetas": {fit.x: fit.theta for fit in fits},
        "largest_relative_error": max(abs(fit.theta / fit.optimum - 1) for fit in fits + starts),
        "usual_gradient_error": float(np.abs(usual[-20:] / gamma.optimum(x) - 1).max()),
    }
    if out is not None:
        path = Path(out) / "03_gamma_variational_inference.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        results["figure"] = path
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Gamma variational inference, step by step.")
    parser.add_argument("--smoke", action="store_true", help="fewer fits, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figure")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
