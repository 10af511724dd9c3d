# %% [markdown]
# # Diffusion from scratch
#
# Destroy data step by step with noise, which needs no learning, and learn to undo each step. The
# forward process of a denoising diffusion model (Ho, Jain and Abbeel 2020) is
#
# $$x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\, \epsilon_t, \qquad t = 1, \dots, T,$$
#
# and it can be taken in one leap, with $\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)$:
#
# $$x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon.$$
#
# The library writes $\alpha = \sqrt{\bar\alpha}$ for the scale of the signal and σ for that of the
# noise, and time as $u = t / T$ from 0, data, to 1, noise. Everything here is in two dimensions,
# where the best denoiser is known in closed form, so that every number can be checked.

# %%
from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import sympy  # comes with torch
import torch
from _runner import Tutorial, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

import ppl_gen
from ppl_gen import denoisers, metrics, networks, noise, samplers
from ppl_gen.data import mnist

tutorial = Tutorial(__name__, "Diffusion from scratch: forward, reverse, training, sampling.")
main = tutorial.main

SCHEDULE = noise.Cosine()
ANGLES = torch.arange(8) * math.pi / 4
MEANS = math.sqrt(2) * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)  # unit variance in all
SD = 0.1
EXACT = denoisers.Mixture(SCHEDULE, torch.ones(8), MEANS, SD**2 * torch.ones(8, 2))


def ring(n: int, seed: int = 0) -> Tensor:
    """Draws of eight Gaussians on a ring."""
    generator = torch.Generator().manual_seed(seed)
    centres = MEANS[torch.randint(8, (n,), generator=generator)]
    return centres + SD * torch.randn(n, 2, generator=generator)


def plain(*axes: Axes) -> None:
    """Leave out the frames above and on the right."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def scatter(ax: Axes, x: Tensor, title: str) -> None:
    """Points coloured by their angle."""
    ax.scatter(*x.T, c=torch.atan2(x[:, 1], x[:, 0]), s=2, cmap="twilight", vmin=-3.15, vmax=3.15)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
    ax.set_title(title, fontsize="medium")


# %% [markdown]
# ## The forward process, and its leap
#
# The closed form is shown by induction. If $x_{t-1}$ has scales $a$ and $\sqrt{1 - a^2}$, a further
# step multiplies the signal by $\sqrt{1 - \beta}$ and leaves noise of variance $(1 - \beta)(1 -
# a^2) + \beta$, which is $1 - (1 - \beta) a^2$: two independent Gaussians add up to one. Sympy
# agrees, for one step and for three; and so does a recursion in floating point over whole tables.


# %%
def symbolic_gap(steps: int) -> sympy.Expr:
    """Noise after so many steps, one by one, less that of the leap."""
    betas = sympy.symbols(f"beta1:{steps + 1}", positive=True)
    variance = sympy.Integer(0)
    for beta in betas:
        variance = (1 - beta) * variance + beta
    return sympy.expand(variance - (1 - sympy.prod([1 - beta for beta in betas])))


def numeric_gap(schedule: noise.Noise, steps: int) -> float:
    """The largest difference of scales, step by step and in one leap."""
    levels = noise.uniform(schedule, steps)
    step = noise.transition(levels[:-1], levels[1:])
    signal, variance, gap = 1.0, 0.0, 0.0
    for scale, added, leap in zip(*(part.tolist() for part in step), levels[1:], strict=True):
        signal, variance = scale * signal, scale**2 * variance + added
        gap = max(gap, abs(signal - leap.alpha), abs(math.sqrt(variance) - leap.sigma))
    return float(gap)


@tutorial.section
def forward_process() -> None:
    """The closed form by algebra and by recursion; a ring that dissolves."""
    algebra = [symbolic_gap(steps) for steps in (1, 3)]
    schedules = {"linear": noise.Linear(), "cosine": SCHEDULE}
    gaps = {
        (name, steps): numeric_gap(schedule, steps)
        for name, schedule in schedules.items()
        for steps in (3, 40, 80, 1000)
    }
    tutorial.keep(symbolic=[str(gap) for gap in algebra], forward_gaps=gaps)
    print(f"Step by step less the leap, by algebra: {algebra[0]} (1 step), {algebra[1]} (3 steps).")
    table(("schedule", "T", "largest difference"), [(*key, gap) for key, gap in gaps.items()])
    x, generator = ring(1500), torch.Generator().manual_seed(1)
    epsilon = torch.randn(x.shape, generator=generator)
    figure = Figure(figsize=(11, 2.5), layout="constrained")
    for ax, u in zip(figure.subplots(1, 5), (0.0, 0.15, 0.35, 0.6, 1.0), strict=True):
        at = SCHEDULE.level(u)
        ax.scatter(*(at.alpha * x + at.sigma * epsilon).T, c=torch.atan2(x[:, 1], x[:, 0]), s=2)
        ax.collections[0].set(cmap="twilight", clim=(-3.15, 3.15))
        ax.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
        ax.set_title(rf"$u = {u:g}$, $\bar\alpha = {at.alpha**2:.3f}$", fontsize="medium")
    tutorial.show(figure, "16_forward")


# %%
forward_process()

# %% [markdown]
# ## A schedule belongs to its number of steps
#
# The textbook's schedule, a line of $\beta_t$ from 0.0001 to 0.02, was chosen for $T = 1000$. With
# few steps hardly any noise is added, but sampling starts from pure noise all the same: nothing
# fails, the samples are wrong. Scaled by $1000 / T$ it asks for $\beta_T > 1$ below 20 steps. A
# schedule in continuous time, such as the two of the library in the last columns, ends at the same
# level for every T, three steps included.


# %%
def textbook(steps: int, scaled: bool) -> tuple[float, float]:
    """What is left of the signal, $\\bar\\alpha_T$, and the largest β of the textbook's line."""
    betas = np.linspace(1e-4, 0.02, steps) * (1000 / steps if scaled else 1)
    return float(np.prod(1 - betas)), float(betas.max())


