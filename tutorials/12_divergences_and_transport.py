# %% [markdown]
# # Divergences and transport
#
# A generator that knows nothing yet draws samples where there are no data. What it is trained by
# must tell it which way to go. Three measures of how far two laws $p$ and $q$ are apart:
#
# $$\mathrm{KL}(p \,\|\, q) = \mathbb{E}_p \log \tfrac{p}{q},$$
#
# $$\mathrm{JS}(p, q) = \tfrac12 \mathrm{KL}(p \,\|\, m) + \tfrac12 \mathrm{KL}(q \,\|\, m),
#   \quad m = \tfrac12 (p + q),$$
#
# $$W_1(p, q) = \inf_\pi\, \mathbb{E}_{(x, y) \sim \pi} |x - y|
#   = \sup_{|f'| \le 1}\, \mathbb{E}_p f - \mathbb{E}_q f.$$
#
# The first two compare densities point by point and do not know how far apart two points are. The
# third asks how much mass must be moved, and how far: a plan $\pi$ is a law of pairs with the
# marginals $p$ and $q$. What counts in training is not the value but its slope.

# %%
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.distributions import Normal

from ppl_gen import divergences, metrics, networks, regularizers

tutorial = Tutorial(__name__, "KL, Jensen–Shannon and Wasserstein, and what learns them.")
main = tutorial.main
NAMES = ("KL", "JS", "W₁")


