# %% [markdown]
# # Guidance and conditions
#
# A conditional diffusion model (tutorial 16 has the unconditional one) learns to guess the noise in
# $x$, $\hat\epsilon(x, y)$, for a label or a text $y$, and for a share of the training data the
# condition is left out, so that the same network knows $\hat\epsilon(x, \varnothing)$ too. Guidance
# without a classifier (Ho and Salimans 2022) goes further than either:
#
# $$\tilde\epsilon = \hat\epsilon(\varnothing)
#   + w\, \big(\hat\epsilon(y) - \hat\epsilon(\varnothing)\big).$$
#
# So $w = 0$ ignores the condition, $w = 1$ is the conditional model, and $w > 1$ is more of $y$
# than the data have.

# %%
from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.distributions import Normal

import ppl_gen
from ppl_gen import denoisers, metrics, networks, noise, samplers
from ppl_gen.data import VOCABULARY, words
from ppl_gen.networks.conditions import Attention, Conditions, Film

tutorial = Tutorial(__name__, "Guidance without a classifier, and ways to tell a network.")
main = tutorial.main
SCHEDULE = noise.Cosine()


def plain(*axes: Axes) -> None:
    """Leave out the frames above and on the right."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


# %% [markdown]
# ## One letter, three conventions
#
# The same picture is "w = 0.5", "w = 1.5" or "scale 1.5" in different texts. Ho and Salimans write
# $(1 + w)\, \hat\epsilon(y) - w\, \hat\epsilon(\varnothing)$: their $w$ is ours less one, and so is
# that of a well-known conditional model of MNIST; Imagen and most libraries write ours. Both are
# one formula, which is checked here on an exact denoiser, along with the two values of w at which
# there is nothing to mix.


# %%
EIGHT = torch.arange(8) * math.pi / 4
MEANS = math.sqrt(2) * torch.stack([EIGHT.cos(), EIGHT.sin()], 1)
SD = 0.25
RING = denoisers.Mixture(SCHEDULE, torch.ones(8), MEANS, SD**2 * torch.ones(8, 2))


@tutorial.section
def conventions() -> None:
    """Differences of guided predictions from what they should be."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 2, generator=generator), torch.arange(200) % 8
    u = torch.tensor(0.6)
    none = RING(x, u, torch.full((200,), 8))
    given = RING(x, u, y)
    rows = []
    for w in (0.0, 1.0, 1.5, 4.0):
        ours = denoisers.Guided(RING, w)(x, u, y).noise
        theirs = w * given.noise - (w - 1) * none.noise
        rows.append((w, w - 1, (ours - theirs).abs().max().item()))
    ends = {
        0.0: torch.equal(denoisers.Guided(RING, 0.0)(x, u, y).data, none.data),
        1.0: torch.equal(denoisers.Guided(RING, 1.0)(x, u, y).data, given.data),
    }
    tutorial.keep(convention_gap=max(row[2] for row in rows), ends_are_equal=ends)
    table(
        ("our w", "Ho and Salimans's w", "largest difference", "to the last bit"),
        [(*row, ends.get(row[0])) for row in rows],
    )


# %%
conventions()

# %% [markdown]
# ## Two conditions in one batch
#
# A guided step needs the network twice, once with the condition and once without. Both go through
# it as *one* batch: the noisy samples twice, and the empty condition beside the real one. With a
# text encoder this is the line `text_encoder(["", prompt])` that one meets in every implementation
# of text to image: the empty text is what the network was shown when a caption was left out.
#
# What has to change to go from labels to text? The table counts parameters of the two networks. The
# schedule, the loss, the sampler and the guidance are the same objects; the label's row of a table
# becomes an encoder of words, the sum becomes cross-attention, and leaving a label out becomes
# replacing a caption by the empty one.


# %%
def sizes(module: nn.Module | None) -> int:
    """The number of parameters."""
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def denoiser_of(network: nn.Module) -> denoisers.Denoiser:
    """A network that gives the velocity, on the schedule of all."""
    return denoisers.Denoiser(network, SCHEDULE, "velocity", data_shape=(2,))


