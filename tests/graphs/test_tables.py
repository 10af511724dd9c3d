"""Plain arrays to pgmpy models and back, and every table that no model may hold."""

import itertools
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgmpy.factors.discrete import DiscreteFactor, TabularCPD
from pgmpy.models import (
    DiscreteBayesianNetwork,
    DiscreteMarkovNetwork,
    FactorGraph,
    LinearGaussianBayesianNetwork,
)

import graphs
from graphs.parameters.bridge import tables_of
from graphs.parameters.tables import find_fault, rounding_slack

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def networks(draw):
    """Conditionals of a random DAG, in a random order, with the states of some nodes."""
    nodes = draw(st.lists(st.text("abcXYZ 01_", min_size=1), min_size=1, max_size=5, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = {v: int(rng.integers(1, 4)) for v in nodes}
    conditionals = []
    for i, v in enumerate(nodes):
        parents = tuple(u for u in nodes[:i] if rng.random() < 0.5)
        rows = rng.dirichlet(np.ones(sizes[v]), size=[sizes[u] for u in parents])
        conditionals.append((v, parents, rows))
    states = {v: tuple(f"{v}={k}" for k in range(sizes[v])) for v in nodes if rng.random() < 0.5}
    return draw(st.permutations(conditionals)), states


def test_axes_are_the_parents_in_order_and_then_the_node():
    table = np.random.default_rng(0).dirichlet([1, 1], size=(2, 3))
    model = graphs.bayesian_network(
        [("D", ("I", "T"), table), ("I", (), [0.7, 0.3]), ("T", None, [0.2, 0.3, 0.5])],
        states={"D": ("no", "yes"), "T": ["low", "mid", "high"]},
    )
    assert model.check_model()
    assert list(model.nodes) == ["D", "I", "T"]
    assert set(model.edges) == {("I", "D"), ("T", "D")}
    cpd = model.get_cpds("D")
    for i, t, d in itertools.product(range(2), range(3), range(2)):
        names = {"I": i, "T": ("low", "mid", "high")[t], "D": ("no", "yes")[d]}
        assert cpd.get_value(**names) == table[i, t, d]


@SETTINGS
@given(networks())
def test_bayesian_network_holds_the_arrays_and_passes_pgmpys_own_check(network):
    conditionals, states = network
    model = graphs.bayesian_network(conditionals, states)
    assert model.check_model()
    assert isinstance(model, DiscreteBayesianNetwork)
    for node, parents, array in conditionals:
        cpd = model.get_cpds(node)
        assert cpd.variables == [node, *parents]
        assert np.array_equal(np.moveaxis(cpd.values, 0, -1), array)
        assert tuple(cpd.state_names[node]) == states.get(node, tuple(range(array.shape[-1])))
    back = tables_of(model)
    assert list(back.states) == [node for node, _, _ in conditionals]
    for (node, parents, array), (scope, again) in zip(conditionals, back.factors, strict=True):
        assert scope == (*parents, node)
        assert np.array_equal(array, again)
    assert set(back.graph.edges) == set(model.edges)


def test_model_built_through_pgmpys_methods_is_the_same():
    table = np.array([[0.9, 0.1], [0.2, 0.8]])
    ours = graphs.bayesian_network([("A", (), [0.4, 0.6]), ("B", "A", table)])
    theirs = DiscreteBayesianNetwork([("A", "B")])
    theirs.add_cpds(TabularCPD("A", 2, [[0.4], [0.6]]), TabularCPD("B", 2, table.T, ["A"], [2]))
    assert ours == theirs
    assert list(ours.edges(data=True)) == list(theirs.edges(data=True))
    ours.remove_node("A")
    assert np.allclose(ours.get_cpds("B").values, [0.55, 0.45])


def test_factors_of_a_factorization_name_the_axes():
    f = graphs.parse("P(A) P(B|A)")
    model = graphs.bayesian_network(zip(f.factors, ([0.4, 0.6], np.eye(2)), strict=True))
    assert list(model.edges) == [("A", "B")]
    g = graphs.parse("phi(A,B) phi(B,C)")
    markov = graphs.markov_network(zip(g.factors, (np.ones((2, 3)), np.ones((3, 4))), strict=True))
    assert {v: len(s) for v, s in markov.states.items()} == {"A": 2, "B": 3, "C": 4}


def test_markov_network_keeps_equal_factors_constants_and_free_nodes():
    pair = [[1.0, 2.0], [3.0, 4.0]]
    model = graphs.markov_network(
        [(("A", "B"), pair), (("A", "B"), pair), ("B", [5, 6]), ((), 7.0)],
        states={"B": ("no", "yes"), "free": ("x", "y", "z")},
        name="pair",
    )
    assert isinstance(model, DiscreteMarkovNetwork)
    assert model.check_model()
    assert model.name == "pair"
    assert model.states == {"A": [0, 1], "B": ["no", "yes"], "free": ["x", "y", "z"]}
    assert set(map(frozenset, model.edges)) == {frozenset("AB")}
    assert [factor.scope() for factor in model.factors] == [["A", "B"]] * 2 + [["B"], [], ["free"]]
    z = sum(pair[a][b] ** 2 * (5, 6)[b] * 7 for a in range(2) for b in range(2)) * 3
    tables = tables_of(model)
    letters = {v: chr(97 + i) for i, v in enumerate(tables.states)}
    spec = ",".join("".join(letters[v] for v in scope) for scope, _ in tables.factors)
    assert np.einsum(spec + "->", *(array for _, array in tables.factors)) == z


def test_factor_graphs_are_read_with_equal_and_with_named_factors():
    phi = DiscreteFactor(["a", "b"], [2, 2], [1, 2, 3, 4])
    twin = DiscreteFactor(["a", "b"], [2, 2], [1, 2, 3, 4])
    graph = FactorGraph()
    graph.add_nodes_from(["a", "b"])
    graph.add_factors(phi, twin)
    for factor in (phi, twin):
        graph.add_nodes_from([factor])
        graph.add_edges_from([("a", factor), ("b", factor)])
    assert [scope for scope, _ in tables_of(graph).factors] == [("a", "b")] * 2
    named = graphs.markov_network([(("a", "b"), np.ones((2, 2)))]).to_factor_graph()
    assert list(tables_of(named).states) == ["a", "b"]


# Decided by hand from the rule: a sum may miss one by less than half a unit of each number's last
# digit, two decimals at the coarsest, and by no more than 0.01.
ROUNDED = [
    ([0.33, 0.33, 0.33], True),
    ([0.333, 0.333, 0.333], True),
    ([0.99, 0.02], False),
    ([0.7, 0.31], False),
    ([0.3, 0.5, 0.3], False),
    ([0.5, 0.6], False),
    ([0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.124], True),
    ([0.12345, 0.87656], False),
    ([1, 1], False),
    ([0, 0], False),
    ([1 / 3, 1 / 3, 1 / 3 + 1e-9], True),
    ([1 / 3, 1 / 3, 1 / 3 + 1e-4], False),
    ([0.270811, 0.72919], True),
    ([0.074074, 0.92593], True),
    ([0.074074, 0.92594], False),
    ([0.5, 0.50001], True),
    ([1.0, 0.004], True),
    ([1.0, 0.006], False),
    ([0.0, 0.999], False),
    ([0.0, 0.33, 0.33, 0.33], True),
    ([1.23e-9, 0.99998], False),
    (np.array([0.333, 0.333, 0.333], np.float32), True),
    (np.array([0.333, 0.333, 0.332], np.float32), False),
]


@pytest.mark.parametrize(("row", "passes"), ROUNDED)
def test_rounding_explains_a_sum_or_does_not(row, passes):
    table = np.array([[1.0] + [0.0] * (len(row) - 1), row])
    assert (find_fault(table, True) is None) == passes
    assert (find_fault(np.array(row, dtype=float), True) is None) == passes
    if passes:
        model = graphs.bayesian_network([("A", (), row)])
        assert model.check_model()
        assert np.array_equal(model.get_cpds("A").values, row)
    else:
        assert find_fault(table, True)[0] == (1,)
        with pytest.raises(ValueError, match=r"sum to one, got a sum of .* in P\(A\)"):
            graphs.bayesian_network([("A", (), row)])


@SETTINGS
@given(st.data())
def test_rows_printed_with_significant_digits_pass_and_bent_ones_do_not(data):
    row = np.random.default_rng(data.draw(st.integers(0, 2**32))).dirichlet(np.ones(4))
    digits = data.draw(st.integers(3, 5))
    texts = [f"{p:.{digits}g}" for p in row]
    printed = [float(text) for text in texts]
    assert find_fault(np.array(printed), True) is None
    assert find_fault(np.array(printed, np.float32).astype(float), True) is None
    assert abs(sum(printed) - 1) <= rounding_slack(texts)
    unit = max(Decimal(text).as_tuple().exponent for text in texts)
    bent = [*texts[1:], str(Decimal(texts[0]) + (len(texts) + 1) * Decimal(10) ** unit)]
    assert abs(sum(map(float, bent)) - 1) > rounding_slack(bent)


def test_texts_keep_the_zeros_that_floats_lose():
    assert rounding_slack(["0.70", "0.30"]) == pytest.approx(0.01, rel=1e-5)
    assert rounding_slack(["0.700", "0.300"]) == pytest.approx(0.001, rel=1e-5)
    assert rounding_slack(["7e-1", "2.99E-1"]) == pytest.approx(0.0055, rel=1e-5)
    assert rounding_slack(["0.000", "1.00"]) == pytest.approx(0.0055, rel=1e-5)
    slacks = rounding_slack([[0.33, 0.67], [0.333, 0.667]])
    assert slacks == pytest.approx([0.01, 0.001], rel=1e-5)


def test_what_is_refused_tells_how_far_the_sum_is_off():
    with pytest.raises(
        ValueError, match=r"a sum of 1\.000012 \(1\.2e-05 more than one\) in P\(A\)"
    ):
        graphs.bayesian_network([("A", (), [0.27082, 0.729192])])
    with pytest.raises(ValueError, match=r"a sum of 0\.99990* \(0\.0001 less than one\)"):
        graphs.bayesian_network([("A", (), [0.27001, 0.72989])])


HALF = [0.5, 0.5]
BAD_CONDITIONALS = [
    ([("A", (), [0.5, float("nan")])], r"non-negative probabilities, got nan in P\(A\) at A=1"),
    ([("A", (), [1.5, -0.5])], r"non-negative probabilities, got -0.5 in P\(A\) at A=1"),
    ([("A", (), [np.inf, 0])], "got inf"),
    (
        [("A", (), HALF), ("B", "A", [HALF, [0.5, 0.6]])],
        r"got a sum of 1.1 in P\(B \| A\) at A=1",
    ),
    ([("A", (), HALF), ("B", "A", HALF)], r"2 axes for P\(B \| A\), one per .* shape \(2,\)"),
    ([("A", (), HALF), ("B", "A", [HALF] * 3)], r"shape \(2, 2\) .* got \(3, 2\)"),
    ([("A", (), 1.0)], "1 axes"),
    ([("A", (), [])], "at least one state of 'A'"),
    ([("A", (), HALF), ("A", (), HALF)], "one table per node, got two for 'A'"),
    ([("B", "A", [HALF, HALF])], "a table for 'A', a parent of 'B', got none"),
    ([("A", "A", [HALF, HALF])], "distinct variables"),
    ([("A", "B", [HALF] * 2), ("B", "A", [HALF] * 2)], "cycle"),
    ([("A", (), ["a", "b"])], "array of numbers"),
    ([("A", (), [HALF, [1]])], "array of numbers"),
    ([("A", (), [1 + 0j, 0])], "array of numbers.*complex128"),
    ([("A", (), np.ones((1,) * 32)), ("B", [], HALF)], "1 axes"),
    ([(["A"], (), HALF)], "names of variables"),
    ([("A", HALF)], "triples"),
    (["ABC"], "triples"),
    ([3], "triples"),
    ([], "at least one node"),
    (zip(graphs.parse("P(A,B)").factors, [np.ones((2, 2)) / 2], strict=True), "one variable"),
]


@pytest.mark.parametrize(("conditionals", "message"), BAD_CONDITIONALS)
def test_bad_conditionals_are_refused(conditionals, message):
    with pytest.raises(ValueError, match=message):
        graphs.bayesian_network(conditionals)


BAD_FACTORS = [
    ([("A", [1, -1])], r"non-negative finite potentials, got -1.0 in φ\(A\) at A=1"),
    ([("A", [1, float("nan")])], "got nan"),
    ([("A", [1, float("inf")])], "got inf"),
    ([("A", [0, 0])], r"positive somewhere, got zeros in φ\(A\)"),
    ([((), 0.0)], "positive somewhere"),
    ([(("A", "B"), [1, 1])], "2 axes"),
    ([(("A", "B"), np.ones((2, 2))), ("A", np.ones(3))], r"shape \(2,\)"),
    ([(("A", "A"), np.ones((2, 2)))], "distinct"),
    ([("A", [])], "at least one state"),
    ([("A", [1, 1], "x")], "pairs"),
    ([7], "pairs"),
    ([], "at least one node"),
]


@pytest.mark.parametrize(("factors", "message"), BAD_FACTORS)
def test_bad_factors_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        graphs.markov_network(factors)


BAD_STATES = [
    ({"A": "no"}, "a sequence of state names for 'A', got 'no'"),
    ({"A": 2}, "a sequence of state names"),
    ({"A": ()}, "at least one state"),
    ({"A": ("x", "x")}, "distinct"),
    ({"A": ("x", ["y"])}, "distinct"),
    ({"A": ("x", "y", "z")}, r"shape \(3,\)"),
    ({"B": ("x", "y")}, "a table for 'B', which has states, got none"),
]


@pytest.mark.parametrize(("states", "message"), BAD_STATES)
def test_bad_states_are_refused(states, message):
    with pytest.raises(ValueError, match=message):
        graphs.bayesian_network([("A", (), HALF)], states)


def _chain():
    return graphs.bayesian_network([("A", (), HALF), ("B", "A", [HALF, HALF])])


def test_pgmpy_networks_that_hold_no_distribution_are_refused():
    missing = _chain()
    missing.cpds.pop()
    with pytest.raises(ValueError, match=r"a table .TabularCPD. for every node, got none for 'B'"):
        tables_of(missing)
    twice = _chain()
    twice.cpds.append(twice.cpds[0])
    with pytest.raises(ValueError, match="one table per node, got two for 'A'"):
        tables_of(twice)
    extra = _chain()
    extra.cpds.append(TabularCPD("C", 2, [[0.5], [0.5]]))
    with pytest.raises(ValueError, match="tables of nodes, got one of 'C'"):
        tables_of(extra)
    edge = _chain()
    edge.remove_edge("A", "B")
    with pytest.raises(ValueError, match=r"a table of 'B' given its parents \[\]"):
        tables_of(edge)
    negative = _chain()
    negative.cpds[1].values[0, 0] = -0.5
    with pytest.raises(ValueError, match=r"got -0.5 in P\(B \| A\) at A=0, B=0"):
        tables_of(negative)
    names = _chain()
    names.cpds[1].state_names["A"] = ["x", "y"]
    with pytest.raises(ValueError, match="the same states of 'A' in every table"):
        tables_of(names)
    gaussian = LinearGaussianBayesianNetwork([("A", "B")])
    with pytest.raises(ValueError, match="every node, got none for 'A', 'B'"):
        tables_of(gaussian)


def test_pgmpy_markov_networks_that_hold_no_distribution_are_refused():
    model = DiscreteMarkovNetwork([("A", "B")])
    model.factors.append(DiscreteFactor(["A", "B"], [2, 2], [1, 2, 3, -4]))
    with pytest.raises(ValueError, match=r"got -4\.0"):
        tables_of(model)
    model.factors[0] = DiscreteFactor(["A", "C"], [2, 2], np.ones(4))
    with pytest.raises(ValueError, match="factors over nodes, got one over 'C'"):
        tables_of(model)
    model.factors[0] = DiscreteFactor(["A"], [2], np.ones(2))
    with pytest.raises(ValueError, match="a factor over 'B'"):
        tables_of(model)
    model.add_node("C")
    model.factors.append(DiscreteFactor(["B", "C"], [2, 2], np.ones(4)))
    with pytest.raises(ValueError, match="an edge 'B' - 'C'"):
        tables_of(model)
    model.add_edge("B", "C")
    model.factors.append(DiscreteFactor(["A", "B"], [3, 2], np.ones(6)))
    with pytest.raises(ValueError, match="the same states of 'A'"):
        tables_of(model)


@pytest.mark.parametrize("model", [graphs.parse("P(A)").graph, graphs.parse("P(A)"), None])
def test_structures_have_no_tables(model):
    with pytest.raises(ValueError, match=r"which hold tables, got \w+ without any"):
        tables_of(model)
