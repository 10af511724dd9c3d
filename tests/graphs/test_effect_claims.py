"""Claims about effects: criteria over all paths decide, and models that refute are enumerated."""

import random
from itertools import pairwise, product

import networkx as nx
import numpy as np
import pytest

import graphs
from tests.support.causal_oracles import (
    enumerated_effect,
    is_adjustment_set,
    is_front_door,
    random_question,
    subsets,
)

BOW = graphs.read_graph("X -> Y, X <-> Y")
DOOR = graphs.read_graph("X -> Z -> Y, X <-> Y")
FRONT = "P(Y | do(X)) = Σ_Z P(Z | X) Σ_X' P(Y | X', Z) P(X')"


def tables_of(network):
    """The DAG of a network and its tables, a node's own axis last."""
    tables = {}
    for cpd in network.cpds:
        dag_order = list(network.predecessors(cpd.variable))
        axes = [cpd.variables.index(u) for u in [*dag_order, cpd.variable]]
        tables[cpd.variable] = np.transpose(cpd.values, axes)
    return network, tables


def seen(network, nodes):
    """P(nodes) by the sum over all assignments."""
    dag, tables = tables_of(network)
    total = np.zeros([tables[v].shape[-1] for v in nodes])
    for codes in product(*(range(t.shape[-1]) for t in tables.values())):
        state = dict(zip(tables, codes, strict=True))
        weight = np.prod([tables[v][(*(state[u] for u in dag.predecessors(v)), state[v])]
                          for v in tables])  # fmt: skip
        total[tuple(state[v] for v in nodes)] += weight
    return total


def adjusted(network, x, y, z):
    """Σ_z P(y | x, z) P(z) as an array over x and y."""
    joint = seen(network, [x, *z, y])
    joint = joint.reshape(joint.shape[0], -1, joint.shape[-1])
    weights = joint.sum((0, 2))[:, None]
    return (joint / joint.sum(-1, keepdims=True) * weights).sum(1)


def effects(network, x, y):
    dag, tables = tables_of(network)
    states = range(tables[x].shape[-1])
    return np.stack([enumerated_effect(dag, tables, {x: i}, y) for i in states])


def require_refutation(verdict, x, y, z):
    """The networks differ from the claim, or agree on what it uses and differ in the effect."""
    first, *others = verdict.counterexamples
    if others:
        (second,) = others
        nodes = [x, *z, y]
        np.testing.assert_allclose(seen(first, nodes), seen(second, nodes), atol=1e-9)
        assert abs(effects(first, x, y) - effects(second, x, y)).max() > 1e-2
        assert "agree on P(" in verdict.explain()
    else:
        assert abs(effects(first, x, y) - adjusted(first, x, y, z)).max() > 1e-4
    assert verdict.counterexample is first


@pytest.mark.parametrize("seed", range(40))
def test_adjustment_is_true_iff_the_criterion_says_so(seed):
    dag, x, y, latent = random_question(seed, most=5)
    z = sorted(random.Random(seed).choice(subsets(set(dag) - {x, y} - latent)))
    nx.set_node_attributes(dag, dict.fromkeys(latent, True), "latent")
    given = f" | {', '.join([x, *z])}"
    right = f"Σ_{{{','.join(z)}}} P({y}{given}) P({','.join(z)})" if z else f"P({y}{given})"
    verdict = graphs.check(dag, f"P({y} | do({x})) = {right}")
    assert bool(verdict) == is_adjustment_set(dag, {x}, {y}, set(z))
    assert bool(graphs.check(dag, f"P({y} | do({x})) ≠ {right}")) != bool(verdict)
    if not verdict:
        assert set(verdict.counterexample.edges) == set(dag.edges)
        require_refutation(verdict, x, y, z)


@pytest.mark.parametrize("seed", range(30))
def test_a_front_door_gives_the_effect(seed):
    dag, x, y, latent = random_question(seed, most=5)
    z = sorted(random.Random(seed).choice(subsets(set(dag) - {x, y} - latent)[1:] or [set()]))
    if not z:
        return
    listed = ", ".join(z)
    verdict = graphs.check(
        dag,
        f"P({y}|do({x})) = Σ_{{{listed}}} P({listed}|{x}) Σ_{x}' P({y}|{x}', {listed}) P({x}')",
    )
    assert verdict or not is_front_door(dag, x, y, frozenset(z))
    if not verdict:
        network = verdict.counterexample
        joint = seen(network, [x, *z, y])
        joint = joint.reshape(joint.shape[0], -1, joint.shape[-1])
        conditional = joint / joint.sum(-1, keepdims=True)
        inner = np.einsum("xzy,x->zy", conditional, joint.sum((1, 2)))
        doors = joint.sum(-1) / joint.sum((1, 2))[:, None]
        if len(verdict.counterexamples) == 1:
            assert abs(effects(network, x, y) - doors @ inner).max() > 1e-4


