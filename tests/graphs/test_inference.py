"""Exact inference against the whole joint table of small random models."""

import re

import networkx as nx
import numpy as np
import pytest
import torch
from enumeration import random_bayesian, random_evidence, random_markov
from pgmpy.factors.discrete import DiscreteFactor
from pgmpy.models import DiscreteMarkovNetwork, FactorGraph

import graphs

MODELS = [random_bayesian, random_markov]


@pytest.fixture(params=["plain_sums", "compiled_sums"], autouse=True)
def way(request):
    """Every answer both ways."""
    request.getfixturevalue(request.param)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("random_model", MODELS)
def test_answers_equal_those_of_the_joint_table(random_model, missing, seed):
    rng = np.random.default_rng(seed)
    dense = random_model(rng, zeros=0.3 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=5, missing=missing)
    hint = [v for v in dense.nodes if rng.random() < 0.3]
    tree = graphs.JunctionTree(dense.model, evidence_variables=hint)
    log_z, marginals = tree.log_partition(evidence), tree.marginals(evidence)
    best, draws = tree.map(evidence), tree.sample(3, evidence)
    observed = {v for v, column in evidence.items() if None not in column}
    assert set(marginals) == set(best) == set(draws) == set(dense.nodes) - observed
    for row in range(5):
        table = dense.given(evidence, row)
        assert log_z[row] == pytest.approx(np.log(table.sum()), abs=1e-10)
        table /= table.sum()
        for axis, v in enumerate(dense.nodes):
            if v in marginals:
                others = tuple(i for i in range(table.ndim) if i != axis)
                np.testing.assert_allclose(marginals[v][row], table.sum(others), atol=1e-12)

        def probability(answer, table=table, row=row):
            return table[tuple(answer.get(v, evidence.get(v))[row] for v in dense.nodes)]

        assert probability(best) == pytest.approx(table.max())
        for draw in range(3):
            assert probability({v: states[draw] for v, states in draws.items()}) > 0


@pytest.mark.parametrize("seed", range(8))
def test_query_is_the_joint_of_nodes_in_the_order_named(seed):
    rng = np.random.default_rng(seed)
    dense = random_markov(rng, most_nodes=6)
    nodes = [dense.nodes[i] for i in rng.permutation(len(dense.nodes))[:3]]
    axes = [dense.nodes.index(v) for v in nodes]
    expected = np.einsum(dense.table, range(dense.table.ndim), axes) / dense.table.sum()
    tree = graphs.JunctionTree(dense.model)
    np.testing.assert_allclose(tree.query(nodes), expected, atol=1e-12)
    assert tree.entropy(nodes) == pytest.approx(-(expected * np.log(expected)).sum(), abs=1e-12)


def test_query_and_information_given_rows_of_evidence():
    tree = graphs.JunctionTree(graphs.textbook.asia())
    rows = {"dysp": ["yes", "no", "yes"]}
    joint = tree.query(["lung", "bronc"], rows)
    assert joint.shape == (3, 2, 2)
    for row, state in enumerate(rows["dysp"]):
        one = {"dysp": state}
        torch.testing.assert_close(joint[row], tree.query(["lung", "bronc"], one))
        parts = tree.entropy("lung", one) + tree.entropy("bronc", one)
        information = tree.mutual_information("lung", "bronc", one)
        assert information > 1e-3
        assert information == pytest.approx(
            float(parts - tree.entropy(["lung", "bronc"], one)), abs=1e-12
        )
    assert tree.mutual_information("lung", "bronc", rows).shape == (3,)
    assert tree.mutual_information("asia", ["smoke", "lung"]) == pytest.approx(0, abs=1e-12)


