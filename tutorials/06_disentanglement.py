# %% [markdown]
# # One latent dimension for each factor
#
# The images of dSprites vary in five factors: shape, scale, orientation and two coordinates. A code
# is *disentangled* if each factor has a dimension of its own, so that factors can be recombined
# that were never seen together. The β-VAE (Higgins et al. 2017) asks for it by a constraint,
#
# $$\max_{q, p}\ \mathbb{E}_q[\log p(x \mid z)] \quad \text{subject to}\quad
#   \mathrm{KL}(q(z \mid x) \,\|\, p(z)) < \delta,$$
#
# whose Lagrangian $\mathbb{E}_q[\log p(x \mid z)] - \beta(\mathrm{KL} - \delta)$ is at least
# $\mathbb{E}_q[\log p(x \mid z)] - \beta\,\mathrm{KL}$ for $\beta, \delta \ge 0$. At β = 1 it is
# the VAE, exactly; a larger β buys fewer nats of code and, one hopes, spends each on one factor.

# %%
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import VAE, metrics, plot, zoo
from ppl_gen.data import Sprites, sprites
from ppl_gen.metrics import MIG
from ppl_gen.networks import MLP

# %% [markdown]
# ## How to measure it
#
# The mutual information gap (Chen et al. 2018) compares, for each factor $v_k$, the two latents
# that know most about it,
#
# $$\mathrm{MIG} = \frac{1}{F} \sum_k \frac{1}{H(v_k)}
#   \Big( \max_j I(z_j; v_k) - \operatorname{second}_j I(z_j; v_k) \Big).$$
#
# It is 1 for a code with a dimension per factor and 0 when two dimensions share the knowledge. The
# literature has two protocols that give different numbers: `"chen"` takes the information in a
# sample of the posterior and leaves the shape out, `"locatello"` takes that in binned posterior
# means and keeps it. A number without its protocol means nothing, so the result prints it.


# %%
def draw_information(ax: Axes, found: MIG, title: str) -> None:
    """The matrix of mutual informations, each row over the factor's entropy."""
    share = (found.mutual_information / found.entropies[:, None]).numpy()
    ax.imshow(share, vmin=0, vmax=max(0.2, share.max()), cmap="Blues")
    ax.set_xticks(range(share.shape[1]))
    ax.set_yticks(range(share.shape[0]), list(found.gaps))
    for row, column in ((i, int(share[i].argmax())) for i in range(len(share))):
        colour = "white" if share[row, column] > share.max() / 2 else "black"
        text = f"{share[row, column]:.2f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    ax.set(xlabel="latent dimension")
    ax.set_title(f"{title}: MIG {found.score:.3f} ({found.protocol})", fontsize="medium")


# %% [markdown]
# ## The models
#
# β is a factor of the KL beside a likelihood summed over pixels, so it means nothing without
# their number. Higgins et al. (2017) compare models by β times latents over pixels. The values here
# are stated as in the source, for the 64 × 64 pixels of dSprites; the images are drawn at 32 × 32,
# where a step takes half the time, and the factor of the KL is a quarter of β.
#
# The KL charges for every nat, also for those one wants. On average over the data it is
#
# $$\mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I(x; z)
#   + \mathrm{KL}\big(q(z) \,\|\, \textstyle\prod_j q(z_j)\big)
#   + \textstyle\sum_j \mathrm{KL}(q(z_j) \,\|\, p(z_j)),$$
#
# and only the middle term, the total correlation, says that dimensions depend on each other. The
# β-TCVAE (Chen et al. 2018) multiplies that one alone.

# %%
SIZE = 32
BETAS = {"β = 1": 1.0, "β = 8": 8.0, "β = 20": 20.0}
SOURCE = {"β = 1": 0.001, "β = 8": 0.1431, "β = 20": 0.3764}  # the source document's MIG
MODELS = [*BETAS, "β-TCVAE"]


def train(name: str, images: torch.Tensor, epochs: int, seed: int, smoke: bool) -> VAE:
    """A model of ten latent dimensions, for a β stated at 64 × 64 pixels."""
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


def draw_traversal(ax: Axes, vae: VAE, grid: Sprites, title: str) -> None:
    """One image with each of the dimensions that vary most moved in turn."""
    x = grid.images([[2, 4, 10, 16, 16]])
    variances = vae.code(grid.tensor(500, torch.Generator().manual_seed(1))).detach().var(0)
    dims = variances.argsort(descending=True)[:5].tolist()
    plot.traversal(vae, x, dims, values=(-2, -4 / 3, -2 / 3, 0, 2 / 3, 4 / 3, 2), ax=ax)
    ax.set_title(title, fontsize="medium")


# %% [markdown]
# ## All together
#
# The source document reports MIG 0.001 at β = 1, 0.143 at β = 8 and 0.376 at β = 20; the literature
# has about 0.5 for hundreds of thousands of steps. The 12,800 steps here give, by Chen's protocol,
# 0.010, 0.123 and 0.113, and the β-TCVAE 0.409. β buys a lower rate (15.2, 8.1 and 5.5 nats) at a
# higher distortion (22, 27 and 35); the β-TCVAE spends 7.5 nats for a distortion of 29, close to β
# = 8, and lays them out better.
#
# The matrices show what the β-VAEs lack. They code the coordinates and the size as well, but spread
# or rotated over three or four dimensions. Three would do, but a standard normal looks the same
# from all sides, so the KL alone hardly prefers a horizontal and a vertical axis to two diagonal
# ones, and where training settles depends on where it began. The same holds of the β-TCVAE, if
# less: other values of `--seed` end lower. `python tests/benchmarks/sprites.py` measures these
# models and ControlVAE with several seeds along training; its table is in the README. There, too,
# seeds of one model differ as much as models do.


# %%
def main(smoke: bool = False, out: str | Path | None = None, seed: int = 1) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        By model: the MIG by both protocols and the source's, active units, rate and distortion in
        nats per image.
    """
    grid = sprites(SIZE)
    generator = torch.Generator().manual_seed(seed)
    chunks, epochs = (1, 7) if smoke else (50, 16)
    images = torch.cat([grid.tensor(2_048, generator) for _ in range(chunks)])
    held_out = grid.tensor(200 if smoke else 1_000, generator)
    names = ("chen", "locatello", "active_units", "rate", "distortion")
    results: dict[str, Any] = {name: {} for name in names} | {"mig_of_the_source": SOURCE}

    figure = Figure(figsize=(12, 12), layout="constrained")
    axes = figure.subplots(len(MODELS), 3)
    budget = {"num_images": 1_000, "num_samples": 300} if smoke else {}
    for name, row in zip(MODELS, axes, strict=True):
        vae = train(name, images, epochs, seed, smoke)
        found = {p: metrics.mig(vae, grid, p, **budget) for p in ("chen", "locatello")}
        for ax, (protocol, value) in zip(row, found.items(), strict=False):
            results[protocol][name] = value.score
            draw_information(ax, value, name)
        cost = metrics.rate_distortion(vae, held_out)
        results["active_units"][name] = cost.active_units
        results["rate"][name], results["distortion"][name] = cost.rate, cost.distortion
        draw_traversal(row[2], vae, grid, f"{name}: each row moves a dimension")
    if out is not None:
        path = Path(out) / "06_disentanglement.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        results["figure"] = path
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="β-VAEs on sprites, measured by the MIG.")
    parser.add_argument("--smoke", action="store_true", help="short training, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figure")
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out, options.seed).items():
        print(f"{name}: {value}")
