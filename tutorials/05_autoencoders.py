# %% [markdown]
# # From the autoencoder to the variational autoencoder
#
# An autoencoder maps an image to a code, $z = f(x)$, and back, $\hat{x} = g(z)$. It has no
# distribution over codes, hence no prior to sample from. A variational autoencoder (Kingma and
# Welling 2014) is a model, $p(x, z) = p(x \mid z)\,p(z)$ with $p(z) = N(0, I)$, and an approximate
# posterior $q(z \mid x) = N(\mu(x), \mathrm{diag}\,\sigma^2(x))$, trained on the lower bound
#
# $$\log p(x) \ge \mathbb{E}_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z)), \qquad
#   \mathrm{KL} = \tfrac12 \sum_j \left(\sigma_j^2 + \mu_j^2 - \log \sigma_j^2 - 1\right).$$
#
# Here both are the same program: the autoencoder is a VAE whose posterior is a point and whose KL
# has no weight.

# %%
from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from _runner import Tutorial, table
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

import ppl_gen
from ppl_gen import VAE, metrics, plot, zoo
from ppl_gen.data import ImageSet, mnist
from ppl_gen.likelihoods import Bernoulli, Gaussian
from ppl_gen.objectives import ELBO

tutorial = Tutorial(__name__, "Autoencoders and variational autoencoders.")
main = tutorial.main

# %% [markdown]
# ## Losses are likelihoods
#
# With a Gaussian of fixed σ the reconstruction term is the squared error,
#
# $$-\log p(x \mid z) = \frac{\|x - \hat{x}\|^2}{2\sigma^2} + \frac{D}{2} \log 2\pi\sigma^2
#   = \frac{D \cdot \mathrm{MSE}}{2\sigma^2} + \text{const},$$
#
# so the weight between "reconstruction loss" and KL is a statement about σ: the *mean* squared
# error with weight one asserts $\sigma^2 = D/2$, which is wider than any image. With a Bernoulli
# per pixel it is the binary cross-entropy, summed over pixels. Both equalities hold to rounding.


# %%
def likelihood_gaps(sigma: float = 0.3) -> dict[str, float]:
    """Largest relative differences between log-likelihoods and the losses they stand for."""
    shape, generator = (16, 1, 28, 28), torch.Generator().manual_seed(0)
    output = torch.randn(shape, generator=generator).double()
    x = torch.rand(shape, generator=generator).double()
    dimension = x[0].numel()
    squares = mse_loss(output, x, reduction="none").flatten(1).mean(1)
    gaussian = dimension * squares / (2 * sigma**2)
    gaussian += dimension / 2 * math.log(2 * math.pi * sigma**2)
    crosses = binary_cross_entropy_with_logits(output, x, reduction="none").flatten(1).sum(1)

    def gap(log_likelihood: Tensor, loss: Tensor) -> float:
        return ((-log_likelihood - loss) / loss).abs().max().item()

    return {
        "gaussian": gap(Gaussian(sigma).double()(output).log_prob(x), gaussian),
        "bernoulli": gap(Bernoulli()(output).log_prob(x), crosses),
    }


@tutorial.section
def losses_are_likelihoods() -> None:
    """Compare both losses with the likelihoods of the library."""
    gaps = likelihood_gaps()
    tutorial.keep(likelihood_gaps=gaps)
    table(
        ("likelihood", "the loss it stands for", "relative difference", "agrees?"),
        [
            ("Gaussian(0.3)", "D MSE / 2σ² + const", gaps["gaussian"], gaps["gaussian"] < 1e-7),
            ("Bernoulli()", "cross-entropy, summed", gaps["bernoulli"], gaps["bernoulli"] < 1e-7),
        ],
    )


# %%
losses_are_likelihoods()

