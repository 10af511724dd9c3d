# %% [markdown]
# # Markov random fields: potentials, Z, and restoring an image
#
# A Markov random field multiplies non-negative potentials, one per group of variables, and divides
# by what the product sums to:
#
# $$P(x) = \frac{1}{Z} \prod_k \varphi_k(x_{C_k}), \qquad Z = \sum_x \prod_k \varphi_k(x_{C_k}).$$
#
# A potential is not a probability: only ratios of its entries have a meaning. $Z$, a sum over all
# assignments, makes the product a distribution. This tutorial computes $Z$ exactly, takes its
# derivative, and uses both to learn a field of handwritten digits and to clean them.

# %%
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from _runner import Tutorial, table
from matplotlib.figure import Figure
from torch import Tensor

import graphs
from ppl_gen.data import mnist

tutorial = Tutorial(__name__, "Markov random fields, step by step.")
main = tutorial.main

# %% [markdown]
# ## Seven letters
#
# The field of this section is a product over binary variables,
#
# $$P = \tfrac1Z\, \varphi_1(A,B,C)\, \varphi_2(B,C,D)\, \varphi_3(C,D,F)\,
#   \varphi_4(F,E)\, \varphi_5(B,E)\, \varphi_6(E,G).$$
#
# Its graph joins the variables of each potential. Two variables are independent given a set that
# separates them there. That must hold for any potentials, so we draw some and measure: the mutual
# information of separated variables is zero, to rounding, and that of variables with a path between
# them is not.
#
# For an answer of no, one path is reason enough. For a yes, the reason is a *cut*: what can be
# reached from A without passing an observed variable, and the observed variables that end every
# further edge. Both are printed below the table.


# %%
SOURCE = {"A ⟂ G": False, "A ⟂ F | C, D": False, "A ⟂ G | E": True, "A ⟂ E | B, C": True}


def letters(seed: int = 0) -> tuple[graphs.Factorization, list[np.ndarray]]:
    """The field and random potentials under which letters tend to agree."""
    model = graphs.textbook.letters()
    rng = np.random.default_rng(seed)
    potentials = [rng.uniform(0.1, 1.0, (2,) * len(f.scope)) for f in model.factors]
    for potential in potentials:
        potential[(0,) * potential.ndim] += 2
        potential[(1,) * potential.ndim] += 2
    return model, potentials


def information(tree: graphs.JunctionTree, answer: graphs.Independence) -> float:
    """The largest mutual information over the states of what is given."""
    given = sorted(answer.given)
    grid = np.array(list(np.ndindex((2,) * len(given)))).T
    evidence = {v: states.tolist() for v, states in zip(given, grid, strict=True)}
    (x,), (y,) = answer.x, answer.y
    return float(tree.mutual_information(x, y, evidence or None).max())


@tutorial.section
def separation() -> dict[str, Any]:
    """The source's questions, answered by the graph and by numbers."""
    model, potentials = letters()
    tree = graphs.JunctionTree((model, potentials))
    answers = {text: graphs.query(model, text) for text in SOURCE}
    measured = {text: information(tree, answer) for text, answer in answers.items()}
    found = {
        "answers": {text: answer.holds for text, answer in answers.items()},
        "separated": {text: measured[text] for text, answer in answers.items() if answer},
        "connected": {text: measured[text] for text, answer in answers.items() if not answer},
    }
    table(
        ("independent?", "ours", "the source", "agrees?", "information in nats"),
        [
            (text, a.holds, SOURCE[text], a.holds == SOURCE[text], f"{abs(measured[text]):.6f}")
            for text, a in answers.items()
        ],
    )
    print(f"\n{answers['A ⟂ F | C, D'].explain()}")
    cut = answers["A ⟂ G | E"].certificate
    assert cut is not None
    reached, ends = (", ".join(sorted(nodes)) for nodes in (cut.side - cut.x, cut.cut))
    print("\nA ⟂ G | E holds: all paths between A and G are cut.")
    print(f"  - Without passing an observed variable, A reaches {reached}, but not G.")
    print(f"  - Every edge that leads on from there, or from A, ends in the observed {ends}.")
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for ax, answer in zip(figure.subplots(1, 4), answers.values(), strict=True):
        answer.draw(ax)
    tutorial.show(figure, "02_letters")
    return found


# %%
answered = separation()

# %% [markdown]
# ## Scaling and dropping potentials
#
# Multiplying a potential by 5 multiplies $Z$ by 5 and leaves every probability unchanged.
# *Dropping* one is another matter. A factor that shares no variable with the rest, $\varphi_7(H)$,
# takes $\sum_h \varphi_7(h)$ out of $Z$ and changes nothing else. But $\varphi_6(E, G)$ had a say
# about $E$, and without it $E$ is distributed differently.


