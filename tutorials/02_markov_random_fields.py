# %% [markdown]
# # Markov random fields: potentials, Z, and restoring an image
#
# A Markov random field multiplies non-negative potentials, one per group of variables, and divides
# by what the product sums to:
#
# $$P(x) = \frac{1}{Z} \prod_k \varphi_k(x_{C_k}), \qquad Z = \sum_x \prod_k \varphi_k(x_{C_k}).$$
#
# A potential is no probability. Only ratios of its entries mean something, and $Z$, a sum over all
# assignments, is what makes the product a distribution. This tutorial computes $Z$ exactly, takes
# its derivative, and uses both to learn a field of handwritten digits and to clean them.

# %%
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import graphs
from ppl_gen.data import mnist

Edge = tuple[tuple[int, int], tuple[int, int]]

# %% [markdown]
# ## Seven letters
#
# $P = \frac1Z \varphi_1(A,B,C)\, \varphi_2(B,C,D)\, \varphi_3(C,D,F)\, \varphi_4(F,E)\,
# \varphi_5(B,E)\, \varphi_6(E,G)$ over binary variables. What the graph asserts must hold for any
# potentials: the mutual information of separated variables is zero, to rounding, and that of
# variables with a path between them is not.
#
# Multiplying a potential by 5 multiplies $Z$ by 5 and leaves every probability. *Dropping* one is
# another matter. A factor that shares no variable with the rest, $\varphi_7(H)$, takes
# $\sum_h \varphi_7(h)$ out of $Z$ and changes nothing else; $\varphi_6(E, G)$ had a say about $E$,
# and without it $E$ is distributed differently.


# %%
def letters(seed: int = 0) -> dict[str, Any]:
    """Z, what scaling and dropping do to it, and measured dependences."""
    field = graphs.textbook.letters()
    chosen = np.random.default_rng(seed)
    tables = [chosen.uniform(0.1, 1.0, (2,) * len(f.scope)) for f in field.factors]
    for table in tables:
        table[(0,) * table.ndim] += 2  # letters that agree
        table[(1,) * table.ndim] += 2
    tree = graphs.JunctionTree((field, tables))
    before = tree.marginals()

    scaled = graphs.JunctionTree((field, [5 * tables[0], *tables[1:]]))
    product = " ".join(map(str, field.factors))
    loose = [0.5, 0.2]
    extended = graphs.JunctionTree((graphs.parse(f"{product} φ7(H)"), [*tables, loose]))
    shorter = graphs.parse(" ".join(map(str, field.factors[:-1])))
    dropped = graphs.JunctionTree((shorter, tables[:-1])).marginals()

    def information(x: str, y: str, given: dict[str, list[int]]) -> float:
        """The largest mutual information over the states of what is given."""
        found = tree.mutual_information(x, y, given or None)
        return float(found.max())

    both = {"B": [0, 0, 1, 1], "C": [0, 1, 0, 1]}
    pair = {"C": [0, 0, 1, 1], "D": [0, 1, 0, 1]}
    return {
        "z": float(tree.log_partition().exp()),
        "z_ratio_scaled": float((scaled.log_partition() - tree.log_partition()).exp()),
        "change_scaled": _largest_change(before, scaled.marginals()),
        "z_ratio_loose": float((extended.log_partition() - tree.log_partition()).exp()),
        "sum_of_loose": sum(loose),
        "change_loose": _largest_change(before, extended.marginals()),
        "change_dropped": _largest_change(dropped, before),
        "separated": {
            "A ⟂ E | B, C": information("A", "E", both),
            "A ⟂ G | E": information("A", "G", {"E": [0, 1]}),
        },
        "connected": {
            "A ⟂ G": information("A", "G", {}),
            "A ⟂ F | C, D": information("A", "F", pair),
        },
        "answers": {
            text: bool(graphs.query(field, text))
            for text in ("A ⟂ E | B, C", "A ⟂ G | E", "A ⟂ G", "A ⟂ F | C, D")
        },
    }