# %% [markdown]
# ## Three models that differ in one part
#
# - the autoencoder;
# - the VAE;
# - the VAE *without* its KL. Narrow posteriors then cost nothing, so the variances collapse, the
#   means drift apart and the codes become points again: an autoencoder after all.
#
# The table has the geometric mean of σ over images and dimensions, the standard deviation of the
# means over images, the expected log-likelihood of the reconstruction in nats per image, and the
# Fréchet distance (FID) of samples to test images, which is better when lower. It compares the
# first two moments of features, here those of a digit classifier,
#
# $$\mathrm{FID} = \|\mu_1 - \mu_2\|^2
#   + \mathrm{Tr}\bigl(\Sigma_1 + \Sigma_2 - 2(\Sigma_1 \Sigma_2)^{1/2}\bigr),$$
#
# the *squared* 2-Wasserstein distance of two Gaussians. (The source prints the first term without
# the square and with ½ as a factor instead of an exponent, and calls the result the distance
# itself.)


# %%
def build(latent_dim: int) -> dict[str, VAE]:
    """The three models, with the same networks."""
    torch.manual_seed(0)
    return {
        "autoencoder": zoo.autoencoder(latent_dim=latent_dim),
        "VAE": zoo.vae(latent_dim=latent_dim),
        "VAE without KL": zoo.vae(latent_dim=latent_dim, objective=ELBO(weight=0.0)),
    }


@torch.no_grad()
def spreads(vae: VAE, images: Tensor) -> tuple[float, float]:
    """How wide the posteriors are, and how far the means lie apart: mean σ, and the std of μ."""
    posterior = vae.encode(images)
    return posterior.variance.sqrt().log().mean().exp().item(), posterior.mean.std(0).mean().item()


Trained = tuple[dict[str, VAE], dict[str, ppl_gen.History]]


@tutorial.section
def train() -> Trained:
    """Train the three models on MNIST; the models and their histories."""
    images = mnist().train.subset(slice(1000)) if tutorial.smoke else mnist().train
    models = build(latent_dim=2)
    settings: dict[str, Any] = {"progress": False, "staged": not tutorial.smoke}
    settings["epochs"] = 12 if tutorial.smoke else 60
    histories = {name: ppl_gen.fit(vae, images, **settings) for name, vae in models.items()}
    print(f"Trained {len(models)} models for {settings['epochs']} epochs on {len(images)} images.")
    return models, histories


@tutorial.section
def measure(trained: Trained) -> None:
    """Widths, spreads, reconstructions and samples of the three models."""
    models, test = trained[0], mnist().test
    found: dict[str, dict[str, float]] = {
        n: {} for n in ("sigma", "spread", "reconstruction", "fid")
    }
    for name, vae in models.items():
        found["sigma"][name], found["spread"][name] = spreads(vae, test.images)
        found["reconstruction"][name] = metrics.elbo_terms(vae, test).reconstruction
        if not tutorial.smoke:
            distance = metrics.fid(test, vae.sample(len(test), seed=0))
            found["fid"][name] = distance.value
            tutorial.keep(extractor=distance.extractor)
    tutorial.keep(**found, elbo=metrics.elbo_terms(models["VAE"], test).elbo)
    table(
        ("model", "σ", "std of the means", "reconstruction", "FID"),
        [(name, *(found[column].get(name) for column in found)) for name in models],
    )
    compare(found)


def compare(found: dict[str, dict[str, float]]) -> None:
    """What the source claims, beside what was measured."""
    free, vae = "VAE without KL", "VAE"
    claims = {
        "without the KL the variances collapse": found["sigma"][free] < 0.3 * found["sigma"][vae],
        "without the KL the means drift apart": found["spread"][free] > found["spread"][vae],
    }
    if found["fid"]:
        best = min(found["fid"], key=lambda name: found["fid"][name])
        claims["the VAE's prior gives the better samples"] = best == vae
    table(
        ("claim", "ours", "the source", "agrees?"),
        [(text, holds, True, holds) for text, holds in claims.items()],
    )


# %%
trained = train()
measure(trained)

