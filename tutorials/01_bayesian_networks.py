# %% [markdown]
# # Bayesian networks: what a product of conditionals asserts
#
# A Bayesian network writes a joint distribution as one conditional distribution per variable,
#
# $$P(x_1, \dots, x_n) = \prod_i P(x_i \mid \mathrm{pa}_i),$$
#
# and draws an arrow from every parent to its child. The arrows may not form a cycle. The product
# *asserts independences*: they hold whatever numbers stand in the tables, and d-separation finds
# them in the graph. On a path, whichever way its arrows point, each inner node is
#
# - a *chain* $a \to b \to c$ or a *fork* $a \leftarrow b \to c$: open unless $b$ is observed;
# - a *collider* $a \to b \leftarrow c$: closed, unless $b$ or a descendant of $b$ is observed.
#
# A path is *active* when every inner node is open. If no path between $X$ and $Y$ is active given
# $Z$, then $X \perp Y \mid Z$ in every distribution of the product; if one is, almost every choice
# of tables makes them dependent (Pearl 1988; Koller and Friedman 2009, theorems 3.3 and 3.5).
#
# The networks and the questions below are those of a solved assignment of a university course, *the
# source*, whose answers stand beside ours.
#
# The first cell of every tutorial imports what it needs. From `_runner.py`, which lies beside it,
# come a few helpers: `tutorial.section` makes a function a step that is run in the cell below it,
# `tutorial.smoke` says whether settings are to be short, `tutorial.show` displays a figure,
# `tutorial.keep` sets numbers aside for the tests, and `table` prints.

# %%
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx
import numpy as np
from _runner import Tutorial, table
from matplotlib.figure import Figure
from numpy.typing import NDArray

import graphs

tutorial = Tutorial(__name__, "Bayesian networks, step by step.")
main = tutorial.main

# %% [markdown]
# ## A first network
#
# Six binary variables. The product below is the model; nothing else is needed to question it.
# A table of the joint distribution has $2^6 - 1 = 63$ free parameters. The product needs one for
# each variable and each state of its parents: $1 + 1 + 1 + 4 + 2 + 4 = 13$.

# %%
DIAGNOSIS = "P(M) P(S) P(F) P(I|M,S) P(T|F) P(D|I,T)"


@tutorial.section
def free_parameters() -> None:
    """Count the free parameters of the full table and of the product, for binary variables."""
    model = graphs.parse(DIAGNOSIS)
    full = 2 ** len(model.nodes) - 1
    product = sum(2 ** len(factor.given) for factor in model.factors)
    tutorial.keep(factorization=model.latex(), free_numbers=(full, product))
    print("The model:", model)
    table(("free parameters", "ours", "by hand"), [("table", full, 63), ("product", product, 13)])


# %%
free_parameters()

# %% [markdown]
# ## Seven questions
#
# `graphs.query` reads a question as it is written on paper. Its answer is true or false and carries
# the reason: an active path, or what blocks every path. In the figure the observed variables are
# shaded and an active path is orange.
#
# The source answers the same questions. It differs from us on the last one.

# %%
SOURCE = {
    "F ⟂ D": False,
    "S ⟂ D | I": True,
    "M ⟂ F": True,
    "M ⟂ F | D": False,
    "M ⟂ T | D": False,
    "M ⟂ S | I": False,
    "M ⟂ F | T": False,
}


@tutorial.section
def seven_questions() -> list[graphs.Independence]:
    """Ask, compare with the source, and draw each answer."""
    model = graphs.parse(DIAGNOSIS)
    answers = [graphs.query(model, text) for text in SOURCE]
    tutorial.keep(
        answers={str(r): r.holds for r in answers},
        paths={str(r): r.path for r in answers},
        reasons={str(r): r.explain() for r in answers},
    )
    table(
        ("independent?", "ours", "the source", "agrees?"),
        [(r, r.holds, SOURCE[str(r)], r.holds == SOURCE[str(r)]) for r in answers],
    )
    print(f"\nOne answer in full:\n{answers[3].explain()}")
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 4)
    for ax, answer in zip(panels.flat, answers, strict=False):
        answer.draw(ax)
    panels.flat[-1].axis("off")
    tutorial.show(figure, "01_queries")
    return answers


# %%
answers = seven_questions()

# %% [markdown]
# ## Do the numbers agree?
#
# An independence that the graph asserts must hold for *any* tables, so we draw some at random and
# measure the dependence by the conditional mutual information
#
# $$I(X; Y \mid Z) = H(X, Z) + H(Y, Z) - H(X, Y, Z) - H(Z),$$
#
# where $H$ is the entropy; it is zero exactly when $X \perp Y \mid Z$. With six binary variables
# the whole joint is a table of 64 numbers.


