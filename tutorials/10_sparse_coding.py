# %% [markdown]
# # Sparse codes, and learning to infer them
#
# Sparse coding explains features $y$ by a few columns of a dictionary $D$, its *atoms*,
#
# $$\min_z\ F(z) = \tfrac12 \|y - Dz\|^2 + \lambda \|z\|_1,$$
#
# the posterior mode under Gaussian noise and a Laplace prior $p(z) \propto e^{-\lambda \|z\|_1}$.
# It is found by iterative shrinkage and thresholding (ISTA): with $c = \|D\|_2^2$, the square of
# the largest singular value,
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

from itertools import pairwise

import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import ppl_gen
from ppl_gen import VAE, metrics, plot, zoo
from ppl_gen.data import ImageSet, mnist
from ppl_gen.sparse_coding import LISTA

tutorial = Tutorial(__name__, "Sparse coding, ISTA, LISTA and SC-VAE.")
main = tutorial.main

# %% [markdown]
# ## The algorithm, unrolled
#
# As initialized, `LISTA` *is* ISTA. This tests the mathematics: the cost never rises, and at the
# end the conditions of optimality hold.

# %%
LENGTHS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1000, 4000]


@torch.no_grad()
def ista_path(y: Tensor, coder: LISTA, lengths: list[int]) -> tuple[list[float], Tensor]:
    """The mean cost after each number of steps, and the last codes."""
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


@tutorial.section
def iterate() -> tuple[LISTA, Tensor, list[float]]:
    """Run ISTA on 500 random features, to convergence."""
    torch.manual_seed(0)
    coder = LISTA(16, 48, penalty=0.5)
    y = torch.randn(500, 16)
    costs, z = ista_path(y, coder, LENGTHS)
    rise, violation = max(b - a for a, b in pairwise(costs)), kkt_violation(y, z, coder)
    tutorial.keep(
        largest_rise=rise,
        kkt_violation=violation,
        ista_cost=costs[LENGTHS.index(coder.iterations)],
        optimal_cost=costs[-1],
    )
    table(("steps after the first", "mean cost"), zip(LENGTHS, costs, strict=True))
    table(
        ("property", "ours", "holds?"),
        [
            ("largest rise of the cost", max(rise, 0.0), rise < 1e-4),
            ("violation of optimality, relative to λ", violation, violation < 1e-3),
        ],
    )
    return coder, y, costs


# %%
ista = iterate()

# %% [markdown]
# ## Eight learned steps
#
# With the dictionary fixed, train $W$, $S$, θ on the cost itself. The learned steps reach a cost
# that ISTA reaches only after many more.


# %%
def learn(coder: LISTA, steps: int, batch: int = 256) -> None:
    """Train everything but the dictionary to lower the cost of standard normal features."""
    parameters = [coder.to_code, coder.feedback, coder.threshold]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    for _ in range(steps):
        y = torch.randn(batch, len(coder.dictionary))
        cost = coder.cost(y, coder(y)).mean()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()


def draw_costs(ax: Axes, lengths: list[int], costs: list[float], learned: float, own: int) -> None:
    """The cost of ISTA against its steps, and that of the learned steps."""
    ax.plot(lengths, costs, "o-", ms=3, label="ISTA")
    ax.plot([own], [learned], "s", color="C3", label=f"LISTA, {own} learned steps")
    ax.set(xscale="symlog", xlabel="steps after the first", ylabel="mean cost $F(z)$")
    ax.set_title("Learned steps go further", fontsize="medium")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)