# %% [markdown]
# ## The loss curve
#
# The source trains a VAE and sees the KL rise sharply at first while the reconstruction error
# falls. The reason is in the bound. At the start the code says nothing of the image and costs
# nothing; the decoder learns fast once the code carries something, and pays for it in KL.


# %%
@tutorial.section
def loss_curve(trained: Trained) -> None:
    """KL and reconstruction error of the VAE along training."""
    history = trained[1]["VAE"]
    kl, error = np.array(history["kl"]), -np.array(history["reconstruction"])
    steps = [step for step in (1, 10, 50, 100, 500, len(kl)) if step <= len(kl)]
    table(("step", "KL", "reconstruction error"), [(n, kl[n - 1], error[n - 1]) for n in steps])
    tenth = len(kl) // 10
    rises, falls = bool(kl[tenth] > 2 * kl[0]), bool(error[tenth] < error[0])
    table(
        ("in the first tenth of training", "ours", "the source", "agrees?"),
        [
            ("the KL rises", rises, True, rises),
            ("the reconstruction error falls", falls, True, falls),
        ],
    )
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, values, name in zip(axes, (kl, error), ("KL", "reconstruction error"), strict=True):
        ax.plot(range(1, len(values) + 1), values, lw=0.8)
        ax.set(xscale="log", xlabel="optimizer step", ylabel=f"{name} in nats per image")
        ax.spines[["top", "right"]].set_visible(False)
    tutorial.show(figure, "05_loss_curve")


# %%
loss_curve(trained)

# %% [markdown]
# ## The space of codes
#
# With two dimensions the whole space can be seen. What the KL buys is *completeness*, that every
# draw of the prior decodes to something, and *continuity*, that codes between two images decode to
# something between them. The walk below goes in a straight line from one digit to another.


# %%
def walk(vae: VAE, images: Tensor, steps: int = 12) -> Tensor:
    """Images decoded along the line between the codes of two images."""
    first, last = vae.code(images)
    positions = torch.linspace(0, 1, steps)[:, None]
    with torch.no_grad():
        return vae.likelihood.mean_image(vae.decode(first + positions * (last - first)))


def draw(figure: Figure, models: dict[str, VAE], digits: ImageSet, ends: Tensor) -> None:
    """Codes, samples of the prior and a walk; one row per model."""
    axes = figure.subplots(len(models), 3, width_ratios=(1.1, 1, 1.3))
    for rank, (name, vae) in enumerate(models.items()):
        row = axes[rank]
        plot.latent_map(vae, digits.images[:600], digits.labels[:600], row[0])
        row[0].get_legend().set_visible(rank == 0)
        row[0].spines[["top", "right"]].set_visible(False)
        row[0].set_title(f"{name}: codes by digit", fontsize="medium")
        plot.images(vae.sample(32, seed=0), row[1], columns=8)
        row[1].set_title("draws from N(0, I), decoded", fontsize="medium")
        plot.images(torch.cat([walk(vae, pair) for pair in ends]), row[2], columns=12)
        row[2].set_title("straight lines between two codes", fontsize="medium")


@tutorial.section
def space_of_codes(trained: Trained) -> None:
    """Draw codes, samples and walks of the three models."""
    test = mnist().test
    pairs = [
        [int((test.labels == digit).nonzero()[0]) for digit in pair]
        for pair in ((0, 1), (3, 7), (6, 4))
    ]
    figure = Figure(figsize=(10, 8), layout="constrained")
    draw(figure, trained[0], test, torch.stack([test.images[pair] for pair in pairs]))
    tutorial.show(figure, "05_autoencoders")
    print("\nRows: the three models. Columns: codes by digit, decoded draws, walks between digits.")


# %%
space_of_codes(trained)

# %% [markdown]
# ## What the numbers say
#
# After 60 epochs on 4,000 images the autoencoder has the better reconstruction and the VAE the
# better samples, with an FID of 27.7 against 40.7 for the autoencoder and 40.8 for the VAE without
# its KL. Two dimensions are few; tutorial 07 measures ten.