def test_two_models_where_nothing_gives_the_effect_and_one_where_something_else_does():
    hopeless = graphs.check(BOW, "P(Y | do(X)) = P(Y | X)")
    require_refutation(hopeless, "X", "Y", [])
    assert len(hopeless.counterexamples) == 2
    assert "no formula in these gives it" in hopeless.explain()
    known = graphs.check(DOOR, "P(Y | do(X)) = Σ_Z P(Y | X, Z) P(Z)")
    require_refutation(known, "X", "Y", ["Z"])
    assert len(known.counterexamples) == 1
    assert graphs.check(DOOR, FRONT)
    spoiled = graphs.check(graphs.read_graph("X -> Z -> Y, X <-> Y, Z <-> Y"), FRONT)
    assert len(spoiled.counterexamples) == 2


def test_a_long_way_round_is_refuted_by_the_nodes_on_it():
    nodes = [f"a{i}" for i in range(25)]
    edges = [*pairwise(nodes[12::-1]), *pairwise(nodes[12:])]
    dag = nx.DiGraph([*edges, ("a0", "a24")])
    dag.add_edges_from(("b", v) for v in nodes[1:12])
    verdict = graphs.check(dag, "P(a24 | do(a0)) = P(a24 | a0)")
    assert len(verdict.counterexamples) == 2
    assert graphs.check(dag, "P(a24 | do(a0)) = Σ_{a5, b} P(a24 | a0, a5, b) P(a5, b)")


@pytest.mark.parametrize(
    ("graph", "claim", "holds"),
    [
        ("X -> Y, Z -> X, Z -> Y", "P(Y | do(X), Z) = P(Y | X, Z)", True),
        ("X -> Y, Z -> X, Z -> Y", "P(Y | do(X)) = Σ_Z P(Y | do(X), Z) P(Z)", True),
        ("X -> Y, Z -> X, Z -> Y", "P(Y | do(X)) = Σ_Z P(Y | X, Z) P(Z | X)", False),
        ("X -> Y, Z -> X, Z -> Y", "P(Z | do(X)) = P(Z)", True),
        ("X -> Y, Z -> X, Z -> Y", "P(Z | do(X)) ≠ P(Z)", False),
        ("X -> Y, Z -> X, Z -> Y", "P(Y | do(X)) = P(Y)", False),
        ("X -> Y, Z -> X, Z -> Y", "not P(Y | do(X)) = P(Y)", True),
        ("X -> Z -> Y, X <-> Y", "P(Y | do(X)) = Σ_Z P(Z | do(X)) P(Y | do(Z))", True),
        ("X -> Z -> Y, X <-> Y", "P(Y | do(Z)) = Σ_X P(Y | X, Z) P(X)", True),
        ("A -> B -> Y, A -> X -> Y, B -> X",
         "P(Y | do(X)) = Σ_B (Σ_A P(A) P(B | A)) P(Y | X, B)", True),
        ("A -> X -> Y, A -> Y", r"p(Y \mid \operatorname{do}(X)) = \sum_{A} P(A)\, P(Y \mid A, X)",
         True),
        ("A -> X -> Y, A -> Y", "Σ_A P(A) P(Y | A, X) = P(Y | do(X))", True),
        ("X1 -> Y, X2 -> Y, X1 -> X2, X2 <-> X1", "P(Y | do(X1, X2)) = P(Y | X1, X2)", True),
    ],
)  # fmt: skip
def test_claims_in_other_forms(graph, claim, holds):
    verdict = graphs.check(graphs.read_graph(graph), claim)
    assert bool(verdict) == holds
    assert verdict.explain().startswith(str(holds))


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("P(Y | do(W)) = P(Y)", "for the claim, got 'W'"),
        ("P(Y | do(X)) = Σ_Z P(Y | X)", "Z in a distribution after this sum"),
        ("P(Y | do(X)) = Σ_Z P(Y | X, Z", "','"),
        ("P(Y | do(X)) = P(Y | X, Z)", "same variables on both sides, got Z"),
        ("P(Y | do(X=1)) = P(Y | X)", "no value of it"),
        ("P(Y | do(X))", "'=' or '≠'"),
        ("P(Y | do(X)) P(Z) = P(Y | X)", "a side that is one effect"),
        ("P(Y | do(Y)) = P(Y)", "once in a distribution"),
        ("P(Y | do(X)) = 2 P(Y)", "a distribution such as"),
    ],
)
def test_bad_claims_are_refused_with_what_was_expected(claim, message):
    with pytest.raises(ValueError, match=message):
        graphs.check(DOOR, claim)


def test_models_without_causes_and_unobserved_variables_are_refused():
    with pytest.raises(ValueError, match="expected a directed model"):
        graphs.check(nx.Graph(["XY"]), "P(Y | do(X)) = P(Y | X)")
    hidden = nx.DiGraph(["XY", "UX", "UY"])
    hidden.nodes["U"]["latent"] = True
    with pytest.raises(ValueError, match="in both the claim and latent"):
        graphs.check(hidden, "P(Y | do(X)) = Σ_U P(Y | X, U) P(U)")
