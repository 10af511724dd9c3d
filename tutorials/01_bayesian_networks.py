# %% [markdown]
# # Bayesian networks: what a product of conditionals asserts
#
# A Bayesian network writes a joint distribution as one conditional per variable,
#
# $$P(x_1, \dots, x_n) = \prod_i P(x_i \mid \mathrm{pa}_i),$$
#
# and draws an arrow from every parent to its child. The arrows may form no cycle. The product
# *asserts independences*: they hold whatever numbers stand in the tables, and a path rule finds
# them in the graph. On a path of arrows in any directions, each inner node is
#
# - a *chain* $a \to b \to c$ or a *fork* $a \leftarrow b \to c$: open unless $b$ is observed;
# - a *collider* $a \to b \leftarrow c$: closed, unless $b$ or a descendant of $b$ is observed.
#
# A path is *active* when every inner node is open. If no path between $X$ and $Y$ is active given
# $Z$, then $X \perp Y \mid Z$ in every distribution of the product; if one is, almost every choice
# of tables makes them dependent (Pearl 1988; Koller and Friedman 2009, theorems 3.3 and 3.5).

# %%
from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import graphs

# %% [markdown]
# ## A first network
#
# Six binary variables. The product below is the model; nothing else is needed to question it.
# A table of the joint distribution has $2^6 - 1 = 63$ free numbers. The product needs one for each
# variable and each state of its parents: $1 + 1 + 1 + 4 + 2 + 4 = 13$.

# %%
DIAGNOSIS = "P(M) P(S) P(F) P(I|M,S) P(T|F) P(D|I,T)"

QUERIES = [
    "F ⟂ D",
    "S ⟂ D | I",
    "M ⟂ F",
    "M ⟂ F | D",
    "M ⟂ T | D",
    "M ⟂ S | I",
    "M ⟂ F | T",
]


def free_numbers(model: graphs.Factorization) -> tuple[int, int]:
    """Free numbers of the full table and of the product, for binary variables."""
    return 2 ** len(model.nodes) - 1, sum(2 ** len(factor.given) for factor in model.factors)


# %% [markdown]
# ## Do the numbers agree?
#
# An independence that the graph asserts must hold for *any* tables, so we draw some at random and
# measure the dependence by the conditional mutual information
#
# $$I(X; Y \mid Z) = H(X, Z) + H(Y, Z) - H(X, Y, Z) - H(Z),$$
#
# which is zero exactly when $X \perp Y \mid Z$. With six binary variables the whole joint is a
# table of 64 numbers.


