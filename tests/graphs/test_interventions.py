"""Interventions against the definitions over all paths, enumeration and pyAgrum."""

import warnings

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import graphs
from tests.support.agrum import pyagrum
from tests.support.causal_oracles import (
    enumerated_effect,
    is_adjustment_set,
    is_front_door,
    is_instrument,
    minimal,
    random_network,
    random_question,
    subsets,
)

SEEDS = range(60)
TAR = nx.DiGraph([("smoking", "tar"), ("tar", "cancer"), ("gene", "smoking"), ("gene", "cancer")])


# --- Criteria -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_adjustment_sets_are_those_of_the_criterion(seed):
    dag, x, y, latent = random_question(seed)
    sets = subsets(set(dag) - {x, y} - latent)
    valid = [z for z in sets if is_adjustment_set(dag, {x}, {y}, z)]
    answer = graphs.adjustment(dag, x, y, latent=latent)
    found = list(answer.sets)
    assert len(found) == len(set(found))
    assert set(found) == minimal(valid)
    assert bool(answer) == bool(valid)
    for z in sets:
        judged = graphs.adjustment(dag, x, y, given=z, latent=latent)
        assert bool(judged) == (z in valid)
        assert judged.explain().startswith("Adjusting for")


@pytest.mark.parametrize("seed", range(30))
def test_sets_of_causes_and_effects(seed):
    dag, first, second, _ = random_question(seed)
    rest = sorted(set(dag) - {first, second})
    x, y = {first, rest[0]}, {second}
    sets = subsets(rest[1:])
    valid = [z for z in sets if is_adjustment_set(dag, x, y, z)]
    answer = graphs.adjustment(dag, x, y)
    assert set(answer.sets) == minimal(valid)
    assert all(bool(graphs.adjustment(dag, x, y, given=z)) == (z in valid) for z in sets)


@pytest.mark.parametrize("seed", range(30))
def test_two_headed_edges_are_latent_common_causes(seed):
    dag, x, y, _ = random_question(seed, most=5)
    nodes = sorted(dag)
    mixed, hidden = nx.DiGraph(dag), nx.DiGraph(dag)
    for u, v in [(nodes[0], nodes[1]), (nodes[1], nodes[-1])]:
        if not mixed.has_edge(u, v) and not mixed.has_edge(v, u):
            mixed.add_edge(u, v, bidirected=True)
            hidden.add_edges_from([((u, v), u), ((u, v), v)])
    latent = [v for v in hidden if v not in dag]
    answers = graphs.adjustment(mixed, x, y), graphs.adjustment(hidden, x, y, latent=latent)
    assert set(answers[0].sets) == set(answers[1].sets)
    doors = graphs.front_door(mixed, x, y), graphs.front_door(hidden, x, y, latent=latent)
    assert set(doors[0].sets) == set(doors[1].sets)


@pytest.mark.parametrize("seed", SEEDS)
def test_front_doors_are_those_of_the_criterion(seed):
    dag, x, y, latent = random_question(seed)
    sets = subsets(set(dag) - {x, y} - latent)
    valid = [z for z in sets if is_front_door(dag, x, y, z)]
    answer = graphs.front_door(dag, x, y, latent=latent)
    assert set(answer.sets) == minimal(valid)
    assert bool(answer) == bool(valid)
    assert answer.explain()
    for z in sets:
        judged = graphs.front_door(dag, x, y, given=z, latent=latent)
        assert bool(judged) == (z in valid)
        assert judged.explain()


@pytest.mark.parametrize("seed", range(100))
def test_instruments_are_found_where_there_are_any(seed):
    dag, x, y, latent = random_question(seed)
    if not dag.has_edge(x, y):
        with pytest.raises(ValueError, match="no parent"):
            graphs.instruments(dag, x, y, latent=latent)
        return
    usable = set(dag) - {x, y} - latent
    exists = any(is_instrument(dag, x, y, z, w) for z in usable for w in subsets(usable - {z}))
    found = graphs.instruments(dag, x, y, latent=latent)
    assert bool(found) == exists
    for instrument in found:
        assert is_instrument(dag, x, y, instrument.node, instrument.given)
        assert "is an instrument" in instrument.explain()