def stirred(module: nn.Module) -> nn.Module:
    """The module with random weights where it has zeros at first."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@tutorial.section
def from_labels_to_text() -> None:
    """One batch of two halves against two calls, and what changes between label and text."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = networks.ResidualMLP((2,), hidden=64, num_classes=10)
        inner = networks.ResidualMLP((2,), hidden=64, token_dim=32)
        encoder = networks.TextEncoder(len(VOCABULARY))
        texts = stirred(networks.Captioned(encoder, inner))
        x = torch.randn(1, 2)
    caption = "a thick seven, slanted left"
    both = words(["", caption])
    u, denoiser = torch.tensor(0.5), denoiser_of(texts)
    with torch.no_grad():
        without, given = denoiser(torch.cat([x, x]), u, both).noise
        alone = [denoiser(x, u, words([text])).noise[0] for text in ("", caption)]
        guided = denoisers.Guided(denoiser, 3.0, texts.null)(x, u, words([caption])).noise[0]
    gaps = {
        "one batch of two, two calls": max(
            (a - b).abs().max().item() for a, b in zip((without, given), alone, strict=True)
        ),
        "Guided(denoiser, 3), the formula": (guided - (without + 3 * (given - without)))
        .abs()
        .max()
        .item(),
    }
    tutorial.keep(batch_gaps=gaps, caption_moves=(given - without).abs().max().item())
    print(f'["", prompt] is a batch {tuple(both.shape)} of indices of words:\n')
    for row in both.tolist():
        print(" ".join(f"{index:>3}" for index in row))
    table(("equal?", "largest difference"), gaps.items())
    tellers = [sizes(n) - sizes(networks.ResidualMLP((2,), hidden=64)) for n in (labels, inner)]
    table(
        ("what", "labels", "text"),
        [
            ("condition", "a number", f"{both.shape[1]} words"),
            ("encoder", "a table", "words, places, attention"),
            ("its parameters", 11 * 64, sizes(encoder)),
            ("told by", "a sum with the time", "cross-attention"),
            ("its parameters", tellers[0] - 11 * 64, tellers[1]),
            ("left out", "label 10", "the empty caption"),
            ("schedule, loss, sampler, guidance", "–", "the same"),
        ],
    )


# %%
from_labels_to_text()

# %% [markdown]
# ## Five ways on one page
#
# How does a condition reach the network? `networks.UNet` knows four ways, by the argument
# `inject=`, and below they are spelled out, in a network of two blocks:
#
# - **add**: an embedding is added to that of the time;
# - **film**: it scales and shifts normalised features in every block;
# - **attention**: features attend to tokens, which may be any number;
# - **channels**: it is concatenated to the noisy input, as an image would be;
#
# and the fifth tells the network nothing: a *classifier* of noisy data pushes an unconditional
# model (Dhariwal and Nichol 2021),
#
# $$\nabla \log p(x \mid y) = \nabla \log p(x) + \nabla \log p(y \mid x).$$
#
# Here the classifier is the exact one, so that only the network is on trial. All five learn the
# ring of eight; the exact conditional denoiser is beside them.


# %%
def ring(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draws of the eight Gaussians with their labels."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(8, (n,), generator=generator)
    return MEANS[y] + SD * torch.randn(n, 2, generator=generator), y


class Network(nn.Module):
    """Residual blocks that are told the time, and labels in one of four ways or not at all."""

    def __init__(self, inject: str | None, hidden: int, blocks: int = 2):
        super().__init__()
        self.told = told = Conditions(hidden, 8 if inject else 0, inject=inject or "add")
        self.stem = nn.Linear(2 + told.channels, hidden)  # channels: beside the data
        self.films = nn.ModuleList(Film(hidden, hidden, told.film) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(blocks))
        self.first = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.last = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        looks = blocks if told.token_dim else 0
        self.looks = nn.ModuleList(Attention(hidden, told.token_dim) for _ in range(looks))
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: Tensor, u: Tensor, y: Tensor | None = None) -> Tensor:
        told = self.told(x, u, y)  # add: told.time is the sum
        h = self.stem(x if told.channels is None else torch.cat([x, told.channels], 1))
        for i, norm in enumerate(self.norms):
            inner = self.films[i](self.first[i](norm(h)), told)  # film: its own scale and shift
            if self.looks:  # attention: to the tokens
                h = self.looks[i](h[:, None], told.tokens)[:, 0]
            h = h + self.last[i](nn.functional.silu(inner))
        return self.head(h)


class Classified(denoisers.DenoiserBase):
    """An unconditional denoiser and a classifier of noisy data, which is that of the exact law."""

    def __init__(self, denoiser: denoisers.DenoiserBase):
        super().__init__(denoiser.noise, denoiser.data_shape)
        self.denoiser, self.num_classes = denoiser, 8

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> denoisers.Prediction:
        found = self.denoiser(x, u)
        if y is None:
            return found
        known = RING(x, u, y).score - RING(x, u).score  # ∇ log p(y | x)
        score = found.score + torch.where((y < 8)[:, None], known, 0.0)
        return denoisers.Prediction("score", score, x, found.level)