# %%
def largest_change(some: dict[Any, Tensor], others: dict[Any, Tensor]) -> float:
    """The largest difference between the marginals of variables in both."""
    return max(float((marginal - others[v]).abs().max()) for v, marginal in some.items())


@tutorial.section
def scale_and_drop(answered: dict[str, Any]) -> None:
    """What each change does to Z and to the marginals."""
    model, potentials = letters()
    product = " ".join(map(str, model.factors))
    loose = [0.5, 0.2]
    trees = {
        "before": (model, potentials),
        "5 φ1(A,B,C)": (model, [5 * potentials[0], *potentials[1:]]),
        "with φ7(H)": (graphs.parse(f"{product} φ7(H)"), [*potentials, loose]),
        "without φ6(E,G)": (graphs.parse(" ".join(map(str, model.factors[:-1]))), potentials[:-1]),
    }
    before, scaled, extended, dropped = map(graphs.JunctionTree, trees.values())
    ratios = [
        float((tree.log_partition() - before.log_partition()).exp())
        for tree in (scaled, extended, dropped)
    ]
    changes = [
        largest_change(before.marginals(), scaled.marginals()),
        largest_change(before.marginals(), extended.marginals()),
        largest_change(dropped.marginals(), before.marginals()),
    ]
    found = {
        "z": float(before.log_partition().exp()),
        "z_ratio_scaled": ratios[0],
        "change_scaled": changes[0],
        "z_ratio_loose": ratios[1],
        "sum_of_loose": sum(loose),
        "change_loose": changes[1],
        "change_dropped": changes[2],
    }
    tutorial.keep(letters=answered | found)
    expected = (5.0, sum(loose), None)
    kept = (True, True, False)
    table(
        ("change", "Z is multiplied by", "expected", "marginals change by", "expected none?"),
        zip(list(trees)[1:], ratios, expected, changes, kept, strict=True),
    )


# %%
scale_and_drop(answered)

# %% [markdown]
# ## A field of pixels
#
# Neighbouring pixels of a digit tend to agree. The simplest field that says so has one coupling
# $\beta$ for all pairs of neighbours $i \sim j$ and one bias $\alpha$ for all pixels
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
# states in turn, and the cases are summed. The result is the same number.

# %%
Edge = tuple[tuple[int, int], tuple[int, int]]
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


def tied(parameters: Tensor, edges: list[Edge]) -> list[Tensor]:
    """Log-potentials from one coupling and one bias."""
    coupling, bias = parameters
    pixel = torch.stack([torch.zeros_like(bias), bias])
    return [pixel] * len(PIXELS) + [coupling * torch.eye(2, dtype=torch.float64)] * len(edges)


@tutorial.section
def exact_partition() -> None:
    """log Z of a strip, with all the memory it wants and with a quarter of it."""
    whole = field(FOUR)
    allowed = whole.cost.bytes // 4
    model = graphs.markov_network([(edge, np.exp(np.eye(2))) for edge in FOUR])
    small = graphs.JunctionTree(model, max_bytes=allowed)
    conditioned = float(small.log_partition())
    exact = float(whole.log_partition(log_potentials=tied(torch.tensor([1.0, 0.0]).double(), FOUR)))
    tutorial.keep(
        cost_of_strip=whole.cost,
        bytes_allowed=allowed,
        log_z_exact=exact,
        log_z_conditioned=conditioned,
    )
    print(f"A strip of {len(PIXELS)} pixels has treewidth {whole.cost.treewidth}.")
    table(
        ("log Z at β = 1, α = 0", "KiB", "log Z"),
        [
            ("one tree", round(whole.cost.bytes / 1024), f"{exact:.6f}"),
            ("conditioned tree", round(allowed / 1024), f"{conditioned:.6f}"),
        ],
    )


# %%
exact_partition()

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
# and differ in $\theta$, as one. The table has the negative log-likelihood of an image: lower is
# better.


# %%
def free(bias: Tensor, coupling: Tensor) -> list[Tensor]:
    """Log-potentials with a bias for every pixel and a coupling (both on) for every pair."""
    pixels = torch.stack([torch.zeros_like(bias), bias], -1)
    none = torch.zeros_like(coupling)
    pairs = torch.stack([none, none, none, coupling], -1).unflatten(-1, (2, 2))
    return [*pixels.unbind(), *pairs.unbind()]


