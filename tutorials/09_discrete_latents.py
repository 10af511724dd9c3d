# %% [markdown]
# # Codes that are discrete
#
# A categorical latent cannot be written as a smooth function of noise, so its sample has no
# gradient. Two ways around it:
#
# **Gumbel-Softmax** (Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017). With Gumbel noise $g_k
# = -\log(-\log u_k)$ from uniform $u_k$,
#
# $$z = \mathrm{one\_hot}\big(\arg\max_k\,(\log \pi_k + g_k)\big) \sim \mathrm{Categorical}(\pi),
#   \qquad y = \mathrm{softmax}\big((\log \pi + g) / \tau\big),$$
#
# and $y \to z$ as $\tau \to 0$, with gradients that grow without bound; so τ is annealed in
# training, but not to zero. In evaluation the code is discrete, and so is the reported bound.
#
# **Vector quantization** (van den Oord, Vinyals and Kavukcuoglu 2017). The encoder's output $z_e$
# is replaced by the nearest of $K$ learned vectors, $z_q = e_k$. Forward that is a step function;
# backward its gradient is passed straight through to $z_e$. The posterior puts all mass on one
# code, so its KL to a uniform prior is $\log K$ per position, whatever the image: a learned prior,
# here autoregressive over positions, makes samples possible and the code shorter.

# %%
from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import VAE, metrics, plot, zoo
from ppl_gen.data import ImageSet, mnist

tutorial = Tutorial(__name__, "Gumbel-Softmax and vector quantization.")
main = tutorial.main

# %% [markdown]
# ## The relaxation on three categories
#
# At τ = 2 the draws of $y$ fill the simplex; at τ = 0.1 nearly all are at a corner, at each as
# often as $\pi$ says. One thing does not change with τ: which entry is largest has exactly the
# distribution π.

# %%
PROBABILITIES = torch.tensor([0.5, 0.3, 0.2])


