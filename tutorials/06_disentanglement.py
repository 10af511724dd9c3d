# %% [markdown]
# # One latent dimension for each factor
#
# The images of dSprites vary in five factors: shape, scale, orientation and two coordinates. A code
# is *disentangled* if each factor has a dimension of its own, so that factors never seen together
# can be recombined. The β-VAE (Higgins et al. 2017) asks for it by a constraint,
#
# $$\max_{q, p}\ \mathbb{E}_q[\log p(x \mid z)] \quad \text{subject to}\quad
#   \mathrm{KL}(q(z \mid x) \,\|\, p(z)) < \delta,$$
#
# whose Lagrangian $\mathbb{E}_q[\log p(x \mid z)] - \beta(\mathrm{KL} - \delta)$ is at least
# $\mathbb{E}_q[\log p(x \mid z)] - \beta\,\mathrm{KL}$ for $\beta, \delta \ge 0$. At β = 1 it is
# the VAE, exactly; a larger β leaves fewer nats of code and, one hopes, spends each on one factor.

# %%
from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import VAE, metrics, plot, zoo
from ppl_gen.data import Sprites, sprites
from ppl_gen.metrics import MIG
from ppl_gen.networks import MLP

tutorial = Tutorial(__name__, "β-VAEs on sprites, measured by the MIG.", seed=1)
main = tutorial.main

# %% [markdown]
# ## The images
#
# The factor grid has one image for each combination of $3 \times 6 \times 40 \times 32 \times 32$
# values. The library draws them when they are asked for. The rows of the figure vary one factor
# each. (The source counts six varying factors, and circles among the shapes.)

# %%
SIZE = 32


@tutorial.section
def show_sprites() -> None:
    """The factors and their numbers of values, and a row of images for each."""
    grid = sprites(SIZE)
    print(f"{len(grid):,} images of {SIZE} × {SIZE} pixels.")
    table(("factor", "values"), zip(grid.factor_names, grid.factor_sizes, strict=True))
    table(
        ("statement", "ours", "the source", "agrees?"),
        [
            ("varying factors", len(grid.factor_names), 6, len(grid.factor_names) == 6),
            ("shapes", "square, ellipse, heart", "circles among them", False),
        ],
    )
    start, columns, rows = [0, 5, 0, 16, 16], 8, []
    for factor, size in enumerate(grid.factor_sizes):
        for step in range(columns):
            moved = list(start)
            moved[factor] = step % 3 if factor == 0 else round(step * (size - 1) / (columns - 1))
            rows.append(moved)
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    plot.images(grid.images(rows), ax, columns=columns)
    ax.set_title("shape, scale, orientation, column and row", fontsize="medium")
    tutorial.show(figure, "06_sprites")


# %%
show_sprites()

# %% [markdown]
# ## The models
#
# β is a factor of the KL beside a likelihood summed over pixels, so it means nothing without
# their number. Higgins et al. (2017) compare models by β times latents over pixels. The values here
# are stated as in the source, for the 64 × 64 pixels of dSprites; the images are drawn at 32 × 32,
# where a step takes half the time, and the factor of the KL is a quarter of β.
#
# The KL charges for every nat, including those one wants. On average over the data it is
#
# $$\mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I(x; z)
#   + \mathrm{KL}\big(q(z) \,\|\, \textstyle\prod_j q(z_j)\big)
#   + \textstyle\sum_j \mathrm{KL}(q(z_j) \,\|\, p(z_j)),$$
#
# and only the middle term, the total correlation, says that dimensions depend on each other. The
# β-TCVAE (Chen et al. 2018) multiplies that one alone.
#
# Four models are trained, which takes several minutes in all. The table has the two terms of the
# bound, the *rate*, which is the KL, and the *distortion*, $-\mathbb{E}_q[\log p(x \mid z)]$, and
# the *active units*, dimensions whose posterior mean varies over the images.

# %%
BETAS = {"β = 1": 1.0, "β = 8": 8.0, "β = 20": 20.0}
SOURCE = {"β = 1": 0.001, "β = 8": 0.1431, "β = 20": 0.3764}  # the source document's MIG
MODELS = [*BETAS, "β-TCVAE"]


