# %% [markdown]
# # What your guide cannot say
#
# A guide, the program that approximates the posterior, draws its latents along a graph of its own,
# so there are distributions that it cannot be, whatever its parameters. If the posterior of the
# model is one of these, the bound stays below the evidence for ever, and no training tells why. The
# two graphs do: a *gap* is an independence that the guide asserts about the posterior and the model
# denies.

# %%
from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from _runner import Tutorial, table
from matplotlib.figure import Figure
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import Tensor

import graphs
import ppl_gen

tutorial = Tutorial(__name__, "What your guide cannot say.")
main = tutorial.main

# %% [markdown]
# ## Two causes and their sum
#
# Before their sum is seen, a and c are independent. Once it is, one is what the other leaves, which
# mean field cannot say: its ellipse lies along the axes and leaves most of the posterior's out. The
# loss has a closed form: with Λ the precision of the posterior, its inverse covariance, the best
# mean field is $\tfrac12 (\sum_i \log \Lambda_{ii} - \log\det \Lambda)$ nats below the evidence.

# %%
NOISE = 0.5


def sums(total: Tensor) -> None:
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    c = pyro.sample("c", dist.Normal(0.0, 1.0))
    pyro.sample("s", dist.Normal(a + c, NOISE), obs=total)


def log_weights(guide: Any, total: Tensor, draws: int) -> list[float]:
    """log p(x, z) - log q(z) at draws of a guide, whose mean is the bound."""
    found = []
    for _ in range(draws):
        drawn = poutine.trace(guide).get_trace(total)
        model = poutine.trace(poutine.replay(sums, trace=drawn)).get_trace(total)
        found.append(float((model.log_prob_sum() - drawn.log_prob_sum()).detach()))
    return found


def draw_laws(covariance: np.ndarray, mean: float, scale: float) -> Figure:
    """One and two standard deviations of the posterior and of the best mean field."""
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    laws = {
        "posterior": (np.linalg.cholesky(covariance), "C0", "-"),
        "best mean field": (scale * np.eye(2), "C1", "--"),
    }
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    ax = figure.subplots()
    for label, (root, color, style) in laws.items():
        for radius in (1, 2):
            a, c = mean + radius * root @ circle
            ax.plot(a, c, color=color, ls=style, label=label if radius == 1 else None)
    ax.set(xlabel="a", ylabel="c", aspect="equal", title="One and two standard deviations")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return figure


