"""Networks as Pyro programs against brute force over all assignments."""

import itertools
import math
import random

import networkx as nx
import numpy as np
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, infer_discrete
from scipy import stats

import graphs

modest = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)
enumerated = TraceEnum_ELBO(max_plate_nesting=0)


@pytest.fixture(autouse=True)
def own_random_state():
    with torch.random.fork_rng(devices=[]):
        pyro.set_rng_seed(0)
        yield


def empty_guide():
    """Enumeration needs none."""


def random_network(seed, directed):
    """Scopes and tables, some entries zero; the names of nodes are letters."""
    rng, np_rng = random.Random(seed), np.random.default_rng(seed)
    nodes = [chr(ord("A") + i) for i in range(rng.randint(2, 5))]
    sizes = {v: rng.randint(1, 3) for v in nodes}
    entries = []
    for i, v in enumerate(nodes):
        others = rng.sample(nodes[:i], rng.randint(0, min(i, 2)))
        table = np_rng.random([sizes[u] for u in (*others, v)])
        table[np_rng.random(table.shape) < 0.2] = 0
        table[..., 0] += 0.1
        entries.append((tuple(others), v, table))
    rng.shuffle(entries)
    if directed:
        tables = [(ps, v, t / t.sum(-1, keepdims=True)) for ps, v, t in entries]
        model = graphs.bayesian_network([(v, ps, t) for ps, v, t in tables])
    else:
        tables = [*entries, entries[0]]  # an equal factor counts twice
        model = graphs.markov_network([((*ps, v), 3 * t) for ps, v, t in tables])
    return model, [((*ps, v), t if directed else 3 * t) for ps, v, t in tables], sizes


def product(tables, assignment):
    return math.prod(table[tuple(assignment[v] for v in scope)] for scope, table in tables)


def assignments(sizes):
    for states in itertools.product(*map(range, sizes.values())):
        yield dict(zip(sizes, states, strict=True))


def given_states(program, assignment):
    return poutine.condition(program, {v: torch.tensor(s) for v, s in assignment.items()})


@modest
@given(seed=seeds, directed=st.booleans())
def test_the_density_of_every_assignment_is_the_product_of_tables(seed, directed):
    model, tables, sizes = random_network(seed, directed)
    program = graphs.to_pyro(model)
    for assignment in assignments(sizes):
        trace = poutine.trace(given_states(program, assignment)).get_trace()
        expected = product(tables, assignment)
        density = trace.log_prob_sum().exp().item()
        assert density == pytest.approx(expected, rel=1e-12, abs=0)
        assert {v: int(value) for v, value in trace.nodes["_RETURN"]["value"].items()} == assignment


@modest
@given(seed=seeds, directed=st.booleans())
def test_enumeration_sums_over_what_is_not_observed(seed, directed):
    model, tables, sizes = random_network(seed, directed)
    program = graphs.to_pyro(model)
    total = sum(product(tables, a) for a in assignments(sizes))
    assert enumerated.loss(program, empty_guide) == pytest.approx(-math.log(total), abs=1e-12)
    node = next(iter(sizes))
    evidence = {node: sizes[node] - 1}
    rows = [a for a in assignments(sizes) if a[node] == evidence[node]]
    part = sum(product(tables, a) for a in rows)
    loss = enumerated.loss(given_states(program, evidence), empty_guide)
    assert loss == pytest.approx(-math.log(part) if part else math.inf, abs=1e-12)
    if part and min(sizes.values()) > 1:  # Pyro's marginals fail on a dimension of size one
        found = enumerated.compute_marginals(given_states(program, evidence), empty_guide)
        assert set(found) == sizes.keys() - evidence.keys()
        for v in found:
            marginal = [sum(product(tables, a) for a in rows if a[v] == s) for s in range(sizes[v])]
            np.testing.assert_allclose(found[v].probs, np.array(marginal) / part, atol=1e-12)


@modest
@given(seed=seeds)
def test_reading_a_written_network_gives_it_back(seed):
    model, _, _ = random_network(seed, directed=True)
    graph = graphs.from_pyro(graphs.to_pyro(model))
    assert set(graph.edges) == set(model.edges)
    assert set(graph) == set(model)
    assert graph.graph["warnings"] == []
    if all(list(model).index(u) < list(model).index(v) for u, v in model.edges):
        assert list(graph) == list(model)


def test_textbook_networks_come_back_in_the_order_of_their_nodes():
    for model in (graphs.textbook.asia(), graphs.textbook.sprinkler(), graphs.textbook.student()):
        graph = graphs.from_pyro(graphs.to_pyro(model))
        assert list(graph) == list(model)
        assert set(graph.edges) == set(model.edges)