def panels(columns: int, width: float = 10, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    """A figure of a row of panels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, columns)))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


# %% [markdown]
# ## Two Gaussians drift apart
#
# Let $p = \mathcal N(\theta, \varepsilon^2)$ and $q = \mathcal N(0, \varepsilon^2)$. Then, with
# limits for growing $\theta / \varepsilon$,
#
# $$\begin{aligned}
#   \mathrm{KL} &= \frac{\theta^2}{2 \varepsilon^2}, &
#   \frac{d\, \mathrm{KL}}{d\theta} &= \frac{\theta}{\varepsilon^2}; \\[.5em]
#   \mathrm{JS} &\to \log 2, & \frac{d\, \mathrm{JS}}{d\theta} &\to 0; \\[.5em]
#   W_1 &= |\theta|, & \frac{d W_1}{d\theta} &= 1.
#   \end{aligned}$$
#
# JS has no closed form, so it is integrated, in logarithms: far out both densities underflow. Its
# slope is found by differentiating through the integral. The other two are integrated as well, to
# check the formulas.


# %%
def integrated(theta: float, epsilon: float) -> tuple[list[float], list[float]]:
    """KL, JS and W₁ of two Gaussians and their slopes in θ, from the definitions."""
    mean = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    x = torch.linspace(-14 * epsilon, theta + 14 * epsilon, 10_001, dtype=torch.float64)
    p, q = Normal(mean, epsilon), Normal(torch.zeros_like(mean), epsilon)
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    integrands = (
        log_p.exp() * (log_p - log_q),
        (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)) / 2,
        (p.cdf(x) - q.cdf(x)).abs(),
    )
    values = [torch.trapezoid(integrand, x) for integrand in integrands]
    slopes = [torch.autograd.grad(value, mean, retain_graph=True)[0] for value in values]
    return [v.item() for v in values], [s.item() for s in slopes]


def draw_drift(axes: Sequence[Axes], epsilon: float = 0.5) -> None:
    """Values and slopes as the distance grows."""
    thetas = np.linspace(0.02, 5, 120)
    found = [integrated(theta, epsilon) for theta in thetas]
    for ax, part, what in zip(axes, (0, 1), ("value", "slope in θ"), strict=True):
        for rank, name in enumerate(NAMES):
            curve = [pair[part][rank] for pair in found]
            ax.plot(thetas, curve, color=f"C{rank}", lw=2, label=name)
        ax.set(yscale="log", ylim=(1e-5, 100), xlabel="distance θ of the means", ylabel=what)
    axes[0].axhline(math.log(2), color="0.5", lw=0.8, ls=":")
    axes[0].text(5, math.log(2) * 0.55, "log 2", ha="right", color="0.4")
    axes[0].set_title(rf"Two normals of $\varepsilon = {epsilon:g}$ drift apart", fontsize="medium")
    axes[1].set_title("Of the three only JS stops pulling", fontsize="medium")
    axes[1].legend(frameon=False, loc="lower left")


@tutorial.section
def drift_apart() -> None:
    """Values and slopes at a fixed distance as the Gaussians shrink, and against the distance."""
    theta, rows, gaps = 2.0, [], []
    for epsilon in (1.0, 0.3, 0.1):
        (kl, js, w1), slopes = integrated(theta, epsilon)
        exact = (theta**2 / 2 / epsilon**2, theta), (theta / epsilon**2, 1.0)
        gaps += [abs(kl / exact[0][0] - 1), abs(w1 / exact[0][1] - 1)]
        gaps += [abs(slopes[0] / exact[1][0] - 1), abs(slopes[2] - 1)]
        size = f"{abs(slopes[1]):.0e}"
        rows.append((f"ε = {epsilon:g}", kl, f"{js:.6f}", w1, slopes[0], size, slopes[2]))
    js = [float(row[2]) for row in rows]
    slopes_of_js = [float(row[5]) for row in rows]
    tutorial.keep(js=js, slopes_of_js=slopes_of_js, formula_gap=max(gaps))
    print(f"At distance θ = {theta:g}:")
    table(("", "KL", "JS", "W₁", "slope of KL", "of JS", "of W₁"), rows)
    print(f"\nlog 2 = {math.log(2):.6f}. Integrals and formulas differ by {max(gaps):.0e} at most.")
    near, far = (integrated(distance, 0.5)[1] for distance in (1.0, 4.0))
    grows = {name: far[rank] > 0.5 * near[rank] for rank, name in enumerate(NAMES)}
    tutorial.keep(slope_survives=grows)
    source = {"KL": False, "JS": False, "W₁": True}
    table(
        ("does the slope survive the distance?", "ours", "the source", "agrees?"),
        [(name, grows[name], source[name], grows[name] == source[name]) for name in NAMES],
    )
    figure, axes = panels(2)
    draw_drift(axes)
    tutorial.show(figure, "12_drift")


# %%
drift_apart()

# %% [markdown]
# The source says that the slope of KL dies with the distance, too. It grows, like $\theta /
# \varepsilon^2$: what is wrong with KL is that it *explodes* as $\varepsilon \to 0$, and that it is
# infinite as soon as the model has no mass where there are data.
#
# ## Laws that do not overlap
#
# Images fill a thin sheet in the space of all pixels, and so do *fakes*, the samples of a
# generator: two sheets hardly meet. The simplest case: mass spread evenly over a vertical line at
# 0, and over one at θ (Arjovsky, Chintala and Bottou 2017, example 1). KL is infinite, JS is log 2
# at *every* θ but zero. $W_1$ is the distance. With equal samples an optimal plan is an assignment,
# which can be found exactly.


# %%
def lines(theta: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points spread evenly over the line at 0, in order, and over that at θ, in another."""
    heights = (np.arange(points) + 0.5) / points
    shuffled = np.random.default_rng(0).permutation(heights)
    return np.stack([0 * heights, heights], 1), np.stack([0 * shuffled + theta, shuffled], 1)


def histogram_js(x: np.ndarray, y: np.ndarray, cell: float) -> float:
    """The JS divergence of two samples after rounding to cells."""
    p, q = ({tuple(row): 0.0 for row in np.floor(np.concatenate([x, y]) / cell)} for _ in range(2))
    for law, sample in ((p, x), (q, y)):
        for row in np.floor(sample / cell):
            law[tuple(row)] += 1 / len(sample)
    a, b = np.array(list(p.values())), np.array(list(q.values()))
    halves = [np.where(s > 0, s * np.log(np.where(s > 0, s, 1) * 2 / (a + b)), 0) for s in (a, b)]
    return float(sum(half.sum() for half in halves) / 2)


def transport_cost(x: np.ndarray, y: np.ndarray) -> float:
    """W₁ of two samples of one size, by the best assignment."""
    costs = np.linalg.norm(x[:, None] - y[None], axis=-1)
    return float(costs[linear_sum_assignment(costs)].mean())


@tutorial.section
def disjoint_lines() -> None:
    """JS and W₁ of two vertical lines, from samples."""
    points = 200 if tutorial.smoke else 1000
    found = {}
    for theta in (0.0, 0.02, 0.1, 0.5, 1.0):
        x, y = lines(theta, points)
        found[theta] = histogram_js(x, y, 0.01), transport_cost(x, y)
    tutorial.keep(lines=found)
    table(
        ("θ", "JS", "exact", "W₁", "exact"),
        [(f"{t:g}", js, math.log(2) * (t > 0), w, t) for t, (js, w) in found.items()],
    )
    figure, (left, right) = panels(2)
    for rank, theta in enumerate((0.0, 0.5, 1.0)):
        left.plot([theta, theta], [0, 1], lw=5, color=f"C{rank}", solid_capstyle="butt")
        left.text(theta, 1.04, f"θ = {theta:g}", ha="center")
    left.set(xlim=(-0.4, 1.4), ylim=(0, 1.15), xlabel="x", ylabel="y", yticks=(0, 1))
    left.set_title("Mass spread over a line, at three places", fontsize="medium", pad=10)
    for rank, name in ((0, "JS"), (1, "W₁")):
        values = [pair[rank] for pair in found.values()]
        style = {"fmt": "o", "ms": 9} if name == "JS" else {"fmt": "o-", "ms": 5}
        right.errorbar(list(found), values, color=f"C{rank + 1}", label=name, **style)
    right.hlines(math.log(2), 0, 1, color="C1", lw=1)
    right.set(xlabel="distance θ", ylabel="how far from the line at 0")
    right.set_title("JS jumps, and then is flat", fontsize="medium")
    right.legend(frameon=False)
    tutorial.show(figure, "12_lines")


# %%
disjoint_lines()

# %% [markdown]
# ## Boxes to be moved
#
# The source explains transport by boxes. Six stand at 1, 1, 1, 2, 3, 3 and are wanted at 7, 8, 9,
# 9, 10, 10. *Every* plan costs 42: each target lies to the right of each source, so that $\sum
# |y_i - x_{\pi(i)}| = \sum y - \sum x$ whichever box goes where. From 4, 6 to 3, 7 it matters,
# 2 or 6. In one dimension the plan that keeps the order is always among the best, which is why
# sorting computes $W_1$.


# %%
BOXES = {
    "1 1 1 2 3 3 → 7 8 9 9 10 10": ((1, 1, 1, 2, 3, 3), (7, 8, 9, 9, 10, 10)),
    "4 6 → 3 7": ((4, 6), (3, 7)),
}
COSTS = {"1 1 1 2 3 3 → 7 8 9 9 10 10": (42, 42), "4 6 → 3 7": (2, 6)}


def extreme_plans(sources: Sequence[int], targets: Sequence[int]) -> tuple[int, int]:
    """The costs of the cheapest and the dearest plan."""
    costs = np.abs(np.subtract.outer(sources, targets))
    least, most = (costs[linear_sum_assignment(costs, maximize=m)].sum() for m in (False, True))
    return int(least), int(most)


def every_plan(sources: Sequence[int], targets: Sequence[int]) -> set[int]:
    """The costs of all plans, one after the other."""
    return {
        sum(abs(x - y) for x, y in zip(sources, order, strict=True))
        for order in itertools.permutations(targets)
    }


def draw_boxes(axes: Sequence[Axes], sources: Sequence[int], targets: Sequence[int]) -> None:
    """The cheapest and the dearest plan of a pair as arcs."""
    costs = np.abs(np.subtract.outer(sources, targets))
    for ax, maximize in zip(axes, (False, True), strict=True):
        rows, columns = linear_sum_assignment(costs, maximize=maximize)
        for rank, (row, column) in enumerate(zip(rows, columns, strict=True)):
            x, y = sources[row], targets[column]
            turn = np.linspace(0, np.pi, 40)
            ax.plot((x + y) / 2 + (x - y) / 2 * np.cos(turn), np.sin(turn), color=f"C{rank}")
            ax.plot(x, 0, "s", ms=10, color=f"C{rank}")
            ax.plot(y, 0, "s", ms=10, mfc="none", mec=f"C{rank}", mew=2)
        ax.set(xlim=(2, 8), ylim=(-0.3, 1.2), yticks=[], xlabel="place")
        ax.spines["left"].set_visible(False)
        kind = "dearest" if maximize else "cheapest"
        total = costs[rows, columns].sum()
        ax.set_title(f"4 6 → 3 7: the {kind} plan costs {total}", fontsize="medium")


@tutorial.section
def move_boxes() -> None:
    """Least and largest cost, by assignment and by going through all plans."""
    found = {name: extreme_plans(*pair) for name, pair in BOXES.items()}
    plans = {name: every_plan(*pair) for name, pair in BOXES.items()}
    sorting = {
        name: metrics.wasserstein_1d(*(torch.tensor(p) for p in pair)) * len(pair[0])
        for name, pair in BOXES.items()
    }
    tutorial.keep(boxes=found, all_plans=plans, boxes_by_sorting=sorting)
    table(
        ("boxes", "cheapest", "by sorting", "dearest", "different costs", "the source", "agrees?"),
        [
            (
                *(name, least, f"{sorting[name]:g}", most, len(plans[name])),
                *(" or ".join(map(str, sorted(set(COSTS[name])))), COSTS[name] == (least, most)),
            )
            for name, (least, most) in found.items()
        ],
    )
    figure, axes = panels(2, height=2.4)
    draw_boxes(axes, *BOXES["4 6 → 3 7"])
    tutorial.show(figure, "12_boxes")


# %%
move_boxes()

# %% [markdown]
# ## A discriminator and a critic
#
# In a game of a generator against a network, neither divergence is computed; the network learns it.
# A *discriminator* tells data from fakes by a probability and minimises the cross entropy, whose
# minimum is $\log 4 - 2\, \mathrm{JS}$; a *critic* gives a number $f(x)$ and maximises
# $\mathbb{E}_p f - \mathbb{E}_q f$ while a penalty keeps its slope near 1. Loss and penalty are
# parts of the library, `ppl_gen.divergences` and `ppl_gen.regularizers`, and both networks have the
# same layers.
#
# On two Gaussians eight standard deviations apart the discriminator is certain wherever there are
# fakes, so nothing tells a fake in which direction the data are. The critic is a straight line.


# %%
SPREAD = 0.5


def trained(kind: str, distance: float) -> nn.Module:
    """A discriminator or a critic of N(0, 0.5²), the data, against N(distance, 0.5²)."""
    steps, lr = (150, 5e-3) if tutorial.smoke else (3000, 2e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.MLP([(1,)], [64, 64], (1,), nn.Tanh)
        divergence = divergences.minimax if kind == "discriminator" else divergences.wasserstein
        penalty = regularizers.GradientPenalty(10.0) if kind == "critic" else None
        optimizer = torch.optim.Adam(network.parameters(), lr, (0.5, 0.99))
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
        for _ in range(steps):
            real, fake = SPREAD * torch.randn(256, 1), distance + SPREAD * torch.randn(256, 1)
            cost = divergence.real(network(real)).mean() + divergence.fake(network(fake)).mean()
            if penalty is not None:
                cost = cost + penalty(network, real, fake).mean()
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
            decay.step()
    return network


def learned(kind: str, network: nn.Module, distance: float) -> float:
    """The divergence a trained network stands for: JS, or the gap that estimates W₁."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        noise = SPREAD * torch.randn(100_000, 1)
        real, fake = network(noise), network(noise + distance)
        if kind == "critic":
            return (real.mean() - fake.mean()).item()
        gan = divergences.minimax
        return math.log(2) - (gan.real(real).mean() + gan.fake(fake).mean()).item() / 2


def shape(network: nn.Module, x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """What a network says along a line and its slope; of a discriminator, the probability D."""
    x = x[:, None].clone().requires_grad_()
    said = network(x).sigmoid() if kind == "discriminator" else network(x)
    (slope,) = torch.autograd.grad(said.sum(), x)
    return said.detach()[:, 0], slope[:, 0]


def draw_networks(axes: Sequence[Axes], nets: dict[str, nn.Module], distance: float) -> None:
    """Both networks over the two densities, and the slopes by which a fake would move."""
    x = torch.linspace(-2, distance + 2, 400)
    for ax, (kind, network) in zip(axes, nets.items(), strict=True):
        said, slope = shape(network, x, kind)
        other = ax.twinx()
        for mean, name in ((0.0, "data"), (distance, "fakes")):
            density = Normal(mean, SPREAD).log_prob(x).exp()
            other.fill_between(x, density, alpha=0.15, color="0.3", lw=0)
            other.text(mean, 0.86, name, ha="center", color="0.35")
        other.set(ylim=(0, 1.6), yticks=[])
        other.spines[["top", "right"]].set_visible(False)
        ax.plot(x, said, color="C0", lw=2, label="D(x)" if kind == "discriminator" else "f(x)")
        ax.plot(x, slope, color="C3", lw=2, ls="--", label="its slope")
        ax.set_title(f"The {kind}", fontsize="medium")
        ax.set_xlabel("x")
        ax.legend(frameon=False, loc="upper right")
        ax.set_zorder(other.get_zorder() + 1)
        ax.patch.set_visible(False)


@tutorial.section
def discriminator_and_critic() -> dict[str, nn.Module]:
    """Train both on two separated Gaussians, and look at their slopes between them."""
    distance = 4.0
    nets = {kind: trained(kind, distance) for kind in ("discriminator", "critic")}
    between = torch.linspace(1.2, distance - 1.2, 101)
    at_fakes = torch.linspace(distance - 0.5, distance + 0.5, 101)
    slopes = {k: shape(net, between, k)[1] for k, net in nets.items()}
    felt = {k: shape(net, at_fakes, k)[1].abs().mean().item() for k, net in nets.items()}
    critic = slopes["critic"].abs()
    variation = ((critic.max() - critic.min()) / critic.mean()).item()
    tutorial.keep(slope_at_fakes=felt, critic_variation=variation)
    table(
        ("mean |slope|", "at the fakes", "in the middle"),
        [(k, felt[k], slopes[k][50].abs().item()) for k in nets],
    )
    print(f"\nBetween the two the critic's slope varies by {100 * variation:.1f} % of its mean.")
    figure, axes = panels(2)
    draw_networks(axes, nets, distance)
    tutorial.show(figure, "12_discriminator_and_critic")
    return nets


# %%
nets = discriminator_and_critic()

# %% [markdown]
# ## The distance as it is learned
#
# The same networks at growing distances. The discriminator's estimate stays at log 2; the critic's
# gap grows in proportion. A penalty of finite weight λ lets the slope exceed 1 where that pays: the
# best slope is $1 + W_1 / 2 \lambda$, so that the gap is $W_1 (1 + W_1 / 2 \lambda)$ and not $W_1$
# itself.


# %%
def penalised_gap(distance: float, weight: float = 10.0) -> float:
    """The gap of the best critic under a gradient penalty."""
    return distance * (1 + distance / 2 / weight)


def draw_learned(ax: Axes, found: dict[str, dict[float, float]]) -> None:
    """The learned divergences over the exact ones."""
    dense = np.linspace(0.05, max(found["critic"]), 60)
    exact = [integrated(theta, SPREAD)[0] for theta in dense]
    ax.plot(dense, [e[1] for e in exact], color="C1", label="JS")
    ax.plot(dense, [e[2] for e in exact], color="C2", label="W₁")
    ax.plot(dense, penalised_gap(dense), color="C2", lw=1, ls=":", label="W₁ (1 + W₁ / 2λ)")
    for kind, colour in (("discriminator", "C1"), ("critic", "C2")):
        x, y = zip(*found[kind].items(), strict=True)
        ax.plot(x, y, "o", color=colour, label=f"{kind}, trained")
    ax.set(xlabel="distance of the means", ylabel="divergence")
    ax.set_title("What two networks learn of the distance", fontsize="medium")
    ax.legend(frameon=False)


@tutorial.section
def learn_the_distance(nets: dict[str, nn.Module]) -> None:
    """Train discriminators and critics at several distances."""
    distances = (0.5, 4.0) if tutorial.smoke else (0.5, 1.0, 2.0, 3.0, 4.0)
    found: dict[str, dict[float, float]] = {kind: {} for kind in nets}
    for distance in distances:
        for kind, values in found.items():
            network = nets[kind] if distance == 4 else trained(kind, distance)
            values[distance] = learned(kind, network, distance)
    exact = {d: integrated(d, SPREAD)[0] for d in distances}
    tutorial.keep(
        learned_js=[(found["discriminator"][d], exact[d][1]) for d in distances],
        learned_w1=[(found["critic"][d], penalised_gap(d)) for d in distances],
    )
    table(
        ("distance", "JS", "discriminator", "W₁", "W₁ (1 + W₁ / 2λ)", "critic"),
        [
            (
                *(f"{d:g}", exact[d][1], found["discriminator"][d]),
                *(exact[d][2], penalised_gap(d), found["critic"][d]),
            )
            for d in distances
        ],
    )
    figure, (ax,) = panels(1, width=7, height=4.2)
    draw_learned(ax, found)
    tutorial.show(figure, "12_learned")


# %%
learn_the_distance(nets)

# %% [markdown]
# ## Clipped weights: a distance in an unknown currency
#
# The first Wasserstein GAN (WGAN; Arjovsky, Chintala and Bottou 2017) bounds the slope of its
# critic by clipping every weight to $[-c, c]$. A network with L hidden layers of h rectified units
# can then be no steeper than
#
# $$K = c\, (h c)^L,$$
#
# and the gap is at most $K\, W_1$: the same two laws, another number for each architecture. Two
# points at distance 2, so $W_1 = 2$, with $c = 0.1$ and $h = 8$. A critic that starts from positive
# weights reaches the bound, one that starts from random ones stays below, since a unit on its
# negative side stays there. So dividing the gap by K does not give $W_1$ either.


# %%
def clipped_gap(layers: int, positive: bool, bound: float = 0.1, width: int = 8) -> float:
    """The largest gap a clipped critic reaches between the points 0 and 2.

    It starts from random weights, or from their absolute values.
    """
    steps = 150 if tutorial.smoke else 1000
    clip = regularizers.Clip(bound)
    best = 0.0
    for seed in range(1 if tutorial.smoke else 3):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            critic = networks.MLP([(1,)], [width] * layers, (1,), nn.LeakyReLU)
            with torch.no_grad():
                for parameter in critic.parameters() if positive else ():
                    parameter.abs_()
            clip.after(critic)
            optimizer = torch.optim.RMSprop(critic.parameters(), 2e-3)
            for _ in range(steps):
                gap = critic(torch.full((1, 1), 2.0)) - critic(torch.zeros(1, 1))
                optimizer.zero_grad()
                (-gap).sum().backward()
                optimizer.step()
                clip.after(critic)
                best = max(best, gap.item())
    return best


@tutorial.section
def clip_weights() -> None:
    """The gap of clipped critics of one, two and three hidden layers beside the bound."""
    bounds = {layers: 2 * 0.1 * (8 * 0.1) ** layers for layers in (1, 2, 3)}
    found = {n: (clipped_gap(n, True), clipped_gap(n, False)) for n in bounds}
    tutorial.keep(clipped={n: (*found[n], bounds[n]) for n in bounds})
    table(
        ("hidden layers", "positive weights", "random weights", "K W₁", "W₁"),
        [(n, *found[n], bounds[n], 2.0) for n in bounds],
    )


# %%
clip_weights()

# %% [markdown]
# ## What the numbers say
#
# Twenty standard deviations apart JS is log 2 to six digits, and its slope has died; that of KL
# grows; that of $W_1$ is 1. A discriminator inherits the one, with a slope of 1e-6 where the fakes
# are, a critic the other, with one of 1.21 that varies by 0.2 % over the whole way: this is the
# argument for the Wasserstein GAN. The critic's gaps are those of the formula to 0.6 %, 4.80 where
# $W_1$ is 4.
#
# It is an argument about an optimal critic far from the data. A critic's loss is $W_1$ only up to a
# factor that depends on the network (clipping) or on the distance (penalty), so losses compare at
# one architecture alone, and in practice a discriminator is not trained to its optimum either.
# Tutorial 13 plays the games.