@tutorial.section
def schedules() -> None:
    """What is left of the signal at the end."""
    found = {}
    for steps in (3, 40, 80, 200, 1000):
        scaled, largest = textbook(steps, True)
        ours = [s.level(1.0).alpha.item() ** 2 for s in (noise.Linear(), SCHEDULE)]
        found[steps] = (textbook(steps, False)[0], scaled if largest <= 1 else None, *ours)
    tutorial.keep(signal_left=found)
    print("ᾱ at the end, – where the largest β exceeds 1:")
    columns = ("T", "textbook", "scaled by 1000 / T", "noise.Linear", "noise.Cosine")
    table(columns, [(steps, *row) for steps, row in found.items()])


# %%
schedules()

# %% [markdown]
# ## Why the reverse is intractable, and when it is not
#
# By Bayes' rule $q(x_s \mid x_t) = q(x_t \mid x_s)\, q(x_s) / q(x_t)$, and the two marginals need
# the law of the data, which is what we do not have. *Given $x_0$* the reverse is a Gaussian.
# Without it, it is a mixture of these Gaussians over all data that $x_t$ may have come from. With
# data at ±1 there are two of them: in large steps the reverse has two modes, in small steps it is
# nearly Gaussian, and a network that gives a mean can learn it.


# %%
def two_points(s: noise.Level, t: noise.Level, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Of data at ±1, log q(x_s | x_t) on a grid, and the log density of a normal of its moments.

    ``x`` is ``(B, 1)``, ``grid`` ``(S,)``; both results are ``(B, S)``.
    """
    data = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    q = noise.posterior(s, t)
    shares = (-((x - t.alpha * data) ** 2) / 2 / t.sigma**2).softmax(-1)
    means = q.mean(x, data)
    parts = Normal(means[..., None], q.variance.sqrt()).log_prob(grid)
    exact = torch.logsumexp(parts + shares.log()[..., None], 1)
    mean = (shares * means).sum(-1, keepdim=True)
    spread = (shares * (means - mean) ** 2).sum(-1, keepdim=True)
    return exact, Normal(mean, (q.variance + spread).sqrt()).log_prob(grid)


def lost_nats(steps: int) -> Tensor:
    """Mean divergence of q(x_s | x_t) from the normal of its moments, for t = 2 … T."""
    levels = noise.uniform(SCHEDULE, steps)
    grid, losses = torch.linspace(-5, 5, 1001, dtype=torch.float64), []
    x = torch.linspace(-4.5, 4.5, 91, dtype=torch.float64)[:, None]
    for t in range(2, steps + 1):
        exact, normal = two_points(levels[t - 1], levels[t], x, grid)
        each = torch.trapezoid(exact.exp() * (exact - normal), grid)
        at = levels[t]
        weight = torch.stack([Normal(m * at.alpha, at.sigma).log_prob(x[:, 0]) for m in (-1, 1)])
        losses.append(torch.trapezoid(weight.exp().mean(0) * each, x[:, 0]))
    return torch.stack(losses)


def draw_reverse(ax: Axes, steps: int) -> None:
    """The reverse of the step whose mean loss is the largest, from a point between the modes."""
    levels, worst = noise.uniform(SCHEDULE, steps), int(lost_nats(steps).argmax()) + 2
    grid = torch.linspace(-1.8, 1.8, 500, dtype=torch.float64)
    x = torch.tensor([[0.25]], dtype=torch.float64)
    exact, normal = two_points(levels[worst - 1], levels[worst], x, grid)
    ax.fill_between(grid, exact[0].exp(), color="C0", alpha=0.25, label=r"$q(x_{t-1} \mid x_t)$")
    ax.plot(grid, normal[0].exp(), color="C3", lw=1.8, label="normal, same moments")
    ax.axvline(0.25, color="0.5", lw=0.8, ls=":")
    ax.set(xlabel="$x_{t-1}$", yticks=[], ylim=(0, None))
    ax.set_title(f"step {worst} of {steps}, $x_t = 0.25$", fontsize="medium")


@tutorial.section
def reverse_process() -> None:
    """How far the reverse of data at ±1 is from a Gaussian."""
    counts = (3, 5, 10, 40, 80)
    losses = {steps: lost_nats(steps) for steps in counts}
    worst = {steps: loss.max().item() for steps, loss in losses.items()}
    tutorial.keep(worst_step=worst, all_steps={n: loss.sum().item() for n, loss in losses.items()})
    table(
        ("T", "nats lost in the worst step", "in all but the last"),
        [(n, worst[n], losses[n].sum().item()) for n in counts],
    )
    figure = Figure(figsize=(11, 3.3), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    draw_reverse(first, 3)
    draw_reverse(second, 40)
    first.set_ylim(0, 1.35 * first.get_ylim()[1])
    first.legend(frameon=False, fontsize="small", loc="upper left")
    third.loglog(counts, list(worst.values()), "o-", label="worst step")
    third.loglog(counts, [loss.sum() for loss in losses.values()], "s-", label="all steps")
    third.set_xticks(counts, [str(n) for n in counts])
    third.minorticks_off()
    third.set(xlabel="number of steps T", ylabel="nats lost")
    third.set_title("What a Gaussian reverse costs", fontsize="medium")
    third.legend(frameon=False, fontsize="small")
    plain(first, second, third)
    tutorial.show(figure, "16_reverse")


# %%
reverse_process()

# %% [markdown]
# ## Training
#
# A network guesses the noise ε in $x_t$; the loss is its squared error at a random time. Any object
# with players and a loss is trained by `ppl_gen.fit`, so all of training is ten lines. Two things
# are worth a remark. The time goes into *every* block of the network, because what to remove
# differs from level to level: a copy that is not told the time is trained beside it. And the
# network gives the velocity $v = \alpha \epsilon - \sigma x_0$, from which ε follows exactly: near
# the noisy end $x_t$ is almost all ε, and the data that follow from a guess of ε have its error
# divided by $\alpha_T = 0.003$.
#
# The loss does not tend to zero. What it tends to is what nobody can know of ε given $x_t$, and
# here that is known: the error of the exact denoiser.


# %%
class Timeless(torch.nn.Module):
    """A network that is always told the same time."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return self.network(x, torch.full_like(u, 0.5))


class NoiseGuessing:
    """A denoiser to be trained at random times."""

    def __init__(self, denoiser: denoisers.Denoiser, times: Callable[[int], Tensor]):
        self.denoiser, self.times = denoiser, times
        self.players = {"denoiser": list(denoiser.parameters())}

    def loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        u, epsilon = self.times(len(x)), torch.randn_like(x)
        at = self.denoiser.noise.level(u).like(x)
        guess = self.denoiser(at.alpha * x + at.sigma * epsilon, u).noise
        return (guess - epsilon).square().sum(), {}


def any_time(size: int) -> Tensor:
    """Times spread evenly over (0, 1], at random within a part for each datum."""
    return (torch.arange(1, size + 1) - torch.rand(size)) / size


def fit(
    denoiser: denoisers.Denoiser,
    data: Tensor,
    epochs: int,
    batch_size: int,
    times: Callable[[int], Tensor] = any_time,
    lr: float = 2e-3,
) -> None:
    """Train a denoiser, with a rate that falls to almost nothing."""
    steps = epochs * len(data) // batch_size
    ppl_gen.fit(
        NoiseGuessing(denoiser, times),
        data,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        ema=0.99,
        scheduler=lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.01, steps),
        staged=False if tutorial.smoke else "auto",
        progress=False,
    )


