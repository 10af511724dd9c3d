# %% [markdown]
# # Pyro programs as graphs
#
# A Pyro program samples sites $x_1, x_2, \ldots$ in turn, each from a distribution whose parameters
# were computed from earlier values. Draw an edge $u \to v$ when the distribution of $v$ changes
# with the value of $u$ while all other sites are held. Then
#
# $$p(x) = \prod_v p(x_v \mid x_{\mathrm{pa}(v)}),$$
#
# so the program *is* a Bayesian network: whatever is d-separated in its graph is independent in the
# program, for any parameters. `graphs.from_pyro` finds the graph by running the program with
# labelled values: each value carries the name of its site through torch, and the labels that reach
# the parameters of another site are its parents.

# %%
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from matplotlib.figure import Figure
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

import graphs

# %% [markdown]
# ## Asking a mixture
#
# A mixture of Gaussians. Before seeing data the assignment of a point and the locations of the
# components are independent; given the data they are not, because $x$ is a collider. That is why
# alternating between the two (k-means, EM, Gibbs) is natural and updating them apart is not.


# %%
def mixture(data: Tensor) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("components", 3):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("data", len(data)):
        assignment = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(locs[assignment], 1.0), obs=data)


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


# %% [markdown]
# ## What a reparametrisation does
#
# Eight schools, centred: $\theta_j \sim N(\mu, \tau)$, so given the effects $\theta$ the data say
# nothing more about $\mu$ and $\tau$. A priori all three are tied: that is the funnel that slows
# samplers down. Non-centred, $\theta_j = \mu + \tau\,\epsilon_j$ is computed, not sampled, and the
# noise $\epsilon$ is independent of $\mu$ and $\tau$. (`LocScaleReparam(0.0)` is the same except
# that it computes $0 \cdot \mu$ for the mean of the noise: a path through torch is an edge here,
# even where it cancels.)


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


# %% [markdown]
# ## Where it cannot see
#
# Labels end where a value leaves torch: `if` on a value, `.item()`, NumPy. There the program is run
# again with that site redrawn and all others held; a distribution that changes gives an edge. The
# edge is marked `found="redrawn"`, and a warning names the line. What the values tried do not bring
# about stays hidden: here the rare branch. `assume=` adds what you know.


# %%
def branching() -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    if z > 0:
        pyro.sample("common", dist.Normal(5.0, 1.0))
    else:
        pyro.sample("common", dist.Normal(-5.0, 1.0))
    rare = z.item() > 30
    pyro.sample("rare", dist.Normal(1.0 if rare else 0.0, 1.0))


# %% [markdown]
# The same with data: a model that reads $x_{t-1}$ from its argument and not from the site does not
# depend on the *site*. The memory that was observed is remembered, so this is suspected and said.


# %%
def autoregression(data: Tensor) -> None:
    for t in range(1, len(data)):
        pyro.sample(f"x{t}", dist.Normal(0.9 * data[t - 1], 1.0), obs=data[t])


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


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the figure is written to ``out`` where given.

    Returns:
        Edges, answers and warnings by the names used above, and log P(evidence) found both ways.
    """
    length = 3 if smoke else 4
    mixed = graphs.from_pyro(mixture, torch.zeros(10))
    coupled = graphs.independent(mixed, "assignment", "locs", "x")
    chain = graphs.from_pyro(hidden_markov, torch.zeros(length))
    seen = [f"y{t}" for t in range(length)]
    markov = graphs.independent(chain, "x0", "x2", ["x1", "transition", *seen])
    learned = graphs.independent(chain, "x0", "x2", ["x1", *seen])
    sigma = torch.ones(8)
    schools = graphs.from_pyro(centred, sigma, torch.zeros(8))
    noisy = graphs.from_pyro(non_centred, sigma, torch.zeros(8))
    branches = graphs.from_pyro(branching, assume=[("z", "rare")])
    unassumed = graphs.from_pyro(branching)
    hidden = graphs.from_pyro(autoregression, torch.randn(4))
    told = graphs.from_pyro(autoregression, torch.randn(4), assume=[("x1", "x2"), ("x2", "x3")])
    asia = graphs.textbook.asia()
    again = graphs.from_pyro(graphs.to_pyro(asia))
    by_enumeration, by_tree = evidence_twice({"dysp": "yes", "xray": "yes"})

    results: dict[str, Any] = {
        "mixture_edges": sorted(mixed.edges),
        "independent_before_data": bool(graphs.independent(mixed, "assignment", "locs")),
        "independent_given_data": bool(coupled),
        "why": coupled.explain(),
        "markov_given_parameters": bool(markov),
        "markov_without_parameters": bool(learned),
        "blanket_of_x1": sorted(graphs.markov_blanket(chain, "x1")),
        "effects_are_enough": bool(graphs.independent(schools, ["mu", "tau"], "y", "theta")),
        "effects_are_free": bool(graphs.independent(schools, ["mu", "tau"], "theta")),
        "noise_is_free": bool(graphs.independent(noisy, ["mu", "tau"], "noise")),
        "found": {f"{u} -> {v}": how for u, v, how in branches.edges(data="found")},
        "edges_without_assuming": sorted(unassumed.edges),
        "branch_warnings": unassumed.graph["warnings"],
        "data_warnings": hidden.graph["warnings"],
        "told_edges": sorted(told.edges),
        "round_trip": set(again.edges) == set(asia.edges) and list(again) == list(asia),
        "log_evidence_enumerated": by_enumeration,
        "log_evidence_tree": by_tree,
    }
    if out is not None:
        figure = Figure(figsize=(11, 8), layout="constrained")
        axes = figure.subplots(2, 2)
        guessed = [(u, v) for u, v, how in branches.edges(data="found") if how != "traced"]
        coupled.draw(axes[0, 0], title="Mixture: given x, assignment and locs are coupled")
        learned.draw(axes[0, 1], title="Hidden Markov model: learned transitions couple x0 and x2")
        graphs.draw(noisy, axes[1, 0], title="Eight schools, non-centred: the noise is free")
        graphs.draw(
            branches,
            axes[1, 1],
            dashed=guessed,
            title="A branch: dashed edges are redrawn or assumed",
        )
        results["figure"] = Path(out) / "11_pyro_programs_as_graphs.png"
        results["figure"].parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(results["figure"], dpi=130)
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pyro programs as graphs.")
    parser.add_argument("--smoke", action="store_true", help="a shorter chain")
    parser.add_argument("--out", default="out", help="folder for the figure")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