def test_each_kind_of_model_is_accepted():
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    z = np.einsum("ij,jk->", a, b)
    pair = DiscreteFactor(["A", "B"], [2, 2], a), DiscreteFactor(["B", "C"], [2, 3], b)
    markov = DiscreteMarkovNetwork([("A", "B"), ("B", "C")])
    markov.add_factors(*pair)
    bipartite = FactorGraph()
    bipartite.add_nodes_from(["A", "B", "C"])
    bipartite.add_factors(*pair)
    bipartite.add_edges_from([(v, f) for f in pair for v in f.variables])
    for model in (
        markov,
        bipartite,
        graphs.markov_network([(("A", "B"), a), (("B", "C"), b)]),
        (graphs.parse("phi1(A,B) phi2(B,C)"), [a, b]),
    ):
        assert graphs.JunctionTree(model).log_partition() == pytest.approx(np.log(z))
    chain = (graphs.parse("P(A)P(B|A)"), [[0.3, 0.7], [[0.1, 0.9], [0.5, 0.5]]])
    assert graphs.JunctionTree(chain).marginals()["B"].tolist() == pytest.approx([0.38, 0.62])


def test_letters_of_the_textbook():
    """Scaling a potential by 5 scales Z by 5 and leaves every probability; so does dropping one
    that stands alone, up to its own sum."""
    letters = graphs.textbook.letters()
    rng = np.random.default_rng(0)
    tables = [rng.random([2] * len(f.scope)) for f in letters.factors]
    tree = graphs.JunctionTree((letters, tables))
    scaled = graphs.JunctionTree((letters, [5 * tables[0], *tables[1:]]))
    ratio = (scaled.log_partition() - tree.log_partition()).exp()
    assert ratio == pytest.approx(5, rel=1e-12)
    for v, marginal in tree.marginals().items():
        torch.testing.assert_close(marginal, scaled.marginals()[v], rtol=1e-12, atol=0)
    alone = graphs.JunctionTree(
        (graphs.parse(f"{str(letters).split('1/Z')[1]} phi7(H)"), [*tables, [0.2, 0.4]])
    )
    difference = alone.log_partition() - tree.log_partition()
    assert difference == pytest.approx(np.log(0.6), rel=1e-12)


# --- Where pgmpy 1.1.2 is wrong or fails ---------------------------------------------------------


def test_equal_factors_are_all_kept():
    """pgmpy's junction tree drops one: Z = 20 in place of 60."""
    factor = (("A", "B"), [[1, 2], [3, 4]])
    tree = graphs.JunctionTree(graphs.markov_network([factor, factor, ("A", [1, 3])]))
    assert tree.log_partition().exp() == pytest.approx(1 + 4 + 3 * (9 + 16))
    assert tree.marginals()["A"].tolist() == pytest.approx([5 / 80, 75 / 80])


def test_markov_answers_are_normalised_and_parts_may_be_unconnected():
    model = graphs.markov_network([(("A", "B"), [[1, 2], [3, 4]]), ("C", [1, 4]), ("D", [2, 2])])
    tree = graphs.JunctionTree(model)
    assert tree.log_partition().exp() == pytest.approx(10 * 5 * 4)
    assert tree.marginals()["C"].tolist() == pytest.approx([0.2, 0.8])
    expected = torch.tensor([[0.2, 0.2], [0.8, 0.8]], dtype=torch.float64) / 2
    torch.testing.assert_close(tree.query(["C", "D"]), expected)


def test_impossible_evidence_names_the_row():
    tree = graphs.JunctionTree(graphs.textbook.asia())
    evidence = {"lung": ["yes", "yes"], "either": ["yes", "no"]}
    for ask in (
        tree.marginals,
        tree.map,
        lambda e: tree.sample(2, e),
        lambda e: tree.query("tub", e),
        lambda e: tree.entropy("tub", e),
    ):
        with pytest.raises(ValueError, match=r"impossible evidence in row 1.*'either': 'no'"):
            ask(evidence)
    assert tree.log_partition(evidence)[1] == -torch.inf
    with pytest.raises(ValueError, match=r"impossible evidence: {'lung'"):
        tree.marginals({v: column[1] for v, column in evidence.items()})


