# %% [markdown]
# # Sparse codes, and learning to infer them
#
# Sparse coding explains features $y$ by few columns of a dictionary $D$,
#
# $$\min_z\ F(z) = \tfrac12 \|y - Dz\|^2 + \lambda \|z\|_1,$$
#
# the posterior mode under Gaussian noise and a Laplace prior $p(z) \propto e^{-\lambda \|z\|_1}$.
# It is found by iterative shrinkage and thresholding: with $c = \|D\|_2^2$, the square of the
# largest singular value,
#
# $$z \leftarrow \mathrm{soft}(S z + W y, \theta), \qquad W = D^\top / c, \quad
#   S = I - D^\top D / c, \quad \theta = \lambda / c,$$
#
# where $\mathrm{soft}(a, \theta) = \mathrm{sign}(a) \max(|a| - \theta, 0)$. No step can raise $F$,
# and the limit satisfies the conditions of optimality $|D^\top (y - Dz)| \le \lambda$, with
# equality and the sign of $z$ where $z \ne 0$. But it takes hundreds of steps. LISTA (Gregor and
# LeCun 2010) takes eight, and *learns* $W$, $S$ and θ. SC-VAE (Xiao et al. 2023) is an
# autoencoder around it: encoder, LISTA, dictionary, decoder.

# %%
from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import ppl_gen
from ppl_gen import VAE, metrics, plot, zoo
from ppl_gen.data import mnist
from ppl_gen.sparse_coding import LISTA

# %% [markdown]
# ## The algorithm, unrolled
#
# As it is initialised, `LISTA` *is* ISTA. The test of the mathematics: the cost never rises, and at
# the end the conditions of optimality hold.


# %%
@torch.no_grad()
def ista_path(y: Tensor, coder: LISTA, lengths: list[int]) -> tuple[list[float], Tensor]:
    """The mean cost after so many steps, and the last codes."""
    costs, z = [], torch.zeros(())
    own = coder.iterations
    for length in lengths:
        coder.iterations = length
        z = coder(y)
        costs.append(coder.cost(y, z).mean().item())
    coder.iterations = own
    return costs, z


@torch.no_grad()
def kkt_violation(y: Tensor, z: Tensor, coder: LISTA) -> float:
    """The largest violation of the conditions of optimality, relative to λ."""
    pull = (y - z @ coder.dictionary.T) @ coder.dictionary
    outside = (pull.abs() - coder.penalty).clamp(min=0).max()
    inside = (pull - coder.penalty * z.sign())[z != 0].abs().max()
    return max(outside.item(), inside.item()) / coder.penalty


# %% [markdown]
# ## Eight learned steps
#
# With the dictionary fixed, train $W$, $S$, θ on the cost itself. The learned steps end where
# ISTA's do only after many more.


# %%
def learn(coder: LISTA, steps: int, batch: int = 256) -> None:
    """Train everything but the dictionary to lower the cost of standard normal features."""
    parameters = [coder.to_code, coder.feedback, coder.threshold]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    for _ in range(steps):
        y = torch.randn(batch, len(coder.dictionary))
        cost = coder.cost(y, coder(y)).mean()
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()


def draw_costs(ax: Axes, lengths: list[int], costs: list[float], learned: float, own: int) -> None:
    """The cost of ISTA against its steps, and that of the learned steps."""
    ax.plot(lengths, costs, "o-", ms=3, label="ISTA")
    ax.plot([own], [learned], "s", color="C3", label=f"LISTA, {own} learned steps")
    ax.set(xscale="symlog", xlabel="steps after the first", ylabel="mean cost $F(z)$")
    ax.set_title("Learned steps go further", fontsize="medium")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)


# %% [markdown]
# ## An autoencoder with sparse codes
#
# Hoyer's measure is 1 for a code with one entry and 0 for entries of equal magnitude. An
# autoencoder of the same size has dense codes; those of SC-VAE are mostly zeros.