def test_separation_in_a_written_markov_network_is_its_own():
    chain = [(pair, np.ones((2, 2))) for pair in ("AB", "BC", "CD")]
    model = graphs.markov_network([(tuple(scope), table) for scope, table in chain])
    graph = graphs.from_pyro(graphs.to_pyro(model))
    factors = {v for v, attributes in graph.nodes(data=True) if attributes["observed"]}
    assert factors == {"φ1", "φ2", "φ3"}
    for x, y in itertools.permutations("ABCD", 2):
        for z in set("ABCD") - {x, y}:
            ours = graphs.independent(graph, x, y, factors | {z})
            assert bool(ours) == bool(graphs.independent(model, x, y, z))


def test_samples_follow_the_joint():
    model, tables, sizes = random_network(11, directed=True)
    program = graphs.to_pyro(model)
    draws = 4000
    with pyro.plate("rows", draws):
        values = program()
    assert list(values) == list(graphs.from_pyro(program))
    for assignment in assignments(sizes):
        hits = torch.stack([values[v].expand(draws) == s for v, s in assignment.items()]).all(0)
        p = product(tables, assignment)
        assert abs(hits.double().mean() - p) <= 5 * math.sqrt(p * (1 - p) / draws)


def test_the_best_states_are_found_by_discrete_inference():
    model = graphs.textbook.asia()
    program = graphs.to_pyro(model)
    tables = [([*c.variables[1:], c.variable], np.moveaxis(c.values, 0, -1)) for c in model.cpds]
    evidence = {"dysp": 0, "xray": 0}
    conditioned = given_states(program, evidence)
    found = infer_discrete(conditioned, first_available_dim=-1, temperature=0)()
    sizes = {v: 1 if v in evidence else 2 for v in model}
    best = max(assignments(sizes), key=lambda a: product(tables, a))
    assert {v: int(s) for v, s in found.items()} == best


def test_states_keep_the_order_of_the_model():
    model = graphs.bayesian_network(
        [("rain", (), [0.9, 0.1]), ("wet", "rain", [[0.8, 0.2], [0.1, 0.9]])],
        states={"rain": ("no", "yes"), "wet": ("dry", "wet")},
    )
    wet = given_states(graphs.to_pyro(model), {"rain": 1, "wet": 0})
    assert poutine.trace(wet).get_trace().log_prob_sum().exp().item() == pytest.approx(0.01)


def test_equal_potentials_are_all_kept_under_names_of_their_own():
    table = [[1, 2], [3, 4]]
    model = graphs.markov_network([(("A", "B"), table), (("A", "B"), table), ("φ1", [2, 3])])
    program = graphs.to_pyro(model)
    trace = poutine.trace(program).get_trace()
    assert [v for v in trace.nodes if v.startswith("φφ")] == ["φφ1", "φφ2", "φφ3"]
    assert enumerated.loss(program, empty_guide) == pytest.approx(-math.log(30 * 5), abs=1e-12)


def test_zero_potentials_are_minus_infinity():
    model = graphs.markov_network([(("A", "B"), [[1, 0], [0, 1]]), (("A", "B"), [[0, 1], [1, 1]])])
    program = graphs.to_pyro(model)
    assert enumerated.loss(program, empty_guide) == pytest.approx(0, abs=1e-12)
    trace = poutine.trace(given_states(program, {"A": 0, "B": 1})).get_trace()
    assert trace.log_prob_sum() == -math.inf


def test_factor_graphs_are_markov_networks():
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.models import FactorGraph

    model = FactorGraph()
    factor = DiscreteFactor(["A", "B"], [2, 3], np.arange(6.0))
    model.add_nodes_from(["A", "B"])
    model.add_factors(factor)
    model.add_edges_from([("A", factor), ("B", factor)])
    loss = enumerated.loss(graphs.to_pyro(model), empty_guide)
    assert loss == pytest.approx(-math.log(15), abs=1e-12)