def train(name: str, images: torch.Tensor, epochs: int) -> VAE:
    """A model of ten latent dimensions, for a β stated at 64 × 64 pixels."""
    smoke, seed = tutorial.smoke, tutorial.options["seed"]
    torch.manual_seed(seed)
    scale, shape = (SIZE / 64) ** 2, (1, SIZE, SIZE)
    hidden, mirrored = ((64,), (64,)) if smoke else ((128, 256), (256, 256, 128))
    decoder = MLP([(10,)], mirrored, shape)
    if name in BETAS:
        vae = zoo.beta_vae(shape, 10, beta=BETAS[name] * scale, hidden=hidden, decoder=decoder)
    else:
        beta, size = 32 * scale, len(images)
        vae = zoo.tc_vae(shape, 10, beta=beta, num_data=size, hidden=hidden, decoder=decoder)
    settings: dict[str, Any] = {"batch_size": 128, "lr": 4e-3 if smoke else 5e-4, "seed": seed}
    ppl_gen.fit(vae, images, epochs=epochs, progress=False, staged=not smoke, **settings)
    return vae


@tutorial.section
def train_all() -> dict[str, VAE]:
    """Train the four models on the same images, and measure rate and distortion."""
    grid, smoke = sprites(SIZE), tutorial.smoke
    generator = torch.Generator().manual_seed(tutorial.options["seed"])
    chunks, epochs = (1, 7) if smoke else (50, 16)
    images = torch.cat([grid.tensor(2_048, generator) for _ in range(chunks)])
    held_out = grid.tensor(200 if smoke else 1_000, generator)
    models = {}
    for name in MODELS:
        print(f"Training {name} for {len(images) * epochs // 128:,} steps.", flush=True)
        models[name] = train(name, images, epochs)
    costs = {name: metrics.rate_distortion(vae, held_out) for name, vae in models.items()}
    tutorial.keep(
        active_units={name: cost.active_units for name, cost in costs.items()},
        rate={name: cost.rate for name, cost in costs.items()},
        distortion={name: cost.distortion for name, cost in costs.items()},
    )
    table(
        ("model", "rate in nats", "distortion in nats", "active units of 10"),
        [(n, f"{c.rate:.1f}", f"{c.distortion:.1f}", c.active_units) for n, c in costs.items()],
    )
    return models


# %%
models = train_all()

# %% [markdown]
# ## How to measure it
#
# The mutual information gap (Chen et al. 2018) compares, for each factor $v_k$, the two latents
# that know most about it,
#
# $$\mathrm{MIG} = \frac{1}{F} \sum_k \frac{1}{H(v_k)}
#   \Big( \max_j I(z_j; v_k) - \operatorname{second}_j I(z_j; v_k) \Big).$$
#
# It is 1 for a code with a dimension per factor and 0 if two dimensions know equally much about
# each factor. The literature has two protocols that give different numbers: `"chen"` takes the
# information in a sample of the posterior and leaves the shape out, `"locatello"` takes that in
# binned posterior means and includes it. A number without its protocol means nothing. In the figure
# a row is a factor, and a dark cell is a dimension that knows much about it.


# %%
def draw_information(ax: Axes, found: MIG, title: str) -> None:
    """The matrix of mutual informations, each row over the factor's entropy."""
    share = (found.mutual_information / found.entropies[:, None]).numpy()
    ax.imshow(share, vmin=0, vmax=max(0.2, share.max()), cmap="Blues")
    ax.set_xticks(range(share.shape[1]))
    ax.set_yticks(range(share.shape[0]), list(found.gaps))
    ax.tick_params(length=0)
    for row, column in ((i, int(share[i].argmax())) for i in range(len(share))):
        colour = "white" if share[row, column] > share.max() / 2 else "black"
        text = f"{share[row, column]:.2f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    ax.set(xlabel="latent dimension")
    ax.set_title(f"{title}: MIG {found.score:.3f} ({found.protocol})", fontsize="medium")