def test_a_model_without_any_possible_assignment():
    zero = [("A", [1, 0]), ("A", [0, 1]), ("B", [1, 2])]
    tree = graphs.JunctionTree(graphs.markov_network(zero))
    assert tree.log_partition() == -torch.inf
    with pytest.raises(ValueError, match="some possible assignment, got Z = 0"):
        tree.marginals()
    with pytest.raises(ValueError, match="some possible assignment, got Z = 0"):
        graphs.Joint(tree).log_prob(torch.zeros(2))


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_bad_potentials_are_refused(bad):
    factor = DiscreteFactor(["A", "B"], [2, 2], [1.0, 1.0, 1.0, 1.0])
    factor.values[0, 1] = bad
    model = DiscreteMarkovNetwork([("A", "B")])
    model.add_factors(factor)
    with pytest.raises(ValueError, match="expected non-negative finite potentials"):
        graphs.JunctionTree(model)


def test_forty_unconnected_variables_need_no_joint_table():
    model = graphs.markov_network([(f"x{i}", [1.0, 2.0]) for i in range(40)])
    tree = graphs.JunctionTree(model)
    assert tree.log_partition() == pytest.approx(40 * np.log(3))
    assert tree.cost.treewidth == 0


def test_a_product_of_more_than_52_variables():
    """A hub with 70 neighbours, all of one or two states, in factors that overlap."""
    rng = np.random.default_rng(0)
    factors = [(("hub", f"x{i}"), rng.random((2, 1 + i % 2))) for i in range(70)]
    tree = graphs.JunctionTree(graphs.markov_network(factors))
    product = np.prod([table.sum(1) for _, table in factors], axis=0)
    assert tree.log_partition() == pytest.approx(np.log(product.sum()))
    wide = tuple(f"x{i}" for i in range(0, 60, 2))
    assert tree.query([*wide, "hub"]).flatten().tolist() == pytest.approx(
        (product / product.sum()).tolist()
    )


def test_a_node_named_zero():
    model = graphs.bayesian_network([(0, (), [0.3, 0.7]), (1, (0,), [[0.2, 0.8], [0.6, 0.4]])])
    tree = graphs.JunctionTree(model)
    assert tree.marginals({1: 0})[0].tolist() == pytest.approx([0.06 / 0.48, 0.42 / 0.48])
    assert tree.query(0).tolist() == pytest.approx([0.3, 0.7])


# --- The range of numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_thousand_tiny_or_huge_factors(scale):
    """log Z is a sum of logarithms; the product is far outside what a float can hold."""
    factors = [((f"x{i}", f"x{i + 1}"), scale * np.array([[1, 2], [3, 4]])) for i in range(1000)]
    tree = graphs.JunctionTree(graphs.markov_network(factors))
    matrix, shift, vector = np.array([[1.0, 2], [3, 4]]), 0.0, np.ones(2)
    for _ in range(1000):
        vector = matrix @ vector
        shift += np.log(vector.sum())
        vector /= vector.sum()
    assert tree.log_partition() == pytest.approx(shift + 1000 * np.log(scale), rel=1e-13)
    assert tree.marginals()["x0"].tolist() == pytest.approx(vector.tolist(), abs=1e-13)
    assert torch.isfinite(tree.log_partition({"x500": [0, 1]})).all()


def test_entries_too_far_apart_for_linear_numbers():
    """Messages of [1, 1e-300] and [1e-300, 1] met at both ends of a chain: each of the two ways
    through is 1e-300, and linear numbers lose both."""
    far = 1e-200
    factors = [((f"x{i}", f"x{i + 1}"), [[1, far], [far, 1]]) for i in range(20)]
    factors += [("x0", [1.0, 1e-300]), ("x20", [1e-300, 1.0])]
    tree = graphs.JunctionTree(graphs.markov_network(factors))
    expected = np.log(20) + np.log(far)
    assert tree.log_partition() == pytest.approx(expected, rel=1e-12)
    assert tree.marginals()["x10"].tolist() == pytest.approx([0.5, 0.5], abs=1e-10)
    repeated = [("A", [1, far])] * 20 + [("A", [far, 1])] * 20
    tree = graphs.JunctionTree(graphs.markov_network(repeated))
    assert tree.marginals()["A"].tolist() == pytest.approx([0.5, 0.5])
    assert tree.log_partition() == pytest.approx(np.log(2) + 20 * np.log(far))