def test_the_explanation_names_every_path_and_what_closes_it():
    dag = nx.DiGraph(
        [("Z1", "X"), ("Z1", "Z3"), ("Z2", "Z3"), ("Z2", "Y"), ("Z3", "X"), ("Z3", "Y")]
    )
    dag.add_edges_from([("X", "W"), ("W", "Y")])
    text = graphs.adjustment(dag, "X", "Y").explain()
    for line in [
        "X → W → Y: causal, left open.",
        "X ← Z3 → Y: closed by Z3, a fork that is adjusted for.",
        "X ← Z1 → Z3 ← Z2 → Y: closed by Z1, a fork that is adjusted for.",
        "holds none of W, which X acts on.",
    ]:
        assert line in text
    text = graphs.adjustment(dag, "X", "Y", given="Z3").explain()
    assert "X ← Z1 → Z3 ← Z2 → Y: not causal, and open." in text
    assert "W lies on a causal path" in graphs.adjustment(dag, "X", "Y", given="W").explain()
    hidden = graphs.adjustment(dag, "X", "Y", latent=["Z3"])
    assert "X ← Z3 → Y: not causal, and open given all that may be: {Z1, Z2}" in hidden.explain()


# --- Numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_effects_agree_with_enumeration_however_they_are_found(seed):
    dag, x, y, latent = random_question(seed, most=5)
    network, tables = random_network(dag, seed)
    truth = enumerated_effect(dag, tables, {x: 1}, y)
    np.testing.assert_allclose(graphs.effect(network, {x: 1}, y), truth, atol=1e-12)
    for z in graphs.adjustment(dag, x, y, latent=latent).sets:
        np.testing.assert_allclose(graphs.effect(network, {x: 1}, y, by=z), truth, atol=1e-9)
    for z in graphs.front_door(dag, x, y, latent=latent).sets:
        door = graphs.front_door(dag, x, y, given=z)
        np.testing.assert_allclose(graphs.effect(network, {x: 1}, y, by=door), truth, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_no_adjustment_set_gives_another_number(seed):
    dag, x, y, _ = random_question(seed, most=5)
    network, tables = random_network(dag, seed)
    truth = enumerated_effect(dag, tables, {x: 1}, y)
    tree = graphs.JunctionTree(network)
    for z in subsets(set(dag) - {x, y}):
        if not graphs.adjustment(dag, x, y, given=z):
            joint = tree.query((x, *sorted(z), y)).numpy()
            joint = joint.reshape(joint.shape[0], -1, joint.shape[-1])
            summed = (joint[1] / joint[1].sum(-1, keepdims=True) * joint.sum((0, 2))[:, None]).sum(
                0
            )
            assert abs(summed - truth).max() > 1e-6
            with pytest.raises(ValueError, match="does not give the effect"):
                graphs.effect(network, {x: 1}, y, by=z)


def test_pyagrum_finds_the_same_effects(tmp_path):
    network = graphs.textbook.asia()
    graphs.save(network, tmp_path / "asia.bif")
    with warnings.catch_warnings():  # see tests.support.agrum
        warnings.simplefilter("ignore")
        model = pyagrum.CausalModel(pyagrum.loadBN(str(tmp_path / "asia.bif")))
    for x, y in [("smoke", "dysp"), ("bronc", "dysp"), ("lung", "xray")]:
        _, table, _ = pyagrum.causalImpact(model, on=y, doing=x, values={x: "yes"})
        theirs = [table[{y: name}] for name in ("yes", "no")]
        np.testing.assert_allclose(graphs.effect(network, {x: "yes"}, y), theirs, atol=1e-9)


def test_several_nodes_are_set_and_asked_about():
    network = graphs.textbook.asia()
    together = graphs.effect(network, {"smoke": "yes", "tub": "no"}, ["xray", "dysp"])
    assert together.shape == (2, 2)
    alone = graphs.effect(network, {"smoke": "yes", "tub": "no"}, "dysp")
    torch.testing.assert_close(together.sum(0), alone)


def test_setting_keeps_the_latent_nodes_and_cuts_two_headed_edges():
    mixed = graphs.read_graph("c -> a -> b, a <-> b, c <-> b")
    cut = graphs.do(mixed, "a")
    assert set(cut.edges) - {("a", "b")} in ({("c", "b")}, {("b", "c")})
    assert bool(graphs.independent(cut, "a", "c"))
    marked = nx.DiGraph(TAR)
    marked.nodes["gene"]["latent"] = True
    assert not graphs.adjustment(marked, "smoking", "cancer")
    assert graphs.adjustment(graphs.do(marked, "smoking"), "smoking", "cancer", given=[])


# --- Programs -----------------------------------------------------------------------------------


def chain():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(a, 1.0))
    return pyro.sample("c", dist.Normal(b, 0.001))


