"""Belief propagation and mean field against enumeration, closed forms and published answers."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from enumeration import Dense, random_bayesian, random_evidence, random_markov
from ising import SPIN, ising

import graphs

# A 4 × 4 torus of random couplings and fields, its belief propagation and mean-field marginals of
# the first state, and what their log Z is off by: testfast.fg and testfast.out of libDAI (Mooij
# 2010). Couplings are the tables' entries for equal states, the entry for unequal ones is 1 / it.
COUPLINGS = {
    (0, 1): 0.5064268271, (0, 3): 1.23520154, (0, 4): 0.5676794054, (0, 12): 0.5505265659,
    (1, 2): 0.4389829456, (1, 5): 1.831064079, (1, 13): 1.390348575, (2, 3): 0.5848153112,
    (2, 6): 1.559633065, (2, 14): 0.8976815355, (3, 7): 1.046243256, (3, 15): 0.7727947041,
    (4, 5): 1.310529239, (4, 7): 0.9735541615, (4, 8): 0.4047606195, (5, 6): 0.4350083141,
    (5, 9): 0.7622936308, (6, 7): 0.6475276017, (6, 10): 2.047859066, (7, 11): 0.8073986425,
    (8, 9): 2.631091704, (8, 11): 1.672344374, (8, 12): 2.065839841, (9, 10): 0.544246229,
    (9, 13): 1.98703151, (10, 11): 1.219097964, (10, 14): 2.096814119, (11, 15): 2.186675592,
    (12, 13): 0.3686715886, (12, 15): 1.756786327, (13, 14): 0.97446684, (14, 15): 0.5075173058,
}  # fmt: skip
FIELDS = [
    0.7982929332, 1.503712071, 0.7594927256, 0.9525864836, 1.012916736, 0.3884658377,
    1.514319906, 0.5811680072, 0.94791546, 0.582848685, 1.220844407, 0.4570059341,
    1.542447604, 1.343238254, 0.5403981808, 0.4325519055,
]  # fmt: skip
LOOPY = [
    0.4233, 0.5422, 0.4662, 0.5424, 0.6042, 0.1845, 0.8203, 0.2292,
    0.3119, 0.2975, 0.7268, 0.1485, 0.4512, 0.5266, 0.6033, 0.1558,
]  # fmt: skip
INDEPENDENT = [
    0.2053, 0.9163, 0.1579, 0.6986, 0.8982, 0.1830, 0.9597, 0.1841,
    0.004385, 0.05075, 0.9685, 0.02957, 0.09632, 0.8148, 0.8338, 0.005661,
]  # fmt: skip


def published():
    factors = [((f"x{i}", f"x{j}"), [[c, 1 / c], [1 / c, c]]) for (i, j), c in COUPLINGS.items()]
    return graphs.markov_network(factors + [(f"x{i}", [h, 1 / h]) for i, h in enumerate(FIELDS)])


def random_forest(rng):
    """Factors of up to three nodes that share at most one with what is there already."""
    sizes = [int(k) for k in rng.integers(1, 4, 9)]
    factors = [((f"v{i}",), rng.random(sizes[i]) + 0.01) for i in range(0, 9, 2)]
    joined = [0]
    while len(joined) < 8:
        fresh = list(range(len(joined), min(len(joined) + int(rng.integers(1, 3)), 9)))
        scope = rng.permutation([int(rng.choice(joined)), *fresh])
        table = rng.random([sizes[i] for i in scope]) * (
            rng.random([sizes[i] for i in scope]) < 0.8
        )
        factors.append((tuple(f"v{i}" for i in scope), table + 1e-300 * (not table.any())))
        joined += fresh
    states = {f"v{i}": range(k) for i, k in enumerate(sizes)}
    model = graphs.markov_network(factors, states=states)
    return Dense(model, tuple(states), tuple(sizes), factors)


def quiet(method, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", graphs.ConvergenceWarning)
        return method(*args)


# --- Belief propagation --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_exact_on_forests(seed):
    rng = np.random.default_rng(seed)
    dense = random_forest(rng)
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=4, missing=0.3)
    loopy = graphs.BeliefPropagation(dense.model)
    log_z, marginals = loopy.log_partition(evidence), loopy.marginals(evidence)
    tables = loopy.factor_marginals(evidence)
    assert loopy.converged is True
    assert loopy.convergence.iterations.shape == (4,)
    for row in range(4):
        table = dense.given(evidence, row)
        assert log_z[row] == pytest.approx(np.log(table.sum()), abs=1e-10)
        table /= table.sum()
        for v, marginal in marginals.items():
            expected = np.einsum(table, range(9), [dense.nodes.index(v)])
            np.testing.assert_allclose(marginal[row], expected, atol=1e-10)
        for scope, found in zip(loopy.factors, tables, strict=True):
            expected = np.einsum(table, range(9), [dense.nodes.index(v) for v in scope])
            np.testing.assert_allclose(found[row], expected, atol=1e-10)


def test_a_chain_longer_than_the_iterations_is_exact():
    factors = [((f"x{i}", f"x{i + 1}"), np.exp(5.0 * SPIN)) for i in range(210)]
    model = graphs.markov_network([*factors, ("x0", [1.0, 3.0])])
    loopy = graphs.BeliefPropagation(model, iterations=5)
    exact = graphs.JunctionTree(model)
    assert loopy.log_partition() == pytest.approx(float(exact.log_partition()), rel=1e-13)
    assert loopy.convergence.iterations >= 210


def test_answers_published_for_a_torus():
    model = published()
    exact = graphs.JunctionTree(model).log_partition()
    loopy, field = graphs.BeliefPropagation(model), graphs.MeanField(model, starts=10)
    found = loopy.marginals()
    assert [float(found[f"x{i}"][0]) for i in range(16)] == pytest.approx(LOOPY, abs=6e-5)
    assert float(loopy.log_partition() - exact) == pytest.approx(0.2969, abs=6e-5)
    found = field.marginals()
    assert [float(found[f"x{i}"][0]) for i in range(16)] == pytest.approx(INDEPENDENT, abs=6e-5)
    assert float(field.log_partition() - exact) == pytest.approx(-1.608, abs=6e-4)


@pytest.mark.parametrize("coupling", [0.2, -0.7, 1.5])
def test_a_single_loop(coupling):
    """Exact Z = (2 cosh J)^n + (2 sinh J)^n (Ising 1925), of which Bethe's is the first term."""
    edges = [(((0, i), (0, (i + 1) % 7)), np.exp(coupling * SPIN)) for i in range(7)]
    model = graphs.markov_network(edges)
    first, second = (2 * np.cosh(coupling)) ** 7, (2 * np.sinh(coupling)) ** 7
    loopy = graphs.BeliefPropagation(model)
    assert loopy.log_partition() == pytest.approx(np.log(first), abs=1e-9)
    exact = graphs.JunctionTree(model).log_partition()
    assert exact == pytest.approx(np.log(first + second), abs=1e-10)