def train(times: Callable[[int], Tensor] = any_time, told: bool = True) -> denoisers.Denoiser:
    """A residual network of FiLM blocks, trained on the ring."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden": 64, "blocks": 2} if tutorial.smoke else {"hidden": 128, "blocks": 3}
        network: torch.nn.Module = networks.ResidualMLP((2,), **sizes)
        network = network if told else Timeless(network)
        denoiser = denoisers.Denoiser(network, SCHEDULE, "velocity", data_shape=(2,))
    epochs, batch_size = (10, 256) if tutorial.smoke else (150, 512)
    lr = 4e-3 if tutorial.smoke else 2e-3
    fit(denoiser, ring(20 * batch_size), epochs, batch_size, times, lr)
    return denoiser


@torch.no_grad()
def noise_error(denoiser: denoisers.DenoiserBase, u: float) -> float:
    """Mean squared error of the guessed noise, summed over both dimensions, on new data."""
    x, generator = ring(1000 if tutorial.smoke else 4000, seed=5), torch.Generator().manual_seed(6)
    epsilon, at = torch.randn(x.shape, generator=generator), SCHEDULE.level(u)
    guess = denoiser((at.alpha * x + at.sigma * epsilon).float(), torch.tensor(u)).noise
    return (guess - epsilon).square().sum(1).mean().item()


@tutorial.section
def train_a_denoiser() -> denoisers.Denoiser:
    """Train with and without the time, and compare errors with the least there is."""
    trained = {"trained": train(), "trained, not told the time": train(told=False)}
    kinds = {"exact denoiser": EXACT, **trained}
    times = np.linspace(0.04, 0.98, 8 if tutorial.smoke else 25)
    errors = {name: [noise_error(d, u) for u in times] for name, d in kinds.items()}
    mean = {name: float(np.mean(values)) for name, values in errors.items()}
    tutorial.keep(noise_error=mean)
    table(
        ("squared error of ε", "mean over times", "above the least"),
        [(name, value, value / mean["exact denoiser"] - 1) for name, value in mean.items()],
    )
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    ax = figure.subplots()
    for (name, values), style in zip(errors.items(), ("-", "o", "s"), strict=True):
        colour = "0.6" if name == "exact denoiser" else None
        ax.plot(times, values, style, color=colour, ms=4, lw=3, label=name)
    ax.axhline(2, color="0.5", lw=0.8, ls=":")
    ax.text(0.98, 1.9, "guess 0", ha="right", va="top", color="0.4")
    ax.set(xlabel="time u", ylabel=r"$E \| \epsilon - \hat\epsilon \|^2$", ylim=(0, 2.3))
    ax.set_title("The loss has a floor: what cannot be known", fontsize="medium")
    ax.legend(frameon=False)
    plain(ax)
    tutorial.show(figure, "16_training")
    return trained["trained"]


# %%
denoiser = train_a_denoiser()

# %% [markdown]
# ## What a U-Net needs
#
# For images the network is a U-Net, convolutions that go down to coarser scales and up again, and
# the source asks which of its features matter. One is fixed: the noise has the size of the image,
# so the output must. The others are left out one at a time, with about as many parameters as
# before: *skips*, from each scale on the way down to the same on the way up; the *coarse scale*;
# the *time* in every block; *attention* at the coarsest scale. What counts is the error on held-out
# digits, here of 16 × 16 pixels.


# %%
def small_digits() -> tuple[Tensor, Tensor]:
    """Digits of 16 × 16 pixels from −1 to 1, to train on and held out."""
    split, found = mnist(), []
    sizes = (64, 20) if tutorial.smoke else (3840, 400)
    for part, size in zip(split, sizes, strict=True):
        small = torch.nn.functional.avg_pool2d(part.images[:size], 2)
        found.append(2 * torch.nn.functional.pad(small, (1, 1, 1, 1)) - 1)
    return found[0], found[1]


def unets() -> dict[str, networks.UNet]:
    """A U-Net and what it is without each of its features, of nearly equal sizes."""
    base = (8, 16) if tutorial.smoke else (16, 32)

    def build(widths: tuple[int, ...] = base, **parts: bool) -> networks.UNet:
        torch.manual_seed(0)
        return networks.UNet((1, 16, 16), widths, **parts)

    aim = size_of(build())
    alone = min(range(8, 200, 8), key=lambda width: abs(size_of(build((width,))) - aim))
    return {
        "all": build(),
        "no skips": build(skips=False),
        "one scale": build((alone,)),
        "not told the time": build(timed=False),
        "no attention": build(attend=False),
    }


def size_of(network: torch.nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in network.parameters())


@torch.no_grad()
def held_out_error(denoiser: denoisers.Denoiser, x: Tensor) -> float:
    """Mean squared error of the guessed noise of a pixel, over evenly spaced times."""
    generator, total = torch.Generator().manual_seed(3), 0.0
    times = (0.3, 0.7) if tutorial.smoke else [0.05 + 0.1 * i for i in range(10)]
    for u in times:
        epsilon, at = torch.randn(x.shape, generator=generator), SCHEDULE.level(u)
        guess = denoiser((at.alpha * x + at.sigma * epsilon).float(), torch.tensor(u)).noise
        total += (guess - epsilon).square().mean().item()
    return total / len(times)


@tutorial.section
def what_a_unet_needs() -> None:
    """The held-out error of U-Nets without one of their features."""
    x, held_out = small_digits()
    found = {}
    with torch.random.fork_rng():
        for name, network in unets().items():
            denoiser = denoisers.Denoiser(network, SCHEDULE, "velocity", data_shape=(1, 16, 16))
            fit(denoiser, x, 2 if tutorial.smoke else 12, 64, lr=4e-3)
            found[name] = size_of(network), held_out_error(denoiser, held_out)
    tutorial.keep(unets=found)
    least = found["all"][1]
    table(
        ("U-Net", "parameters", "error of a pixel", "above all"),
        [(name, size, error, error / least - 1) for name, (size, error) in found.items()],
    )
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    ax = figure.subplots()
    ax.plot([error for _, error in found.values()], list(found), "o", ms=9)
    ax.axvline(least, color="0.5", lw=0.8, ls=":")
    ax.set(xlabel="squared error of the noise, held-out digits", ylim=(4.5, -0.5))
    ax.set_title("What is lost without each feature", fontsize="medium")
    plain(ax)
    tutorial.show(figure, "16_unets")


# %%
what_a_unet_needs()

# %% [markdown]
# ## The textbook's step is the posterior's mean
#
# Ho, Jain and Abbeel write a step as
#
# $$x_{t-1} = \frac{1}{\sqrt{1 - \beta_t}} \Big(x_t - \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}\,
#   \hat\epsilon\Big) + \sqrt{\tilde\beta_t}\, z.$$
#
# The library takes the mean of $q(x_s \mid x_t, x_0)$ at the predicted $\hat x_0$, for any $s < t$,
# so that steps can be left out. For neighbours the two are one formula. Here are both, step by
# step, from the same noise.


# %%
def by_hand(denoiser: denoisers.DenoiserBase, draws: Tensor) -> Tensor:
    """Algorithm 2 of the paper, ``draws`` being x_T and then z of each step."""
    steps = len(draws)
    alpha_bar = noise.uniform(SCHEDULE, steps).alpha ** 2
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    x = draws[0].double()
    for t in range(steps, 0, -1):
        with torch.no_grad():
            guess = denoiser(x.float(), torch.tensor(t / steps, dtype=torch.float64)).noise
        x = (x - beta[t - 1] / (1 - alpha_bar[t]).sqrt() * guess) / (1 - beta[t - 1]).sqrt()
        if t > 1:
            tilde = beta[t - 1] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
            x = x + tilde.sqrt() * draws[steps - t + 1]
    return x


@torch.no_grad()
def by_parts(denoiser: denoisers.DenoiserBase, draws: Tensor) -> Tensor:
    """The library's step from level to level, from the same draws."""
    sampler, levels, rest = samplers.Ancestral("small"), noise.uniform(SCHEDULE, len(draws)), draws
    x, others = rest[0], iter(rest[1:])

    def predict(x: Tensor, level: noise.Level) -> denoisers.Prediction:
        return denoiser(x, level.u)

    for t in range(len(draws), 0, -1):
        x = sampler.step(predict, x, levels[t], levels[t - 1], lambda: next(others))
    return x