def _largest_change(some: dict[Any, Tensor], others: dict[Any, Tensor]) -> float:
    return max(float((marginal - others[v]).abs().max()) for v, marginal in some.items())


# %% [markdown]
# ## A field of pixels
#
# Neighbouring pixels of a digit tend to agree. The simplest field that says so has one coupling
# $\beta$ for every pair of neighbours $i \sim j$ and one bias $\alpha$ for every pixel
# $x_i \in \{0, 1\}$:
#
# $$P(x) \propto \exp\Bigl(\beta \sum_{i \sim j} [x_i = x_j] + \alpha \sum_i x_i\Bigr).$$
#
# Its $Z$ has $2^{784}$ terms. Summing pixels out row by row keeps a table over one row, $2^{28}$
# numbers for a whole digit. On a strip of 7 columns it is only $2^7$, so we cut the $28 \times 28$
# image into four strips and treat each exactly. `tree.cost` says what that will take before
# anything is computed.
#
# With less memory than that, the tree is *conditioned*: a few pixels are fixed to each of their
# states in turn, and the cases are summed.

# %%
HEIGHT, WIDTH, STRIPS = 28, 7, 4
PIXELS = [(i, j) for i in range(HEIGHT) for j in range(WIDTH)]
NUMBER = {pixel: k for k, pixel in enumerate(PIXELS)}


def neighbours(*steps: tuple[int, int]) -> list[Edge]:
    """Pairs of pixels of a strip that are one of the steps apart."""
    pairs = [((i, j), (i + di, j + dj)) for i, j in PIXELS for di, dj in steps]
    return [(a, b) for a, b in pairs if b in NUMBER]


FOUR = neighbours((0, 1), (1, 0))
EIGHT = neighbours((0, 1), (1, 0), (1, 1), (1, -1))


def field(edges: list[Edge]) -> graphs.JunctionTree:
    """The junction tree of a strip, with a potential for each pixel and each pair."""
    ones = [((pixel,), np.ones(2)) for pixel in PIXELS]
    return graphs.JunctionTree(
        graphs.markov_network(ones + [(edge, np.ones((2, 2))) for edge in edges])
    )


def strips(images: Tensor) -> Tensor:
    """Binary images (N, 28, 28) as (strips, N, pixels)."""
    return images.reshape(-1, HEIGHT, STRIPS, WIDTH).permute(2, 0, 1, 3).flatten(2)


def joined(parts: Tensor) -> Tensor:
    """The inverse of :func:`strips`."""
    return parts.unflatten(2, (HEIGHT, WIDTH)).permute(1, 2, 0, 3).flatten(2)


# %% [markdown]
# ## Learning by the derivative of log Z
#
# With $\varphi_k = \exp \theta_k$ the mean log-likelihood of the data is
# $\sum_k \hat{\mathbb{E}}[\theta_k(x_{C_k})] - \log Z(\theta)$, and
#
# $$\frac{\partial \log Z}{\partial \theta_k(x_{C_k})} = P(x_{C_k}),$$
#
# so the gradient is the observed minus the expected frequency of every configuration. The data
# enter through their frequencies alone, and the problem is concave. `log_partition` takes the
# tensors to differentiate through, and `torch.func.vmap` runs the four strips, which share a graph
# and differ in $\theta$, as one.


# %%
def tied(parameters: Tensor, edges: list[Edge]) -> list[Tensor]:
    """Log-potentials from one coupling and one bias."""
    coupling, bias = parameters
    pixel = torch.stack([torch.zeros_like(bias), bias])
    return [pixel] * len(PIXELS) + [coupling * torch.eye(2, dtype=torch.float64)] * len(edges)


def free(bias: Tensor, coupling: Tensor) -> list[Tensor]:
    """Log-potentials with a bias for every pixel and a coupling (both on) for every pair."""
    pixels = torch.stack([torch.zeros_like(bias), bias], -1)
    none = torch.zeros_like(coupling)
    pairs = torch.stack([none, none, none, coupling], -1).unflatten(-1, (2, 2))
    return [*pixels.unbind(), *pairs.unbind()]


