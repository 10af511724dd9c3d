# %% [markdown]
# # Pyro programs as graphs
#
# A Pyro program draws values at named *sites* $x_1, x_2, \ldots$ in turn, each from a distribution
# whose parameters are computed from earlier values. Draw an edge $u \to v$ if the distribution of
# $v$ changes with the value of $u$ while all other sites are held fixed. Then
#
# $$p(x) = \prod_v p(x_v \mid x_{\mathrm{pa}(v)}),$$
#
# so the program *is* a Bayesian network: whatever is d-separated in its graph (tutorial 01) is
# independent in the program, for any parameters. `graphs.from_pyro` finds the graph by running the
# program with labelled values: each value carries the name of its site through torch, and the
# labels that reach the parameters of another site are its parents.

# %%
from __future__ import annotations

from functools import partial
from typing import Any

import networkx as nx
import pyro
import pyro.distributions as dist
import torch
from _runner import Tutorial, table
from matplotlib.figure import Figure
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

import graphs

tutorial = Tutorial(__name__, "Pyro programs as graphs.")
main = tutorial.main


def arrows(graph: nx.DiGraph) -> str:
    """The edges of a graph on one line."""
    return ", ".join(f"{u} → {v}" for u, v in sorted(graph.edges))


def picture(name: str, draw: Any, height: float = 3.8, **options: Any) -> None:
    """Show one drawing as a figure of its own."""
    figure = Figure(figsize=(6, height), layout="constrained")
    draw(ax=figure.subplots(), **options)
    tutorial.show(figure, name)


# %% [markdown]
# ## Asking a mixture
#
# A mixture of Gaussians. Before seeing data the assignment of a point and the locations of the
# components are independent; given the data they are not, because $x$ is a collider. That is why
# alternating between the two (k-means, EM, Gibbs) is natural and updating them independently is
# not.


# %%
def mixture(data: Tensor) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("components", 3):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("data", len(data)):
        assignment = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(locs[assignment], 1.0), obs=data)


@tutorial.section
def ask_the_mixture() -> None:
    """Assignments and locations, before and after seeing the data."""
    graph = graphs.from_pyro(mixture, torch.zeros(10))
    before = graphs.independent(graph, "assignment", "locs")
    given = graphs.independent(graph, "assignment", "locs", "x")
    tutorial.keep(
        mixture_edges=sorted(graph.edges),
        independent_before_data=before.holds,
        independent_given_data=given.holds,
        why=given.explain(),
    )
    print(f"Edges: {arrows(graph)}.\n\n{before.explain()}\n\n{given.explain()}")
    title = "Given x, assignment and locs are coupled"
    picture("11_pyro_programs_as_graphs", given.draw, title=title)


# %%
ask_the_mixture()

# %% [markdown]
# ## A Markov chain is one, given its parameters
#
# In a hidden Markov model the past and the future are independent given the present *and the
# transition probabilities*. Leave the latter out, as one does when they are learned, and the past
# still tells about the future through them.