@tutorial.section
def sample_by_hand(denoiser: denoisers.Denoiser) -> None:
    """The same samples twice."""
    draws = torch.randn(40, 500, 2, generator=torch.Generator().manual_seed(2))
    gap = (by_hand(denoiser, draws) - by_parts(denoiser, draws)).abs().max().item()
    tutorial.keep(by_hand_gap=gap)
    print(f"40 steps, 500 points: by hand and by parts differ by {gap:.0e} at most.")


# %%
sample_by_hand(denoiser)

# %% [markdown]
# ## Three steps, forty, eighty
#
# Many small steps make the reverse Gaussian and cost a call of the network each. Three denoisers:
# the exact one, whose only fault is the Gaussian step; one network trained at all times and used at
# few; and, in a whole run, networks trained at just the T times they are used at. The gap is how
# far the ELBO is from the mean of $\log p(x)$, in nats a datum, with the variance $\beta_t$
# ("large"). High quality is the share within three standard deviations of a mode; 0.989 is perfect.
# Sliced W₁ is the Wasserstein distance of tutorial 12 to new data, averaged over projections onto
# lines.


# %%
@torch.no_grad()
def bound_gap(denoiser: denoisers.DenoiserBase, steps: int) -> float:
    """Nats a datum between the bound at T steps, drawn once at each, and log p(x)."""
    size = 1000 if tutorial.smoke else 4000
    levels, x = noise.uniform(SCHEDULE, steps), ring(size, seed=3)
    generator, dims = torch.Generator().manual_seed(4), x.shape[1]
    last = levels[steps]
    spread = last.sigma**2
    loss = ((last.alpha * x).square() + spread - 1 - spread.log()).sum(1).mean() / 2
    for t in range(1, steps + 1):
        s, at = levels[t - 1], levels[t]
        noisy = at.alpha * x + at.sigma * torch.randn(x.shape, generator=generator)
        error = (x - denoiser(noisy.float(), at.u).data).square().sum(1).mean()
        if t == 1:  # a likelihood, of the variance that fits best
            loss += dims / 2 * (math.log(2 * math.pi) + (error / dims).log() + 1)
        else:
            q, large = noise.posterior(s, at), noise.transition(s, at).variance
            ratio = q.variance / large
            loss += (dims * (ratio - 1 - ratio.log()) + q.on_data**2 * error / large) / 2
    return (loss + EXACT.marginal(0.0).log_prob(x).mean()).item()