# %%
@torch.no_grad()
def active_share(vae: VAE, images: Tensor) -> float:
    """The share of code entries that are not zero."""
    return (vae.code(images).abs() > 1e-6).float().mean().item()


@torch.no_grad()
def atoms(vae: VAE, images: Tensor, number: int) -> Tensor:
    """What the atoms used most add: decoded with one entry raised, minus the mean image."""
    codes = vae.code(images)
    used = (codes.abs() > 1e-6).float().mean(0).argsort(descending=True)[:number]
    centre = codes.mean(0)
    raised = centre + 3 * codes.std(0).clamp(min=1e-3).diag()[used]
    change = vae.likelihood.mean_image(vae.decode(raised))
    change = change - vae.likelihood.mean_image(vae.decode(centre[None]))
    return 0.5 + change / (2 * change.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-6))


# %% [markdown]
# ## All together
#
# On 500 features the optimal cost is 4.24. Eight steps of ISTA reach 4.48, eight learned ones 4.28.
# After 40 epochs on 4,000 digits SC-VAE uses 36 % of its 128 entries (Hoyer sparsity 0.62, against
# 0.21 for the autoencoder's), and pays for it with 8 nats of reconstruction, −77 against −69.


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        The largest rise of ISTA's cost in a step and its violation of optimality at the end; the
        costs of ISTA and LISTA at eight steps; by model the Hoyer sparsity of the codes, the share
        of active entries and the reconstruction term in nats.
    """
    torch.manual_seed(0)
    coder = LISTA(16, 48, penalty=0.5)
    y = torch.randn(500, 16)
    lengths = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1000, 4000]
    path, z = ista_path(y, coder, lengths)
    results: dict[str, Any] = {
        "largest_rise": max(b - a for a, b in pairwise(path)),
        "kkt_violation": kkt_violation(y, z, coder),
        "ista_cost": path[lengths.index(coder.iterations)],
        "optimal_cost": path[-1],
    }
    learn(coder, 100 if smoke else 2000)
    with torch.no_grad():
        results["lista_cost"] = coder.cost(y, coder(y)).mean().item()

    digits = mnist()
    train, test = digits.train, digits.test
    if smoke:
        train, test = train.subset(slice(1000)), test.subset(slice(200))
    models = {"SC-VAE": zoo.sc_vae(), "autoencoder": zoo.autoencoder(latent_dim=128)}
    for name in ("sparsity", "active_share", "reconstruction"):
        results[name] = {}
    for name, vae in models.items():
        ppl_gen.fit(vae, train, epochs=5 if smoke else 40, progress=False, staged=not smoke)
        results["sparsity"][name] = metrics.sparsity(vae, test)
        results["active_share"][name] = active_share(vae, test.images)
        results["reconstruction"][name] = metrics.elbo_terms(vae, test).reconstruction

    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    draw_costs(axes[0, 0], lengths, path, results["lista_cost"], coder.iterations)
    for rank, (name, vae) in enumerate(models.items()):
        code = vae.code(test.images[:1])[0].detach().numpy()
        axes[rank, 1].bar(range(len(code)), code, color=f"C{rank}")
        axes[rank, 1].spines[["top", "right"]].set_visible(False)
        axes[rank, 1].set(xlabel="entry", ylabel="code of one image")
        title = f"{name}: Hoyer sparsity {results['sparsity'][name]:.2f}"
        axes[rank, 1].set_title(title, fontsize="medium")
        x = test.images[:8]
        plot.images(torch.cat([x, vae.reconstruct(x)]), axes[rank, 2], columns=8)
        axes[rank, 2].set_title(f"{name}: test images, reconstructed", fontsize="medium")
    plot.images(atoms(models["SC-VAE"], test.images, 40), axes[1, 0], columns=8)
    axes[1, 0].set_title("SC-VAE: what its most used atoms add", fontsize="medium")
    if out is not None:
        target = Path(out) / "10_sparse_coding.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=130)
        results["figure"] = target
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sparse coding, ISTA, LISTA and SC-VAE.")
    parser.add_argument("--smoke", action="store_true", help="short training, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figure")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