def ascend(parameters: list[Tensor], loss: Any, steps: int) -> list[float]:
    """Minimise a convex loss; its values."""
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=steps, history_size=20, line_search_fn="strong_wolfe"
    )
    values: list[float] = []

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        values.append(float(value.detach()))
        return value

    optimiser.step(closure)
    return values


def learn_tied(data: Tensor, steps: int) -> tuple[Tensor, float]:
    """The coupling and the bias of all strips together, and nats per image."""
    tree = field(FOUR)
    first, second = ([NUMBER[edge[side]] for edge in FOUR] for side in (0, 1))
    same = (data[:, :, first] == data[:, :, second]).double().mean(1).sum()
    on = data.double().mean(1).sum()
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        log_z = tree.log_partition(log_potentials=tied(parameters, FOUR))
        return STRIPS * log_z - parameters[0] * same - parameters[1] * on

    values = ascend([parameters], loss, steps)
    return parameters.detach(), values[-1]


def learn_free(data: Tensor, steps: int, penalty: float = 1e-3) -> tuple[Tensor, Tensor, float]:
    """Biases and couplings of every strip, with a small ridge; and nats per image."""
    tree = field(EIGHT)
    first, second = ([NUMBER[edge[side]] for edge in EIGHT] for side in (0, 1))
    on = data.double().mean(1)
    together = (data[:, :, first] * data[:, :, second]).double().mean(1)
    bias = torch.logit(on.clamp(0.003, 0.997)).requires_grad_()
    coupling = torch.zeros_like(together, requires_grad=True)
    log_z = torch.func.vmap(lambda b, c: tree.log_partition(log_potentials=free(b, c)))

    def nats() -> Tensor:
        return (log_z(bias, coupling) - (bias * on).sum(1) - (coupling * together).sum(1)).sum()

    ridge = [bias, coupling]
    ascend(ridge, lambda: nats() + penalty * sum((p**2).sum() for p in ridge), steps)
    return bias.detach(), coupling.detach(), float(nats().detach())


# %% [markdown]
# ## Restoring
#
# A channel flips each pixel with probability $p$: the observed pixel $y_i$ is joined to $x_i$ by
# the potential $P(y_i \mid x_i)$. The estimate with the fewest expected errors sets every pixel to
# the more probable value of $P(x_i \mid y)$ (the marginal posterior mode). All images are rows of
# evidence on one tree; naming the $y_i$ as `evidence_variables` takes them out of it beforehand.


# %%
def restore(
    noisy: Tensor, edges: list[Edge], potentials: list[list[Tensor]], flip: float
) -> Tensor:
    """P(x = 1 | y) for images (N, 28, 28), with log-potentials for each strip."""
    channel = np.array([[1 - flip, flip], [flip, 1 - flip]])
    scopes = [(pixel,) for pixel in PIXELS] + list(edges)
    seen = {pixel: ("seen", *pixel) for pixel in PIXELS}
    parts = []
    for part, strip in zip(strips(noisy), potentials, strict=True):
        factors = [(scope, t.exp().numpy()) for scope, t in zip(scopes, strip, strict=True)]
        factors += [((pixel, seen[pixel]), channel) for pixel in PIXELS]
        tree = graphs.JunctionTree(graphs.markov_network(factors), seen.values())
        marginals = tree.marginals({seen[pixel]: part[:, k] for pixel, k in NUMBER.items()})
        parts.append(torch.stack([marginals[pixel][:, 1] for pixel in PIXELS], 1))
    return joined(torch.stack(parts))


# %% [markdown]
# ## Missing values: expectation–maximisation is the same derivative
#
# In a Bayesian network with log-tables $\theta$ the derivative of $\log P(e)$ in an entry is the
# probability of that configuration given the evidence. Summed over rows these are the expected
# counts; normalised they are the next tables of expectation–maximisation (Lauritzen 1995), under
# which the likelihood of the incomplete data never falls. Rows with values missing need no other
# treatment than rows without.


