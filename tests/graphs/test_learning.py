"""Tables from data: closed forms, EM by enumeration, finite differences, other packages."""

import io
import itertools
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from enumeration import random_bayesian, random_markov

import graphs
from graphs.learning.bayesian import Expectation, shares
from graphs.learning.columns import distinct_rows
from graphs.parameters.bridge import tables_of


def drawn(model, rows, seed):
    """Rows of state names from a network."""
    tree = graphs.JunctionTree(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        codes = tree.sample(rows)
    return pd.DataFrame({v: np.array(tree.states[v], object)[k.numpy()] for v, k in codes.items()})


def holed(data, share, seed):
    return data.mask(np.random.default_rng(seed).random(data.shape) < share)


def joint(tables):
    """The product of tables over all assignments, one axis a node."""
    nodes = list(tables.states)
    operands = []
    for scope, array in tables.factors:
        operands += [array, [nodes.index(v) for v in scope]]
    return np.einsum(*operands, list(range(len(nodes))))


def seen_by(data, states):
    """For every row the joint states it allows, as an index of the whole table."""
    for _, row in data.iterrows():
        parts = []
        for v, names in states.items():
            missing = v not in data or pd.isna(row[v])
            parts.append(range(len(names)) if missing else [names.index(row[v])])
        yield np.ix_(*parts)


def log_likelihood(tables, data):
    whole = joint(tables)
    whole = whole / whole.sum()
    return sum(np.log(whole[cells].sum()) for cells in seen_by(data, tables.states))


# --- Bayesian networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_complete_rows_give_shares_of_counts(seed):
    rng = np.random.default_rng(seed)
    dense = random_bayesian(rng, 5)
    data = drawn(dense.model, 300, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learned = graphs.learn(dense.model, data)
    for scope, table in tables_of(learned.model).factors:
        for index in itertools.product(*map(range, table.shape[:-1])):
            part = data
            for v, i in zip(scope, index, strict=False):
                part = part[part[v] == i]
            for k in range(table.shape[-1]):
                p = (part[scope[-1]] == k).mean() if len(part) else 1 / table.shape[-1]
                assert table[(*index, k)] == pytest.approx(p, abs=1e-12)
                error = learned.standard_errors[scope[-1]][(*index, k)]
                if len(part):
                    assert error == pytest.approx(np.sqrt(p * (1 - p) / len(part)), abs=1e-12)
                else:
                    assert np.isnan(error)
    assert learned.log_likelihood == pytest.approx(log_likelihood(tables_of(learned.model), data))


@pytest.mark.parametrize("seed", range(5))
def test_a_step_of_em_is_the_one_by_enumeration(seed):
    dense = random_bayesian(np.random.default_rng(seed), 5)
    data = holed(drawn(dense.model, 40, seed), 0.4, seed).astype(object)
    tables = tables_of(dense.model)
    scopes = [scope for scope, _ in tables.factors]
    rows = distinct_rows(data, tuple(tables.states), tables.states)
    value, counts = Expectation(rows, scopes, tables.states)([t for _, t in tables.factors])
    whole, nodes = joint(tables), list(tables.states)
    total, expected = 0.0, [np.zeros(t.shape) for _, t in tables.factors]
    for cells in seen_by(data[data.notna().any(axis=1)], tables.states):
        part = np.zeros_like(whole)
        part[cells] = whole[cells]
        total += np.log(part.sum())
        for k, scope in enumerate(scopes):
            axes = [nodes.index(v) for v in scope]
            expected[k] += np.einsum(part / part.sum(), list(range(part.ndim)), axes)
    assert value == pytest.approx(total, rel=1e-10)
    for found, right in zip(counts, expected, strict=True):
        np.testing.assert_allclose(found, right, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("prior", [0, 0.7])
def test_em_never_falls_and_ends_where_nothing_moves(seed, prior):
    dense = random_bayesian(np.random.default_rng(seed), 5)
    data = holed(drawn(dense.model, 60, seed), 0.3, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learned = graphs.learn(dense.model, data, prior=prior, iterations=300)
    assert (np.diff(learned.objectives) >= -1e-9 * abs(learned.objectives[0])).all()
    tables = tables_of(learned.model)
    assert learned.log_likelihood == pytest.approx(log_likelihood(tables, data), rel=1e-10)
    for scope, table in tables.factors:
        counts = learned.counts[scope[-1]] + prior
        np.testing.assert_allclose(
            shares(counts)[counts.sum(-1) > 1], table[counts.sum(-1) > 1], atol=5e-3
        )


def test_errors_of_em_are_those_of_finite_differences():
    model = graphs.bayesian_network(
        [
            ("A", (), [0.3, 0.7]),
            ("B", "A", [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]]),
            (
                "C",
                ("A", "B"),
                [[[0.2, 0.8], [0.7, 0.3], [0.4, 0.6]], [[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]]],
            ),
        ]
    )
    data = holed(drawn(model, 400, 0), 0.25, 1)
    learned = graphs.learn(model, data, tolerance=1e-13)
    tables = tables_of(learned.model)
    distinct = data.dropna(how="all")
    cells = list(seen_by(distinct, tables.states))
    free = [
        (k, row, j)
        for k, (_, t) in enumerate(tables.factors)
        for row in np.ndindex(t.shape[:-1])
        for j in range(t.shape[-1] - 1)
    ]

    def at(shift):
        arrays = [t.copy() for _, t in tables.factors]
        for (k, row, j), s in zip(free, shift, strict=True):
            arrays[k][(*row, j)] += s
            arrays[k][(*row, -1)] -= s
        a, b, c = arrays
        whole = np.einsum("a,ab,abc->abc", a, b, c)
        return sum(np.log(whole[index].sum()) for index in cells)

    step, size = 1e-4, len(free)
    hessian = np.zeros((size, size))
    eye = np.eye(size) * step
    middle = at(np.zeros(size))
    for i in range(size):
        hessian[i, i] = (at(eye[i]) - 2 * middle + at(-eye[i])) / step**2
        for j in range(i):
            ends = at(eye[i] + eye[j]) + at(-eye[i] - eye[j])
            ends -= at(eye[i] - eye[j]) + at(eye[j] - eye[i])
            hessian[i, j] = hessian[j, i] = ends / (4 * step**2)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    for (k, row, j), error in zip(free, errors, strict=True):
        node = tables.factors[k][0][-1]
        assert learned.standard_errors[node][(*row, j)] == pytest.approx(error, rel=1e-3)
    assert not learned.undetermined


def test_asia_is_recovered_from_rows_with_holes():
    asia = graphs.textbook.asia()
    data = holed(drawn(asia, 20_000, 0), 0.1, 0)
    learned = graphs.learn(asia, data)
    assert learned.converged
    found, true = tables_of(learned.model), tables_of(asia)
    off = []
    for (scope, table), (_, right) in zip(found.factors, true.factors, strict=True):
        error = learned.standard_errors[scope[-1]]
        inside = (error > 0) & (right > 0) & (right < 1)
        off += list(((table - right)[inside] / error[inside]).ravel())
        assert np.abs(table - right)[~inside].max(initial=0) < 1e-3
    assert np.abs(off).max() < 4.5
    assert np.sqrt(np.mean(np.square(off))) < 1.6


def test_a_latent_node_is_learned_and_its_names_are_free():
    model = graphs.bayesian_network(
        [("H", (), [0.4, 0.6]), *((v, "H", [[0.9, 0.1], [0.2, 0.8]]) for v in "XYZ")]
    )
    data = drawn(model, 4000, 0).drop(columns="H")
    shape = graphs.parse("P(H) P(X|H) P(Y|H) P(Z|H)")
    learned = graphs.learn(shape, data, latent="H", states={"H": (0, 1)}, restarts=3)
    p = np.sort(tables_of(learned.model).factors[0][1])
    assert p == pytest.approx([0.4, 0.6], abs=5 * learned.standard_errors["H"].max())
    assert 0.005 < learned.standard_errors["H"].max() < 0.05
    assert "2 ways of exchanging them" in learned.explain()
    assert not learned.undetermined


def legend_of(ax):
    return [] if ax.get_legend() is None else [t.get_text() for t in ax.get_legend().get_texts()]


def test_the_curve_shows_what_the_search_raised():
    shape = graphs.parse("P(H) P(X|H) P(Y|H)")
    data = pd.DataFrame({"X": [0, 0, 0, 1, 1, 1, 1], "Y": [0, 0, 1, 1, 1, 0, 1]})
    hidden = {"latent": "H", "states": {"H": (0, 1)}}
    learned = graphs.learn(shape, data, **hidden, restarts=3, prior=0.5)
    _, ax = plt.subplots()
    assert learned.plot(ax) is ax
    raised, *others, curve = [list(line.get_ydata()) for line in ax.lines]
    assert curve == list(learned.log_likelihoods)
    assert raised == list(learned.objectives)
    assert len(others) == 2
    assert all(end <= raised[-1] for other in others for end in other)
    wanted = ["with the prior, which is raised", "ends of other starts", "log-likelihood"]
    assert legend_of(ax) == wanted
    assert f"{learned.log_likelihood:.6g} nats" in ax.get_title()
    with pytest.warns(graphs.ConvergenceWarning):
        early = graphs.learn(shape, data, **hidden, iterations=1)
    ax = early.plot()
    assert legend_of(ax) == ["log-likelihood", "not converged"]
    closed = graphs.learn(graphs.parse("P(X) P(Y|X)"), data).plot()
    assert [len(line.get_xdata()) for line in closed.lines] == [1]
    assert (legend_of(closed), closed.get_title().endswith("in closed form")) == ([], True)
    for number in plt.get_fignums():
        plt.figure(number).savefig(io.BytesIO())
    plt.close("all")


def test_a_singular_information_is_named():
    data = pd.DataFrame({"X": [0] * 30 + [1] * 70})
    shape = graphs.parse("P(H) P(X|H)")
    learned = graphs.learn(shape, data, latent="H", states={"H": (0, 1)})
    assert {owner for owner, _ in learned.undetermined} == {"H", "X"}
    assert np.isnan(learned.standard_errors["H"]).all()
    assert "singular" in learned.explain()
    model = graphs.marginal(learned.model, "X").numpy()
    assert model == pytest.approx([0.3, 0.7], abs=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # pgmpy moves its estimators
def test_tables_are_those_of_pgmpy_and_pyagrum():
    from agrum import pyagrum
    from pgmpy.estimators import BayesianEstimator, MaximumLikelihoodEstimator
    from pgmpy.models import DiscreteBayesianNetwork

    lawn = graphs.textbook.sprinkler()
    data = drawn(lawn, 500, 3)
    bare = DiscreteBayesianNetwork(lawn.edges)
    names = {v: list(s) for v, s in lawn.states.items()}
    found = graphs.learn(lawn, data)
    smooth = graphs.learn(lawn, data, equivalent_sample_size=7)
    plain = MaximumLikelihoodEstimator(bare, data, state_names=names)
    bdeu = BayesianEstimator(bare, data, state_names=names)
    for node in lawn:
        mine, theirs = found.model.get_cpds(node), plain.estimate_cpd(node)
        assert mine.to_factor() == theirs.to_factor()
        theirs = bdeu.estimate_cpd(node, prior_type="BDeu", equivalent_sample_size=7)
        assert smooth.model.get_cpds(node).to_factor() == theirs.to_factor()
    peer = pyagrum.BayesNet()
    for node in lawn:
        peer.add(pyagrum.LabelizedVariable(node, node, list(lawn.states[node])))
    for edge in lawn.edges:
        peer.addArc(*edge)
    learner = pyagrum.BNLearner(data, peer)
    learner.useSmoothingPrior(1)
    theirs = learner.learnParameters(peer.dag())
    for scope, table in tables_of(graphs.learn(lawn, data, prior=1).model).factors:
        cpt = theirs.cpt(scope[-1])
        for index in np.ndindex(table.shape):
            at = {v: lawn.states[v][i] for v, i in zip(scope, index, strict=True)}
            assert cpt[at] == pytest.approx(table[index], rel=1e-9)


# --- Markov networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_of_scopes_are_the_shares_in_the_data(seed):
    rng = np.random.default_rng(seed)
    dense = random_markov(rng, 5)
    data = drawn(dense.model, 200, seed)
    learned = graphs.learn(dense.model, data)
    assert learned.converged
    tables = tables_of(learned.model)
    tree = graphs.JunctionTree(learned.model)
    top = log_likelihood(tables, data)
    assert learned.log_likelihood == pytest.approx(top, rel=1e-9)
    for scope, table in tables.factors:
        counts = np.zeros(table.shape)
        np.add.at(counts, tuple(data[v].to_numpy(int) for v in scope), 1.0)
        np.testing.assert_allclose(tree.query(scope).numpy(), counts / 200, atol=2e-6)
        p = counts / 200
        np.testing.assert_allclose(
            learned.standard_errors[scope], np.sqrt(p * (1 - p) / 200), atol=1e-6
        )


def test_a_chordal_markov_network_fits_as_the_directed_one_does():
    chain = graphs.parse("P(A) P(B|A) P(C|B)")
    model = graphs.bayesian_network(
        [
            ("A", (), [0.4, 0.6]),
            ("B", "A", [[0.8, 0.2], [0.3, 0.7]]),
            ("C", "B", [[0.9, 0.1], [0.4, 0.6]]),
        ]
    )
    data = holed(drawn(model, 800, 0), 0.2, 0)
    directed = graphs.learn(chain, data, tolerance=1e-13)
    undirected = graphs.learn(graphs.moralize(chain), data, tolerance=1e-9)
    assert undirected.log_likelihood == pytest.approx(directed.log_likelihood, abs=1e-5)
    error = undirected.standard_errors["A", "B"]
    trees = [graphs.JunctionTree(found.model) for found in (directed, undirected)]
    pairs = [tree.query(["A", "B"]).numpy() for tree in trees]
    np.testing.assert_allclose(pairs[0], pairs[1], atol=1e-5)
    # P(A, B) = P(A) P(B | A): by the delta method with next to independent errors
    a, b = directed.standard_errors["A"], directed.standard_errors["B"]
    p, q = tables_of(directed.model).factors[0][1], tables_of(directed.model).factors[1][1]
    near = np.sqrt((a[:, None] * q) ** 2 + (p[:, None] * b) ** 2)
    np.testing.assert_allclose(error, near, rtol=0.1)


def test_another_log_partition_is_used():
    asked = []

    class Counted:
        def __init__(self, network):
            self.tree = graphs.JunctionTree(network)
            self.factors = self.tree.factors

        def log_partition(self, evidence=None, log_potentials=None):
            asked.append(evidence)
            return self.tree.log_partition(evidence, log_potentials)

    shape = graphs.parse("φ(A,B) φ(B,C)")
    data = pd.DataFrame({"A": [0, 1, 1, 0], "B": [0, 1, 0, None], "C": ["x", "y", "y", "x"]})
    plain = graphs.learn(shape, data, equivalent_sample_size=1)
    other = graphs.learn(shape, data, equivalent_sample_size=1, inference=Counted)
    assert asked
    assert other.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-9)


# --- Bad input ------------------------------------------------------------------------------------


SHAPE = graphs.parse("P(A) P(B|A)")
GOOD = {"A": [0, 0, 1], "B": [0, 1, 1]}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([1, 2], {}, "expected a pandas.DataFrame or a dict of columns, got list"),
        ({"A": [0, 1], "B": [0]}, {}, "expected columns of equal length"),
        ({"A": [], "B": []}, {}, "expected at least one row"),
        ({"A": [0], "b": [0]}, {}, "expected a column for 'B'"),
        ({"A": [0]}, {"latent": "B"}, "expected states for 'B'"),
        ({"A": [None], "B": [None]}, {"states": {"A": (0, 1), "B": (0, 1)}}, "expected a value"),
        (GOOD, {"latent": "B", "states": {"B": (0, 1)}}, "expected no values of the latent"),
        (GOOD, {"states": {"A": ("no", "yes"), "B": (1, 2)}}, "expected a state of 'B' in row 0"),
        (GOOD, {"states": {"C": (0, 1)}}, "expected states of nodes of the model, got 'C'"),
        (GOOD, {"prior": -1}, "expected prior to be a finite number of zero or more, got -1"),
        (GOOD, {"prior": {"B": [1, 1]}}, "expected a number or an array of shape"),
        (GOOD, {"method": "map"}, "expected method to be one of"),
        (GOOD, {"iterations": 0}, "expected iterations >= 1, got 0"),
        (GOOD, {"start": "model"}, "expected a model with tables"),
        ({**GOOD, "B": [0, 1, None]}, {"method": "mle"}, "expected complete rows"),
        ({**GOOD, "B": [0, 1, None]}, {"inference": 3}, "expected inference that makes"),
        (
            {**GOOD, "A": [0, 0, 0]},
            {"states": {"A": (0, 1)}, "empty": "refuse"},
            "expected rows of data for every row of the tables",
        ),
    ],
)
def test_bad_input_is_refused_by_name(data, options, message):
    with pytest.raises(ValueError, match=message):
        graphs.learn(SHAPE, data, **options)


def test_rows_without_data_are_told():
    with pytest.warns(UserWarning, match=r"no row of data for P\(B \| A=1\)"):
        learned = graphs.learn(SHAPE, {"A": [0, 0], "B": [0, 1]}, states={"A": (0, 1)})
    assert learned.empty == (("B", {"A": 1}),)
    assert np.isnan(learned.standard_errors["B"][1]).all()
    assert "uniform there" in learned.explain()


def test_rows_impossible_at_the_start_are_refused():
    model = graphs.bayesian_network([("A", (), [1, 0]), ("B", "A", [[0.5, 0.5], [0.5, 0.5]])])
    with pytest.raises(ValueError, match=r"got row 1 \(A=1\) of probability zero"):
        graphs.learn(model, {"A": [0, 1], "B": [0, None]}, start="model")


def test_the_same_seed_gives_the_same_tables():
    data = {"X": [0, 1, 1, 0, 1], "Y": [0, 1, 1, 1, 0]}
    shape = graphs.parse("P(H) P(X|H) P(Y|H)")
    options = {"latent": "H", "states": {"H": (0, 1)}, "tolerance": 1e-4}
    runs = [graphs.learn(shape, data, seed=s, **options).log_likelihoods for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