@tutorial.section
def one_gap() -> None:
    """The gap in words, and in nats."""
    total = torch.tensor(1.5)
    mean_field, joint = AutoNormal(sums), AutoMultivariateNormal(sums)
    gaps = graphs.guide_gaps(sums, mean_field, total)
    print(gaps.explain())
    print(graphs.guide_gaps(sums, joint, total).explain())
    precision = np.eye(2) + np.ones((2, 2)) / NOISE**2
    closed = (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
    scale = float(np.diag(precision)[0] ** -0.5)
    mean = total * float(np.linalg.solve(precision, np.ones(2) / NOISE**2)[0])

    def best(total: Tensor) -> None:
        for name in "ac":
            pyro.sample(name, dist.Normal(mean, scale))

    evidence = float(dist.Normal(0.0, (2 + NOISE**2) ** 0.5).log_prob(total))
    pyro.set_rng_seed(0)
    draws = 2_000 if tutorial.smoke else 4_000
    weights = np.array(log_weights(best, total, draws))
    loss, error = evidence - weights.mean(), weights.std() / draws**0.5
    agrees = bool(abs(loss - closed) < 4 * error)
    table(
        ["nats below the evidence", "ours, by draws", "standard error", "closed form", "agrees?"],
        [["the best mean field", float(loss), float(error), float(closed), agrees]],
    )
    tutorial.show(draw_laws(np.linalg.inv(precision), float(mean), scale), "21_two_causes")
    tutorial.keep(gaps=[str(gap) for gap in gaps], loss=float(loss), closed=float(closed))


# %%
one_gap()

# %% [markdown]
# ## The structure that loses nothing
#
# `graphs.inverse` turns the model round: who has to look at whom for q to be the posterior, with no
# edge to spare (Webb et al. 2018). `ppl_gen.guides.amortized` builds networks along it, and prints
# what each latent looks at. Here a linear map is enough: with the right coefficients every single
# draw has $\log p(x, z) - \log q(z)$ equal to $\log p(x)$. The guide reads and writes all values in
# units of its own, `guide.unit(name)`, so that it trains equally well whatever the scale of the
# data.


# %%
FIRST_SCALE = 0.1  # of a guide before training, in its units


def softplus_inverse(value: float) -> float:
    return float(np.log(np.expm1(value)))


@tutorial.section
def faithful() -> None:
    """An amortized guide with exact coefficients, at other data than it was built with."""
    guide = ppl_gen.guides.amortized(sums, torch.tensor(1.5))
    print(f"{guide!r}\n{graphs.guide_gaps(sums, guide, torch.tensor(1.5)).explain()}")
    variance = {"c": 1 - 1 / (2 + NOISE**2), "a": 1 - 1 / (1 + NOISE**2)}
    exact = {
        "c": [1 / (2 + NOISE**2)],
        "a": [1 / (1 + NOISE**2), -1 / (1 + NOISE**2)],
    }
    units = {name: [float(u) for u in guide.unit(name)] for name in "acs"}
    with torch.no_grad():
        for (name, inputs), head in zip(guide.inputs.items(), guide.heads, strict=True):
            middle, spread = units[name]
            at, per = np.array([units[i.name] for i in inputs]).T
            slopes = np.array(exact[name]) * per / spread
            start = (np.array(exact[name]) @ at - middle) / spread
            first, wanted = softplus_inverse(FIRST_SCALE), variance[name] ** 0.5 / spread
            head.linear.weight.copy_(torch.tensor(np.stack([slopes, 0 * slopes])))
            head.linear.bias.copy_(torch.tensor([start, softplus_inverse(wanted) - first]))
    rows, worst = [], 0.0
    for x in (-2.0, 0.3, 1.5):
        total = torch.tensor(x)
        evidence = float(dist.Normal(0.0, (2 + NOISE**2) ** 0.5).log_prob(total))
        weights = log_weights(guide, total, 5)
        off = max(abs(w - evidence) for w in weights)
        worst = max(worst, off)
        rows.append([x, weights[0], evidence, off < 1e-4])
    table(["observed sum", "one draw", "log p(x)", "agrees?"], rows)
    tutorial.keep(worst=worst)


# %%
faithful()

# %% [markdown]
# ## A chain, drawn backwards
#
# The posterior of a hidden Markov model is a chain again, in either direction. A guide that leaves
# out a link (`broken`) asserts too much; one that adds a link (`crowded`) has an edge to spare.
# Thick lines are couplings that the guide denies, a dashed arrow is the edge to spare.


# %%
def chain() -> None:
    z = pyro.sample("z0", dist.Normal(0.0, 1.0))
    for t in range(1, 4):
        z = pyro.sample(f"z{t}", dist.Normal(z, 1.0))
        pyro.sample(f"y{t}", dist.Normal(z, 1.0), obs=torch.tensor(1.0))


def backwards() -> None:
    z = pyro.sample("z3", dist.Normal(0.0, 1.0))
    for t in (2, 1, 0):
        z = pyro.sample(f"z{t}", dist.Normal(z, 1.0))


def broken() -> None:
    z = pyro.sample("z0", dist.Normal(0.0, 1.0))
    z = pyro.sample("z1", dist.Normal(z, 1.0))
    z = pyro.sample("z2", dist.Normal(0.0, 1.0))
    pyro.sample("z3", dist.Normal(z, 1.0))


def crowded() -> None:
    first = z = pyro.sample("z0", dist.Normal(0.0, 1.0))
    for t in range(1, 4):
        z = pyro.sample(f"z{t}", dist.Normal(z if t < 3 else z + first, 1.0))


@tutorial.section
def chains() -> None:
    """Gaps and edges to spare of four guides."""
    expected = {"backwards": (0, 0), "broken": (2, 0), "crowded": (0, 1), "mean field": (6, 0)}
    guides = [backwards, broken, crowded, AutoNormal(chain)]
    found = {
        name: graphs.guide_gaps(chain, guide) for name, guide in zip(expected, guides, strict=True)
    }
    counts = {name: (len(gaps), len(gaps.spare)) for name, gaps in found.items()}
    table(
        ["guide", "gaps", "edges to spare", "by hand", "agrees?"],
        [[n, *counts[n], str(expected[n]), counts[n] == expected[n]] for n in expected],
    )
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    for ax, name in zip(figure.subplots(1, 2), ("broken", "crowded"), strict=True):
        found[name].draw(ax, title=name)
    tutorial.show(figure, "21_chains")
    tutorial.keep(counts=counts)


# %%
chains()

# %% [markdown]
# ## Models that people build
#
# Of naive Bayes with unknown parameters, a hidden Markov model, latent Dirichlet allocation and a
# hierarchical regression, mean field keeps every two latents apart that the data couple; of an
# autoencoder with labels, only label and style of the same datum. Every verdict, with its path and
# the reason by hand, is among [the results](../docs/results/guide_verdicts.md).