def diffusion(inject: str | None) -> ppl_gen.Diffusion:
    """A diffusion of the ring, told labels in a way or not at all; trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = 48 if tutorial.smoke else 128
        network = Network(inject, hidden)
        num_classes = 0 if inject is None else 8
        model = ppl_gen.Diffusion(
            denoiser_of(network), (2,), steps=200, num_classes=num_classes, drop=0.15
        )
    epochs, batch_size = (8, 256) if tutorial.smoke else (80, 512)
    x, y = ring(20 * batch_size)
    ppl_gen.fit(
        model,
        x if inject is None else (x, y),
        epochs=epochs,
        batch_size=batch_size,
        lr=4e-3,
        ema=0.99,
        scheduler=lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.01, 20 * epochs),
        staged=False if tutorial.smoke else "auto",
        progress=False,
    )
    return model


def conditional(denoiser: denoisers.DenoiserBase, w: float, size: int) -> tuple[Tensor, Tensor]:
    """Samples of all labels in turn, with guidance."""
    y = torch.arange(size) % 8
    guided = denoisers.Guided(denoiser, w, 8)
    return samplers.Heun().sample(guided, size, y, steps=18, seed=0), y


def obeyed(x: Tensor, y: Tensor) -> float:
    """The share of samples nearest to the mean of their label."""
    return (torch.cdist(x, MEANS).argmin(1) == y).float().mean().item()


def spread(x: Tensor, y: Tensor) -> float:
    """The standard deviation of a coordinate about the mean of the label's samples, over 0.25."""
    rest = torch.cat([x[y == k] - x[y == k].mean(0) for k in range(8)])
    return (rest.square().mean().sqrt() / SD).item()


@tutorial.section
def five_ways() -> denoisers.DenoiserBase:
    """Labels obeyed and distance to the truth by the way in which labels are told."""
    size = 800 if tutorial.smoke else 4000
    ways = ("add", "film", "attention", "channels")
    made: dict[str, denoisers.DenoiserBase] = {way: diffusion(way).denoiser for way in ways}
    made["classifier"] = Classified(diffusion(None).denoiser)
    made["exact"] = RING
    truth, labels = ring(size, seed=7)
    found, pictures = {}, {}
    for way, denoiser in made.items():
        pictures[way] = x, y = conditional(denoiser, 1.0, size)
        distances = [metrics.sliced_wasserstein(x[y == k], truth[labels == k]) for k in range(8)]
        found[way] = {
            "obeyed": obeyed(x, y),
            "sliced W₁ by label": float(np.mean(distances)),
            "obeyed, w = 3": obeyed(*conditional(denoiser, 3.0, size)),
        }
    tutorial.keep(ways=found, obeyed_by_data=obeyed(truth, labels))
    columns = list(found["exact"])
    rows = [(way, sizes(made[way]), *row.values()) for way, row in found.items()]
    table(("way", "parameters", *columns), rows)
    print(f"\nOf the data {obeyed(truth, labels):.3f} are nearest to the mean of their label.")
    figure = Figure(figsize=(12, 2.5), layout="constrained")
    for ax, (way, (x, y)) in zip(figure.subplots(1, 6), pictures.items(), strict=True):
        ax.scatter(*x[:800].T, c=y[:800], s=2, cmap="tab10", vmin=0, vmax=9)
        ax.set(xlim=(-2.8, 2.8), ylim=(-2.8, 2.8), xticks=[], yticks=[], aspect="equal")
        ax.set_title(way, fontsize="medium")
    tutorial.show(figure, "18_five_ways")
    return made["film"]


# %%
told = five_ways()

# %% [markdown]
# ## More of the condition, less of everything else
#
# With larger w samples obey more and differ less. The labels of the ring overlap, so the
# conditional model itself disobeys at times, rightly: so do the data. Beyond $w = 1$ the samples
# are more typical than the data are.


