# %% [markdown]
# # Variational inference where everything is known
#
# One latent variable, one datum, one parameter:
#
# $$Z \sim \mathrm{Exponential}(1), \qquad X \mid Z \sim \mathrm{Exponential}(Z), \qquad
#   q_\theta(z) = \theta^2 z\, e^{-\theta z} = \mathrm{Gamma}(2, \theta).$$
#
# Variational inference minimizes the Kullback–Leibler divergence from the guide to the joint, which
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

import math

import numpy as np
import pyro
import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pyro.infer import SVI, Trace_ELBO
from scipy import integrate, stats
from torch.distributions.constraints import positive

from graphs import gamma

tutorial = Tutorial(__name__, "Gamma variational inference, step by step.")
main = tutorial.main
X = 3.0  # the datum of most sections


def panel() -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


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
    ax.legend(frameon=False, fontsize="small", loc="upper right")


@tutorial.section
def check_the_algebra() -> None:
    """Compare the closed form with quadrature, and draw it."""
    grid = [(theta, x) for x in (0.1, 3.0, 50.0) for theta in (0.2, 1.0, 10.0)]
    rows = [(x, theta, gamma.kl(theta, x), kl_by_quadrature(theta, x)) for theta, x in grid]
    gap = max(abs(exact - numeric) / exact for *_, exact, numeric in rows)
    tutorial.keep(quadrature_gap=gap, evidence=-gamma.log_evidence(X))
    table(("x", "θ", "closed form", "quadrature"), rows)
    print(f"\nThey differ by {gap:.0e} of the value at most.")
    figure, ax = panel()
    draw_bound(ax)
    tutorial.show(figure, "03_bound")


# %%
check_the_algebra()

# %% [markdown]
# ## The guide against the exact posterior
#
# Two guides that are off and the one that is not. What they lose is
#
# $$\mathrm{KL}(q_\theta \,\|\, p(z \mid x)) = \mathrm{KL}(q_\theta \,\|\, p(x, z)) + \log p(x).$$


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


@tutorial.section
def compare_guides() -> None:
    """What three guides lose."""
    rows = [(theta, gamma.kl(theta, X) + gamma.log_evidence(X)) for theta in (2.0, X + 1, 8.0)]
    table(("θ", "nats lost"), [(theta, abs(loss)) for theta, loss in rows])
    figure, ax = panel()
    draw_posterior(ax, X)
    tutorial.show(figure, "03_posterior")


# %%
compare_guides()

# %% [markdown]
# ## The sharpest test there is
#
# The loss of one sample is
#
# $$\log q_\theta(z) - \log p(x, z) = 2\log\theta - (\theta - x - 1) z.$$
#
# At $\theta^\star$ it does not depend on $z$: **every** single sample gives the evidence exactly. A
# loss that fluctuates there is wrong. Pyro's own `Trace_ELBO` passes the test on `gamma.model` and
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


@tutorial.section
def spread_of_losses() -> None:
    """Single-sample losses at the optimum and ten per cent beside it."""
    torch.manual_seed(0)
    best = gamma.optimum(X)
    mean, spread = loss_spread(best, X, draws=200)
    mean_beside, spread_beside = loss_spread(1.1 * best, X, draws=200)
    tutorial.keep(loss_at_optimum=mean, spread_at_optimum=spread, spread_beside=spread_beside)
    table(
        ("200 single samples", "mean loss", "exact KL", "standard deviation"),
        [
            (f"θ = {best:g}, the optimum", mean, gamma.kl(best, X), spread),
            (f"θ = {1.1 * best:g}", mean_beside, gamma.kl(1.1 * best, X), spread_beside),
        ],
    )
    print(f"\n-log p(x) = 2 log(1 + x) = {-gamma.log_evidence(X):.3f} nats.")


# %%
spread_of_losses()

# %% [markdown]
# ## Stochastic variational inference
#
# In practice nobody integrates: SVI follows a noisy gradient. With $z = g/\theta$ and
# $g \sim \mathrm{Gamma}(2, 1)$ the reparameterized gradient in $\log\theta$ is
#
# $$\begin{aligned}
#   2 - g\,\theta^\star/\theta &\quad\text{(usual)}, \\
#   g\,(1 - \theta^\star/\theta) &\quad\text{(without the score of the guide)}.
#   \end{aligned}$$
#
# Both have the mean $2 - 2\theta^\star/\theta$. They differ by the score of the guide, $\partial
# \log q_\theta(z) / \partial \log\theta$ at a fixed $z$, whose mean is zero. At the optimum the
# first still has variance 2, so θ hovers; the second has none, so θ lands (Roeder, Wu and Duvenaud
# 2017). `gamma.fit` uses the second, with steps that shrink, and clips the gradient, which is huge
# for $\theta \ll \theta^\star$.


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
        optimizer = pyro.optim.ClippedAdam(
            {"lr": 0.2, "lrd": 0.02 ** (1 / steps), "betas": (0.9, 0.99)}
        )
        svi = SVI(gamma.model, gamma.guide, optimizer, Trace_ELBO())
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


@tutorial.section
def compare_gradients() -> None:
    """Follow both gradients from several starts."""
    torch.manual_seed(0)
    steps = 150 if tutorial.smoke else 600
    fits = [gamma.fit(X, start=start, steps=steps) for start in (1e-3, 0.1, 30.0, 1e3)]
    usual = usual_svi(X, start=30.0, steps=steps)
    left = float(np.abs(usual[-20:] / gamma.optimum(X) - 1).max())
    worst = max(abs(fit.theta / fit.optimum - 1) for fit in fits)
    tutorial.keep(usual_gradient_error=left)
    table(
        (f"after {steps} steps", "relative error of θ"),
        [("usual gradient, last 20 steps", left), ("without the score", worst)],
    )
    figure, ax = panel()
    draw_paths(ax, fits, usual)
    tutorial.show(figure, "03_paths")


# %%
compare_gradients()

# %% [markdown]
# ## Every datum, every start
#
# Fits for several $x$, each from two starts six orders of magnitude apart, must lie on the line
# $\theta^\star = x + 1$.


# %%
@tutorial.section
def fit_many() -> None:
    """Fit the guide to several data from distant starts."""
    torch.manual_seed(0)
    steps = 150 if tutorial.smoke else 600
    data = (0.01, 1.0, 100.0) if tutorial.smoke else (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
    starts = (1e-3, 1e3)
    fits = [gamma.fit(x, start=start, steps=steps) for x in data for start in starts]
    worst = max(abs(fit.theta / fit.optimum - 1) for fit in fits)
    tutorial.keep(thetas={fit.x: fit.theta for fit in fits}, largest_relative_error=worst)
    table(
        ("x", "start", "ours", "the source: x + 1", "agrees?"),
        [
            (
                f"{fit.x:g}",
                f"{start:g}",
                f"{fit.theta:.6g}",
                f"{fit.x + 1:.6g}",
                abs(fit.theta / (fit.x + 1) - 1) < 1e-3,
            )
            for fit, start in zip(fits, starts * len(data), strict=True)
        ],
    )
    figure, ax = panel()
    gamma.plot(fits, ax=ax)
    tutorial.show(figure, "03_gamma_variational_inference")


# %%
fit_many()