# %%
def multiply(
    names: Iterable[Any], tables: Iterable[tuple[Iterable[Any], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """The product of tables over some of the binary variables, with an axis per name."""
    axis = {v: i for i, v in enumerate(names)}
    product = np.ones((2,) * len(axis))
    for scope, table in tables:
        product = np.einsum(
            product, range(len(axis)), table, [axis[v] for v in scope], range(len(axis))
        )
    return product


def random_joint(model: graphs.Factorization, seed: int) -> NDArray[np.float64]:
    """A joint table with an axis per variable, from random conditional tables."""
    chosen = np.random.default_rng(seed)
    tables = []
    for factor in model.factors:
        table = chosen.dirichlet([1.0, 1.0], size=(2,) * len(factor.given))
        tables.append(((*factor.given, *factor.variables), table))
    return multiply(model.nodes, tables)


def information(
    joint: NDArray[np.float64],
    names: Iterable[Any],
    x: Iterable[Any],
    y: Iterable[Any],
    given: Iterable[Any],
) -> float:
    """I(X; Y | Z) in nats, from a joint table with an axis per name."""
    axis = {v: i for i, v in enumerate(names)}

    def entropy(*groups: Iterable[Any]) -> float:
        keep = {axis[v] for group in groups for v in group}
        p = joint.sum(tuple(i for i in axis.values() if i not in keep)).ravel()
        return -float(np.sum(p[p > 0] * np.log(p[p > 0])))

    return entropy(x, given) + entropy(y, given) - entropy(x, y, given) - entropy(given)


# %% [markdown]
# ## A tempting mistake
#
# "On the path M – I – T – F the collider is T, so observing T couples M and F." It reads well and
# is wrong: the path runs through D, where the two arrows meet. T is a chain node, so observing it
# *closes* the path. `graphs.check` answers a claim with the reason:
#
# ```
# graphs.check(model, "not M ⟂ F | T")
# ```

# %% [markdown]
# ## A second network: blanket, moral graph, chordality
#
# Seven variables, one of them apart. Given its *Markov blanket*, its parents, its children and
# their other parents, a variable is independent of everything else.
#
# The *moral graph* marries parents with a common child and drops the arrows: the smallest
# undirected graph that asserts nothing false about the network. It may assert less. Here
# $A \perp O$ and $A \perp B$ hold in the network, while in the moral graph both pairs are joined,
# so the graph is no *perfect map*. Nor is any Bayesian network a perfect map of this moral graph:
# that needs a *chordal* graph, in which every cycle of four or more has a chord. One added edge,
# O – B, triangulates it; S – T does not.

# %%
CAMPUS = "P(C) P(O) P(A) P(S|O) P(T|O,A) P(B|S) P(M|B,T,A)"


def chordal_with(graph: nx.Graph, edge: tuple[str, ...]) -> bool:
    """Whether one more edge makes the graph chordal."""
    more = graph.copy()
    more.add_edge(*edge)
    return bool(graphs.is_chordal(more))


# %% [markdown]
# ## A factorisation that looks right
#
# Written as a Markov network, the second model was once given as
#
# $$\tfrac1Z\, \phi(C)\, \phi(O,S)\, \phi(B,S)\, \phi(O,T,A)\, \phi(A,T,M)\, \phi(B,T,M).$$
#
# Every edge of the *network* is in some factor. But $P(M \mid B, T, A)$ couples four variables, and
# no factor holds $\{A, B, M, T\}$. The married edge A – B is lost with it, so the product asserts
# $A \perp B \mid \{M, O, T\}$: false, since observing the collider M couples its parents. The
# library names the scope, the false independence, and a network of the stated structure in which
# it fails.

# %%
WRONG = "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,T,M) φ(B,T,M)"
RIGHT = "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,B,T,M)"


def joint_of(network: Any) -> NDArray[np.float64]:
    """The joint table of a pgmpy network over binary variables, axes in the order of its nodes."""
    return multiply(network.nodes, [(cpd.variables, cpd.values) for cpd in network.get_cpds()])


# %% [markdown]
# ## Leaving a factor out
#
# C is apart from the rest. Summing it out of the *network* removes $P(C)$ and changes nothing else,
# because $\sum_c P(c) = 1$. Dropping $\phi(C)$ from the *Markov network* divides $Z$ by
# $\sum_c \phi(c)$ and changes no probability of the other variables.


# %%
def without_factor(seed: int) -> dict[str, float]:
    """Z with and without φ(C), the sum of φ(C), and the largest change of a probability."""
    chosen = np.random.default_rng(seed)
    model = graphs.parse(RIGHT)
    tables = [(f.scope, chosen.gamma(2.0, size=(2,) * len(f.scope))) for f in model.factors]
    alone = next(table for scope, table in tables if scope == ("C",))
    others = [v for v in model.nodes if v != "C"]
    whole = multiply(model.nodes, tables)
    rest = multiply(others, [(scope, table) for scope, table in tables if scope != ("C",)])
    marginal = whole.sum(model.nodes.index("C")) / whole.sum()
    return {
        "z": float(whole.sum()),
        "z_without": float(rest.sum()),
        "sum_of_factor": float(alone.sum()),
        "change": float(np.abs(marginal - rest / rest.sum()).max()),
    }


# %% [markdown]
# ## All together


# %%
def main(smoke: bool = False, out: str | Path | None = None) -> dict[str, Any]:
    """Run the tutorial; the two figures are written to ``out`` where given.

    Returns:
        The answers, reasons and numbers a reader can compare.
    """
    model = graphs.parse(DIAGNOSIS)
    answers = [graphs.query(model, text) for text in QUERIES]
    draws = 3 if smoke else 30
    joints = [random_joint(model, seed) for seed in range(draws)]
    measured = {
        str(r): [information(joint, model.nodes, r.x, r.y, r.given) for joint in joints]
        for r in answers
    }
    mistake = graphs.check(model, "not M ⟂ F | T")

    campus = graphs.parse(CAMPUS)
    moral = graphs.moralize(campus)
    filled = graphs.triangulate(moral)
    perfect = graphs.is_perfect_map(moral, of=campus)
    verdict = graphs.check(campus, WRONG)
    (false,) = verdict.false_independencies
    network = verdict.counterexample
    refuted = information(joint_of(network), network.nodes, false.x, false.y, false.given)

    results: dict[str, Any] = {
        "factorization": model.latex(),
        "free_numbers": free_numbers(model),
        "answers": {str(r): r.holds for r in answers},
        "paths": {str(r): r.path for r in answers},
        "reasons": {str(r): r.explain() for r in answers},
        "largest_when_independent": max(max(measured[str(r)]) for r in answers if r),
        "smallest_when_dependent": min(max(measured[str(r)]) for r in answers if not r),
        "mistake_holds": bool(mistake),
        "mistake": mistake.explain(),
        "blanket_of_t": sorted(graphs.markov_blanket(campus, "T")),
        "moral_edges": sorted("".join(sorted(edge)) for edge in moral.edges),
        "cliques": sorted("".join(sorted(clique)) for clique in graphs.maximal_cliques(moral)),
        "moral_is_perfect": bool(perfect),
        "lost": str(perfect.counterexample),
        "married_are_independent": {
            f"{u} ⟂ {v}": graphs.independent(campus, u, v).holds for u, v in ("AO", "AB")
        },
        "moral_is_chordal": graphs.is_chordal(moral),
        "chordless_cycle": graphs.chordless_cycle(moral),
        "fill_in": [sorted(edge) for edge in filled.graph["fill_in"]],
        "chordal_with": {
            "OB": chordal_with(moral, ("O", "B")),
            "ST": chordal_with(moral, ("S", "T")),
        },
        "why_no_network": graphs.is_perfect_map(campus, of=moral).reason,
        "wrong_holds": bool(verdict),
        "uncovered": ["".join(sorted(scope)) for scope in verdict.missing],
        "false_independence": str(false),
        "claimed_information": verdict.information,
        "counterexample_information": refuted,
        "right_holds": bool(graphs.check(campus, RIGHT)),
        "without_c": without_factor(seed=0),
    }

    queries = Figure(figsize=(13, 7), layout="constrained")
    panels = queries.subplots(2, 4)
    for ax, answer in zip(panels.flat, answers, strict=False):
        answer.draw(ax)
    panels.flat[-1].axis("off")

    maps = Figure(figsize=(13, 4.5), layout="constrained")
    left, middle, right = maps.subplots(1, 3)
    blanket = graphs.markov_blanket(campus, "T")
    graphs.draw(
        campus, left, observed=blanket, title="the Markov blanket of T, shaded", legend=False
    )
    graphs.draw(moral, middle, title="moral graph, marriages dashed")
    graphs.draw(
        filled, right, dashed=filled.graph["fill_in"], title="one fill-in edge makes it chordal"
    )
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        results["figures"] = [folder / "01_queries.png", folder / "01_maps.png"]
        for figure, path in zip((queries, maps), results["figures"], strict=True):
            figure.savefig(path, dpi=130)
    return results


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Bayesian networks, step by step.")
    parser.add_argument("--smoke", action="store_true", help="fewer random tables, in seconds")
    parser.add_argument("--out", default="out", help="folder for the figures")
    options, _ = parser.parse_known_args()
    for name, value in main(options.smoke, options.out).items():
        print(f"{name}: {value}")