def ascend(parameters: list[Tensor], loss: Any, steps: int) -> list[float]:
    """Minimize a convex loss; its values."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=steps, history_size=20, line_search_fn="strong_wolfe"
    )
    values: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        values.append(float(value.detach()))
        return value

    optimizer.step(closure)
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


@tutorial.section
def learn() -> tuple[Tensor, Tensor, Tensor]:
    """Fit both fields to the training digits."""
    images = mnist().train.images[: 500 if tutorial.smoke else None, 0]
    data = strips((images > 0.5).long())
    steps = 6 if tutorial.smoke else 60
    parameters, tied_nats = learn_tied(data, steps)
    bias, coupling, free_nats = learn_free(data, steps)
    tutorial.keep(
        coupling_and_bias=parameters.tolist(),
        nats_per_image={"one coupling": tied_nats, "one per pair": free_nats},
    )
    beta, alpha = parameters.tolist()
    print(f"One coupling, from {len(images)} digits: β = {beta:.2f}, α = {alpha:.2f}.")
    table(
        ("field", "parameters", "nats per image"),
        [
            ("one coupling, one bias", 2, tied_nats),
            ("one per pair and per pixel", bias.numel() + coupling.numel(), free_nats),
        ],
    )
    return parameters, bias, coupling


# %%
parameters = learn()

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


@tutorial.section
def clean(learned: tuple[Tensor, Tensor, Tensor], flip: float = 0.1) -> None:
    """Flip pixels of held-out digits and restore them with both fields."""
    parameters, bias, coupling = learned
    count = 40 if tutorial.smoke else 500
    digits = (mnist().test.images[:count, 0] > 0.5).long()
    noise = torch.rand(digits.shape, generator=torch.Generator().manual_seed(0)) < flip
    noisy = digits ^ noise.long()
    pictures = {
        "noisy": noisy.double(),
        "one coupling": restore(noisy, FOUR, [tied(parameters, FOUR)] * STRIPS, flip),
        "one per pair": restore(noisy, EIGHT, list(map(free, bias, coupling)), flip),
    }
    errors = {
        name: float(((picture > 0.5) != digits).double().mean())
        for name, picture in pictures.items()
    }
    tutorial.keep(error_rates=errors)
    table(
        (f"{count} held-out digits", "pixels wrong"),
        [(name, f"{rate:.1%}") for name, rate in errors.items()],
    )
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    shown = {"clean": digits.double(), **pictures}
    for ax, (name, images) in zip(figure.subplots(len(shown)), shown.items(), strict=True):
        ax.imshow(torch.hstack(list(images[:12])).numpy(), cmap="gray_r", vmin=0, vmax=1)
        rate = f": {errors[name]:.1%} wrong" if name in errors else ""
        ax.set_title(f"{name}{rate}", fontsize="small", loc="left")
        ax.set(xticks=[], yticks=[])
    tutorial.show(figure, "02_markov_random_fields")


# %%
clean(parameters)

# %% [markdown]
# ## Missing values: expectation–maximization is the same derivative
#
# In a Bayesian network with log-tables $\theta$ the derivative of $\log P(e)$ in an entry is the
# probability of that configuration given the evidence. Summed over rows these are the expected
# counts; normalized they are the next tables of expectation–maximization (Lauritzen 1995), under
# which the likelihood of the incomplete data never falls. Rows with values missing need no other
# treatment than rows without. In the end it exceeds the likelihood of the tables that the rows were
# drawn from: those are not the likeliest for the rows at hand.


# %%
def expectation_maximization(rows: int, steps: int, missing: float = 0.3) -> dict[str, Any]:
    """Fit the sprinkler network to incomplete draws of it, from random tables."""
    torch.manual_seed(0)
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


@tutorial.section
def learn_from_incomplete_rows() -> None:
    """Run expectation–maximization and compare with the tables the rows were drawn from."""
    small = tutorial.smoke
    found = expectation_maximization(rows=300 if small else 3000, steps=10 if small else 40)
    tutorial.keep(em=found)
    path, truth = found["likelihoods"], found["likelihood_of_truth"]
    shown = [0, 1, 2, 5, len(path) - 1]
    print("Mean log-likelihood of rows of which 30 % of the values are missing:")
    table(
        ("step", "nats per row", "change"),
        [(i, path[i], path[i] - path[i - 1] if i else None) for i in shown],
    )
    rises = path == sorted(path)
    print(f"\nIt never falls: {'yes' if rises else 'no'}. The true tables reach {truth:.3f}.")
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    ax = figure.subplots()
    ax.plot(path, "o-", ms=3, label="expectation–maximization")
    ax.axhline(truth, color="0.5", ls=":", label="the true tables")
    ax.set(xlabel="step", ylabel="nats per row")
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    tutorial.show(figure, "02_expectation_maximization")


# %%
learn_from_incomplete_rows()