# %%
def multiply(
    names: Iterable[Any], tables: Iterable[tuple[Iterable[Any], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """The product of tables over some of the binary variables, with an axis per name."""
    axis = {v: i for i, v in enumerate(names)}
    product = np.ones((2,) * len(axis))
    for scope, factor in tables:
        product = np.einsum(
            product, range(len(axis)), factor, [axis[v] for v in scope], range(len(axis))
        )
    return product


def random_joint(model: graphs.Factorization, seed: int) -> NDArray[np.float64]:
    """A joint table with an axis per variable, from random conditional tables."""
    rng = np.random.default_rng(seed)
    tables = []
    for factor in model.factors:
        conditional = rng.dirichlet([1.0, 1.0], size=(2,) * len(factor.given))
        tables.append(((*factor.given, *factor.variables), conditional))
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


@tutorial.section
def measure(answers: list[graphs.Independence]) -> None:
    """The largest mutual information over random tables, for each question."""
    model = graphs.parse(DIAGNOSIS)
    joints = [random_joint(model, seed) for seed in range(3 if tutorial.smoke else 30)]
    largest = {
        str(r): max(information(joint, model.nodes, r.x, r.y, r.given) for joint in joints)
        for r in answers
    }
    tutorial.keep(
        largest_when_independent=max(largest[str(r)] for r in answers if r),
        smallest_when_dependent=min(largest[str(r)] for r in answers if not r),
    )
    print(f"The largest mutual information in {len(joints)} random networks of this structure:")
    table(
        ("question", "the graph says", "information in nats"),
        [(r, "independent" if r else "dependent", f"{abs(largest[str(r)]):.4f}") for r in answers],
    )


# %%
measure(answers)

# %% [markdown]
# ## A tempting mistake
#
# The source argues for its answer to the last question: on the path M – I – T – F the collider is
# T, hence observing T couples M and F. That reads well and is wrong. The path runs through D, where
# the two arrows meet. T is a chain node, so observing it *closes* the path. `graphs.check` takes a
# claim and answers with the reason.


# %%
@tutorial.section
def check_the_claim() -> None:
    """Check the source's claim."""
    verdict = graphs.check(graphs.parse(DIAGNOSIS), "not M ⟂ F | T")
    tutorial.keep(mistake_holds=bool(verdict), mistake=verdict.explain())
    print(verdict.explain())


# %%
check_the_claim()

# %% [markdown]
# ## A second network: blanket, moral graph, chordality
#
# Seven variables, one of them isolated. Given its *Markov blanket* (its parents, its children and
# their other parents) a variable is independent of everything else.
#
# The *moral graph* marries parents with a common child and drops the arrows. It is the smallest
# undirected graph that asserts nothing false about the network. It may assert less: here
# $A \perp O$ and $A \perp B$ hold in the network, while in the moral graph both pairs are adjacent,
# so the graph is not a *perfect map*. Nor is any Bayesian network a perfect map of this moral
# graph: that takes a *chordal* graph, in which every cycle of four or more nodes has a chord. One
# fill-in edge, O – B, triangulates it; S – T does not.

# %%
CAMPUS = "P(C) P(O) P(A) P(S|O) P(T|O,A) P(B|S) P(M|B,T,A)"


def chordal_with(graph: nx.Graph, edge: tuple[str, ...]) -> bool:
    """Whether one more edge makes the graph chordal."""
    more = graph.copy()
    more.add_edge(*edge)
    return bool(graphs.is_chordal(more))


def joined(groups: Iterable[Iterable[str]]) -> list[str]:
    """Sets of one-letter names as sorted words."""
    return sorted("".join(sorted(group)) for group in groups)


@tutorial.section
def campus_structure() -> None:
    """Derive what the source states about the second network."""
    campus = graphs.parse(CAMPUS)
    moral = graphs.moralize(campus)
    blanket = sorted(graphs.markov_blanket(campus, "T"))
    perfect = graphs.is_perfect_map(moral, of=campus)
    found = {
        "blanket_of_t": blanket,
        "moral_edges": joined(moral.edges),
        "cliques": joined(graphs.maximal_cliques(moral)),
        "moral_is_perfect": bool(perfect),
        "lost": str(perfect.counterexample),
        "married_are_independent": {
            f"{u} ⟂ {v}": graphs.independent(campus, u, v).holds for u, v in ("AO", "AB")
        },
        "moral_is_chordal": graphs.is_chordal(moral),
        "chordless_cycle": graphs.chordless_cycle(moral),
        "fill_in": [sorted(edge) for edge in graphs.triangulate(moral).graph["fill_in"]],
        "chordal_with": {edge: chordal_with(moral, tuple(edge)) for edge in ("OB", "ST")},
        "why_no_network": graphs.is_perfect_map(campus, of=moral).reason,
    }
    tutorial.keep(**found)
    compare(found)
    print(f"\nIs the network a perfect map of the moral graph?\n{found['why_no_network']}")


def compare(found: dict[str, Any]) -> None:
    """What the library finds beside what the source states."""
    rows = [
        ("Markov blanket of T", " ".join(found["blanket_of_t"]), "A B M O"),
        ("moral edges", " ".join(found["moral_edges"]), "AB AM AO AT BM BS BT MT OS OT"),
        ("maximal cliques", " ".join(found["cliques"]), "ABMT AOT BS C OS"),
        ("moral graph is a perfect map", found["moral_is_perfect"], False),
        ("an independence it loses", found["lost"], "O ⟂ A"),
        ("moral graph is chordal", found["moral_is_chordal"], False),
        ("chordal with O – B", found["chordal_with"]["OB"], True),
        ("chordal with S – T", found["chordal_with"]["ST"], False),
    ]
    table(
        ("campus network", "ours", "the source", "agrees?"),
        [(*row, row[1] == row[2]) for row in rows],
    )


@tutorial.section
def draw_maps() -> None:
    """Draw the network, its moral graph and the triangulation."""
    campus = graphs.parse(CAMPUS)
    moral = graphs.moralize(campus)
    filled = graphs.triangulate(moral)
    blanket = graphs.markov_blanket(campus, "T")
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    graphs.draw(campus, left, observed=blanket, title="Markov blanket of T, shaded", legend=False)
    graphs.draw(moral, middle, title="moral graph, marriages dashed")
    graphs.draw(
        filled, right, dashed=filled.graph["fill_in"], title="chordal with one fill-in edge"
    )
    tutorial.show(figure, "01_maps")


# %%
campus_structure()
draw_maps()

# %% [markdown]
# ## A factorization that looks right
#
# A Markov network is a product of non-negative functions φ of some variables each, divided by its
# sum Z (tutorial 02). The source writes that of the moral graph as
#
# $$\tfrac1Z\, \phi(C)\, \phi(O,S)\, \phi(B,S)\, \phi(O,T,A)\, \phi(A,T,M)\, \phi(B,T,M).$$
#
# Every edge of the *Bayesian network* is in some factor. But $P(M \mid B, T, A)$ couples four
# variables, and no factor covers $\{A, B, M, T\}$. The edge A – B, a marriage, is lost with it, so
# the product asserts $A \perp B \mid \{M, O, T\}$. That is false: observing the collider M couples
# its parents. The library names the variables that no factor covers and the false independence, and
# it constructs conditional tables of the stated structure for which the independence fails
# numerically.

# %%
WRONG = "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,T,M) φ(B,T,M)"
RIGHT = "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,B,T,M)"


def joint_of(network: Any) -> NDArray[np.float64]:
    """The joint table of a pgmpy network over binary variables, axes in the order of its nodes."""
    return multiply(network.nodes, [(cpd.variables, cpd.values) for cpd in network.get_cpds()])


@tutorial.section
def check_the_factorization() -> None:
    """Check the source's factorization and the corrected one."""
    campus = graphs.parse(CAMPUS)
    verdict = graphs.check(campus, WRONG)
    (false,) = verdict.false_independencies
    network = verdict.counterexample
    refuted = information(joint_of(network), network.nodes, false.x, false.y, false.given)
    right = bool(graphs.check(campus, RIGHT))
    tutorial.keep(
        wrong_holds=bool(verdict),
        uncovered=joined(verdict.missing),
        false_independence=str(false),
        claimed_information=verdict.information,
        counterexample_information=refuted,
        right_holds=right,
    )
    print(verdict.explain())
    print(f"\nMeasured in that network, the dependence is {refuted:.3f} nats, not 0.")
    table(
        ("factorization", "ours", "the source", "agrees?"),
        [
            ("φ(A,T,M) φ(B,T,M)", bool(verdict), True, False),
            ("φ(A,B,T,M)", right, None, None),
        ],
    )


# %%
check_the_factorization()

# %% [markdown]
# ## Leaving a factor out
#
# C is isolated. Summing it out of the *Bayesian network* removes $P(C)$ and changes nothing else,
# because $\sum_c P(c) = 1$. Dropping $\phi(C)$ from the *Markov network* divides $Z$ by
# $\sum_c \phi(c)$ and changes no probability of the other variables.


# %%
@tutorial.section
def without_factor() -> None:
    """Z with and without φ(C), the sum of φ(C), and the largest change of a probability."""
    rng = np.random.default_rng(0)
    model = graphs.parse(RIGHT)
    tables = [(f.scope, rng.gamma(2.0, size=(2,) * len(f.scope))) for f in model.factors]
    alone = next(potential for scope, potential in tables if scope == ("C",))
    others = [v for v in model.nodes if v != "C"]
    whole = multiply(model.nodes, tables)
    rest = multiply(others, [(scope, factor) for scope, factor in tables if scope != ("C",)])
    marginal = whole.sum(model.nodes.index("C")) / whole.sum()
    found = {
        "z": float(whole.sum()),
        "z_without": float(rest.sum()),
        "sum_of_factor": float(alone.sum()),
        "change": float(np.abs(marginal - rest / rest.sum()).max()),
    }
    tutorial.keep(without_c=found)
    table(
        ("dropping φ(C)", "ours", "expected"),
        [
            ("Z before / Z after", found["z"] / found["z_without"], found["sum_of_factor"]),
            ("largest change of a probability", found["change"], 0.0),
        ],
    )


# %%
without_factor()