def test_entries_far_apart_beside_messages_that_grow():
    """Along a chain of equal variables a message of [1, 1e-280] grows by 5 a hundred times, is
    rescaled, and meets [1, 1e-70] before [1e-175, 1] twice brings both ends level."""
    unary = [[1, 1e-140]] * 2 + [[1, 1]] * 100 + [[1, 1e-70]] + [[1e-175, 1]] * 2
    factors = [(f"x{i}", entries) for i, entries in enumerate(unary)]
    factors += [((f"x{i}", f"x{i + 1}"), np.eye(2)) for i in range(len(unary) - 1)]
    factors += [((f"x{i}", f"y{i}"), np.ones((2, 5))) for i in range(2, 102)]
    tree = graphs.JunctionTree(graphs.markov_network(factors))
    assert tree.log_partition() == pytest.approx(100 * np.log(5) - 350 * np.log(10) + np.log(2))
    assert tree.marginals()["x104"].tolist() == pytest.approx([0.5, 0.5])


def test_tables_whose_lowest_entry_is_zero_beside_their_largest():
    far = [("A", [1e170, 1e-170])] + [("A", [1.0, 1e140])] * 3
    tree = graphs.JunctionTree(graphs.markov_network(far))
    assert tree.marginals()["A"].tolist() == pytest.approx([1e-80, 1])
    assert tree.map() == {"A": 1}
    slices = [(("A", "B"), [[1e-200] * 2, [1e200] * 2])]
    tree = graphs.JunctionTree(graphs.markov_network(slices))
    assert tree.log_partition({"A": 0}) == pytest.approx(np.log(2) - 200 * np.log(10))
    assert tree.marginals({"A": 0})["B"].tolist() == pytest.approx([0.5, 0.5])
    level = graphs.markov_network([("A", [1e-200, 1e200]), ("A", [1e200, 1e-200])])
    assert graphs.marginal(level, "A").tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("size", [1e-50, 1e50])
def test_entries_beyond_single_precision(size):
    model = graphs.markov_network([("A", [size, 3 * size])])
    tree = graphs.JunctionTree(model, dtype=torch.float32)
    assert tree.map() == {"A": 1}
    torch.manual_seed(0)
    assert tree.sample(2000)["A"].double().mean() == pytest.approx(0.75, abs=0.04)
    log_prob = graphs.Joint(tree).log_prob(torch.tensor([1]))
    assert log_prob.dtype == torch.float32
    assert float(log_prob) == pytest.approx(np.log(0.75), abs=1e-5)


def test_what_is_given_out_is_not_what_is_kept():
    tree = graphs.JunctionTree(graphs.markov_network([("A", [1, 2])]))
    tree.log_tables()[0][0] += 5
    assert tree.map() == {"A": 1}
    assert tree.log_partition(log_potentials={}) == pytest.approx(np.log(3))


def test_a_target_whose_value_is_missing_is_not_observed():
    model = graphs.textbook.asia()
    tree = graphs.JunctionTree(model)
    expected = tree.query("lung")
    assert torch.equal(tree.query("lung", {"lung": None}), expected)
    assert torch.equal(tree.query("lung", {"lung": [None, np.nan]}), expected.expand(2, -1))
    torch.testing.assert_close(graphs.marginal(model, "lung", {"lung": None}), expected)


def test_numpy_integers_are_numbers_and_half_precision_is_read():
    tree = graphs.JunctionTree(graphs.textbook.asia(), max_bytes=np.int64(10**6))
    assert tree.sample(np.int64(3))["lung"].shape == (3,)
    codes = torch.tensor([0, 1, torch.nan], dtype=torch.bfloat16)
    torch.testing.assert_close(tree.log_partition({"lung": codes})[2].item(), 0.0)


def test_the_cost_of_a_hopeless_model_can_be_read():
    edges = nx.random_regular_graph(4, 600, seed=0).edges
    model = graphs.markov_network([(edge, np.ones((64, 64))) for edge in edges])
    tree = graphs.JunctionTree(model, order_seconds=0.1)
    assert re.search(r"e\+\d+ cells", repr(tree))
    with pytest.raises(ValueError, match="joint table that fits"):
        tree.query(range(100))


