# %% [markdown]
# # The gradient of an expectation, many ways
#
# Variational inference, reinforcement learning and discrete latent variables meet the same
# question. Of a cost $f$ and a distribution $q_\phi$ we want
#
# $$\nabla_\phi\, \mathbb{E}_{q_\phi(z)}[f(z)],$$
#
# and we can only draw from $q_\phi$. What does the $\nabla$ act on? There are three classical
# answers.
#
# **Differentiate the density.** With $\nabla q = q \nabla \log q$,
#
# $$\nabla_\phi \int q_\phi(z) f(z)\, dz
#   = \mathbb{E}_{q}\big[f(z)\, \nabla_\phi \log q_\phi(z)\big].$$
#
# The *score function* asks nothing of $f$, not even that $z$ be continuous. As
# $\mathbb{E}_q \nabla \log q = 0$, any constant $b$ may be subtracted from $f$: a *baseline*.
#
# **Differentiate the path.** If $z = g_\phi(\epsilon)$ with noise whose distribution does not
# depend on $\phi$,
#
# $$\nabla_\phi\, \mathbb{E}_\epsilon[f(g_\phi(\epsilon))]
#   = \mathbb{E}_\epsilon\big[f'(z)\, \nabla_\phi g_\phi(\epsilon)\big].$$
#
# *Reparameterization* needs a differentiable sampler and a differentiable cost.
#
# **Differentiate the measure.** $\nabla_\phi q = c\,(q^+ - q^-)$ is a difference of two densities,
# so the gradient is $c\,(\mathbb{E}_{q^+} f - \mathbb{E}_{q^-} f)$: two evaluations per parameter.
#
# All three have the right mean. What tells them apart is their variance.

# %%
from __future__ import annotations

import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import ppl_gen
from ppl_gen import data, gradients, zoo

tutorial = Tutorial(__name__, "Gradient estimators side by side.")
main = tutorial.main


def draws() -> int:
    """How many estimates a variance is measured from."""
    return 3000 if tutorial.smoke else 50_000


