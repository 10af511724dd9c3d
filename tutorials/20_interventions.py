# %% [markdown]
# # Interventions: what to adjust for, and why
#
# To *see* a variable at a value is one thing, to *set* it to that value is another. Setting X cuts
# what decided on X and leaves the rest as it is; of a Bayesian network (tutorial 01) the truncated
# factorization remains,
#
# $$P(v \mid \mathrm{do}(x)) = \prod_{i \notin X} P(v_i \mid \mathrm{pa}_i)\Big|_{X = x}$$
#
# (Pearl 2009, equation 3.10). Often nobody can set X, and there are only observations. Then the
# graph says what has to be measured besides, and whether anything would do.

# %%
from __future__ import annotations

from typing import Any

import networkx as nx
from _runner import Tutorial, table
from matplotlib.figure import Figure

import graphs

tutorial = Tutorial(__name__, "Interventions: what to adjust for, and why.")
main = tutorial.main


def picture(name: str, draw: Any, **options: Any) -> None:
    """Show one drawing as a figure of its own."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    draw(ax=figure.subplots(), **options)
    tutorial.show(figure, name)


# %% [markdown]
# ## Seeing and doing
#
# In the textbook's garden (Pearl 2009, figure 1.2) clouds decide on sprinkler and rain. A sprinkler
# that is on makes clouds unlikely, and so rain. Turning it on does not change the weather.


# %%
@tutorial.section
def see_and_do() -> None:
    """Rain, once the sprinkler is seen on and once it is turned on."""
    lawn = graphs.textbook.sprinkler()
    seen = graphs.marginal(lawn, "rain", {"sprinkler": "yes"})[0]
    done = graphs.effect(lawn, {"sprinkler": "yes"}, "rain")[0]
    # by hand: P(clouds | on) = 0.5 · 0.1 / (0.5 · 0.1 + 0.5 · 0.5) = 1/6
    by_hand = 1 / 6 * 0.8 + 5 / 6 * 0.2
    tutorial.keep(seen=float(seen), done=float(done))
    table(
        ["rain, when the sprinkler", "ours", "by hand", "agrees?"],
        [
            ["is seen on", float(seen), by_hand, abs(float(seen) - by_hand) < 1e-12],
            ["is turned on", float(done), 0.5, abs(float(done) - 0.5) < 1e-12],
        ],
    )


# %%
see_and_do()

# %% [markdown]
# ## What to adjust for
#
# The effect of X on Y is what flows along directed paths from X to Y. Every other path is to be
# closed, and none opened, in the sense of tutorial 01. A set Z that does so gives
#
# $$P(y \mid \mathrm{do}(x)) = \sum_z P(y \mid x, z)\, P(z).$$
#
# In the clinic of Lauritzen and Spiegelhalter (1988) smoking acts on bronchitis (bronc) and, by way
# of the lungs, on shortness of breath (dysp). One of three nodes on that way is enough.


# %%
@tutorial.section
def adjust() -> None:
    """Every minimal adjustment set, and the number it gives."""
    clinic = graphs.textbook.asia()
    answer = graphs.adjustment(clinic, "bronc", "dysp")
    print(answer.explain())
    truth = graphs.effect(clinic, {"bronc": "yes"}, "dysp")[0]
    rows, agree = [], []
    for z in answer.sets:
        ours = graphs.effect(clinic, {"bronc": "yes"}, "dysp", by=z)[0]
        agree.append(bool(abs(ours - truth) < 1e-12))
        rows.append([", ".join(sorted(z)), float(ours), float(truth), agree[-1]])
    unadjusted = graphs.marginal(clinic, "dysp", {"bronc": "yes"})[0]
    table(["adjusted for", "by adjustment", "truncated factorization", "agrees?"], rows)
    print(f"\nUnadjusted, P(dysp | bronc = yes) = {float(unadjusted):.3f}.")
    tutorial.keep(sets=[sorted(z) for z in answer.sets], agree=agree)
    picture("20_adjustment", answer.draw)


# %%
adjust()

# %% [markdown]
# ## More is not better
#
# In the graph of Greenland, Pearl and Robins (1999) that has the shape of an M, nothing has to be
# adjusted for. C looks like a confounder, since it is associated with both; but adjusting for it
# opens the path through A and B, which was closed. `check` refutes the claim with a model in which
# the formula is wrong.


# %%
@tutorial.section
def too_much() -> None:
    """A claim about a set that opens what was closed."""
    m = graphs.read_graph("A -> X, A -> C, B -> C, B -> Y, X -> Y")
    claims = {
        "P(Y | do(X)) = P(Y | X)": True,
        "P(Y | do(X)) = Σ_C P(Y | X, C) P(C)": False,
        "P(Y | do(X)) = Σ_{A,C} P(Y | X, A, C) P(A, C)": True,
        "P(C | do(X)) = P(C)": True,
    }
    found = {claim: graphs.check(m, claim) for claim in claims}
    table(
        ["claim", "ours", "criterion", "agrees?"],
        [[c, bool(v), claims[c], bool(v) == claims[c]] for c, v in found.items()],
    )
    wrong = found["P(Y | do(X)) = Σ_C P(Y | X, C) P(C)"]
    print(f"\n{wrong.explain()}")
    tutorial.keep(claims={c: bool(v) for c, v in found.items()}, refuted=wrong.explain())


# %%
too_much()

# %% [markdown]
# ## What nobody measured
#
# Does smoking cause cancer, if a gene that nobody sees may drive both? No adjustment helps. Two
# models that agree on everything observed and differ in the effect prove it; in the table, $P(1,
# 0)$ is the probability of smoking and no cancer. Were the tar in the lungs measured, and were it
# all that smoking does, there would be a front door (Pearl 1995).


# %%
@tutorial.section
def unseen() -> None:
    """Two models with the same observations; a front door."""
    edges = [("gene", "smoking"), ("gene", "cancer")]
    short = nx.DiGraph([("smoking", "cancer"), *edges])
    short.nodes["gene"]["latent"] = True
    refuted = graphs.check(short, "P(cancer | do(smoking)) = P(cancer | smoking)")
    print(refuted.explain())
    first, second = refuted.counterexamples
    nodes = ["smoking", "cancer"]
    seen = [graphs.JunctionTree(m).query(nodes) for m in (first, second)]
    apart = float((seen[0] - seen[1]).abs().max())
    effects = [float(graphs.effect(m, {"smoking": 1}, "cancer")[1]) for m in (first, second)]
    table(
        ["", "P(0, 0)", "P(0, 1)", "P(1, 0)", "P(1, 1)", "P(cancer = 1 | do(smoking = 1))"],
        [
            [name, *joint.flatten().tolist(), effect]
            for name, joint, effect in zip(("one model", "the other"), seen, effects, strict=True)
        ],
    )
    long = nx.DiGraph([("smoking", "tar"), ("tar", "cancer"), *edges])
    door = graphs.front_door(long, "smoking", "cancer", latent="gene")
    print(f"\n{door.explain()}")
    tutorial.keep(apart=apart, effects=effects, door=sorted(door.first or ()))
    blocked = graphs.adjustment(long, "smoking", "cancer", latent="gene")
    picture("20_front_door", blocked.draw, title="A gene that nobody sees: no set closes its path")


# %%
unseen()