def test_single_precision_answers_and_devices():
    tree = graphs.JunctionTree(graphs.textbook.asia(), dtype=torch.float32)
    assert tree.marginals()["dysp"].dtype == torch.float32
    assert tree.marginals()["dysp"].device == torch.device("cpu")
    assert float(tree.marginals()["dysp"][0]) == pytest.approx(0.4359706, abs=1e-6)
    with pytest.raises(ValueError, match=r"expected torch.float32 or torch.float64, got torch.int"):
        graphs.JunctionTree(graphs.textbook.asia(), dtype=torch.int64)


def test_logarithms_give_the_same_marginals_as_linear_numbers():
    """What a device other than the CPU runs, run on the CPU."""
    tree = graphs.JunctionTree(graphs.textbook.asia())
    engine = tree._engine
    evidence = {"smoke": ["yes", None, "no"], "xray": [None, "yes", "yes"]}
    expected = tree.marginals(evidence)
    engine._run = engine._run_in_logarithms
    for v, marginal in tree.marginals(evidence).items():
        torch.testing.assert_close(marginal, expected[v], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        tree.query(["tub", "lung"]),
        graphs.JunctionTree(graphs.textbook.asia()).query(["tub", "lung"]),
    )


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.query("smok"), r"'smok' \(did you mean 'smoke'\?\)"),
        (lambda t: t.query([]), "at least one node, got none"),
        (lambda t: t.query(["lung", "lung"]), "distinct nodes for nodes, got 'lung' twice"),
        (lambda t: t.query("lung", {"lung": "yes"}), "without evidence, got 'lung'"),
        (lambda t: t.entropy("lun"), "nodes of the model"),
        (lambda t: t.mutual_information("lung", ["lung", "tub"]), "disjoint.*'lung' in both"),
        (lambda t: t.mutual_information([], "lung"), r"one node in each set, got \[\] and 'lung'"),
        (lambda t: t.query((["lung"],)), r"nodes of the model for nodes, got \['lung'\]"),
        (lambda t: t.marginals({"lung": ([1],)}), r"a state of 'lung'.*got \[1\]"),
        (lambda t: t.log_partition(log_potentials=5), "log-potentials, one per factor, got 5"),
        (lambda t: graphs.JunctionTree(graphs.textbook.asia(), order_seconds="a"), "seconds"),
        (lambda t: graphs.JunctionTree(graphs.textbook.asia(), device="meta"), "device.*meta"),
        (lambda t: graphs.JunctionTree((graphs.parse("P(A,B)"), [np.eye(2) / 2])), r"P\(A, B\)"),
        (lambda t: t.sample(-1), "number of draws, got -1"),
        (lambda t: t.sample(1.5), "number of draws, got 1.5"),
        (lambda t: t.log_partition(log_potentials=[]), "8 log-potentials.*got 0"),
        (lambda t: t.log_partition(log_potentials={9: torch.zeros(2)}), "0 to 7, got 9"),
        (lambda t: t.log_partition(log_potentials={0: torch.zeros(3)}), r"shape \(2,\).*\(3,\)"),
        (lambda t: t.log_partition(log_potentials={0: [0.0, 0.0]}), "tensor of log-potentials"),
        (lambda t: graphs.JunctionTree(graphs.textbook.asia(), "smok"), "evidence_variables"),
        (lambda t: graphs.JunctionTree(graphs.textbook.asia(), max_bytes=0), "positive number"),
        (lambda t: graphs.JunctionTree(graphs.textbook.diagnosis()), "hold tables"),
        (lambda t: graphs.JunctionTree((graphs.parse("phi(A)"), [])), "1 factors, got 0"),
        (lambda t: graphs.JunctionTree("P(A)"), "got str"),
        (lambda t: graphs.JunctionTree(graphs.textbook.asia(), device="gpu"), "device, got 'gpu'"),
        (lambda t: t.log_partition(log_potentials={0: torch.tensor([0, torch.inf])}), "below inf"),
        (lambda t: t.log_partition(log_potentials={0: torch.tensor([0, torch.nan])}), "got NaN"),
        (lambda t: t.sample(1, log_potentials={0: torch.tensor([0, torch.nan])}), "'asia'.*NaN"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(graphs.JunctionTree(graphs.textbook.asia()))
