"""Deterministic sites: nodes that are functions of their parents, and what is independent then."""

import random
from itertools import chain, combinations

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine

import graphs
from graphs import from_pyro
from graphs.separation.independence import reachable

NORMAL = dist.Normal(0.0, 1.0)
STATES, LAWS = 3, 8
modest = settings(max_examples=12, deadline=None, derandomize=True)


def random_dag(seed, most):
    """A random DAG of which about half the nodes with parents are functions."""
    rng = random.Random(seed)
    dag = nx.DiGraph()
    for i in range(rng.randint(3, most)):
        parents = [v for v in dag if rng.random() < 0.45][-3:]
        function = {"deterministic": True} if parents and rng.random() < 0.5 else {}
        dag.add_node(f"s{i}", **function)
        dag.add_edges_from((u, f"s{i}") for u in parents)
    return dag, rng


def law(dag, rng):
    """The joint probabilities of discrete nodes with random tables and random functions."""
    nodes, random_numbers = list(dag), np.random.default_rng(rng.randrange(2**32))
    joint = np.ones((STATES,) * len(nodes))
    for i, v in enumerate(nodes):
        axes = [nodes.index(u) for u in dag.predecessors(v)]
        shape = (STATES,) * len(axes)
        if dag.nodes[v].get("deterministic"):
            table = np.eye(STATES)[random_numbers.integers(0, STATES, shape)]
        else:
            table = random_numbers.dirichlet(np.ones(STATES), shape)
        order = np.argsort([*axes, i])
        places = [slice(None) if j in (*axes, i) else None for j in range(len(nodes))]
        joint = joint * table.transpose(order)[tuple(places)]
    return joint


def holds(joint, i, j, given):
    """Whether p(i, j, z) p(z) = p(i, z) p(j, z) for all values."""
    others = tuple(k for k in range(joint.ndim) if k not in (i, j, *given))
    both = joint.sum(others, keepdims=True)
    z = both.sum((i, j), keepdims=True)
    return np.allclose(both * z, both.sum(i, keepdims=True) * both.sum(j, keepdims=True), atol=1e-9)


@modest
@given(st.integers(0, 10**6))
def test_independence_is_that_of_enumerated_laws(seed):
    dag, rng = random_dag(seed, most=5)
    laws, nodes = [law(dag, rng) for _ in range(LAWS)], list(dag)
    index = graphs.Separation(dag)
    listed = {str(statement) for statement in graphs.independencies(dag, max_given=len(dag))}
    for i, j in combinations(range(len(nodes)), 2):
        rest = [k for k in range(len(nodes)) if k not in (i, j)]
        for z in chain.from_iterable(combinations(rest, r) for r in range(len(rest) + 1)):
            x, y, observed = nodes[i], nodes[j], [nodes[k] for k in z]
            answer = graphs.independent(dag, x, y, observed)
            assert answer.holds == all(holds(joint, i, j, z) for joint in laws), str(answer)
            assert index.independent(x, y, observed) == answer.holds
            assert index.independent_many([x], [y], [observed]).tolist() == [answer.holds]
            assert (y not in reachable(dag, x, observed)) == answer.holds
            assert (y not in index.reachable(x, observed)) == answer.holds
            assert index.dependence_matrix(observed)[i, j] != answer.holds
            assert (str(answer) in listed) == answer.holds
            assert answer.explain()
            if answer.holds:
                assert answer.certificate.verify(dag, observed)
            else:
                assert answer.trail.active


def sums(values, rng):
    return sum(values) + 1.0


def stacks(values, rng):
    return torch.stack(values).exp().sum()


def numbers(values, rng):
    return torch.tensor(float(sum(values).item()))


@modest
@given(st.integers(0, 10**6), st.sampled_from([(sums, stacks), (sums, stacks, numbers)]))
def test_random_programs_give_their_graph(seed, mixes):
    dag, rng = random_dag(seed, most=6)
    how = {v: rng.choice(mixes) for v in dag}

    def program():
        values = {}
        for v in dag:
            parents = [values[u] for u in dag.predecessors(v)]
            loc = how[v](parents, rng) if parents else torch.tensor(0.0)
            function = dag.nodes[v].get("deterministic")
            values[v] = (
                pyro.deterministic(v, loc) if function else pyro.sample(v, dist.Normal(loc, 1.0))
            )

    graph = from_pyro(program)
    assert set(graph.edges) == set(dag.edges)
    functions = {v for v, marked in graph.nodes(data="deterministic") if marked}
    assert functions == {v for v, marked in dag.nodes(data="deterministic") if marked}
    assert graph.graph["warnings"] == [] or numbers in how.values()


def there_and_back():
    x = pyro.sample("x", NORMAL)
    y = pyro.deterministic("y", x.exp())
    pyro.sample("seen", dist.Normal(y, 1.0), obs=torch.tensor(2.0))
    pyro.deterministic("x_back", y.log())