# %%
def hidden_markov(data: Tensor) -> None:
    transition = pyro.sample("transition", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
    state = torch.tensor(0)
    for t in pyro.markov(range(len(data))):
        state = pyro.sample(
            f"x{t}", dist.Categorical(transition[state]), infer={"enumerate": "parallel"}
        )
        pyro.sample(f"y{t}", dist.Normal(3.0 * state, 1.0), obs=data[t])


@tutorial.section
def ask_the_chain() -> None:
    """Past and future, with the transition probabilities given and not."""
    length = 3 if tutorial.smoke else 4
    chain = graphs.from_pyro(hidden_markov, torch.zeros(length))
    seen = [f"y{t}" for t in range(length)]
    known = graphs.independent(chain, "x0", "x2", ["x1", "transition", *seen])
    learned = graphs.independent(chain, "x0", "x2", ["x1", *seen])
    blanket = sorted(graphs.markov_blanket(chain, "x1"))
    tutorial.keep(
        markov_given_parameters=known.holds,
        markov_without_parameters=learned.holds,
        blanket_of_x1=blanket,
    )
    table(
        ("x0 ⟂ x2 given x1, the data and …", "holds?"),
        [
            ("the transition probabilities", known.holds),
            ("nothing else", learned.holds),
        ],
    )
    print(f"\n{learned.explain()}\n\nMarkov blanket of x1: {', '.join(blanket)}.")
    title = "Learned transitions couple x0 and x2"
    picture("11_hidden_markov", learned.draw, title=title)


# %%
ask_the_chain()

# %% [markdown]
# ## What a reparameterization does
#
# Eight schools, centred: $\theta_j \sim N(\mu, \tau)$, so given the effects $\theta$ the data say
# nothing more about $\mu$ and $\tau$. A priori all three are dependent: where τ is small, θ must be
# near μ, the funnel that slows samplers down. Non-centred, $\theta_j = \mu + \tau\,\epsilon_j$ is
# computed, not sampled, and the noise $\epsilon$ is independent of $\mu$ and $\tau$. (Pyro's
# `LocScaleReparam(0.0)` is the same except that it computes $0 \cdot \mu$ for the mean of the
# noise: a path through torch is an edge here, even where it cancels.)


# %%
def centred(sigma: Tensor, y: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def non_centred(sigma: Tensor, y: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(sigma)):
        noise = pyro.sample("noise", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * noise)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


@tutorial.section
def ask_both_schools() -> None:
    """What is independent of the hyperparameters in each parameterization."""
    schools = graphs.from_pyro(centred, torch.ones(8), torch.zeros(8))
    noisy = graphs.from_pyro(non_centred, torch.ones(8), torch.zeros(8))
    hyper = ["mu", "tau"]
    enough = graphs.independent(schools, hyper, "y", "theta")
    free = graphs.independent(schools, hyper, "theta")
    noise = graphs.independent(noisy, hyper, "noise")
    tutorial.keep(
        effects_are_enough=enough.holds, effects_are_free=free.holds, noise_is_free=noise.holds
    )
    table(
        ("program", "statement", "holds?"),
        [
            ("centred", enough, enough.holds),
            ("centred", free, free.holds),
            ("non-centred", noise, noise.holds),
        ],
    )
    picture("11_eight_schools", noise.draw, title="Non-centred: the noise is independent")


# %%
ask_both_schools()

# %% [markdown]
# ## Where it cannot see
#
# Labels end where a value leaves torch: `if` on a value, `.item()`, NumPy. There the program is run
# again with that site redrawn and all others held fixed; a distribution that changes gives an edge.
# The edge is marked `found="redrawn"`, and a warning names the line. What the values tried do not
# bring about stays hidden: here the rare branch. `assume=` adds what you know.


# %%
def branching() -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    if z > 0:
        pyro.sample("common", dist.Normal(5.0, 1.0))
    else:
        pyro.sample("common", dist.Normal(-5.0, 1.0))
    rare = z.item() > 30
    pyro.sample("rare", dist.Normal(1.0 if rare else 0.0, 1.0))


@tutorial.section
def read_branches() -> None:
    """A value that leaves torch, with and without an assumption."""
    branches = graphs.from_pyro(branching, assume=[("z", "rare")])
    unassumed = graphs.from_pyro(branching)
    found = {f"{u} -> {v}": how for u, v, how in branches.edges(data="found")}
    tutorial.keep(
        found=found,
        edges_without_assuming=sorted(unassumed.edges),
        branch_warnings=unassumed.graph["warnings"],
    )
    print(f"Edges without an assumption: {arrows(unassumed)}. The warnings:")
    for warning in unassumed.graph["warnings"]:
        print(f"- {warning}")
    print("\nWith assume=[('z', 'rare')]:")
    table(("edge", "found by"), [(edge.replace("->", "→"), how) for edge, how in found.items()])
    dashed = [(u, v) for u, v, how in branches.edges(data="found") if how != "traced"]
    title = "Dashed edges are redrawn or assumed"
    picture("11_branch", partial(graphs.draw, branches), 2.2, dashed=dashed, title=title)


# %%
read_branches()

# %% [markdown]
# ## Where it suspects
#
# The same with data: a model that reads $x_{t-1}$ from its argument and not from the site does not
# depend on the *site*. The reader remembers which memory was observed, so it suspects this and says
# so; `assume=` settles it.


# %%
def autoregression(data: Tensor) -> None:
    for t in range(1, len(data)):
        pyro.sample(f"x{t}", dist.Normal(0.9 * data[t - 1], 1.0), obs=data[t])


@tutorial.section
def read_data() -> None:
    """An autoregression that reads its data, without and with the edges assumed."""
    hidden = graphs.from_pyro(autoregression, torch.zeros(4))
    told = graphs.from_pyro(autoregression, torch.zeros(4), assume=[("x1", "x2"), ("x2", "x3")])
    tutorial.keep(data_warnings=hidden.graph["warnings"], told_edges=sorted(told.edges))
    print(f"Edges found: {arrows(hidden) or 'none'}. The warnings:")
    for warning in hidden.graph["warnings"]:
        print(f"- {warning}")
    print(f"\nEdges once told: {arrows(told)}.")


# %%
read_data()

# %% [markdown]
# ## And back: a network as a program
#
# `graphs.to_pyro` turns a network with tables into a program whose sites are its nodes. Enumerating
# it gives the exact probability of the evidence, and reading it again gives the same graph.


# %%
def evidence_twice(evidence: dict[str, str]) -> tuple[float, float]:
    """log P(evidence) in the Asia network: by Pyro's enumeration and by the junction tree."""
    network = graphs.textbook.asia()
    tree = graphs.JunctionTree(network)
    states = {v: torch.tensor(tree.states[v].index(s)) for v, s in evidence.items()}
    program = poutine.condition(graphs.to_pyro(network), states)
    enumerated = -TraceEnum_ELBO(max_plate_nesting=0).loss(program, lambda: None)
    return enumerated, float(tree.log_partition(evidence))


@tutorial.section
def there_and_back() -> None:
    """The Asia network as a program, and the program as a graph."""
    asia = graphs.textbook.asia()
    again = graphs.from_pyro(graphs.to_pyro(asia))
    same = set(again.edges) == set(asia.edges) and list(again) == list(asia)
    by_enumeration, by_tree = evidence_twice({"dysp": "yes", "xray": "yes"})
    tutorial.keep(
        round_trip=same, log_evidence_enumerated=by_enumeration, log_evidence_tree=by_tree
    )
    print(f"The program has the nodes and edges of the network: {'yes' if same else 'no'}.")
    table(
        ("log P(dysp = yes, xray = yes)", "nats"),
        [
            ("Pyro's enumeration of the program", f"{by_enumeration:.7f}"),
            ("the network's junction tree", f"{by_tree:.7f}"),
        ],
    )


# %%
there_and_back()