# %%
def expectation_maximisation(rows: int, steps: int, missing: float = 0.3) -> dict[str, Any]:
    """Fit the sprinkler network to incomplete draws of it, from random tables."""
    model = graphs.textbook.sprinkler()
    tree = graphs.JunctionTree(model)
    hidden = torch.rand(len(tree.states), rows) < missing
    data = {
        v: [None if gone else int(k) for k, gone in zip(states, hidden[i], strict=True)]
        for i, (v, states) in enumerate(tree.sample(rows).items())
    }
    tables = [torch.rand_like(t).softmax(-1).log() for t in tree.log_tables()]
    likelihoods = []
    for _ in range(steps):
        tables = [t.requires_grad_() for t in tables]
        log_likelihood = tree.log_partition(data, tables).sum()
        likelihoods.append(float(log_likelihood.detach()) / rows)
        counts = torch.autograd.grad(log_likelihood, tables)
        tables = [(c / c.sum(-1, keepdim=True)).log() for c in counts]
    truth = float(tree.log_partition(data).mean())
    return {"likelihoods": likelihoods, "likelihood_of_truth": truth}


# %% [markdown]
# ## All together


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        The numbers a reader can compare: Z of the letters and its changes, the cost of a strip and
        log Z by conditioning, error rates before and after restoring, likelihoods.
    """
    torch.manual_seed(0)
    flip = 0.1
    count, steps = (40, 6) if smoke else (500, 60)
    digits = mnist()
    clean = (digits.train.images[: 500 if smoke else None, 0] > 0.5).long()
    held_out = (digits.test.images[:count, 0] > 0.5).long()
    noisy = held_out ^ (torch.rand(held_out.shape) < flip).long()

    whole = field(FOUR)
    small = graphs.JunctionTree(
        graphs.markov_network([(edge, np.exp(np.eye(2))) for edge in FOUR]),
        max_bytes=whole.cost.bytes // 4,
    )
    conditioned = float(small.log_partition())
    exact = float(whole.log_partition(log_potentials=tied(torch.tensor([1.0, 0.0]).double(), FOUR)))

    parameters, tied_nats = learn_tied(strips(clean), steps)
    bias, coupling, free_nats = learn_free(strips(clean), steps)
    pictures = {
        "noisy": noisy.double(),
        "one coupling": restore(noisy, FOUR, [tied(parameters, FOUR)] * STRIPS, flip),
        "one per pair": restore(noisy, EIGHT, list(map(free, bias, coupling)), flip),
    }
    errors = {
        name: float(((picture > 0.5) != held_out).double().mean())
        for name, picture in pictures.items()
    }
    learned = expectation_maximisation(rows=300 if smoke else 3000, steps=10 if smoke else 40)

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    shown = {"clean": held_out.double(), **pictures}
    for ax, (name, images) in zip(figure.subplots(len(shown)), shown.items(), strict=True):
        ax.imshow(torch.hstack(list(images[:12])).numpy(), cmap="gray_r", vmin=0, vmax=1)
        rate = f": {errors[name]:.1%} wrong" if name in errors else ""
        ax.set_title(f"{name}{rate}", fontsize="small", loc="left")
        ax.set(xticks=[], yticks=[])
    results: dict[str, Any] = {
        "letters": letters(),
        "cost_of_strip": whole.cost,
        "log_z_exact": exact,
        "log_z_conditioned": conditioned,
        "bytes_allowed": whole.cost.bytes // 4,
        "coupling_and_bias": parameters.tolist(),
        "nats_per_image": {"one coupling": tied_nats, "one per pair": free_nats},
        "error_rates": errors,
        "em": learned,
    }
    if out is not None:
        path = Path(out) / "02_markov_random_fields.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        results["figure"] = path
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Markov random fields, step by step.")
    parser.add_argument("--smoke", action="store_true", help="fewer images and steps, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figure")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