def test_a_torus_without_fields():
    """Of a regular graph at high temperature: V log 2 + E log cosh J."""
    loopy = graphs.BeliefPropagation(ising((5, 6), 0.2, wrapped=True))
    expected = 30 * np.log(2) + 60 * np.log(np.cosh(0.2))
    assert loopy.log_partition() == pytest.approx(expected, abs=1e-9)


def test_a_grid_beside_the_exact_answer():
    fields = np.random.default_rng(0).normal(0, 0.5, (6, 6))
    model = ising((6, 6), 0.25, fields)
    exact, loopy, field = (
        make(model) for make in (graphs.JunctionTree, graphs.BeliefPropagation, graphs.MeanField)
    )
    log_z = float(exact.log_partition())
    assert abs(float(loopy.log_partition()) - log_z) < 0.15
    assert log_z - 2 < float(field.log_partition()) < log_z
    expected, found = exact.marginals(), loopy.marginals()
    assert max(float((expected[v] - found[v]).abs().max()) for v in expected) < 0.02


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("random_model", [random_bayesian, random_markov])
def test_beliefs_agree_and_give_the_bethe_free_energy(random_model, seed):
    """Equation 37 of Yedidia, Freeman and Weiss 2005, from beliefs alone."""
    rng = np.random.default_rng(seed)
    dense = random_model(rng, zeros=0.2 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=3, missing=0.3)
    loopy = graphs.BeliefPropagation(dense.model, damping=0.3, iterations=5000)
    try:
        marginals, tables = loopy.marginals(evidence), loopy.factor_marginals(evidence)
        log_z = loopy.log_partition(evidence)
    except graphs.ConvergenceWarning:
        pytest.skip("does not converge")
    for row in range(3):
        nodes = {}
        for v, size in zip(dense.nodes, dense.sizes, strict=True):
            seen = np.eye(size)[evidence[v][row]] if v not in marginals else None
            nodes[v] = marginals[v][row].numpy() if seen is None else seen
        entropy = {v: -sum(p * np.log(p) for p in b if p > 0) for v, b in nodes.items()}
        value = sum(entropy.values())
        for scope, table, logs in zip(loopy.factors, tables, loopy.log_tables(), strict=True):
            belief = table[row].numpy()
            for axis, v in enumerate(scope):
                others = tuple(i for i in range(len(scope)) if i != axis)
                np.testing.assert_allclose(belief.sum(others), nodes[v], atol=1e-8)
            held = belief > 0
            value += (belief[held] * (logs.numpy()[held] - np.log(belief[held]))).sum()
            value -= sum(entropy[v] for v in scope)
        assert log_z[row] == pytest.approx(value, abs=1e-7)