def panel(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


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
# Leave-one-out subtracts from the cost of one draw that of the other. DisARM (Dong, Mnih and Tucker
# 2020) draws one uniform $u$ and from it two coins that are as opposed as can be,
# $b_1 = 1[u > 1-p]$ and $b_2 = 1[u < p]$. At $p = \tfrac12$ they always differ: no variance at all.
#
# The second table has every estimator of the library that serves a coin, by its name there
# (`ppl_gen.gradients` describes them), with its cost in evaluations of $f$ and its signal-to-noise
# ratio (snr), the gradient over the standard deviation of one estimate.


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


@tutorial.section
def one_coin(target: float = 0.45, p: float = 0.05) -> None:
    """Compare the variances by hand with those of every estimator that serves a coin."""
    exact = by_hand(target, p)
    measured = gradients.compare(gradients.bernoulli_quadratic(target, p), draws=draws())
    tutorial.keep(
        by_hand=exact,
        measured={
            row.estimator: (row.variance, row.variance_stderr, row.bias, row.stderr)
            for row in measured.rows
        },
    )
    rows = []
    for name, (_, variance) in exact.items():
        row = measured[name]
        near = abs(row.variance - variance) < 4 * row.variance_stderr
        ours = f"{row.variance:.2e} ± {row.variance_stderr:.0e}"
        rows.append((name, ours, f"{variance:.2e}", near))
    table(("variance at p = 0.05", "measured", "by hand", "agrees?"), rows)
    print(f"\nAll estimators for a coin:\n{measured}")
    figure, ax = panel(height=5)
    measured.plot(ax)
    ax.set_title("One coin, $t = 0.45$, $p = 0.05$", fontsize="medium")
    tutorial.show(figure, "04_gradient_estimators_coin")


# %%
one_coin()

# %% [markdown]
# ## How many samples?
#
# The mean of $n$ independent estimates has $1/n$ of the variance. Samples that share information do
# better: leave-one-out takes the mean cost of the others as the baseline of each.


# %%
@tutorial.section
def more_samples(target: float = 0.45, p: float = 0.05) -> None:
    """Variance against the number of evaluations: independent draws and leave-one-out."""
    problem = gradients.bernoulli_quadratic(target, p)
    score = gradients.compare(problem, "score", draws())["score"].variance
    counts = [2, 4, 8, 16, 32]
    estimators = [gradients.LeaveOneOut(k) for k in counts]
    rows = gradients.compare(problem, estimators, draws()).rows
    found = {k: row.variance for k, row in zip(counts, rows, strict=True)}
    tutorial.keep(leave_one_out=found)
    table(
        ("evaluations n", "score function", "leave-one-out", "ratio"),
        [(k, f"{score / k:.1e}", f"{v:.1e}", f"{score / k / v:.1f}") for k, v in found.items()],
    )
    figure, ax = panel()
    every = [1, *counts]
    ax.plot(every, [score / n for n in every], "o-", label="score function, $n$ draws")
    ax.plot(counts, list(found.values()), "o-", label="leave-one-out of $n$ draws")
    ax.set(xscale="log", yscale="log", xlabel="evaluations $n$", ylabel="variance")
    ax.set_xticks(every, [str(n) for n in every])
    ax.minorticks_off()
    ax.set_title("Samples that share information", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")
    tutorial.show(figure, "04_gradient_estimators_samples")


# %%
more_samples()

# %% [markdown]
# ## Where the score function wins
#
# Under $x \sim N(\mu, 1)$, $\mu = 1$, take the costs $(x-k)^2$, $e^{-kx^2}$ and $\cos kx$ (Mohamed,
# Rosca, Figurnov and Mnih 2020). The pathwise estimate is $f'(x)$, the score estimate
# $f(x)(x - \mu)$. When $k$ grows the last two costs vary faster than the noise: $f'$ is then large
# and of changing sign, while $f$ stays within $\pm 1$. Somewhere the lines cross.

# %%
SHOWN = ("score", "score_constant", "reparameterized", "measure_valued")
LABELS = ("score function", "with the best constant", "reparameterized", "measure-valued")
PANELS = {
    "square": (r"$(x - k)^2$", (-3.0, -2.0, -1.0, 0.0, 2.0, 3.0, 4.0)),
    "exp": (r"$e^{-kx^2}$", (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)),
    "cos": (r"$\cos kx$", (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)),
}
FORMULAS = {"square": "(x - k)²", "exp": "exp(-kx²)", "cos": "cos kx"}


def draw_costs(ax: Axes, cost: str) -> dict[float, dict[str, float]]:
    """Variance of four estimators against k, for one cost."""
    title, ks = PANELS[cost]
    found = {}
    for k in ks:
        rows = gradients.compare(gradients.normal_cost(cost, k), SHOWN, draws()).rows
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


@tutorial.section
def three_costs() -> None:
    """Find where the score function starts to win on each cost."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    rows = []
    for ax, cost in zip(axes, PANELS, strict=True):
        found = draw_costs(ax, cost)
        start = crossover(found)
        tutorial.keep(**{f"crossover_{cost}": start, f"variances_{cost}": found})
        last = found[max(found)]
        ratio = last["reparameterized"] / last["score"]
        rows.append((FORMULAS[cost], "never" if start is None else f"k = {start:g}", ratio))
    ends = "variance ratio, reparameterized to score, at the largest k"
    table(("cost", "the score function wins from", ends), rows)
    at_five = tutorial.results["variances_cos"][5.0]
    print("\nThe variances for cos 5x:")
    table(
        ("estimator", "ours", "the source", "agrees?"),
        [
            (name, at_five[name], stated, abs(at_five[name] / stated - 1) < 0.1)
            for name, stated in {"reparameterized": 12.5, "score": 0.5}.items()
        ],
    )
    axes[0].set_ylabel("variance of one estimate")
    lines = axes[0].get_lines()
    figure.legend(handles=lines, frameon=False, loc="outside lower center", ncols=len(lines))
    tutorial.show(figure, "04_gradient_estimators_costs")


# %%
three_costs()

# %% [markdown]
# ## Relaxing a coin
#
# A coin has no path, but its relaxation has. With logistic noise $\epsilon$,
# $b = 1[\phi + \epsilon > 0]$ is the coin and $y = \sigma((\phi + \epsilon)/\tau)$ its relaxation
# by Gumbel-Softmax at temperature $\tau$. Its gradient is that of another expectation,
# $\mathbb{E} f(y)$, so it is biased. Cooling removes the bias, and lets the gradient explode: $y$
# is then flat almost everywhere and steep at the step. So one anneals $\tau$, but not to 0.


# %%
@tutorial.section
def cool_down() -> None:
    """Bias and standard deviation of the relaxed gradient as it cools from 5 to 0.1."""
    taus = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
    problem = gradients.bernoulli_quadratic(0.45, 0.5)
    relaxed = [gradients.GumbelSoftmax(tau) for tau in taus]
    rows = gradients.compare(problem, relaxed, 20 * draws()).rows
    found = {tau: (row.bias, row.variance) for tau, row in zip(taus, rows, strict=True)}
    tutorial.keep(temperatures=found)
    table(
        ("temperature", "bias", "standard error", "standard deviation"),
        [
            (f"{tau:g}", f"{row.bias:.4f}", f"{row.stderr:.4f}", f"{row.variance**0.5:.3f}")
            for tau, row in zip(taus, rows, strict=True)
        ],
    )
    figure, ax = panel()
    errors = [2 * row.stderr for row in rows]
    ax.errorbar(taus, [abs(bias) for bias, _ in found.values()], errors, fmt="o-", label="|bias|")
    ax.plot(taus, [v**0.5 for _, v in found.values()], "s-", label="standard deviation")
    truth = problem.truth()
    assert truth is not None
    ax.axhline(truth["logits"].item(), color="0.5", ls=":", label="the gradient itself")
    ax.set(xscale="log", yscale="log", xlabel=r"temperature $\tau$")
    ax.invert_xaxis()
    ax.set_xticks(taus, [f"{tau:g}" for tau in taus])
    ax.minorticks_off()
    ax.set_title("Cooling trades bias for variance", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")
    tutorial.show(figure, "04_gradient_estimators_temperatures")


# %%
cool_down()

# %% [markdown]
# ## A Gaussian VAE
#
# In a variational autoencoder $f(z) = \log q_\phi(z \mid x) - \log p(x, z)$, and $\phi$ are the
# weights of the encoder. (Note the joint: the source prints $\log p(x \mid z)$ in its place, which
# gives no bound.) A likelihood of hundreds of pixels makes $f$ huge, and the score function
# multiplies by all of it. The estimator is an argument of the objective, so the same model trains
# with either.


# %%
def digits() -> Tensor:
    """Binary training images."""
    images = data.mnist().train.images
    return (images > 0.5).float()[: 500 if tutorial.smoke else 4000]


def batch_and_repeats() -> tuple[Tensor, int]:
    """The images whose gradient is estimated, and how often."""
    return (digits()[:10], 30) if tutorial.smoke else (digits()[:50], 300)


def train_gaussian(images: Tensor, name: str, epochs: int) -> tuple[ppl_gen.VAE, list[float]]:
    """A VAE trained with one estimator, and its ELBO in each epoch."""
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
    """ELBO against epochs, one line per estimator, the best first."""
    for name, curve in sorted(curves.items(), key=lambda item: -item[1][-1]):
        ax.plot(range(1, len(curve) + 1), curve, label=f"{name} ({curve[-1]:.0f})")
    ax.set(xlabel="epoch", ylabel="ELBO in nats per image")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title(title, fontsize="medium")
    ax.legend(frameon=False, fontsize="small")


@tutorial.section
def gaussian_vae() -> None:
    """Train one VAE with two estimators, and compare their variances on it."""
    images, epochs = digits(), 2 if tutorial.smoke else 15
    names = ("reparameterized", "score")
    trained = {name: train_gaussian(images, name, epochs) for name in names}
    curves = {name: curve for name, (_, curve) in trained.items()}
    batch, repeats = batch_and_repeats()
    problem = gradients.gaussian_vae(trained["reparameterized"][0], batch)
    rows = gradients.compare(problem, ["score", "reparameterized"], repeats)
    ratio = rows["score"].variance / rows["reparameterized"].variance
    tutorial.keep(
        gaussian_elbo={name: curve[-1] for name, curve in curves.items()}, gaussian_ratio=ratio
    )
    table(
        ("estimator", f"ELBO after {epochs} epochs", "variance of its encoder gradient"),
        [(n, f"{curves[n][-1]:.1f}", f"{rows[n].variance:.1e}") for n in names],
    )
    print(f"\nThe variances differ by a factor of {ratio:,.0f}.")
    figure, ax = panel()
    draw_training(ax, curves, "A Gaussian VAE")
    tutorial.show(figure, "04_gradient_estimators_gaussian_vae")


# %%
gaussian_vae()

# %% [markdown]
# ## A VAE with discrete latents
#
# Here there is no path, and the score function and its relatives are all there is. NVIL (Mnih and
# Gregor 2014) learns a baseline from the image. REBAR (Tucker et al. 2017) and RELAX (Grathwohl et
# al. 2018) use the relaxation as a *control variate*, a term $c$ that is subtracted and whose mean
# is added again: the bias of the relaxation cancels, and most of the variance with it. In RELAX $c$
# is learned, in REBAR it is the cost of the relaxed coins. (On the coin above REBAR does not pay: a
# relaxed coin may sit at $y = t$, where the cost is least, so $f(y)$ says little about $f(b)$.
# RELAX learns.)
#
# $$g = [f(b) - c(\tilde\zeta)]\, \nabla \log q(b) + \nabla c(\zeta) - \nabla c(\tilde\zeta),
#   \qquad \zeta = \phi + \epsilon,\quad \tilde\zeta \sim p(\zeta \mid b).$$

# %%
DISCRETE = ("score", "score_running", "nvil", "leave_one_out", "disarm", "rebar", "gumbel_softmax")


def train_bernoulli(images: Tensor, name: str, epochs: int, latents: int) -> list[float]:
    """The ELBO per epoch of the linear belief network, trained with one estimator."""
    torch.manual_seed(0)
    return train(zoo.bernoulli_vae(latent_dim=latents, estimator=name), images, epochs, 3e-3)


@tutorial.section
def discrete_vae() -> None:
    """Train with each estimator, and compare their variances on one trained network."""
    images = digits()
    epochs, latents = (2, 20) if tutorial.smoke else (15, 200)
    names = DISCRETE[:5] if tutorial.smoke else DISCRETE
    curves = {name: train_bernoulli(images, name, epochs, latents) for name in names}
    torch.manual_seed(0)
    vae = zoo.bernoulli_vae(latent_dim=latents)
    train(vae, images, 1 if tutorial.smoke else 5, 3e-3)
    batch, repeats = batch_and_repeats()
    measured = gradients.compare(gradients.bernoulli_vae(vae, batch), names, repeats)
    tutorial.keep(
        bernoulli_elbo={name: curve[-1] for name, curve in curves.items()},
        bernoulli_variance={row.estimator: row.variance for row in measured.rows},
    )
    table(
        ("estimator", f"ELBO after {epochs} epochs", "variance of its encoder gradient"),
        [
            (name, f"{curves[name][-1]:.1f}", f"{row.variance:.1e}")
            for name, row in zip(names, measured.rows, strict=True)
        ],
    )
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_training(left, curves, f"A VAE with {latents} binary latents")
    measured.plot(right)
    right.set_title("Variance of its encoder gradient", fontsize="medium")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    tutorial.show(figure, "04_gradient_estimators_discrete_vae")


# %%
discrete_vae()