def relaxed_draws(temperature: float, draws: int) -> torch.Tensor:
    """Draws of one relaxed variable, ``(draws, 3)``."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        q = dist.RelaxedOneHotCategorical(torch.tensor(temperature), PROBABILITIES)
        return q.sample((draws,))


def draw_simplex(ax: Axes, temperatures: tuple[float, ...] = (2.0, 0.5, 0.1)) -> None:
    """Relaxed draws in barycentric coordinates, one triangle per temperature."""
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
    for i, temperature in enumerate(temperatures):
        points = relaxed_draws(temperature, 500) @ corners + torch.tensor([1.25 * i, 0.0])
        edge = corners[[0, 1, 2, 0]] + torch.tensor([1.25 * i, 0.0])
        ax.plot(*edge.T, color="0.6", lw=0.8)
        ax.scatter(*points.T, s=4, alpha=0.4, color=f"C{i}")
        ax.text(1.25 * i + 0.5, -0.16, rf"$\tau = {temperature:g}$", ha="center")
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title(r"Gumbel-Softmax draws, $\pi = (0.5, 0.3, 0.2)$", fontsize="medium")


@tutorial.section
def relax_three_categories() -> None:
    """How often each entry is the largest, and how large it is."""
    draws = {tau: relaxed_draws(tau, 20_000) for tau in (2.0, 0.5, 0.1)}
    shares = {
        tau: (y.argmax(1).bincount(minlength=3) / len(y)).tolist() for tau, y in draws.items()
    }
    mean_largest = {tau: y.amax(1).mean().item() for tau, y in draws.items()}
    tutorial.keep(argmax_shares=shares, mean_largest=mean_largest)
    entries = [f"largest is {k}" for k in (1, 2, 3)]
    rows = [(f"τ = {tau:g}", *shares[tau], mean_largest[tau]) for tau in draws]
    table(("", *entries, "mean of the largest"), [*rows, ("π", *PROBABILITIES.tolist(), 1.0)])
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    draw_simplex(figure.subplots())
    tutorial.show(figure, "09_simplex")


# %%
relax_three_categories()

# %% [markdown]
# ## Two models
#
# The Gumbel-Softmax VAE has 20 categorical variables of 10 values (at most $20 \log 10 = 46$ nats),
# the VQ-VAE 16 positions with one of 64 vectors each (at most $16 \log 64 = 67$ nats, which is what
# a uniform prior would charge). The table has the bound on $\log p(x)$ (ELBO), its two terms, and
# the FID of samples, their distance from test images as in tutorial 05.


# %%
UNIFORM = {"Gumbel-Softmax": 20 * math.log(10), "VQ-VAE": 16 * math.log(64)}


def split() -> tuple[ImageSet, ImageSet]:
    """Training and test images."""
    digits = mnist()
    if tutorial.smoke:
        return digits.train.subset(slice(1000)), digits.test.subset(slice(200))
    return digits.train, digits.test


@tutorial.section
def train() -> dict[str, VAE]:
    """Train both models, and split their discrete bounds into two terms."""
    torch.manual_seed(0)
    models = {"Gumbel-Softmax": zoo.gumbel_vae(), "VQ-VAE": zoo.vq_vae()}
    data, test = split()
    found: dict[str, dict[str, float]] = {n: {} for n in ("elbo", "reconstruction", "kl", "fid")}
    for name, vae in models.items():
        epochs, staged = (3, False) if tutorial.smoke else (40, True)
        ppl_gen.fit(vae, data, epochs=epochs, lr=2e-3, progress=False, staged=staged)
        terms = metrics.elbo_terms(vae, test)
        found["elbo"][name], found["kl"][name] = terms.elbo, terms.kl
        found["reconstruction"][name] = terms.reconstruction
        if not tutorial.smoke:
            distance = metrics.fid(test, vae.sample(len(test), seed=0))
            found["fid"][name] = distance.value
            tutorial.keep(extractor=distance.extractor)
    tutorial.keep(**found, uniform_kl=UNIFORM)
    table(
        ("model", "ELBO", "reconstruction", "KL", "FID", "KL, uniform prior"),
        [(n, *(found[column].get(n) for column in found), UNIFORM[n]) for n in models],
    )
    return models


@tutorial.section
def show_images(models: dict[str, VAE]) -> None:
    """Reconstructions and samples of both models."""
    x = split()[1].images[:8]
    figure = Figure(figsize=(10, 7), layout="constrained")
    for (name, vae), row in zip(models.items(), figure.subplots(2, 2), strict=True):
        plot.images(torch.cat([x, vae.reconstruct(x)]), row[0], columns=8)
        row[0].set_title(f"{name}: test images, reconstructed", fontsize="medium")
        plot.images(vae.sample(40, seed=0), row[1], columns=8)
        row[1].set_title(f"{name}: samples", fontsize="medium")
    tutorial.show(figure, "09_discrete_latents")


# %%
models = train()
show_images(models)

# %% [markdown]
# ## Which codes are used
#
# A codebook can collapse onto few of its vectors. The *perplexity* is the exponential of the
# entropy of the codes: the number of vectors that would be in use if all in use were equally
# frequent.


# %%
def draw_usage(ax: Axes, usage: metrics.CodebookUsage) -> None:
    """How often each vector is used over the whole test set."""
    shares = (usage.counts / usage.counts.sum()).sort(descending=True).values.numpy()
    ax.bar(range(len(shares)), shares, color="C0")
    ax.axhline(1 / len(shares), color="0.5", lw=0.8, ls=":")
    ax.set(xlabel="code, sorted", ylabel="share of positions")
    title = f"{usage.used} of {len(shares)} codes used, perplexity {usage.perplexity:.0f}"
    ax.set_title(title, fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)


@tutorial.section
def codes_in_use(models: dict[str, VAE]) -> None:
    """How many of the vectors of the VQ-VAE are used, and how evenly."""
    usage = metrics.codebook_usage(models["VQ-VAE"], split()[1])
    tutorial.keep(codes_used=usage.used, perplexity=usage.perplexity)
    print(f"{usage.used} of {len(usage.counts)} vectors used, perplexity {usage.perplexity:.1f}.")
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    draw_usage(figure.subplots(), usage)
    tutorial.show(figure, "09_codebook")


# %%
codes_in_use(models)

# %% [markdown]
# ## What the numbers say
#
# In 40 epochs on 4,000 grey images the Gumbel-Softmax VAE reaches a discrete ELBO of −139 nats with
# a KL of 17 of its 46 nats, the VQ-VAE −125 with 36 of 67: the learned prior saves almost half of
# what a uniform one would cost. All 64 vectors are in use.