def test_a_program_is_set_as_pyro_sets_it():
    assert abs(float(graphs.do(chain, {"b": 3.0})()) - 3) < 0.01
    with pytest.raises(ValueError, match="'q', never drawn"):
        graphs.do(chain, {"q": 3.0})()
    with pytest.raises(ValueError, match="expected values"):
        graphs.do(chain, "b")


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graphs.adjustment(TAR, "smok", "cancer"), "did you mean 'smoking'"),
        (lambda: graphs.adjustment(TAR, "tar", "tar"), "disjoint"),
        (lambda: graphs.adjustment(TAR, [], "tar"), "at least one node for x"),
        (lambda: graphs.adjustment(TAR, "tar", "cancer", given="tar"), "in both given and x"),
        (lambda: graphs.adjustment(TAR, "tar", "cancer", given="gene", latent="gene"), "latent"),
        (lambda: graphs.adjustment(TAR, "gene", "cancer", latent="gene"), "in both x and latent"),
        (
            lambda: graphs.adjustment(TAR, "tar", "cancer", given="gene", forbidden="gene"),
            "in both given and forbidden",
        ),
        (lambda: graphs.adjustment(nx.Graph(TAR), "tar", "cancer"), "expected a directed model"),
        (lambda: graphs.adjustment(nx.DiGraph(["ab", "ba"]), "a", "b"), "cycle"),
        (
            lambda: graphs.adjustment(graphs.essential_graph(nx.DiGraph(["ab"])), "a", "b"),
            "partially directed",
        ),
        (lambda: graphs.do(TAR, {"tar": 1}), "tables"),
        (lambda: graphs.do(graphs.textbook.asia(), {"smoke": "maybe"}), "expected a state"),
        (lambda: graphs.do(graphs.textbook.asia(), {"smoke": None}), "expected a state"),
        (lambda: graphs.do(graphs.textbook.asia(), {}), "at least one node"),
        (lambda: graphs.effect(graphs.textbook.asia(), "smoke", "dysp"), "expected states"),
        (
            lambda: graphs.effect(
                graphs.textbook.asia(),
                {"smoke": "yes"},
                "dysp",
                by=graphs.adjustment(graphs.textbook.asia(), "bronc", "dysp"),
            ),
            "expected an answer about smoke and dysp",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_observations_cannot_tell_is_refused():
    never = graphs.bayesian_network(
        [("Z", (), [0.5, 0.5]), ("X", "Z", [[1, 0], [0.5, 0.5]]), ("Y", "X", [[0.9, 0.1]] * 2)]
    )
    with pytest.raises(ValueError, match="probability zero"):
        graphs.effect(never, {"X": 1}, "Y", by="Z")
    assert graphs.effect(never, {"X": 1}, "Y").tolist() == pytest.approx([0.9, 0.1])