# %%
@tutorial.section
def weights(told: denoisers.DenoiserBase) -> None:
    """What is obeyed and what is left of the spread, by weight."""
    size = 800 if tutorial.smoke else 4000
    tried = (0.0, 0.5, 1.0, 2.0, 4.0)
    found, pictures = {}, {}
    for name, denoiser in (("exact", RING), ("trained", told)):
        for w in tried:
            x, y = conditional(denoiser, w, size)
            found[name, w] = obeyed(x, y), spread(x, y)
            pictures[name, w] = x, y
    tutorial.keep(by_weight=found)
    table(
        ("w", "obeyed, exact", "trained", "spread, exact", "trained"),
        [
            (w, *(found[name, w][part] for part in (0, 1) for name in ("exact", "trained")))
            for w in tried
        ],
    )
    figure = Figure(figsize=(12, 2.7), layout="constrained")
    for ax, w in zip(figure.subplots(1, 5), tried, strict=True):
        x, y = pictures["trained", w]
        ax.scatter(*x[:800].T, c=y[:800], s=2, cmap="tab10", vmin=0, vmax=9)
        ax.set(xlim=(-2.8, 2.8), ylim=(-2.8, 2.8), xticks=[], yticks=[], aspect="equal")
        ax.set_title(f"w = {w:g}: {found['trained', w][0]:.2f} obeyed", fontsize="medium")
    tutorial.show(figure, "18_weights")


# %%
weights(told)

# %% [markdown]
# ## What guidance does not sample
#
# The guided score is, at each level of noise, the score of $p(x_t \mid y)\, p(y \mid x_t)^{w - 1}$,
# which is often taken to say that samples come from $p(x \mid y)\, p(y \mid x)^{w - 1}$. They do
# not: sharpening and adding noise do not commute. The example has two components of variance 0.6,
# at −3 and 1.5, and exact denoisers; the law that is claimed is computed by quadrature. The claimed
# law hardly differs from the component, since $p(y \mid x)$ is nearly 1 all over it; guidance moves
# the mean on, away from the other component.


# %%
VARIANCE, PLACES = 0.6, (-3.0, 1.5)
PAIR = denoisers.Mixture(
    SCHEDULE, torch.ones(2), torch.tensor(PLACES)[:, None], torch.full((2, 1), VARIANCE)
)


def claimed(w: float, x: Tensor) -> Tensor:
    """The density of p(x | y) p(y | x)^(w − 1) on a grid, y the component on the right."""
    left, right = (Normal(m, math.sqrt(VARIANCE)).log_prob(x) for m in PLACES)
    log = right + (w - 1) * (right - torch.logaddexp(left, right))
    return (log - log.max()).exp() / torch.trapezoid((log - log.max()).exp(), x)


@tutorial.section
def not_what_is_claimed() -> None:
    """Mean and variance of guided samples beside those of the claimed law."""
    size, steps = (1000, 150) if tutorial.smoke else (20_000, 500)
    grid = torch.linspace(-8, 10, 6001, dtype=torch.float64)
    found, pictures = {}, {}
    for w in (1.0, 2.0, 4.0):
        density = claimed(w, grid)
        mean = torch.trapezoid(grid * density, grid).item()
        variance = torch.trapezoid((grid - mean) ** 2 * density, grid).item()
        guided = denoisers.Guided(PAIR, w)
        y = torch.ones(size, dtype=torch.long)
        x = samplers.Ancestral("large").sample(guided, size, y, steps=steps, seed=0)[:, 0]
        found[w] = x.mean().item(), mean, x.var().item(), variance
        pictures[w] = x, density
    tutorial.keep(guided_pair=found, guided_size=size)
    columns = ("mean of samples", "claimed", "variance of samples", "claimed")
    table(("w", *columns), [(w, *row) for w, row in found.items()])
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for ax, (w, (x, density)) in zip(axes, pictures.items(), strict=True):
        ax.hist(x.numpy(), 60, range=(-2, 5), density=True, color="C0", alpha=0.4, label="samples")
        ax.plot(grid, density, color="C3", lw=1.8, label="claimed law")
        ax.set(xlim=(-2, 5), xlabel="x", yticks=[])
        ax.set_title(f"w = {w:g}", fontsize="medium")
    axes[0].legend(frameon=False, fontsize="small")
    plain(*axes)
    tutorial.show(figure, "18_not_what_is_claimed")


# %%
not_what_is_claimed()

# %% [markdown]
# ## What the numbers say
#
# At w = 1 all ways of telling a network the label come to the same ring, obeyed by 95 to 97 % of
# the samples where 97 % of the data do, and their code differs by a few lines. With w the share of
# obedient samples rises to one, and their spread falls below that of the data, from 1.07 to 0.55 at
# w = 4 and further for a trained network: guidance trades variety for typicality. What is sampled
# has no simple name: it is not the sharpened law, whose mean stays at 1.51, where that of the
# samples moves to 1.81 at w = 4, even where nothing is left to sharpen.