def test_what_does_not_converge_says_so():
    rng = np.random.default_rng(1)
    pairs = list(itertools.combinations(range(8), 2))
    model = graphs.markov_network(
        [(e, np.exp(rng.normal(0, 3) * SPIN)) for e in pairs]
        + [((i,), np.exp(rng.normal(0, 0.5, 2))) for i in range(8)]
    )
    loopy = graphs.BeliefPropagation(model, damping=0, iterations=50)
    assert loopy.converged is None
    with pytest.warns(graphs.ConvergenceWarning, match="did not converge in 50 iter.*damping"):
        loopy.marginals()
    assert loopy.converged is False
    assert not loopy.convergence
    assert loopy.convergence.residual > 1e-3
    with pytest.warns(graphs.ConvergenceWarning, match="in row 0 and 1 others"):
        loopy.log_partition({0: [0, 1]})


@pytest.mark.parametrize("kind", [graphs.BeliefPropagation, graphs.MeanField])
def test_rows_do_not_depend_on_what_they_are_asked_with(kind):
    model = graphs.textbook.asia()
    rows = {"smoke": ["yes", "no", None], "dysp": ["yes", None, "no"]}
    answers = kind(model).marginals(rows)
    few = kind(model, max_bytes=10_000)
    for v, answer in few.marginals(rows).items():
        assert torch.equal(answer, answers[v])
    for row in range(3):
        one = kind(model).marginals({v: column[row] for v, column in rows.items()})
        for v, answer in answers.items():
            if v in one:
                torch.testing.assert_close(answer[row], one[v], rtol=0, atol=1e-12)
    none = kind(model).log_partition({"smoke": []})
    assert none.shape == (0,)


def test_impossible_evidence_is_found_where_zeros_show_it():
    loopy = graphs.BeliefPropagation(graphs.textbook.asia())
    rows = {"lung": ["yes", "yes"], "either": ["yes", "no"]}
    assert loopy.log_partition(rows)[1] == -torch.inf
    with pytest.raises(ValueError, match=r"impossible evidence in row 1.*'either': 'no'"):
        loopy.marginals(rows)


# --- Mean field ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("random_model", [random_bayesian, random_markov])
def test_a_lower_bound_that_no_sweep_lowers(random_model, seed):
    rng = np.random.default_rng(seed)
    dense = random_model(rng, zeros=0.3 * (seed % 2))
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=3, missing=0.3)
    exact = [np.log(dense.given(evidence, row).sum()) for row in range(3)]
    bounds = [
        quiet(graphs.MeanField(dense.model, iterations=k).log_partition, evidence).numpy()
        for k in (1, 2, 3, 5, 10)
    ]
    for before, after in itertools.pairwise(bounds):
        assert (after >= before - 1e-12).all()
    assert (bounds[-1] <= np.array(exact) + 1e-12).all()
    more = quiet(graphs.MeanField(dense.model, starts=5).log_partition, evidence).numpy()
    assert (more >= bounds[-1] - 1e-9).all()
    assert (more <= np.array(exact) + 1e-12).all()


def test_the_bound_is_that_of_the_product():
    """E[log p] + H(q), by enumeration."""
    dense = random_markov(np.random.default_rng(3), most_nodes=5)
    field = graphs.MeanField(dense.model)
    q = field.query(list(dense.nodes)).numpy()
    assert float(field.log_partition()) == pytest.approx(
        (q * (np.log(dense.table) - np.log(q))).sum()
    )


def test_zeros_that_no_product_avoids_are_refused():
    equal = graphs.markov_network([(("a", "b"), np.eye(2))])
    field = graphs.MeanField(equal)
    assert field.log_partition() == -torch.inf
    with pytest.raises(ValueError, match=r"none from 1 starts.*BeliefPropagation"):
        field.marginals()
    assert graphs.MeanField(equal, starts=2).log_partition() == pytest.approx(0, abs=1e-12)


