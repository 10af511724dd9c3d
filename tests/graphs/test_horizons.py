"""Claims about every slice against d-separation in long networks."""

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import graphs
from graphs.dynamic.horizons import _at


def random_structure(rng):
    """Arrows of a first slice and of later ones, drawn apart, with a variable without time."""
    names = ["A", "B", "C", "D"][: int(rng.integers(2, 5))]
    graph = nx.DiGraph()
    graph.add_nodes_from(f"{v}{s}" for v in names for s in "0t")
    graph.add_nodes_from(["S"] * (rng.random() < 0.4))
    for i, v in enumerate(names):
        for u in names[:i]:
            graph.add_edges_from([(f"{u}{s}", f"{v}{s}") for s in "0t" if rng.random() < 0.3])
        graph.add_edges_from((f"{u}0", f"{v}t") for u in names if rng.random() < 0.3)
        graph.add_edges_from(("S", f"{v}{s}") for s in "0t" if "S" in graph and rng.random() < 0.3)
    return graph, names


@pytest.mark.parametrize("seed", range(100))
def test_claims_about_all_times_are_those_of_long_networks(seed):
    rng = np.random.default_rng(seed)
    graph, names = random_structure(rng)
    terms = [f"{v}[t-{k}]" for v in names for k in range(3)] + ["S"] * ("S" in graph)
    chosen = [str(v) for v in rng.permutation(terms)[: int(rng.integers(2, 5))]]
    if not any("[" in v for v in chosen[:2]):
        return
    text = f"{chosen[0]} _||_ {chosen[1]}" + (f" | {', '.join(chosen[2:])}" if chosen[2:] else "")
    answer = graphs.always(graph, text.replace("t-0", "t"))
    long = graphs.unroll(graph, 26)
    sets = (answer.x, answer.y, answer.given)
    holds = {t: bool(_at(answer.model, sets, t, long)) for t in range(answer.begins, 26)}
    assert answer.holds == all(holds.values())
    assert answer.decided[-1] < 26
    assert {t for t in answer.decided if not holds[t]} == set(answer.failing)
    if answer.failing:
        assert not answer.counterexample
        assert not answer.at(answer.failing[0])
    assert str(answer) in answer.explain()


def test_what_holds_at_the_start_may_fail_later():
    late = graphs.parse("P(A0) P(B0) P(At|A0,B0) P(Bt|A0)")
    answer = graphs.always(late, "A[t] _||_ B[t]")
    assert not answer
    assert answer.at(0)
    assert not answer.at(1)
    assert "It fails at t = 1" in answer.explain()
    early = graphs.parse("P(A0) P(B0|A0) P(At) P(Bt)")
    answer = graphs.always(early, r"A_t \perp B_t")
    assert answer.failing == (0,)


def test_an_alternating_claim_is_followed_through_its_period():
    swap = graphs.parse("P(A0) P(B0) P(C0|A0) P(At|B0) P(Bt|A0) P(Ct|C0)")
    answer = graphs.always(swap, "A[t] _||_ C[t]")
    assert [t for t in range(6) if not answer.at(t)] == [0, 2, 4]
    assert set(answer.failing) >= {0, 2}


def test_claims_about_a_program():
    def walk(steps):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        x = torch.tensor(0.0)
        for t in pyro.markov(range(steps)):
            x = pyro.sample(f"x_{t}", dist.Normal(x, scale))

    found = graphs.two_slice(walk, 4)
    assert not graphs.always(found, "x[t] _||_ x[t-2] | x[t-1]")
    assert graphs.always(found, "x[t] _||_ x[t-2] | x[t-1], scale")


CHAIN = "P(X0) P(Xt|X0) P(Y0|X0) P(Yt|Xt)"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("X[t] _||_ X[0]", "a time from t"),
        ("Z[t] _||_ X[t]", "variables of a slice"),
        ("not X[t] _||_ Y[t]", "a denial"),
        (3, "as text"),
        ("X[t] _||_ X[t]", "disjoint"),
    ],
)
def test_claims_that_are_refused(statement, message):
    with pytest.raises(ValueError, match=message):
        graphs.always(graphs.parse(CHAIN), statement)