@tutorial.section
def learn_the_steps(ista: tuple[LISTA, Tensor, list[float]]) -> None:
    """Train the eight steps, and compare their cost with ISTA's."""
    coder, y, costs = ista
    learn(coder, 100 if tutorial.smoke else 2000)
    with torch.no_grad():
        learned = coder.cost(y, coder(y)).mean().item()
    tutorial.keep(lista_cost=learned)
    steps = coder.iterations
    table(
        ("method", "mean cost"),
        [
            (f"ISTA, {steps} steps", costs[LENGTHS.index(steps)]),
            (f"LISTA, {steps} learned steps", learned),
            ("the optimum", costs[-1]),
        ],
    )
    figure = Figure(figsize=(7, 4), layout="constrained")
    draw_costs(figure.subplots(), LENGTHS, costs, learned, steps)
    tutorial.show(figure, "10_lista")


# %%
learn_the_steps(ista)

# %% [markdown]
# ## An autoencoder with sparse codes
#
# Hoyer's measure is 1 for a code with one entry and 0 for entries of equal magnitude. An
# autoencoder of the same size has dense codes; most entries of SC-VAE's are zero. In the last
# figure grey is no change; white and black are what raising one entry of the mean code adds and
# removes.


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


def split() -> tuple[ImageSet, ImageSet]:
    """Training and test images."""
    digits = mnist()
    if tutorial.smoke:
        return digits.train.subset(slice(1000)), digits.test.subset(slice(200))
    return digits.train, digits.test


@tutorial.section
def train() -> dict[str, VAE]:
    """Train SC-VAE and an autoencoder of the same size, and measure their codes."""
    torch.manual_seed(0)
    models = {"SC-VAE": zoo.sc_vae(), "autoencoder": zoo.autoencoder(latent_dim=128)}
    images, test = split()
    epochs, staged = (5, False) if tutorial.smoke else (40, True)
    for vae in models.values():
        ppl_gen.fit(vae, images, epochs=epochs, progress=False, staged=staged)
    found = {
        "sparsity": {name: metrics.sparsity(vae, test) for name, vae in models.items()},
        "active_share": {name: active_share(vae, test.images) for name, vae in models.items()},
        "reconstruction": {
            name: metrics.elbo_terms(vae, test).reconstruction for name, vae in models.items()
        },
    }
    tutorial.keep(**found)
    table(
        ("model", "Hoyer sparsity", "entries in use", "reconstruction in nats"),
        [
            (n, found["sparsity"][n], f"{found['active_share'][n]:.0%}", found["reconstruction"][n])
            for n in models
        ],
    )
    return models


@tutorial.section
def show_codes(models: dict[str, VAE]) -> None:
    """The code of one image, reconstructions, and what atoms add."""
    test = split()[1]
    figure = Figure(figsize=(12, 7), layout="constrained")
    for rank, ((name, vae), row) in enumerate(
        zip(models.items(), figure.subplots(2, 2, width_ratios=(1, 1.3)), strict=True)
    ):
        code = vae.code(test.images[:1])[0].detach().numpy()
        row[0].bar(range(len(code)), code, color=f"C{rank}", width=1.0)
        row[0].spines[["top", "right"]].set_visible(False)
        row[0].set(xlabel="entry", ylabel="code of one image")
        row[0].set_title(f"{name}: the code of one image", fontsize="medium")
        x = test.images[:8]
        plot.images(torch.cat([x, vae.reconstruct(x)]), row[1], columns=8)
        row[1].set_title(f"{name}: test images, reconstructed", fontsize="medium")
    tutorial.show(figure, "10_sparse_coding")
    second = Figure(figsize=(7, 4.4), layout="constrained")
    ax = second.subplots()
    plot.images(atoms(models["SC-VAE"], test.images, 40), ax, columns=8)
    ax.set_title("SC-VAE: what its most used atoms add", fontsize="medium")
    tutorial.show(second, "10_atoms")


# %%
models = train()
show_codes(models)

# %% [markdown]
# ## What the numbers say
#
# On 500 features the optimal cost is 4.24. Eight steps of ISTA reach 4.48, eight learned ones 4.28.
# After 40 epochs on 4,000 digits SC-VAE uses 36 % of its 128 entries (Hoyer sparsity 0.62, against
# 0.22 for the autoencoder), and pays for it with 9 nats of reconstruction, −78 against −69.