@tutorial.section
def measure(models: dict[str, VAE]) -> None:
    """The MIG of every model by both protocols, beside the source's."""
    budget = {"num_images": 1_000, "num_samples": 300} if tutorial.smoke else {}
    protocols, grid = ("chen", "locatello"), sprites(SIZE)
    found = {
        protocol: {n: metrics.mig(vae, grid, protocol, **budget) for n, vae in models.items()}
        for protocol in protocols
    }
    score = {p: {name: mig.score for name, mig in found[p].items()} for p in protocols}
    tutorial.keep(**score, mig_of_the_source=SOURCE)
    table(
        ("MIG", "ours (chen)", "ours (locatello)", "the source"),
        [(n, score["chen"][n], score["locatello"][n], SOURCE.get(n)) for n in models],
    )
    rises = [
        (f"MIG rises from {low} to {high}", score["chen"][high] > score["chen"][low])
        for low, high in pairwise(BETAS)
    ]
    table(("claim", "ours", "the source", "agrees?"), [(text, r, True, r) for text, r in rises])
    figure = Figure(figsize=(11, 11), layout="constrained")
    for row, name in zip(figure.subplots(len(models), 2), models, strict=True):
        for ax, protocol in zip(row, protocols, strict=True):
            draw_information(ax, found[protocol][name], name)
    tutorial.show(figure, "06_disentanglement")


# %%
measure(models)

# %% [markdown]
# ## What each dimension does
#
# One image is coded, and each of the five dimensions that vary most is moved in turn while the
# others stay. In a disentangled code every row changes one factor only.


# %%
def draw_traversal(ax: Axes, vae: VAE, grid: Sprites, title: str) -> None:
    """One image with each of the dimensions that vary most moved in turn."""
    x = grid.images([[2, 4, 10, 16, 16]])
    variances = vae.code(grid.tensor(500, torch.Generator().manual_seed(1))).detach().var(0)
    dims = variances.argsort(descending=True)[:5].tolist()
    plot.traversal(vae, x, dims, values=(-2, -4 / 3, -2 / 3, 0, 2 / 3, 4 / 3, 2), ax=ax)
    ax.set_title(title, fontsize="medium")


@tutorial.section
def traverse(models: dict[str, VAE]) -> None:
    """Draw the traversals of every model."""
    figure = Figure(figsize=(11, 8.4), layout="constrained")
    for ax, (name, vae) in zip(figure.subplots(2, 2).flat, models.items(), strict=True):
        draw_traversal(ax, vae, sprites(SIZE), f"{name}: each row moves a dimension")
    tutorial.show(figure, "06_traversals")
    print("\nEach row of a panel moves one dimension from -2 to 2.")


# %%
traverse(models)

# %% [markdown]
# ## What the numbers say
#
# The source reports MIG 0.001 at β = 1, 0.143 at β = 8 and 0.376 at β = 20; the literature has
# about 0.5 after hundreds of thousands of steps. The 12,800 steps of a whole run gave, by Chen's
# protocol, 0.011, 0.097 and 0.354, and the β-TCVAE 0.095; the same seed on another processor gave
# 0.010, 0.135, 0.077 and 0.356. What one run of a model says, and whether it agrees with the
# source, is thus decided by rounding. Three seeds of 40,000 steps (`tests/benchmarks/sprites.py`)
# give 0.02 ± 0.01, 0.20 ± 0.05 and 0.10 ± 0.03, and the β-TCVAE 0.31 ± 0.12: more than β = 1 with
# any of them, but not more with every β.
#
# Rate and distortion are the same on both processors to a tenth of a nat. A larger β buys a lower
# rate (15.3, 8.1 and 5.4 nats) at a higher distortion (22, 27 and 35 nats). The β-TCVAE spends
# 7.3 nats for a distortion of 30, close to the figures at β = 8.
#
# The matrices show what the β-VAEs lack. They too code the coordinates and the scale, but spread or
# rotated over three or four dimensions. Three would do, but a standard normal is rotation
# invariant, so the KL alone hardly prefers a horizontal and a vertical axis to two diagonal ones,
# and where training ends depends on where it began. To a lesser degree the same holds of the
# β-TCVAE, whose seeds differ as much as models do.