def few_steps(denoiser: denoisers.DenoiserBase, steps: int) -> dict[str, float]:
    """Samples in so many steps, and how good they are."""
    size, began = 1000 if tutorial.smoke else 4000, time.perf_counter()
    x = samplers.Ancestral("small").sample(denoiser, size, steps=steps, seed=0)
    seconds = time.perf_counter() - began
    found = metrics.modes(x, MEANS, SD)
    return {
        "high quality": found.high_quality,
        "sliced W₁": metrics.sliced_wasserstein(x, ring(size, seed=9)),
        "gap": bound_gap(denoiser, steps),
        "seconds": seconds,
    }


@tutorial.section
def three_forty_eighty(denoiser: denoisers.Denoiser) -> None:
    """Quality and cost at 3, 40 and 80 steps."""
    counts, found = (3, 40, 80), {}
    for steps in counts:
        found["exact denoiser", steps] = few_steps(EXACT, steps)
        found["trained at all times", steps] = few_steps(denoiser, steps)
        if not tutorial.smoke:
            only = train(lambda n, steps=steps: torch.randint(1, steps + 1, (n,)) / steps)
            found["trained at these times", steps] = few_steps(only, steps)
    tutorial.keep(steps=found)
    rows = sorted(found.items(), key=lambda pair: (pair[0][0], pair[0][1]))
    names = list(rows[0][1])
    table(("denoiser", "T", *names), [(*key, *row.values()) for key, row in rows])
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 4)
    scatter(axes[0], ring(1500, seed=9), "data")
    for ax, steps in zip(axes[1:], counts, strict=True):
        x = samplers.Ancestral("small").sample(EXACT, 1500, steps=steps, seed=0)
        scatter(ax, x, f"{steps} steps, exact denoiser")
    tutorial.show(figure, "16_three_forty_eighty")