def test_a_function_is_a_node_between_what_it_joins():
    graph = from_pyro(there_and_back)
    assert set(graph.edges) == {("x", "y"), ("y", "seen"), ("y", "x_back")}
    assert graph.nodes["y"]["deterministic"]
    assert not graph.nodes["y"]["observed"]
    assert "deterministic" not in graph.nodes["x"]
    assert graphs.independent(graph, "x", "x_back", given="y")
    assert not graphs.independent(graph, "x", "x_back")
    assert graphs.independent(graph, "y", "seen", given="x")
    assert graphs.independent(graph, "x_back", "seen", given="x")
    assert "a function of what is observed" in graphs.independent(graph, "y", "seen", "x").explain()
    blocked = graphs.independent(graph, "x", "seen", "y").explain()
    assert "y, a chain node that is observed or a function of what is" in blocked


def test_elements_that_know_less_say_so():
    def program():
        a, b = pyro.sample("a", NORMAL), pyro.sample("b", NORMAL)
        y = pyro.deterministic("y", torch.stack([a, b, a + b, torch.tensor(a.item())]))
        pyro.sample("of_a", dist.Normal(y[0], 1.0))
        pyro.sample("of_b", dist.Normal(y[1], 1.0))
        pyro.sample("of_both", dist.Normal(y[2], 1.0))
        pyro.sample("of_number", dist.Normal(y[3], 1.0))

    graph = from_pyro(program)
    assert set(graph.edges) == {
        ("a", "y"), ("b", "y"), ("a", "of_a"), ("b", "of_b"), ("y", "of_both"), ("a", "of_number"),
        ("a", "of_both"),  # y is not held, since not all of it is traced, when a is redrawn
    }  # fmt: skip
    assert graphs.independent(graph, "of_a", "b")
    assert not graphs.independent(graph, "of_a", "b", "y")


def test_rows_do_not_meet_in_a_function_outside_their_plate():
    def program(inside):
        with pyro.plate("rows", 2):
            x = pyro.sample("x", NORMAL)
            if inside:
                y = pyro.deterministic("y", 2 * x)
        if not inside:
            y = pyro.deterministic("y", 2 * x)
        z = pyro.deterministic("z", y + 1)
        with pyro.plate("rows", 2):
            pyro.sample("obs", dist.Normal(z, 1.0), obs=torch.zeros(2))
        pyro.sample("total", dist.Normal(z.sum(), 1.0))

    for inside in (True, False):
        graph = from_pyro(program, inside, unroll=True)
        assert graphs.independent(graph, "x[0]", "obs[1]")
        assert not graphs.independent(graph, "x[0]", "obs[0]")
        assert not graphs.independent(graph, "x[0]", "obs[1]", "total")
        assert set(graph.pred["total"]) == {"z"}
        assert graphs.independent(graph, "x[0]", "total", "z")
    assert set(from_pyro(program, False).edges) == {
        ("x", "y"), ("y", "z"), ("z", "obs"), ("z", "total")
    }  # fmt: skip


def test_a_constant_joins_nothing():
    def program():
        one = pyro.deterministic("one", torch.tensor(1.0))
        two = pyro.deterministic("two", 2 * one)
        for name in "ab":
            pyro.sample(name, dist.Normal(two, 1.0))

    graph = from_pyro(program)
    assert not graph.edges
    assert graphs.independent(graph, "a", "b")


def test_a_function_of_what_is_assumed_is_no_constant():
    def program():
        pyro.sample("a", NORMAL)
        f = pyro.deterministic("f", torch.tensor(1.0))
        pyro.sample("b", dist.Normal(f, 1.0))

    assert not from_pyro(program).edges
    assert set(from_pyro(program, assume=[("a", "f")]).edges) == {("a", "f"), ("f", "b")}


def test_a_function_that_is_given_a_value_passes_that_on():
    conditioned = poutine.condition(there_and_back, {"y": torch.tensor(3.0)})
    graph = from_pyro(conditioned)
    assert ("x", "y") in graph.edges
    assert ("y", "seen") in graph.edges


def test_generators_and_cycles_are_read(fresh_store):
    torch.manual_seed(0)
    there, back = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    def cycle():
        with pyro.plate("data", 3):
            x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            y = pyro.deterministic("y", there(x), event_dim=1)
            pyro.deterministic("x_back", back(y), event_dim=1)

    graph = from_pyro(cycle)
    assert list(graph.edges) == [("x", "y"), ("y", "x_back")]
    assert graph.nodes["x_back"]["plates"] == ("data",)
    assert graphs.independent(graph, "x", "x_back", given="y")


@pytest.mark.parametrize("size", [2, 5])
def test_functions_of_functions_are_known(size):
    graph = nx.path_graph(size, create_using=nx.DiGraph)
    nx.set_node_attributes(graph, {v: v > 0 for v in graph}, "deterministic")
    graph.add_edge(size - 1, "end")
    assert graphs.independent(graph, size - 1, "end", 0)
    assert not graphs.independent(graph, size - 1, "end")