# --- Both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [graphs.BeliefPropagation, graphs.MeanField])
def test_derivatives(kind):
    """Of log Z they are the marginals; those of marginals agree with differences."""
    model = ising((2, 3), 0.2, np.random.default_rng(0).normal(0, 0.5, (2, 3)))
    answers = kind(model, tolerance=1e-12)
    rows = {(0, 0): [0, None]}
    parameters = [t.requires_grad_() for t in answers.log_tables()]
    log_z = answers.log_partition(rows, parameters)
    found = torch.autograd.grad(log_z.sum(), parameters)
    for table, derivative in zip(answers.factor_marginals(rows), found, strict=True):
        torch.testing.assert_close(table.sum(0), derivative, rtol=0, atol=1e-10)
    some = [0, 9]

    def ask(method, *tensors):
        return method(rows, dict(zip(some, tensors, strict=True)))

    chosen = [parameters[k].detach().requires_grad_() for k in some]
    assert torch.autograd.gradcheck(lambda *t: ask(answers.log_partition, *t), chosen)
    assert torch.autograd.gradcheck(lambda *t: ask(answers.marginals, *t)[(1, 1)], chosen)
    for method in (answers.log_partition, lambda *t: answers.marginals(*t)[(1, 1)]):
        with pytest.raises(RuntimeError, match="first derivative"):
            torch.autograd.grad(ask(method, *chosen).sum(), chosen, create_graph=True)


@pytest.mark.parametrize("kind", [graphs.BeliefPropagation, graphs.MeanField])
def test_derivatives_beside_zeros_and_in_likelihoods(kind):
    answers = kind(graphs.textbook.asia())
    likely = torch.tensor([0.8, 0.3], dtype=torch.float64, requires_grad=True)
    seen = {"dysp": "yes"}
    assert torch.autograd.gradcheck(
        lambda t: answers.log_partition(seen, likelihoods={"xray": t}), [likely]
    )
    parameters = [t.requires_grad_() for t in answers.log_tables()]
    answers.marginals(seen, parameters)["smoke"][0].backward()
    assert all(torch.isfinite(t.grad).all() for t in parameters)
    rows = {"lung": ["yes", "yes"], "either": ["yes", "no"]}
    log_z = answers.log_partition(rows, parameters)
    assert log_z[1] == -torch.inf
    for grad in torch.autograd.grad(log_z.sum(), parameters):
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize("kind", [graphs.BeliefPropagation, graphs.MeanField])
def test_the_names_of_a_junction_tree(kind):
    answers = kind(graphs.textbook.asia())
    frame = answers.table({"dysp": "yes"})
    assert list(frame.columns) == ["node", "state", "probability"]
    joint = answers.query(["either", "lung"], {"smoke": ["yes", "no"]})
    assert joint.shape == (2, 2, 2)
    torch.testing.assert_close(
        joint.sum(1), answers.marginals({"smoke": ["yes", "no"]})["lung"], atol=1e-8, rtol=0
    )
    assert answers.entropy("lung") > 0
    assert answers.mutual_information("lung", "either") >= 0
    assert kind(graphs.textbook.asia(), dtype=torch.float32).marginals()["dysp"].dtype == (
        torch.float32
    )


def test_the_refusal_of_a_tree_names_them():
    side = 24
    tree = graphs.JunctionTree(ising((side, side), 0.2), max_bytes=1000, order_seconds=0.01)
    with pytest.raises(ValueError, match=r"graphs\.BeliefPropagation and graphs\.MeanField"):
        tree.log_partition()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: graphs.BeliefPropagation(m, damping=1), "at least zero and below one, got 1"),
        (lambda m: graphs.BeliefPropagation(m, damping="a"), "damping.*got 'a'"),
        (lambda m: graphs.BeliefPropagation(m, iterations=0), "positive number of iterations"),
        (lambda m: graphs.BeliefPropagation(m, tolerance=-1), "tolerance of zero or more, got -1"),
        (lambda m: graphs.BeliefPropagation(m, max_bytes=10), "max_bytes = 10, got"),
        (lambda m: graphs.MeanField(m, starts=0), "starts of at least 1, got 0"),
        (lambda m: graphs.MeanField(m, seed=-1), "seed of at least 0, got -1"),
        (lambda m: graphs.MeanField(graphs.textbook.diagnosis()), "hold tables"),
        (lambda m: graphs.BeliefPropagation(m).query(["asia", "dysp"]), "one factor holds, got"),
        (lambda m: graphs.BeliefPropagation(m).query("lung", {"lung": "yes"}), "without evidence"),
        (lambda m: graphs.MeanField(m).query([]), "at least one node"),
        (lambda m: graphs.MeanField(m).marginals({"lun": "yes"}), "did you mean 'lung'"),
        (lambda m: graphs.MeanField(m).log_partition(log_potentials=[]), "8 log-potentials"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(graphs.textbook.asia())