# %%
three_forty_eighty(denoiser)

# %% [markdown]
# ## What no network can mend
#
# For Gaussian data, $\mathcal N(0, 4)$, all of this can be computed without a sample. The variance
# of what comes out follows a recursion; it should be 4. The bound falls short of $\log p(x)$ by a
# gap, and here is a surprise: with the variance of the posterior ("small", the one that is often
# taught) the gap does **not** vanish as $T \to \infty$. Near the data the step $t$ adds $\tfrac12
# \big(\tfrac{1}{t-1} - \log \tfrac{t}{t-1}\big)$ however fine the steps are, and that sums to half
# of Euler's constant, $\gamma / 2 = 0.289$ nats per dimension. "The bound tends to the likelihood"
# holds for the variance $\beta_t$ ("large"), and for the optimal one.


# %%
def gaussian_case(steps: int, variance: str, lam: float = 4.0) -> tuple[float, float]:
    """Variance of samples and gap of the bound, for data N(0, λ) and the exact denoiser."""
    levels = noise.uniform(noise.Linear(), steps)
    s, t, last = levels[:-1], levels[1:], levels[steps]
    q, large = noise.posterior(s, t), noise.transition(s, t).variance
    total = t.alpha**2 * lam + t.sigma**2
    error = lam * t.sigma**2 / total
    p = q.variance if variance == "small" else torch.cat([q.variance[:1], large[1:]])
    ratio = (q.variance / p)[1:]
    divergence = ratio - 1 - ratio.log() + (q.on_data**2 * error / p)[1:]
    spread = last.sigma**2
    ends = last.alpha**2 * lam + spread - 1 - spread.log() + (2 * math.pi * error[0]).log() + 1
    bound, out = (ends + divergence.sum()) / 2, 1.0
    kept = (q.on_x + q.on_data * t.alpha * lam / total) ** 2
    for share, added in zip(kept.flip(0).tolist(), p.flip(0).tolist(), strict=True):
        out = share * out + added
    return out, (bound - math.log(2 * math.pi * math.e * lam) / 2).item()


