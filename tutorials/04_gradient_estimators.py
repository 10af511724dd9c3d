# %% [markdown]
# # The gradient of an expectation, many ways
#
# Variational inference, reinforcement learning and discrete latent variables meet the same
# question. Of a cost $f$ and a distribution $q_\phi$ we want
#
# $$\nabla_\phi\, \mathbb{E}_{q_\phi(z)}[f(z)],$$
#
# and we can only draw from $q_\phi$. Where does the $\nabla$ go? There are three classical answers.
#
# **Differentiate the density.** With $\nabla q = q \nabla \log q$,
#
# $$\nabla_\phi \int q_\phi(z) f(z)\, dz
#   = \mathbb{E}_{q}\big[f(z)\, \nabla_\phi \log q_\phi(z)\big].$$
#
# The *score function* asks nothing of $f$, not even that $z$ be continuous. As
# $\mathbb{E}_q \nabla \log q = 0$, any constant $b$ may be subtracted from $f$: a *baseline*.
#
# **Differentiate the path.** If $z = g_\phi(\epsilon)$ with noise that knows nothing of $\phi$,
#
# $$\nabla_\phi\, \mathbb{E}_\epsilon[f(g_\phi(\epsilon))]
#   = \mathbb{E}_\epsilon\big[f'(z)\, \nabla_\phi g_\phi(\epsilon)\big].$$
#
# *Reparameterisation* needs a differentiable sampler and a differentiable cost.
#
# **Differentiate the measure.** $\nabla_\phi q = c\,(q^+ - q^-)$ is a difference of two densities,
# so the gradient is $c\,(\mathbb{E}_{q^+} f - \mathbb{E}_{q^-} f)$: two evaluations per parameter.
#
# All three have the right mean. What tells them apart is their variance.

# %%
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import ppl_gen
from ppl_gen import data, gradients, zoo

# %% [markdown]
# ## One coin, by hand
#
# Let $b \sim \mathrm{Bernoulli}(\sigma(\phi))$ and $f(b) = (b - t)^2$. With $p = \sigma(\phi)$ the
# gradient in the logit is $p(1-p)\,(f(1) - f(0)) = p(1-p)(1-2t)$. An estimator of it is a short
# list of values and their probabilities:
#
# | estimator | value | probability |
# | --- | --- | --- |
# | score function | $f(0)\cdot(-p)$ and $f(1)\cdot(1-p)$ | $1-p$ and $p$ |
# | leave-one-out, two draws | $\tfrac12 (f(1) - f(0))$ if they differ, else 0 | $2p(1-p)$ |
# | DisARM | $\tfrac12 (f(1) - f(0)) \max(p, 1-p)$ if $b_1 \neq b_2$, else 0 | $2\min(p, 1-p)$ |
#
# DisARM draws one uniform $u$ and from it two coins that are as opposed as can be,
# $b_1 = 1[u > 1-p]$ and $b_2 = 1[u < p]$. At $p = \tfrac12$ they always differ: no variance at all.


# %%
def by_hand(target: float, p: float) -> dict[str, tuple[float, float]]:
    """Mean and variance of three estimators, from their values and probabilities."""
    f0, f1 = target**2, (1 - target) ** 2
    few = min(p, 1 - p)
    outcomes = {
        "score": [(1 - p, -p * f0), (p, (1 - p) * f1)],
        "leave_one_out": [(2 * p * (1 - p), (f1 - f0) / 2)],
        "disarm": [(2 * few, (f1 - f0) / 2 * (1 - few))],
    }
    found = {}
    for name, values in outcomes.items():
        mean = sum(chance * value for chance, value in values)
        found[name] = (mean, sum(chance * value**2 for chance, value in values) - mean**2)
    return found


def coin(target: float, p: float, draws: int) -> gradients.Comparison:
    """The same, measured, with every estimator that serves a coin."""
    return gradients.compare(gradients.bernoulli_quadratic(target, p), draws=draws)


# %% [markdown]
# ## How many samples?
#
# The mean of $n$ independent estimates has $1/n$ of the variance. Samples that know of each other
# do better: in leave-one-out the others' mean cost is the baseline of each.