def test_linear_gaussian_networks_have_the_density_of_their_joint():
    from pgmpy.factors.continuous import LinearGaussianCPD
    from pgmpy.models import LinearGaussianBayesianNetwork

    model = LinearGaussianBayesianNetwork([("a", "c"), ("b", "c"), ("c", "d")])
    model.add_cpds(
        LinearGaussianCPD("c", [0.5, -1, 2], 1.5, ["a", "b"]),
        LinearGaussianCPD("a", [1], 2),
        LinearGaussianCPD("b", [0], 0.5),
        LinearGaussianCPD("d", [4, -1], 3, ["c"]),
    )
    program = graphs.to_pyro(model)
    trace = poutine.trace(program).get_trace()
    values = trace.nodes["_RETURN"]["value"]
    mean, covariance = model.to_joint_gaussian()
    point = [values[v].item() for v in nx.topological_sort(model)]
    expected = stats.multivariate_normal(mean, covariance).logpdf(point)
    assert trace.log_prob_sum().item() == pytest.approx(expected, rel=1e-6)
    assert set(graphs.from_pyro(program).edges) == set(model.edges)
    model.get_cpds("b").std = 0.0
    with pytest.raises(ValueError, match="a positive deviation for 'b', got"):
        graphs.to_pyro(model)
    model.cpds.pop()
    with pytest.raises(ValueError, match="LinearGaussianCPD for every node, got none for 'd'"):
        graphs.to_pyro(model)


def test_names_that_are_no_text_are_written_as_text():
    model = graphs.bayesian_network([(0, (), [0.5, 0.5]), (1, (0,), [[1, 0], [0.5, 0.5]])])
    program = graphs.to_pyro(model)
    assert set(program()) == {0, 1}
    assert set(graphs.from_pyro(program).edges) == {("0", "1")}
    model = graphs.bayesian_network([(0, (), [1.0]), ("0", (), [1.0])])
    with pytest.raises(ValueError, match="nodes with different names, got two called '0'"):
        graphs.to_pyro(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nx.DiGraph([("A", "B")]), "parameters for every node, got only the structure of 'A', 'B'"),
        (graphs.parse("P(A)P(B|A)"), "got only the structure of 'A', 'B'"),
        (nx.Graph([("A", "B")]), "got only the structure of 'A', 'B'"),
        ("P(A)", "got str"),
        (None, "got NoneType"),
    ],
)
def test_models_without_parameters_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        graphs.to_pyro(model)


def test_a_network_with_a_table_missing_is_refused():
    model = graphs.bayesian_network([("A", (), [0.5, 0.5]), ("B", "A", [[1, 0], [0, 1]])])
    model.cpds.pop()
    with pytest.raises(ValueError, match="for every node, got none for 'B'"):
        graphs.to_pyro(model)


def test_states_out_of_range_are_refused():
    model = graphs.bayesian_network([("A", (), [0.5, 0.5]), ("B", "A", [[1, 0], [0, 1]])])
    with pytest.raises(ValueError, match="expected indices of states, got"):
        given_states(graphs.to_pyro(model), {"A": 2})()


@pytest.mark.parametrize("directed", [True, False])
def test_enumeration_runs_to_torchs_limit_and_explains_it(directed):
    def chain(length):
        table = [[0.3, 0.7], [0.6, 0.4]]
        if directed:
            rest = [(f"x{i}", f"x{i - 1}", table) for i in range(1, length)]
            return graphs.bayesian_network([("x0", (), [0.5, 0.5]), *rest])
        return graphs.markov_network([((f"x{i - 1}", f"x{i}"), table) for i in range(1, length)])

    loss = enumerated.loss(graphs.to_pyro(chain(60)), empty_guide)
    expected = 1.0 if directed else np.linalg.matrix_power([[0.3, 0.7], [0.6, 0.4]], 59).sum()
    assert loss == pytest.approx(-math.log(expected), abs=1e-10)
    long = graphs.to_pyro(chain(66))
    with pytest.raises(ValueError, match="at most 64 enumerated variables and plates"):
        enumerated.loss(long, empty_guide)
    assert len(long()) == 66
    kept = {f"x{i}": torch.tensor(0) for i in range(0, 66, 2)}
    assert math.isfinite(enumerated.loss(poutine.condition(long, kept), empty_guide))


@pytest.mark.parametrize("value", [torch.tensor(True), torch.tensor(0.5), True, "yes"])
def test_only_indices_are_taken_as_states(value):
    network = graphs.bayesian_network([("A", (), [0.3, 0.7])], states={"A": ("yes", "no")})
    program = pyro.condition(graphs.to_pyro(network), {"A": value})
    with pytest.raises(ValueError, match="index of a state of 'A'"):
        program()


def test_a_joint_takes_no_booleans_for_indices():
    network = graphs.bayesian_network([("A", (), [0.3, 0.7])], states={"A": ("true", "false")})
    with pytest.raises(ValueError, match="indices of states, got booleans"):
        graphs.Joint(network, validate_args=False).log_prob(torch.tensor([True]))