@tutorial.section
def gaussian_limits() -> None:
    """The closed-form rows, and the two limits."""
    counts = (3, 10, 40, 80, 200, 1000, 10_000, 100_000)
    found = {v: {n: gaussian_case(n, v) for n in counts} for v in ("small", "large")}
    tutorial.keep(gaussian=found)
    table(
        ("T", "variance, small", "variance, large", "gap, small", "gap, large"),
        [(n, *(found[v][n][part] for part in (0, 1) for v in found)) for n in counts],
    )
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for rank, (kind, row) in enumerate(found.items()):
        outs, gaps = zip(*row.values(), strict=True)
        left.semilogx(counts, outs, "o-", color=f"C{rank}", label=kind)
        right.loglog(counts, gaps, "o-", color=f"C{rank}", label=kind)
    left.axhline(4, color="0.5", lw=0.8, ls=":")
    left.set(xlabel="number of steps T", ylabel="variance of samples", ylim=(0, 4.3))
    left.set_title("Sampling: both reach 4", fontsize="medium")
    right.axhline(np.euler_gamma / 2, color="0.5", lw=0.8, ls=":")
    right.text(counts[0], np.euler_gamma / 2 * 0.82, r"$\gamma / 2$", va="top", color="0.4")
    right.set(xlabel="number of steps T", ylabel="gap of the bound, nats per dimension")
    right.set_title("The bound: one of them does not tighten", fontsize="medium")
    left.legend(frameon=False, loc="lower right")
    right.legend(frameon=False, loc="lower left")
    plain(left, right)
    tutorial.show(figure, "16_limits")


# %%
gaussian_limits()

# %% [markdown]
# ## What the numbers say
#
# The closed form holds to the last digit. A reverse step of data at ±1 is 0.17 nats from a Gaussian
# with 5 steps, 0.0013 with 40 and 0.0002 with 80: that is why many small steps are taken, and it
# has nothing to do with the network. Nor has what three steps make of the ring: even with the exact
# denoiser only a third of the samples fall within a mode. A trained network comes within a per cent
# of the least possible error; not told the time, it is 17 % above. Of the U-Net's features the
# skips matter most on these small digits, with 2.6 times the error without them, then the time, 12
# %; attention gives nothing, and one wide scale is even better than two, by 9 %. And with one
# popular choice of variance the bound never tightens, but stays 0.29 nats a dimension below,
# however many steps are spent.