# %%
def draw_samples(ax: Axes, target: float, p: float, draws: int) -> dict[int, float]:
    """Variance against the number of evaluations: independent draws and leave-one-out."""
    problem = gradients.bernoulli_quadratic(target, p)
    score = gradients.compare(problem, "score", draws)["score"].variance
    counts = [2, 4, 8, 16, 32]
    rows = gradients.compare(problem, [gradients.LeaveOneOut(k) for k in counts], draws).rows
    found = {k: row.variance for k, row in zip(counts, rows, strict=True)}
    every = [1, *counts]
    ax.plot(every, [score / n for n in every], "o-", label="score function, $n$ draws")
    ax.plot(counts, list(found.values()), "o-", label="leave-one-out of $n$ draws")
    ax.set(xscale="log", yscale="log", xlabel="evaluations $n$", ylabel="variance")
    ax.set_title("Samples that know of each other", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")
    return found


# %% [markdown]
# ## Where the score function wins
#
# Under $x \sim N(\mu, 1)$, $\mu = 1$, take the costs $(x-k)^2$, $e^{-kx^2}$ and $\cos kx$ (Mohamed,
# Rosca, Figurnov and Mnih 2020). The pathwise estimate is $f'(x)$, the score estimate
# $f(x)(x - \mu)$. When $k$ grows the last two costs vary faster than the noise: $f'$ is then large
# and of changing sign, while $f$ stays within $\pm 1$. Somewhere the lines cross.

# %%
SHOWN = ("score", "score_constant", "reparameterized", "measure_valued")
LABELS = ("score function", "with the best constant", "reparameterised", "measure-valued")
PANELS = {
    "square": (r"$(x - k)^2$", (-3.0, -2.0, -1.0, 0.0, 2.0, 3.0, 4.0)),
    "exp": (r"$e^{-kx^2}$", (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)),
    "cos": (r"$\cos kx$", (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)),
}


def draw_costs(ax: Axes, cost: str, draws: int) -> dict[float, dict[str, float]]:
    """Variance of four estimators against k, for one cost."""
    title, ks = PANELS[cost]
    found = {}
    for k in ks:
        rows = gradients.compare(gradients.normal_cost(cost, k), SHOWN, draws).rows
        found[k] = {row.estimator: row.variance for row in rows}
    for name, label in zip(SHOWN, LABELS, strict=True):
        ax.plot(ks, [found[k][name] for k in ks], "o-", ms=3, label=label)
    ax.set(yscale="log", xlabel="$k$", title=title)
    if cost == "exp":
        ax.set_xscale("log")
    return found


def crossover(found: dict[float, dict[str, float]]) -> float | None:
    """The first k from which the score function has the lower variance."""
    wins = [k for k, row in found.items() if row["score"] < row["reparameterized"]]
    return min(wins) if wins else None


# %% [markdown]
# ## Relaxing a coin
#
# A coin has no path, but its relaxation has. With logistic noise $\epsilon$,
# $b = 1[\phi + \epsilon > 0]$ is the coin and $y = \sigma((\phi + \epsilon)/\tau)$ its relaxation
# by Gumbel-Softmax at temperature $\tau$. Its gradient is that of another expectation,
# $\mathbb{E} f(y)$, so it is biased. Cooling removes the bias, and lets the gradient explode: $y$
# is then flat almost everywhere and steep at the step. So one anneals $\tau$, but not to 0.


# %%
def draw_temperatures(ax: Axes, draws: int) -> dict[float, tuple[float, float]]:
    """Bias and standard deviation of the relaxed gradient as it cools from 5 to 0.1."""
    taus = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
    problem = gradients.bernoulli_quadratic(0.45, 0.5)
    relaxed = [gradients.GumbelSoftmax(tau) for tau in taus]
    rows = gradients.compare(problem, relaxed, 20 * draws).rows
    found = {tau: (row.bias, row.variance) for tau, row in zip(taus, rows, strict=True)}
    errors = [2 * row.stderr for row in rows]
    ax.errorbar(taus, [abs(bias) for bias, _ in found.values()], errors, fmt="o-", label="|bias|")
    ax.plot(taus, [v**0.5 for _, v in found.values()], "s-", label="standard deviation")
    truth = problem.truth()
    assert truth is not None
    ax.axhline(truth["logits"].item(), color="0.5", ls=":", label="the gradient itself")
    ax.set(xscale="log", yscale="log", xlabel=r"temperature $\tau$")
    ax.invert_xaxis()
    ax.set_title("Cooling trades bias for variance", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")
    return found


# %% [markdown]
# ## A Gaussian VAE
#
# In a variational autoencoder $f(z) = \log q_\phi(z \mid x) - \log p(x, z)$, and $\phi$ are the
# weights of the encoder. (Note the joint: with $\log p(x \mid z)$ in its place it is no bound.)
# A likelihood of hundreds of pixels makes $f$ huge, and the score function multiplies by all of it.
# The estimator is an argument of the objective, so the same model trains with either.


# %%
def train_gaussian(images: Tensor, name: str, epochs: int) -> tuple[ppl_gen.VAE, list[float]]:
    """A VAE trained with one estimator; the test of it is the ELBO per epoch."""
    torch.manual_seed(0)
    vae = zoo.vae(latent_dim=10, hidden=200, objective=gradients.EstimatedELBO(name))
    return vae, train(vae, images, epochs)


def train(vae: ppl_gen.VAE, images: Tensor, epochs: int, lr: float = 1e-3) -> list[float]:
    """The mean ELBO of each epoch, in nats per image."""
    history = ppl_gen.fit(
        vae, images, epochs=epochs, batch_size=100, lr=lr, staged=False, progress=False
    )
    elbo = torch.as_tensor(history["elbo"])
    return elbo.reshape(epochs, -1).mean(1).tolist()


def draw_training(ax: Axes, curves: dict[str, list[float]], title: str) -> None:
    """ELBO against epochs, one line per estimator, the best of the end first."""
    for name, curve in sorted(curves.items(), key=lambda item: -item[1][-1]):
        ax.plot(range(1, len(curve) + 1), curve, label=f"{name} ({curve[-1]:.0f})")
    ax.set(xlabel="epoch", ylabel="ELBO in nats per image")
    ax.set_title(title, fontsize="medium")
    ax.legend(frameon=False, fontsize="x-small")


# %% [markdown]
# ## A VAE with discrete latents
#
# Here there is no path, and the estimators above are all there is. NVIL learns a baseline from the
# image. REBAR and RELAX use the relaxation as a *control variate*: the bias of the relaxation
# cancels, and most of the variance with it. (On the coin above REBAR does not pay: a relaxed coin
# may sit at $y = t$, where the cost is least, so $f(y)$ says little about $f(b)$. RELAX learns.)
#
# $$g = [f(b) - c(\tilde\zeta)]\, \nabla \log q(b) + \nabla c(\zeta) - \nabla c(\tilde\zeta),
#   \qquad \zeta = \phi + \epsilon,\quad \tilde\zeta \sim p(\zeta \mid b).$$

# %%
DISCRETE = ("score", "score_running", "nvil", "leave_one_out", "disarm", "rebar", "gumbel_softmax")


def train_bernoulli(images: Tensor, name: str, epochs: int, latents: int) -> list[float]:
    """The ELBO per epoch of the linear belief network, trained with one estimator."""
    torch.manual_seed(0)
    return train(zoo.bernoulli_vae(latent_dim=latents, estimator=name), images, epochs, 3e-3)


# %% [markdown]
# ## All together


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; figures are written to ``out`` where given.

    Returns:
        Variances by hand and measured, where the score function starts to win, bias and variance by
        temperature, variances on both autoencoders, and the ELBO that each estimator trained to.
    """
    draws = 3000 if smoke else 50_000
    results: dict[str, Any] = {}

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(2, 3)
    for ax, cost in zip(axes[0], PANELS, strict=True):
        found = draw_costs(ax, cost, draws)
        results[f"crossover_{cost}"] = crossover(found)
        results[f"variances_{cost}"] = found
    axes[0, 0].set_ylabel("variance of one estimate")
    axes[0, 0].legend(frameon=False, fontsize="x-small", loc="upper center")
    results["by_hand"] = by_hand(0.45, 0.05)
    measured = coin(0.45, 0.05, draws)
    print(measured)
    results["measured"] = {
        row.estimator: (row.variance, row.variance_stderr, row.bias, row.stderr)
        for row in measured.rows
    }
    measured.plot(axes[1, 0])
    axes[1, 0].set_title("One coin, $t = 0.45$, $p = 0.05$", fontsize="medium")
    axes[1, 0].tick_params(axis="y", labelsize=7)
    results["leave_one_out"] = draw_samples(axes[1, 1], 0.45, 0.05, draws)
    results["temperatures"] = draw_temperatures(axes[1, 2], draws)

    digits = data.mnist().train.images
    digits = (digits > 0.5).float()[: 500 if smoke else 4000]
    batch = digits[: 10 if smoke else 50]
    repeats = 30 if smoke else 300
    epochs, latents = (2, 20) if smoke else (15, 200)

    second = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = second.subplots(1, 3)
    gaussian = {name: train_gaussian(digits, name, epochs) for name in ("reparameterized", "score")}
    results["gaussian_elbo"] = {name: curve[-1] for name, (_, curve) in gaussian.items()}
    draw_training(left, {name: c for name, (_, c) in gaussian.items()}, "A Gaussian VAE")
    problem = gradients.gaussian_vae(gaussian["reparameterized"][0], batch)
    rows = gradients.compare(problem, ["score", "reparameterized"], repeats)
    print(rows)
    results["gaussian_ratio"] = rows["score"].variance / rows["reparameterized"].variance

    names = DISCRETE[:5] if smoke else DISCRETE
    curves = {name: train_bernoulli(digits, name, epochs, latents) for name in names}
    results["bernoulli_elbo"] = {name: curve[-1] for name, curve in curves.items()}
    draw_training(middle, curves, f"A VAE with {latents} binary latents")
    torch.manual_seed(0)
    vae = zoo.bernoulli_vae(latent_dim=latents)
    train(vae, digits, 1 if smoke else 5, 3e-3)
    many = gradients.compare(gradients.bernoulli_vae(vae, batch), names, repeats)
    print(many)
    results["bernoulli_variance"] = {row.estimator: row.variance for row in many.rows}
    many.plot(right)
    right.set_title("Its encoder gradient after five epochs", fontsize="medium")

    if out is not None:
        for part, name in ((figure, "costs_and_coins"), (second, "autoencoders")):
            path = Path(out) / f"04_gradient_estimators_{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            part.savefig(path, dpi=130)
            results[name] = path
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Gradient estimators side by side.")
    parser.add_argument("--smoke", action="store_true", help="fewer draws and steps, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figures")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
